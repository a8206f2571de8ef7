"""COCO: photographs and a json of object instances, painted into one label image each.

The same for the annotations of COCO itself and for one's own, as labelling tools export them.
Class 0 is the background: where no object of the chosen categories is. Of objects that overlap
the one with fewer pixels lies above. A crowd (``iscrowd``), whose objects were not told apart, is
void (255) where no other object lies over it; in files of CVAT, in which every mask of its brush is
marked so, those are objects like others, and a note says it. An object without an outline is a
fault: a box says too little of which pixels it covers.
"""

import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnseg.checks import nearest
from fcnseg.data.coco_file import CocoFile, read_coco
from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.images import read_size
from fcnseg.data.instances import pack_instances, paint, size_of
from fcnseg.data.lookup import list_folder, match, missing_files, sample_ids
from fcnseg.data.pairs import ImagePairs, Pair
from fcnseg.data.sample import MAX_PIXELS, VOID, Sample, check_classes
from fcnseg.errors import DataError, UsageError
from fcnseg.palette import voc_palette

BACKGROUND = "background"

VOC_NAMES = {
    "aeroplane": "airplane",
    **{name: name for name in ("bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair")},
    "cow": "cow",
    "diningtable": "dining table",
    "dog": "dog",
    "horse": "horse",
    "motorbike": "motorcycle",
    "person": "person",
    "pottedplant": "potted plant",
    "sheep": "sheep",
    "sofa": "couch",
    "train": "train",
    "tvmonitor": "tv",
}
"""The 20 classes of PASCAL VOC in its order, and what COCO calls each."""

_YEARS = ("2017", "2014")
_WAYS_OUT = "point --data-root at COCO, or use --data shapes, which needs no files"


@dataclass(frozen=True)
class _Painted:
    """The packed objects of each image, and its id in the json, by the id of its pair."""

    instances: dict[str, bytes]
    images: dict[str, str]

    def __call__(self, pair: Pair, _max_pixels: int) -> np.ndarray:
        return paint(self.instances[pair.id])  # the size was checked when the json was read

    def content(self, pair: Pair) -> bytes:
        """Return all that the labels of a pair depend on, which a cache holds them by."""
        return self.instances[pair.id]


class CocoPairs(ImagePairs):
    """The images of a COCO json, which states the size of each."""

    _read_label: _Painted

    def misfit(self, index: int, size: tuple[int, int]) -> str:
        """Return why an image of (height, width) is not what the json states, or ""."""
        pair = self._pairs[index]
        stated = size_of(self._read_label.instances[pair.id])
        if stated == size:
            return ""
        turned = " (an EXIF rotation is applied: draw outlines on the upright image)"
        return (
            f"{pair.mask}: image {self._read_label.images[pair.id]} is said to be "
            f"{stated[0]}x{stated[1]} (height x width) but {pair.image} is {size[0]}x{size[1]}; "
            f"they must be equal{turned if stated == size[::-1] else ''}"
        )

    def __getitem__(self, index: int) -> Sample:
        """Decode and paint a sample; raises :class:`DataError` as :class:`ImagePairs` does."""
        try:
            return super().__getitem__(index)
        except DataError as error:
            if not str(error).startswith(f"{self._pairs[index].mask}: the mask is "):
                raise
            size = read_size(self._pairs[index].image, self._max_pixels)
            raise DataError(self.misfit(index, size)) from None

    def scaled(self, short_side: int | None) -> "CocoPairs":
        """Return the same pairs, scaled as :meth:`ImagePairs.scaled` says."""
        again = copy.copy(self)
        vars(again).update(vars(super().scaled(short_side)))
        return again


def coco(
    annotations: str | Path,
    images: str | Path,
    classes: Sequence[str] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    strict: bool = True,
    name: str = "coco",
) -> CocoPairs:
    """Open a COCO json and the folder of its images.

    The json is read and checked at once; what is kept of it is a few bytes for each corner of a
    polygon. Images are found by their ``file_name`` below ``images``, whatever separators it has
    and whatever folders stand before it, which a note then says; it is a fault where names with
    different folders before them would be one file. None outside is ever opened. An image without
    annotations is background.

    Args:
        annotations: the json.
        images: the folder that ``file_name`` starts from.
        classes: names of categories, whose order is that of the class ids 1, 2, ...; other
            categories are background. VOC's names are understood for COCO's. A first name
            "background" may be given. None: all categories in the order of their ids; one that
            is called "background" becomes class 0.
        max_pixels: larger images are refused before decoding or painting.
        strict: see :class:`~fcnseg.data.pairs.ImagePairs`.
        name: shown in messages.

    Raises:
        UsageError: a class is no category of the file.
        DataError: the json or the folder cannot be used at all; if ``strict``, an annotation, an
            image or a category is faulty, with a message for each that names its id.
    """
    annotations, images = Path(annotations), Path(images)
    if not images.is_dir():
        what = "is a file" if images.exists() else "there is no such folder"
        raise DataError(f"--images {images}: {what}, expected the folder of images; check the path")
    file = read_coco(annotations, max_pixels)
    names, ids = _class_ids(file, classes)
    found, faults, notes = _files(file, images, each=not strict)
    faults = file.faults + faults
    if not found:
        raise_faults(faults)
    objects: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for annotation in file.annotations:
        class_id = ids.get(annotation.category or "")
        if class_id is not None and annotation.image in found:
            shown = VOID if annotation.crowd else class_id
            objects[annotation.image].append((shown, annotation.outline))
    file.annotations.clear()
    order = sorted(found, key=lambda image: found[image][0])
    samples = sample_ids([found[image][0] for image in order])
    pairs, instances = [], {}
    for image, sample in zip(order, samples, strict=True):
        _, height, width = file.images[image]
        pairs.append(Pair(sample, found[image][1], annotations))
        instances[sample] = pack_instances(height, width, objects.pop(image, ()))
    return CocoPairs(
        name,
        names,
        voc_palette(len(names)),
        pairs,
        _Painted(instances, dict(zip(samples, order, strict=True))),
        notes=[*file.notes, *notes],
        faults=faults,
        strict=strict,
        max_pixels=max_pixels,
    )


def coco_split(
    root: str | Path | None,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    strict: bool = True,
) -> CocoPairs:
    """Open a split of COCO in its own layout.

    That is ``annotations/instances_train2017.json`` with the photographs in ``train2017`` or
    ``images/train2017``.

    Args:
        root: the folder with ``annotations``.
        split: "train2017", or "train" for 2017 or else 2014, whichever is there.
        classes, max_pixels, strict: as :func:`coco` takes them.

    Raises:
        UsageError: as :func:`coco`; or the split is no plain name.
        DataError: as :func:`coco`; or the layout is another.
    """
    if root is None:
        raise DataError(f"--data-root: COCO needs a folder and none was given; {_WAYS_OUT}")
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"--data-root {root}: there is no such folder; {_WAYS_OUT}")
    if not split.isalnum():
        raise UsageError(f"COCO split {split!r}: expected a plain name, such as train or val2017")
    splits = [split] if split[-1].isdigit() else [split + year for year in _YEARS]
    files = {name: root / "annotations" / f"instances_{name}.json" for name in splits}
    found = [name for name in splits if files[name].is_file()]
    if not found:
        there = sorted(path.name for path in root.glob("annotations/*.json"))
        raise DataError(
            f"--data-root {root}: no {' or '.join(files[s].name for s in splits)} in "
            f"annotations/ (there: {first_names(there, 6) or 'nothing'}); {_WAYS_OUT}; "
            "a json of your own is given with --annotations"
        )
    places = [root / found[0], root / "images" / found[0]]
    images = next((place for place in places if place.is_dir()), None)
    if images is None:
        raise DataError(
            f"--data-root {root}: neither {found[0]}/ nor images/{found[0]}/ is there, the "
            f"photographs of {files[found[0]].name}; unpack them there"
        )
    name = f"coco/{found[0]}"
    return coco(files[found[0]], images, classes, max_pixels=max_pixels, strict=strict, name=name)


def _class_ids(
    file: CocoFile, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the class names with the background, and the class id of each category id."""
    if isinstance(classes, str):
        raise UsageError(f"--classes: expected a list of names, got the text {classes!r}")
    categories = list(dict.fromkeys(file.categories.values()))
    own_background = [name for name in categories if name.lower() == BACKGROUND]
    if classes is None:
        objects = [name for name in categories if name not in own_background]
        if len(objects) >= VOID:
            raise UsageError(
                f"--classes: {file.path} has {len(objects)} categories, more than the {VOID - 1} "
                "that fit beside the background; choose some of them"
            )
    else:
        objects = _without_background(classes)
    names = (BACKGROUND, *objects)
    check_classes(names)
    meant = {name: _category(file.path, name, categories) for name in objects}
    _refuse_one_meant_twice(file.path, meant)
    by_name = {meant[name]: class_id for class_id, name in enumerate(objects, 1)}
    by_name |= dict.fromkeys(own_background, 0)
    ids = {key: by_name[name] for key, name in file.categories.items() if name in by_name}
    return names, ids


def _without_background(classes: Iterable[str]) -> list[str]:
    names = list(classes)
    if names and names[0].lower() == BACKGROUND:
        names = names[1:]
    if any(name.lower() == BACKGROUND for name in names):
        raise UsageError("--classes: background is class 0; put it first or leave it out")
    return names


def _category(path: Path, name: str, categories: Sequence[str]) -> str:
    """Return the category that a class name means: its own name, or COCO's of a VOC name."""
    if name in categories:
        return name
    if VOC_NAMES.get(name) in categories:
        return VOC_NAMES[name]
    # In a file of VOC's categories COCO's names mean those.
    for voc, other in VOC_NAMES.items():
        if name == other and voc in categories:
            return voc
    hint = nearest(name, [*categories, *(voc for voc, n in VOC_NAMES.items() if n in categories)])
    listed = first_names(list(categories), 10)
    raise UsageError(f"--classes: {name!r} is no category of {path} (there: {listed}){hint}")


def _refuse_one_meant_twice(path: Path, meant: dict[str, str]) -> None:
    owners: dict[str, str] = {}
    for name, category in meant.items():
        other = owners.setdefault(category, name)
        if other != name:
            raise UsageError(
                f"--classes: {other!r} and {name!r} both mean the category {category!r} of "
                f"{path}; leave one out"
            )


def _files(
    file: CocoFile, images: Path, each: bool
) -> tuple[dict[str, tuple[str, Path]], list[str], list[str]]:
    """Return (path below ``images``, file) of each image id that is whole, faults and notes.

    ``each``: say of every file that it is missing, not how many are.
    """
    folder = list_folder(images)
    matches = match(folder, {image: entry.file_name for image, entry in file.images.items()})
    found = {
        image: (key, folder.files[key])
        for image, key in matches.keys.items()
        if image not in file.spoiled
    }
    faults = [f"{file.path}: {fault}" for fault in matches.faults]
    missing = matches.missing
    for names in [[name] for name in missing] if each else [missing] if missing else []:
        faults.append(missing_files(folder, file.path, names, len(file.images)))
    return found, faults, matches.notes
