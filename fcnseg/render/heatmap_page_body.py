"""What stands on the page of a heatmap: photograph, reading, layers, facts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcnseg.render.check_classes import percent
from fcnseg.render.heatmap_page_maps import Packed
from fcnseg.render.markup import PERCENT, TIMES, by, count, once, typeset, verbatim

_WINNERS = -1
_MOST_PIXELS, _ROW_PIXELS = (
    410,
    34,
)  # of the ranking, whose rows have this height in the style sheet
_READ_AT_ONCE = 12


@dataclass(frozen=True)
class Shown:
    """What a page of a heatmap is made of; pairs are (vertical, horizontal), in pixels.

    Attributes:
        photograph: the data URI of a JPEG.
        size: of the photograph that coordinates are in.
        cells: rows and columns of the whole map.
        stride, offset, field, sees_all: the geometry of the map, see ``heatmap_page``.
        listed: the classes that have a layer, in order; the first ``chosen`` were asked for.
        colours: one for each of ``listed``; after ``hues`` of them a filling is hatched.
        whole: K probabilities of the whole photograph, or None.
        areas: K shares of its pixels.
        kept: the scores that the page holds.
    """

    title: str
    photograph: str
    size: tuple[int, int]
    cells: tuple[int, int]
    stride: tuple[float, float]
    offset: tuple[float, float]
    field: tuple[float, float] | None
    sees_all: bool
    classes: Sequence[str]
    listed: Sequence[int]
    chosen: int
    colours: Sequence[tuple[int, int, int]]
    hues: int
    whole: Sequence[float] | None
    areas: np.ndarray
    kept: Packed
    opens_with_winners: bool

    @property
    def pixelwise(self) -> bool:
        """Whether the map has a cell for each pixel."""
        return self.stride == (1.0, 1.0) and self.offset == (0.0, 0.0)


def body(shown: Shown, facts: str) -> str:
    """The page inside its frame, as HTML; ``facts`` is the JSON for its script."""
    return (
        f"<h1>{verbatim(shown.title)}</h1>{_lead(shown)}"
        '<noscript><p class="verdict warning">The layers and the reading need scripts, which are '
        "switched off here. The tables below hold what can be said without.</p></noscript>"
        f'<div class="viewer"><div class="look">{_stage(shown)}</div>'
        f'<div class="side needs-script">{_reading(shown)}</div>'
        f'<div class="under">{_layers(shown)}</div></div>'
        f"{_facts(shown)}{_KEYS}"
        f'<script type="application/json" id="map-facts">{facts}</script>'
        f'<script type="text/plain" id="map-scores">{shown.kept.text}</script>'
    )


def _lead(shown: Shown) -> str:
    number = len(shown.classes)
    cells = (
        "at every pixel"
        if shown.pixelwise
        else f"in each cell of a map of {_rows(shown.cells)}, {_short(shown.stride)} pixels apart"
    )
    return (
        f'<p class="lead">The network scores {count(number)} '
        f"{'class' if number == 1 else 'classes'} {cells}. "
        '<span class="needs-script">Point at the photograph, or tap it, to read all of them there; '
        "a click pins the place.</span></p>"
    )


def _rows(cells: tuple[int, int]) -> str:
    row, column = (f"{count(n)} {what}{'' if n == 1 else 's'}"
                   for n, what in zip(cells, ("row", "column"), strict=True))  # fmt: skip
    return f"{row} and {column}"


def _stage(shown: Shown) -> str:
    high, wide = shown.size
    # As wide as its column, but never higher than three quarters of the window.
    style = f"aspect-ratio:{wide}/{high};width:min(100%,max(240px,{75 * wide / high:.2f}vh))"
    boxes = "".join(
        f'<rect class="{kind}{under}" width="0" height="0"/>'
        for kind in ("field", "cell")
        for under in (" under", "")
    )
    label = "Photograph with layers. Arrow keys move from cell to cell, Enter pins."
    return (
        f'<figure><div id="stage" style="{style}" tabindex="0" role="application" '
        f'aria-label="{label}"><img src="{shown.photograph}" alt="the photograph" '
        'draggable="false"><div class="veil"></div><div id="sheets"></div>'
        f'<svg id="boxes" viewBox="0 0 {wide} {high}" preserveAspectRatio="none" '
        f'aria-hidden="true">{boxes}</svg><div id="tags" aria-hidden="true"></div>'
        '<div id="spot" hidden></div></div>'
        f"<figcaption>{_caption(shown)}</figcaption></figure>"
        '<div id="scales" class="needs-script"></div>'
        '<p id="of-scale" class="needs-script">Probability on a fixed scale. The line is at 0.5, '
        "its light side where the class is more probable; the dot is where it is most so.</p>"
    )


def _caption(shown: Shown) -> str:
    cell = "the pixel that is read" if shown.pixelwise else "the cell that is read"
    field = ""
    if shown.field:
        rest = ", beside the whole photograph" if shown.sees_all else ""
        field = f", the dashed box what lies in its receptive field{rest}"
    elif shown.sees_all:
        field = "; it sees the whole photograph"
    solid = "The ring marks" if shown.pixelwise else "The solid box is"
    return f'<span class="needs-script">{solid} {cell}{field}.</span>'


def _layers(shown: Shown) -> str:
    rows = [_row(shown, place, class_id) for place, class_id in enumerate(shown.listed)]
    rest = float(shown.areas.sum() - shown.areas[list(shown.listed)].sum())
    left = int((shown.areas > 0).sum() - (shown.areas[list(shown.listed)] > 0).sum())
    others = f"{count(left)} other classes" if left != 1 else "1 other class"
    hidden = "" if left else " hidden"
    rows.append(
        f'<tr id="others" class="rest"{hidden}><td><span class="swatch" '
        f'style="background:#808080"></span><span class="count">{others}</span> '
        'that win somewhere</td><td class="needs-script"></td><td class="n whole"></td>'
        f'<td class="n area" data-of="area">{percent(rest)}{PERCENT}</td></tr>'
    )
    return (
        "<h2>Layers and areas</h2>"
        '<p class="needs-script"><label class="switch"><input type="checkbox" id="grey" checked>'
        "photograph in grey under layers</label></p>"
        '<div class="scroll" tabindex="0"><table id="layers"><thead><tr>'
        '<th scope="col" class="t">layer</th>'
        '<th scope="col" class="t needs-script">opacity</th>'
        '<th scope="col" class="n">whole photograph</th>'
        '<th scope="col" class="n">area won</th></tr></thead>'
        f"<tbody>{_winners(shown)}{''.join(rows)}</tbody></table></div>"
        '<p class="note"><span class="needs-script">One layer alone is in heat colours; several '
        "are each in the colour of their class, as strong as it is probable. </span>Area won: the "
        "share of pixels whose nearest cell scores the class highest.</p>"
    )


def _winners(shown: Shown) -> str:
    name = "the winner at each pixel" if shown.pixelwise else "the winner in each cell"
    return _line(_WINNERS, (128, 128, 128), 0, "", name,
                 shown.opens_with_winners, 70, "", "")  # fmt: skip


def _row(shown: Shown, place: int, class_id: int) -> str:
    whole = "" if shown.whole is None else _fraction(shown.whole[class_id])
    area = f"{percent(float(shown.areas[class_id]))}{PERCENT}"
    on = place == 0 and not shown.opens_with_winners
    style = place // shown.hues % 4
    return _line(class_id, shown.colours[place], style, str(place + 1), shown.classes[class_id],
                 on, 100, whole, area)  # fmt: skip


def _line(
    class_id: int,
    colour: tuple[int, int, int],
    style: int,
    number: str,
    name: str,
    on: bool,
    opacity: int,
    whole: str,
    area: str,
) -> str:
    rgb = ",".join(map(str, colour))
    mark = (
        ""
        if class_id == _WINNERS
        else f'<span class="swatch hatch{style}" style="background-color:rgb({rgb})"></span>'
    )
    return (
        f'<tr data-id="{class_id}" data-colour="{rgb}" data-style="{style}"><td class="t"><label>'
        f'<input type="checkbox" class="needs-script"{" checked" if on else ""}>'
        f'<span class="nr">{number}</span>{mark}<span class="name">{verbatim(name)}</span></label>'
        f'</td><td class="needs-script"><input type="range" min="0" max="100" value="{opacity}" '
        f'aria-label="opacity of {verbatim(name)}"></td>'
        f'<td class="n whole" data-of="whole photograph">{whole}</td>'
        f'<td class="n area" data-of="area">{area}</td></tr>'
    )


def _reading(shown: Shown) -> str:
    number = len(shown.classes)
    height = min(_MOST_PIXELS, number * _ROW_PIXELS + 2)
    return _READING.format(height=height, hidden="" if number > _READ_AT_ONCE else " hidden")


_READING = """<section id="reading" aria-label="Reading"><h2>Reading</h2>
<div class="spot-line"><p id="where"></p>
<button type="button" class="plain" id="pin" aria-pressed="false">pin</button></div>
<p id="about"></p><p class="said" id="said" aria-live="polite"></p>
<label class="find"{hidden}>find a class<input type="search" id="find" autocomplete="off"
spellcheck="false"></label>
<div class="ranked-head"><span class="n">rank</span><span></span><span>class</span><span></span>
<span class="n">prob.</span><span class="n">score</span></div>
<div id="ranking" style="height:{height}px" tabindex="0" role="group"
aria-label="Classes by score"><div></div></div>
<p id="none" hidden>No class has this in its name.</p>
<p class="note">A click on a class shows or hides its layer. Score: as the
network gave it, before softmax.</p></section>"""

_KEYS = """<details class="needs-script"><summary>Keyboard<span>with the photograph in
focus</span></summary><dl class="keys">
<dt><kbd>←</kbd> <kbd>↑</kbd> <kbd>→</kbd> <kbd>↓</kbd></dt><dd>to the next cell; with
<kbd>Shift</kbd> ten cells on</dd>
<dt><kbd>Home</kbd> <kbd>End</kbd></dt><dd>to the first or last cell of the row</dd>
<dt><kbd>Enter</kbd></dt><dd>pin the place, or release it; <kbd>Esc</kbd> releases it too</dd>
<dt><kbd>1</kbd> … <kbd>9</kbd></dt><dd>show or hide the layer of this number</dd>
<dt><kbd>w</kbd></dt><dd>show or hide the winners</dd>
<dt><kbd>0</kbd></dt><dd>hide all layers</dd></dl></details>"""


def _facts(shown: Shown) -> str:
    kept = shown.kept
    facts = [("photograph", by(shown.size[::-1]), "pixels wide and high")]
    facts.append(("map", by(shown.cells[::-1]), "cells wide and high"))
    if not shown.pixelwise:
        facts.append(("stride", f"{_short(shown.stride)} px", "from cell to cell"))
        facts.append(("offset", f"{_short(shown.offset)} px", "centre of the first cell"))
    if shown.field:
        rest = "and the whole photograph" if shown.sees_all else "what one cell sees"
        facts.append(("receptive field", f"{_short(shown.field)} px", rest))
    elif shown.sees_all:
        facts.append(("receptive field", "all", "a cell sees the whole photograph"))
    if kept.every > 1:
        facts.append(("kept on this page", f"1 in {kept.every}", "rows and columns of cells"))
    else:
        facts.append(("kept on this page", "all", "cells and classes"))
    facts.append(("scores", f"{_plain(kept.step)}", "steps to which they are rounded"))
    cards = "".join(f"<div><dt>{n}</dt><dd>{v}<small>{s}</small></dd></div>" for n, v, s in facts)
    return (
        '<h2>What is shown</h2><p class="lead">Coordinates are pixels of the photograph, x to the '
        f"right and y down, from 0; sizes that differ are written vertical {TIMES} horizontal.</p>"
        f"{_thinned(shown)}"
        f'<dl class="facts" style="margin-bottom:20px">{cards}</dl>'
    )


def _thinned(shown: Shown) -> str:
    every = shown.kept.every
    if every == 1:
        return ""
    what = "pixel" if shown.pixelwise else "cell"
    return (
        f"<p>To keep the file small, the page holds one {what} in {every} of each row and column: "
        f"{by((shown.kept.columns, shown.kept.rows))} of {by(shown.cells[::-1])}. A reading is "
        f"that of the nearest {what} kept, and layers are drawn between them. Areas are of "
        "the whole map.</p>"
    )


def _fraction(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 or p == 0 else "&lt;0.001"


def _short(pair: Sequence[float]) -> str:
    return once([round(v, 2) for v in pair])


def _plain(value: float) -> str:
    """A small number to two digits, with no power of ten from 0.00001 up."""
    if value == 0 or value >= 1:
        return typeset(f"{value:.3g}")
    places = 1 - math.floor(math.log10(value))
    return f"{value:.{places}f}" if places <= 6 else typeset(f"{value:.1e}")
