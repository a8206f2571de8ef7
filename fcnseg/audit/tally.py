"""What occurs in mask files: values, colours and kinds of file, counted over a part of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fcnseg.data.images import MaskPixels, read_mask_pixels
from fcnseg.errors import DataError
from fcnseg.palette import Colour

MOST_COLOURS = 64
"""A mask with more colours than this is taken for a photograph."""


@dataclass
class Tally:
    """Counts over mask files; pixels are counted per value of one channel, and per colour.

    Attributes:
        kinds: kind of file in words -> number of files.
        values: value of a grey, 1-bit or palette file -> pixels. RGB files whose three channels
            are equal count as grey.
        value_files: the same -> number of files.
        wide: values of grey files, without those of 1-bit and palette files.
        colours: colour of an 8-bit file -> pixels, as a viewer shows it.
        colour_files: the same -> number of files.
        shown: palette index -> the colours in which files show it.
        coloured: the RGB files whose channels differ.
        photograph: the first file with more than :data:`MOST_COLOURS` colours, and their number.
        sixteen_bit: the first file with a value beyond 255, and its largest.
        refused: the message for each file that cannot be read.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    values: Counter[int] = field(default_factory=Counter)
    value_files: Counter[int] = field(default_factory=Counter)
    wide: set[int] = field(default_factory=set)
    colours: Counter[Colour] = field(default_factory=Counter)
    colour_files: Counter[Colour] = field(default_factory=Counter)
    shown: dict[int, set[Colour]] = field(default_factory=dict)
    coloured: list[Path] = field(default_factory=list)
    photograph: tuple[Path, int] | None = None
    sixteen_bit: tuple[Path, int] | None = None
    refused: list[str] = field(default_factory=list)

    @property
    def looked(self) -> int:
        """Number of files that were read."""
        return self.kinds.total()

    def add(self, path: Path, pixels: MaskPixels) -> None:
        """Count one file."""
        if pixels.kind == "rgb":
            self._add_rgb(path, pixels.values)
            return
        counts = np.bincount(pixels.values.ravel())
        there = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
        if pixels.kind == "palette":
            assert pixels.colours is not None
            table = [(int(r), int(g), int(b)) for r, g, b in pixels.colours]
            table += [(0, 0, 0)] * (256 - len(table))
            self.kinds["palette"] += 1
            self._count(there, [table[value] for value in there])
            for value in there:
                self.shown.setdefault(value, set()).add(table[value])
        elif pixels.kind == "bilevel":
            self.kinds["1-bit"] += 1
            self._count(there, [(255 * value,) * 3 for value in there])
        elif pixels.values.dtype == np.uint16:
            self.kinds["16-bit grey"] += 1
            self._count(there, [])
            self.wide |= there.keys()
            if max(there) > 255 and self.sixteen_bit is None:
                self.sixteen_bit = path, max(there)
        else:
            self.kinds["grey"] += 1
            self._count(there, [(value,) * 3 for value in there])
            self.wide |= there.keys()

    def _add_rgb(self, path: Path, values: np.ndarray) -> None:
        self.kinds["RGB"] += 1
        codes, counts = _codes(values)
        colours = [(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()]
        if all(r == g == b for r, g, b in colours):
            there = {colour[0]: count for colour, count in zip(colours, counts, strict=True)}
            self._count(there, colours)
            self.wide |= there.keys()
            return
        self.coloured.append(path)
        if len(colours) > MOST_COLOURS:
            self.photograph = self.photograph or (path, len(colours))
            return
        self.colours.update(dict(zip(colours, counts, strict=True)))
        self.colour_files.update(colours)

    def _count(self, there: dict[int, int], colours: Sequence[Colour]) -> None:
        self.values.update(there)
        self.value_files.update(there.keys())
        for colour, count in zip(colours, there.values(), strict=False):
            self.colours[colour] += count
        self.colour_files.update(set(colours))


def tally(files: Sequence[Path], max_pixels: int) -> Tally:
    """Read and count ``files``; those that cannot be read are passed over, and said so.

    Counting ends at a coloured file that has more than :data:`MOST_COLOURS` colours.
    """
    found = Tally()
    for path in files:
        try:
            found.add(path, read_mask_pixels(path, max_pixels))
        except DataError as error:
            found.refused.append(str(error))
        if found.photograph is not None:
            break
    return found


def _codes(values: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the colours of (H, W, 3) uint8 as r << 16 | g << 8 | b in order, and their pixels."""
    channels = values.reshape(-1, 3).astype(np.int32)
    codes = channels[:, 0] << 16 | channels[:, 1] << 8 | channels[:, 2]
    # Masks have long runs of one colour: there are far fewer runs to sort than pixels.
    starts = np.flatnonzero(np.diff(codes, prepend=codes[0] ^ 1))
    lengths = np.diff(starts, append=len(codes))
    found, place = np.unique(codes[starts], return_inverse=True)
    return found, np.bincount(place, weights=lengths).astype(np.int64).tolist()
