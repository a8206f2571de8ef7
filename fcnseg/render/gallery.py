"""Samples as small pictures: overlays with void hatched, and files that are shown alone."""

import base64
import io

import numpy as np
from PIL import Image

from fcnseg.checks import check_image, check_same_size
from fcnseg.palette import Palette
from fcnseg.render.hatch import hatched
from fcnseg.render.mask import check_class_ids, colourise
from fcnseg.render.overlay import overlay

LONGEST = 480
"""The longer side of a thumbnail in pixels."""

_SHORTEST_LONG_SIDE = 240
_GAP = 6
_QUALITIES = (82, 65, 45, 25, 8)


def fitted_image(image: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """Return (H, W, 3) uint8 scaled into ``box`` (height, width).

    An image that would fit several times is enlarged by a whole number, so that its pixels can
    be seen, to about 240 pixels.
    """
    high, wide = image.shape[:2]
    scale = min(box[0] / high, box[1] / wide)
    if scale >= 2:
        times = max(1, min(int(scale), -(-_SHORTEST_LONG_SIDE // max(high, wide))))
        return image.repeat(times, 0).repeat(times, 1)
    return _resized(image, max(1, round(high * scale)), max(1, round(wide * scale)))


def sample_thumbnail(
    image: np.ndarray,
    label: np.ndarray,
    palette: Palette,
    void: int = 255,
    box: tuple[int, int] = (LONGEST, LONGEST),
) -> np.ndarray:
    """Return the overlay of a sample scaled into ``box`` (height, width), (h, w, 3) uint8.

    ``image`` is (H, W, 3) uint8, ``label`` (H, W) class ids. Void is hatched. Small samples are
    enlarged by a whole number.

    Raises :class:`UsageError` for other shapes and types, sizes that differ or unknown ids.
    """
    check_image("image", image)
    check_same_size("image", image.shape[:2], "label", label.shape)
    check_class_ids("label", label, palette, void)
    small = fitted_image(image, box)
    ids = fitted_labels(label, small.shape[:2])
    return hatched(overlay(small, ids, palette, void=void), ids == void)


def parts_thumbnail(
    image: np.ndarray | None, mask: np.ndarray | None, longest: int = LONGEST
) -> np.ndarray:
    """Return what there is of a faulty sample: image and mask beside each other, or one of them.

    Both are (H, W, 3) uint8 of any sizes, drawn to one scale; the result is (h, w, 3) uint8 with a
    white gap between the two.
    """
    parts = [part for part in (image, mask) if part is not None]
    if not parts:
        return np.full((_SHORTEST_LONG_SIDE // 2, _SHORTEST_LONG_SIDE, 3), 128, np.uint8)
    if len(parts) == 1:
        return fitted_image(parts[0], (longest, longest))
    high = max(part.shape[0] for part in parts)
    wide = sum(part.shape[1] for part in parts)
    scale = min(longest / high, (longest - _GAP) / wide)
    panels = []
    for part in parts:
        size = [max(1, round(extent * scale)) for extent in part.shape[:2]]
        panels.append(_resized(part, size[0], size[1]))
    canvas_high = max(panel.shape[0] for panel in panels)
    canvas_wide = sum(panel.shape[1] for panel in panels) + _GAP
    canvas = np.full((canvas_high, canvas_wide, 3), 255, np.uint8)
    x = 0
    for panel in panels:
        canvas[: panel.shape[0], x : x + panel.shape[1]] = panel
        x += panel.shape[1] + _GAP
    return canvas


def coloured_mask(label: np.ndarray, palette: Palette, void: int = 255) -> np.ndarray:
    """Return class ids (H, W) as (H, W, 3) uint8 colours, void hatched."""
    return hatched(colourise(label, palette, void), label == void)


def jpeg_uri(picture: np.ndarray, most: int = 120_000) -> str:
    """Return (h, w, 3) uint8 as the data URI of a JPEG of at most about ``most`` bytes."""
    data = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(picture)).save(
            buffer, format="JPEG", quality=quality, subsampling=0
        )
        data = buffer.getvalue()
        if len(data) <= most:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"


def _resized(image: np.ndarray, high: int, wide: int) -> np.ndarray:
    """Scaled with all pixels counted; whole blocks are averaged first where there are many."""
    whole = Image.fromarray(np.ascontiguousarray(image))
    return np.asarray(whole.resize((wide, high), Image.Resampling.BILINEAR, reducing_gap=3.0))


def fitted_labels(label: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return (H, W) ids scaled to ``size``: the id at the middle of each pixel of the result."""
    rows = ((np.arange(size[0]) + 0.5) * label.shape[0] / size[0]).astype(int)
    columns = ((np.arange(size[1]) + 0.5) * label.shape[1] / size[1]).astype(int)
    return np.ascontiguousarray(label[rows][:, columns])
