"""Mask pixels to class ids: palette, index, RGB and 0/255 masks of the same labels are equal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import numpy as np

from fcnseg.data.images import MaskPixels
from fcnseg.data.sample import VOID
from fcnseg.errors import DataError
from fcnseg.palette import VOID_COLOUR, Colour

Encoding = Literal["auto", "index", "palette", "rgb", "binary255"]
ENCODINGS: tuple[str, ...] = get_args(Encoding)

_LISTED = 5

_WAYS_OUT = (
    "use --mask-encoding palette if indices are class ids, or rgb and correct the mask or the "
    "colours of the classes"
)


def class_ids(
    path: str | Path,
    pixels: MaskPixels,
    num_classes: int,
    encoding: str = "auto",
    palette: Sequence[Colour] | None = None,
    void: int | Colour | None = None,
) -> np.ndarray:
    """Return (H, W) uint8 class ids, 255 where void.

    Args:
        path: the mask file, for messages.
        pixels: what :func:`~fcnseg.data.images.read_mask_pixels` read.
        num_classes: K; ids are 0 to K - 1.
        encoding: "index" takes grey values, "palette" takes palette indices, "rgb" looks every
            colour up in ``palette``, "binary255" maps 0 to class 0 and 255 to class 1. "auto"
            looks colours up if a palette is given and the file is RGB, or is a palette image
            that shows the colours of classes; else it takes indices or grey values.
        palette: one colour per class; needed by "rgb". Void may have VOC's colour of void,
            unless a class has it.
        void: a stored value or a colour that means void, beside what does anyway.

    Raises:
        DataError: the file is of another kind than ``encoding`` says, holds a value or a
            colour that is no class, or, with "auto", a colour table in which some of the colours
            in use are classes' and some are not; the message has the first such pixel.
    """
    if void is not None:
        return _with_void(path, pixels, num_classes, encoding, palette, void)
    if encoding == "rgb":
        return ids_of_colours(path, _as_rgb(path, pixels), _ids_by_colour(palette or ()))
    if encoding == "binary255":
        return _from_binary(path, _one_channel(path, pixels, encoding))
    if encoding == "palette" and pixels.kind != "palette":
        raise DataError(
            f"{path}: is a {pixels.kind} image, expected a palette image; "
            "use --mask-encoding auto, or index for grey values"
        )
    if encoding == "index" and pixels.kind == "palette":
        raise DataError(
            f"{path}: is a palette image, expected a grey image; "
            "use --mask-encoding palette to take its indices"
        )
    if encoding == "auto" and pixels.kind == "rgb" and palette is not None:
        return ids_of_colours(path, pixels.values, _ids_by_colour(palette))
    if encoding == "auto" and pixels.colours is not None and palette is not None:
        by_colour = ids_of_table(path, pixels.values, pixels.colours, palette, _WAYS_OUT)
        if by_colour is not None:
            return by_colour
    values = _one_channel(path, pixels, encoding)
    if encoding == "auto" and num_classes == 2:
        _refuse_black_and_white(path, values)
    return checked_ids(path, values, num_classes)


def _with_void(
    path: str | Path,
    pixels: MaskPixels,
    num_classes: int,
    encoding: str,
    palette: Sequence[Colour] | None,
    void: int | Colour,
) -> np.ndarray:
    """Read a mask as if its void pixels held what the first other one holds; they are 255 then."""
    is_void = _holds(pixels, void)
    places = np.argwhere(~is_void)
    if not len(places):
        return np.full(is_void.shape, VOID, np.uint8)
    values = pixels.values.copy()
    values[is_void] = values[tuple(places[0])]
    ids = class_ids(path, replace(pixels, values=values), num_classes, encoding, palette)
    return np.where(is_void, np.uint8(VOID), ids)


def _holds(pixels: MaskPixels, wanted: int | Colour) -> np.ndarray:
    """Return (H, W) bool, whether a pixel is stored as the value, or seen in the colour."""
    values = pixels.values
    if isinstance(wanted, int):
        return (values == wanted).all(axis=2) if values.ndim == 3 else values == wanted
    if values.ndim == 3:
        return (values == np.array(wanted)).all(axis=2)
    if pixels.colours is not None:
        alike = np.flatnonzero((pixels.colours == np.array(wanted)).all(axis=1))
        return np.isin(values, alike)
    return values == wanted[0] if len(set(wanted)) == 1 else np.zeros(values.shape, bool)


def checked_ids(
    path: str | Path, values: np.ndarray, num_classes: int, void: int = VOID
) -> np.ndarray:
    """Return integer ``values`` (H, W) as uint8, with the value ``void`` turned into 255.

    Raises:
        DataError: a value is neither a class id nor ``void``; the message lists such values with
            their pixel counts and the first pixel.
    """
    is_void = values == void
    if ((values >= num_classes) & ~is_void).any():
        _refuse_values(path, values, num_classes, void)
    ids = values.astype(np.uint8, copy=False)
    # np.where takes fifty times as long.
    return ids if void == VOID else np.maximum(ids, -is_void.view(np.uint8))


def _refuse_values(path: str | Path, values: np.ndarray, num_classes: int, void: int) -> NoReturn:
    counts = np.bincount(values.ravel())
    present = np.flatnonzero(counts)
    wrong = [int(value) for value in present if value >= num_classes and value != void]
    y, x = np.argwhere(values == wrong[0])[0]
    listed = ", ".join(f"{value} ({counts[value]} pixels)" for value in wrong[:_LISTED])
    more = f" and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
    raise DataError(
        f"{path}: {'pixel value' if len(wrong) == 1 else 'pixel values'} {listed}{more}: "
        f"{'is' if len(wrong) == 1 else 'are'} no class id, first at x={x}, y={y}; expected "
        f"0 to {num_classes - 1}, or {void} for void; correct the mask or the list of classes"
    )


def _one_channel(path: str | Path, pixels: MaskPixels, encoding: str) -> np.ndarray:
    """Return (H, W) values; an RGB file must have three equal channels."""
    values = pixels.values
    if pixels.kind == "bilevel" and encoding == "binary255":
        return values * 255
    if pixels.kind != "rgb":
        return values
    coloured = (values != values[..., :1]).any(axis=2)
    if coloured.any():
        y, x = np.argwhere(coloured)[0]
        raise DataError(
            f"{path}: is a coloured RGB mask (first colour {_colour(values[y, x])} at x={x}, "
            f"y={y}), expected class ids; use --mask-encoding rgb with the colour of each class"
        )
    return np.ascontiguousarray(values[..., 0])


def _as_rgb(path: str | Path, pixels: MaskPixels) -> np.ndarray:
    """Return (H, W, 3) uint8 colours of any kind of mask, as a viewer shows them.

    Raises :class:`DataError` for an index beyond the colour table.
    """
    if pixels.kind == "rgb":
        return pixels.values
    if pixels.colours is not None:
        beyond = pixels.values >= len(pixels.colours)
        if beyond.any():
            y, x = np.argwhere(beyond)[0]
            raise DataError(
                f"{path}: index {pixels.values[y, x]}, first at x={x}, y={y}, has no colour in "
                f"the file's table of {len(pixels.colours)} colours ({int(beyond.sum())} such "
                "pixels); correct the mask, or use --mask-encoding palette if indices are class ids"
            )
        return pixels.colours[pixels.values]
    grey = pixels.values * 255 if pixels.kind == "bilevel" else pixels.values
    return np.repeat(grey[..., None], 3, axis=2)


def ids_of_table(
    path: str | Path,
    values: np.ndarray,
    table: np.ndarray,
    palette: Sequence[Colour],
    remedy: str,
    *,
    usual_order: bool = False,
) -> np.ndarray | None:
    """Return (H, W) uint8 ids of a palette image by its colours; None if it is read by index.

    The order of a colour table is whatever a program made it, so the colours of classes go before
    indices. It is read by index if no index in use has the colour of a class. Index 255 may be
    void in any colour.

    Args:
        path: the mask file, for messages.
        values: (H, W) uint8 indices.
        table: (N, 3) uint8, the colours of the first N indices.
        palette: one colour per class. Void may have VOC's colour of void, unless a class has it.
        remedy: what to do about a colour of no class, for the message.
        usual_order: whether class ids are the usual indices of these colours, so that other
            colours say nothing where every index in use that has the colour of a class is its id.

    Raises:
        DataError: some indices in use have colours of classes and some do not; the message has the
            first such pixel.
    """
    ids_by_code = {_code(c): i for c, i in _ids_by_colour(palette).items()}
    shown = dict(enumerate(table))
    found = {
        index: ids_by_code.get(_code(shown[index])) if index in shown else None
        for index in np.flatnonzero(np.bincount(values.ravel())).tolist()
    }
    unknown = [index for index, class_id in found.items() if class_id is None and index != VOID]
    if len(unknown) == len(found.keys() - {VOID}):
        return None
    if usual_order and all(class_id in (index, None) for index, class_id in found.items()):
        return None
    if unknown:
        y, x = np.argwhere(values == unknown[0])[0]
        colour = _colour(shown[unknown[0]]) if unknown[0] in shown else "no colour"
        raise DataError(
            f"{path}: index {unknown[0]}, first at x={x}, y={y}, has {colour}, the colour of no "
            f"class, while other indices have colours of classes; {remedy}"
        )
    ids = np.full(256, VOID, np.uint8)
    for index, class_id in found.items():
        ids[index] = VOID if class_id is None else class_id
    return ids[values]


def ids_of_colours(
    path: str | Path, rgb: np.ndarray, ids_by_colour: Mapping[Colour, int]
) -> np.ndarray:
    """Return (H, W) uint8 class ids of (H, W, 3) uint8 colours; several colours may share an id.

    Raises:
        DataError: a colour that is not in ``ids_by_colour``; the message has the first such pixel.
    """
    ids_by_code = {_code(colour): class_id for colour, class_id in ids_by_colour.items()}
    known = np.array(sorted(ids_by_code))
    ids = np.array([ids_by_code[code] for code in known.tolist()], np.uint8)
    channels = rgb.astype(np.int32)
    codes = channels[..., 0] << 16 | channels[..., 1] << 8 | channels[..., 2]
    places = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    unknown = known[places] != codes
    if unknown.any():
        y, x = np.argwhere(unknown)[0]
        raise DataError(
            f"{path}: colour {_colour(rgb[y, x])} at x={x}, y={y} belongs to no class "
            f"({len(np.unique(codes[unknown]))} unknown colours, {int(unknown.sum())} pixels); "
            "correct the mask or the colours of the classes"
        )
    return ids[places]


def _ids_by_colour(palette: Sequence[Colour]) -> dict[Colour, int]:
    ids = {colour: index for index, colour in enumerate(palette)}
    ids.setdefault(VOID_COLOUR, VOID)
    return ids


def _from_binary(path: str | Path, values: np.ndarray) -> np.ndarray:
    other = (values != 0) & (values != 255)
    if other.any():
        y, x = np.argwhere(other)[0]
        raise DataError(
            f"{path}: pixel value {values[y, x]} at x={x}, y={y} ({int(other.sum())} such "
            "pixels), expected 0 or 255 only (--mask-encoding binary255); were the edges smoothed?"
        )
    return (values == 255).astype(np.uint8)


def _refuse_black_and_white(path: str | Path, values: np.ndarray) -> None:
    if np.array_equal(np.unique(values), (0, 255)) or (values.size and (values == 255).all()):
        raise DataError(
            f"{path}: with two classes this mask holds no other class id than 0, and 255, which "
            "means void; use --mask-encoding binary255 if 255 is the second class, or index if "
            "it is void"
        )


def _code(colour: Sequence[int]) -> int:
    return int(colour[0]) << 16 | int(colour[1]) << 8 | int(colour[2])


def _colour(rgb: Any) -> str:
    return f"({int(rgb[0])}, {int(rgb[1])}, {int(rgb[2])})"
