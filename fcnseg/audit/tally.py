"""What occurs in mask files: values, colours and kinds of file, counted over a part of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from fcnseg.data.images import MaskPixels, read_mask_pixels
from fcnseg.data.sample import VOID
from fcnseg.errors import DataError
from fcnseg.palette import Colour

MOST_COLOURS = 64
"""A mask with more colours or grey values than this is taken for a photograph."""

Key = TypeVar("Key", int, str, Colour)

# A slip of the hand has fewer pixels than this and at most a share of the mask, or a lesser share.
_FEW, _FEW_SHARE, _RARE_SHARE = 10, 0.01, 0.0001

_LISTED = 12  # values or colours in one line
_SLIPS = 5

# Counting ends at so many photographs: they take long, and are no masks.
_PHOTOGRAPHS = 10

# With so many values, and so often another in the next pixel, grey is a picture too: masks of road
# scenes differ in 2 of 100 places, photographs in 35 to 90.
_MANY_VALUES, _RESTLESS = 16, 0.35

# Grey levels at least this far apart, up to at least _BRIGHT, are shades chosen to be seen.
_GAP, _BRIGHT = 10, 35


@dataclass(frozen=True)
class Slip:
    """Where a value or colour with few pixels of a mask occurs first, row by row."""

    path: Path
    pixels: int
    x: int
    y: int


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
        photographs: files with more than :data:`MOST_COLOURS` colours, and their number.
        pictures: files of one channel that are no masks of classes by their values: there are
            more than :data:`MOST_COLOURS`, or they change from pixel to pixel; and their number.
        sixteen_bit: files with a value beyond 255, and its largest.
        different: each file of one channel, and how many values it has.
        slips: value or colour that was in few pixels of the first file that has it -> where.
        in_alpha: the files of one colour whose alpha channel differs from pixel to pixel.
        first: value of a file of one channel -> the first file that has it.
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
    photographs: list[tuple[Path, int]] = field(default_factory=list)
    pictures: list[tuple[Path, int]] = field(default_factory=list)
    sixteen_bit: list[tuple[Path, int]] = field(default_factory=list)
    different: list[tuple[Path, int]] = field(default_factory=list)
    slips: dict[int | Colour, Slip] = field(default_factory=dict)
    in_alpha: list[Path] = field(default_factory=list)
    first: dict[int, Path] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def looked(self) -> int:
        """Number of files that were read."""
        return self.kinds.total()

    @property
    def black_and_white(self) -> bool:
        """Whether grey and palette files hold 0 and 255 only, and others 1 bit."""
        of_palettes = self.shown.keys()
        return (self.wide | of_palettes) <= {0, VOID} and set(self.values) <= {0, 1, VOID}

    @property
    def smoothed(self) -> bool:
        """Whether 0 and 255 are classes with a rim of greys between them."""
        between = [value for value in self.values if value not in (0, VOID)]
        if len(between) < 8 or max(between) < 200 or not {0, VOID} <= self.values.keys():
            return False
        return sum(self.values[value] for value in between) < 0.3 * self.values.total()

    @property
    def shades(self) -> bool:
        """Whether values are so far apart that they were chosen to be seen."""
        darker = [value for value in self.values if value != VOID]
        gaps = np.diff(sorted(self.values))
        return len(darker) > 1 and max(darker) >= _BRIGHT and int(gaps.min()) >= _GAP

    @property
    def tables_differ(self) -> bool:
        """Whether one palette index has different colours in different files."""
        return any(len(colours) > 1 for value, colours in self.shown.items() if value != VOID)

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
            self._count(path, pixels.values, there, [table[value] for value in there])
            for value in there:
                self.shown.setdefault(value, set()).add(table[value])
        elif pixels.kind == "bilevel":
            self.kinds["1-bit"] += 1
            self._count(path, pixels.values, there, [(255 * value,) * 3 for value in there])
        elif pixels.values.dtype == np.uint16:
            self.kinds["16-bit grey"] += 1
            self._count(path, pixels.values, there, [])
            self.wide |= there.keys()
            if max(there) > 255:
                self.sixteen_bit.append((path, max(there)))
        else:
            self.kinds["grey"] += 1
            self._count(path, pixels.values, there, [(value,) * 3 for value in there])
            self.wide |= there.keys()
            self._look_for_alpha(path, pixels.values, len(there))

    def _add_rgb(self, path: Path, values: np.ndarray) -> None:
        self.kinds["RGB"] += 1
        codes, counts = _codes(values)
        self._look_for_alpha(path, values, len(codes))
        colours = [(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()]
        if all(r == g == b for r, g, b in colours):
            there = {colour[0]: count for colour, count in zip(colours, counts, strict=True)}
            self._count(path, values[..., 0], there, colours)
            self.wide |= there.keys()
            return
        self.coloured.append(path)
        if len(colours) > MOST_COLOURS:
            self.photographs.append((path, len(colours)))
            return
        for code, colour, count in zip(codes.tolist(), colours, counts, strict=True):
            if colour not in self.colour_files and _is_few(count, values.size // 3):
                y, x = np.argwhere(_coded(values) == code)[0].tolist()
                self.slips[colour] = Slip(path, count, x, y)
        self.colours.update(dict(zip(colours, counts, strict=True)))
        self.colour_files.update(colours)

    def _look_for_alpha(self, path: Path, values: np.ndarray, colours: int) -> None:
        if colours == 1 and _alpha_differs(path, values.shape[0] * values.shape[1]):
            self.in_alpha.append(path)

    def _count(
        self, path: Path, values: np.ndarray, there: dict[int, int], colours: Sequence[Colour]
    ) -> None:
        for value in there:
            self.first.setdefault(value, path)
        self.different.append((path, len(there)))
        if _is_picture(values, len(there)):
            self.pictures.append((path, len(there)))
        if len(there) <= MOST_COLOURS:
            for value, count in there.items():
                if value not in self.value_files and _is_few(count, values.size):
                    y, x = np.argwhere(values == value)[0].tolist()
                    self.slips[value] = Slip(path, count, x, y)
        self.values.update(there)
        self.value_files.update(there.keys())
        for colour, count in zip(colours, there.values(), strict=False):
            self.colours[colour] += count
        self.colour_files.update(set(colours))


def tally(files: Sequence[Path], max_pixels: int) -> Tally:
    """Read and count ``files``; those that cannot be read are passed over, and said so.

    Counting ends at the tenth coloured file that has more than :data:`MOST_COLOURS` colours.
    """
    found = Tally()
    for path in files:
        try:
            found.add(path, read_mask_pixels(path, max_pixels))
        except DataError as error:
            found.refused.append(str(error))
        if len(found.photographs) == _PHOTOGRAPHS:
            break
    return found


def so_many(found: Tally, alike: int) -> str:
    """Return how many of several files that were read are like the one that is named, in words."""
    least = "at least " if alike == _PHOTOGRAPHS == len(found.photographs) else ""
    return f" ({least}{alike} of {found.looked} masks {'is' if alike == 1 else 'are'} so)" * (
        found.looked > 1
    )


def slips_in_words(
    what: str, found: Tally, files: Mapping[Key, int], keys: Sequence[Key]
) -> list[str]:
    """Return a warning for each of ``keys`` that is in a few pixels of one of several masks."""
    lone = [key for key in keys if key in found.slips and files[key] == 1 and found.looked > 1]
    lines = []
    for key in lone[:_SLIPS]:
        slip = found.slips[key]  # type: ignore[index]
        pixels = f"{slip.pixels} pixel{'' if slip.pixels == 1 else 's'}"
        name = hex_of(key) if isinstance(key, tuple) else key
        lines.append(
            f"warning: {what} {name} is in one mask only, {pixels}: {slip.path} at x={slip.x}, "
            f"y={slip.y}; a slip? correct it, or name the class"
        )
    if len(lone) > _SLIPS:
        lines.append(f"warning: and {len(lone) - _SLIPS} more such {what}s")
    return lines


def shares(what: str, pixels: Mapping[Key, int], files: Mapping[Key, int]) -> str:
    """Return every value or colour with its share of pixels and the number of masks it is in."""
    total = max(sum(pixels.values()), 1)
    listed = [
        f"{hex_of(key) if isinstance(key, tuple) else key} {percent(100 * count / total)} "
        f"(in {files[key]})"
        for key, count in sorted(pixels.items())[:_LISTED]
    ]
    more = f", and {len(pixels) - _LISTED} more" if len(pixels) > _LISTED else ""
    title = f"{len(pixels)} {what}, with their share of pixels and number of masks: "
    return f"{title}{', '.join(listed)}{more}"


def percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 0.1 else "under 0.1 %"


def hex_of(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _codes(values: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Return the colours of (H, W, 3) uint8 as r << 16 | g << 8 | b in order, and their pixels."""
    codes = _coded(values).ravel()
    # Masks have long runs of one colour: there are far fewer runs to sort than pixels.
    starts = np.flatnonzero(np.diff(codes, prepend=codes[0] ^ 1))
    lengths = np.diff(starts, append=len(codes))
    found, place = np.unique(codes[starts], return_inverse=True)
    return found, np.bincount(place, weights=lengths).astype(np.int64).tolist()


def _coded(values: np.ndarray) -> np.ndarray:
    """Return (H, W) int32, r << 16 | g << 8 | b, of (H, W, 3) uint8."""
    channels = values.astype(np.int32)
    return channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]


def _is_few(count: int, pixels: int) -> bool:
    return count < _RARE_SHARE * pixels or (count < _FEW and count <= _FEW_SHARE * pixels)


def _is_picture(values: np.ndarray, different: int) -> bool:
    """Whether (H, W) values, so many of them different, are rather greys than class ids."""
    if different <= _MANY_VALUES or different > MOST_COLOURS:
        return different > MOST_COLOURS
    row = values.ravel()
    return float((row[1:] != row[:-1]).mean()) > _RESTLESS


def _alpha_differs(path: Path, pixels: int) -> bool:
    """Whether a file that was read, of so many pixels, has an alpha channel that is no constant."""
    if pixels > (Image.MAX_IMAGE_PIXELS or 0):  # Pillow would warn of it
        return False
    try:
        with Image.open(path) as image:
            if "A" not in image.getbands():
                return False
            low, high = image.getchannel("A").getextrema()
    except (OSError, ValueError):  # gone or changed meanwhile
        return False
    return low != high
