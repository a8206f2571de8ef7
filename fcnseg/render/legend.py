"""A strip under an overlay: which colour is which class, and how much of the image it covers."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcnseg.errors import UsageError
from fcnseg.palette import VOID_COLOUR, Palette
from fcnseg.render.mask import check_class_ids
from fcnseg.render.text import INK, QUIET_INK, fitted, font, text_width

_SIZE = 14
_SWATCH = 14
_ROW = 24
_MARGIN = 8
_BETWEEN = 18


def legend(
    labels: np.ndarray,
    names: Sequence[str],
    palette: Palette,
    width: int,
    void: int = 255,
) -> np.ndarray:
    """Return a strip (h, width, 3) uint8 with the classes of ``labels`` (H, W), largest first.

    Each has its colour, its name and its share of all pixels, void among them; as many rows as
    are needed. ``names`` and ``palette`` have one entry a class. ``width`` is in pixels, at least
    100, usually that of the overlay.

    Raises :class:`UsageError` for unknown ids and for numbers of names and colours that differ.
    """
    check_class_ids("labels", labels, palette, void)
    if len(names) != len(palette):
        raise UsageError(f"names: expected one for each of {len(palette)} colours, got {names!r}")
    if width < 100:
        raise UsageError(f"width: expected at least 100 pixels, got {width}")
    ids, counts = np.unique(labels, return_counts=True)
    places: list[tuple[int, int, str, str, tuple[int, ...]]] = []
    x = y = _MARGIN
    for i in np.argsort(-counts, kind="stable"):
        is_void = int(ids[i]) == void
        name = "void" if is_void else names[int(ids[i])]
        colour = VOID_COLOUR if is_void else tuple(int(v) for v in palette[int(ids[i])])
        percent = 100 * counts[i] / labels.size
        share = f"  {percent:.0f} %" if percent >= 0.5 else "  <1 %"
        room = width - 2 * _MARGIN - _SWATCH - 6 - text_width(share, _SIZE)
        name = fitted(name, room, _SIZE)
        needed = _SWATCH + 6 + round(text_width(name, _SIZE) + text_width(share, _SIZE))
        if x > _MARGIN and x + needed > width - _MARGIN:
            x, y = _MARGIN, y + _ROW
        places.append((x, y, name, share, colour))
        x += needed + _BETWEEN

    strip = Image.new("RGB", (width, y + _ROW + _MARGIN - 6), "white")
    pen = ImageDraw.Draw(strip)
    for x, y, name, share, colour in places:
        box = (x, y + 1, x + _SWATCH - 1, y + _SWATCH)
        pen.rectangle(box, fill=(colour[0], colour[1], colour[2]), outline=QUIET_INK)
        at = x + _SWATCH + 6, y + _SWATCH - 1
        pen.text(at, name, fill=INK, font=font(_SIZE), anchor="ls")
        after = at[0] + text_width(name, _SIZE), at[1]
        pen.text(after, share, fill=QUIET_INK, font=font(_SIZE), anchor="ls")
    return np.array(strip)
