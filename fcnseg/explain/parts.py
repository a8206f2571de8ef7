"""Layers gathered to parts: a line for each layer of a chain, and for each block."""

from collections import Counter
from itertools import groupby

from fcnseg.explain.records import Layer, Part, Window


def list_parts(layers: tuple[Layer, ...], windows: dict[str, Window | None]) -> tuple[Part, ...]:
    """The parts of a network in the order of computation.

    Args:
        layers: of :func:`fcnseg.explain.layers.list_layers`.
        windows: node -> its window in the classifier.
    """
    groups = groupby(layers, key=lambda layer: (layer.part, layer.stage))
    found = [_part(list(group), windows) for _, group in groups]
    return tuple(part for part in found if part.layers)


def _part(layers: list[Layer], windows: dict[str, Window | None]) -> Part:
    listed = [layer for layer in layers if layer.listed]
    kept = [layer.after for layer in layers if layer.after is not None]
    return Part(
        name=layers[0].part,
        stage=layers[0].stage,
        layers=tuple(layer.node for layer in listed),
        what=_what(listed),
        window=listed[0].before.window if len(listed) == 1 else None,
        becomes=_becomes(listed, windows),
        tap=next((layer.tap for layer in layers if layer.tap), None),
        in_fcn=any(layer.in_fcn for layer in layers),
        parameters_before=sum(layer.before.parameters for layer in layers),
        parameters_after=sum(side.parameters for side in kept),
        native_shape=layers[-1].before.shape,
        shape=kept[-1].shape if kept else None,
        place=kept[-1].place if kept else None,
        multiply_adds_native=sum(layer.before.multiply_adds for layer in layers),
        multiply_adds=sum(side.multiply_adds for side in kept),
    )


def _what(listed: list[Layer]) -> str:
    if len(listed) == 1:
        return listed[0].before.what
    kinds = Counter(_KINDS.get(layer.before.what.split()[0], "pool") for layer in listed)
    return ", ".join(f"{n} {kind}{'s' * (n > 1)}" for kind, n in kinds.items())


_KINDS = {"Conv": "convolution", "Linear": "linear layer"}


def _becomes(listed: list[Layer], windows: dict[str, Window | None]) -> str:
    """What is new after the surgery, empty where nothing is."""
    found: list[str] = []
    for layer in listed:
        before, after = layer.before, layer.after
        if after is None:
            found.append("dropped")
        elif before.what != after.what:
            found.append(after.what + (f", {told(after.window)}" if after.window else ""))
        else:
            old, new = windows.get(layer.node), after.window
            found += [text for _, text, _ in differences(old, new)] if old and new else []
    return ", ".join(dict.fromkeys(found))


def differences(old: Window, new: Window) -> list[tuple[str, str, str]]:
    """How two windows differ: (before, after, name of the difference)."""
    found = []
    for name in ("padding", "step", "dilation"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            word = "stride" if name == "step" else name
            found.append((f"{word} {by(before)}", f"{word} {by(after)}", name))
    # A window without a stride rounds nothing away, and a dilated one keeps its last cell.
    kept = (old.step, old.dilation) == (new.step, new.dilation)
    if old.rounds_up != new.rounds_up and kept:
        words = ("rounds down", "rounds up")
        found.append((words[old.rounds_up], words[new.rounds_up], "rounding"))
    return found


def told(window: Window) -> str:
    """A window in words: ``"3x3, stride 2, padding 1"``; stride 1 and no padding go without."""
    words = [f"{window.kernel[0]}x{window.kernel[1]}"]
    if window.step != (1, 1):
        words.append(f"stride {by(window.step)}")
    if window.pads_itself:
        words.append("padding SAME")
    elif window.padding != (0, 0):
        words.append(f"padding {by(window.padding)}")
    if window.dilation != (1, 1):
        words.append(f"dilation {by(window.dilation)}")
    return ", ".join(words)


def by(pair: tuple[int, int]) -> str:
    """A pair of cells, once if both are alike."""
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"
