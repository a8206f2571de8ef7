"""Every layer of a classifier, before and after."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import fx, nn

from fcnseg.explain.counting import multiply_adds
from fcnseg.explain.records import Cells, Layer, Place, Side, Window
from fcnseg.geometry import Geometry
from fcnseg.spread import DilatedAvgPool
from fcnseg.trace import Feature, trace_features

_POOLS = {
    "max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d",
}  # fmt: skip


_POOL_WORDS = {
    nn.MaxPool2d: "Max pool",
    nn.AvgPool2d: "Average pool",
    nn.AdaptiveAvgPool2d: "Average pool",
    DilatedAvgPool: "Average pool",
}


@dataclass(frozen=True)
class Traced:
    """A traced network at one image size.

    Attributes:
        net: its graph.
        features: shape and geometry of each node.
        counts: multiply-adds of each node.
        nodes: its nodes by name.
    """

    net: fx.GraphModule
    features: Mapping[str, Feature]
    counts: Mapping[str, int]
    nodes: Mapping[str, fx.Node]

    @staticmethod
    def at(net: fx.GraphModule, size: Cells) -> "Traced":
        """Follow a network at a size; raises :class:`UsageError` where it does not take it."""
        features = trace_features(net, size)
        nodes = {node.name: node for node in net.graph.nodes}
        return Traced(net, features, multiply_adds(net, size), nodes)

    def rewritten(self, net: fx.GraphModule) -> "Traced":
        """The same network with its tail rewritten: other layers under the same names.

        It is not run: shapes and counts stay those of the classifier.
        """
        nodes = {node.name: node for node in net.graph.nodes}
        features = {name: f for name, f in self.features.items() if name in nodes}
        return replace(self, net=net, nodes=nodes, features=features)

    def called(self, name: str) -> Any:
        """The module, or the parameter, that a node stands for, else None."""
        node = self.nodes[name]
        if node.op == "call_module":
            return self.net.get_submodule(str(node.target))
        if node.op == "get_attr":
            owner, _, attribute = str(node.target).rpartition(".")
            return getattr(self.net.get_submodule(owner), attribute)
        return None

    def side(self, name: str) -> Side:
        """What there is to say of one node."""
        called, feature = self.called(name), self.features[name]
        return Side(
            what=_words(self.nodes[name], called),
            window=_padded(self.nodes[name], _window(called)),
            parameters=_numbers(called),
            shape=_shape(feature),
            place=place_of(feature.geometry) if feature.geometry else None,
            multiply_adds=self.counts[name],
        )


def list_layers(
    classifier: Traced, converted: Traced, backbone: Traced, taps: Mapping[int, str]
) -> tuple[Layer, ...]:
    """One record for every node of the classifier, in the order of computation.

    Args:
        classifier: before the surgery, at its native size.
        converted: after the surgery.
        backbone: the part of it that the FCN has, at the size asked for.
        taps: stride -> name of the node that is scored there.
    """
    strides = {name: stride for stride, name in taps.items()}
    last = backbone.features[taps[max(taps)]]
    tail = _tail(classifier, converted)
    parts = _parts(classifier, converted, tail)
    layers = []
    for name, (part, stage) in parts.items():
        after = None
        if name in backbone.nodes:
            after = backbone.side(name)
        elif name in converted.nodes:
            after = _beyond(converted.side(name), last)
        before = classifier.side(name)
        pools = bool(set(classifier.features[name].ops) & _POOLS)
        layers.append(
            Layer(
                node=name,
                name=_name(classifier.nodes[name]),
                part=part,
                stage=stage,
                listed=before.multiply_adds > 0 or pools or after is None,
                tap=strides.get(name),
                in_fcn=name in backbone.nodes,
                before=before,
                after=after,
            )
        )
    return tuple(layers)


def place_of(geometry: Geometry) -> Place:
    """The geometry of a map as a record."""
    return Place(geometry.size, geometry.stride, geometry.offset, geometry.field, geometry.sees_all)


def _beyond(side: Side, last: Feature) -> Side:
    """A layer after the FCN's last map, as it would be there: pointwise, it lies where that does.

    ``side`` is the layer after the surgery with the shape and the count of the classifier.
    """
    assert last.geometry is not None
    cells, native = math.prod(last.geometry.size), math.prod(side.shape[1:])
    return replace(
        side,
        shape=(side.shape[0], *last.geometry.size),
        place=place_of(last.geometry),
        multiply_adds=side.multiply_adds // native * cells,
    )


def _tail(classifier: Traced, converted: Traced) -> set[str]:
    """Nodes whose meaning the surgery changed, and all that follow the first of them."""
    names = [name for name in classifier.features if classifier.nodes[name].op != "placeholder"]
    changed = [
        i
        for i, name in enumerate(names)
        if name not in converted.nodes
        or type(classifier.called(name)) is not type(converted.called(name))
    ]
    return set(names[changed[0] :]) if changed else set()


def _parts(classifier: Traced, converted: Traced, tail: set[str]) -> dict[str, tuple[str, int]]:
    """Node -> the part it belongs to and the stride of the map that the part ends in.

    A part ends at a map that all paths pass through: in a chain that is each layer, with its
    norm and activation, and otherwise each block.
    """
    order = [node for node in classifier.nodes.values() if node.name in classifier.features]
    index = {node: i for i, node in enumerate(order)}
    reach = -1
    open_part: list[fx.Node] = []
    groups: list[list[fx.Node]] = []
    for i, node in enumerate(order):
        if node.op != "placeholder" and node.name not in tail:
            open_part.append(node)
        passed = reach <= i and classifier.features[node.name].geometry is not None
        reach = max([reach, *(index[user] for user in node.users if user in index)])
        if open_part and passed:
            groups.append(open_part)
            open_part = []
    found: dict[str, tuple[str, int]] = {}
    label, stage = "", 1
    for group in groups:
        heavy = [n for n in group if classifier.counts[n.name] or _pools(classifier, n)]
        geometry = classifier.features[group[-1].name].geometry
        assert geometry is not None
        if heavy or not found:
            label, stage = _common([_name(n) for n in heavy or group]), int(max(geometry.stride))
        found.update((node.name, (label, stage)) for node in group)
    for node in order:
        if node.name in tail:
            heavy_node = classifier.counts[node.name] or node.name not in converted.nodes
            label = _name(node) if heavy_node else label
            found[node.name] = (label, 0)
    return {node.name: found[node.name] for node in order if node.name in found}


def _pools(classifier: Traced, node: fx.Node) -> bool:
    return bool(set(classifier.features[node.name].ops) & _POOLS)


def _common(names: list[str]) -> str:
    """The path that all names begin with."""
    paths = [name.split(".") for name in names]
    kept = []
    for steps in zip(*paths, strict=False):
        if len(set(steps)) > 1:
            break
        kept.append(steps[0])
    return ".".join(kept) or names[0]


def _name(node: fx.Node) -> str:
    return str(node.target) if node.op in ("call_module", "get_attr") else node.name


def _shape(feature: Feature) -> tuple[int, ...]:
    shape = feature.shape[1:]
    if feature.geometry is not None and not feature.channels_first and len(shape) == 3:
        return shape[2], shape[0], shape[1]
    return shape


def _numbers(called: Any) -> int:
    if isinstance(called, nn.Module):
        return sum(p.numel() for p in called.parameters())
    return called.numel() if isinstance(called, nn.Parameter) else 0


def _words(node: fx.Node, called: Any) -> str:
    if isinstance(called, nn.Conv2d):
        wide = f"{called.in_channels}->{called.out_channels}"
        if called.groups == called.in_channels > 1:
            return f"Conv {wide}, depthwise"
        return f"Conv {wide}" + (f", {called.groups} groups" if called.groups > 1 else "")
    if isinstance(called, nn.Linear):
        return f"Linear {called.in_features}->{called.out_features}"
    for kind, words in _POOL_WORDS.items():
        if isinstance(called, kind):
            return words
    if isinstance(called, nn.Module):
        return type(called).__name__
    return getattr(node.target, "__name__", str(node.target)).strip("_")


def _window(called: Any) -> Window | None:
    if isinstance(called, DilatedAvgPool):
        left, _, top, _ = called.padding
        return Window(
            kernel=called.kernel_size,
            step=_pair(called.stride),
            padding=(top, left),
            pads_itself=False,
            dilation=_pair(called.dilation),
            rounds_up=any(called.overhang),
        )
    if not isinstance(called, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
        return None
    # A subclass may pad by itself, as far as the size of its input takes.
    own = type(called) not in (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d) or called.padding == "same"
    padding = (0, 0) if isinstance(called.padding, str) else _pair(called.padding)
    return Window(
        kernel=_pair(called.kernel_size),
        step=_pair(called.stride),
        padding=padding,
        pads_itself=own and max(padding) == 0,
        dilation=_pair(getattr(called, "dilation", 1)),
        rounds_up=bool(getattr(called, "ceil_mode", False)),
    )


def _padded(node: fx.Node, window: Window | None) -> Window | None:
    """The window of a max pool with the padding that dilation set before it."""
    source = node.args[0] if node.args else None
    if window is None or not isinstance(source, fx.Node) or source.target is not F.pad:
        return window
    pad: Any = source.args[1] if len(source.args) > 1 else None
    if source.kwargs.get("value") != -math.inf or not pad or len(pad) != 4:
        return window
    left, right, top, bottom = pad
    further = (bottom, right) > (top, left)
    return replace(window, padding=(top, left), rounds_up=window.rounds_up or further)


def _pair(value: Any) -> Cells:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
