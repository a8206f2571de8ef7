"""The PASCAL VOC layout: photographs, palette masks and lists of ids."""

import os
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np

from fcnseg.data.encodings import checked_ids, class_ids, ids_of_table
from fcnseg.data.faults import first_names
from fcnseg.data.images import read_mask_pixels
from fcnseg.data.pairs import ImagePairs, Pair, inside
from fcnseg.data.sample import MAX_PIXELS, VOID
from fcnseg.errors import DataError, UsageError
from fcnseg.palette import voc_palette

CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
PALETTE = voc_palette(len(CLASSES))
SEG11VALID = "seg11valid"
"""The split of 736 validation images of VOC 2011 and 2012 that are not in SBD's training list."""

_IMAGES, _MASKS, _LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
WAYS_OUT = (
    "give --images DIR --masks DIR for pairs of your own, point --data-root at PASCAL VOC, fetch "
    "it with --download, or use --data shapes, which needs no files"
)

# The archive of 2011 has a folder above the usual one.
_ABOVE = ("", "VOCdevkit/", "TrainVal/VOCdevkit/")


def voc(
    root: str | Path | None,
    split: str,
    year: int | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    strict: bool = True,
) -> ImagePairs:
    """Open one split of a data set in the VOC layout: 21 classes with background, 255 void.

    The root is the folder with ``JPEGImages``, ``SegmentationClass`` and
    ``ImageSets/Segmentation``, or one above it (``VOC2012`` or ``VOCdevkit/VOC2012``). Masks may
    be VOC's palette images, grey images of class ids, or RGB images in VOC's colours. A palette
    image with VOC's colours in another order is read by its colours.

    Args:
        root: see above.
        split: the name of a list in ``ImageSets/Segmentation``: "train", "val", "trainval", in
            VOC 2007 also "test"; or "seg11valid", the list on which FCN scores are quoted, which
            comes with fcnseg and needs VOC 2011 or 2012.
        year: which ``VOC<year>`` folder, where ``root`` has several.
        max_pixels: larger images are refused before decoding.
        strict: see :class:`~fcnseg.data.pairs.ImagePairs`.

    Raises:
        UsageError: the split is no plain name.
        DataError: folders or the list are missing, or the list is empty; if ``strict``, files are
            missing, an id is listed twice, or an entry or a link leads out of the root.
    """
    pairs, faults = split_pairs(find_root(root, year), split, each=not strict)
    return ImagePairs(
        f"voc/{split}",
        CLASSES,
        PALETTE,
        pairs,
        read_label,
        faults=faults,
        strict=strict,
        max_pixels=max_pixels,
    )


def split_pairs(folder: Path, split: str, each: bool = False) -> tuple[list[Pair], list[str]]:
    """Return the pairs of a split of the VOC folder ``folder``, and what is wrong.

    ``each``: as :func:`listed_pairs`.

    Raises as :func:`read_split`.
    """
    ids, faults = read_split(folder, split)
    images, masks = (folder / _IMAGES, ".jpg"), (folder / _MASKS, ".png")
    pairs, missing = listed_pairs(f"{split}.txt", ids, images, masks, each)
    pairs, outside = inside(folder, pairs)
    return pairs, [*faults, *missing, *outside]


def find_folders(root: Path, year: int | None = None) -> list[Path]:
    """Return every folder at or below ``root`` that has ``JPEGImages``, those named VOC by year.

    If ``year`` is given, ``root`` itself counts only if no folder of that year is below it.
    """
    pattern = f"VOC{year or '[0-9][0-9][0-9][0-9]'}"
    below = sorted(place for above in _ABOVE for place in root.glob(above + pattern))
    places = [place for place in below if (place / _IMAGES).is_dir()]
    itself = [root] if (root / _IMAGES).is_dir() else []
    return itself or places if year is None else places or itself


def find_root(root: str | Path | None, year: int | None = None) -> Path:
    """Return the folder with ``JPEGImages`` and the rest, which is ``root`` or below it.

    Raises :class:`DataError` if it is missing, lacks a part, or is one of several.
    """
    if root is None:
        raise DataError(f"--data-root: PASCAL VOC needs a folder and none was given; {WAYS_OUT}")
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"--data-root {root}: there is no such folder; {WAYS_OUT}")
    places = find_folders(root, year)
    if not places:
        name = f"VOC{year or '<year>'}"
        raise DataError(
            f"--data-root {root}: no PASCAL VOC there ({_IMAGES} is in neither the folder, "
            f"{name} nor VOCdevkit/{name}); {WAYS_OUT}"
        )
    if len(places) > 1:
        found = ", ".join(str(place.relative_to(root)) for place in places)
        raise DataError(
            f"--data-root {root}: holds several years ({found}); point --data-root at one of them"
        )
    missing = [part for part in (_MASKS, _LISTS) if not (places[0] / part).is_dir()]
    if missing:
        raise DataError(
            f"--data-root {places[0]}: {' and '.join(missing)} missing beside {_IMAGES} "
            f"(was the segmentation part unpacked?); {WAYS_OUT}"
        )
    return places[0]


def lacking(folder: Path) -> list[str]:
    """Return what a folder lacks of VOC's parts: folders, and the lists of both splits."""
    lists = [f"{_LISTS}/{split}.txt" for split in ("train", "val")]
    return [part for part in (_IMAGES, _MASKS, *lists) if not (folder / part).exists()]


def read_split(folder: Path, split: str) -> tuple[list[str], list[str]]:
    """Return the ids of a split of the VOC folder ``folder``, in order, and the list's faults.

    Raises:
        UsageError: the split is no plain name.
        DataError: there is no such list, or it is empty.
    """
    if not _is_plain(split):
        raise UsageError(f"VOC split {split!r}: expected the plain name of a list, such as train")
    if split == SEG11VALID:
        text = resources.files("fcnseg.data").joinpath(f"{split}.txt").read_text(encoding="utf-8")
        return text.split(), []
    file = folder / _LISTS / f"{split}.txt"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in file.parent.glob("*.txt"))) or "none"
        hint = ""
        if split == "test":
            hint = "; of the test images only VOC 2007 has masks, in VOCtest_06-Nov-2007.tar"
        raise DataError(f"{file}: there is no such list; lists there: {there}{hint}")
    return read_list(file)


def read_list(file: Path) -> tuple[list[str], list[str]]:
    """Return the ids in a list, one a line, each once and in order; and what is wrong in it.

    Raises :class:`DataError` if it is no text file or has no ids.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{file}: is no text file; expected one image id a line") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check it") from None
    entries = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    if not entries:
        raise DataError(f"{file}: the list is empty; expected one image id a line")
    faults = [
        f"{file}: entry {entry!r} in line {number} is no plain image id and is refused; "
        "expected a name such as 2007_000033"
        for number, entry in entries.items()
        if not _is_plain(entry)
    ]
    counts = Counter(entry for entry in entries.values() if _is_plain(entry))
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        faults.append(
            f"{file}: {len(twice)} ids are listed more than once: {first_names(twice)}; "
            "list each once"
        )
    return list(counts), faults


def listed_pairs(
    name: str,
    ids: Sequence[str],
    images: tuple[Path, str],
    masks: tuple[Path, str],
    each: bool = False,
) -> tuple[list[Pair], list[str]]:
    """Return a pair for every id whose files are in two (folder, ending); and what is missing.

    Args:
        name: the list, for messages.
        ids: what it lists.
        images: folder and ending of the photographs.
        masks: of the masks.
        each: say of every file that it is missing, not how many are.
    """
    faults = []
    lacking = set()
    for folder, ending in (images, masks):
        there = set(os.listdir(folder)) if folder.is_dir() else set()
        missing = [entry for entry in ids if entry + ending not in there]
        lacking.update(missing)
        remedy = "unpack the data again or correct the list"
        if each:
            faults += [
                f"{folder / (entry + ending)}: is listed in {name} and missing; {remedy}"
                for entry in missing
            ]
        elif missing:
            faults.append(
                f"{folder}: {len(missing)} of {len(ids)} files listed in {name} are missing: "
                f"{first_names([entry + ending for entry in missing])}; {remedy}"
            )
    pairs = [
        Pair(entry, images[0] / (entry + images[1]), masks[0] / (entry + masks[1]))
        for entry in ids
        if entry not in lacking
    ]
    return pairs, faults


def read_label(pair: Pair, max_pixels: int) -> np.ndarray:
    """Return (H, W) uint8 class ids of a mask in VOC's encodings, 255 where void.

    Raises:
        DataError: the mask cannot be decoded, or holds a value or a colour that is no class, or
            a colour table that has VOC's colours in another order and others in use.
    """
    pixels = read_mask_pixels(pair.mask, max_pixels)
    if pixels.kind == "rgb":
        return class_ids(pair.mask, pixels, len(CLASSES), "rgb", PALETTE)
    reordered = None
    if pixels.colours is not None:
        # Programs that save a mask again may sort its colour table or drop what is not in use;
        # what some put at index 255 says nothing.
        table = pixels.colours[:VOID]
        remedy = "save the mask with VOC's colour table, or as grey values of class ids"
        reordered = ids_of_table(pair.mask, pixels.values, table, PALETTE, remedy, usual_order=True)
    return checked_ids(pair.mask, pixels.values, len(CLASSES)) if reordered is None else reordered


def _is_plain(entry: str) -> bool:
    return entry not in (".", "..") and not any(mark in entry for mark in ("/", "\\", "\0"))
