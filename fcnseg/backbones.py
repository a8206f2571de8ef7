"""A backbone: a classifier without its last layer, fully convolutional, with its taps."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Literal

from torch import Tensor, nn

from fcnseg.catalogue import describe
from fcnseg.checks import check_choice
from fcnseg.classifiers import build_classifier
from fcnseg.convolutionalize import Rewrite, rewrite_tail
from fcnseg.dilate import dilate
from fcnseg.download import Progress
from fcnseg.errors import UsageError
from fcnseg.geometry import Geometry
from fcnseg.proof import refusing
from fcnseg.taps import extract, find_taps
from fcnseg.trace import evaluating, trace, trace_features
from fcnseg.tracer import run_on_shapes


class Backbone(nn.Module):
    """A classifier without its last layer, made fully convolutional, with its taps.

    Taps go by their *level*: the stride that their map has in the classifier. It is the stride of
    the map itself unless the backbone is dilated; the geometry says what it is.

    Args:
        net: the network, (N, 3, H, W) -> {level: (N, C, h, w)}.
        nodes: level -> name of the tapped node.
        native_size: side in pixels that the classifier was trained at.
        surgery: what was rewritten to make the classifier fully convolutional.

    Attributes:
        taps: level -> geometry of the tapped map, for inputs that :attr:`multiple` divides.
        channels: level -> channels of the tapped map.
        multiple: the coarsest level; the geometry holds for sizes that it divides.
        smallest: the least such size whose coarsest map has 2x2 cells.
    """

    def __init__(
        self,
        net: nn.Module,
        nodes: Mapping[int, str],
        native_size: int,
        surgery: Sequence[Rewrite] = (),
    ) -> None:
        super().__init__()
        graph = trace(net)
        self.net: nn.Module = graph
        self.nodes, self.surgery = dict(nodes), tuple(surgery)
        self.multiple = max(nodes)
        side = _round_up(native_size, self.multiple)
        features = trace_features(graph, (side, side))
        self.taps: dict[int, Geometry] = {}
        self.channels: dict[int, int] = {}
        for level, name in nodes.items():
            geometry = features[name].geometry
            assert geometry is not None
            self.taps[level], self.channels[level] = geometry, features[name].shape[1]
        self.smallest = _smallest(graph, max(nodes), self.multiple, 2 * side)

    def forward(self, image_N3HW: Tensor) -> dict[int, Tensor]:
        """The tapped maps, level -> (N, C, h, w)."""
        maps: dict[int, Tensor] = self.net(image_N3HW)
        return maps


def _round_up(side: int, multiple: int) -> int:
    return -(-side // multiple) * multiple


def _smallest(net: nn.Module, coarsest: int, multiple: int, enough: int) -> int:
    """The least multiple at which the coarsest map has 2x2 cells; found on shapes alone.

    At ``enough`` pixels the network must work, in training or, where its batch norms cannot train
    on a single image at all, in evaluation.
    """
    for mode in (nullcontext(net), evaluating(net)):
        with mode:
            for side in range(multiple, enough + 1, multiple):
                try:
                    maps = run_on_shapes(net, (1, 3, side, side))
                except (RuntimeError, ValueError, AssertionError):  # too small for a layer
                    continue
                if min(maps[coarsest].shape[2:]) >= 2:
                    return side
    raise UsageError(
        f"the network takes no image of up to {enough} px whose sides {multiple} divides; it "
        "cannot be made fully convolutional"
    )


def build_backbone(
    name: str,
    weights: str = "none",
    padding: Literal["same", "paper"] = "same",
    strides: Sequence[int] | None = None,
    progress: Progress | None = None,
    output_stride: int = 32,
) -> Backbone:
    """A backbone of the catalogue, ready for a head.

    VGG and AlexNet keep fc6 and fc7, as convolutions with their dropout, and are scored after
    them; networks with a global pool are scored at their last map.

    Args:
        name: a backbone.
        weights: as in :func:`fcnseg.classifiers.build_classifier`.
        padding: ``"same"``: fc6 is padded so that its map lies on the last pool's; ``"paper"``:
            100 pixels around the image, pools that round up, fc6 unpadded (VGG and AlexNet).
        strides: which maps to give, as far as the backbone has them, by their stride in the
            classifier; None for all. A map that is given stays in memory until the head is done.
        progress: as in :func:`fcnseg.classifiers.build_classifier`.
        output_stride: the coarsest stride left; layers that went further are dilated.

    Raises:
        UsageError: no such backbone, or a padding or stride that it does not have.
        WeightsError: as in :func:`fcnseg.classifiers.build_classifier`.
    """
    check_choice("--padding", padding, ("same", "paper"))
    info = describe(name)
    if padding == "paper" and not info.paper_padding:
        raise UsageError(
            f"--padding paper: defined for VGG and AlexNet, not for {name}; use --padding same"
        )
    if padding == "paper" and output_stride < 32:
        raise UsageError(
            f"--output-stride {output_stride}: the paper's padding goes with stride 32; use "
            "--padding same"
        )
    classifier = build_classifier(name, weights, progress, any_classes=True)
    native = info.preprocessing.native_size
    with refusing(classifier):
        graph = trace(classifier, (native, native))
        features = trace_features(graph, (native, native))
        taps = find_taps(graph, features, info.rule)
        net = rewrite_tail(graph, features)
    surgery = net.meta["surgery"]
    kept = _fully_connected(net)
    if kept:
        taps[max(taps)] = kept[-1].all_input_nodes[0].name
        _pad(net, net.get_submodule(str(kept[0].target)), padding)
    chosen = {stride: node for stride, node in taps.items() if strides is None or stride in strides}
    if not chosen:
        raise UsageError(
            f"--backbone {name}: has maps at stride {', '.join(map(str, taps))}, none at "
            f"{', '.join(map(str, strides or ()))}; choose another --variant or --backbone"
        )
    trunk = extract(net, chosen)
    if output_stride < max(chosen):
        trunk = dilate(trunk, output_stride, _round_up(native, max(chosen)))
    return Backbone(trunk, chosen, native, surgery)


def _fully_connected(net: Any) -> list[Any]:
    """The convolutions that were linear layers, if the first of them reads a whole map."""
    rewritten = {rewrite.node for rewrite in net.meta["surgery"]}
    convs = [
        node
        for node in net.graph.nodes
        if node.name in rewritten and isinstance(net.get_submodule(str(node.target)), nn.Conv2d)
    ]
    spatial = convs and net.get_submodule(str(convs[0].target)).kernel_size != (1, 1)
    return convs if spatial else []


def _pad(net: nn.Module, fc6: Any, padding: str) -> None:
    if padding == "same":
        # AlexNet's 6x6 cannot be centred on a cell: its map has one cell more, between pool5's.
        fc6.padding = tuple(k // 2 for k in fc6.kernel_size)
        return
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    first.padding = (100, 100)
    for module in net.modules():
        if isinstance(module, nn.MaxPool2d):
            module.ceil_mode = True
