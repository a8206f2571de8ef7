"""What the tests know of networks, independently of the package."""

import copy

import torch
from torch import Tensor, nn
from torchvision import models

from fcnseg import backbones
from fcnseg.backbones import BackboneInfo, catalogue

CHAINS = [name for name in catalogue() if name.startswith(("vgg", "alexnet"))]
POOLED = [name for name in catalogue() if name not in CHAINS]


def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms the statistics and gains of a network that has been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                for value, low, high in (
                    (module.running_mean, -0.3, 0.3),
                    (module.running_var, 0.5, 1.5),
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.3, 0.3),
                ):
                    drawn = torch.rand(value.shape, generator=generator, dtype=value.dtype)
                    value.copy_(low + (high - low) * drawn)
    return net


class Averaging(nn.Module):
    """A convolution's window with equal positive weights, over the mean of its channels.

    The layer keeps its own class, and so its own way of padding; the geometry of a network does
    not depend on its number of channels.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        rows, columns = layer.kernel_size
        self.layer.weight = nn.Parameter(torch.full((1, 1, rows, columns), 1 / (rows * columns)))
        self.layer.bias, self.layer.groups = None, 1

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mean(1, keepdim=True))


def linear_twin(net: nn.Module) -> nn.Module:
    """The same windows with positive weights and nothing else: what a cell sees has a gradient.

    Pools average, norms and activations do nothing, every convolution averages its window.
    """
    twin = copy.deepcopy(net)
    for name, module in list(twin.named_modules()):
        new: nn.Module | None = None
        if isinstance(module, nn.Conv2d):
            new = Averaging(module)
        elif isinstance(module, nn.MaxPool2d):
            new = nn.AvgPool2d(
                module.kernel_size, module.stride, module.padding, ceil_mode=module.ceil_mode
            )
        elif isinstance(module, (nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6, nn.Dropout)):
            new = nn.Identity()
        if new is not None:
            twin.set_submodule(name, new)
    return twin.double().eval()


def seen(value: Tensor, image: Tensor, axis: int) -> tuple[int, int]:
    """First and last row (axis 2) or column (axis 3) of the image that a value depends on."""
    (gradient,) = torch.autograd.grad(value, image, retain_graph=True)
    along = gradient.abs().sum([a for a in range(4) if a != axis])
    places = along.nonzero().flatten()
    return int(places[0]), int(places[-1])


_real_build = backbones._build


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
