"""What was done to a classifier, and why, in words."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from fcnseg.convolutionalize import Rewrite
from fcnseg.explain.layers import Traced
from fcnseg.explain.parts import by, differences
from fcnseg.explain.records import Change, Layer, Window

_WHY = {
    "rounding": "cells at the lower and right border that do not fill a window count too",
    "padding": "its map then covers the image like the map that it reads",
}
_FINER = (
    "maps stay finer where a stride is gone; the layers after it are dilated, and padded as much "
    "further, so that their numbers meet cells as far apart as in training"
)
_MARGIN = (
    "the first layer of the tail reads a whole map; with this margin it finds one in an image of "
    "any size"
)


def tell_surgery(
    rewrites: tuple[Rewrite, ...], classifier: Traced, converted: Traced
) -> tuple[Change, ...]:
    """The changes that made a classifier convolutional, each with its reason."""
    return tuple(_told(rewrite, classifier, converted) for rewrite in rewrites)


def _told(rewrite: Rewrite, classifier: Traced, converted: Traced) -> Change:
    if rewrite.node not in classifier.nodes:
        return Change((rewrite.node,), rewrite.before, rewrite.after, rewrite.why)
    side, called = classifier.side(rewrite.node), classifier.called(rewrite.node)
    name = str(classifier.nodes[rewrite.node].target) if called is not None else rewrite.node
    if isinstance(called, nn.Linear) and rewrite.node in converted.nodes:
        conv: Any = converted.called(rewrite.node)
        rows, columns = conv.kernel_size
        after = f"{converted.side(rewrite.node).what}, {rows}x{columns}"
        return Change((name,), side.what, after, _linear(called, conv))
    return Change((name,), rewrite.before, rewrite.after, _reason(rewrite))


def _linear(linear: nn.Linear, conv: nn.Conv2d) -> str:
    rows, columns = conv.kernel_size
    if (rows, columns) == (1, 1):
        return (
            "a linear layer over a vector is a 1x1 convolution over a map: the same product, in "
            "every cell"
        )
    weight = tuple(conv.weight.shape)
    return (
        f"its {linear.in_features} inputs are a flattened map of {conv.in_channels} channels, "
        f"{rows}x{columns} cells, by channel, row and column; a {rows}x{columns} convolution holds "
        f"its numbers in that very order: {tuple(linear.weight.shape)} is read as {weight}, and "
        "the layer can slide"
    )


def _reason(rewrite: Rewrite) -> str:
    if "reshape" in rewrite.before:
        return "a flatten forgets where its numbers came from; without it maps stay maps"
    if "global pool" in rewrite.before and rewrite.after == "dropped":
        return (
            "the mean over the map forgets where things are; without it every cell is classified "
            "by itself"
        )
    return rewrite.why


def tell_changes(
    converted: Traced, layers: tuple[Layer, ...], num_classes: int
) -> tuple[Change, ...]:
    """What an FCN changes besides: paddings, rounding, strides, and the layers that it leaves out.

    Args:
        converted: after the surgery, as the classifier has its layers.
        layers: of :func:`fcnseg.explain.layers.list_layers`.
        num_classes: of the FCN.
    """
    scoring = [layer.node for layer in layers if layer.before.multiply_adds][-1]
    names: dict[tuple[str, str, str], list[str]] = {}
    spread: list[tuple[str, Window, Window]] = []
    for layer in layers:
        window = layer.after.window if layer.in_fcn and layer.after else None
        old = converted.side(layer.node).window or _undilated(window) if window else None
        if window and old and (old.step, old.dilation) != (window.step, window.dilation):
            spread.append((layer.name, old, window))
            continue
        if layer.in_fcn:
            told = _changed(layer, converted)
        else:
            told = _left(layer, layer.node == scoring, num_classes)
        if told is not None:
            names.setdefault(told, []).append(layer.name)
    others = tuple(Change(tuple(found), *told) for told, found in names.items())
    return ((_dilated(spread),) if spread else ()) + others


def _undilated(window: Window) -> Window:
    """Of a pool that was a function: that tells no window, only what it became."""
    return replace(window, dilation=(1, 1))


def _dilated(spread: list[tuple[str, Window, Window]]) -> Change:
    """All layers that lost a stride or were dilated, in one line."""
    strides = Counter(by(old.step) for _, old, new in spread if old.step != new.step)
    spaced = Counter(by(new.dilation) for _, old, new in spread if old.dilation != new.dilation)
    ends = sorted({by(new.step) for _, old, new in spread if old.step != new.step})
    before = [f"stride {stride} ({_layers(n)})" for stride, n in strides.items()]
    after = [f"stride {stride}" for stride in ends]
    after += [f"dilation {dilation} ({_layers(n)})" for dilation, n in spaced.items()]
    words = ", ".join(before + (["not dilated"] if spaced else []))
    return Change(tuple(name for name, _, _ in spread), words, ", ".join(after), _FINER)


def _layers(count: int) -> str:
    return f"{count} layer{'s' * (count > 1)}"


def _changed(layer: Layer, converted: Traced) -> tuple[str, str, str] | None:
    before, after = converted.side(layer.node).window, layer.after.window if layer.after else None
    if before is None or after is None or before == after:
        return None
    found = differences(before, after)
    kinds = [kind for _, _, kind in found]
    why = next(why for kind, why in _WHY.items() if kind in kinds)
    if "padding" in kinds and layer.node == next(_convolutions(converted)):
        why = _MARGIN
    return ", ".join(old for old, _, _ in found), ", ".join(new for _, new, _ in found), why


def _left(layer: Layer, scoring: bool, num_classes: int) -> tuple[str, str, str] | None:
    if layer.after is None or not layer.after.parameters:
        return None
    why = "part of the classifier's head, which the FCN does without"
    if scoring:
        why = f"it scores the classifier's classes; the FCN scores {num_classes} of its own"
    return layer.after.what, "left out", why


def _convolutions(traced: Traced) -> Iterator[str]:
    return (name for name in traced.nodes if isinstance(traced.called(name), nn.Conv2d))
