"""Samples beside what augmentation makes of them, on one sheet."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcnseg.errors import UsageError
from fcnseg.palette import Palette
from fcnseg.render.gallery import fitted_image, sample_thumbnail
from fcnseg.render.hatch import hatched
from fcnseg.render.legend import legend
from fcnseg.render.markup import TIMES
from fcnseg.render.text import INK, QUIET_INK, fitted, font, text_width

MOST_SAMPLES = 64
"""How many samples fit on one sheet."""

_MARGIN, _GAP, _MIDDLE, _BETWEEN = 16, 4, 16, 40
_TITLE, _TITLE_SIZE, _SMALL = 26, 14, 12
_HEAD = 56
_FEW, _LARGE, _SMALLER = 12, 240, 160
_COLUMNS = ("as stored", "its labels", "augmented", "its labels")

Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def contact_sheet(
    rows: Sequence[Row],
    palette: Palette,
    titles: Sequence[str],
    names: Sequence[str] | None = None,
    void: int = 255,
) -> np.ndarray:
    """Return samples, each with its labels beside its augmented form, (H, W, 3) uint8.

    Photographs are shown too, since overlays are grey and hide what colour augmentation does.
    Void is hatched. The sheet is at most about 1,400 pixels wide and 6,300 high without its
    legend; more than 12 samples are drawn smaller, two in a row.

    Args:
        rows: (image, label, augmented image, augmented label) of 1 to 64 samples: (H, W, 3) uint8
            with (H, W) class ids, and (h, w, 3) with (h, w).
        palette: one (r, g, b) a class.
        titles: the id of each sample.
        names: of the classes; with them there is a legend at the bottom.
        void: the label of pixels without a class.

    Raises:
        UsageError: other shapes and types, unknown ids, or numbers that do not fit together.
    """
    if not 1 <= len(rows) <= MOST_SAMPLES:
        raise UsageError(
            f"--show-augmented: expected 1 to {MOST_SAMPLES} samples, got {len(rows)}; show fewer"
        )
    if len(titles) != len(rows):
        raise UsageError(f"titles: expected {len(rows)}, one a sample, got {len(titles)}")
    across, side = (1, _LARGE) if len(rows) <= _FEW else (2, _SMALLER)
    blocks = [_panels(row, palette, void, side) for row in rows]
    lines = [blocks[i : i + across] for i in range(0, len(blocks), across)]
    heights = [max(panel.shape[0] for block in line for panel in block) for line in lines]
    places = _places(side)
    block_width = places[-1] + side
    width = 2 * _MARGIN + across * block_width + (across - 1) * _BETWEEN
    sheet = Image.new(
        "RGB", (width, _MARGIN + _HEAD + sum(_TITLE + high + _MARGIN for high in heights)), "white"
    )
    pen = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + k * (block_width + _BETWEEN) for k in range(across)]
    _head(sheet, pen, lefts, places)
    y = _MARGIN + _HEAD
    for start, (line, high) in enumerate(zip(lines, heights, strict=True)):
        for place, block in enumerate(line):
            i = start * across + place
            _write(pen, (lefts[place], y), block_width, titles[i], _sizes(rows[i]))
            for x, panel in zip(places, block, strict=True):
                sheet.paste(Image.fromarray(panel), (lefts[place] + x, y + _TITLE))
        y += _TITLE + high + _MARGIN
    drawn = np.array(sheet)
    if names is None:
        return drawn
    shown = np.concatenate([ids[ids != void].ravel() for row in rows for ids in (row[1], row[3])])
    if not shown.size:
        return drawn
    return np.concatenate([drawn, legend(shown[None], names, palette, width, void)])


def _panels(row: Row, palette: Palette, void: int, side: int) -> list[np.ndarray]:
    image, label, augmented, augmented_label = row
    box = (side, side)
    return [
        fitted_image(image, box),
        sample_thumbnail(image, label, palette, void, box),
        fitted_image(augmented, box),
        sample_thumbnail(augmented, augmented_label, palette, void, box),
    ]


def _places(side: int) -> list[int]:
    """Where the four panels of a sample begin."""
    second = side + _GAP
    return [0, second, second + side + _MIDDLE, 2 * second + side + _MIDDLE]


def _head(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, lefts: Sequence[int], places: Sequence[int]
) -> None:
    """What the hatching is, and what each column shows."""
    baseline = _MARGIN + 14
    swatch = hatched(np.full((16, 30, 3), 190, np.uint8), np.ones((16, 30), bool))
    sheet.paste(Image.fromarray(swatch), (_MARGIN, baseline - 13))
    pen.rectangle((_MARGIN, baseline - 13, _MARGIN + 29, baseline + 2), outline=QUIET_INK)
    note = "hatched: void, neither trained on nor scored"
    pen.text((_MARGIN + 38, baseline), note, fill=INK, font=font(_TITLE_SIZE), anchor="ls")
    for left in lefts:
        for x, name in zip(places, _COLUMNS, strict=True):
            at = left + x, _MARGIN + _HEAD - 10
            pen.text(at, name, fill=QUIET_INK, font=font(_SMALL), anchor="ls")


def _write(
    pen: ImageDraw.ImageDraw, at: tuple[int, int], width: int, title: str, sizes: str
) -> None:
    """The id on the left and the sizes behind it, over a pair of panels."""
    baseline = at[1] + _TITLE - 8
    room = width - text_width(sizes, _SMALL) - 10
    title = fitted(" ".join(title.split()), room, _TITLE_SIZE)
    pen.text((at[0], baseline), title, fill=INK, font=font(_TITLE_SIZE), anchor="ls")
    x = at[0] + text_width(title, _TITLE_SIZE) + 10
    pen.text((x, baseline), sizes, fill=QUIET_INK, font=font(_SMALL), anchor="ls")


def _sizes(row: Row) -> str:
    (h, w), (high, wide) = row[1].shape, row[3].shape
    return f"{h}{TIMES}{w}" + (f" to {high}{TIMES}{wide}" if (h, w) != (high, wide) else "")
