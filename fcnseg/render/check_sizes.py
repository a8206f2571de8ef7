"""The sizes of images: a drawing of height against width for each split, and a table."""

import math
from collections.abc import Callable, Mapping, Sequence

from fcnseg.render.check_facts import Split
from fcnseg.render.markup import TIMES, by, count, figure, table, verbatim

Sizes = Mapping[tuple[int, int], int]

_WIDTH, _HEIGHT = 360, 300
_LEFT, _BOTTOM, _EDGE = 52, 44, 22
_GRID = 3
_LARGEST, _SINGLE, _SMALLEST = 15.0, 4.0, 2.2
_LISTED = 40

# Extents that differ more than this are put on logarithmic axes.
_WIDE = 6.0


def sizes(splits: Sequence[Split]) -> str:
    """Drawings with one scale for all splits, or a sentence where all sizes are equal."""
    known = [(split.name, split.sizes) for split in splits if split.sizes]
    if not known:
        return "<p>No image could be read.</p>"
    different = {size for _, found in known for size in found}
    if len(different) == 1:
        (size,) = different
        images = sum(sum(found.values()) for _, found in known)
        return f"<p>All {count(images)} images are {by(size)} pixels (height {TIMES} width).</p>"
    axes = _Axes(sorted(different))
    drawings = "".join(
        figure(_drawing(name, found, axes), f"<b>{verbatim(name)}</b>: {_in_words(found)}")
        for name, found in known
    )
    how = "logarithmic" if axes.logarithmic else "linear"
    return (
        f"<p>Each dot is a size; its area is the number of images. Both axes are {how}, and the "
        f'same in every drawing.</p><div class="plots">{drawings}</div>{_table(known)}'
    )


class _Axes:
    """Pixels of images to places in the drawing."""

    def __init__(self, different: Sequence[tuple[int, int]]) -> None:
        extents = [extent for size in different for extent in size]
        low, high = min(extents), max(extents)
        self.logarithmic = high / low > _WIDE
        if self.logarithmic:
            self._low, self._high = math.log(low) - 0.15, math.log(high) + 0.15
            steps = [m * 10**p for p in range(7) for m in (1, 2, 5)]
            ticks = [step for step in steps if low <= step <= high]
            self.ticks = ticks[:: max(1, -(-len(ticks) // 6))]
        else:
            self._low, self._high = 0.0, 1.08 * high
            steps = [m * 10**p for p in range(7) for m in (1, 2, 5)]
            step = next(s for s in steps if high / s <= 5)
            self.ticks = list(range(0, int(self._high) + 1, step))

    def across(self, pixels: float) -> float:
        return _LEFT + self._share(pixels) * (_WIDTH - _LEFT - _EDGE)

    def up(self, pixels: float) -> float:
        return _HEIGHT - _BOTTOM - self._share(pixels) * (_HEIGHT - _BOTTOM - _EDGE)

    def _share(self, pixels: float) -> float:
        value = math.log(pixels) if self.logarithmic else pixels
        return (value - self._low) / (self._high - self._low)


def _drawing(name: str, found: Sizes, axes: _Axes) -> str:
    floor, ceiling, right = _HEIGHT - _BOTTOM, _EDGE, _WIDTH - _EDGE
    parts = []
    for tick in axes.ticks:
        x, y = axes.across(tick), axes.up(tick)
        parts.append(f'<path class="grid" d="M{x:.1f} {ceiling}V{floor}M{_LEFT} {y:.1f}H{right}"/>')
        parts.append(_text(x, floor + 16, str(tick), "middle"))
        parts.append(_text(_LEFT - 7, y + 4, str(tick), "end"))
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 8, "width in pixels", "middle"))
    parts.append(_text(4, 12, "height in pixels", "start"))
    parts += _dots(found, axes.across, axes.up)
    label = f"Height against width of the images of {name}: {_in_words(found)}"
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{verbatim(label)}">' + (
        f"{''.join(parts)}</svg>"
    )


def _dots(
    found: Sizes, across: Callable[[float], float], up: Callable[[float], float]
) -> list[str]:
    """Sizes that fall onto each other are one dot; large dots first, so that none hides another."""
    together: dict[tuple[int, int], list[tuple[tuple[int, int], int]]] = {}
    for (high, wide), images in found.items():
        cell = round(across(wide) / _GRID), round(up(high) / _GRID)
        together.setdefault(cell, []).append(((high, wide), images))
    dots = [(sum(n for _, n in members), members) for members in together.values()]
    most = max(images for images, _ in dots)
    largest = min(_LARGEST, _SINGLE * math.sqrt(most))
    parts = []
    for images, members in sorted(dots, key=lambda dot: -dot[0]):
        high, wide = max(members, key=lambda member: member[1])[0]
        radius = max(largest * math.sqrt(images / most), _SMALLEST)
        around = " and sizes near it" if len(members) > 1 else ""
        title = f"{by((high, wide))}{around}: {_images(images)}"
        parts.append(
            f'<circle class="spot" cx="{across(wide):.1f}" cy="{up(high):.1f}" r="{radius:.1f}">'
            f"<title>{title}</title></circle>"
        )
    return parts


def _in_words(found: Sizes) -> str:
    images = sum(found.values())
    if len(found) == 1:
        return f"{_images(images)}, all {by(next(iter(found)))}"
    size, most = max(found.items(), key=lambda item: item[1])
    often = f"; most often {by(size)} ({_images(most)})" if most > 1 else ""
    return (
        f"{_images(images)} of {count(len(found))} sizes, {_range('height', [h for h, _ in found])}"
        f", {_range('width', [w for _, w in found])}{often}"
    )


def _range(what: str, extents: Sequence[int]) -> str:
    low, high = min(extents), max(extents)
    return f"{what} {low}" if low == high else f"{what}s {low} to {high}"


def _table(known: Sequence[tuple[str, Sizes]]) -> str:
    total: dict[tuple[int, int], int] = {}
    for _, found in known:
        for size, images in found.items():
            total[size] = total.get(size, 0) + images
    ordered = sorted(total, key=lambda size: (-total[size], size))
    rows = [
        [by(size), *(count(found.get(size, 0)) for _, found in known)] for size in ordered[:_LISTED]
    ]
    more = len(ordered) - _LISTED
    title = "The sizes as a table" + (f", the {_LISTED} most frequent" if more > 0 else "")
    body = table(("height x width", *(name for name, _ in known)), rows)
    return f"<details><summary>{title}</summary>{body}</details>"


def _images(number: int) -> str:
    return f"{count(number)} image{'' if number == 1 else 's'}"


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="quiet" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
