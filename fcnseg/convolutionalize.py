"""A classifier becomes fully convolutional: the same numbers, any image size, a map per class.

A classifier ends in a *tail* that forgets where things are: a pool or a flatten, then linear
layers. A linear layer over a flattened 7x7 map is a 7x7 convolution that happens to fit in one
place, and a linear layer over a vector is a 1x1 convolution (Long, Shelhamer and Darrell 2015,
section 3.1). Written as convolutions the tail slides over a map of any size, and every cell of
the result is the classifier applied to that cell's window.

The tail is found in the network's own graph, not by the names of layers: it is what comes after
the last map that still has a place in the image.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import fx, nn

from fcnseg.checks import check_choice
from fcnseg.errors import UsageError
from fcnseg.norms import ChannelNorm, batch_norm
from fcnseg.proof import Proof, check_larger, refusing
from fcnseg.trace import Feature, trace, trace_features
from fcnseg.window import WindowConv2d

Pool = Literal["none", "window"]


@dataclass(frozen=True)
class Rewrite:
    """One change that the surgery made: the node, what it was, what it is, and why."""

    node: str
    before: str
    after: str
    why: str


def convolutionalize(
    classifier: nn.Module, input_size: int | tuple[int, int] = 224, pool: Pool = "none"
) -> fx.GraphModule:
    """Rewrite a classifier as a fully convolutional network that holds the same numbers.

    >>> import torch, torchvision
    >>> net = convolutionalize(torchvision.models.alexnet())  # fc6 becomes a 6x6 convolution
    >>> net(torch.zeros(1, 3, 320, 480)).shape
    torch.Size([1, 1000, 4, 9])

    Args:
        classifier: (N, C, H, W) -> (N, K) scores; any CNN that ``torch.fx`` can trace. It is
            copied, never changed.
        input_size: the image size in pixels, a side or (height, width), that the classifier was
            trained at. It decides the kernel of the first linear layer and of the window pool.
        pool: what becomes of a global pool. ``"none"``: dropped, each cell is classified by
            itself; the mean over the map is the classifier's score where the tail after the pool
            is affine. ``"window"``: kept as a sliding window of the size it had in training; at
            ``input_size`` the one cell is exactly the classifier's score. A network without a
            global pool (VGG, AlexNet) is the same either way.

    Returns:
        A graph module, (N, C, H, W) -> (N, K, h, w), with as many parameters as the classifier
        and the same keys in its state dict. It pads nothing: an image smaller than the window of
        the classifier has no cell and is an error. ``net.meta["surgery"]`` lists what was
        rewritten as :class:`Rewrite` records.

    Raises:
        UsageError: the network cannot be traced, or its tail has a layer that has no counterpart
            among convolutions; the message names it. The rewritten tail is run once beside the
            classifier's own, and a difference is an error too.
    """
    check_choice("pool", pool, ("none", "window"))
    size = (input_size, input_size) if isinstance(input_size, int) else input_size
    with refusing(classifier):
        net = trace(copy.deepcopy(classifier), size)
        return rewrite_tail(net, trace_features(net, size), pool)


def rewrite_tail(
    net: fx.GraphModule, features: Mapping[str, Feature], pool: Pool = "none"
) -> fx.GraphModule:
    """The surgery of :func:`convolutionalize` on a traced classifier, in place.

    Args:
        net: from :func:`fcnseg.trace.trace`; its tail is rewritten.
        features: its :func:`~fcnseg.trace.trace_features` at the native size.
        pool: as in :func:`convolutionalize`.

    Returns:
        ``net``. The nodes before the tail keep their names.

    Raises:
        UsageError: as in :func:`convolutionalize`.
    """
    size = next(iter(features.values())).shape[2:]
    steps = [_Step.of(node, features) for node in tail(net, features)]
    proof = Proof(net, [step.node for step in steps], features)
    surgery = _Surgery(net, pool, f"{_by(size)} px")
    for step in steps:
        surgery.rewrite(step)
    net.graph.lint()
    net.recompile()
    proof.check(net)
    check_larger(net, size)
    net.delete_all_unused_submodules()
    net.meta["surgery"] = surgery.done
    return net


def tail(net: fx.GraphModule, features: Mapping[str, Feature]) -> list[fx.Node]:
    """The nodes of a classifier after the last map that has a place in the image, in order.

    Squeeze-excite pools too, but its result joins a map again: what matters is whether any map
    comes *after* a node.
    """
    mapped: dict[fx.Node, bool] = {}  # is this node, or one that follows from it, a map?
    for node in reversed(net.graph.nodes):
        feature = features.get(node.name)
        is_map = feature is not None and feature.geometry is not None
        if is_map and node.all_input_nodes and node.all_input_nodes[0].name in features:
            is_map = not _covers(net, node, features[node.all_input_nodes[0].name].shape[2:])
        mapped[node] = is_map or any(mapped[user] for user in node.users)
    found = [node for node in net.graph.nodes if not mapped[node] and node.name in features]
    from_image: set[fx.Node] = {n for n in net.graph.nodes if n.op == "placeholder"}
    for node in net.graph.nodes:
        if any(source in from_image for source in node.all_input_nodes):
            from_image.add(node)
    if any(mapped[node] for node in net.graph.nodes if node.op == "output") or not found:
        raise UsageError(
            "the network ends in a map, not in class scores: expected a classifier that gives "
            "(N, K); a fully convolutional network needs no rewriting"
        )
    return [node for node in found if node in from_image]


def _covers(net: fx.GraphModule, node: fx.Node, cells: tuple[int, ...]) -> bool:
    """Whether the node is a plain pool whose one window is exactly the whole map of ``cells``."""
    names = ("kernel_size", "stride", "padding")
    if node.op == "call_module":
        layer = net.get_submodule(str(node.target))
        if not isinstance(layer, (nn.AvgPool2d, nn.MaxPool2d)):
            return False
        given = {name: getattr(layer, name) for name in names}
        given["divisor_override"] = getattr(layer, "divisor_override", None)
    elif node.target in (nn.functional.avg_pool2d, nn.functional.max_pool2d):
        given = dict(zip(names, node.args[1:4], strict=False)) | dict(node.kwargs)
    else:
        return False
    kernel, padding = given.get("kernel_size"), given.get("padding", 0)
    exact = kernel in (cells, list(cells)) or (kernel,) * 2 == cells
    return exact and padding in (0, (0, 0)) and given.get("divisor_override") is None


_AVERAGES = {"mean", "_adaptive_avg_pool2d", "avg_pool2d"}
_MAXIMA = {"amax", "adaptive_max_pool2d", "max_pool2d_with_indices"}
_WINDOWED = {"avg_pool2d", "max_pool2d_with_indices"}
_SHAPES = {"view", "_unsafe_view", "_reshape_alias", "reshape", "squeeze"}
_SOFTMAX = {"_softmax", "_log_softmax"}


@dataclass(frozen=True)
class _Step:
    """A node of the tail as it was in the classifier, before anything is rewritten."""

    node: fx.Node
    source: fx.Node
    before: tuple[int, ...]
    after: tuple[int, ...]
    feature: Feature

    @staticmethod
    def of(node: fx.Node, features: Mapping[str, Feature]) -> "_Step":
        inputs = [n for n in node.all_input_nodes if n.op != "get_attr"]
        source, feature = inputs[0], features[node.name]
        for own in node.all_input_nodes:
            if own.op == "get_attr" and math.prod(features[own.name].shape) > 1:
                raise UsageError(
                    f"{node.name}: the tail of the classifier computes with a tensor of the model "
                    f"({own.target}); expected layers, whose meaning for maps is known"
                )
        if source.name not in features:
            raise UsageError(
                f"{node.name}: the tail of the classifier takes parts of {source.name}, which is "
                "not one tensor; it cannot be written as convolutions"
            )
        if features[source.name].geometry and not features[source.name].channels_first:
            raise UsageError(
                f"{node.name}: expected a map laid out (N, C, H, W) before the tail of the "
                f"classifier, got {features[source.name].shape} with the channels elsewhere"
            )
        return _Step(node, source, features[source.name].shape, feature.shape, feature)


class _Surgery:
    """Rewrites the tail node by node; every tensor in it stays a map (N, C, h, w)."""

    def __init__(self, net: fx.GraphModule, pool: Pool, size: str) -> None:
        self.net, self.pool, self.size = net, pool, size
        # The rows and columns that a flatten laid into each vector of the classifier.
        self.folded: dict[fx.Node, tuple[int, int]] = {}
        self.done: list[Rewrite] = []

    def rewrite(self, step: _Step) -> None:
        """Replace one node of the tail by its counterpart on maps."""
        ops, node = set(step.feature.ops), step.node
        layer = self.net.get_submodule(str(node.target)) if node.op == "call_module" else None
        before, after = step.before, step.after
        maps = len(before) == len(after) == 4 and before[2:] == after[2:]
        windowed = bool(ops & _WINDOWED) and not _covers(self.net, node, before[2:])
        pooled = len(before) == 4 and after[:2] == before[:2] and len(after) != 3
        if not ops:
            self._keep(step)
        elif ops == {"cat"}:
            self._join(step)
        elif ops <= _SHAPES:
            self._fold(step)
        elif len(ops) == 1 and ops <= _AVERAGES | _MAXIMA and pooled and not windowed:
            self._pool(step, average=ops <= _AVERAGES)
        elif maps and "native_group_norm" not in ops and not ops & _SOFTMAX:
            self._keep(step)
        elif isinstance(layer, nn.Linear):
            self._linear(step, layer)
        elif isinstance(layer, nn.BatchNorm1d):
            self._swap(step, layer, batch_norm(layer), "the same numbers for each cell")
        elif isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
            self._swap(step, layer, ChannelNorm(layer), "over the channels of each cell")
        elif isinstance(layer, (nn.Softmax, nn.LogSoftmax)) and len(before) == 2:
            self._swap(step, layer, type(layer)(dim=1), "over the classes of each cell")
        else:
            raise UsageError(
                f"{node.name} ({layer or node.target}): the tail of the classifier has a layer "
                "that cannot be written as a convolution; expected pools, flatten, linear layers, "
                "norms and pointwise functions"
            )

    def _keep(self, step: _Step) -> None:
        if step.source in self.folded:
            self.folded[step.node] = self.folded[step.source]

    def _join(self, step: _Step) -> None:
        """Concatenate along the channels; the parts must have been folded alike."""
        parts, rank = step.node.all_input_nodes, len(step.before)
        dim = step.node.args[1] if len(step.node.args) > 1 else step.node.kwargs.get("dim", 0)
        if dim not in (1, 1 - rank) or len({self.folded.get(part, (1, 1)) for part in parts}) > 1:
            raise UsageError(
                f"{step.node.name}: the tail concatenates along axis {dim} of {_by(step.before)}; "
                "expected the channels of maps of one size"
            )
        step.node.args, step.node.kwargs = (step.node.args[0],), {"dim": 1}
        self._keep(step)

    def _pool(self, step: _Step, average: bool) -> None:
        cells, left = step.before[2:], step.after[2:]
        if cells == left:
            self._drop(step, "adaptive pool", f"it is the identity at {self.size}")
        elif left not in ((), (1, 1)):
            raise UsageError(
                f"{step.node.name}: at {self.size} it pools {_by(cells)} cells to {_by(left)}; "
                "expected an identity or a global pool; pass the input_size that the classifier "
                "was trained at"
            )
        elif self.pool == "none":
            self._drop(step, f"global pool of {_by(cells)}", "each cell is classified by itself")
        else:
            self._slide(step, nn.AvgPool2d if average else nn.MaxPool2d, cells)

    def _fold(self, step: _Step) -> None:
        before, after = step.before, step.after
        if len(before) == 4 and after == (1, before[1] * before[2] * before[3]):
            self.folded[step.node] = before[2:]
        elif before != after and before[2:] != (1, 1) and before[2:] != (1,):
            raise UsageError(
                f"{step.node.name}: the tail reshapes {before} to {after}; expected a flatten of "
                "the map to (N, C*h*w)"
            )
        self._drop(step, f"reshape {_by(before[1:])} to {_by(after[1:])}", "maps stay maps")

    def _linear(self, step: _Step, linear: nn.Linear) -> None:
        rows, columns = self.folded.get(step.source, (1, 1))
        channels = linear.in_features // (rows * columns)
        bias = linear.bias is not None
        kind = nn.Conv2d if rows * columns == 1 else WindowConv2d
        conv = kind(channels, linear.out_features, (rows, columns), bias=bias, device="meta")
        # A flattened map runs by channel, row, column: the order of a convolution's weights.
        weight = linear.weight.detach().view(-1, channels, rows, columns)
        conv.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)
        conv.bias = linear.bias
        self._swap(step, linear, conv, "the same numbers in the same order")

    def _swap(self, step: _Step, old: nn.Module, new: nn.Module, why: str) -> None:
        new.train(old.training)
        self.net.set_submodule(str(step.node.target), new)
        self.done.append(Rewrite(step.node.name, str(old), str(new), why))

    def _drop(self, step: _Step, what: str, why: str) -> None:
        self._bypass(step, step.node.all_input_nodes[0])
        self.done.append(Rewrite(step.node.name, what, "dropped", why))

    def _slide(
        self, step: _Step, kind: type[nn.AvgPool2d] | type[nn.MaxPool2d], cells: tuple[int, ...]
    ) -> None:
        window, name = kind((cells[0], cells[1]), stride=1), f"{step.node.name}_window"
        self.net.add_submodule(name, window)
        with self.net.graph.inserting_after(step.node):
            self._bypass(step, self.net.graph.call_module(name, (step.node.all_input_nodes[0],)))
        why = "slides over larger maps, the classifier's own at the native size"
        self.done.append(Rewrite(step.node.name, f"global pool of {_by(cells)}", str(window), why))

    def _bypass(self, step: _Step, instead: fx.Node) -> None:
        step.node.replace_all_uses_with(instead)
        self.net.graph.erase_node(step.node)


def _by(extent: tuple[int, ...]) -> str:
    return "x".join(map(str, extent))
