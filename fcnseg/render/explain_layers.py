"""The layers of an explanation as tables, one for each stride."""

from collections.abc import Mapping, Sequence
from typing import Any

from fcnseg.render.markup import by, count, once, short, table, typeset, verbatim

Told = Mapping[str, Any]

_MANY_ROWS = 40


def layers(told: Told) -> str:
    stages = sorted({part["stage"] for part in told["parts"] if part["stage"]})
    listed = {layer["node"]: layer for layer in told["layers"]}
    many = sum(len(part["layers"]) for part in told["parts"]) > _MANY_ROWS
    blocks = []
    for stage in [*stages, 0]:
        parts = [part for part in told["parts"] if part["stage"] == stage]
        if parts:
            blocks.append(_stage(stage, parts, listed, told, many))
    whole = any(part["place"] and part["place"]["sees_all"] for part in told["parts"])
    note = (
        " A plus sign marks cells that also see the whole image by way of squeeze-excite or a norm."
        if whole
        else ""
    )
    return (
        "<h2>2 &ensp;Layer by layer</h2>"
        "<p>Convolutions, pools and linear layers, gathered by the stride that their map has in "
        "the classifier; norms and activations count with the layer before them. A map is channels "
        "&times; rows &times; columns; kernel, step and pad are in cells. <b>Offset</b> is the "
        "centre of the first cell, <b>field</b> the receptive field of a cell, both in pixels of "
        "the image."
        f"{note}</p>{''.join(blocks)}"
    )


def _stage(
    stage: int, parts: Sequence[Told], listed: Mapping[str, Told], told: Told, many: bool
) -> str:
    native, size = by(told["native"]), by(told["input"])
    columns = (
        "layer", "classifier", "becomes", "kernel", "step", "pad", "parameters", f"map at {native}",
        f"map at {size}", "stride", "offset", "field", f"mult-adds at {native}", f"at {size}",
    )  # fmt: skip
    rows: list[Sequence[str]] = []
    for part in parts:
        inner = [listed[node] for node in part["layers"]]
        if len(inner) > 1:
            rows.append([_heading(part)])
            rows += [_row(layer, None) for layer in inner]
        else:
            rows += [_row(layer, part) for layer in inner]
    numbers = sum(part["parameters_after"] for part in parts)
    products = sum(part["multiply_adds"] for part in parts)
    last = parts[-1]
    title = _titled(stage, parts)
    size = f"map {by(last['shape'])} · " if last["shape"] else ""
    note = f"{size}{count(numbers)} parameters · {short(products) or 'no'} multiply-adds"
    body = table(columns, rows, texts=3, kind="layers")
    open_ = "" if many and stage else " open"
    return (
        f"<details class='{'' if stage else 'tail'}'{open_}><summary>{title}<span>{note}</span>"
        f"</summary>{body}</details>"
    )


def _titled(stage: int, parts: Sequence[Told]) -> str:
    if not stage:
        return "the tail: what was rewritten"
    places = [part["place"] for part in parts if part["place"] and part["in_fcn"]]
    stride = places[-1]["stride"] if places else (stage, stage)
    if max(stride) == stage:
        return f"stride {stage}"
    return f"stride {stage} in the classifier, {once(stride)} in the FCN"


def _heading(part: Told) -> str:
    note = f"{typeset(part['what'])}, {count(part['parameters_after'])} parameters"
    return f"{_named(part)}{_skip(part)} &ensp;<span class='same'>{note}</span>"


def _row(layer: Told, part: Told | None) -> list[str]:
    before, after = layer["before"], layer["after"]
    shown = part or layer
    place = after["place"] if after else None
    window = (after or before)["window"] or {}
    same, left = (
        "<span class='same'>same</span>",
        "" if layer["in_fcn"] or not after else ", left out",
    )
    becomes = same
    if after is None:
        becomes = "<span class='new'>dropped</span>"
    elif part and part["becomes"]:
        becomes = f"<span class='new'>{typeset(part['becomes'])}</span>"
    elif after["what"] != before["what"] or after["window"] != before["window"]:
        becomes = f"<span class='new'>{typeset(after['what'])}</span>"
    numbers = count(before["parameters"]) if before["parameters"] else ""
    if after and after["parameters"] != before["parameters"]:
        numbers += f" → {count(after['parameters'])}"
    seen = "" if place is None else once(place["field"]) + ("+" if place["sees_all"] else "")
    padding = "SAME" if window.get("pads_itself") else once(window["padding"]) if window else ""
    return [
        f"{_named(layer)}{_skip(shown)}",
        typeset(before["what"]),
        becomes + left,
        by(window.get("kernel")),
        once(window["step"]) if window else "",
        padding,
        numbers,
        by(before["shape"]),
        by(after["shape"]) if after else "",
        once(place["stride"]) if place else "",
        once(place["offset"]) if place else "",
        seen,
        short(before["multiply_adds"]),
        short(after["multiply_adds"]) if after else "",
    ]


def _named(item: Told) -> str:
    return f"<code>{verbatim(item['name'])}</code>"


def _skip(item: Told) -> str:
    return f"<span class='skip'>scored: level {item['tap']}</span>" if item["tap"] else ""
