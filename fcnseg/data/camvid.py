"""CamVid road scenes in the layout of the SegNet tutorial: ``train`` beside ``trainannot``."""

from pathlib import Path

import numpy as np

from fcnseg.checks import check_choice
from fcnseg.data.encodings import checked_ids
from fcnseg.data.folder import pair_by_name
from fcnseg.data.images import MaskPixels
from fcnseg.data.pairs import check_inside, read_pair
from fcnseg.data.sample import MAX_PIXELS, Colour, Sample
from fcnseg.errors import DataError

_COLOURS: dict[str, Colour] = {
    "Sky": (128, 128, 128),
    "Building": (128, 0, 0),
    "Pole": (192, 192, 128),
    "Road": (128, 64, 128),
    "Pavement": (60, 40, 222),
    "Tree": (128, 128, 0),
    "SignSymbol": (192, 128, 128),
    "Fence": (64, 64, 128),
    "Car": (64, 0, 128),
    "Pedestrian": (64, 64, 0),
    "Bicyclist": (0, 128, 192),
}
CLASSES = tuple(_COLOURS)
PALETTE = tuple(_COLOURS.values())
SPLITS = ("train", "val", "test")

_UNLABELLED = 11


class CamVid:
    """One split of CamVid with 11 classes; masks hold 0 to 10, and 11 where unlabelled (void).

    Args:
        root: the folder that holds ``train``, ``trainannot``, ``val``, ``valannot``.
        split: "train", "val" or "test".
        max_pixels: larger images are refused before decoding.

    Raises:
        UsageError: no such split.
        DataError: the folders are missing, empty or do not pair up, or a link leaves the root.
    """

    def __init__(self, root: str | Path | None, split: str, max_pixels: int = MAX_PIXELS) -> None:
        check_choice("CamVid split", split, SPLITS)
        self.name = f"camvid/{split}"
        self.classes = CLASSES
        self.palette = PALETTE
        self._max_pixels = max_pixels
        self._ids, self._files = _find(root, split)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self._ids[index], self._files[index], _to_ids, self._max_pixels)

    def id(self, index: int) -> str:
        return self._ids[index]

    def files(self, index: int) -> tuple[Path, ...]:
        return self._files[index]


def _to_ids(path: Path, pixels: MaskPixels) -> np.ndarray:
    if pixels.kind == "rgb":
        raise DataError(
            f"{path}: is an RGB mask, expected grey values 0 to 11 (the SegNet tutorial's masks); "
            "read coloured masks with --data folder --mask-encoding rgb"
        )
    return checked_ids(path, pixels.values, len(CLASSES), void=_UNLABELLED)


def _find(root: str | Path | None, split: str) -> tuple[list[str], list[tuple[Path, Path]]]:
    ways_out = "point --data-root at CamVid, or use --data shapes, which needs no files"
    if root is None:
        raise DataError(f"--data-root: CamVid needs a folder and none was given; {ways_out}")
    root = Path(root)
    images, masks = root / split, root / f"{split}annot"
    missing = [f"{folder.name}/" for folder in (images, masks) if not folder.is_dir()]
    if missing:
        raise DataError(
            f"--data-root {root}: {' and '.join(missing)} missing (expected {split}/ with images "
            f"and {split}annot/ with masks of the same names); {ways_out}"
        )
    ids, files = pair_by_name(images, masks)
    check_inside(root, files)
    return ids, files
