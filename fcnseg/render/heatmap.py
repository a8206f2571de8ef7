"""Where a network sees its classes: the photograph and one panel a class."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcnseg.checks import check_image, check_same_size
from fcnseg.render.colours import Scale
from fcnseg.render.contour import outlined
from fcnseg.render.grid import BAR_HEIGHT, MARGIN, TICK_SIZE, TITLE_SIZE, Grid, plan
from fcnseg.render.panels import Panel, Sheet, background_of, class_panels
from fcnseg.render.text import INK, QUIET_INK, fitted, font, text_width

_SWATCH = 12


def heatmap(
    image: np.ndarray,
    maps_KHW: np.ndarray,
    titles: Sequence[str],
    *,
    scores: Sequence[float] | None = None,
    raw: bool = False,
    leads_KHW: np.ndarray | None = None,
    columns: int | None = None,
    panel_width: int | None = None,
) -> np.ndarray:
    """Return the photograph and one panel a class, over one colour bar, (H', W', 3) uint8.

    ``image`` is (H, W, 3) uint8 and ``maps_KHW`` (K, H, W) floats in [0, 1], hot is high: each
    panel shows its map in colour over the photograph in grey. The scale is fixed, so colours
    mean the same in every panel and every figure. ``titles`` names the K maps, and ``scores``, K
    numbers in [0, 1], are the values for the whole image, printed behind the names.

    With ``raw`` the maps are any finite numbers, such as scores before softmax. All panels then
    share one scale as long below zero as above it, and the bar marks zero.

    ``leads_KHW`` (K, H, W) says how far each pixel is inside a region, such as that where a class
    scores higher than all others; its border, where the lead is 0, is drawn as a thin line.

    ``panel_width`` is in pixels; by default panels cover the area of 320 x 240 in the shape of
    the photograph. ``columns`` defaults to what makes the figure about 8 : 5.

    Raises :class:`UsageError` for other shapes and types, sizes that differ, and values that are
    not finite or, without ``raw``, further than 1e-5 outside [0, 1].

    >>> import numpy as np
    >>> photograph = np.full((60, 80, 3), 128, np.uint8)
    >>> cat = np.linspace(0, 1, 80, dtype=np.float32)[None].repeat(60, 0)
    >>> heatmap(photograph, np.stack([cat, 1 - cat]), ["cat", "sofa"]).dtype
    dtype('uint8')
    """
    check_image("image", image)
    panels = class_panels(maps_KHW, titles, scores=scores, raw=raw, leads_KHW=leads_KHW)
    check_same_size("maps", panels[0].values.shape, "image", image.shape[:2])
    return draw_sheet(Sheet(image, panels), columns, panel_width)


def draw_sheet(
    sheet: Sheet, columns: int | None = None, panel_width: int | None = None
) -> np.ndarray:
    """Return a sheet as pixels, (H', W', 3) uint8; ``columns`` and ``panel_width`` as above."""
    height, width = sheet.image.shape[:2]
    grid = plan(height, width, sheet.cells, columns, panel_width, len(sheet.scales))
    size = (grid.panel_width, grid.panel_height)

    canvas = Image.new("RGB", (grid.width, grid.height), "white")
    pen = ImageDraw.Draw(canvas)
    photograph = _scaled_picture(sheet.image, size)
    background = background_of(photograph)
    cell = 0
    for title, picture in (("photograph", sheet.image), *sheet.pictures):
        canvas.paste(Image.fromarray(_scaled_picture(picture, size)), grid.corner(cell))
        _write_title(pen, grid, cell, title)
        cell += 1
    for panel in sheet.panels:
        drawn = panel_picture(panel, background)
        canvas.paste(Image.fromarray(drawn), grid.corner(cell))
        _write_title(pen, grid, cell, panel.title, panel.note, panel.swatch)
        cell += 1
    for bar, scale in enumerate(sheet.scales):
        _draw_bar(canvas, pen, grid, bar, scale, round(float(background.mean())))
    return np.concatenate([np.array(canvas), _caption(sheet.caption, grid.width)])


def _caption(lines: Sequence[str], width: int) -> np.ndarray:
    """Lines in quiet ink on white, (h, width, 3) uint8; h is 0 without any."""
    strip = Image.new("RGB", (width, 2 * TICK_SIZE * len(lines)), "white")
    pen = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        at = MARGIN, (2 * number + 1) * TICK_SIZE
        shown = fitted(line, width - 2 * MARGIN, TICK_SIZE)
        pen.text(at, shown, fill=QUIET_INK, font=font(TICK_SIZE), anchor="ls")
    return np.asarray(strip).reshape(-1, width, 3)


def panel_picture(panel: Panel, background: np.ndarray, outline: bool = True) -> np.ndarray:
    """A map over ``background`` (h, w, 3), at the size of that, (h, w, 3) uint8."""
    size = (background.shape[1], background.shape[0])
    drawn = panel.scale.over(background, _scaled(panel.values, size))
    if panel.lead is None or not outline:
        return drawn
    return outlined(drawn, _scaled(panel.lead, size))


def _scaled(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shown = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(shown.resize(size, Image.Resampling.BILINEAR))


def _scaled_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shown = Image.fromarray(np.ascontiguousarray(picture))
    return np.asarray(shown.resize(size, Image.Resampling.LANCZOS))


def _write_title(
    pen: ImageDraw.ImageDraw,
    grid: Grid,
    cell: int,
    title: str,
    note: str = "",
    swatch: Sequence[int] | None = None,
) -> None:
    left, top = grid.corner(cell)
    right, base = left + grid.cell_width, top - 8
    if swatch is not None:
        red, green, blue = (int(value) for value in swatch)
        box = (left, base - _SWATCH + 1, left + _SWATCH - 1, base)
        pen.rectangle(box, fill=(red, green, blue), outline=QUIET_INK)
        left += _SWATCH + 6
    behind = f"  {note}" if note else ""
    room = right - left - text_width(behind, TITLE_SIZE)
    name = fitted(" ".join(title.split()), room, TITLE_SIZE)
    pen.text((left, base), name, fill=INK, font=font(TITLE_SIZE), anchor="ls")
    after = left + text_width(name, TITLE_SIZE)
    pen.text((after, base), behind, fill=QUIET_INK, font=font(TITLE_SIZE), anchor="ls")


def _draw_bar(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    grid: Grid,
    bar: int,
    scale: Scale,
    grey: int,
) -> None:
    """Draw a scale as the panels show it: over the photograph's middle grey."""
    width = grid.bar_width
    left, top = grid.bar_corner(bar)
    values = np.linspace(scale.low, scale.high, width)[None].repeat(BAR_HEIGHT, axis=0)
    strip = scale.over(np.full((*values.shape, 3), grey, dtype=np.uint8), values)
    canvas.paste(Image.fromarray(strip), (left, top))
    label = fitted(scale.label, width, TITLE_SIZE)
    pen.text((left, top - 8), label, fill=INK, font=font(TITLE_SIZE), anchor="ls")
    base = top + BAR_HEIGHT + 4
    for tick, text in zip(scale.ticks, scale.tick_labels(), strict=True):
        at = left + round((tick - scale.low) / (scale.high - scale.low) * (width - 1))
        if scale.signed and tick == 0:  # the one value that a reader must not have to look for
            pen.line([(at, top), (at, base - 1)], fill="white")
        pen.line([(at, base - 4), (at, base - 1)], fill=QUIET_INK)
        anchor = "la" if tick == scale.low else "ra" if tick == scale.high else "ma"
        pen.text((at, base + 1), text, fill=QUIET_INK, font=font(TICK_SIZE), anchor=anchor)
