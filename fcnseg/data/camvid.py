"""CamVid road scenes: the 11 classes of the SegNet tutorial, or all 31 of the colour masks.

A split is a folder of images beside a folder of masks with the same names: ``train`` and
``trainannot`` (SegNet tutorial) or ``train`` and ``train_labels``, where the names of the masks
may end in ``_L`` as in the original. Masks are grey (0 to 10, and 11 where unlabelled) or have
the original's colours; for the 11 classes, colours are grouped as the SegNet tutorial grouped
them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnseg.checks import check_choice
from fcnseg.data.camvid_classes import ALL, COLOURS, GROUP_COLOURS, GROUPED, VOID_COLOURS
from fcnseg.data.encodings import checked_ids, ids_of_colours
from fcnseg.data.images import read_mask_pixels
from fcnseg.data.names import pair_by_name
from fcnseg.data.pairs import ImagePairs, Pair, inside
from fcnseg.data.sample import MAX_PIXELS, VOID
from fcnseg.errors import DataError

CLASSES = tuple(GROUPED)
PALETTE = tuple(GROUP_COLOURS[name] for name in CLASSES)
SPLITS = ("train", "val", "test")

_UNLABELLED = 11
_MASKS = ("annot", "_labels")


@dataclass(frozen=True)
class _Labels:
    """Masks to class ids; ``grouped`` for 11 classes, else each colour is a class."""

    grouped: bool

    def __call__(self, pair: Pair, max_pixels: int) -> np.ndarray:
        pixels = read_mask_pixels(pair.mask, max_pixels)
        if pixels.kind == "rgb":
            groups = GROUPED.values() if self.grouped else [(name,) for name in ALL]
            ids = {COLOURS[name]: i for i, group in enumerate(groups) for name in group}
            ids |= dict.fromkeys(VOID_COLOURS, VOID)
            return ids_of_colours(pair.mask, pixels.values, ids)
        if not self.grouped:
            raise DataError(
                f"{pair.mask}: is a {pixels.kind} mask, expected CamVid's colours; use --data "
                "camvid for masks of 11 classes"
            )
        return checked_ids(pair.mask, pixels.values, len(CLASSES), void=_UNLABELLED)


def camvid(
    root: str | Path | None,
    split: str,
    *,
    max_pixels: int = MAX_PIXELS,
    strict: bool = True,
) -> ImagePairs:
    """Open one split of CamVid with the 11 classes of the SegNet tutorial.

    Args:
        root: the folder that holds the splits.
        split: "train", "val" or "test".
        max_pixels: larger images are refused before decoding.
        strict: see :class:`~fcnseg.data.pairs.ImagePairs`.

    Raises:
        UsageError: no such split.
        DataError: the folders are missing or empty; if ``strict``, files that do not pair up, or
            a link that leaves the root.
    """
    pairs, faults = _find(root, split, strict)
    return ImagePairs(
        f"camvid/{split}", CLASSES, PALETTE, pairs, _Labels(grouped=True),
        faults=faults, strict=strict, max_pixels=max_pixels,
    )  # fmt: skip


def camvid32(
    root: str | Path | None,
    split: str,
    *,
    max_pixels: int = MAX_PIXELS,
    strict: bool = True,
) -> ImagePairs:
    """Open one split of CamVid with the 31 classes of its colour masks; black is void.

    Arguments and errors as :func:`camvid`.
    """
    pairs, faults = _find(root, split, strict)
    return ImagePairs(
        f"camvid32/{split}", ALL, tuple(COLOURS.values()), pairs, _Labels(grouped=False),
        faults=faults, strict=strict, max_pixels=max_pixels,
    )  # fmt: skip


def _find(root: str | Path | None, split: str, strict: bool) -> tuple[list[Pair], list[str]]:
    check_choice("CamVid split", split, SPLITS)
    ways_out = "point --data-root at CamVid, or use --data shapes, which needs no files"
    if root is None:
        raise DataError(f"--data-root: CamVid needs a folder and none was given; {ways_out}")
    root = Path(root)
    images = root / split
    masks = next((m for m in (root / f"{split}{end}" for end in _MASKS) if m.is_dir()), None)
    missing = [] if images.is_dir() else [f"{split}/"]
    missing += [f"{split}annot/"] if masks is None else []
    if missing or masks is None:
        raise DataError(
            f"--data-root {root}: {' and '.join(missing)} missing (expected {split}/ with images "
            f"and {split}annot/ or {split}_labels/ with masks of the same names); {ways_out}"
        )
    listing = pair_by_name(images, masks)
    pairs, faults = inside(root, listing.pairs)
    return pairs, [*(listing.faults if strict else listing.each), *faults]
