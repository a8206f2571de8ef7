"""Which image belongs to which mask: two folders, paired by name."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.images import IMAGE_ENDINGS
from fcnseg.data.naming import (
    NOTES_UNREAD,
    PICTURES_UNREAD,
    Prefixes,
    common_addition,
    common_prefixes,
    exchanged,
    first_of_many,
    hint,
    nearly,
)
from fcnseg.data.pairs import Pair
from fcnseg.errors import DataError

Found = dict[str, list[Path]]
"""Image files by their path below a folder without the ending; several of one name are a fault."""

_Nearly = tuple[dict[str, str], dict[str, str]]  # name of an image, of a mask -> clause
_NAMED = 3  # files in one message


@dataclass(frozen=True, eq=False)
class Listing:
    """The pairs in the order of their names, and what was found out.

    Attributes:
        pairs: image and mask of every name that is there once in both folders.
        suffix: what the names of the masks have behind those of the images.
        prefixes: what file names of images start with, and what those of masks have in its place;
            None: nothing was exchanged.
        images: the folder of images, and what is in it.
        masks: the folder of masks likewise, by the names of their images.
    """

    pairs: list[Pair]
    suffix: str
    prefixes: Prefixes | None
    images: tuple[Path, Found]
    masks: tuple[Path, Found]

    @property
    def faults(self) -> list[str]:
        """A line for each kind of fault, to be raised."""
        return [
            *_duplicates(*self.images),
            *_duplicates(*self.masks),
            *_without_partner(self.images, self.masks, self._same_name, self._nearly()),
        ]

    @property
    def each(self) -> list[str]:
        """A line for each file with a fault, to be listed."""
        return [
            *_each_duplicate(self.images[1]),
            *_each_duplicate(self.masks[1]),
            *_each_without_partner(self.images, self.masks, self._same_name, self._nearly()),
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of how names were paired."""
        if self.suffix:
            return (f"masks are paired with images by names that end in {self.suffix!r}",)
        if self.prefixes is not None:
            of_images, of_masks = self.prefixes
            return (
                f"masks are paired with images by names with {of_masks!r} at the start in place of "
                f"{of_images!r}",
            )
        return ()

    def _nearly(self) -> _Nearly:
        """What is probably the mask of images without one, and the image of masks without one."""
        (image_folder, images), (mask_folder, masks) = self.images, self.masks
        no_mask, no_image = _alone(images, masks)
        unread: Found = {}
        if no_mask:
            there = _files(mask_folder, image_folder, (*PICTURES_UNREAD, *NOTES_UNREAD))
            meant = {key: self._mask_name(key) for key in no_mask}
            unread = {key: there[name] for key, name in meant.items() if name in there}
        photographs = _files(image_folder, mask_folder, PICTURES_UNREAD) if no_image else {}
        return (
            nearly(no_mask, _first_of(masks, no_image), _first_of(unread), "PNG"),
            nearly(no_image, _first_of(images, no_mask), _first_of(photographs), "JPEG or PNG"),
        )

    def _mask_name(self, key: str) -> str:
        """What the mask of an image would be called."""
        return (exchanged(key, self.prefixes) or key) if self.prefixes else key + self.suffix

    @property
    def _same_name(self) -> str:
        if self.suffix:
            return f"of the same name and {self.suffix!r}"
        if self.prefixes is not None:
            of_images, of_masks = self.prefixes
            return f"of the same name with {of_masks!r} in place of {of_images!r}"
        return "of the same name"


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
            fits as it is, the one addition with which every image has a mask, or else the one
            exchange of what file names start with (``img_1`` and ``mask_1``) with which every one
            of two or more images has a mask.

    Raises:
        DataError: a folder has no images, or cannot be listed.
    """
    found_images, found_masks = files_by_name(images, masks), files_by_name(masks, images)
    if suffix and images.resolve() == masks.resolve():
        found_images = {k: v for k, v in found_images.items() if not k.endswith(suffix)}
    raise_faults(
        [
            f"{folder}: {_no_images(folder)}"
            for folder, found in ((images, found_images), (masks, found_masks))
            if not found
        ]
    )
    prefixes = None
    if suffix is None:
        suffix = common_addition(found_images, found_masks)
        prefixes = None if suffix else common_prefixes(found_images, found_masks)
    if suffix:
        if images.resolve() == masks.resolve():
            found_masks = {k: files for k, files in found_masks.items() if k.endswith(suffix)}
        found_masks = _renamed(found_masks, lambda key: key.removesuffix(suffix))
    if prefixes is not None:
        of_images, of_masks = prefixes
        found_masks = _renamed(
            found_masks, lambda key: exchanged(key, (of_masks, of_images)) or key
        )
    pairs = [
        Pair(key, found_images[key][0], found_masks[key][0])
        for key in sorted(found_images.keys() & found_masks.keys())
        if len(found_images[key]) == len(found_masks[key]) == 1
    ]
    return Listing(pairs, suffix, prefixes, (images, found_images), (masks, found_masks))


def files_by_name(folder: Path, other: Path | None = None) -> Found:
    """Return image files by path below ``folder`` without ending, leaving ``other`` out.

    Raises :class:`DataError` where ``folder`` or a folder below it cannot be listed.
    """
    return _files(folder, other, IMAGE_ENDINGS)


def _files(folder: Path, other: Path | None, endings: Collection[str]) -> Found:
    found: Found = {}
    avoid = other.resolve() if other and other.resolve() != folder.resolve() else None
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_unlisted):
        here = Path(place)
        real = here.resolve()
        if real == avoid or real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        below = here.relative_to(folder).as_posix()
        for file in sorted(files):
            stem, ending = os.path.splitext(file)
            if file.startswith(".") or ending.lower() not in endings:
                continue
            key = stem if below == "." else f"{below}/{stem}"
            # One name may be stored in two spellings when a Mac wrote one of the folders.
            found.setdefault(unicodedata.normalize("NFC", key), []).append(here / file)
    return found


def _unlisted(error: OSError) -> NoReturn:
    raise DataError(
        f"{error.filename}: the folder cannot be listed ({error.strerror}), so its files would be "
        "missing; make it readable, or move it away"
    ) from None


def _renamed(found: Found, name: Callable[[str], str]) -> Found:
    """Return the files by other names; two of one name are kept, to be told of."""
    renamed: Found = {}
    for key, files in found.items():
        renamed.setdefault(name(key), []).extend(files)
    return renamed


def _without_partner(
    images: tuple[Path, Found], masks: tuple[Path, Found], same_name: str, nearly: _Nearly
) -> list[str]:
    (image_folder, found_images), (mask_folder, found_masks) = images, masks
    faults = []
    without_mask, without_image = alone = _alone(found_images, found_masks)
    if without_mask:
        faults.append(
            f"{mask_folder}: {len(without_mask)} of {len(found_images)} images in {image_folder} "
            f"({_endings(found_images)}) have no mask {same_name} with any ending "
            f"(masks found: {_endings(found_masks)}): {_first_files(*images, without_mask)}; "
            f"add the masks or remove the images{first_of_many(nearly[0]) or hint(*alone)}"
        )
    if without_image:
        faults.append(
            f"{image_folder}: {len(without_image)} of {len(found_masks)} masks in {mask_folder} "
            f"have no image of the same name: {_first_files(*masks, without_image)}; "
            f"add the images or remove the masks{first_of_many(nearly[1])}"
        )
    return faults


def _each_without_partner(
    images: tuple[Path, Found], masks: tuple[Path, Found], same_name: str, nearly: _Nearly
) -> list[str]:
    (image_folder, found_images), (mask_folder, found_masks) = images, masks
    without_mask, without_image = _alone(found_images, found_masks)
    remedy = f"add the mask or remove the image{hint(without_mask, without_image)}"
    return [
        *(
            f"{found_images[key][0]}: there is no mask {same_name} with any ending in "
            f"{mask_folder}; {nearly[0].get(key, remedy)}"
            for key in without_mask
        ),
        *(
            f"{found_masks[key][0]}: there is no image of the same name with any ending in "
            f"{image_folder}; {nearly[1].get(key, 'add the image or remove the mask')}"
            for key in without_image
        ),
    ]


def _first_of(found: Found, keys: Iterable[str] | None = None) -> dict[str, Path]:
    return {key: found[key][0] for key in (found if keys is None else keys)}


def _alone(images: Found, masks: Found) -> tuple[list[str], list[str]]:
    """Names of images without a mask, and of masks without an image, both in order."""
    return sorted(images.keys() - masks.keys()), sorted(masks.keys() - images.keys())


def _first_files(folder: Path, found: Found, keys: list[str]) -> str:
    named = [str(found[key][0].relative_to(folder)) for key in keys[:_NAMED]]
    return first_names([*named, *keys[_NAMED:]], _NAMED)


def _each_duplicate(found: Found) -> list[str]:
    return [
        f"{files[0]}: {' and '.join(map(str, files[1:]))} {'has' if len(files) == 2 else 'have'} "
        "the same name with another ending; keep one file of each name"
        for _, files in sorted(found.items())
        if len(files) > 1
    ]


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
