"""The explanation of an FCN as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fcnseg.render.explain_cells import cells
from fcnseg.render.explain_drawing import network
from fcnseg.render.explain_experiment import experiment
from fcnseg.render.explain_layers import layers
from fcnseg.render.explain_style import STYLE
from fcnseg.render.markup import by, count, figure, once, short, table, typeset, verbatim

Told = Mapping[str, Any]


def explain_page(told: Told, image: np.ndarray | None = None) -> str:
    """The page, complete in itself: no script, no font, no picture from elsewhere.

    Args:
        told: an explanation as the JSON of ``fcnseg explain``: ``dataclasses.asdict`` of an
            Explanation of :mod:`fcnseg.explain.records`, with ``experiment`` beside it or None.
        image: (H, W, 3) uint8, the photograph of the experiment; needed where there is one.
    """
    title = f"{told['backbone']} as FCN-{told['variant']}"
    if told["output_stride"] != 32:
        title += f", output stride {told['output_stride']}"
    parts = [_intro(told, title), _surgery(told), layers(told), _places(told), _skips(told)]
    parts += [_upsampling(told), _totals(told)]
    if told.get("experiment") and image is not None:
        parts.append(_experiment(told, image))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{verbatim(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _intro(told: Told, title: str) -> str:
    totals, coarse = told["totals"], told["skips"][0]["place"]
    equal = totals["classifier"] == totals["converted"]
    extended = told["input"] != told["size"]
    seen = "and the whole image" if coarse["sees_all"] else "of one cell"
    facts = [
        ("parameters of the classifier", count(totals["classifier"]), "before the surgery"),
        ("made convolutional", count(totals["converted"]), "equal" if equal else "not equal"),
        (f"FCN for {told['num_classes']} classes", count(totals["fcn"]), "parameters"),
        ("coarsest stride", f"{once(coarse['stride'])} px", f"offset {once(coarse['offset'])} px"),
        ("receptive field", f"{once(coarse['field'])} px", seen),
        ("multiply-adds", short(_all(totals)), f"at {by(told['input'])} px"),
    ]  # fmt: skip
    cards = "".join(f"<div><dt>{n}</dt><dd>{v}<small>{s}</small></dd></div>" for n, v, s in facts)
    more = (
        f" The image is extended to {by(told['input'])} px, which the strides divide; its scores "
        "are cropped back."
        if extended
        else ""
    )
    return (
        f"<h1>{verbatim(title)}</h1><p class='lead'>How a classifier becomes a network that scores "
        f"every pixel of a {by(told['size'])} image, with padding "
        f"<code>{verbatim(told['padding'])}</code>{_finer(told)}.{more} "
        "Every number here is computed from the "
        f"network's own graph.</p><dl class='facts'>{cards}</dl>"
    )


def _finer(told: Told) -> str:
    stride = told["output_stride"]
    return f" and output stride {stride}: no map is coarser" if stride != 32 else ""


def _surgery(told: Told) -> str:
    caption = (
        "Of each stride the scored map is shown, or the last. Height is the cube root of the rows, "
        "width the logarithm of the channels. "
        "<b>Upper row:</b> the classifier. <b>Middle row:</b> the same numbers as convolutions; "
        "the orange layers were rewritten and now give maps. <b>Lower row, read from right to "
        "left:</b> score layers, upsampling, and the sums with finer maps (+)."
    )
    if told["output_stride"] < 32:
        caption += (
            " A <b>level</b> is a stride of the classifier; dilation leaves the FCN's own finer."
        )
    besides = ""
    if told["changes"]:
        besides = (
            "<p>To make a segmentation network of it, the FCN changes a few things besides; no "
            f"number of a kept layer changes.</p>{_changes(told['changes'])}"
        )
    return (
        "<h2>1 &ensp;A classifier becomes convolutional</h2>"
        "<p>A classifier computes maps: each cell looks at one window of the image. Its last "
        "layers, the tail, then give that up. A flatten or a mean mixes all cells, and linear "
        "layers turn the result into one score for each class. But a linear layer over a map of "
        "fixed size is a convolution that happens to fit in one place. Written as one, it slides "
        "over larger maps, and there is a score for each class in every cell.</p>"
        f"{figure(network(told), caption)}{_changes(told['surgery'])}{besides}"
    )


def _changes(changes: Sequence[Told]) -> str:
    cards = []
    for change in changes:
        names = list(change["names"])
        shown = names if len(names) < 7 else [names[0], "…", names[-1]]
        more = f" ({len(names)} layers)" if len(names) >= 7 else ""
        title = ", ".join(f"<code>{verbatim(n)}</code>" for n in shown)
        cards.append(
            f"<div class='card change'><h3>{title}{more}</h3><div class='was'>"
            f"{typeset(change['before'])} → <b>{typeset(change['after'])}</b></div>"
            f"<p>{typeset(change['why'])}.</p></div>"
        )
    return f"<div class='cards changes'>{''.join(cards)}</div>"


def _places(told: Told) -> str:
    skips = told["skips"]
    coarse, fine = skips[0]["place"], skips[-1]["place"]
    offset, stride = coarse["offset"][0], coarse["stride"][0]
    caption = (
        "Dots are cell centres, squares the cells that an upsampling gives, each at its place on "
        "the vertical axis of the image. Hollow ones are cut off. The bar through a row is what "
        "its first kept cell sees. Left of the line lies what padding made up."
    )
    if len(skips) > 1:
        ratio = coarse["stride"][0] / fine["stride"][0]
        caption += (
            f" One step of the coarsest map is {ratio:g} of the finest."
            if ratio > 1
            else f" All scored maps have the same stride, {once(fine['stride'])}."
        )
    return (
        "<h2>3 &ensp;Where the cells lie</h2>"
        "<p>Along each axis, cell <i>i</i> of a map is centred at pixel <span class='formula'>"
        "offset + stride · <i>i</i></span>. A layer with stride 2 doubles the stride; kernel and "
        "padding decide the offset, since they decide what the first cell sees. The coarsest "
        f"scored map has its cells at <span class='formula'>{offset:g} + {stride:g} · <i>i</i>"
        f"</span>.{_wrong(offset, stride)}</p>"
        f"{figure(cells(told), caption)}"
    )


def _wrong(offset: float, stride: float) -> str:
    """What a wrong offset costs."""
    if not offset:
        return ""
    return (
        f" Whoever takes that for <span class='formula'>{stride:g} · <i>i</i></span> lays every "
        f"score {abs(offset):g} pixels from where it belongs."
    )


def _skips(told: Told) -> str:
    rows = [
        [
            str(skip["stride"]),
            f"<code>{verbatim(skip['node'])}</code>",
            str(skip["channels"]),
            by(skip["place"]["size"]),
            once(skip["place"]["stride"]),
            once(skip["place"]["offset"]),
            once(skip["place"]["field"]) + ("+" if skip["place"]["sees_all"] else ""),
            f"{skip['scale']:g}",
            count(skip["score_parameters"]),
        ]
        for skip in told["skips"]
    ]
    columns = ("level", "leaves from", "channels", "cells", "stride", "offset", "field",
               "scaled by", "score parameters")  # fmt: skip
    some = (
        "Coarse maps know what is there, finer maps know where. So finer maps are scored as well, "
        "and the scores are added."
        if len(rows) > 1
        else "This variant scores the coarsest map alone."
    )
    return (
        f"<h2>4 &ensp;Where the skips leave</h2><p>{some} Each map gets a 1&times;1 convolution to "
        f"{told['num_classes']} classes, which starts at zero. The level of a map is the stride "
        "that it has in the classifier; dilation leaves its own stride finer. A skip leaves from "
        "the last map of its level outside the block that goes on to the next one; chains such as "
        f"VGG, from the pools.</p>{table(columns, rows, texts=2)}"
    )


def _upsampling(told: Told) -> str:
    parts = []
    for up in told["upsamplings"]:
        rows = [
            [typeset(step["name"]), f"<span class='formula'>{typeset(step['formula'])}</span>",
             typeset(step["why"])]
            for step in up["steps"]
        ]  # fmt: skip
        body = table(("", "with its numbers", "what it is"), rows, texts=3, kind="steps")
        parts.append(f"<div class='card'><h3>{typeset(up['title'])}</h3>{body}</div>")
    return (
        "<h2>5 &ensp;Upsampling and crop</h2>"
        "<p>A transposed convolution whose kernel is a triangle interpolates bilinearly. It keeps "
        "every centre where it is if its kernel and its crop agree with the offsets of the two "
        "maps. Nothing is looked up:</p>"
        "<p class='formula'>shift = (offset of the coarse map &minus; offset of the fine map) / "
        "stride of the fine map<br>crop = ceil(ratio &minus; shift) &minus; 1<br>"
        "kernel = ceil(crop + shift + ratio)</p>"
        f"<div class='cards'>{''.join(parts)}</div>"
    )


def _totals(told: Told) -> str:
    totals, at = told["totals"], by(told["input"])
    kept, head = totals["multiply_adds_backbone"], totals["multiply_adds_head"]
    new = totals["score"] + totals["upsampling"]
    rows = [
        (
            "the classifier",
            totals["classifier"],
            totals["multiply_adds_native"],
            by(told["native"]),
        ),
        ("the classifier, made convolutional", totals["converted"], 0, ""),
        ("what the FCN keeps of it", totals["backbone"], kept, at),
        (f"the head: score layers for {told['num_classes']} classes and upsampling", new, head, at),
        ("the FCN", totals["fcn"], kept + head, at),
    ]
    return (
        "<h2>6 &ensp;Counts</h2>"
        f"<p>The head has {count(totals['score'])} parameters in score layers and "
        f"{count(totals['upsampling'])} in transposed convolutions, one kernel a class, where they "
        "are learned. A multiply-add is one product that is summed: for each number it gives, a "
        "convolution takes as many as its kernel has rows &times; columns &times; input channels / "
        "groups. Counted are convolutions, transposed convolutions, linear layers and matrix "
        "products for one image; not biases, norms, activations, pools and sums.</p>"
        + table(
            ("network", "parameters", "multiply-adds", "at"),
            [(typeset(n), count(p), short(m), s) for n, p, m, s in rows],
        )
    )


def _experiment(told: Told, image: np.ndarray) -> str:
    found = told["experiment"]
    fields = [layer["after"]["place"]["field"] for layer in told["layers"]
              if layer["after"] and layer["after"]["place"]]  # fmt: skip
    seen = once(max(fields, key=max))
    return (
        "<h2>7 &ensp;Sliding crops beside one pass</h2>"
        f"<p>The classifier runs on every crop of {found['window']} px of "
        f"<code>{verbatim(found['photograph'])}</code>, {found['stride']} px apart. Its "
        "convolutional form, in which a global pool slides too, runs once over the whole. "
        "Neighbouring crops share nearly all of their pixels, and the one pass computes what they "
        "share only once.</p>"
        f"{experiment(found, image)}"
        "<p>Why the two differ on a larger image: inside the network convolutions pad maps with "
        "zeros. A crop therefore sees zeros beyond its border, where the one pass sees what the "
        f"photograph has there. A cell of the last map looks at {seen} px, so in a crop of "
        f"{found['window']} px every cell sees some of these zeros. {_without_padding(told)}</p>"
    )


def _without_padding(told: Told) -> str:
    """What would be left of the differences, by whether a layer looks at a whole map."""
    places = [layer["before"]["place"] for layer in told["layers"]]
    if any(place and place["sees_all"] for place in places):
        return (
            "A second reason: this network has layers that look at their whole map (squeeze-excite "
            "or a norm). In a crop that is the crop, in the one pass the whole photograph, so the "
            "two would differ even without padding inside."
        )
    return (
        "Every cell of this network looks at a window only: without padding inside, the two would "
        "agree everywhere."
    )


def _all(totals: Told) -> int:
    return int(totals["multiply_adds_backbone"] + totals["multiply_adds_head"])
