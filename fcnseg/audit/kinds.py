"""Kinds of masks in words, and findings of one kind together."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcnseg.audit.report import Finding
from fcnseg.data.images import IMAGE_ENDINGS, read_mask_kind, read_mask_pixels
from fcnseg.data.sample import VOID
from fcnseg.errors import DataError

_WORDS = {
    "grey": ("grey mask", "grey masks"),
    "grey16": ("16-bit grey mask", "16-bit grey masks"),
    "bilevel": ("1-bit mask", "1-bit masks"),
    "palette": ("palette mask", "palette masks"),
    "rgb": ("RGB mask", "RGB masks"),
    "generated": ("generated mask", "generated masks"),
}

_VOIDS_NAMED = 5


def mask_kind(files: Sequence[Path]) -> str:
    """Return the kind of the mask of (image, mask), as ``Record.mask_kind`` has it."""
    if not files:
        return "generated"
    if is_picture(files):
        try:
            return read_mask_kind(files[-1])
        except DataError:  # a reader of a person's own may take what ours refuse
            pass
    return files[-1].suffix.lower().lstrip(".") or "file"


def is_picture(files: Sequence[Path]) -> bool:
    """Whether the labels of (image, mask) are an image file."""
    return bool(files) and files[-1].suffix.lower() in IMAGE_ENDINGS


def kind_in_words(kind: str, count: int) -> str:
    """Return ``"1 grey mask"``, ``"367 palette masks"`` or ``"20 masks from .json files"``."""
    if kind in _WORDS:
        return f"{count} {_WORDS[kind][count != 1]}"
    return f"{count} {'mask' if count == 1 else 'masks'} from .{kind} files"


def reading_in_words(path: Path, label: np.ndarray, max_pixels: int) -> str:
    """Say how the values of a mask became class ids, by comparing the two.

    Args:
        path: the mask, an image file.
        label: (H, W) uint8, what it was read as.
        max_pixels: limit on the file.

    Returns:
        A phrase; "" where the labels are something else than the pixels of this file.

    Raises:
        DataError: the mask cannot be read.
    """
    pixels = read_mask_pixels(path, max_pixels)
    values = pixels.values
    if values.shape[:2] != label.shape:
        return ""
    noun = "indices" if pixels.kind == "palette" else "values"
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            return "colours are looked up in the list of classes"
        values, noun = values[..., 0], "grey values"
    kept = label != VOID
    if np.array_equal(values[kept], label[kept]):
        return f"{noun} are class ids{_void_in_words(values[~kept])}"
    if set(np.unique(values)) <= {0, 255} and np.array_equal(values == 255, label == 1):
        return f"{noun} 0 and 255 are classes 0 and 1"
    if pixels.colours is not None:
        return "colours are looked up in the list of classes"
    return f"{noun} are translated to class ids"


def by_kind(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Group findings that differ in names and numbers only, in order of the first of each."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, _form(finding.message)), []).append(finding)
    return list(groups.values())


def _form(message: str) -> str:
    """Leave out what differs from file to file: paths, numbers and what is quoted."""
    message = re.sub(r"'[^']*'", "'…'", message)
    message = re.sub(r"\S*[/\\]\S*", "…", message)
    return re.sub(r"\d+(, \d+ \(\d+ pixels?\))*", "#", message)


def _void_in_words(values: np.ndarray) -> str:
    found = np.unique(values).tolist()
    if not found or found == [VOID]:
        return ""
    listed = ", ".join(map(str, found[:_VOIDS_NAMED]))
    more = f" and {len(found) - _VOIDS_NAMED} more" if len(found) > _VOIDS_NAMED else ""
    return f", {listed}{more} {'is' if len(found) == 1 else 'are'} void"
