"""The arithmetic of one upsampling, spelled out with its numbers."""

from collections.abc import Callable, Sequence

from fcnseg.explain.records import Step, Upsampling


def title_of(up: Upsampling) -> str:
    """From where to where an upsampling leads, and its ratio: levels and the maps' own strides."""
    coarse = [up.ratio * stride for stride in up.stride]
    to = "the image" if up.to == 1 else _map(up.to, up.stride)
    return f"From {_map(up.source, coarse)} to {to}: ratio {up.ratio}"


def _map(level: int, stride: Sequence[float]) -> str:
    once = f"{stride[0]:g}" if stride[0] == stride[1] else f"{stride[0]:g}x{stride[1]:g}"
    return f"level {level} (stride {once})"


def spell_out(up: Upsampling, image: tuple[int, int]) -> tuple[Step, ...]:
    """The steps from two offsets to the crop, in order.

    Args:
        up: the upsampling, in numbers.
        image: (height, width) of the photograph, before it was extended.
    """
    steps = [
        _step(
            "shift",
            _shift,
            up,
            "where the centre of the first coarse cell lies in the finer map, in its cells",
        ),
        _step("crop", _crop, up, _why_crop(up)),
        _step("kernel", _kernel, up, _why_kernel(up)),
    ]
    if any(sum(more) for more in up.extended):
        why = "cells that repeat the edge, so that every finer cell lies between two coarse ones"
        steps.append(_step("extended", _extended, up, why))
    steps.append(_step("size", _size, up, "of the bare transposed convolution, in finer cells"))
    steps.append(_step("cut", _cut, up, _why_cut(up, image)))
    return tuple(steps)


def _step(name: str, formula: Callable[[Upsampling, int], str], up: Upsampling, why: str) -> Step:
    vertical, horizontal = formula(up, 0), formula(up, 1)
    if vertical != horizontal:
        vertical = f"vertically {vertical}; horizontally {horizontal}"
    return Step(name, vertical, why)


def _shift(up: Upsampling, axis: int) -> str:
    coarse, fine, stride = up.offset_coarse[axis], up.offset_fine[axis], up.stride[axis]
    return f"({coarse:g} - {_signed(fine)}) / {stride:g} = {up.shift[axis]:g}"


def _crop(up: Upsampling, axis: int) -> str:
    return f"ceil({up.ratio} - {_signed(up.shift[axis])}) - 1 = {up.crop[axis]}"


def _kernel(up: Upsampling, axis: int) -> str:
    terms = f"{up.crop[axis]} + {_signed(up.shift[axis])} + {up.ratio}"
    return f"ceil({terms}) = {up.kernel[axis]}"


def _extended(up: Upsampling, axis: int) -> str:
    before, after = up.extended[axis]
    cells = up.coarse[axis]
    return f"{before} + {cells} + {after} = {before + cells + after}"


def _size(up: Upsampling, axis: int) -> str:
    cells = up.coarse[axis] + sum(up.extended[axis])
    return f"{up.ratio} * ({cells} - 1) + {up.kernel[axis]} = {up.up[axis]}"


def _cut(up: Upsampling, axis: int) -> str:
    start = up.start[axis]
    if up.cropped == "finer":
        return f"cells {start} to {start + up.up[axis] - 1} of the finer map's {up.fine[axis]}"
    before = up.extended[axis][0]
    moved = f"{up.crop[axis]} + {up.ratio} * {before} = {start}: " if before else ""
    return f"{moved}cells {start} to {start + up.fine[axis] - 1} of {up.up[axis]}"


def _why_crop(up: Upsampling) -> str:
    if min(up.crop) < 0:
        return (
            "negative: the transposed convolution begins inside the finer map, so the finer map is "
            "the one to crop"
        )
    return "cells of the transposed convolution that come before the first finer cell"


def _why_kernel(up: Upsampling) -> str:
    weights = "bilinear weights fall to zero one coarse cell away from its centre"
    if up.shift[0] == int(up.shift[0]):
        return f"{weights}; the centre lies on a finer cell: 2 * ratio - 1"
    return f"{weights}; the centre lies between two finer cells: 2 * ratio"


def _why_cut(up: Upsampling, image: tuple[int, int]) -> str:
    if up.to > 1:
        return "what both maps cover is added"
    if tuple(up.result) == tuple(image):
        return "the image"
    return f"the extended image; of it the {image[0]}x{image[1]} px of the photograph are kept"


def _signed(value: float) -> str:
    return f"({value:g})" if value < 0 else f"{value:g}"
