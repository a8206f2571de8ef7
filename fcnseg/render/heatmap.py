"""Where a network sees its classes: the photograph and one panel a class."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from fcnseg.checks import check_image, check_same_size
from fcnseg.errors import UsageError
from fcnseg.render.photograph import blend, greyed
from fcnseg.render.text import INK, QUIET_INK, fitted, font, text_width

# Dark and cold to bright and hot, even steps in lightness, readable without colour vision.
_COLOUR_MAP = "inferno"
_OPACITY = 0.65
_DARKEST_GREY = 90

_PANEL_AREA = 320 * 240
_LONGEST_SIDE = 1280
_NARROWEST_CELL = 180
_FAVOURED_ASPECT = 1.6

_MARGIN = 18
_GAP = 14
_TITLE_SIZE = 15
_TITLE_HEIGHT = 25
_BAR_WIDTH = 400
_BAR_HEIGHT = 14
_TICK_SIZE = 12
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def heatmap(
    image: np.ndarray,
    maps_KHW: np.ndarray,
    titles: Sequence[str],
    *,
    scores: Sequence[float] | None = None,
    columns: int | None = None,
    panel_width: int | None = None,
) -> np.ndarray:
    """Return the photograph and one panel a class, over one colour bar, (H', W', 3) uint8.

    ``image`` is (H, W, 3) uint8 and ``maps_KHW`` (K, H, W) floats in [0, 1], hot is high: each
    panel shows its map in colour over the photograph in light grey. The scale is fixed, so
    colours mean the same in every panel and every figure. ``titles`` names the K maps, and
    ``scores``, K numbers in [0, 1], are the values for the whole image, printed behind the names.

    ``panel_width`` is in pixels; by default panels cover the area of 320 x 240 in the shape of
    the photograph. ``columns`` defaults to what makes the figure about 8 : 5.

    Raises :class:`UsageError` for other shapes and types, sizes that differ, and values that are
    NaN or further than 1e-5 outside [0, 1].
    """
    check_image("image", image)
    maps_KHW = np.asarray(maps_KHW)
    _check_maps(maps_KHW, image, titles, scores)
    layout = _plan(image.shape[0], image.shape[1], len(maps_KHW) + 1, columns, panel_width)

    canvas = Image.new("RGB", (layout.width, layout.height), "white")
    pen = ImageDraw.Draw(canvas)
    panel_size = (layout.panel_width, layout.panel_height)
    photograph = np.asarray(
        Image.fromarray(np.ascontiguousarray(image)).resize(panel_size, Image.Resampling.LANCZOS)
    )
    background = greyed(photograph, darkest=_DARKEST_GREY)
    colours = _colours()

    _place(canvas, pen, layout, 0, photograph, "photograph", None)
    for k, title in enumerate(titles):
        shown = Image.fromarray(maps_KHW[k].astype(np.float32))
        values = np.asarray(shown.resize(panel_size, Image.Resampling.BILINEAR))
        panel = blend(background, colours[_steps(values)], _OPACITY)
        _place(canvas, pen, layout, k + 1, panel, title, None if scores is None else scores[k])
    _draw_bar(canvas, pen, layout, colours, int(background.mean()))
    return np.array(canvas)


class _Layout(NamedTuple):
    """Sizes in pixels of the figure, its cells and the panels in them."""

    panel_width: int
    panel_height: int
    cell_width: int
    columns: int
    rows: int

    @property
    def grid_width(self) -> int:
        return self.columns * self.cell_width + (self.columns - 1) * _GAP

    @property
    def cell_height(self) -> int:
        return _TITLE_HEIGHT + self.panel_height

    @property
    def bar_top(self) -> int:
        return _MARGIN + self.rows * (self.cell_height + _GAP) + _TITLE_HEIGHT

    @property
    def width(self) -> int:
        return self.grid_width + 2 * _MARGIN

    @property
    def height(self) -> int:
        return self.bar_top + _BAR_HEIGHT + 2 * _TICK_SIZE + _MARGIN

    def corner(self, cell: int) -> tuple[int, int]:
        """The left and top pixel of a cell's panel, cells counted row by row."""
        row, column = divmod(cell, self.columns)
        left = _MARGIN + column * (self.cell_width + _GAP)
        return left, _MARGIN + row * (self.cell_height + _GAP) + _TITLE_HEIGHT


def _plan(
    height: int, width: int, cells: int, columns: int | None, panel_width: int | None
) -> _Layout:
    if panel_width is None:
        scale = min(math.sqrt(_PANEL_AREA / (width * height)), _LONGEST_SIDE / max(width, height))
    elif panel_width < 1:
        raise UsageError(f"panel_width: expected at least 1 pixel, got {panel_width}")
    else:
        scale = panel_width / width
    panel = max(1, round(width * scale)), max(1, round(height * scale))
    cell_width = max(panel[0], _NARROWEST_CELL)
    if columns is None:
        columns = min(range(1, cells + 1), key=lambda c: _oddness(cells, c, cell_width, panel[1]))
    elif columns < 1:
        raise UsageError(f"columns: expected at least 1, got {columns}")
    columns = min(columns, cells)
    return _Layout(*panel, cell_width, columns, math.ceil(cells / columns))


def _oddness(cells: int, columns: int, cell_width: int, panel_height: int) -> float:
    """How far a grid is from the favoured shape and from being full."""
    rows = math.ceil(cells / columns)
    aspect = columns * cell_width / (rows * (panel_height + _TITLE_HEIGHT))
    return abs(math.log(aspect / _FAVOURED_ASPECT)) + (columns * rows - cells) / cells


def _place(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    layout: _Layout,
    cell: int,
    panel: np.ndarray,
    title: str,
    score: float | None,
) -> None:
    left, top = layout.corner(cell)
    canvas.paste(Image.fromarray(panel), (left, top))
    behind = "" if score is None else f"  {score:.2f}" if score >= 0.005 else "  <0.01"
    room = layout.cell_width - text_width(behind, _TITLE_SIZE)
    name = fitted(" ".join(title.split()), room, _TITLE_SIZE)
    base = top - 8
    pen.text((left, base), name, fill=INK, font=font(_TITLE_SIZE), anchor="ls")
    after = left + text_width(name, _TITLE_SIZE)
    pen.text((after, base), behind, fill=QUIET_INK, font=font(_TITLE_SIZE), anchor="ls")


def _draw_bar(
    canvas: Image.Image,
    pen: ImageDraw.ImageDraw,
    layout: _Layout,
    colours: np.ndarray,
    grey: int,
) -> None:
    """Draw the scale as the panels show it: over the photograph's middle grey."""
    width = min(layout.grid_width, _BAR_WIDTH)
    values = np.linspace(0, 1, width)
    strip = np.repeat(colours[_steps(values)][None], _BAR_HEIGHT, axis=0)
    strip = blend(np.full_like(strip, grey), strip, _OPACITY)
    canvas.paste(Image.fromarray(strip), (_MARGIN, layout.bar_top))
    label = "probability 0–1"  # noqa: RUF001
    pen.text((_MARGIN, layout.bar_top - 8), label, fill=INK, font=font(_TITLE_SIZE), anchor="ls")
    base = layout.bar_top + _BAR_HEIGHT + 4
    for tick in _TICKS:
        at = _MARGIN + round(tick * (width - 1))
        pen.line([(at, base - 4), (at, base - 1)], fill=QUIET_INK)
        anchor = "la" if tick == 0 else "ra" if tick == 1 else "ma"
        pen.text((at, base + 1), f"{tick:g}", fill=QUIET_INK, font=font(_TICK_SIZE), anchor=anchor)


def _colours() -> np.ndarray:
    """The colour of each of 256 steps from 0 to 1, (256, 3) uint8."""
    from matplotlib import colormaps

    rgba = colormaps[_COLOUR_MAP](np.arange(256), bytes=True)
    return np.asarray(rgba)[:, :3]


def _steps(values: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.intp)


def _check_maps(
    maps: np.ndarray, image: np.ndarray, titles: Sequence[str], scores: Sequence[float] | None
) -> None:
    if maps.ndim != 3 or len(maps) == 0 or not np.issubdtype(maps.dtype, np.floating):
        raise UsageError(
            f"maps: expected (K, H, W) floats with K >= 1, got shape {maps.shape} of {maps.dtype}"
        )
    check_same_size("maps", maps.shape[1:], "image", image.shape[:2])
    if isinstance(titles, str) or len(titles) != len(maps):
        raise UsageError(f"titles: expected one for each of {len(maps)} maps, got {titles!r}")
    for what, values in (("maps", maps), ("scores", scores)):
        if values is None:
            continue
        low, high = float(np.min(values)), float(np.max(values))
        if not (low >= -1e-5 and high <= 1 + 1e-5):
            raise UsageError(
                f"{what}: expected probabilities from 0 to 1, got {low:g} to {high:g}; "
                "apply softmax or sigmoid to scores first"
            )
    if scores is not None and len(scores) != len(maps):
        raise UsageError(f"scores: expected one for each of {len(maps)} maps, got {len(scores)}")
