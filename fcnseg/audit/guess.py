"""What a folder of masks holds that nobody has described: classes and encoding, proposed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from fcnseg.audit.known import known_colours, known_names
from fcnseg.audit.tally import MOST_COLOURS, Tally, tally
from fcnseg.data.faults import first_names
from fcnseg.data.images import IMAGE_ENDINGS
from fcnseg.data.sample import MAX_PIXELS, VOID
from fcnseg.errors import DataError
from fcnseg.palette import VOID_COLOUR, Colour

Key = TypeVar("Key", int, str)

_BLACK: Colour = (0, 0, 0)
_LISTED = 12

# Grey levels at least this far apart, up to at least _BRIGHT, are shades chosen to be seen.
_GAP, _BRIGHT = 10, 35

# Ids beyond so many different values are rather the greys of a picture.
_MOST_VALUES = 200


@dataclass(frozen=True)
class Guess:
    """What masks seem to hold.

    Attributes:
        encoding: for ``--mask-encoding``: "index", "palette", "rgb", "binary255", or "auto"
            where palette and grey files are mixed.
        classes: proposed names, 2 or more.
        palette: the colour of each class in RGB masks; None where masks hold ids.
        void_seen: whether void occurs: 255 in masks of ids, VOC's cream in RGB masks.
        lines: what was found and how it is taken, in words, a line each.
    """

    encoding: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...] | None
    void_seen: bool
    lines: tuple[str, ...]

    @property
    def flag(self) -> str:
        """The text for ``--classes``: ``a,b,c`` or, for RGB masks, ``a=#rrggbb,b=#rrggbb``."""
        if self.palette is None:
            return ",".join(self.classes)
        pairs = zip(self.classes, self.palette, strict=True)
        return ",".join(f"{name}={_hex(colour)}" for name, colour in pairs)


def guess(
    masks: str | Path, max_pixels: int = MAX_PIXELS, most: int = 200, suffix: str = ""
) -> Guess:
    """Look at masks spread over a folder and its subfolders and say what they hold.

    Args:
        masks: the folder.
        max_pixels: masks that claim more are passed over.
        most: how many files are looked at.
        suffix: what the names of masks end in, before the ending, where other images lie among
            them.

    Raises:
        DataError: there is no such folder, it has no masks, or none that can be used as they are:
            photographs, smoothed masks, ids of objects; the message names a file.
    """
    masks = Path(masks)
    if not masks.is_dir():
        what = "is a file" if masks.exists() else "there is no such folder"
        raise DataError(f"--masks {masks}: {what}, expected a folder of masks; check the path")
    files = [
        Path(place) / name
        for place, names in _folders(masks)
        for name in sorted(names)
        if not name.startswith(".")
        and name.lower().endswith(IMAGE_ENDINGS)
        and Path(name).stem.endswith(suffix)
    ]
    if not files:
        raise DataError(
            f"--masks {masks}: no masks (files ending in {suffix and suffix + ' and '}"
            f"{', '.join(IMAGE_ENDINGS)}); check the path"
        )
    return guess_files(files, max_pixels, most)


def guess_files(files: Sequence[Path], max_pixels: int = MAX_PIXELS, most: int = 200) -> Guess:
    """Say what mask files hold, as :func:`guess`; ``most`` of them are looked at, evenly spread.

    Raises :class:`DataError` as :func:`guess`.
    """
    places = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).round().astype(int))
    found = tally([files[place] for place in places], max_pixels)
    if not found.looked:
        first = found.refused[0]
        many = (
            f"--masks: none of {len(places)} files looked at can be read as a mask; the first is "
        )
        raise DataError((many if len(places) > 1 else "") + first)
    lines = [_first_line(found, len(files))]
    if found.refused:
        more = f" and {len(found.refused) - 1} more" if len(found.refused) > 1 else ""
        lines.append(f"passed over: {found.refused[0]}{more}")
    if found.photograph is not None:
        path, count = found.photograph
        raise DataError(
            f"{path}: {count} different colours, expected one a class ({MOST_COLOURS} at most): a "
            "photograph, or a mask smoothed by scaling or by JPEG; export the masks again without "
            "smoothing, as PNG",
        )
    if 2 * len(found.coloured) >= found.looked or _tables_differ(found):
        return _colours(found, files, lines)
    if found.coloured:
        lines.append(
            f"{len(found.coloured)} of them in colour, which does not fit the others: "
            f"{first_names([str(path) for path in found.coloured])}"
        )
    if found.sixteen_bit is not None:
        path, value = found.sixteen_bit
        raise DataError(
            f"{path}: has the 16-bit value {value}, expected class ids of 0 to 254: ids of objects "
            "(instances), or a depth map? Export masks of classes",
        )
    return _values(found, files, lines)


def _folders(masks: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder and its file names, in order; hidden folders are passed over."""
    for place, folders, names in os.walk(masks):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield place, names


def _values(found: Tally, files: Sequence[Path], lines: list[str]) -> Guess:
    """Masks of one channel: 0 and 255, shades of grey, or ids."""
    values = sorted(found.values)
    ids = [value for value in values if value != VOID]
    void_shown = found.shown.get(VOID) == {VOID_COLOUR}
    if VOID in values and not void_shown and _black_and_white(found):
        lines += [
            _shares("values", {v: found.values[v] for v in values}, found.value_files),
            "nothing but 0 and 255 (or 1 bit) occurs: 255 is taken for the foreground",
            "if 255 is void: --mask-encoding index, and the names of all classes",
        ]
        return Guess("binary255", ("background", "foreground"), None, False, tuple(lines))
    if _smoothed(found) or len(ids) > _MOST_VALUES:
        raise DataError(
            f"{files[0].parent}: the masks have {len(values)} different grey values, most of them "
            "rare: smoothed by scaling or by JPEG, or no masks at all; export the masks again "
            "without smoothing, or set every pixel to its nearest class",
        )
    lines.append(_shares("ids", {v: found.values[v] for v in ids}, found.value_files))
    if _shades(values) and "palette" not in found.kinds and "16-bit grey" not in found.kinds:
        lines.append("the values are shades of grey far apart; each is taken for a class")
        lines.append(_rest(found, files))
        return _painted([(v, v, v) for v in values], False, lines)
    void_seen = VOID in values
    if void_seen:
        share = 100 * found.values[VOID] / found.values.total()
        lines.append(f"255 is taken for void: {_percent(share)} of pixels, neither trained on nor "
                     "scored")  # fmt: skip
    if len(ids) < 2:
        lines.append("no second class occurs in what was looked at; nothing is to be learned there")
    count = max([*ids, 1]) + 1
    missing = sorted(set(range(count)) - set(ids))
    if missing and len(ids) > 1:
        lines.append(
            f"{len(missing)} ids below {count} do not occur, and are classes nonetheless: "
            f"{_listed(missing)}"
        )
    kinds = found.kinds.keys()
    encoding = "palette" if kinds == {"palette"} else "auto" if "palette" in kinds else "index"
    names: tuple[str, ...] | None = None
    if encoding == "palette":
        shown = {min(colours): value for value, colours in found.shown.items() if value != VOID}
        names, line = known_names(shown, files)
        lines += line
    if names is None:
        names = ("background", "foreground") if count == 2 else _numbered(range(count))
    return Guess(encoding, names, None, void_seen, tuple(lines))


def _colours(found: Tally, files: Sequence[Path], lines: list[str]) -> Guess:
    """Masks in which every class has a colour."""
    if not found.coloured:
        lines.append("one palette index has different colours in different files, so masks are "
                     "read by colour")  # fmt: skip
    colours = {c: n for c, n in found.colours.items() if c != VOID_COLOUR}
    void_seen = VOID_COLOUR in found.colours
    if len(colours) > MOST_COLOURS:
        raise DataError(
            f"{(found.coloured or files)[0]}: it and the other masks have {len(colours)} different "
            f"colours, expected one a class ({MOST_COLOURS} at most): smoothed by scaling or by "
            "JPEG? Export the masks again without smoothing, as PNG",
        )
    lines.append(_shares("colours", {_hex(c): n for c, n in colours.items()},
                         {_hex(c): n for c, n in found.colour_files.items()}))  # fmt: skip
    if void_seen:
        lines.append(f"{_hex(VOID_COLOUR)}, PASCAL VOC's colour of void, is taken for void")
    if len(colours) < 2:
        raise DataError(f"{files[0].parent}: the masks have one colour only; are these the masks?")
    table, line = known_colours(set(colours), files)
    lines += line
    if table is not None:
        return Guess("rgb", tuple(table), tuple(table.values()), void_seen, tuple(lines))
    lines.append(_rest(found, files))
    return _painted(sorted(colours), void_seen, lines)


def _painted(colours: Sequence[Colour], void_seen: bool, lines: list[str]) -> Guess:
    """Unknown colours in their order, black first."""
    names = [f"class{i}" for i in range(len(colours))]
    if colours[0] == _BLACK:
        names[0] = "background"
        lines.append("black is taken for a class, the background")
    return Guess("rgb", tuple(names), tuple(colours), void_seen, tuple(lines))


def _black_and_white(found: Tally) -> bool:
    """Whether grey and palette files hold 0 and 255 only, and others 1 bit."""
    of_palettes = found.shown.keys()
    return (found.wide | of_palettes) <= {0, VOID} and set(found.values) <= {0, 1, VOID}


def _smoothed(found: Tally) -> bool:
    """Whether 0 and 255 are classes with a rim of greys between them."""
    between = [value for value in found.values if value not in (0, VOID)]
    if len(between) < 8 or max(between) < 200 or not {0, VOID} <= found.values.keys():
        return False
    return sum(found.values[value] for value in between) < 0.3 * found.values.total()


def _shades(values: Sequence[int]) -> bool:
    darker = [value for value in values if value != VOID]
    gaps = np.diff(values)
    return len(darker) > 1 and max(darker) >= _BRIGHT and int(gaps.min()) >= _GAP


def _tables_differ(found: Tally) -> bool:
    return any(len(colours) > 1 for value, colours in found.shown.items() if value != VOID)


def _first_line(found: Tally, files: int) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds.most_common())
    of = f"{found.looked} of {files} masks" if found.looked < files else f"{files} masks"
    return f"{of} looked at: {kinds}"


def _shares(what: str, pixels: Mapping[Key, int], files: Mapping[Key, int]) -> str:
    """Every value or colour with its share of pixels and the number of masks it is in."""
    total = max(sum(pixels.values()), 1)
    listed = [
        f"{key} {_percent(100 * count / total)} (in {files[key]})"
        for key, count in sorted(pixels.items())[:_LISTED]
    ]
    more = f", and {len(pixels) - _LISTED} more" if len(pixels) > _LISTED else ""
    return (
        f"{len(pixels)} {what}, with their share of pixels and number of masks: "
        f"{', '.join(listed)}{more}"
    )


def _percent(share: float) -> str:
    return f"{share:.1f} %" if share >= 0.1 else "under 0.1 %"


def _rest(found: Tally, files: Sequence[Path]) -> str:
    """What becomes of colours that were not seen."""
    if found.looked < len(files):
        return "a colour that occurs only in masks not looked at is missing here; check names it"
    return "the names are for you to choose"


def _listed(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return ", ".join(map(str, numbers[:_LISTED])) + more


def _numbered(ids: range) -> tuple[str, ...]:
    return tuple(f"class{i}" for i in ids)


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
