"""A sheet of heatmaps as a matplotlib figure, for papers."""

import io
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcnseg.errors import UsageError
from fcnseg.files import write_atomically
from fcnseg.render.colours import Scale
from fcnseg.render.grid import Grid, plan
from fcnseg.render.heatmap import panel_picture
from fcnseg.render.panels import Sheet, background_of
from fcnseg.render.text import fitted, text_width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 7.0  # inches: a page of two columns; what follows is in inches too
_TALLEST = 8.0  # all rows of panels together
_MARGIN, _GAP, _TITLE = 0.06, 0.08, 0.2
_BAR_WIDTH, _BAR_HEIGHT, _BAR_BLOCK = 2.8, 0.11, 0.52
_DPI = 300
_TEXT = 8  # points
# Text stays text, in a font that the file holds or the reader has; nothing depends on the clock.
_FILE_STYLE: Any = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "fcnseg"}
_NO_DATE: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}


def draw_figure(sheet: Sheet, columns: int | None = None) -> "Figure":
    """Return a sheet as a figure of 7 inches' width: photographs in pixels, the rest as vectors.

    The axes of each panel are in pixels of the photograph, whose first has its centre at (0, 0),
    so that what is drawn into them lands where it belongs.
    """
    from matplotlib.figure import Figure

    shown = sheet.image.shape[:2]
    grid = plan(shown[0], shown[1], sheet.cells, columns)
    width, height = _panel_inches(grid, shown)
    beside = 2 if len(sheet.scales) > 1 else 1
    bars = math.ceil(len(sheet.scales) / beside)
    rows_end = _MARGIN + grid.rows * (_TITLE + height + _GAP)
    figure = Figure(figsize=(_WIDTH, rows_end + bars * _BAR_BLOCK), dpi=_DPI, facecolor="white")

    def axes(cell: int) -> Any:
        row, column = divmod(cell, grid.columns)
        left = _MARGIN + column * (width + _GAP)
        top = _MARGIN + row * (_TITLE + height + _GAP) + _TITLE
        return _axes(figure, left, top, width, height)

    rows, across = sheet.size or shown
    extent = (-0.5, across - 0.5, rows - 0.5, -0.5)
    background = background_of(sheet.image)
    pictures = (("photograph", sheet.image), *sheet.pictures)
    for cell, (title, picture) in enumerate(pictures):
        _show(axes(cell), picture, title, extent)
    for cell, panel in enumerate(sheet.panels, start=len(pictures)):
        place = axes(cell)
        picture = panel_picture(panel, background, outline=False)
        _show(place, picture, panel.title, extent, panel.note, panel.swatch)
        if panel.lead is not None:
            _outline(place, panel.lead, extent)
    grey = round(float(background.mean()))
    for bar, scale in enumerate(sheet.scales):
        row, column = divmod(bar, beside)
        left = 2 * _MARGIN + column * (_BAR_WIDTH + 4 * _GAP)
        top = rows_end + row * _BAR_BLOCK + _TITLE
        _bar(_axes(figure, left, top, _BAR_WIDTH, _BAR_HEIGHT), scale, grey)
    return figure


def write_figure(path: str | os.PathLike[str], figure: "Figure") -> Path:
    """Write a figure as its suffix says: .svg, .pdf or .png. Returns ``path``.

    Text stays text: a PDF holds the font, an SVG names it. The same figure gives the same bytes.
    The file appears whole or not at all. Characters that DejaVu Sans does not have, such as
    Chinese ones, are boxes in a PDF and a PNG; an SVG holds them as they are, and the reader's
    fonts show them.

    Raises :class:`UsageError` for another suffix, and :class:`EnvironmentFault` if the file
    cannot be written.
    """
    import matplotlib as mpl

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _NO_DATE:
        raise UsageError(f"{path}: expected a name that ends in .svg, .pdf or .png")
    buffer = io.BytesIO()
    images = [image for axes in figure.axes for image in axes.images]
    ways = [image.get_interpolation() for image in images]
    try:
        for image in images if suffix != ".png" else []:
            image.set_interpolation("none")  # its own pixels go into the file
        with mpl.rc_context(_FILE_STYLE), warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph .* missing", UserWarning)
            figure.savefig(buffer, format=suffix[1:], metadata=_NO_DATE[suffix])
    finally:
        for image, way in zip(images, ways, strict=True):
            image.set_interpolation(way)
    return write_atomically(path, buffer.getvalue())


def _panel_inches(grid: Grid, shown: Sequence[int]) -> tuple[float, float]:
    """Width and height of a panel: as wide as the columns allow, unless the rows get too tall."""
    width = (_WIDTH - 2 * _MARGIN - (grid.columns - 1) * _GAP) / grid.columns
    height = min(width * shown[0] / shown[1], _TALLEST / grid.rows)
    return height * shown[1] / shown[0], height


def _axes(figure: "Figure", left: float, top: float, width: float, height: float) -> Any:
    """Axes at a place in inches from the left and the top."""
    all_width, all_height = figure.get_size_inches()
    bottom = all_height - top - height
    place = (left / all_width, bottom / all_height, width / all_width, height / all_height)
    axes = figure.add_axes(place)
    axes.set_axis_off()
    return axes


def _show(
    axes: Any,
    picture: np.ndarray,
    title: str,
    extent: tuple[float, float, float, float],
    note: str = "",
    swatch: Sequence[int] | None = None,
) -> None:
    axes.imshow(picture, extent=extent, interpolation="antialiased", aspect="auto")
    points = 0 if swatch is None else _TEXT + 3
    behind = f"\N{EM SPACE}{note}" if note else ""
    room = axes.get_position().width * _WIDTH * 72 - points - text_width(behind, _TEXT)
    words = fitted(" ".join(title.split()), room, _TEXT).replace("$", r"\$")
    if swatch is not None:
        axes.annotate(
            "■", (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points",
            fontsize=_TEXT, color=[value / 255 for value in swatch], annotation_clip=False,
        )  # fmt: skip
    axes.annotate(
        words + behind, (0, 1), (points, 3), xycoords="axes fraction", textcoords="offset points",
        fontsize=_TEXT, annotation_clip=False,
    )  # fmt: skip


def _outline(axes: Any, lead: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    """The border of a panel's region, light on a dark rim."""
    if min(lead.shape) < 2 or not (lead > 0).any() or not (lead <= 0).any():
        return
    left, right, bottom, top = extent
    rows, columns = lead.shape
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = top + (np.arange(rows) + 0.5) * (bottom - top) / rows
    for colour, thick, alpha in (("black", 1.3, 0.65), ("white", 0.6, 1.0)):
        axes.contour(x, y, lead, levels=[0.0], colors=colour, linewidths=thick, alpha=alpha)


def _bar(axes: Any, scale: Scale, grey: int) -> None:
    """The colours of a scale as they look over the photograph's middle grey."""
    values = np.linspace(scale.low, scale.high, len(scale.colours))[None]
    strip = scale.over(np.full((1, values.shape[1], 3), grey, dtype=np.uint8), values)
    axes.set_axis_on()
    axes.imshow(strip, extent=(scale.low, scale.high, 0, 1), aspect="auto")
    axes.set_yticks([])
    axes.set_xticks(scale.ticks, scale.tick_labels(), fontsize=_TEXT - 1)
    axes.tick_params(length=2, pad=1.5)
    axes.spines[:].set_visible(False)
    axes.set_title(scale.label, fontsize=_TEXT, loc="left", pad=3)
    if scale.signed:
        axes.axvline(0.0, color="white", linewidth=0.8)
