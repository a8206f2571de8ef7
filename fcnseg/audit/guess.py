"""What a folder of masks holds that nobody has described: classes and encoding, proposed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnseg.audit.known import known_colours, known_names
from fcnseg.audit.tally import (
    MOST_COLOURS,
    Tally,
    hex_of,
    percent,
    shares,
    slips_in_words,
    so_many,
    tally,
)
from fcnseg.data.faults import first_names
from fcnseg.data.images import IMAGE_ENDINGS
from fcnseg.data.names import files_by_name
from fcnseg.data.sample import MAX_PIXELS, VOID
from fcnseg.errors import DataError
from fcnseg.palette import VOID_COLOUR, Colour

_BLACK: Colour = (0, 0, 0)
_LISTED = 12

# Ids beyond so many different values are rather the greys of a picture.
_MOST_VALUES = 200

# Ids that need more classes than this, most of which would never occur, with a gap so wide.
_SPARSE, _WIDE_GAP = 64, 32

# Values so near to 0 and 255 are what lossy compression makes of these.
_NEAR = 32


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
        return ",".join(f"{name}={hex_of(colour)}" for name, colour in pairs)


def guess(
    masks: str | Path,
    max_pixels: int = MAX_PIXELS,
    most: int = 200,
    suffix: str = "",
    images: str | Path | None = None,
) -> Guess:
    """Look at masks spread over a folder and its subfolders and say what they hold.

    Args:
        masks: the folder.
        max_pixels: masks that claim more are passed over.
        most: how many files are looked at.
        suffix: what the names of masks end in, before the ending, where other images lie among
            them.
        images: the folder of images, which is left out where it lies below ``masks``.

    Raises:
        DataError: there is no such folder, it has no masks, or none that can be used as they are:
            photographs, smoothed masks, ids of objects; the message names a file.
    """
    masks = Path(masks)
    if not masks.is_dir():
        what = "is a file" if masks.exists() else "there is no such folder"
        raise DataError(f"--masks {masks}: {what}, expected a folder of masks; check the path")
    found = files_by_name(masks, None if images is None else Path(images))
    files = [path for key, paths in found.items() if key.endswith(suffix) for path in paths]
    if not files:
        raise DataError(
            f"--masks {masks}: no masks (files ending in {suffix and suffix + ' and '}"
            f"{', '.join(IMAGE_ENDINGS)}); check the path"
        )
    try:
        return guess_files(files, max_pixels, most)
    except DataError as error:
        raise DataError(f"{error}; give --classes to see every fault") from None


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
    if 2 * len(found.in_alpha) >= found.looked:
        raise DataError(
            f"{found.in_alpha[0]}: has one colour, and the mask seems to be in its alpha channel "
            f"(transparency), which is not read{so_many(found, len(found.in_alpha))}; save that "
            "channel of every file as a grey PNG"
        )
    lines = [_first_line(found, len(files))]
    if found.refused:
        more = f" and {len(found.refused) - 1} more" if len(found.refused) > 1 else ""
        lines.append(f"passed over: {found.refused[0]}{more}")
    if found.photographs:
        path, count = found.photographs[0]
        raise DataError(
            f"{path}: {count} different colours, expected one a class ({MOST_COLOURS} at most): a "
            f"photograph, or a mask smoothed by scaling or by JPEG"
            f"{so_many(found, len(found.photographs))}; export the masks again without smoothing, "
            "as PNG",
        )
    if 2 * len(found.coloured) >= found.looked or found.tables_differ:
        return _colours(found, files, lines)
    if found.coloured:
        lines.append(
            f"{len(found.coloured)} of them in colour, which does not fit the others: "
            f"{first_names([str(path) for path in found.coloured])}"
        )
    if found.sixteen_bit:
        path, value = found.sixteen_bit[0]
        raise DataError(
            f"{path}: has the 16-bit value {value}, expected class ids of 0 to 254: ids of objects "
            f"(instances), or a depth map{so_many(found, len(found.sixteen_bit))}? Export masks of "
            "classes",
        )
    return _values(found, files, lines)


def _values(found: Tally, files: Sequence[Path], lines: list[str]) -> Guess:
    """Masks of one channel: 0 and 255, shades of grey, or ids."""
    values = sorted(found.values)
    ids = [value for value in values if value != VOID]
    void_shown = found.shown.get(VOID) == {VOID_COLOUR}
    if VOID in values and not void_shown and found.black_and_white:
        lines += [
            shares("values", found.values, found.value_files),
            "nothing but 0 and 255 (or 1 bit) occurs: 255 is taken for the foreground",
            "if 255 is void: --mask-encoding index, and the names of all classes",
            *slips_in_words("value", found, found.value_files, values),
        ]
        return Guess("binary255", ("background", "foreground"), None, False, tuple(lines))
    _refuse_greys(found, values)
    if found.shades and "palette" not in found.kinds and "16-bit grey" not in found.kinds:
        lines.append(shares("values", found.values, found.value_files))
        lines.append("the values are shades of grey far apart; each is taken for a class")
        lines += slips_in_words("value", found, found.value_files, values)
        lines.append(_rest(found, files))
        return _painted([(v, v, v) for v in values], False, lines)
    _refuse_sparse(found, ids)
    lines.append(shares("ids", {v: found.values[v] for v in ids}, found.value_files))
    lines += slips_in_words("value", found, found.value_files, ids)
    if void_seen := VOID in values:
        share = 100 * found.values[VOID] / found.values.total()
        lines.append(f"255 is taken for void: {percent(share)} of pixels, neither trained on nor "
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
        numbered = tuple(f"class{i}" for i in range(count))
        names = ("background", "foreground") if count == 2 else numbered
    return Guess(encoding, names, None, void_seen, tuple(lines))


def _refuse_greys(found: Tally, values: Sequence[int]) -> None:
    """Raise for values of one channel that are no ids, since there are too many of them."""
    if not found.smoothed and found.pictures:
        path, count = found.pictures[0]
        raise DataError(
            f"{path}: {count} different values, expected one a class: a grey photograph or a depth "
            "map, ids of objects (instances), or a mask smoothed by scaling or by JPEG"
            f"{so_many(found, len(found.pictures))}; export masks of classes, as PNG, or "
            "name the classes with --classes"
        )
    if found.smoothed or len(values) - (VOID in values) > _MOST_VALUES:
        most = max(count for _, count in found.different)
        alike = [(path, count) for path, count in found.different if 2 * count >= most]
        path, count = alike[0]
        raise DataError(
            f"{path}: {count} different grey values, most of them rare: smoothed by scaling or by "
            f"JPEG, or no mask at all{so_many(found, len(alike))}; export the masks again without "
            "smoothing, or set every pixel to its nearest class",
        )


def _refuse_sparse(found: Tally, ids: Sequence[int]) -> None:
    """Raise for few ids that are so far apart that most classes would never occur."""
    count = max([*ids, 1]) + 1
    gap = int(np.diff([0, *ids]).max(initial=0))
    if count <= _SPARSE or 2 * len(ids) > count or gap < _WIDE_GAP:
        return
    values = sorted(found.values)
    if all(min(value, 255 - value) < _NEAR for value in values):
        odd = next(value for value in values if value not in (0, 255))
        raise DataError(
            f"{found.first[odd]}: the masks have the values {_listed(values)}: a mask of 0 and 255 "
            f"that JPEG or scaling has changed{so_many(found, found.value_files[odd])}; set "
            "every pixel to 0 or 255, whichever is nearer, and save it as PNG"
        )
    raise DataError(
        f"{found.first[ids[-1]]}: has the value {ids[-1]}, and only {len(ids)} values below "
        f"{count} occur in what was looked at ({_listed(ids)})"
        f"{so_many(found, found.value_files[ids[-1]])}: grey shades or numbers of another "
        "list; renumber the classes from 0 on, or, if these are class ids, name all "
        f"{count} with --classes"
    )


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
    lines.append(shares("colours", colours, found.colour_files))
    lines += slips_in_words("colour", found, found.colour_files, sorted(colours))
    if void_seen:
        lines.append(f"{hex_of(VOID_COLOUR)}, PASCAL VOC's colour of void, is taken for void")
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


def _first_line(found: Tally, files: int) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds.most_common())
    of = f"{found.looked} of {files} masks" if found.looked < files else f"{files} masks"
    return f"{of} looked at: {kinds}"


def _rest(found: Tally, files: Sequence[Path]) -> str:
    """What becomes of colours that were not seen."""
    if found.looked < len(files):
        return "a colour that occurs only in masks not looked at is missing here; check names it"
    return "the names are for you to choose"


def _listed(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return ", ".join(map(str, numbers[:_LISTED])) + more
