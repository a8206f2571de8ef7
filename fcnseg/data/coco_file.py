"""A COCO json, checked: its images, its categories, and the outlines of its annotations.

The file may come from anywhere: what it says is compared with itself before anything relies on
it, and every contradiction is reported with the id of the annotation.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fcnseg.data.coco_json import Annotation, key_of, parse_coco, whole_of
from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.instances import in_one_pixel, misfit
from fcnseg.errors import DataError

_EACH = 100  # messages of one kind that are given one by one
_NAMED = 20  # annotation ids in a message about many
_TINY = 10  # pixels: in images up to this size everything may lie in one pixel
_LISTS = ("images", "annotations", "categories")


class Photograph(NamedTuple):
    """An entry of ``images``: the name as written, and the size in pixels."""

    file_name: str
    height: int
    width: int


@dataclass
class CocoFile:
    """What a COCO json holds. Ids are text: ``7`` and ``"7"`` are the same.

    Attributes:
        path: the file.
        images: by id; those with a faulty entry are left out.
        categories: names by id, in the order of the ids.
        annotations: those without a fault, whose image and category are there.
        spoiled: ids of images of which an annotation is faulty or the id is not unique.
        faults: what is wrong, a line each.
        notes: what was concluded from the file as a whole, a line each.
    """

    path: Path
    images: dict[str, Photograph] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    annotations: list[Annotation] = field(default_factory=list)
    spoiled: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_coco(path: Path, max_pixels: int) -> CocoFile:
    """Read and check a COCO json of object instances.

    Args:
        path: the file.
        max_pixels: images that claim more are faulty.

    Raises:
        DataError: the file is missing, damaged, or holds something else than object instances.
        EnvironmentFault: it does not fit into memory.
    """
    images, annotations, categories = _lists(path, parse_coco(path))
    file = CocoFile(path)
    file.faults += _read_categories(file, categories)
    lost = _read_images(file, images, max_pixels)
    _read_annotations(file, annotations, lost)
    file.notes += _undo_brush(file, annotations)
    return file


def _lists(path: Path, content: Any) -> Iterator[list[Any]]:
    """Return the images, annotations and categories of a parsed file."""
    wanted = "expected the json of COCO object instances: images, annotations and categories"
    if not isinstance(content, dict):
        what = "a list (results of a detector?)" if isinstance(content, list) else "no object"
        raise DataError(f"{path}: holds {what}, {wanted}; export it as COCO")
    if "shapes" in content and "imagePath" in content:
        raise DataError(f"{path}: is labelme's file of one image, {wanted}; export it as COCO")
    missing = [name for name in _LISTS if not isinstance(content.get(name), list)]
    if missing:
        there = first_names([repr(name)[:40] for name in content])
        raise DataError(
            f"{path}: has no list of {' and '.join(missing)} (there: {there or 'nothing'}), "
            f"{wanted}; export it as COCO"
        )
    empty = [name for name in _LISTS if not content[name]]
    if empty:
        raise DataError(f"{path}: the list of {' and '.join(empty)} is empty; export it again")
    first = content["annotations"][0]
    if isinstance(first, dict) and ("segments_info" in first or "caption" in first):
        what = "panoptic segments" if "segments_info" in first else "captions"
        raise DataError(f"{path}: holds {what}, {wanted}; give the file of instances")
    return (content[name] for name in _LISTS)


def _read_categories(file: CocoFile, entries: list[Any]) -> list[str]:
    names: dict[str, str] = {}
    faults = []
    for number, entry in enumerate(entries, 1):
        key = key_of(entry.get("id")) if isinstance(entry, dict) else None
        name = key_of(entry.get("name")) if isinstance(entry, dict) else None
        if key is None or name is None:
            faults.append(
                f"{file.path}: category number {number} has no id or no name; give it both"
            )
        elif names.setdefault(key, name) != name:
            faults.append(
                f"{file.path}: category id {key} is both {names[key]!r} and {name!r}; "
                "give each its own id"
            )
    if not names:
        raise_faults(faults[:_NAMED])
    file.categories = {key: names[key] for key in sorted(names, key=_by_number)}
    return faults


def _by_number(key: str) -> tuple[bool, int, str]:
    whole = key.removeprefix("-").isdecimal()
    return not whole, int(key) if whole else 0, key


def _read_images(file: CocoFile, entries: list[Any], max_pixels: int) -> set[str]:
    """Fill in the images; return the ids of those with a faulty entry."""
    lost, faults = set(), []
    for number, entry in enumerate(entries, 1):
        key = key_of(entry.get("id")) if isinstance(entry, dict) else None
        if key is None:
            faults.append(f"image number {number} has no id; give it one")
            continue
        name = entry.get("file_name")
        height, width = whole_of(entry.get("height")), whole_of(entry.get("width"))
        fault = ""
        if not isinstance(name, str) or not name.strip():
            fault = "has no file_name; add it"
        elif not (0 < height < 2**32 and 0 < width < 2**32):
            stated = f"height {entry.get('height')!r}, width {entry.get('width')!r}"
            fault = f"({name!r}) has no size ({stated}); expected whole pixels; export it again"
        elif height * width > max_pixels:
            fault = (
                f"({name!r}) claims {height}x{width} pixels (height x width), more than the limit "
                f"of {max_pixels}; raise --max-pixels if you trust the file"
            )
        elif key in file.images or key in lost:
            fault = f"is there more than once ({name!r}); give each image its own id"
            file.spoiled.add(key)
        if fault:
            faults.append(f"image {key} {fault}")
            lost.add(key)
        else:
            file.images[key] = Photograph(name, height, width)
    file.faults += _capped(file.path, {"images": faults})
    return lost - file.images.keys()


def _read_annotations(file: CocoFile, entries: list[Any], lost: set[str]) -> None:
    """Fill in the annotations that can be painted; ``lost`` are images known to be faulty."""
    faults: dict[str, list[str]] = defaultdict(list)
    boxes: list[str] = []
    tiny = True
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Annotation):
            what = f"number {number}"
            if isinstance(entry, dict) and key_of(entry.get("id")) is not None:
                what = str(key_of(entry["id"]))
            faults["ids"].append(f"annotation {what} has no image_id or no category_id; remove it")
            continue
        name = entry.id if entry.id is not None else f"number {number}"
        kind, fault = _fault_of(file, entry, lost)
        if kind:
            file.spoiled.add(entry.image or "")
            if kind == "boxes":
                boxes.append(name)
            elif fault:
                faults[kind].append(f"annotation {name}: {fault}")
        elif entry.outline and entry.image in file.images:
            _, height, width = file.images[entry.image]
            tiny = tiny and max(height, width) > _TINY and in_one_pixel(entry.outline)
            file.annotations.append(entry)
    if file.annotations and tiny:
        raise DataError(
            f"{file.path}: no coordinate of a polygon is above 1: shares of the image's size, "
            "expected pixels; export them as pixels"
        )
    if boxes and len(boxes) == len(entries):
        raise DataError(
            f"{file.path}: all {len(boxes)} annotations have a box (bbox) and no outline "
            "(segmentation): it is made for detection; export polygons or masks"
        )
    file.faults += _capped(file.path, faults)
    if boxes:
        count = "1 annotation has" if len(boxes) == 1 else f"{len(boxes)} annotations have"
        file.faults.append(
            f"{file.path}: {count} a box (bbox) and no outline (segmentation), which cannot be "
            f"painted: {first_names(boxes, _NAMED)}; draw the outline or remove the annotation"
        )


def _undo_brush(file: CocoFile, entries: list[Any]) -> list[str]:
    """Make objects of the crowds of a file that marks all its masks so; return what to say.

    CVAT writes attributes with everything, and as a crowd whatever was drawn with its brush. One
    mask with attributes that is no crowd shows that the file means what it says.
    """
    described = [e for e in entries if isinstance(e, Annotation) and e.described]
    if not described or not all(entry.crowd for entry in described):
        return []
    file.annotations = [
        entry._replace(crowd=False) if entry.described else entry for entry in file.annotations
    ]
    count = "the 1 mask" if len(described) == 1 else f"all {len(described)} masks"
    return [
        f"{count} with attributes {'is' if len(described) == 1 else 'are'} marked as crowds "
        "(iscrowd), as CVAT marks what its brush drew: taken for objects, not for void"
    ]


def _fault_of(file: CocoFile, entry: Annotation, lost: set[str]) -> tuple[str, str]:
    """Return the kind of fault of an annotation, "" for none, and the message."""
    if entry.image in lost:
        return "", ""  # its image is a fault of its own
    if entry.image not in file.images:
        return "ids", f"image_id {entry.image} is not among the images; remove it or add the image"
    if entry.category not in file.categories:
        known = first_names(list(file.categories), 5)
        return (
            "ids",
            f"category_id {entry.category} is not among the categories ({known}); correct it",
        )
    if entry.fault:
        return "outlines", _with_remedy(entry.fault)
    if entry.boxed:
        return "boxes", ""
    if entry.outline:
        _, height, width = file.images[entry.image]
        fault = misfit(entry.outline, height, width)
        if fault:
            return "outlines", _with_remedy(fault)
    return "", ""


def _with_remedy(fault: str) -> str:
    return fault if "; " in fault else f"{fault}; draw or export it again"


def _capped(path: Path, faults: dict[str, list[str]]) -> list[str]:
    """Return lines that begin with the file, and of each kind not more than can be read."""
    lines = []
    for kind, messages in faults.items():
        lines += [f"{path}: {message}" for message in messages[:_EACH]]
        if len(messages) > _EACH:
            lines.append(f"{path}: {len(messages) - _EACH} more faults of this kind ({kind})")
    return lines
