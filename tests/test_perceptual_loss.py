"""A fixed network as a loss: its value against plain arithmetic, and where its gradient goes."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from networks import randomise
from torch import Tensor, nn

from fcnseg.backbones import Backbone, build_backbone
from fcnseg.errors import UsageError
from fcnseg.losses import PerceptualLoss


class Tiny(nn.Module):
    """Two levels with everything that training mode changes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Tanh())
        self.second = nn.Sequential(nn.Conv2d(4, 2, 3, 2, 1), nn.Dropout(0.5), nn.Tanh())

    def forward(self, image: Tensor) -> Mapping[int, Tensor]:
        first = self.first(image)
        return {2: first, 4: self.second(first)}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return randomise(build_backbone("resnet18", strides=(4, 8)))


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 2, 3, 33, 40, generator=generator)
    return a, b


def plain(a: Mapping[int, Tensor], b: Mapping[int, Tensor], levels: Any, power: int) -> float:
    total = 0.0
    for level, weight in levels.items():
        one, other = (maps[level].detach().double().flatten().tolist() for maps in (a, b))
        sums = sum(abs(x - y) ** power for x, y in zip(one, other, strict=True))
        total += weight * sums / len(one)
    return total


@pytest.mark.parametrize(("distance", "power"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("levels", [None, {8: 0.5}, {4: 2.0, 8: 0.25}])
def test_equals_plain_arithmetic_on_a_real_backbone(
    backbone: Backbone,
    images: tuple[Tensor, Tensor],
    levels: dict[int, float] | None,
    distance: str,
    power: int,
) -> None:
    loss = PerceptualLoss(backbone, levels, distance)(*images)
    assert loss.shape == ()
    backbone.eval()
    with torch.no_grad():
        maps = [backbone(image) for image in images]
    backbone.train()
    expected = plain(*maps, levels or {4: 1, 8: 1}, power)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert expected > 0


def test_the_gradient_goes_to_the_first_image_alone(
    backbone: Backbone, images: tuple[Tensor, Tensor]
) -> None:
    a, b = (image.clone().requires_grad_() for image in images)
    loss = PerceptualLoss(backbone, {4: 1.0, 8: 1.0})
    loss(a, b).backward()
    assert a.grad is not None
    assert a.grad.shape == a.shape
    assert float(a.grad.abs().max()) > 0
    assert b.grad is None
    assert all(p.grad is None for p in [*loss.parameters(), *backbone.parameters()])


def test_equal_images_are_no_distance_apart(
    backbone: Backbone, images: tuple[Tensor, Tensor]
) -> None:
    for distance in ("l1", "l2"):
        loss = PerceptualLoss(backbone, distance=distance).train()  # dropout would differ
        assert loss(images[0], images[0].clone()).item() == 0.0


def test_it_stays_frozen_in_evaluation_and_leaves_the_network_alone(
    images: tuple[Tensor, Tensor],
) -> None:
    torch.manual_seed(0)
    net = Tiny().train()
    loss = PerceptualLoss(net)
    outer = nn.ModuleList([loss]).train()
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    first = loss(*images)
    assert not any(module.training for module in loss.modules())
    assert not any(p.requires_grad for p in outer.parameters())
    assert all(torch.equal(before[k], v) for k, v in loss.state_dict().items())
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    with torch.no_grad():
        net.first[0].weight.zero_()
    assert torch.equal(loss(*images), first)


@pytest.mark.parametrize("distance", ["l1", "l2"])
def test_gradcheck(distance: str) -> None:
    torch.manual_seed(0)
    loss = PerceptualLoss(Tiny().double(), {2: 0.5, 4: 2.0}, distance)
    image = torch.randn(1, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    target = torch.randn(1, 3, 6, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (image,))


def test_a_plain_function_serves_and_half_features_are_compared_in_float32() -> None:
    loss = PerceptualLoss(lambda image: {1: (image * 300).half()}, distance="l2")
    found = loss(torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2))
    assert found.dtype == torch.float32
    assert found.item() == 90_000  # beyond the largest half


def test_an_image_becomes_the_one_it_is_compared_with() -> None:
    torch.manual_seed(0)
    loss = PerceptualLoss(Tiny())
    target, image = torch.rand(1, 3, 8, 8), torch.zeros(1, 3, 8, 8, requires_grad=True)
    optimizer = torch.optim.Adam([image], lr=0.05)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(image, target)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.2 * values[0]


def test_wrong_arguments_are_refused() -> None:
    net = Tiny()
    with pytest.raises(UsageError, match="distance: expected one of l1, l2, got 'l3'"):
        PerceptualLoss(net, distance="l3")
    for levels in ({}, {2: -1.0}):
        with pytest.raises(UsageError, match="levels: expected levels with weights of 0 or more"):
            PerceptualLoss(net, levels)
    a, b = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9)
    with pytest.raises(UsageError, match=r"one shape, got \(1, 3, 8, 8\) and \(1, 3, 8, 9\)"):
        PerceptualLoss(net)(a, b)
    with pytest.raises(UsageError, match="levels: the network has maps at 2, 4, none at 16"):
        PerceptualLoss(net, {16: 1.0})(a, a)
