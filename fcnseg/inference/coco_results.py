"""Predicted masks as one COCO json: for each image a region of each class, as run lengths."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from pycocotools import mask as coco_mask

from fcnseg.files import replacing

_BACKGROUND = "background"
_IDS = 256  # annotation ids of an image; there are at most 255 classes


def categories_of(classes: Sequence[str]) -> dict[int, dict[str, Any]]:
    """The COCO category of each class id, without the background.

    A category has the id of its class where class 0 is called "background". Otherwise it is one
    more, since 0 means the background to many programs.
    """
    shift = 0 if classes[0].lower() == _BACKGROUND else 1
    return {
        number: {"id": number + shift, "name": name, "supercategory": ""}
        for number, name in enumerate(classes)
        if name.lower() != _BACKGROUND
    }


def regions_of(
    labels: np.ndarray, image_id: int, categories: Mapping[int, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The annotations of an image: one for each category that is in it, in order.

    Args:
        labels: (H, W) uint8 class ids.
        image_id: from 1; the ids of annotations follow from it, so that they are unique.
        categories: as :func:`categories_of` gives them.
    """
    found = []
    for number in np.unique(labels).tolist():
        if number not in categories:
            continue
        runs = coco_mask.encode(np.asfortranarray(labels == number, np.uint8))
        found.append(
            {
                "id": (image_id - 1) * _IDS + number + 1,
                "image_id": image_id,
                "category_id": categories[number]["id"],
                "segmentation": {"size": list(labels.shape), "counts": runs["counts"].decode()},
                "area": int(coco_mask.area(runs)),
                "bbox": [float(side) for side in coco_mask.toBbox(runs)],
                "iscrowd": 0,
            }
        )
    return found


class CocoResults:
    """A COCO json that is written as results come; see :func:`coco_results`."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._images: list[dict[str, Any]] = []
        self._first = True

    def add(
        self, image_id: int, file_name: str, size: Sequence[int], regions: Sequence[Mapping]
    ) -> None:
        """Add an image of ``size`` (height, width), and its regions of :func:`regions_of`."""
        height, width = size
        image = {"id": image_id, "file_name": file_name, "height": height, "width": width}
        self._images.append(image)
        for region in regions:
            self._file.write(("" if self._first else ",") + "\n" + _text(region))
            self._first = False

    def _end(self) -> None:
        images = ",\n".join(map(_text, self._images))
        self._file.write(f'\n],\n"images": [\n{images}\n]}}\n')


@contextmanager
def coco_results(path: Path, classes: Sequence[str]) -> Iterator[CocoResults]:
    """Write a COCO json, which appears when the block ends without an error.

    Its annotations go to the disk at once, so that the results of a whole archive need no memory.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    categories = list(categories_of(classes).values())
    with replacing(path) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as file:
        file.write(f'{{"categories": {_text(categories)},\n"annotations": [')
        results = CocoResults(file)
        yield results
        results._end()


def _text(value: Any) -> str:
    return json.dumps(value)
