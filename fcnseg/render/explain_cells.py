"""The drawing of cell centres along one axis of the image: why crops are what they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from fcnseg.render.markup import TIMES, typeset

Told = Mapping[str, Any]

_WIDTH, _LEFT, _ROW, _TOP = 1040, 172, 46, 34


def cells(told: Told, axis: int = 0) -> str:
    """The cells of every scored map and every upsampling on one axis of the image, as an SVG.

    Args:
        told: an explanation as its JSON, see :mod:`fcnseg.explain.records`.
        axis: 0 for vertical, 1 for horizontal.
    """
    low, high = _range(told, axis)
    scale = (_WIDTH - _LEFT - 12) / (high - low)

    def at(pixel: float) -> float:
        return _LEFT + (pixel - low) * scale

    skips = {skip["stride"]: skip for skip in told["skips"]}
    rows: list[str] = [_cell_row(told["skips"][0], 0, axis, at, high, 0)]
    for up in told["upsamplings"]:
        rows.append(_up_row(up, len(rows), axis, at, high))
        if up["to"] > 1:
            cut = up["start"][axis] if up["cropped"] == "finer" else 0
            rows.append(_cell_row(skips[up["to"]], len(rows), axis, at, high, cut))
    height = _TOP + _ROW * len(rows) + 46
    axis_y = height - 34
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" style="min-width:820px" role="img" '
        'aria-label="Cell centres of each map along the image">',
        f'<rect class="outside" x="{_LEFT}" y="{_TOP - 26}" width="{max(at(-0.5) - _LEFT, 0):.1f}" '
        f'height="{axis_y - _TOP + 26}"/>',
        *rows,
        f'<path class="edge" d="M{at(-0.5):.1f} {_TOP - 26}V{axis_y}"/>',
        _ruler(low, high, axis_y, at),
    ]
    return "".join([*parts, "</svg>"])


def _range(told: Told, axis: int) -> tuple[float, float]:
    """First and last pixel that the drawing shows."""
    places = [skip["place"] for skip in told["skips"]]
    starts = [place["offset"][axis] for place in places] + [
        _first(u, axis) for u in told["upsamplings"]
    ]
    low = min(0.0, *starts)
    coarse = places[0]
    high = max(coarse["offset"][axis], 0) + 2.6 * coarse["stride"][axis]
    room = (high - low) * 0.03
    return low - room, high


def _first(up: Told, axis: int) -> float:
    """Pixel at which the transposed convolution begins."""
    sign = 1 if up["cropped"] == "finer" else -1
    return float(up["offset_fine"][axis] + sign * up["start"][axis] * up["stride"][axis])


def _cell_row(skip: Told, row: int, axis: int, at: Any, high: float, cut: int) -> str:
    place = skip["place"]
    offset, stride = place["offset"][axis], place["stride"][axis]
    field = place["field"][axis]
    y = _TOP + _ROW * row
    centre = _marked(place, axis, cut)
    first = max(at(centre - field / 2), _LEFT)
    last = min(at(centre + field / 2), _WIDTH - 12)
    parts = [
        _label(y, f"map of level {skip['stride']}", f"{offset:g} + {stride:g} i, sees {field:g}"),
        f'<path class="seen" d="M{first:.1f} {y}H{last:.1f}" opacity="0.45"/>',
    ]
    for edge, inside in (
        (first, at(centre - field / 2) >= _LEFT),
        (last, at(centre + field / 2) <= _WIDTH - 12),
    ):
        if inside:
            parts.append(f'<path class="seen" d="M{edge:.1f} {y - 7}v14"/>')
    i = 0
    while offset + stride * i <= high and i < place["size"][axis]:
        kind = "hollow" if i < cut else "dot"
        parts.append(f'<circle class="{kind}" cx="{at(offset + stride * i):.1f}" cy="{y}" r="5"/>')
        i += 1
    return "".join(parts)


def _marked(place: Told, axis: int, cut: int) -> float:
    """Centre of the cell whose receptive field is drawn: the first that is kept."""
    return float(place["offset"][axis] + place["stride"][axis] * cut)


def _up_row(up: Told, row: int, axis: int, at: Any, high: float) -> str:
    """The cells of one transposed convolution; those that are cut off are hollow."""
    y = _TOP + _ROW * row
    stride, first = up["stride"][axis], _first(up, axis)
    cut = up["start"][axis] if up["cropped"] == "upsampled" else 0
    note = (
        f"{cut} cut off"
        if cut
        else "begins inside"
        if up["cropped"] == "finer"
        else "nothing cut off"
    )
    to = "pixels" if up["to"] == 1 else f"level {up['to']}"
    parts = [_label(y, f"{TIMES}{up['ratio']} to {to}", f"kernel {up['kernel'][axis]}, {note}")]
    step = at(stride) - at(0)
    if step < 7:  # single pixels: bars
        end = first + stride * cut
        parts.append(_bar(at(first - 0.5), at(end - 0.5), y, "hollow"))
        parts.append(_bar(at(end - 0.5), at(high), y, "score"))
        return "".join(parts)
    i = 0
    while first + stride * i <= high and i < up["up"][axis]:
        x = at(first + stride * i)
        kind = "hollow" if i < cut else "score"
        parts.append(f'<rect class="{kind}" x="{x - 5:.1f}" y="{y - 5}" width="10" height="10"/>')
        i += 1
    return "".join(parts)


def _bar(start: float, end: float, y: float, kind: str) -> str:
    wide = max(end - start, 0)
    return f'<rect class="{kind}" x="{start:.1f}" y="{y - 7}" width="{wide:.1f}" height="14"/>'


def _label(y: float, name: str, note: str) -> str:
    return (
        f'<text class="strong" x="4" y="{y - 2}">{typeset(name)}</text>'
        f'<text class="quiet" x="4" y="{y + 13}">{typeset(note)}</text>'
    )


def _ruler(low: float, high: float, y: float, at: Any) -> str:
    """Pixels of the image along the lower edge."""
    gap = next(g for g in (8, 16, 32, 64, 128, 256, 10**6) if (high - low) / g < 15)
    ticks: Sequence[int] = range(int(-(-low // gap)) * gap, int(high) + 1, gap)
    parts = [f'<path class="way" d="M{_LEFT} {y}H{_WIDTH - 12}"/>']
    for pixel in ticks:
        x = at(pixel)
        parts.append(f'<path class="way" d="M{x:.1f} {y}v6"/>')
        where = f'x="{x:.1f}" y="{y + 20}" text-anchor="middle"'
        parts.append(f'<text class="quiet" {where}>{typeset(pixel)}</text>')
    parts.append(f'<text class="quiet" x="4" y="{y + 4}">pixels of the image</text>')
    return "".join(parts)
