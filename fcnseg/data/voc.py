"""The PASCAL VOC layout: photographs, palette masks and lists of ids."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from fcnseg.data.encodings import checked_ids
from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.images import MaskPixels
from fcnseg.data.pairs import check_inside, read_pair
from fcnseg.data.sample import MAX_PIXELS, Sample
from fcnseg.errors import DataError, UsageError
from fcnseg.palette import voc_palette

CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
PALETTE = voc_palette(len(CLASSES))

_IMAGES, _MASKS, _LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
_WAYS_OUT = "point --data-root at PASCAL VOC, or use --data shapes, which needs no files"


class Voc:
    """One split of a data set in the VOC layout, 21 classes with background, 255 void.

    The root is the folder with ``JPEGImages``, ``SegmentationClass`` and
    ``ImageSets/Segmentation``, or one above it (``VOC2012`` or ``VOCdevkit/VOC2012``).

    Args:
        root: see above.
        split: the name of a list in ``ImageSets/Segmentation``, such as "train" or "val".
        year: which ``VOC<year>`` folder, where ``root`` has several.
        max_pixels: larger images are refused before decoding.

    Raises:
        UsageError: the split is no plain name.
        DataError: folders, the list or files are missing, the list is empty, or an entry or a
            link leads out of the root.
    """

    def __init__(
        self,
        root: str | Path | None,
        split: str,
        year: int | str | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.name = f"voc/{split}"
        self.classes = CLASSES
        self.palette = PALETTE
        self._max_pixels = max_pixels
        folder = find_root(root, year)
        self._ids = read_split(folder, split)
        self._files = _files(folder, self._ids, split)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self._ids[index], self._files[index], _to_ids, self._max_pixels)

    def id(self, index: int) -> str:
        return self._ids[index]

    def files(self, index: int) -> tuple[Path, ...]:
        return self._files[index]


def find_root(root: str | Path | None, year: int | str | None = None) -> Path:
    """Return the folder with ``JPEGImages`` and the rest, which is ``root`` or below it."""
    if root is None:
        raise DataError(f"--data-root: PASCAL VOC needs a folder and none was given; {_WAYS_OUT}")
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"--data-root {root}: there is no such folder; {_WAYS_OUT}")
    pattern = f"VOC{year or '[0-9][0-9][0-9][0-9]'}"
    below = sorted([*root.glob(pattern), *root.glob(f"VOCdevkit/{pattern}")])
    places = [place for place in ([] if year else [root]) + below if (place / _IMAGES).is_dir()]
    if year and not places and (root / _IMAGES).is_dir():
        places = [root]
    if not places:
        raise DataError(
            f"--data-root {root}: no PASCAL VOC there ({_IMAGES} is in neither the folder, "
            f"{pattern} nor VOCdevkit/{pattern}); {_WAYS_OUT}"
        )
    if len(places) > 1 and places[0] != root:
        found = ", ".join(str(place.relative_to(root)) for place in places)
        raise DataError(f"--data-root {root}: holds several years ({found}); name one of them")
    missing = [part for part in (_MASKS, _LISTS) if not (places[0] / part).is_dir()]
    if missing:
        raise DataError(
            f"--data-root {places[0]}: {' and '.join(missing)} missing beside {_IMAGES} "
            f"(was the segmentation part unpacked?); {_WAYS_OUT}"
        )
    return places[0]


def read_split(folder: Path, split: str) -> list[str]:
    """Return the ids listed in ``ImageSets/Segmentation/<split>.txt``, in order."""
    if not _is_plain(split):
        raise UsageError(f"VOC split {split!r}: expected the plain name of a list, such as train")
    file = folder / _LISTS / f"{split}.txt"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in file.parent.glob("*.txt"))) or "none"
        raise DataError(f"{file}: there is no such list; lists there: {there}")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{file}: is no text file; expected one image id a line") from None
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise DataError(f"{file}: the list is empty; expected one image id a line")
    faults = [
        f"{file}: entry {entry!r} in line {number} is no plain image id and is refused; "
        "expected a name such as 2007_000033"
        for number, entry in enumerate((line.strip() for line in lines), 1)
        if entry and not _is_plain(entry)
    ]
    twice = sorted({name for name, count in Counter(ids).items() if count > 1})
    if twice:
        faults.append(
            f"{file}: {len(twice)} ids are listed more than once: {first_names(twice)}; "
            "list each once"
        )
    raise_faults(faults)
    return ids


def _is_plain(entry: str) -> bool:
    return entry not in (".", "..") and not any(mark in entry for mark in ("/", "\\", "\0"))


def _files(folder: Path, ids: list[str], split: str) -> list[tuple[Path, Path]]:
    """Return (image, mask) of every id, all of them there and below ``folder``."""
    faults = []
    for part, ending in ((_IMAGES, ".jpg"), (_MASKS, ".png")):
        there = set(os.listdir(folder / part))
        missing = [name for name in ids if name + ending not in there]
        if missing:
            faults.append(
                f"{folder / part}: {len(missing)} of {len(ids)} files listed in {split}.txt are "
                f"missing: {first_names([name + ending for name in missing])}; "
                "unpack the data again or correct the list"
            )
    raise_faults(faults)
    files = [(folder / _IMAGES / f"{name}.jpg", folder / _MASKS / f"{name}.png") for name in ids]
    check_inside(folder, files)
    return files


def _to_ids(path: Path, pixels: MaskPixels) -> np.ndarray:
    if pixels.kind == "rgb":
        raise DataError(
            f"{path}: is an RGB mask, expected VOC's palette masks; "
            "read coloured masks with --data folder --mask-encoding rgb"
        )
    return checked_ids(path, pixels.values, len(CLASSES))
