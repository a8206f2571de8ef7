"""A strip under an overlay: which colour is which class, and how much of the image it covers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from fcnseg.errors import UsageError
from fcnseg.palette import VOID_COLOUR, Palette
from fcnseg.render.mask import check_class_ids
from fcnseg.render.text import INK, QUIET_INK, fitted, font, text_width

_SIZE = 14
_NARROWEST = 100
_SPACES = 14, 24, 8, 18  # of a swatch, a row, the margin and between entries, at that size


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

    >>> import numpy as np
    >>> blue, red = (0, 0, 90), (90, 0, 0)
    >>> legend(np.eye(8, dtype=int), ["sea", "ship"], [blue, red], width=200).shape
    (58, 200, 3)

    Raises :class:`UsageError` for unknown ids and for numbers of names and colours that differ.
    """
    check_class_ids("labels", labels, palette, void)
    return legend_of(pixels_of(labels), names, palette, width, void)


def pixels_of(labels: np.ndarray) -> dict[int, int]:
    """How many pixels of ``labels`` have each id that occurs."""
    ids, counts = np.unique(labels, return_counts=True)
    return {int(i): int(count) for i, count in zip(ids, counts, strict=True)}


def over_legend(
    picture: np.ndarray,
    pixels: Mapping[int, int],
    names: Sequence[str],
    palette: Palette,
    void: int = 255,
) -> np.ndarray:
    """Return ``picture`` (H, W, 3) over the strip of :func:`legend_of`, on white.

    A picture of less than 100 pixels' width, into which no name fits, comes back alone.
    """
    width = picture.shape[1]
    if width < _NARROWEST:
        return picture
    return np.concatenate([picture, legend_of(pixels, names, palette, width, void)])


def legend_of(
    pixels: Mapping[int, int],
    names: Sequence[str],
    palette: Palette,
    width: int,
    void: int = 255,
) -> np.ndarray:
    """Return :func:`legend` of an image by its count of pixels of each id, above 0, in order.

    Raises :class:`UsageError` for numbers of names and colours that differ.
    """
    if len(names) != len(palette):
        raise UsageError(f"names: expected one for each of {len(palette)} colours, got {names!r}")
    if width < _NARROWEST:
        raise UsageError(f"width: expected at least {_NARROWEST} pixels, got {width}")
    total = sum(pixels.values())
    entries = []
    for number in sorted(pixels, key=lambda number: -pixels[number]):
        is_void = number == void
        name = "void" if is_void else names[number]
        colour = VOID_COLOUR if is_void else palette[number]
        percent = 100 * pixels[number] / total
        share = f"  {percent:.0f} %" if percent >= 0.5 else "  <1 %"
        entries.append(Entry(name, colour, share))
    return strip(entries, width)


@dataclass(frozen=True)
class Entry:
    """One swatch with its name, and a note beside it in quiet ink."""

    name: str
    colour: Sequence[int]
    note: str = ""


def strip(entries: Sequence[Entry], width: int, size: int = _SIZE) -> np.ndarray:
    """Return entries in their order in as many rows as they need, (h, width, 3) uint8 on white.

    ``width`` is in pixels, ``size`` that of the font. A name that is too long is cut.
    """
    swatch, row, margin, between = (round(n * size / _SIZE) for n in _SPACES)
    places: list[tuple[int, int, str, Entry]] = []
    x = y = margin
    for entry in entries:
        beside = text_width(entry.note, size)
        name = fitted(entry.name, width - 2 * margin - swatch - 6 - beside, size)
        needed = swatch + 6 + round(text_width(name, size) + beside)
        if x > margin and x + needed > width - margin:
            x, y = margin, y + row
        places.append((x, y, name, entry))
        x += needed + between

    drawn = Image.new("RGB", (width, y + row + margin - 6), "white")
    pen = ImageDraw.Draw(drawn)
    for x, y, name, entry in places:
        box = (x, y + 1, x + swatch - 1, y + swatch)
        red, green, blue = (int(v) for v in entry.colour)
        pen.rectangle(box, fill=(red, green, blue), outline=QUIET_INK)
        at = x + swatch + 6, y + swatch - 1
        pen.text(at, name, fill=INK, font=font(size), anchor="ls")
        after = at[0] + text_width(name, size), at[1]
        pen.text(after, entry.note, fill=QUIET_INK, font=font(size), anchor="ls")
    return np.array(drawn)
