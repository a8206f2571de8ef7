"""COCO files for tests, and the slow plain painting that the reader is compared with."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

CATEGORIES = [
    {"id": 1, "name": "person"},
    {"id": 3, "name": "car"},
    {"id": 17, "name": "cat"},
    {"id": 63, "name": "couch"},
    {"id": 67, "name": "dining table"},
]
SQUARE = [2, 2, 8, 2, 8, 8, 2, 8]


def photograph(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def annotation(number: Any, image: Any, category: Any, segmentation: Any, **more: Any) -> dict:
    found = {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "iscrowd": 0,
        "area": 1.0,
        "bbox": [1.0, 2.0, 3.0, 4.0],
    }
    return found | more


def write(path: Path, images: list, annotations: list, categories: list | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "info": {"year": 2017},
        "images": images,
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def small(root: Path, annotations: list, **image: Any) -> tuple[Path, Path]:
    """Write one photograph ``a.png`` of 20x30 and its json; return (json, folder of images)."""
    photograph(root / "images/a.png", 20, 30)
    entry = {"id": 7, "file_name": "a.png", "height": 20, "width": 30} | image
    return write(root / "a.json", [entry], annotations), root / "images"


def blob(numbers: np.random.Generator, height: int, width: int) -> list[float]:
    """Return a star-shaped polygon of 5 to 30 corners, two decimals, some of it outside."""
    angles = np.sort(numbers.uniform(0, 2 * np.pi, int(numbers.integers(5, 31))))
    centre = numbers.uniform(0, 1, 2) * [width, height]
    radius = numbers.uniform(0.2, 0.5) * max(height, width)
    radii = radius * numbers.uniform(0.5, 1, (len(angles), 1))
    corners = centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.round(corners, 2).ravel().tolist()


def run_lengths(numbers: np.random.Generator, height: int, width: int, compressed: bool) -> dict:
    """Return an RLE of some rectangles with holes."""
    mask = np.zeros((height, width), np.uint8, order="F")
    for value in (1, 1, 0):
        top, left = int(numbers.integers(height)), int(numbers.integers(width))
        mask[top : top + int(numbers.integers(1, height + 1)), left : left + width // 3 + 1] = value
    if compressed:
        rle = coco_mask.encode(mask)
        return {"size": [height, width], "counts": rle["counts"].decode()}
    counts, value = [0], 0
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": [height, width], "counts": counts}


def paint_plainly(json_file: Path, image_id: int, class_of: dict[int, int]) -> np.ndarray:
    """Paint an image from pycocotools' own masks, crowd first, then from large to small."""
    coco = COCO(str(json_file))
    entry = coco.imgs[image_id]
    label = np.zeros((entry["height"], entry["width"]), np.uint8)
    chosen = [a for a in coco.imgToAnns[image_id] if a["category_id"] in class_of]
    masks = [(a, coco.annToMask(a).astype(bool)) for a in chosen]
    for ann, mask in masks:
        if ann["iscrowd"]:
            label[mask] = 255
    own = [(ann, mask) for ann, mask in masks if not ann["iscrowd"]]
    for ann, mask in sorted(own, key=lambda pair: -int(pair[1].sum())):
        label[mask] = class_of[ann["category_id"]]
    return label
