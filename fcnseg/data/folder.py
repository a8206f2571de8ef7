"""The user's own data: a folder of images and a folder of masks, paired by name."""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcnseg.checks import check_choice
from fcnseg.data.encodings import ENCODINGS, class_ids
from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.images import IMAGE_ENDINGS, MaskPixels
from fcnseg.data.pairs import read_pair
from fcnseg.data.sample import MAX_PIXELS, Colour, Sample, check_classes
from fcnseg.errors import DataError, UsageError
from fcnseg.palette import voc_palette


class FolderPairs:
    """Images and masks in two folders, paired by their path below it without the ending.

    ``images/town/a.jpg`` goes with ``masks/town/a.png``. Folders may be nested, links are
    followed, and names that start with a dot are passed over. Files with other endings than
    those of images are ignored.

    Args:
        images: folder of images.
        masks: folder of masks; it may lie inside ``images``.
        classes: 2 to 255 names; class id = place in the list.
        encoding: how masks hold class ids, see :func:`fcnseg.data.encodings.class_ids`.
        palette: one (r, g, b) per class: what RGB masks are read with, and what is shown in
            pictures. Without it the VOC colours are shown, and "rgb" is refused.
        max_pixels: larger images are refused before decoding.
        name: shown in messages.

    Raises:
        UsageError: the classes, the encoding or the palette are wrong.
        DataError: a folder is missing or has no images, an image or a mask has no partner, or
            two files share one name.
    """

    def __init__(
        self,
        images: str | Path,
        masks: str | Path,
        classes: Sequence[str],
        encoding: str = "auto",
        *,
        palette: Sequence[Colour] | None = None,
        max_pixels: int = MAX_PIXELS,
        name: str = "folder",
    ) -> None:
        check_choice("--mask-encoding", encoding, ENCODINGS)
        self.name = name
        self.classes = (classes,) if isinstance(classes, str) else tuple(classes)
        given = None if palette is None else tuple((int(r), int(g), int(b)) for r, g, b in palette)
        check_classes(self.classes, given)
        if encoding == "rgb" and given is None:
            raise UsageError("--mask-encoding rgb: needs the colour of each class (palette)")
        if encoding == "binary255" and len(self.classes) != 2:
            raise UsageError(
                f"--mask-encoding binary255: expected 2 classes (of 0 and of 255), "
                f"got {len(self.classes)}"
            )
        self.palette = given or voc_palette(len(self.classes))
        self.encoding = encoding
        self._mask_palette = given
        self._max_pixels = max_pixels
        _check_folders(Path(images), Path(masks))
        self._ids, self._files = pair_by_name(Path(images), Path(masks))

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self._ids[index], self._files[index], self._to_ids, self._max_pixels)

    def id(self, index: int) -> str:
        return self._ids[index]

    def files(self, index: int) -> tuple[Path, ...]:
        return self._files[index]

    def _to_ids(self, path: Path, pixels: MaskPixels) -> np.ndarray:
        return class_ids(path, pixels, len(self.classes), self.encoding, self._mask_palette)


def _check_folders(images: Path, masks: Path) -> None:
    for flag, folder in (("--images", images), ("--masks", masks)):
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "there is no such folder"
            raise DataError(f"{flag} {folder}: {what}, expected a folder; check the path")
    if images.resolve() == masks.resolve():
        raise UsageError(
            f"--masks {masks}: is the folder of --images too; put the masks into their own folder"
        )


def pair_by_name(images: Path, masks: Path) -> tuple[list[str], list[tuple[Path, Path]]]:
    """Return the ids in order, and (image, mask) for each; see :class:`FolderPairs`."""
    found_images = _by_name(images, masks)
    found_masks = _by_name(masks, images)
    raise_faults(
        [
            f"{folder}: {_no_images(folder)}"
            for folder, found in ((images, found_images), (masks, found_masks))
            if not found
        ]
    )
    faults = [*_duplicates(images, found_images), *_duplicates(masks, found_masks)]
    without_mask = sorted(found_images.keys() - found_masks.keys())
    without_image = sorted(found_masks.keys() - found_images.keys())
    if without_mask:
        first = [str(found_images[key][0].relative_to(images)) for key in without_mask]
        faults.append(
            f"{masks}: {len(without_mask)} of {len(found_images)} images in {images} "
            f"({_endings(found_images)}) have no mask of the same name with any ending "
            f"(masks found: {_endings(found_masks)}): {first_names(first)}; "
            f"add the masks or remove the images{_suffix_hint(without_mask, without_image)}"
        )
    if without_image:
        first = [str(found_masks[key][0].relative_to(masks)) for key in without_image]
        faults.append(
            f"{images}: {len(without_image)} of {len(found_masks)} masks in {masks} "
            f"have no image of the same name: {first_names(first)}; "
            "add the images or remove the masks"
        )
    raise_faults(faults)
    ids = sorted(found_images)
    return ids, [(found_images[key][0], found_masks[key][0]) for key in ids]


def _by_name(folder: Path, other: Path) -> dict[str, list[Path]]:
    """Return image files by path below ``folder`` without ending, leaving ``other`` out."""
    found: dict[str, list[Path]] = {}
    avoid = other.resolve() if other.resolve() != folder.resolve() else None
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        if real == avoid or real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for file in sorted(files):
            path = Path(place) / file
            if file.startswith(".") or path.suffix.lower() not in IMAGE_ENDINGS:
                continue
            key = path.relative_to(folder).with_suffix("").as_posix()
            # One name may be stored in two spellings when a Mac wrote one of the folders.
            found.setdefault(unicodedata.normalize("NFC", key), []).append(path)
    return found


def _duplicates(folder: Path, found: dict[str, list[Path]]) -> list[str]:
    twice = [files for _, files in sorted(found.items()) if len(files) > 1]
    if not twice:
        return []
    pairs = [" and ".join(str(path.relative_to(folder)) for path in files) for files in twice]
    return [
        f"{folder}: {len(twice)} names are there more than once: {first_names(pairs)}; "
        "keep one file of each name"
    ]


def _endings(found: dict[str, list[Path]]) -> str:
    counts = Counter(path.suffix.lower() for paths in found.values() for path in paths)
    return ", ".join(f"{ending} {count}" for ending, count in counts.most_common())


def _no_images(folder: Path) -> str:
    counts = Counter(
        path.suffix.lower() or "no ending" for path in folder.rglob("*") if path.is_file()
    )
    there = ", ".join(f"{ending} {count}" for ending, count in counts.most_common(3))
    return (
        f"no images (found: {there or 'nothing'}); expected files ending in "
        f"{', '.join(IMAGE_ENDINGS)}"
    )


def _suffix_hint(images: list[str], masks: list[str]) -> str:
    """Say so where mask names are image names with one and the same addition."""
    if not images or not masks:
        return ""
    additions = {mask[len(images[0]) :] for mask in masks if mask.startswith(images[0])}
    for addition in sorted(additions, key=len):
        if addition and {image + addition for image in images} <= set(masks):
            return f", or rename the masks, which have {addition!r} behind the name"
    return ""
