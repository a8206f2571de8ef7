"""Scores as a page holds them: thinned to a size, in 16-bit steps, as text."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_BYTES = 3_900_000
"""Of packed scores; as text they are a third larger."""

_LAST = 65535


@dataclass(frozen=True)
class Packed:
    """Scores in even steps: score = ``low`` + ``step`` * number.

    Attributes:
        text: the numbers (K, rows, columns), low byte first, in base64 with ``-`` and ``_``.
        low: score of the number 0.
        step: between two numbers; 0 where all scores are alike.
        rows, columns: cells that are kept.
        every: one row and column in so many is kept; 1 for all.
        first: (vertical, horizontal) the cell of the map that is kept first.
    """

    text: str
    low: float
    step: float
    rows: int
    columns: int
    every: int
    first: tuple[int, int]


def packed(score_Khw: np.ndarray, most: int = MOST_BYTES) -> Packed:
    """Scores (K, h, w) in at most ``most`` bytes, by leaving out rows and columns of cells."""
    classes, high, wide = score_Khw.shape
    every = 1
    while 2 * classes * _kept(high, every)[1] * _kept(wide, every)[1] > most and every < max(
        high, wide
    ):
        every += 1
    (top, rows), (left, columns) = _kept(high, every), _kept(wide, every)
    kept = score_Khw[:, top::every, left::every].astype(np.float64)
    low, top_score = float(kept.min()), float(kept.max())
    step = (top_score - low) / _LAST
    numbers = np.rint((kept - low) / step) if step else np.zeros_like(kept)
    data = numbers.astype("<u2").tobytes()
    text = base64.urlsafe_b64encode(data).decode("ascii")
    return Packed(text, low, step, rows, columns, every, (top, left))


def _kept(cells: int, every: int) -> tuple[int, int]:
    """The first kept cell, as near to the middle of its group as can be, and how many are kept."""
    first = min((every - 1) // 2, cells - 1)
    return first, len(range(first, cells, every))


def areas(
    score_Khw: np.ndarray, stride: Sequence[float], offset: Sequence[float], size: Sequence[int]
) -> np.ndarray:
    """The share of the pixels of an image that each class wins, (K,) float64, summing to 1.

    A pixel belongs to the cell whose centre is nearest, and a cell to its class with the highest
    score, the first of equals.

    Args:
        score_Khw: (K, h, w) floats.
        stride: (vertical, horizontal) pixels from cell to cell.
        offset: (vertical, horizontal) centre of cell (0, 0) in pixels.
        size: (H, W) of the image.
    """
    winner = score_Khw.argmax(axis=0)
    pixels = [
        np.bincount(_nearest(int(size[a]), winner.shape[a], stride[a], offset[a]),
                    minlength=winner.shape[a])
        for a in (0, 1)
    ]  # fmt: skip
    weight = np.outer(*pixels)
    won = np.bincount(winner.ravel(), weights=weight.ravel(), minlength=len(score_Khw))
    return won / math.prod(int(side) for side in size)


def _nearest(side: int, cells: int, stride: float, offset: float) -> np.ndarray:
    at = np.floor((np.arange(side) - offset) / stride + 0.5)
    return np.clip(at, 0, cells - 1).astype(np.intp)
