"""VOC with SBD, the Semantic Boundaries Dataset: labels for five times as many photographs.

SBD (Hariharan et al., ICCV 2011) labels 11,355 photographs of VOC 2011 with VOC's classes: 8,498
in its ``train.txt`` and 2,857 in its ``val.txt``. Its lists are not VOC's: photographs of each
are in VOC's validation list, on which networks are scored. Two ways out are usual, and both are
splits here:

=============  =====================================================================
split          images
=============  =====================================================================
``train``      10,582: VOC's train list and both of SBD's, less VOC's val list
``sbd-train``  8,498: SBD's train list, as the FCN paper trained; score on
               ``seg11valid``, the 736 images of VOC's val list that are not in it
``sbd-val``    2,857: SBD's val list
any other      VOC's own list of that name: ``val`` (1,449 in VOC 2012), ``seg11valid``
=============  =====================================================================

The counts are those of the published sets. In ``train``, photographs of VOC's train list have
VOC's masks, which are finer and have a void border; SBD's masks have no void.
"""

from pathlib import Path

import numpy as np

from fcnseg.data.encodings import checked_ids
from fcnseg.data.mat_files import read_mat_field
from fcnseg.data.pairs import ImagePairs, Pair, inside
from fcnseg.data.sample import MAX_PIXELS
from fcnseg.data.voc import (
    CLASSES,
    PALETTE,
    find_folders,
    find_root,
    listed_pairs,
    read_label,
    read_list,
    read_split,
    split_pairs,
)
from fcnseg.errors import DataError

_SBD_LISTS = {"sbd-train": "train", "sbd-val": "val"}
_PLACES = ("benchmark_RELEASE/dataset", "dataset", ".")
_WAYS_OUT = "fetch it with --download, or use --data voc, which needs VOC alone"


def voc_aug(
    root: str | Path | None,
    split: str,
    *,
    max_pixels: int = MAX_PIXELS,
    strict: bool = True,
) -> ImagePairs:
    """Open one split of SBD and VOC together: 21 classes with background, 255 void.

    Args:
        root: the folder that holds SBD (``img``, ``cls``, ``train.txt`` and ``val.txt``, in it,
            in ``dataset`` or in ``benchmark_RELEASE/dataset``) and VOC, in any place that
            :func:`~fcnseg.data.voc.voc` finds; or SBD's own folder, with VOC beside it. Of
            several years of VOC, 2012 is taken.
        split: see above.
        max_pixels: larger images and masks are refused, images before decoding.
        strict: see :class:`~fcnseg.data.pairs.ImagePairs`.

    Raises:
        UsageError: the split is no plain name.
        DataError: SBD, VOC or a list is missing; if ``strict``, files are missing, an id is
            listed twice, or an entry or a link leads out of the folder.
    """
    if split == "train":
        pairs, faults = _train(find_sbd(root), find_voc(root), not strict)
    elif split in _SBD_LISTS:
        pairs, faults = _from_sbd(find_sbd(root), (_SBD_LISTS[split],), set(), not strict)
    else:
        pairs, faults = split_pairs(find_voc(root), split, each=not strict)
    return ImagePairs(
        f"voc-aug/{split}",
        CLASSES,
        PALETTE,
        pairs,
        read_either,
        faults=faults,
        strict=strict,
        max_pixels=max_pixels,
    )


def find_sbd(root: str | Path | None) -> Path:
    """Return the folder with SBD's ``img`` and ``cls``; raises :class:`DataError` without one."""
    if root is None:
        raise DataError(f"--data-root: SBD needs a folder and none was given; {_WAYS_OUT}")
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"--data-root {root}: there is no such folder; {_WAYS_OUT}")
    for place in _PLACES:
        if all((root / place / part).is_dir() for part in ("img", "cls")):
            return root / place
    raise DataError(
        f"--data-root {root}: no SBD there (img and cls are in none of "
        f"benchmark_RELEASE/dataset, dataset and the folder itself); {_WAYS_OUT}"
    )


def find_voc(root: str | Path | None) -> Path:
    """Return the folder of VOC in ``root`` or beside it, of 2012 if there are several years.

    Raises :class:`DataError` if there is none.
    """
    if root is None:
        return find_root(root)
    root = Path(root)
    depth = 2 if root.resolve().name == "dataset" else 1
    for place in (root, *root.resolve().parents[:depth]):
        found = find_folders(place)
        if found:
            return find_root(place, 2012 if len(found) > 1 else None)
    return find_root(root)


def read_either(pair: Pair, max_pixels: int) -> np.ndarray:
    """Return (H, W) uint8 class ids of a mask of SBD (``.mat``) or of VOC, 255 where void.

    Raises:
        DataError: the mask cannot be decoded, is too large, or holds a value that is no class.
    """
    if pair.mask.suffix != ".mat":
        return read_label(pair, max_pixels)
    values = read_mat_field(pair.mask, "GTcls", "Segmentation")
    if values.ndim != 2 or values.dtype.kind not in "iu" or not values.size:
        raise DataError(
            f"{pair.mask}: GTcls.Segmentation has the shape {values.shape} and the type "
            f"{values.dtype}, expected one whole number a pixel; get the file again"
        )
    if values.size > max_pixels:
        raise DataError(
            f"{pair.mask}: has {values.size} pixels, more than the limit of {max_pixels}; raise "
            "--max-pixels if you trust the file"
        )
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise DataError(
            f"{pair.mask}: has values from {low} to {high}, expected class ids from 0 to "
            f"{len(CLASSES) - 1}; get the file again"
        )
    return checked_ids(pair.mask, np.ascontiguousarray(values, np.uint16), len(CLASSES))


def _train(sbd: Path, voc: Path, each: bool) -> tuple[list[Pair], list[str]]:
    """VOC's train list and the rest of SBD, less VOC's val list; and what is wrong."""
    held_out = set(read_split(voc, "val")[0])
    pairs, faults = split_pairs(voc, "train", each)
    pairs = [pair for pair in pairs if pair.id not in held_out]
    taken = held_out.union(pair.id for pair in pairs)
    more, found = _from_sbd(sbd, ("train", "val"), taken, each)
    return [*pairs, *more], [*faults, *found]


def _from_sbd(
    folder: Path, lists: tuple[str, ...], taken: set[str], each: bool
) -> tuple[list[Pair], list[str]]:
    """The pairs of SBD's lists but those in ``taken``, and what is wrong."""
    pairs, faults = [], []
    for name in lists:
        file = folder / f"{name}.txt"
        if not file.is_file():
            raise DataError(f"{file}: there is no such list; unpack SBD again")
        ids, found = read_list(file)
        ids = [entry for entry in ids if entry not in taken]
        taken = taken.union(ids)
        images, masks = (folder / "img", ".jpg"), (folder / "cls", ".mat")
        part, missing = listed_pairs(file.name, ids, images, masks, each)
        part, outside = inside(folder, part)
        pairs += part
        faults += [*found, *missing, *outside]
    return pairs, faults
