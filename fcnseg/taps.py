"""Which maps of a network the score layers and skips leave from, found in its graph.

A skip leaves from the last *block output* of each stride: the last map at that stride which all
paths pass through and which lies outside the block that goes on to the next stride. Chains
without blocks (VGG, AlexNet) take the outputs of their pools, as the paper does (section 4.2).
"""

from collections.abc import Mapping
from typing import Any, Literal

from torch import fx, nn

from fcnseg.convolutionalize import tail
from fcnseg.errors import UsageError
from fcnseg.trace import Feature

TapRule = Literal["blocks", "pools"]


def find_taps(
    net: fx.GraphModule, features: Mapping[str, Feature], rule: TapRule = "blocks"
) -> dict[int, str]:
    """The node to tap at each stride.

    Args:
        net: the traced classifier, before its tail is rewritten.
        features: its :func:`~fcnseg.trace.trace_features` at the native size.
        rule: ``"blocks"`` for the last block output of each stride, ``"pools"`` for the output
            of the pool that makes the stride.

    Returns:
        Stride in pixels -> name of the node, finest first. The last is the end of the trunk.

    Raises:
        UsageError: no map of the network has a geometry.
    """
    trunk = _chain(net, features)
    if not trunk:
        raise UsageError("the network has no map that all paths pass through: nothing to tap")
    taps: dict[int, str] = {}
    if rule == "pools":
        for node in trunk:
            taps.setdefault(_stride(node, features), node.name)
        return taps
    for stride in sorted({_stride(node, features) for node in trunk}):
        coarser = next((n for n in trunk if _stride(n, features) > stride), None)
        block = _stride_block(net, features, coarser, stride) if coarser else None
        for node in trunk:
            if _stride(node, features) == stride and not (block and _inside(node, block)):
                taps[stride] = node.name
    return taps


def _chain(net: fx.GraphModule, features: Mapping[str, Feature]) -> list[fx.Node]:
    """The maps that every path from the image to the class scores passes through, in order."""
    outside = set(tail(net, features))
    order = [n for n in net.graph.nodes if n.name in features and n not in outside]
    if not any(_has_weights(net, node) for node in outside):
        # The classes are scored before the pool (SqueezeNet): features end where that begins.
        scoring = [i for i, node in enumerate(order) if _is_convolution(net, node)]
        order = order[: scoring[-1]] if scoring else order
    place = {node: i for i, node in enumerate(order)}
    reach = -1  # the farthest node that an edge from before this one leads to
    chain = []
    for i, node in enumerate(order):
        if reach <= i and features[node.name].geometry is not None and node.op != "placeholder":
            chain.append(node)
        reach = max([reach, *(place[user] for user in node.users if user in place)])
    return chain


def _is_convolution(net: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(net.get_submodule(str(node.target)), nn.Conv2d)


def _has_weights(net: fx.GraphModule, node: fx.Node) -> bool:
    layer = net.get_submodule(str(node.target)) if node.op == "call_module" else None
    return layer is not None and any(True for _ in layer.parameters())


def _stride(node: fx.Node, features: Mapping[str, Feature]) -> int:
    geometry = features[node.name].geometry
    assert geometry is not None
    return int(max(geometry.stride))


def _path(node: fx.Node) -> str:
    """Qualified name of the innermost module that the node was recorded in."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(next(reversed(stack.values()))[0]) if stack else ""


def _inside(node: fx.Node, block: str) -> bool:
    path = _path(node)
    return path == block or path.startswith(f"{block}.")


def _stride_block(
    net: fx.GraphModule, features: Mapping[str, Feature], coarser: fx.Node, stride: int
) -> str | None:
    """The largest module around ``coarser`` that takes maps of ``stride`` and gives its own.

    That module is the block, or the whole stage, that changes the stride; what lies inside it,
    such as the expansion of an inverted residual, is not meant for others.
    """
    maps = [n for n in net.graph.nodes if n.name in features and features[n.name].geometry]
    own = _stride(coarser, features)
    path, found = _path(coarser), None
    while path:
        inside = [n for n in maps if _inside(n, path)]
        sources = {source for n in inside for source in n.all_input_nodes} - set(inside)
        takes = {_stride(source, features) for source in sources & set(maps)}
        if takes == {stride} and _stride(inside[-1], features) == own:
            found = path
        path = path.rpartition(".")[0]
    return found


def extract(net: fx.GraphModule, taps: Mapping[int, str]) -> fx.GraphModule:
    """The part of a network that leads to the tapped nodes.

    Args:
        net: a traced network; its layers are shared, its graph is not changed.
        taps: stride -> node name.

    Returns:
        A graph module, (N, 3, H, W) -> {stride: (N, C, h, w)}.
    """
    needed = {node for node in net.graph.nodes if node.name in taps.values()}
    for node in reversed(net.graph.nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    graph = fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in net.graph.nodes:
        if node in needed or node.op == "placeholder":
            copied[node] = graph.node_copy(node, lambda n: copied[n])
    by_name = {node.name: new for node, new in copied.items()}
    outputs: Any = {stride: by_name[name] for stride, name in taps.items()}
    graph.output(outputs)
    return fx.GraphModule(net, graph, "Features")
