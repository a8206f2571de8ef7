"""Class scores over a photograph, and what is read off them: probabilities, winners, doubt."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fcnseg.upsample import resample

_AT_ONCE = 2**24  # numbers that a step may hold, 64 MiB of them
_MOST_CELLS = 64  # along a side of a map that is laid by two matrix products


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """Class scores over an image and where their cells lie.

    Pairs are (vertical, horizontal). Methods that lay maps over the image take ``size``, the
    (H, W) of the image, and ``drawn``, the (H', W') at which the image is drawn if it is another:
    the maps then come at that size, every cell where it belongs in the drawing.

    Attributes:
        score: (K, h, w) float32, as the network gave them, before softmax.
        classes: K names.
        stride: pixels of the image from cell to cell.
        offset: pixel at which cell (0, 0) is centred.
        image_score: (K,) float32 in [0, 1]: the class probabilities of the image as a whole,
            which rank the classes.
        field: receptive field of a cell in pixels of the image; None where it is not known, or
            every cell sees the whole image.
        sees_all: every cell depends on the whole image.
    """

    score: np.ndarray
    classes: tuple[str, ...]
    stride: tuple[float, float]
    offset: tuple[float, float]
    image_score: np.ndarray
    field: tuple[float, float] | None = None
    sees_all: bool = False

    def top(self, count: int) -> list[int]:
        """The ids of the ``count`` best classes of the image, best first."""
        return [int(i) for i in np.argsort(-self.image_score, kind="stable")[:count]]

    def probabilities(
        self, ids: Sequence[int], size: Sequence[int], drawn: Sequence[int] | None = None
    ) -> np.ndarray:
        """Softmax over all classes in each cell, laid over the image.

        Args:
            ids: the classes to give.
            size: (H, W) of the image in pixels.
            drawn: (H', W') of its drawing.

        Returns:
            (len(ids), H, W) float32 in [0, 1], bilinear between cell centres.
        """
        return self._laid(self._probability(list(ids)), size, drawn).clamp(0, 1).numpy()

    def scores(
        self, ids: Sequence[int], size: Sequence[int], drawn: Sequence[int] | None = None
    ) -> np.ndarray:
        """The raw scores laid over the image, (len(ids), H, W) float32."""
        return self._laid(self._score[list(ids)], size, drawn).numpy()

    def leads(
        self, ids: Sequence[int], size: Sequence[int], drawn: Sequence[int] | None = None
    ) -> np.ndarray:
        """How far the probability of a class is above that of the best other one.

        Returns:
            (len(ids), H, W) float32 in [-1, 1]: above 0 where the class wins. K = 1: all ones.
        """
        best, second, winner = self._ranked(size, drawn)
        own = self._laid(self._probability(list(ids)), size, drawn)
        wins = torch.stack([winner == k for k in ids])
        return (own - torch.where(wins, second, best)).numpy()

    def entropy(self, size: Sequence[int], drawn: Sequence[int] | None = None) -> np.ndarray:
        """Shannon entropy of the classes of each cell as a share of the largest, log2 K bits.

        Returns:
            (1, H, W) float32 in [0, 1]: 0 where one class is certain, 1 where all are equal.
        """

        def of(probability_Khw: Tensor) -> Tensor:
            return torch.special.entr(probability_Khw).sum(0)

        bits = self._by_rows(of) / math.log(max(len(self.classes), 2))
        return self._laid(bits[None], size, drawn).clamp(0, 1).numpy()

    def margin(self, size: Sequence[int], drawn: Sequence[int] | None = None) -> np.ndarray:
        """The best probability of each cell minus the second best, (1, H, W) float32 in [0, 1]."""

        def of(probability_Khw: Tensor) -> Tensor:
            best = probability_Khw.topk(min(2, len(probability_Khw)), dim=0).values
            return best[0] - best[1] if len(best) > 1 else best[0]

        return self._laid(self._by_rows(of)[None], size, drawn).clamp(0, 1).numpy()

    def hottest(self, class_id: int) -> tuple[float, float]:
        """The (row, column) in the image of the cell with the highest probability of a class."""
        probability = self._probability([class_id])[0]
        row, column = divmod(int(probability.argmax()), probability.shape[1])
        return (
            self.offset[0] + self.stride[0] * row,
            self.offset[1] + self.stride[1] * column,
        )

    @property
    def _score(self) -> Tensor:
        return torch.from_numpy(self.score)

    @cached_property
    def _total(self) -> Tensor:
        """The logarithm of the sum over the classes of exp(score), (h, w)."""
        return torch.cat([rows.logsumexp(0) for rows in self._bands()])

    def _probability(self, ids: list[int]) -> Tensor:
        return (self._score[ids] - self._total).exp()

    def _bands(self) -> Iterator[Tensor]:
        """The scores in bands of rows that are small enough to compute with."""
        count, height, width = self.score.shape
        rows = max(1, _AT_ONCE // (count * width))
        for top in range(0, height, rows):
            yield self._score[:, top : top + rows]

    def _by_rows(self, of: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``of`` makes of the probabilities of the cells, (h, w)."""
        return torch.cat([of(rows.softmax(0)) for rows in self._bands()])

    def _ranked(
        self, size: Sequence[int], drawn: Sequence[int] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """At each pixel the best and the second best probability, and the class of the best."""
        height, width = drawn or size
        best = torch.full((height, width), -1.0)
        second, winner = torch.zeros(height, width), torch.zeros(height, width, dtype=torch.long)
        largest = max(height * width, size[0] * size[1] if self._finer(size, drawn) else 0)
        several = max(1, _AT_ONCE // largest)
        for first in range(0, len(self.classes), several):
            ids = list(range(first, min(first + several, len(self.classes))))
            laid = self._laid(self._probability(ids), size, drawn)
            first_best, place = laid.max(0)
            laid.scatter_(0, place[None], -1.0)
            second = torch.maximum(torch.minimum(best, first_best), second)
            second = torch.maximum(second, laid.amax(0))
            winner = torch.where(first_best > best, place + first, winner)
            best = torch.maximum(best, first_best)
        return best, second.clamp(min=0), winner

    def _finer(self, size: Sequence[int], drawn: Sequence[int] | None) -> bool:
        """Whether there are several cells to a pixel of the drawing."""
        if drawn is None:
            return False
        return any(s * d < n for s, d, n in zip(self.stride, drawn, size, strict=True))

    def _laid(
        self, map_Khw: Tensor, size: Sequence[int], drawn: Sequence[int] | None = None
    ) -> Tensor:
        """Maps over the image as it is drawn, (K, H', W')."""
        if drawn is None:
            return resample(map_Khw[None], self.stride, self.offset, size)[0]
        if self._finer(size, drawn):  # a pixel is the mean of what it covers
            over = resample(map_Khw[None], self.stride, self.offset, size)
            return F.interpolate(over, list(drawn), mode="bilinear", antialias=True)[0]
        scale = [d / n for d, n in zip(drawn, size, strict=True)]
        stride = [s * by for s, by in zip(self.stride, scale, strict=True)]
        # The centre of pixel p of the image is at (p + 0.5) * scale - 0.5 of the drawing.
        offset = [(o + 0.5) * by - 0.5 for o, by in zip(self.offset, scale, strict=True)]
        height, width = map_Khw.shape[1:]
        if max(height, width) > _MOST_CELLS:
            return resample(map_Khw[None], stride, offset, drawn)[0]
        # Of few cells each pixel is a sum with the same weights in all classes.
        down, across = torch.eye(height)[None, None], torch.eye(width)[None, None]
        rows = resample(down, (stride[0], 1.0), (offset[0], 0.0), (drawn[0], height))[0, 0]
        columns = resample(across, (1.0, stride[1]), (0.0, offset[1]), (width, drawn[1]))[0, 0]
        return rows @ (map_Khw @ columns)
