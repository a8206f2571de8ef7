"""A network's own graph, and the geometry of every map in it.

:func:`trace` records the graph with ``torch.fx``. :func:`trace_features` runs it once on shapes
alone (PyTorch's ``meta`` device, no arithmetic) and moves the geometry through every tensor
operation that this sets off. Nothing here knows a network by name.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fcnseg import tracer
from fcnseg.errors import UsageError
from fcnseg.geometry import Axis, Geometry
from fcnseg.rules import EVERYWHERE, FACTORIES, RULES, Mark, Place, is_pointwise, joined
from fcnseg.tracer import Untraceable, first_channels, on_meta, record


@dataclass(frozen=True)
class Feature:
    """What is known of one node of a traced network.

    Attributes:
        shape: shape of the tensor for one image, batch axis first.
        geometry: None where no position is left (after a global pool or a flatten).
        channels_first: the map is laid out (N, C, H, W).
        ops: the tensor operations in the node that do more than treat each element by itself,
            by name, for example ``("mean",)``. A node without any means the same for a vector
            (N, C) as for a map (N, C, H, W).
    """

    shape: tuple[int, ...]
    geometry: Geometry | None
    channels_first: bool
    ops: tuple[str, ...]


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a while; every layer gets its own mode back."""
    training = {module for module in net.modules() if module.training}
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def trace(net: nn.Module, input_size: tuple[int, int] | None = None) -> fx.GraphModule:
    """Record the graph of a network as it computes in evaluation mode.

    The graph module holds the layers of ``net`` themselves (no copies) under their own names, so
    that its state dict has the same keys.

    Args:
        net: any module that takes one image batch; a graph module is returned as it is.
        input_size: (height, width) in pixels of the images it was made for. Where its code
            branches on the shape of a tensor, the way it takes at this size is recorded.

    Raises:
        UsageError: the network cannot be traced; the message names the line of its code.
    """
    if isinstance(net, fx.GraphModule):
        return net
    try:
        with evaluating(net):
            traced = record(net, input_size)
    except Untraceable as error:
        cause = error.__cause__
        assert cause is not None
        raise UsageError(f"{type(net).__name__} cannot be traced {_culprit(cause)}") from cause
    traced.training = net.training
    _restore_dropout(traced)
    return traced


def _culprit(error: BaseException) -> str:
    """The line of the user's model at which tracing failed, and why."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "/torch/" not in frame.filename.replace("\\", "/")
        and frame.filename not in (__file__, tracer.__file__)
    ]
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if not own:
        return f"by torch.fx: {reason}"
    last = own[-1]
    return f"at {last.filename}:{last.lineno} `{last.line}`: {reason}"


_DROPOUTS = {
    nn.functional.dropout: nn.Dropout,
    nn.functional.dropout2d: nn.Dropout2d,
    nn.functional.alpha_dropout: nn.AlphaDropout,
    nn.functional.feature_alpha_dropout: nn.FeatureAlphaDropout,
}


def _restore_dropout(traced: fx.GraphModule) -> None:
    """Replace dropout calls, which tracing has switched off for good, by layers."""
    graph = traced.graph
    for i, node in enumerate(list(graph.nodes)):
        if node.target not in _DROPOUTS:
            continue
        p = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
        name, kind = f"dropout_{i}", _DROPOUTS[node.target]
        traced.add_submodule(name, kind(p).train(traced.training))
        with graph.inserting_after(node):
            layer = graph.call_module(name, (node.args[0] if node.args else node.kwargs["input"],))
        node.replace_all_uses_with(layer)
        graph.erase_node(node)
    traced.recompile()


def trace_features(
    net: fx.GraphModule, input_size: tuple[int, int], channels: int | None = None
) -> dict[str, Feature]:
    """Shape and geometry of every tensor in a traced network for one image size.

    Args:
        net: the graph of a network, from :func:`trace`.
        input_size: (height, width) of the image in pixels.
        channels: channels of the image; None for those of the first convolution.

    Returns:
        Node name -> :class:`Feature`, in the order of computation.

    Raises:
        UsageError: the image is too small for the network, or an operation moves cells in a way
            that has no stride and offset.
    """
    height, width = input_size
    recorder = _Recorder(net)
    state, dtype = on_meta(net)
    # Under inference mode compound operations (a linear layer) arrive whole.
    try:
        with evaluating(net), torch.inference_mode(), torch.device("meta"):
            depth = channels or first_channels(net)
            image = torch.empty(1, depth, height, width, dtype=dtype)
            start = Geometry(Axis(height, 1, 0, 0), Axis(width, 1, 0, 0))
            recorder.follow.mark(image, Place(start))
            recorded = {f"net.{name}": tensor for name, tensor in state.items()}
            torch.func.functional_call(recorder, recorded, image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(
            f"the network cannot take an image of {height}x{width} px: {reason}"
        ) from error
    return recorder.features


class _Recorder(nn.Module):
    """Runs a graph node by node and keeps what :class:`_Follow` saw of each."""

    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__()
        self.net = net
        self.follow = _Follow()
        self.features: dict[str, Feature] = {}

    def forward(self, image: Tensor) -> None:
        with self.follow:
            _Run(self.net, self.follow, self.features).run(image)


class _Run(fx.Interpreter):
    def __init__(
        self, net: fx.GraphModule, follow: "_Follow", features: dict[str, Feature]
    ) -> None:
        super().__init__(net, garbage_collect_values=False)
        self.extra_traceback = False  # our errors are one line
        self.follow, self.features = follow, features

    def run_node(self, n: fx.Node) -> Any:
        follow = self.follow
        follow.where, follow.ops = n.name, []
        out = super().run_node(n)
        if isinstance(out, Tensor) and n.op != "output":
            mark = follow.marks.get(id(out))
            place = mark if isinstance(mark, Place) else None
            self.features[n.name] = Feature(
                shape=tuple(out.shape),
                geometry=place.geometry if place else None,
                channels_first=place is not None and place.axes == (-2, -1),
                ops=tuple(follow.ops),
            )
        return out


class _Follow(TorchDispatchMode):
    """Moves the marks of tensors through every operation; tensors without one are weights."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[int, Mark] = {}
        self.keep: list[Tensor] = []  # an id is unique only among living tensors
        self.where = "input"
        self.ops: list[str] = []

    def mark(self, tensor: Tensor, mark: Mark) -> None:
        self.marks[id(tensor)] = mark
        self.keep.append(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name not in RULES and not is_pointwise(func) and func._can_decompose():
            with self:
                return func.decompose(*args, **kwargs)
        inputs = [(t, self.marks[id(t)]) for t in _tensors(args) if id(t) in self.marks]
        out = func(*args, **kwargs)
        if inputs and name not in FACTORIES:
            if not is_pointwise(func):
                self.ops.append(name)
            outs = [t for t in _tensors([out]) if t.dim()]
            mark = self._moved(func, name, inputs, outs[0], args, kwargs) if outs else EVERYWHERE
            for tensor in outs:
                self.mark(tensor, mark)
        return out

    def _moved(
        self,
        func: Any,
        name: str,
        inputs: list[tuple[Tensor, Mark]],
        out: Tensor,
        args: Any,
        kwargs: Any,
    ) -> Mark:
        if is_pointwise(func) or name in ("cat", "stack"):
            return joined(inputs, out, self.where)
        place = inputs[0][1]
        if not isinstance(place, Place):
            return EVERYWHERE
        if name not in RULES:
            raise UsageError(
                f"{self.where}: no rule says how the operation {func} moves stride and offset; "
                "this network cannot be made fully convolutional"
            )
        mark = RULES[name](place, out, *args, **kwargs)
        if isinstance(mark, Place) and mark.geometry.size != tuple(out.shape[a] for a in mark.axes):
            raise UsageError(
                f"{self.where}: the operation {func} cuts or repeats the map in a way that has no "
                "stride and offset; this network cannot be made fully convolutional"
            )
        return mark


def _tensors(args: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for arg in args:
        if isinstance(arg, Tensor):
            found.append(arg)
        elif isinstance(arg, (tuple, list)):
            found.extend(_tensors(arg))
    return found
