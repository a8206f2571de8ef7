"""How much of a data set each class has: a table with a dot plot, splits beside each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fcnseg.render.check_facts import Checked, Split
from fcnseg.render.markup import count, swatch, verbatim

_MARKS = ("one", "two")

# Shares that differ more than this are put on a logarithmic axis.
_WIDE = 30.0


@dataclass(frozen=True)
class _Axis:
    """The axis of shares in [0, 1]: its ends and its ticks."""

    logarithmic: bool
    low: float
    high: float
    ticks: list[float]

    def place(self, share: float) -> float:
        """Where ``share`` lies, in percent of the axis; beyond an end, at the end."""
        share = min(max(share, self.low), self.high)
        if self.logarithmic:
            return 100 * math.log(share / self.low) / math.log(self.high / self.low)
        return 100 * (share - self.low) / (self.high - self.low)


def class_table(checked: Checked) -> str:
    """Shares of pixels, images and suggested weights of every class, as HTML.

    The first two splits are shown.
    """
    splits = [split for split in checked.splits if split.class_pixels][: len(_MARKS)]
    if not splits:
        return "<p>Class pixels were not counted.</p>"
    shares = [_shares(split) for split in splits]
    axis = _axis([share for row in shares for share in row])
    names = [short_name(split, splits) for split in splits]
    rows = []
    for i, name in enumerate(checked.classes):
        title = f"{swatch(checked.palette[i])}{verbatim(f'{i} {name}')}"
        images = [count(split.class_images[i]) for split in splits]
        weight = [f"{w:.3g}" for w in splits[0].class_weights[i : i + 1]]
        rows.append(_row(title, [row[i] for row in shares], names, images, weight, axis))
    void = '<span class="swatch void"></span>void, not scored'
    no_weight = [""] * bool(splits[0].class_weights)
    rows.append(_row(void, [row[-1] for row in shares], names, [""] * len(names), no_weight, axis))
    return (
        f'{_explained(splits, names, axis)}<div class="scroll" tabindex="0">'
        f'<table class="classes"><thead><tr>{_head(splits, names, axis)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _explained(splits: Sequence[Split], names: Sequence[str], axis: _Axis) -> str:
    key = "".join(
        f'<span><span class="key"><span class="mark {mark}"></span></span>{verbatim(split.name)}'
        "</span>"
        for mark, split in zip(_MARKS, splits, strict=False)
    )
    how = (
        "The axis is logarithmic: equal steps to the right are equal factors."
        if axis.logarithmic
        else "The axis is linear."
    )
    weights = (
        " The weight is what <code>--class-weights auto</code> gives: the median frequency over "
        f"the frequency of the class in {verbatim(names[0])}, each taken in the images in which "
        "the class occurs."
        if splits[0].class_weights
        else ""
    )
    none = "A class without a mark occurs in no mask."
    return f'<p class="legend">{key}</p><p>{how} {none}{weights}</p>'


def _head(splits: Sequence[Split], names: Sequence[str], axis: _Axis) -> str:
    labels = "".join(
        f'<b style="left:{axis.place(tick):.2f}%">{100 * tick:.6g}&thinsp;%</b>'
        for tick in axis.ticks
    )
    shares = [f"pixels %, {verbatim(name)}" for name in names]
    images = [
        f"images of {count(split.readable)}, {verbatim(name)}"
        for name, split in zip(names, splits, strict=True)
    ]
    weight = ["weight"] * bool(splits[0].class_weights)
    numbers = "".join(f'<th scope="col" class="n">{n}</th>' for n in [*shares, *images, *weight])
    return (
        '<th scope="col" class="t">class</th><th scope="col" class="track">share of all pixels'
        f'<span class="axis">{labels}</span></th>{numbers}'
    )


def _row(
    title: str,
    shares: Sequence[float],
    names: Sequence[str],
    images: Sequence[str],
    weight: Sequence[str],
    axis: _Axis,
) -> str:
    cells = [(f"{name} %", percent(share)) for name, share in zip(names, shares, strict=True)]
    cells += [(f"images {name}", number) for name, number in zip(names, images, strict=True)]
    cells += [("weight", number) for number in weight]
    numbers = "".join(
        f'<td class="n" data-of="{verbatim(of)}">{text}</td>' if text else '<td class="n"></td>'
        for of, text in cells
    )
    return f'<tr><td class="t">{title}</td>{_track(shares, axis)}{numbers}</tr>'


def percent(share: float) -> str:
    """A share in [0, 1] in percent, without its sign: "31.6", "0.28", "<0.01", "0"."""
    value = 100 * share
    if not value:
        return "0"
    if value < 0.01:
        return "&lt;0.01"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _shares(split: Split) -> list[float]:
    pixels = max(split.pixels, 1)
    return [n / pixels for n in (*split.class_pixels, split.void_pixels)]


def short_name(split: Split, splits: Sequence[Split]) -> str:
    """The last part of a name such as camvid/train, where that tells ``splits`` apart."""
    last = [other.name.rpartition("/")[2] for other in splits]
    return split.name.rpartition("/")[2] if len(set(last)) == len(last) else split.name


def _axis(shares: Sequence[float]) -> _Axis:
    there = [share for share in shares if share > 0] or [1.0]
    low, high = min(there), max(there)
    if high / low > _WIDE:
        first = max(math.floor(math.log10(low)), -8)
        last = min(math.ceil(math.log10(high)), 0)
        step = -(-(last - first + 1) // 6)
        return _Axis(
            True, 10.0**first, 10.0**last, [10.0**p for p in range(last, first - 1, -step)]
        )
    step_size = next(size for size in (0.02, 0.05, 0.1, 0.2, 0.25) if high / size <= 5)
    steps = max(math.ceil(high / step_size - 1e-9), 1)
    return _Axis(False, 0.0, step_size * steps, [step_size * i for i in range(steps + 1)])


def _track(shares: Sequence[float], axis: _Axis) -> str:
    lines = "".join(f'<i style="left:{axis.place(tick):.2f}%"></i>' for tick in axis.ticks)
    places = [axis.place(share) for share in shares]
    found = [place for place, share in zip(places, shares, strict=True) if share > 0]
    if len(found) > 1:
        ends = f"left:{min(found):.2f}%;right:{100 - max(found):.2f}%"
        lines += f'<i class="row" style="{ends}"></i>'
    marks = "".join(
        f'<span class="mark {mark}" style="left:{place:.2f}%"></span>'
        for mark, place, share in zip(_MARKS, places, shares, strict=False)
        if share > 0
    )
    return f'<td class="track"><span class="axis" aria-hidden="true">{lines}{marks}</span></td>'
