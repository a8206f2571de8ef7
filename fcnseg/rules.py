"""How each tensor operation moves the geometry of a feature map.

Networks have hundreds of layer classes, but they all come down to a few dozen tensor operations.
Those that treat each element by itself (PyTorch tags them) keep the geometry; every other
operation that a map may go through has its rule here. A rule gets the :class:`Place` of its
first argument, the output and the arguments, and returns the place of the output, or
:data:`EVERYWHERE` where no position is left. An operation without a rule is an error: a wrong
stride or offset that nobody notices is worse.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fcnseg.geometry import Axis, Geometry


@dataclass(frozen=True)
class Place:
    """Geometry of a tensor, and which of its axes are rows and columns, counted from the end."""

    geometry: Geometry
    axes: tuple[int, int] = (-2, -1)


class Everywhere:
    """A tensor that depends on the image but has no position in it."""


EVERYWHERE = Everywhere()
Mark = Place | Everywhere
Rule = Callable[..., Mark]

# Treat each element by itself, though PyTorch does not tag them so.
POINTWISE = {
    "clone", "detach", "alias", "_to_copy", "contiguous", "lift_fresh", "dropout",
    "hardswish", "hardsigmoid", "leaky_relu", "elu", "mish", "rrelu_with_noise",
    "_prelu_kernel", "log_sigmoid_forward", "masked_fill", "copy",
    "as_strided_",  # in place it is the memory format of a pooled channels-last map
}  # fmt: skip

# Take only shape and type from their argument: what they give does not depend on the image.
FACTORIES = {
    f"{verb}_{what}" if verb == "new" else f"{what}_{verb}"
    for verb in ("new", "like")
    for what in ("empty", "zeros", "ones", "full", "rand", "randn")
} | {"new_empty_strided"}  # fmt: skip


def is_pointwise(func: Any) -> bool:
    """Whether the operation treats each element by itself."""
    name = func.overloadpacket.__name__
    return torch.Tag.pointwise in func.tags or bool({name, name.rstrip("_")} & POINTWISE)


def joined(parts: Iterable[tuple[Tensor, Mark]], out: Tensor, where: str) -> Mark:
    """The mark of a sum, product or concatenation of tensors that depend on the image."""
    places: list[Place] = []
    sees_all = False
    for tensor, mark in parts:
        # A map of one row or column that is spread over a larger one tells each cell the same.
        if isinstance(mark, Place) and all(tensor.shape[a] == out.shape[a] for a in mark.axes):
            places.append(mark)
        else:
            sees_all = True
    if not places:
        return EVERYWHERE
    geometry = places[0].geometry
    for place in places[1:]:
        geometry = geometry.merge(place.geometry, where)
    return Place(replace(geometry, sees_all=geometry.sees_all or sees_all), places[0].axes)


def _pair(values: Any) -> tuple[int, int]:
    values = [values] if isinstance(values, int) else list(values)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])


def _moved(place: Place, out: Tensor, windows: Sequence[tuple[float, float, float]]) -> Mark:
    """The place after a window of (step, before, after) cells along each of the two axes."""
    if place.axes != (-2, -1):
        return EVERYWHERE  # a window over channels and columns, say: no position to speak of
    axes = (place.geometry.y, place.geometry.x)
    moved = [
        axis.window(size, *window)
        for axis, size, window in zip(axes, out.shape[-2:], windows, strict=True)
    ]
    return Place(Geometry(moved[0], moved[1], place.geometry.sees_all))


def _window(kernel: int, stride: int, padding: int, dilation: int = 1) -> tuple[int, int, int]:
    return stride, -padding, -padding + (kernel - 1) * dilation


def _convolution(
    place: Place, out: Tensor, x: Tensor, weight: Tensor, bias: Any,
    stride: Any, padding: Any, dilation: Any, transposed: bool, *_: Any,
) -> Mark:  # fmt: skip
    windows: list[tuple[float, float, float]] = []
    for k, s, p, d in zip(
        weight.shape[-2:], _pair(stride), _pair(padding), _pair(dilation), strict=True
    ):
        step, before, after = _window(k, s, p, d)
        # A transposed convolution reads where the convolution would write.
        windows.append((1 / s, -after / s, -before / s) if transposed else (step, before, after))
    return _moved(place, out, windows)


def _pool(
    place: Place,
    out: Tensor,
    x: Tensor,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    *rest: Any,
) -> Mark:
    stride = stride or kernel
    windows = [
        _window(k, s, p)
        for k, s, p in zip(_pair(kernel), _pair(stride), _pair(padding), strict=True)
    ]
    return _moved(place, out, windows)


def _max_pool(
    place: Place, out: Tensor, x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0,
    dilation: Any = 1, ceil_mode: bool = False,
) -> Mark:  # fmt: skip
    kernel = [(k - 1) * d + 1 for k, d in zip(_pair(kernel), _pair(dilation), strict=True)]
    return _pool(place, out, x, kernel, stride or kernel, padding)


def _pad(place: Place, out: Tensor, x: Tensor, pad: Sequence[int], *_: Any) -> Mark:
    # Pairs from the last axis backwards: left, right, top, bottom.
    before = {-1 - i: pad[2 * i] for i in range(len(pad) // 2)}
    y, x_ = (
        axis.window(out.shape[a], 1, -before.get(a, 0), -before.get(a, 0))
        for a, axis in zip(place.axes, (place.geometry.y, place.geometry.x), strict=True)
    )
    return Place(Geometry(y, x_, place.geometry.sees_all), place.axes)


def _slice(
    place: Place, out: Tensor, x: Tensor, dim: int = 0, start: int | None = None,
    end: int | None = None, step: int = 1,
) -> Mark:  # fmt: skip
    dim = dim if dim < 0 else dim - x.dim()
    if dim not in place.axes:
        return place
    start = start or 0
    start = start if start >= 0 else start + x.shape[dim]
    moved: list[Axis] = [
        axis.window(out.shape[a], step, start, start) if a == dim else axis
        for a, axis in zip(place.axes, (place.geometry.y, place.geometry.x), strict=True)
    ]
    return Place(Geometry(moved[0], moved[1], place.geometry.sees_all), place.axes)


def _permute(place: Place, out: Tensor, x: Tensor, dims: Sequence[int]) -> Mark:
    order = [d if d < 0 else d - x.dim() for d in dims]
    y, x_ = (order.index(a) - x.dim() for a in place.axes)
    return replace(place, axes=(y, x_))


def _transpose(place: Place, out: Tensor, x: Tensor, dim0: int, dim1: int) -> Mark:
    order = list(range(x.dim()))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _permute(place, out, x, order)


def _reshape(place: Place, out: Tensor, x: Tensor, *_: Any) -> Mark:
    """An axis survives where an output axis has its length and as many elements before it."""
    found = []
    for a in place.axes:
        before, size = x.shape[: a + x.dim()].numel(), x.shape[a]
        fits = [
            b - out.dim()
            for b in range(out.dim())
            if out.shape[b] == size and out.shape[:b].numel() == before
        ]
        # Axes of length one can be taken for each other: keep to the one counted alike.
        found.append(a if a in fits else fits[0] if fits else None)
    y, x_ = found
    if y is None or x_ is None or y == x_:
        return EVERYWHERE
    return replace(place, axes=(y, x_))


def _reduction(place: Place, out: Tensor, x: Tensor, dim: Any = None, *args: Any, **_: Any) -> Mark:
    if dim is None or isinstance(dim, bool):
        return EVERYWHERE
    dims = [dim] if isinstance(dim, int) else list(dim)
    gone = {d if d < 0 else d - x.dim() for d in dims} or set(range(-x.dim(), 0))
    if gone & set(place.axes):
        return EVERYWHERE
    if out.dim() == x.dim():
        return place
    y, x_ = (a + sum(d > a for d in gone) for a in place.axes)
    return replace(place, axes=(y, x_))


def _softmax(place: Place, out: Tensor, x: Tensor, dim: int, *_: Any) -> Mark:
    if (dim if dim < 0 else dim - x.dim()) in place.axes:
        return _sees_all(place, out)
    return place


def _layer_norm(place: Place, out: Tensor, x: Tensor, shape: Sequence[int], *_: Any) -> Mark:
    if any(a >= -len(shape) for a in place.axes):
        return _sees_all(place, out)
    return place


def _linear(place: Place, out: Tensor, x: Tensor, *_: Any) -> Mark:
    return EVERYWHERE if -1 in place.axes else place


def _nearest(place: Place, out: Tensor, x: Tensor, *_: Any) -> Mark:
    windows = []
    for cells, size in zip(x.shape[-2:], out.shape[-2:], strict=True):
        step = cells / size
        windows.append((step, step - 1, 0.0))
    return _moved(place, out, windows)


def _bilinear(place: Place, out: Tensor, x: Tensor, size: Any, align: bool, *_: Any) -> Mark:
    windows = []
    for cells, n in zip(x.shape[-2:], out.shape[-2:], strict=True):
        step = (cells - 1) / max(n - 1, 1) if align else cells / n
        centre = 0.0 if align else (step - 1) / 2
        windows.append((step, centre - 1, centre + 1))
    return _moved(place, out, windows)


def _same(place: Place, *_: Any, **__: Any) -> Mark:
    return place


def _sees_all(place: Place, *_: Any, **__: Any) -> Mark:
    return replace(place, geometry=replace(place.geometry, sees_all=True))


def _nowhere(*_: Any, **__: Any) -> Mark:
    return EVERYWHERE


# An adaptive pool has no stride: its windows depend on the size of the image.
RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _pool,
    "_adaptive_avg_pool2d": _nowhere,
    "adaptive_max_pool2d": _nowhere,
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "slice": _slice,
    "permute": _permute,
    "transpose": _transpose,
    "view": _reshape,
    "_unsafe_view": _reshape,
    "_reshape_alias": _reshape,
    "reshape": _reshape,
    "unsqueeze": _reshape,
    "squeeze": _reshape,
    "split": _same,
    "split_with_sizes": _same,
    "unbind": _nowhere,
    "expand": _same,
    "mean": _reduction,
    "sum": _reduction,
    "amax": _reduction,
    "amin": _reduction,
    "max": _reduction,
    "var_mean": _reduction,
    "var": _reduction,
    "linalg_vector_norm": _nowhere,
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "native_batch_norm": _same,
    "_native_batch_norm_legit_no_training": _same,
    "native_layer_norm": _layer_norm,
    "native_group_norm": _sees_all,
    "linear": _linear,
    "addmm": _nowhere,
    "mm": _nowhere,
    "bmm": _nowhere,
    "upsample_nearest2d": _nearest,
    "upsample_bilinear2d": _bilinear,
}
