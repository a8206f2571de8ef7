"""How ``torch.fx`` records a network: what stays whole, and which way a branch goes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn


def record(net: nn.Module, input_size: tuple[int, int] | None = None) -> fx.GraphModule:
    """Record the graph of a network.

    Args:
        net: any module that takes one image batch.
        input_size: (height, width) in pixels at which a branch that asks for the shape of a
            tensor, such as ``if x.shape[-1] < 7``, is decided; None leaves it an error.

    Returns:
        A graph module with the layers of ``net`` themselves.

    Raises:
        Untraceable: the code of ``net``, or ``torch.fx``, raises the error that is its cause.
    """
    ways: list[bool] = []
    while True:
        tracer = _Tracer(ways)
        try:
            graph = tracer.trace(net)
        except _Branch as branch:
            way = None if input_size is None else _on_shapes(net, branch.node, input_size)
            if way is None:
                error = branch.error.with_traceback(branch.__traceback__)
                raise Untraceable from error
            ways.append(way)
        # Somebody's own code may raise anything when it is given no numbers.
        except Exception as error:
            raise Untraceable from error
        else:
            traced = fx.GraphModule(net, graph, type(net).__name__)
            traced.graph.eliminate_dead_code()
            traced.recompile()
            return traced


class Untraceable(Exception):
    """A network cannot be recorded; the cause says why."""


class _Branch(Exception):
    """A branch that is not decided yet: the node it asks, and what ``torch.fx`` says of it."""

    def __init__(self, node: fx.Node, error: Exception) -> None:
        super().__init__(str(error))
        self.node, self.error = node, error


class _Tracer(fx.Tracer):
    """Leaves whole what subclasses a layer of torch.nn: padding as TensorFlow does it, say."""

    _WHOLE = (nn.Conv2d, nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm,
              nn.MaxPool2d, nn.AvgPool2d, nn.Linear)  # fmt: skip
    # Random while training, nothing in evaluation: tracing into them would lose the former.
    _STOCHASTIC = ("StochasticDepth", "DropPath", "DropBlock2d")

    def __init__(self, ways: list[bool]) -> None:
        super().__init__()
        self.ways = iter(ways)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether the module is one node of the graph."""
        whole = isinstance(m, self._WHOLE) or type(m).__name__ in self._STOCHASTIC
        return whole or super().is_leaf_module(m, module_qualified_name)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """The way that a branch goes, as far as it is decided."""
        way = next(self.ways, None)
        if way is None:
            try:
                return super().to_bool(obj)
            except fx.proxy.TraceError as error:
                raise _Branch(obj.node, error) from None
        return way


def _on_shapes(net: nn.Module, wanted: fx.Node, size: tuple[int, int]) -> bool | None:
    """Which way a branch goes for one image of ``size``; None where shapes alone do not tell."""
    graph, copied = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in wanted.graph.nodes:
        copied[node] = graph.node_copy(node, lambda n: copied[n])
        if node is wanted:
            break
    graph.output(copied[wanted])
    so_far = fx.GraphModule(net, graph)
    try:
        way: Any = run_on_shapes(so_far, (1, first_channels(so_far), *size))
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return None
    return way if isinstance(way, bool) else None


def on_meta(net: nn.Module) -> tuple[dict[str, Tensor], torch.dtype]:
    """The state of a network as shapes alone, by name, and the type that its images have."""
    tensors = [*net.named_parameters(), *net.named_buffers()]
    dtype = next((t.dtype for _, t in tensors if t.is_floating_point()), torch.float32)
    return {name: tensor.to("meta") for name, tensor in tensors}, dtype


def run_on_shapes(net: nn.Module, shape: Sequence[int]) -> Any:
    """What a network gives for an image of a shape (N, C, H, W), as shapes alone.

    Raises whatever the network raises where it does not take the shape.
    """
    state, dtype = on_meta(net)
    image = torch.empty(tuple(shape), device="meta", dtype=dtype)
    return torch.func.functional_call(net, state, image)


def first_channels(net: fx.GraphModule) -> int:
    """Channels of the image that a network takes: those of its first convolution."""
    for node in net.graph.nodes:
        layer = net.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels
    return 3
