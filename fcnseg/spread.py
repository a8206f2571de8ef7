"""One layer of a graph, its window spread out: what dilation does to each kind of layer."""

import copy
import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fcnseg.errors import UsageError
from fcnseg.tracer import run_on_shapes

Pair = tuple[int, int]


@dataclass(frozen=True)
class Move:
    """How the windows of a node shall move over a map that has become finer.

    Attributes:
        node: reads windows of the map.
        spread: cells from one cell that the node read to the next; its dilation.
        step: the stride that it shall have.
        left: (vertical, horizontal) cells before the map at which its first window begins, in
            the network as it was.
    """

    node: fx.Node
    spread: int
    step: int
    left: Pair


def spread_out(net: fx.GraphModule, own: fx.GraphModule, move: Move) -> None:
    """Give the layer or the function of a node its new stride, dilation and padding.

    The node keeps its name, and a convolution its numbers.

    Args:
        net: holds the node. Layers are replaced, never changed: ``own`` has them too.
        own: the network as it was.
        move: what to do.

    Raises:
        UsageError: no rule says how to dilate a layer of this kind; the message names it.
    """
    node, spread = move.node, move.spread
    layer = own.get_submodule(str(node.target)) if node.op == "call_module" else _called(node)
    given = _named(node, ("input", "weight", "bias", "stride", "padding", "dilation", "groups"))
    if isinstance(layer, nn.Conv2d):
        _convolution(net, move, layer)
    elif isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)):
        _pool(net, move, layer)
    elif isinstance(layer, (nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)):
        _replace(net, node, type(layer)(*_pad_arguments(layer, spread)))
    elif node.target is F.pad:
        given = _named(node, ("input", "pad", "mode", "value"))
        pad = given.pop("pad")
        cells = [spread * p for p in pad[:4]]  # pairs from the last axis backwards
        node.args, node.kwargs = (given.pop("input"), [*cells, *pad[4:]]), given
    elif node.target in (F.conv2d, torch.conv2d) and given.get("padding") != "same":
        padding = given.get("padding", 0)
        given["padding"] = _times((0, 0) if padding == "valid" else _pair(padding), spread)
        given["dilation"] = _times(_pair(given.get("dilation", 1)), spread)
        node.args, node.kwargs = (), {**given, "stride": move.step}
    elif node.target is operator.getitem and isinstance(node.args[1], tuple):
        node.args = (node.args[0], _slices(node.args[1], move))
    else:
        raise UsageError(
            f"{node.name} ({layer or node.target}): no rule says how to dilate this layer; keep "
            "the stride of the network"
        )


class DilatedAvgPool(nn.Module):
    """An average pool over a spread-out window, (N, C, H, W) -> (N, C, h, w).

    PyTorch's average pool has no dilation of its own.

    Args:
        pool: the pool as it was.
        move: how its windows shall move.
        padding: cells added before and after, (top, left), (bottom, right). They count in a mean
            as zeros if they did in ``pool``.
        overhang: cells by which the last windows may reach further, as a pool that rounds up
            lets them; they do not count.
    """

    def __init__(
        self, pool: nn.AvgPool2d, move: Move, padding: tuple[Pair, Pair], overhang: Pair
    ) -> None:
        super().__init__()
        self.kernel_size = _pair(pool.kernel_size)
        self.stride, self.dilation = move.step, move.spread
        (top, left), (bottom, right) = padding
        self.padding, self.overhang = (left, right, top, bottom), (0, overhang[1], 0, overhang[0])
        self.counts_padding, self.divisor = pool.count_include_pad, pool.divisor_override

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """The mean of each window."""
        total = self._sums(F.pad(F.pad(map_NCHW, self.padding), self.overhang))
        if self.divisor is not None:
            return total / self.divisor
        counted = torch.ones_like(map_NCHW[:1, :1])
        counted = F.pad(counted, self.padding, value=float(self.counts_padding))
        return total / self._sums(F.pad(counted, self.overhang))

    def _sums(self, map_NCHW: Tensor) -> Tensor:
        channels = map_NCHW.shape[1]
        ones = map_NCHW.new_ones(channels, 1, *self.kernel_size)
        return F.conv2d(map_NCHW, ones, stride=self.stride, dilation=self.dilation, groups=channels)

    def extra_repr(self) -> str:
        """Kernel, stride, dilation and padding, for printing."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}, "
            f"padding={self.padding}"
        )


def _convolution(net: fx.GraphModule, move: Move, own: nn.Conv2d) -> None:
    layer, left = _sharing(own), _times(move.left, move.spread)
    net.set_submodule(str(move.node.target), layer)
    kernel, dilation = _pair(layer.kernel_size), _times(_pair(layer.dilation), move.spread)
    layer.stride, layer.dilation = (move.step, move.step), dilation
    if isinstance(layer.padding, str):
        # As much after the map as before it, and one cell more where "same" cannot be halved.
        same = layer.padding == "same"
        odd = [same and (k - 1) * d % 2 for k, d in zip(kernel, own.dilation, strict=True)]
        if any(odd):
            down, along = (side + move.spread * one for side, one in zip(left, odd, strict=True))
            more = [left[1], along, left[0], down]
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            _pad_before(net, move.node, more, {"mode": mode})
            left = (0, 0)
    elif not _pads_as_told(layer, left):
        _cut(net, move, kernel, dilation, left)
        return
    _tell(layer, left)


def _tell(layer: nn.Conv2d, padding: Pair) -> None:
    layer.padding = padding
    layer._reversed_padding_repeated_twice = [p for p in reversed(padding) for _ in range(2)]


def _cut(net: fx.GraphModule, move: Move, kernel: Pair, dilation: Pair, left: Pair) -> None:
    """Let a layer that pads as TensorFlow does it begin where it began.

    Without a stride it pads as much on both sides, which moves the first window. More is added at
    the end, and the windows that start too early are cut off.
    """
    node, every = move.node, slice(None)
    own = [((k - 1) * d) // 2 for k, d in zip(kernel, dilation, strict=True)]
    down, along = (o - wanted for o, wanted in zip(own, left, strict=True))
    if down < 0 or along < 0:
        raise UsageError(
            f"{node.name} ({net.get_submodule(str(node.target))}): pads more than its window "
            "reaches; no rule says how to dilate it"
        )
    if (down, along) != (0, 0):
        _pad_before(net, node, [0, along, 0, down], {})
        with net.graph.inserting_before(node):
            wide = net.graph.call_module(str(node.target), node.args, node.kwargs)
        node.op, node.target, node.kwargs = "call_function", operator.getitem, {}
        node.args = (wide, (every, every, slice(down, None), slice(along, None)))


def _pad_before(net: fx.GraphModule, node: fx.Node, pad: list[int], how: dict[str, Any]) -> None:
    with net.graph.inserting_before(node):
        padded = net.graph.call_function(F.pad, (node.args[0], pad), how)
    node.args = (padded, *node.args[1:])


def _replace(net: fx.GraphModule, node: fx.Node, layer: nn.Module) -> None:
    """Give a node a layer of its own; others may use the one that it had."""
    name = f"{node.name}_dilated"
    net.add_submodule(name, layer)
    source = node.args[0] if node.args else node.kwargs["input"]
    node.op, node.target, node.args, node.kwargs = "call_module", name, (source,), {}


def _sharing(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer of its own with the parameters of another."""
    twin = copy.copy(layer)
    for name, value in vars(layer).items():
        if isinstance(value, dict):  # of parameters, buffers and hooks
            vars(twin)[name] = value.copy()
    return twin


def _pads_as_told(layer: nn.Conv2d, padding: Pair) -> bool:
    """Whether a convolution pads what its attribute says; layers of other libraries may not."""
    told = _sharing(layer)
    _tell(told, padding)
    side = 1 + max((k - 1) * d for k, d in zip(layer.kernel_size, layer.dilation, strict=True))
    got = run_on_shapes(told, (1, layer.in_channels, side, side)).shape[2:]
    sizes = zip(layer.kernel_size, layer.dilation, padding, layer.stride, strict=True)
    return tuple(got) == tuple((side + 2 * p - (k - 1) * d - 1) // s + 1 for k, d, p, s in sizes)


def _pool(net: fx.GraphModule, move: Move, layer: nn.MaxPool2d | nn.AvgPool2d) -> None:
    kernel, left = _pair(layer.kernel_size), _times(move.left, move.spread)
    dilation = _times(_pair(getattr(layer, "dilation", 1)), move.spread)
    # Padded on both sides, or by a layer of another library as TensorFlow does it.
    right = left
    if type(layer) not in (nn.MaxPool2d, nn.AvgPool2d):
        down, along = ((k - 1) * d - p for k, d, p in zip(kernel, dilation, left, strict=True))
        right = max(down, 0), max(along, 0)
    # A window that rounds up begins inside the map, and reaches over its edge by less than its
    # stride.
    reach = [min(s, k) - 1 for s, k in zip(_pair(layer.stride), kernel, strict=True)]
    overhang = _times((reach[0], reach[1]), move.spread if layer.ceil_mode else 0)
    if isinstance(layer, nn.AvgPool2d):
        _replace(net, move.node, DilatedAvgPool(layer, move, (left, right), overhang))
        return
    # PyTorch's own padding may not exceed half a window, whatever its dilation.
    _replace(net, move.node, nn.MaxPool2d(kernel, move.step, 0, dilation))
    pad = [left[1], right[1] + overhang[1], left[0], right[0] + overhang[0]]
    if any(pad):
        _pad_before(net, move.node, pad, {"mode": "constant", "value": -torch.inf})


_FUNCTIONS: dict[Any, tuple[type[nn.Module], tuple[str, ...]]] = {
    F.max_pool2d: (
        nn.MaxPool2d,
        ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    ),
    F.avg_pool2d: (
        nn.AvgPool2d,
        ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
         "divisor_override"),
    ),
}  # fmt: skip
_FUNCTIONS[torch.max_pool2d] = _FUNCTIONS[F.max_pool2d]


def _called(node: fx.Node) -> nn.Module | None:
    """The layer that a call of a pooling function stands for."""
    if node.target not in _FUNCTIONS:
        return None
    kind, names = _FUNCTIONS[node.target]
    given = _named(node, names)
    return kind(**{k: v for k, v in given.items() if k not in ("input", "return_indices")})


def _slices(index: tuple[Any, ...], move: Move) -> tuple[Any, ...]:
    """The index of ``x[:, :, ::2, ::2]`` on the finer map; batch and channels stay."""
    parts = list(index)
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (5 - len(parts))
    return (*parts[:2], *(_slice(part, move) for part in parts[2:]))


def _slice(part: Any, move: Move) -> Any:
    if not isinstance(part, slice) or part == slice(None):
        return part
    start, stop = (None if end is None else end * move.spread for end in (part.start, part.stop))
    return slice(start, stop, part.step if part.step in (None, 1) else move.step)


def _pad_arguments(layer: Any, spread: int) -> tuple[Any, ...]:
    padding = tuple(spread * cells for cells in layer.padding)
    # ZeroPad2d is a ConstantPad2d that takes no value.
    valued = isinstance(layer, nn.ConstantPad2d) and not isinstance(layer, nn.ZeroPad2d)
    return (padding, layer.value) if valued else (padding,)


def _named(node: fx.Node, names: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of a call by name."""
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _times(pair: Pair, factor: int) -> Pair:
    return pair[0] * factor, pair[1] * factor
