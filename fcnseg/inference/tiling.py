"""Big images in tiles: where they lie, how they blend, and rows that are done from the top down.

A tile that ends inside the image is padded there with zeros, where the whole image has content:
its scores are wrong near that edge, up to the *reach* of the network. Neighbouring tiles overlap,
and hand over to each other in the middle of the overlap; if it is twice the reach, no score that
the edge has touched is used, and tiles give the scores of the whole image. Tiles begin at
multiples of the coarsest stride, so that all cells lie where they lie in the whole image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fcnseg.data.rasters import Raster
from fcnseg.errors import UsageError


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels of the image.

    Attributes:
        start: its first pixel.
        stop: one behind its last.
        weight: (stop - start,) float32 in [0, 1]; over all spans the weights of a pixel sum to 1.
    """

    start: int
    stop: int
    weight: np.ndarray

    @property
    def used(self) -> tuple[int, int]:
        """The first pixel that has weight, and one behind the last."""
        (places,) = np.nonzero(self.weight)
        return self.start + int(places[0]), self.start + int(places[-1]) + 1


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        size: side of a tile in pixels.
        overlap: pixels that neighbours share.
        margin: pixels at an inner edge that get no weight, as far as the overlap allows.
        grid: tiles begin at multiples of it.
        mirrored: mirrored views are scored too: a tile is read on to the right, until it ends a
            multiple of ``grid`` before the image's end, where the mirrored image has its cells.

    Raises:
        UsageError: an overlap that leaves no step from tile to tile, or negative numbers.
    """

    size: int
    overlap: int
    margin: int = 0
    grid: int = 1
    mirrored: bool = False

    def __post_init__(self) -> None:
        least = self.overlap + self.grid
        if self.overlap < 0 or self.margin < 0 or self.grid < 1:
            raise UsageError(f"--overlap: expected 0 pixels or more, got {self.overlap}")
        if self.size // self.grid * self.grid < least:
            raise UsageError(
                f"--tile {self.size}: with an overlap of {self.overlap} pixels and tiles that "
                f"begin at multiples of {self.grid}, expected {-(-least // self.grid) * self.grid} "
                "or more; raise --tile or lower --overlap"
            )

    @property
    def exact(self) -> bool:
        """Whether no score that an inner edge has touched is used."""
        return self.overlap >= 2 * self.margin

    @property
    def least_exact(self) -> int:
        """The least side with which tiles can be :attr:`exact`."""
        return -(-2 * self.margin // self.grid) * self.grid + self.grid

    def spans(self, extent: int) -> list[Span]:
        """The tiles along an axis of ``extent`` pixels, from 1 up."""
        size = self.size // self.grid * self.grid
        if extent <= size:
            return [Span(0, extent, np.ones(extent, np.float32))]
        step = (size - self.overlap) // self.grid * self.grid
        count = -(-(extent - size) // step) + 1
        bounds = [(i * step, min(i * step + size, extent)) for i in range(count)]
        rises = [self._rise(extent, start, step, size) for start, _ in bounds[1:]]
        edges = [np.ones(extent, np.float32), *rises, np.zeros(extent, np.float32)]
        return [
            Span(start, stop, (edges[i] - edges[i + 1])[start:stop])
            for i, (start, stop) in enumerate(bounds)
        ]

    def _rise(self, extent: int, start: int, step: int, size: int) -> np.ndarray:
        """From 0 to 1 where the tile that begins at ``start`` takes over from the one before."""
        shared = size - step
        blended = shared - 2 * self.margin
        width = min(blended if blended >= 0 else min(self.grid, shared), step)
        middle = start + shared / 2
        place = np.arange(extent) + 0.5
        if width == 0:
            return (place > middle).astype(np.float32)
        return np.clip((place - middle) / width + 0.5, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Band:
    """Rows of an image that are done.

    Attributes:
        top: the first row.
        labels: (h, W) uint8 class ids.
        scores: (K, h, W) float32 before softmax, None if they were not asked for.
    """

    top: int
    labels: np.ndarray
    scores: np.ndarray | None


def bands_of(
    raster: Raster,
    tiling: Tiling,
    score: Callable[[np.ndarray], Tensor],
    scores: bool = False,
) -> Iterator[Band]:
    """Score an image tile by tile, and give its rows from the top as they are done.

    Scores are held of a tile, and of the rows and columns in which two tiles blend.

    Args:
        raster: the image.
        tiling: how it is cut.
        score: (h, w, 3) uint8 -> (K, h, w) scores of a tile.
        scores: give the scores as well.
    """
    height, width = raster.size
    rows, columns = tiling.spans(height), tiling.spans(width)
    above: Tensor | None = None  # (K, h, W): what the tiles above gave to the first rows
    for i, row in enumerate(rows):
        top, bottom = row.used
        done = rows[i + 1].used[0] if i + 1 < len(rows) else bottom
        labels = np.empty((done - top, width), np.uint8)
        parts: list[np.ndarray] = []
        kept: list[Tensor] = []
        weight = row.weight[top - row.start : bottom - row.start]
        for left, block in _blocks(raster, row, columns, score, tiling):
            block *= _like(weight, block)[:, None]
            right = left + block.shape[2]
            if above is not None:
                block[:, : above.shape[1]] += above[:, :, left:right]
            finished = block[:, : done - top]
            labels[:, left:right] = finished.argmax(0).to(torch.uint8).cpu().numpy()
            kept.append(block[:, done - top :].clone())
            if scores:
                parts.append(finished.float().cpu().numpy())
        above = torch.cat(kept, 2) if i + 1 < len(rows) else None
        yield Band(top, labels, np.concatenate(parts, 2) if scores else None)


def _blocks(
    raster: Raster,
    row: Span,
    columns: list[Span],
    score: Callable[[np.ndarray], Tensor],
    tiling: Tiling,
) -> Iterator[tuple[int, Tensor]]:
    """Along one row of tiles, columns that are done: the first, and their (K, h, w) scores.

    The rows are those that have weight, not yet weighted.
    """
    top, bottom = (place - row.start for place in row.used)
    before: Tensor | None = None  # (K, h, w): what the tile on the left gave to the first columns
    for j, column in enumerate(columns):
        left, right = column.used
        more = (raster.size[1] - column.stop) % tiling.grid if tiling.mirrored else 0
        wide = column.stop + more - column.start
        pixels = raster.read(row.start, column.start, row.stop - row.start, wide)
        part = slice(left - column.start, right - column.start)
        scored = score(pixels)[:, top:bottom, part]
        block = scored * _like(column.weight[part], scored)
        if before is not None:
            block[:, :, : before.shape[2]] += before
        done = (columns[j + 1].used[0] if j + 1 < len(columns) else right) - left
        before = block[:, :, done:].clone()
        yield left, block[:, :, :done]


def _like(weight: np.ndarray, scores: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(weight)).to(scores)
