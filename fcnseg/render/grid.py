"""Where the panels of a sheet lie: sizes in pixels, chosen from the shape of the photograph."""

import math
from typing import NamedTuple

from fcnseg.errors import UsageError

MARGIN = 18
GAP = 14
TITLE_SIZE = 15
TITLE_HEIGHT = 25
BAR_WIDTH = 400
BAR_HEIGHT = 14
TICK_SIZE = 12
BAR_PITCH = BAR_HEIGHT + TITLE_HEIGHT + 2 * TICK_SIZE + GAP  # from one bar to the next below it

_PANEL_AREA = 320 * 240
_LARGE_AREA, _FEW_PANELS = 480 * 360, 9
_PRINTED_AREA = 640 * 480
_LONGEST_SIDE = 1280
_NARROWEST_CELL = 180
_FAVOURED_ASPECT = 1.6


class Grid(NamedTuple):
    """Sizes in pixels of the sheet, its cells and the panels in them."""

    panel_width: int
    panel_height: int
    cell_width: int
    columns: int
    rows: int
    bars: int = 1

    @property
    def grid_width(self) -> int:
        """All columns together."""
        return self.columns * self.cell_width + (self.columns - 1) * GAP

    @property
    def bars_beside(self) -> int:
        """Bars that fit beside each other."""
        return max(1, (self.grid_width + 3 * GAP) // (self.bar_width + 3 * GAP))

    @property
    def bar_width(self) -> int:
        """Of each bar."""
        return min(self.grid_width, BAR_WIDTH)

    @property
    def bar_top(self) -> int:
        """The first row of pixels of the first bar."""
        return MARGIN + self.rows * (TITLE_HEIGHT + self.panel_height + GAP) + TITLE_HEIGHT

    @property
    def width(self) -> int:
        """Of the whole sheet."""
        return self.grid_width + 2 * MARGIN

    @property
    def height(self) -> int:
        """Of the whole sheet."""
        further = (math.ceil(self.bars / self.bars_beside) - 1) * BAR_PITCH
        return self.bar_top + further + BAR_HEIGHT + 2 * TICK_SIZE + MARGIN

    def corner(self, cell: int) -> tuple[int, int]:
        """The left and top pixel of a cell's panel, cells counted row by row."""
        row, column = divmod(cell, self.columns)
        left = MARGIN + column * (self.cell_width + GAP)
        return left, MARGIN + row * (TITLE_HEIGHT + self.panel_height + GAP) + TITLE_HEIGHT

    def bar_corner(self, bar: int) -> tuple[int, int]:
        """The left and top pixel of a bar."""
        row, column = divmod(bar, self.bars_beside)
        return MARGIN + column * (self.bar_width + 3 * GAP), self.bar_top + row * BAR_PITCH


def plan(
    height: int,
    width: int,
    cells: int,
    columns: int | None = None,
    panel_width: int | None = None,
    bars: int = 1,
) -> Grid:
    """Lay out ``cells`` panels of a photograph of ``height`` x ``width`` pixels over ``bars`` bars.

    By default a panel covers the area of 320 x 240 in the shape of the photograph, and the
    columns are what makes the sheet about 8 : 5.

    Raises :class:`UsageError` for columns or a width below 1.
    """
    if panel_width is None:
        panel = fitted_panel(height, width)
    elif panel_width < 1:
        raise UsageError(f"panel_width: expected at least 1 pixel, got {panel_width}")
    else:
        panel = panel_width, max(1, round(height * panel_width / width))
    cell_width = max(panel[0], _NARROWEST_CELL)
    if columns is None:
        columns = min(range(1, cells + 1), key=lambda c: _oddness(cells, c, cell_width, panel[1]))
    elif columns < 1:
        raise UsageError(f"columns: expected at least 1, got {columns}")
    columns = min(columns, cells)
    return Grid(*panel, cell_width, columns, math.ceil(cells / columns), bars)


def fitted_panel(height: int, width: int, area: int = _PANEL_AREA) -> tuple[int, int]:
    """The (width, height) of a panel of about ``area`` pixels in the shape of a photograph."""
    scale = min(math.sqrt(area / (width * height)), _LONGEST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def panel_area(cells: int, in_print: bool = False) -> int:
    """Pixels of a panel where a sheet has so many: more where they are few.

    ``in_print`` gives what a figure of 7 inches shows at 300 dots an inch, or nearly.
    """
    few = cells <= _FEW_PANELS
    if in_print:
        return _PRINTED_AREA if few else _LARGE_AREA // 2
    return _LARGE_AREA if few else _PANEL_AREA


def _oddness(cells: int, columns: int, cell_width: int, panel_height: int) -> float:
    """How far a grid is from the favoured shape and from being full."""
    rows = math.ceil(cells / columns)
    aspect = columns * cell_width / (rows * (panel_height + TITLE_HEIGHT))
    return abs(math.log(aspect / _FAVOURED_ASPECT)) + (columns * rows - cells) / cells
