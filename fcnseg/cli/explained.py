"""What ``fcnseg explain`` prints."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fcnseg.cli.tables import print_table

Told = Mapping[str, Any]


def print_explanation(told: Told, everything: bool) -> None:
    """Print an explanation, given as its JSON; ``everything`` lists every node of the graph."""
    native, size, extended = (_by(told[name]) for name in ("native", "size", "input"))
    dilated = f", output stride {told['output_stride']}" if told["output_stride"] != 32 else ""
    print(
        f"{told['backbone']} as FCN-{told['variant']}, padding {told['padding']}{dilated}, "
        f"for {size} px"
    )
    if extended != size:
        print(f"the image is extended to {extended} px, what the strides divide")
    print()
    rows = list(_every_layer(told)) if everything else [_part(part) for part in told["parts"]]
    counted, before = "M mult-adds", f"at {native}" + (" before" if native == extended else "")
    columns = (
        "layer", "classifier", "kernel", "becomes", "parameters", before,
        f"at {extended}", "stride", "offset", "field", counted,
    )  # fmt: skip
    spare = (counted, before, "parameters", "kernel", "classifier")
    gone = print_table("The layers", columns, rows, texts=4, spare=spare)
    notes = ["offset and field in pixels"]
    if "kernel" not in gone:
        notes.insert(0, "kernel: s stride, p padding, d dilation, in cells")
    if counted not in gone:
        notes.append(f"multiply-adds at {extended}")
    print("; ".join(notes))
    _print_gone(gone)
    if any(place and place["sees_all"] for place in (part["place"] for part in told["parts"])):
        print("+ by way of squeeze-excite or a norm each cell sees the whole image as well\n")
    _print_changes("How the classifier became convolutional", told["surgery"])
    _print_changes("What the FCN changes besides", told["changes"])
    _print_skips(told)
    for up in told["upsamplings"]:
        _print_upsampling(up)
    _print_totals(told, native, extended)
    if told["experiment"]:
        _print_experiment(told["experiment"])


def _print_gone(gone: Sequence[str]) -> None:
    if gone:
        text = f"left out for want of room: {', '.join(gone)}; --html, --json or a wider terminal"
        print(textwrap.fill(f"{text} has {'them' if len(gone) > 1 else 'it'}", 78))


def _part(part: Told) -> Sequence[str]:
    name = part["name"] + (f"  (level {part['tap']})" if part["tap"] else "")
    return (
        name,
        part["what"],
        _window(part["window"]),
        part["becomes"] or "same",
        _kept(part["parameters_before"], part["parameters_after"]),
        _by(part["native_shape"]),
        _by(part["shape"]),
        *_place(part["place"]),
        _millions(part["multiply_adds"]),
    )


def _every_layer(told: Told) -> Iterable[Sequence[str]]:
    for layer in told["layers"]:
        before, after = layer["before"], layer["after"]
        name = layer["name"] + (f"  (level {layer['tap']})" if layer["tap"] else "")
        changed = before["what"] != (after or {}).get("what")
        yield (
            name,
            before["what"],
            _window(before["window"]),
            f"{after['what']} {_window(after['window'])}".strip()
            if after and (changed or before["window"] != after["window"])
            else "same"
            if after
            else "dropped",
            _kept(before["parameters"], after["parameters"] if after else 0),
            _by(before["shape"]),
            _by(after["shape"] if after else None),
            *_place(after["place"] if after else None),
            _millions(after["multiply_adds"] if after else 0),
        )


def _window(window: Told | None) -> str:
    if window is None:
        return ""
    words = [_by(window["kernel"])]
    words += [f"s{_once(window['step'])}"] if max(window["step"]) > 1 else []
    words += [f"p{_once(window['padding'])}"] if max(window["padding"]) else []
    words += ["p SAME"] if window["pads_itself"] else []
    words += [f"d{_once(window['dilation'])}"] if max(window["dilation"]) > 1 else []
    return " ".join(words)


def _place(place: Told | None) -> tuple[str, str, str]:
    if place is None:
        return "", "", ""
    seen = _once(place["field"]) + ("+" if place["sees_all"] else "")
    return _once(place["stride"]), _once(place["offset"]), seen


def _print_changes(title: str, changes: Sequence[Told]) -> None:
    print(title)
    for change in changes:
        print(f"  {_names(change['names'])}: {change['before']} -> {change['after']}")
        print(textwrap.fill(change["why"], 96, initial_indent="    ", subsequent_indent="    "))
    print()


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < 6 else f"{names[0]} to {names[-1]} ({len(names)})"


def _print_skips(told: Told) -> None:
    rows = [
        (
            f"{skip['stride']}",
            skip["node"],
            f"{skip['channels']}",
            _by(skip["place"]["size"]),
            *_place(skip["place"]),
            f"{skip['scale']:g}",
            f"{skip['score_parameters']:,}",
        )
        for skip in told["skips"]
    ]
    columns = ("level", "leaves from", "channels", "cells", "stride", "offset", "field", "scale",
               "score parameters")  # fmt: skip
    spare = ("score parameters", "channels", "scale")
    gone = print_table("What is scored", columns, rows, texts=2, spare=spare)
    print("level: the stride of the map in the classifier; dilation leaves its own stride finer")
    _print_gone(gone)
    print()


def _print_upsampling(up: Told) -> None:
    print(up["title"])
    for step in up["steps"]:
        print(f"  {step['name']:<9}{step['formula']}")
        print(textwrap.fill(step["why"], 96, initial_indent=" " * 11, subsequent_indent=" " * 11))
    print()


def _print_totals(told: Told, native: str, extended: str) -> None:
    totals = told["totals"]
    kept, head = totals["multiply_adds_backbone"], totals["multiply_adds_head"]
    new = totals["score"] + totals["upsampling"]
    rows = [
        ("the classifier", totals["classifier"], totals["multiply_adds_native"], native),
        ("made convolutional", totals["converted"], None, ""),
        ("what the FCN keeps of it", totals["backbone"], kept, extended),
        (f"the head for {told['num_classes']} classes", new, head, extended),
        ("the FCN", totals["fcn"], kept + head, extended),
    ]
    print_table(
        "Totals",
        ("network", "parameters", "M multiply-adds", "at px"),
        [(n, f"{p:,}", "" if m is None else _millions(m), at) for n, p, m, at in rows],
    )
    print(
        "Multiply-adds: convolutions, transposed convolutions, linear layers and matrix products\n"
        "for one image; biases, norms, activations, pools and sums are not counted."
    )


def _print_experiment(found: Told) -> None:
    rows, columns = len(found["crops"]), len(found["crops"][0])
    count = rows * columns
    print(
        f"\n{found['photograph']}: {rows}x{columns} crops of {found['window']} px, "
        f"{found['stride']} px apart"
    )
    one = found["seconds_dense"]
    times = [
        ("the classifier, crop by crop", found["seconds_crops"]),
        (f"the classifier, {found['batch']} crops at a time", found["seconds_batches"]),
        ("one pass of the convolutional net", one),
    ]
    print_table("", ("", "seconds", "times one pass"), [
        (name, f"{seconds:.3f}", f"{seconds / one:.1f}") for name, seconds in times
    ])  # fmt: skip
    same = sum(map(sum, found["same_class"]))
    print(
        f"largest difference of a score, of the largest score:\n"
        f"  at the classifier's own size {found['native_difference']:.1e}, "
        f"on the grid {found['score_difference']:.2g}\n"
        f"both name the same class in {same} of {count} windows; the class of most probability is "
        f"{found['class']}"
    )


def _kept(before: int, after: int) -> str:
    if before == after:
        return f"{before:,}" if before else ""
    return f"{before:,} -> {after:,}"


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count else ""


def _by(sizes: Sequence[int] | None) -> str:
    return "x".join(map(str, sizes or ()))


def _once(pair: Sequence[float]) -> str:
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g}x{pair[1]:g}"
