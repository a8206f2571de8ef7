"""Line charts as inline SVG, small enough for a page with many."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcnseg.render.markup import MINUS, PERCENT, verbatim

WIDTH, HEIGHT = 380, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 14, 30, 40


@dataclass(frozen=True, eq=False)
class Line:
    """One curve; NaN leaves a gap.

    Attributes:
        name: for the legend.
        kind: its class in the style sheet: one, two, three or four.
        x, y: (n,) float64.
        titles: what the pointer shows at each point; the points are marked where there are any.
    """

    name: str
    kind: str
    x: np.ndarray
    y: np.ndarray
    titles: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Band:
    """The area between two curves, (n,) float64 each; NaN leaves a gap."""

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Axis:
    """Values to places along one side of the drawing; ``scale`` is linear, percent or log."""

    low: float
    high: float
    start: float
    end: float
    scale: str = "linear"

    def place(self, value: float) -> float:
        """Where a value lies; beyond an end, at the end."""
        value = min(max(value, self.low), self.high)
        if self.scale == "log":
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """About five values at round numbers."""
        if self.scale == "log":
            exponents = range(
                math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1
            )
            wide = math.log10(self.high / self.low)
            steps = (1, 2, 5) if wide < 2.2 else (1,)
            found = [m * 10.0**p for p in exponents for m in steps]
            inside = [t for t in found if self.low <= t <= self.high]
            return inside[:: max(1, -(-len(inside) // 7))]
        rough = (self.high - self.low) / 6
        unit = 10.0 ** math.floor(math.log10(rough))
        step = unit * next(m for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def chart(
    title: str,
    across: str,
    lines: Sequence[Line],
    band: Band | None = None,
    scale: str = "linear",
    within: tuple[float, float] = (-math.inf, math.inf),
    marked: float | None = None,
) -> str:
    """Return curves over one another as SVG, with axes and grid.

    Args:
        title: above the vertical axis, and read aloud.
        across: what the horizontal axis counts.
        lines: the curves.
        band: drawn below them.
        scale: of the vertical axis: "linear" from 0, "percent" of values in [0, 1], around the
            data, or "log".
        within: values beyond these are drawn at the ends of the axis.
        marked: where on the horizontal axis a vertical line stands.
    """
    xs = np.concatenate([line.x for line in lines])
    ys = [line.y for line in lines] + ([band.low, band.high] if band else [])
    horizontal = _horizontal(xs)
    vertical = _vertical(np.concatenate(ys), scale, within)
    right, floor = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for tick in vertical.ticks():
        y = vertical.place(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(_text(_LEFT - 6, y + 4, _value(tick, scale), "end"))
    for tick in horizontal.ticks():
        if tick == round(tick):
            parts.append(_text(horizontal.place(tick), floor + 16, _value(tick), "middle"))
    parts.append(f'<path class="floor" d="M{_LEFT} {floor}H{right}"/>')
    parts.append(_text((_LEFT + right) / 2, HEIGHT - 6, verbatim(across), "middle"))
    parts.append(_text(2, 12, verbatim(title), "start"))
    if marked is not None:
        x = horizontal.place(marked)
        parts.append(f'<path class="best" d="M{x:.1f} {_TOP}V{floor}"/>')
    if band:
        parts.append(f'<path class="band" d="{_area(band, horizontal, vertical)}"/>')
    for line in lines:
        path = _path(line.x, line.y, horizontal, vertical)
        parts.append(f'<path class="line {line.kind}" d="{path}"/>')
        parts.append(_points(line, horizontal, vertical))
    label = verbatim(f"{title} by {across}: {', '.join(line.name for line in lines)}")
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def sparkline(values: np.ndarray, high: float = 1.0, width: int = 96, height: int = 26) -> str:
    """Return values (n,) from 0 to ``high`` as a curve without axes, SVG; NaN leaves a gap."""
    places = np.arange(len(values), dtype=np.float64)
    horizontal = Axis(0, max(len(values) - 1, 1), 2, width - 2)
    vertical = Axis(0, high, height - 3, 3)
    path = _path(places, values, horizontal, vertical)
    known = np.flatnonzero(np.isfinite(values))
    end = ""
    if len(known):
        x, y = horizontal.place(known[-1]), vertical.place(values[known[-1]])
        end = f'<circle class="end" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true">'
        f'<path class="grid" d="M2 {height - 3}H{width - 2}"/>'
        f'<path class="line one" d="{path}"/>{end}</svg>'
    )


def _horizontal(xs: np.ndarray) -> Axis:
    low, high = (float(xs.min()), float(xs.max())) if len(xs) else (0.0, 1.0)
    if low == high:
        low, high = low - 1, high + 1
    return Axis(low, high, _LEFT + 4, WIDTH - _RIGHT - 4)


def _vertical(ys: np.ndarray, scale: str, within: tuple[float, float]) -> Axis:
    ys = ys[np.isfinite(ys)]
    ends = HEIGHT - _BOTTOM, _TOP
    if not len(ys):
        return Axis(0.0, 1.0, *ends, "percent" if scale == "percent" else "linear")
    low, high = max(float(ys.min()), within[0]), min(float(ys.max()), within[1])
    if scale == "log" and low > 0 and high > low:
        return Axis(low / 1.05, high * 1.05, *ends, "log")
    if scale == "percent":
        low, high = min(max(low, 0.0), 1.0), min(max(high, 0.0), 1.0)
        margin = max(0.08 * (high - low), 0.01)
        return Axis(max(0.0, low - margin), min(1.0, high + margin), *ends, "percent")
    low = min(0.0, low)
    return Axis(low, low + (1.05 * (high - low) or 1.0), *ends)


def _path(x: np.ndarray, y: np.ndarray, horizontal: Axis, vertical: Axis) -> str:
    parts, pen_up = [], True
    for across, value in zip(x, y, strict=True):
        if not math.isfinite(value):
            pen_up = True
            continue
        at = f"{horizontal.place(across):.1f} {vertical.place(value):.1f}"
        parts.append(f"{'M' if pen_up else 'L'}{at}")
        pen_up = False
    return "".join(parts)


def _area(band: Band, horizontal: Axis, vertical: Axis) -> str:
    """The outline of each run of finite pieces, there along the top and back along the bottom."""
    known = np.isfinite(band.low) & np.isfinite(band.high)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    parts = []
    for start, end in edges.reshape(-1, 2):
        there = [(band.x[i], band.high[i]) for i in range(start, end)]
        back = [(band.x[i], band.low[i]) for i in range(end - 1, start - 1, -1)]
        outline = "L".join(
            f"{horizontal.place(x):.1f} {vertical.place(y):.1f}" for x, y in there + back
        )
        parts.append(f"M{outline}Z")
    return "".join(parts)


def _points(line: Line, horizontal: Axis, vertical: Axis) -> str:
    parts = []
    radius = 3.2 if len(line.x) <= 40 else 2
    for x, y, title in zip(line.x, line.y, line.titles, strict=False):
        if math.isfinite(y):
            at = f'cx="{horizontal.place(x):.1f}" cy="{vertical.place(y):.1f}" r="{radius}"'
            parts.append(
                f'<circle class="point {line.kind}" {at}><title>{verbatim(title)}</title></circle>'
            )
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="quiet" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _value(value: float, scale: str = "linear") -> str:
    """A number at a tick: 40 %, 12k, 0.05, 1e-5."""
    if scale == "percent":
        return f"{100 * value:.6g}{PERCENT}"
    if value and (abs(value) >= 1e6 or abs(value) < 1e-3):
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("-", MINUS)
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.6g}".replace("-", MINUS)
