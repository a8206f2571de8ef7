"""The drawing of an FCN: its maps in a row, before and after the surgery, and the way back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fcnseg.render.markup import TIMES, by, typeset, verbatim

Told = Mapping[str, Any]

_STEP, _LEFT = 104, 96
_BEFORE, _AFTER, _BACK = 112, 316, 520  # the middle of the three rows
_HEIGHT = 616
_TALLEST = 128


@dataclass(frozen=True)
class _Column:
    """What stands in one column: the shapes before and after, and how it is called."""

    name: str
    before: tuple[int, ...]
    after: tuple[int, ...] | None
    tail: bool
    taps: tuple[int, ...]
    in_fcn: bool


def network(told: Told) -> str:
    """The network as an SVG: rows of maps, higher with resolution and wider with channels.

    Args:
        told: an explanation as its JSON, see :mod:`fcnseg.explain.records`.
    """
    columns = _columns(told)
    shapes = [shape for column in columns for shape in (column.before, column.after) if shape]
    tallest = max(shape[1] for shape in shapes if len(shape) > 1) ** (1 / 3)
    width = _LEFT + _STEP * len(columns) + 10
    limits = f"min-width:{round(width * 0.8)}px;max-width:{round(width * 1.1)}px"
    parts = [
        f'<svg viewBox="0 0 {width} {_HEIGHT}" style="{limits}" role="img" '
        f'aria-label="{verbatim(_described(told, columns))}">{_ARROWS}'
    ]
    for y, title, note in (
        (_BEFORE, "classifier", f"{by(told['native'])} px"),
        (_AFTER, "convolutional", f"{by(told['input'])} px"),
        (_BACK, "scores", f"{told['num_classes']} classes"),
    ):
        parts.append(
            _text(4, y - 4, title, "strong", "start") + _text(4, y + 12, note, "quiet", "start")
        )
    for i in range(len(columns)):
        parts += _forward(columns, i, tallest)
    parts += _back(told, columns, tallest)
    return "".join([*parts, "</svg>"])


_ARROWS = (
    "<defs>"
    + "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="var(--{colour})"/></marker>'
        for name, colour in (("a-way", "quiet"), ("a-jump", "score"), ("a-turn", "tail"))
    )
    + "</defs>"
)


def _columns(told: Told) -> list[_Column]:
    """The image, the scored or the last map of each stride, and the layers of the tail."""
    found = [_Column("image", (3, *told["native"]), (3, *told["input"]), False, (), True)]
    trunk = [part for part in told["parts"] if part["stage"]]
    for stage in sorted({part["stage"] for part in trunk}):
        members = [part for part in trunk if part["stage"] == stage and part["in_fcn"]]
        taps = tuple(part["tap"] for part in members if part["tap"])
        last = next((part for part in members if part["tap"]), members[-1])
        own = tuple(last["native_shape"])
        kind = "stride" if max(last["place"]["stride"]) == stage else "level"
        found.append(_Column(f"{kind} {stage}", own, tuple(last["shape"]), False, taps, True))
    for part in (part for part in told["parts"] if not part["stage"]):
        native = tuple(part["native_shape"])
        dull = native == found[-1].before or native == found[-1].before[:1]
        if part["shape"] is None and dull:
            continue  # it changes nothing at the native size
        after = tuple(part["shape"]) if part["shape"] else None
        taps = (part["tap"],) if part["tap"] else ()
        found.append(_Column(part["name"], native, after, True, taps, part["in_fcn"]))
    return found


def _forward(columns: Sequence[_Column], i: int, tallest: float) -> list[str]:
    """One column of the two upper rows, and the arrows that lead to it."""
    column, x = columns[i], _x(i)
    kind = "tail" if column.tail else "map"
    name = column.name if len(column.name) < 14 else column.name.rpartition(".")[2][:13]
    parts = [
        _name(x, _BEFORE - _TALLEST / 2 - 12, name, "strong" if i else "quiet"),
        _map(x, _BEFORE, column.before, kind, tallest),
        _text(x, _BEFORE + _TALLEST / 2 + 18, by(column.before), "quiet"),
    ]
    if i:
        half = _extent(columns[i - 1].before, tallest)[0] / 2
        own = _extent(column.before, tallest)[0] / 2
        parts.append(_line(_x(i - 1) + half + 3, _BEFORE, x - own - 4, _BEFORE, "way"))
    if column.after is None:
        return [*parts, _text(x, _AFTER - 8, "dropped", "quiet")]
    shown = kind if column.in_fcn else "hollow"
    parts.append(_map(x, _AFTER, column.after, shown, tallest))
    parts.append(_text(x, _AFTER + _TALLEST / 2 + 18, by(column.after), "quiet"))
    if not column.in_fcn:
        parts.append(_text(x, _AFTER + _TALLEST / 2 + 34, "left out", "quiet"))
    before = [c for c in columns[:i] if c.after is not None]
    if before and column.in_fcn:
        last = (
            len(columns[:i])
            - 1
            - next(k for k, c in enumerate(reversed(columns[:i])) if c.after is not None)
        )
        half = _extent(columns[last].after or (), tallest)[0] / 2
        own = _extent(column.after, tallest)[0] / 2
        parts.append(_line(_x(last) + half + 3, _AFTER, x - own - 4, _AFTER, "way"))
    if column.tail:
        top = _BEFORE + _TALLEST / 2 + 26
        parts.append(_line(x, top, x, _AFTER - _extent(column.after, tallest)[1] / 2 - 5, "turn"))
    return parts


def _back(told: Told, columns: Sequence[_Column], tallest: float) -> list[str]:
    """The lower row: scores, sums and upsamplings, from the coarsest map back to the image."""
    where = {tap: i for i, column in enumerate(columns) for tap in column.taps}
    parts = []
    classes = told["num_classes"]
    for skip in told["skips"]:
        x = _x(where[skip["stride"]])
        scale = f" {TIMES} {skip['scale']:g}" if skip["scale"] != 1 else ""
        top = _AFTER + _TALLEST / 2 + 24
        parts.append(_line(x, top, x, _BACK - _TALLEST / 2 - 2, "jump"))
        label = f"{skip['channels']}->{classes}{scale}"
        parts.append(_text(x + 6, top + 18, label, "quiet", "start"))
    first = told["skips"][0]
    start = where[first["stride"]]
    shape = (classes, *told["upsamplings"][0]["coarse"])
    parts += _scored(_x(start), shape, tallest, False)
    for up in told["upsamplings"]:
        end = 0 if up["to"] == 1 else where[up["to"]]
        left = _extent(shape, tallest)[0] / 2
        shape = (classes, *(up["result"] if up["to"] > 1 else told["size"]))
        right = _extent(shape, tallest)[0] / 2 + (16 if up["to"] > 1 else 0)
        parts.append(_line(_x(start) - left - 3, _BACK, _x(end) + right + 6, _BACK, "jump"))
        middle = (_x(start) - left + _x(end) + right) / 2
        parts.append(_text(middle, _BACK - 9, f"{TIMES}{up['ratio']}", "strong"))
        parts += _scored(_x(end), shape, tallest, up["to"] > 1)
        start = end
    return parts


def _scored(x: float, shape: tuple[int, ...], tallest: float, summed: bool) -> list[str]:
    parts = [
        _map(x, _BACK, shape, "score", tallest),
        _text(x, _BACK + _TALLEST / 2 + 18, by(shape), "quiet"),
    ]
    if summed:
        side = x + _extent(shape, tallest)[0] / 2 + 10
        parts.append(f'<circle class="sum" cx="{side:.1f}" cy="{_BACK}" r="9"/>')
        parts.append(_text(side, _BACK + 5, "+", "strong"))
    return parts


def _x(i: int) -> float:
    return _LEFT + _STEP * i + _STEP / 2


def _extent(shape: Sequence[int], tallest: float) -> tuple[float, float]:
    """Width by the logarithm of the channels, height by the cube root of the rows."""
    rows = shape[1] if len(shape) > 1 else 1
    high = _TALLEST * rows ** (1 / 3) / tallest
    return 8 + 4.4 * math.log2(max(shape[0], 1)), high


def _map(x: float, y: float, shape: Sequence[int], kind: str, tallest: float) -> str:
    wide, high = _extent(shape, tallest)
    return (
        f'<rect class="{kind}" x="{x - wide / 2:.1f}" y="{y - high / 2:.1f}" width="{wide:.1f}" '
        f'height="{high:.1f}" rx="2"/>'
    )


def _line(x0: float, y0: float, x1: float, y1: float, kind: str) -> str:
    return (
        f'<path class="{kind}" d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" '
        f'marker-end="url(#a-{kind})"/>'
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "middle") -> str:
    return _written(x, y, typeset(text), kind, anchor)


def _name(x: float, y: float, name: str, kind: str) -> str:
    return _written(x, y, verbatim(name), kind, "middle")


def _written(x: float, y: float, content: str, kind: str, anchor: str) -> str:
    start = f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
    return f"{start}{content}</text>"


def _described(told: Told, columns: Sequence[_Column]) -> str:
    names = ", ".join(column.name for column in columns)
    skips = ", ".join(str(skip["stride"]) for skip in told["skips"])
    return f"Maps in order: {names}. Scored at level {skips}, upsampled back to the image."
