"""Masks of class ids, shown in colour and stored as palette PNGs."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

from fcnseg.checks import check_labels
from fcnseg.errors import UsageError
from fcnseg.files import write_atomically
from fcnseg.palette import VOID_COLOUR, Palette, check_palette


def colourise(labels: np.ndarray, palette: Palette, void: int = 255) -> np.ndarray:
    """Return ``labels`` in colour: (H, W) integer class ids -> (H, W, 3) uint8.

    ``palette`` has one (r, g, b) a class; ``void`` is shown in VOC's cream (224, 224, 192).

    >>> import numpy as np
    >>> colourise(np.array([[1, 255]]), palette=[(0, 0, 0), (128, 0, 0)]).tolist()
    [[[128, 0, 0], [224, 224, 192]]]

    Raises :class:`UsageError` for an id that is neither a class nor void.
    """
    check_class_ids("labels", labels, palette, void)
    is_void = labels == void
    coloured = np.asarray(palette, dtype=np.uint8)[np.where(is_void, 0, labels)]
    coloured[is_void] = VOID_COLOUR
    return coloured


def write_mask(
    path: str | os.PathLike[str], labels: np.ndarray, palette: Palette, void: int = 255
) -> Path:
    """Write ``labels``, (H, W), as an 8-bit palette PNG whose pixels are the class ids.

    Void is stored as 255 and shown in VOC's cream, whatever ``void`` is in ``labels``. The file
    appears whole or not at all. Returns ``path``.

    >>> import numpy as np
    >>> labels = np.array([[0, 1], [1, 255]])
    >>> path = write_mask("cat.png", labels, palette=[(0, 0, 0), (128, 0, 0)])
    >>> np.asarray(Image.open(path)).tolist()
    [[0, 1], [1, 255]]

    Raises :class:`UsageError` for a name that does not end in .png or for an id that is neither
    a class nor void, and :class:`EnvironmentFault` if the file cannot be written.
    """
    path = Path(path)
    colours = mask_colours(path, palette)
    check_class_ids(str(path), labels, palette, void)
    picture = Image.fromarray(np.where(labels == void, 255, labels).astype(np.uint8))
    picture.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", bits=8, optimize=False)
    return write_atomically(path, buffer.getvalue())


def mask_colours(path: Path, palette: Palette) -> np.ndarray:
    """Return the colour table of a mask file, (256, 3) uint8: the classes, and void at 255.

    Raises :class:`UsageError` for a name that does not end in .png or for a palette that is none
    or leaves no id for void.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: expected a name that ends in .png; other formats alter the ids")
    check_palette(palette)
    if len(palette) > 255:
        raise UsageError(f"{path}: 256 classes leave no id for void in 8 bits; at most 255 fit")
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(palette)] = palette
    colours[255] = VOID_COLOUR
    return colours


def check_class_ids(what: str, labels: np.ndarray, palette: Palette, void: int) -> None:
    """Raise :class:`UsageError` unless ``labels`` is (H, W) of palette ids and ``void``."""
    check_labels(what, labels)
    check_palette(palette)
    wrong = (labels != void) & ((labels < 0) | (labels >= len(palette)))
    if wrong.any():
        y, x = (int(i) for i in np.argwhere(wrong)[0])
        raise UsageError(
            f"{what}: {int(wrong.sum())} pixels are neither one of the {len(palette)} classes of "
            f"the palette nor void ({void}); first: {int(labels[y, x])} at row {y}, column {x}"
        )
