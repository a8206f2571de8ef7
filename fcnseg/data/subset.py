"""A part of a source, such as the share of a folder that is kept for validation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcnseg.data.pairs import ImagePairs
from fcnseg.data.sample import Colour, Sample, Source
from fcnseg.errors import DataError, UsageError


class Subset:
    """The samples of ``source`` at ``indices``, in that order."""

    def __init__(self, source: Source, indices: Sequence[int], name: str) -> None:
        self.name = name
        self.classes: tuple[str, ...] = source.classes
        self.palette: tuple[Colour, ...] = source.palette
        self.notes: tuple[str, ...] = getattr(source, "notes", ())
        self._source = source
        self._indices = list(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Sample:
        return self._source[self._indices[index]]

    def label(self, index: int) -> np.ndarray:
        return self._source.label(self._indices[index])

    def scaled(self, short_side: int | None) -> "Subset":
        """Return the same part, scaled as :meth:`~fcnseg.data.pairs.ImagePairs.scaled` says.

        Raises :class:`UsageError` where the samples are no files.
        """
        if not isinstance(self._source, ImagePairs):
            raise UsageError(f"--short-side: {self.name} has no files that could be scaled")
        return Subset(self._source.scaled(short_side), self._indices, self.name)

    def misfit(self, index: int, size: tuple[int, int]) -> str:
        """Return what the source says of an image of ``size`` without reading its labels, or ""."""
        misfit = getattr(self._source, "misfit", None)
        return misfit(self._indices[index], size) if callable(misfit) else ""

    def id(self, index: int) -> str:
        return self._source.id(self._indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        return self._source.files(self._indices[index])


def split(source: Source, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Return (the rest, a random ``fraction``) of a source, the same for the same seed.

    Both have at least one sample. Raises :class:`DataError` for a source of fewer than two.
    """
    count = len(source)
    if count < 2:
        pairs = "1 pair" if count == 1 else f"{count} pairs"
        raise DataError(
            f"{source.name}: has {pairs}, too few to keep some for validation; add pairs, or name "
            "a part to validate on"
        )
    chosen = np.random.default_rng(np.random.SeedSequence([3, seed])).permutation(count)
    kept = min(max(round(count * fraction), 1), count - 1)
    rest, part = sorted(chosen[kept:].tolist()), sorted(chosen[:kept].tolist())
    return Subset(source, rest, f"{source.name}/train"), Subset(source, part, f"{source.name}/val")
