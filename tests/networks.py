"""What the tests know of networks, independently of the package."""

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torchvision import models

from fcnseg import FCN, build_fcn, classifiers
from fcnseg.catalogue import BackboneInfo

CHAINS = ["alexnet", *(f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn"))]
RESNETS = [f"resnet{n}" for n in (18, 34, 50, 101, 152)]
POOLED = [*RESNETS, "efficientnet_lite0"]

# One network of each other family; what sees the whole image is known of the architecture.
FAMILIES = {
    "resnext50_32x4d": False,
    "wide_resnet50_2": False,
    "densenet121": False,
    "googlenet": False,
    "inception_v3": False,
    "squeezenet1_1": False,
    "mobilenet_v2": False,
    "mobilenet_v3_small": True,
    "shufflenet_v2_x0_5": False,
    "mnasnet0_5": False,
    "efficientnet_b0": True,
    "efficientnet_v2_s": True,
    "regnet_x_400mf": False,
    "regnet_y_400mf": True,
    "convnext_tiny": False,
    "efficientnet_lite1": False,
    "efficientnet_lite2": False,
    "efficientnet_lite3": False,
    "efficientnet_lite4": False,
    "timm/inception_v4": False,
    "timm/inception_resnet_v2": False,
    "timm/resnetv2_50x1_bit": True,
    "timm/mobilenetv3_large_100": True,
    "timm/convnext_atto": False,
    "timm/resnet26d": False,
    "timm/densenet121": False,
    "timm/regnety_002": True,
    "timm/tf_efficientnetv2_b0": True,
    "small_cnn": False,
}


# As others of their family, only larger or of another library.
SIBLINGS = {
    "wide_resnet50_2", "efficientnet_lite2", "efficientnet_lite3", "efficientnet_lite4",
    "timm/inception_resnet_v2", "timm/mobilenetv3_large_100", "timm/convnext_atto",
    "timm/densenet121", "timm/regnety_002", "timm/tf_efficientnetv2_b0",
    *(f"vgg{n}{bn}" for n in (13, 19) for bn in ("", "_bn")), "resnet34", "resnet101", "resnet152",
}  # fmt: skip


def usual(*names: str) -> list[Any]:
    """Names as parameters of a test; siblings are marked as slow."""
    return [pytest.param(n, marks=[pytest.mark.slow] if n in SIBLINGS else []) for n in names]


def families() -> list[Any]:
    """One network of each family but those of the chains and ResNets."""
    return usual(*FAMILIES)


def sky_cat_tree() -> FCN:
    """An FCN-32s of three classes whose score layer, which starts at zero, sees something."""
    torch.manual_seed(0)
    model = build_fcn("resnet18", "32s", 3, classes=("sky", "cat", "tree"))
    with torch.no_grad():
        model.head.score["stride32"].weight.normal_(0, 0.1)
    return model


def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give norms, gains and layer scales the numbers of a network that has been trained.

    Batch norms get statistics; every parameter that a constructor filled with one value (the
    gains and biases of norms, zero gammas, layer scales) is drawn anew.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(value: Tensor, low: float, high: float) -> None:
        drawn = torch.rand(value.shape, generator=generator, dtype=value.dtype)
        value.copy_(low + (high - low) * drawn)

    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                draw(module.running_mean, -0.3, 0.3)
                draw(module.running_var, 0.5, 1.5)
        for name, value in net.named_parameters():
            if value.numel() > 1 and bool((value == value.flatten()[0]).all()):
                low, high = (-0.3, 0.3) if name.endswith("bias") else (0.5, 1.5)
                draw(value, low, high)
    return net


class Averaging(nn.Module):
    """A convolution's window with equal positive weights, over the mean of its channels.

    The layer keeps its own class, and so its own way of padding; the geometry of a network does
    not depend on what its channels hold, so that all of them get the same.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        if type(layer).__name__.startswith("Std"):  # standardised weights: equal ones become zero
            self.layer = nn.Conv2d(
                1, 1, layer.kernel_size, layer.stride, layer.padding, layer.dilation
            )
        else:
            self.layer = copy.deepcopy(layer)
        rows, columns = layer.kernel_size
        self.layer.weight = nn.Parameter(torch.full((1, 1, rows, columns), 1 / (rows * columns)))
        self.layer.bias, self.layer.groups, self.channels = None, 1, layer.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mean(1, keepdim=True)).expand(-1, self.channels, -1, -1)


class Detached(nn.Module):
    """The global path through a pool or a group norm: it has no gradient in a twin."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.detach())


_NOTHING = (
    nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.Dropout, nn.ReLU, nn.ReLU6,
    nn.SiLU, nn.GELU, nn.Hardswish,
)  # fmt: skip


def linear_twin(net: nn.Module) -> nn.Module:
    """The same windows with positive weights and nothing else: what a cell sees has a gradient.

    Pools average, norms and activations do nothing, every convolution averages its window, and
    what looks at the whole image (squeeze-excite) gets no gradient.
    """
    twin = copy.deepcopy(net)
    for name, module in list(twin.named_modules()):
        new: nn.Module | None = None
        if isinstance(module, nn.Conv2d):
            new = Averaging(module)
        elif isinstance(module, nn.MaxPool2d):
            # The mean of a larger window reaches as far as the largest of one with holes.
            k, d = (
                v if isinstance(v, int) else v[0] for v in (module.kernel_size, module.dilation)
            )
            reach = (k - 1) * d + 1
            new = nn.AvgPool2d(reach, module.stride, module.padding, ceil_mode=module.ceil_mode)
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            new = Detached(module)
        elif isinstance(module, _NOTHING):
            new = nn.Identity()
        if new is not None:
            twin.set_submodule(name, new)
    with torch.no_grad():  # linear layers and layer scales that are left
        for value in twin.parameters():
            value.fill_(1 / value.shape[-1] if value.dim() == 2 else 1)
    if isinstance(twin, fx.GraphModule):
        for node in list(twin.graph.nodes):
            _make_linear(twin.graph, node)
        twin.recompile()
    return twin.double().eval()


def _make_linear(graph: fx.Graph, node: fx.Node) -> None:
    """The counterpart for functions: pools average, the mean of a map is detached."""
    if node.target in (F.max_pool2d, torch.max_pool2d):
        kept: dict[str, Any] = {
            key: node.kwargs[key]
            for key in ("kernel_size", "stride", "padding", "ceil_mode")
            if key in node.kwargs
        }
        node.target, node.kwargs = F.avg_pool2d, kept
    elif node.target is F.relu:
        node.args, node.kwargs = node.args[:1], {}  # not in place: channels share their memory
    elif node.op == "call_method" and node.target == "mean":
        with graph.inserting_before(node):
            detached = graph.call_method("detach", (node.args[0],))
        node.args = (detached, *node.args[1:])


def seen(value: Tensor, image: Tensor, axis: int) -> tuple[int, int]:
    """First and last row (axis 2) or column (axis 3) of the image that a value depends on."""
    (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
    along = gradient.abs().sum([a for a in range(4) if a != axis])
    places = along.nonzero().flatten()
    return int(places[0]), int(places[-1])


_real_build = classifiers.build


def narrow(info: BackboneInfo) -> nn.Module:
    """The classifier, with fc6 and fc7 of 32 channels where it has them."""
    if info.name not in CHAINS:
        return _real_build(info)
    with torch.device("meta"):
        net = models.get_model(info.name)
    for layer in [m for m in net.classifier if isinstance(m, nn.Linear)]:
        if layer.out_features != 1000:
            layer.out_features = 32
            layer.bias = nn.Parameter(torch.empty(32))
        if layer.in_features == 4096:
            layer.in_features = 32
        layer.weight = nn.Parameter(torch.empty(layer.out_features, layer.in_features))
    net.to_empty(device="cpu")
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm)):
            module.reset_parameters()
    return net


class SmallVGG(nn.Module):
    """VGG's layers, of few channels.

    ``blocks`` is (convolutions, channels) of each of the five, ``hidden`` the outputs of fc6 and
    fc7.
    """

    def __init__(
        self, blocks: Sequence[tuple[int, int]], hidden: tuple[int, int], dropout: float = 0.5
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for count, width in blocks:
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            *(nn.Linear(channels * 49, hidden[0]), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(*hidden), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(hidden[1], 1000),
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(image)), 1))
