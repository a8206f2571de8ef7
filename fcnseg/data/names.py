"""Which image belongs to which mask: two folders, paired by name."""

import os
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.images import IMAGE_ENDINGS
from fcnseg.data.pairs import Pair

Found = dict[str, list[Path]]


@dataclass(frozen=True)
class Listing:
    """The pairs in the order of their names, what is wrong, and what was found out.

    ``faults`` has a line for each kind of fault, to be raised; ``each`` has a line for each file,
    to be listed. ``suffix`` is what the names of the masks have behind those of the images.
    """

    pairs: list[Pair]
    faults: list[str]
    each: list[str]
    suffix: str = ""


def pair_by_name(images: Path, masks: Path, suffix: str | None = None) -> Listing:
    """Pair files by their path below the folders without the ending.

    ``images/town/a.jpg`` goes with ``masks/town/a.png``, and with ``masks/town/a_mask.png`` where
    the suffix is ``_mask``. Folders may be nested, links are followed, names that start with a dot
    are passed over, and so are files with other endings than those of images.

    Args:
        images: folder of images.
        masks: folder of masks; it may lie inside ``images``, or be the same folder if there is a
            suffix.
        suffix: what the names of masks have behind those of images; None: nothing, or, if no name
            fits as it is, the one addition with which every image has a mask.

    Raises:
        DataError: a folder has no images.
    """
    found_images, found_masks = _by_name(images, masks), _by_name(masks, images)
    if suffix and images.resolve() == masks.resolve():
        found_images = {k: v for k, v in found_images.items() if not k.endswith(suffix)}
    raise_faults(
        [
            f"{folder}: {_no_images(folder)}"
            for folder, found in ((images, found_images), (masks, found_masks))
            if not found
        ]
    )
    if suffix is None:
        suffix = _common_addition(found_images, found_masks)
    if suffix:
        if images.resolve() == masks.resolve():
            found_masks = {k: files for k, files in found_masks.items() if k.endswith(suffix)}
        found_masks = _without_suffix(found_masks, suffix)
    faults = [
        *_duplicates(images, found_images),
        *_duplicates(masks, found_masks),
        *_without_partner((images, found_images), (masks, found_masks), suffix),
    ]
    each = [
        *_each_duplicate(found_images),
        *_each_duplicate(found_masks),
        *_each_without_partner((images, found_images), (masks, found_masks), suffix),
    ]
    pairs = [
        Pair(key, found_images[key][0], found_masks[key][0])
        for key in sorted(found_images.keys() & found_masks.keys())
        if len(found_images[key]) == len(found_masks[key]) == 1
    ]
    return Listing(pairs, faults, each, suffix)


def _by_name(folder: Path, other: Path) -> Found:
    """Return image files by path below ``folder`` without ending, leaving ``other`` out."""
    found: Found = {}
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


def _without_suffix(found: Found, suffix: str) -> Found:
    """Return the files by their names without the suffix, where they have it."""
    cut: Found = {}
    for key, files in found.items():
        cut.setdefault(key.removesuffix(suffix), []).extend(files)
    return cut


def _common_addition(images: Found, masks: Found) -> str:
    """Return the addition with which every image has a mask; "" if names fit as they are."""
    if images.keys() & masks.keys():
        return ""
    first = min(images)
    additions = {mask[len(first) :] for mask in masks if mask.startswith(first)}
    fitting = [a for a in additions if {image + a for image in images} <= masks.keys()]
    return min(fitting, key=len, default="")


def _without_partner(
    images: tuple[Path, Found], masks: tuple[Path, Found], suffix: str
) -> list[str]:
    (image_folder, found_images), (mask_folder, found_masks) = images, masks
    faults = []
    without_mask = sorted(found_images.keys() - found_masks.keys())
    without_image = sorted(found_masks.keys() - found_images.keys())
    name = f"of the same name and {suffix!r}" if suffix else "of the same name"
    if without_mask:
        first = [str(found_images[key][0].relative_to(image_folder)) for key in without_mask]
        faults.append(
            f"{mask_folder}: {len(without_mask)} of {len(found_images)} images in {image_folder} "
            f"({_endings(found_images)}) have no mask {name} with any ending "
            f"(masks found: {_endings(found_masks)}): {first_names(first)}; "
            f"add the masks or remove the images{_hint(without_mask, without_image)}"
        )
    if without_image:
        first = [str(found_masks[key][0].relative_to(mask_folder)) for key in without_image]
        faults.append(
            f"{image_folder}: {len(without_image)} of {len(found_masks)} masks in {mask_folder} "
            f"have no image of the same name: {first_names(first)}; "
            "add the images or remove the masks"
        )
    return faults


def _each_without_partner(
    images: tuple[Path, Found], masks: tuple[Path, Found], suffix: str
) -> list[str]:
    (image_folder, found_images), (mask_folder, found_masks) = images, masks
    without_mask = sorted(found_images.keys() - found_masks.keys())
    without_image = sorted(found_masks.keys() - found_images.keys())
    name = f"of the same name and {suffix!r}" if suffix else "of the same name"
    remedy = f"add the mask or remove the image{_hint(without_mask, without_image)}"
    return [
        *(
            f"{found_images[key][0]}: there is no mask {name} with any ending in {mask_folder}; "
            f"{remedy}"
            for key in without_mask
        ),
        *(
            f"{found_masks[key][0]}: there is no image of the same name with any ending in "
            f"{image_folder}; add the image or remove the mask"
            for key in without_image
        ),
    ]


def _each_duplicate(found: Found) -> list[str]:
    return [
        f"{files[0]}: {' and '.join(map(str, files[1:]))} {'has' if len(files) == 2 else 'have'} "
        "the same name with another ending; keep one file of each name"
        for _, files in sorted(found.items())
        if len(files) > 1
    ]


def _hint(images: list[str], masks: list[str]) -> str:
    """Name an addition that some of the masks have behind the name of an image."""
    for image in images:
        additions = [mask[len(image) :] for mask in masks if mask.startswith(image)]
        if additions:
            return f", or give --mask-suffix {min(additions, key=len)}"
    return ""


def _duplicates(folder: Path, found: Found) -> list[str]:
    twice = [files for _, files in sorted(found.items()) if len(files) > 1]
    if not twice:
        return []
    pairs = [" and ".join(str(path.relative_to(folder)) for path in files) for files in twice]
    return [
        f"{folder}: {len(twice)} names are there more than once: {first_names(pairs)}; "
        "keep one file of each name"
    ]


def _endings(found: Found) -> str:
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
