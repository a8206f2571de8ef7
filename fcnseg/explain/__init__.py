"""An FCN explained: every layer before and after, its map, the skips, the crops and the counts.

Everything is computed on shapes alone, without weights, in about a second.
"""

import copy
from dataclasses import replace
from typing import cast

import torch
from torch import fx

from fcnseg.build import build_fcn
from fcnseg.catalogue import describe
from fcnseg.checks import check_choice
from fcnseg.classifiers import build_classifier, count_parameters
from fcnseg.convolutionalize import rewrite_tail
from fcnseg.errors import UsageError
from fcnseg.explain.arithmetic import spell_out, title_of
from fcnseg.explain.fusion import list_skips, list_upsamplings
from fcnseg.explain.layers import Traced, list_layers, place_of
from fcnseg.explain.parts import list_parts
from fcnseg.explain.records import Cells, Explanation, Place, Skip, Totals, Upsampling
from fcnseg.explain.surgery import tell_changes, tell_surgery
from fcnseg.heads import VARIANTS, Padding, SkipHead
from fcnseg.model import OUTPUT_STRIDES
from fcnseg.trace import trace

_LARGEST = 100_000


def explain(
    backbone: str,
    variant: str = "8s",
    size: Cells = (500, 500),
    padding: Padding = "same",
    output_stride: int = 32,
    num_classes: int = 21,
) -> Explanation:
    """Explain the FCN that :func:`fcnseg.build_fcn` would build.

    Args:
        backbone: a name that ``fcnseg models`` lists.
        variant: ``"32s"``, ``"16s"``, ``"8s"`` or ``"8s-atonce"``.
        size: (height, width) of the image in pixels, each 1 to 100,000.
        padding: ``"same"`` or ``"paper"``.
        output_stride: the coarsest stride left; layers that went further are dilated.
        num_classes: score maps K, background included.

    Raises:
        UsageError: a name, a size or a combination that does not fit.
    """
    _check(variant, size, output_stride)
    native = (describe(backbone).preprocessing.native_size,) * 2
    with torch.device("meta"):
        plain = build_classifier(backbone)
        fcn = build_fcn(
            backbone, variant, num_classes, padding=padding, output_stride=output_stride
        )
    built, head = fcn.backbone, fcn.head
    before = Traced.at(trace(plain, native), native)
    copied = trace(copy.deepcopy(plain), native)
    converted = before.rewritten(rewrite_tail(copied, before.features))
    extended = size if padding == "paper" else (fcn.extended(size[0]), fcn.extended(size[1]))
    kept = Traced.at(cast(fx.GraphModule, built.net), extended)
    layers = list_layers(before, converted, kept, built.nodes)
    places = {level: _place(kept, name) for level, name in built.nodes.items()}
    skips = list_skips(head, built.nodes, places, built.channels)
    ups = tuple(
        replace(up, title=title_of(up), steps=spell_out(up, size))
        for up in list_upsamplings(head, places, extended)
    )
    return Explanation(
        backbone=backbone,
        variant=variant,
        padding=padding,
        output_stride=output_stride,
        num_classes=num_classes,
        native=native,
        size=(size[0], size[1]),
        input=extended,
        parts=list_parts(
            layers, {name: converted.side(name).window for name in converted.features}
        ),
        layers=layers,
        surgery=tell_surgery(built.surgery, before, converted),
        changes=tell_changes(converted, layers, num_classes),
        skips=skips,
        upsamplings=ups,
        totals=_totals(before, converted, kept, head, skips, ups, num_classes),
    )


def _check(variant: str, size: Cells, output_stride: int) -> None:
    check_choice("--variant", variant, list(VARIANTS))
    check_choice("--output-stride", output_stride, OUTPUT_STRIDES)
    if not all(1 <= side <= _LARGEST for side in size):
        raise UsageError(
            f"--size {size[0]}x{size[1]}: expected sides of 1 to {_LARGEST} pixels, as in 500x500"
        )


def _place(kept: Traced, name: str) -> Place:
    geometry = kept.features[name].geometry
    assert geometry is not None
    return place_of(geometry)


def _totals(
    before: Traced,
    converted: Traced,
    kept: Traced,
    head: SkipHead,
    skips: tuple[Skip, ...],
    ups: tuple[Upsampling, ...],
    num_classes: int,
) -> Totals:
    backbone = count_parameters(kept.net)
    return Totals(
        classifier=count_parameters(before.net),
        converted=count_parameters(converted.net),
        backbone=backbone,
        score=sum(skip.score_parameters for skip in skips),
        upsampling=sum(up.parameters for up in ups),
        fcn=backbone + count_parameters(head),
        multiply_adds_native=sum(before.counts.values()),
        multiply_adds_backbone=sum(kept.counts.values()),
        multiply_adds_head=_head_products(skips, ups, num_classes),
    )


def _head_products(skips: tuple[Skip, ...], ups: tuple[Upsampling, ...], num_classes: int) -> int:
    """Multiply-adds of the score layers, and of transposed convolutions of each class by itself."""
    scores = sum(
        skip.channels * num_classes * skip.place.size[0] * skip.place.size[1] for skip in skips
    )
    cells = [[c + sum(more) for c, more in zip(up.coarse, up.extended, strict=True)] for up in ups]
    spread = sum(up.parameters * c[0] * c[1] for up, c in zip(ups, cells, strict=True))
    return scores + spread
