"""COCO json to Python, in which every annotation is a few bytes as soon as it is parsed.

So the file of all of COCO, whose polygons take gigabytes as Python numbers, fits into memory.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fcnseg.data.instances import OutlineFault, pack_polygons, pack_runs
from fcnseg.errors import DataError, EnvironmentFault


class Annotation(NamedTuple):
    """An entry of ``annotations``; ids are text, None where they are missing.

    ``outline`` is packed as :mod:`fcnseg.data.instances` says, empty if there is none; then
    ``boxed`` says whether the object has a box all the same. ``fault`` says what is wrong.
    ``described``: it is run lengths and has ``attributes`` that do not call it a crowd.
    """

    id: str | None
    image: str | None
    category: str | None
    crowd: bool
    outline: bytes
    boxed: bool
    fault: str
    described: bool = False


def parse_coco(path: Path) -> Any:
    """Return the content of a COCO json, in which annotations are :class:`Annotation`.

    Raises:
        DataError: the file is missing or damaged.
        EnvironmentFault: it does not fit into memory.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_hook=_compact)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; check --annotations") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected a COCO json") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read (permission denied)") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no UTF-8 text, expected a COCO json") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: {_broken(error)}") from None
    except RecursionError:
        raise DataError(f"{path}: is nested too deeply for a COCO json; export it again") from None
    except MemoryError:
        raise EnvironmentFault(f"{path}: too large for this machine's memory") from None
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read ({reason}); copy or export it again") from None


def _broken(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "the file is empty; copy or export it again"
    if not error.doc[error.pos :].strip() or error.msg.startswith("Unterminated"):
        return f"the json ends too early, after {len(error.doc)} characters; copy it again"
    return (
        f"is no valid json ({error.msg}, line {error.lineno} column {error.colno}); "
        "copy or export it again"
    )


def _compact(entry: dict[str, Any]) -> Any:
    """Turn an annotation into few bytes as soon as the parser has read it; keep all else."""
    if "image_id" not in entry or "category_id" not in entry or "segments_info" in entry:
        return entry
    segmentation = entry.get("segmentation")
    outline, fault = b"", ""
    try:
        if isinstance(segmentation, dict):
            outline = pack_runs(segmentation.get("size"), segmentation.get("counts"))
        elif isinstance(segmentation, list) and any(part != [] for part in segmentation):
            outline = pack_polygons(segmentation)
        elif segmentation and not isinstance(segmentation, list):
            fault = f"its segmentation is a {type(segmentation).__name__}, expected polygons or RLE"
    except OutlineFault as reason:
        fault = str(reason)
    boxed = not outline and _has_box(entry.get("bbox"))
    if not outline and not boxed and not fault and segmentation is None:
        fault = "it has no segmentation"
    crowd = entry.get("iscrowd") in (1, "1")
    described = isinstance(segmentation, dict) and _no_crowd(entry.get("attributes"))
    name, image, category = (key_of(entry.get(key)) for key in ("id", "image_id", "category_id"))
    return Annotation(name, image, category, crowd, outline, boxed, fault, described)


def _no_crowd(attributes: Any) -> bool:
    """Whether there are attributes, and none says that this is a crowd."""
    if not isinstance(attributes, dict):
        return False
    return str(attributes.get("is_crowd")).lower() not in ("true", "1")


def _has_box(box: Any) -> bool:
    if not isinstance(box, Sequence) or len(box) != 4:
        return False
    return all(isinstance(side, (int, float)) and side > 0 for side in box[2:])


def key_of(value: Any) -> str | None:
    """Return an id as text, None if it is none: 7, 7.0 and "7" are the same."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return " ".join(str(value).split()) or None


def whole_of(value: Any) -> int:
    """Return a whole number, 0 for anything else."""
    key = None if isinstance(value, str) else key_of(value)
    return int(key) if key else 0
