"""Small data sets in the layouts of PASCAL VOC and SBD, made on disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

SIZE = (4, 6)  # height, width


def voc_colours() -> list[int]:
    """VOC's colour table by the definition in its development kit: 256 times r, g, b."""
    table = []
    for index in range(256):
        r = g = b = 0
        rest = index
        for shift in range(7, -1, -1):
            r |= (rest & 1) << shift
            g |= ((rest >> 1) & 1) << shift
            b |= ((rest >> 2) & 1) << shift
            rest >>= 3
        table += [r, g, b]
    return table


def labels_of(name: str) -> np.ndarray:
    """Labels for an id, different for each: (4, 6) uint8, classes 0 to 20, void at a corner."""
    seed = sum(ord(letter) * (i + 1) for i, letter in enumerate(name))
    labels = np.random.default_rng(seed).integers(0, 21, SIZE).astype(np.uint8)
    labels[0, 0] = 255
    return labels


def write_voc_mask(path: Path, labels: np.ndarray) -> None:
    mask = Image.fromarray(labels, "P")
    mask.putpalette(voc_colours())
    mask.save(path)


def make_voc(root: Path, lists: Mapping[str, Sequence[str]]) -> Path:
    """Write a VOC folder with the given lists and every listed pair; returns it."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, names in lists.items():
        text = "".join(f"{name}\n" for name in names)
        (root / f"ImageSets/Segmentation/{split}.txt").write_text(text)
        for name in names:
            Image.new("RGB", SIZE[::-1], (200, 100, 50)).save(root / f"JPEGImages/{name}.jpg")
            write_voc_mask(root / f"SegmentationClass/{name}.png", labels_of(name))
    return root


def sbd_labels(name: str) -> np.ndarray:
    """SBD's labels for an id: those of VOC turned upside down, without void."""
    labels = labels_of(name)[::-1].copy()
    labels[labels == 255] = 0
    return labels


def write_sbd_mask(path: Path, labels: np.ndarray, compressed: bool = True) -> None:
    """Write ``GTcls`` with all the fields that SBD's files have."""
    boundaries = np.empty((20, 1), object)
    for row in range(20):
        boundaries[row, 0] = csc_matrix(labels == row + 1)
    present = np.unique(labels[labels > 0]).reshape(-1, 1)
    fields = {"Boundaries": boundaries, "Segmentation": labels, "CategoriesPresent": present}
    savemat(path, {"GTcls": fields}, do_compression=compressed)


def make_sbd(root: Path, lists: Mapping[str, Sequence[str]]) -> Path:
    """Write SBD's folder with the given lists and every listed pair; returns it."""
    for folder in ("img", "cls"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for split, names in lists.items():
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            Image.new("RGB", SIZE[::-1], (20, 30, 40)).save(root / f"img/{name}.jpg")
            write_sbd_mask(root / f"cls/{name}.mat", sbd_labels(name))
    return root
