"""The user's own data: a folder of images and a folder of masks, paired by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnseg.checks import check_choice
from fcnseg.data.encodings import ENCODINGS, class_ids
from fcnseg.data.images import read_mask_pixels
from fcnseg.data.names import pair_by_name
from fcnseg.data.pairs import ImagePairs, Pair
from fcnseg.data.sample import MAX_PIXELS, Colour, check_classes
from fcnseg.errors import DataError, UsageError
from fcnseg.palette import voc_palette


@dataclass(frozen=True)
class _Labels:
    num_classes: int
    encoding: str
    palette: tuple[Colour, ...] | None
    void: int | Colour | None

    def __call__(self, pair: Pair, max_pixels: int) -> np.ndarray:
        pixels = read_mask_pixels(pair.mask, max_pixels)
        how = self.num_classes, self.encoding, self.palette, self.void
        return class_ids(pair.mask, pixels, *how)


def folder(
    images: str | Path,
    masks: str | Path,
    classes: Sequence[str],
    encoding: str = "auto",
    *,
    palette: Sequence[Colour] | None = None,
    suffix: str | None = None,
    void: int | Colour | None = None,
    max_pixels: int = MAX_PIXELS,
    strict: bool = True,
    name: str = "folder",
) -> ImagePairs:
    """Open the pairs of two folders; :func:`~fcnseg.data.names.pair_by_name` says how they pair.

    Args:
        images: folder of images.
        masks: folder of masks; it may lie inside ``images``.
        classes: 2 to 255 names; class id = place in the list.
        encoding: how masks hold class ids, see :func:`fcnseg.data.encodings.class_ids`.
        palette: one (r, g, b) per class: what RGB masks are read with, and what is shown in
            pictures. Without it the VOC colours are shown, and "rgb" is refused.
        void: a stored value or a colour (r, g, b) that means void, beside 255.
        suffix: what the names of masks have behind those of images; None: found out.
        max_pixels: larger images are refused before decoding.
        strict: see :class:`~fcnseg.data.pairs.ImagePairs`.
        name: shown in messages.

    Raises:
        UsageError: the classes, the encoding or the palette are wrong.
        DataError: a folder is missing or has no images; if ``strict``, an image or a mask has no
            partner, or two files share one name.
    """
    check_choice("--mask-encoding", encoding, ENCODINGS)
    names = (classes,) if isinstance(classes, str) else tuple(classes)
    given = None if palette is None else tuple((int(r), int(g), int(b)) for r, g, b in palette)
    check_classes(names, given)
    if encoding == "rgb" and given is None:
        raise UsageError("--mask-encoding rgb: needs the colour of each class (palette)")
    if encoding == "binary255" and len(names) != 2:
        raise UsageError(
            f"--mask-encoding binary255: expected 2 classes (of 0 and of 255), got {len(names)}"
        )
    _check_void(void, len(names), encoding, given)
    images, masks = Path(images), Path(masks)
    check_folders(images, masks, suffix)
    listing = pair_by_name(images, masks, suffix)
    return ImagePairs(
        name,
        names,
        given or voc_palette(len(names)),
        listing.pairs,
        _Labels(len(names), encoding, given, void),
        notes=listing.notes,
        faults=listing.faults if strict else listing.each,
        strict=strict,
        max_pixels=max_pixels,
    )


def _check_void(
    void: int | Colour | None, count: int, encoding: str, palette: tuple[Colour, ...] | None
) -> None:
    """Raise :class:`UsageError` if what means void is a class as well."""
    by_value = encoding in ("index", "palette") or (encoding == "auto" and palette is None)
    if isinstance(void, int) and by_value and void < count:
        raise UsageError(f"--mask-void {void}: is the id of a class; the ids are 0 to {count - 1}")
    if palette is not None and void in palette:
        raise UsageError("--mask-void: a class has this colour; leave one of them out")


def check_folders(images: Path, masks: Path, suffix: str | None) -> None:
    """Raise unless both folders are there (DataError) and are two, or one and a suffix."""
    for flag, place in (("--images", images), ("--masks", masks)):
        if not place.is_dir():
            what = "is a file" if place.exists() else "there is no such folder"
            raise DataError(f"{flag} {place}: {what}, expected a folder; check the path")
    if images.resolve() == masks.resolve() and not suffix:
        raise UsageError(
            f"--masks {masks}: is the folder of --images too; put the masks into their own folder, "
            "or say with --mask-suffix what their names have behind those of the images"
        )
