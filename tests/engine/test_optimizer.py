"""Rates and decays of each parameter, momentum, and schedules by name."""

from typing import Any

import pytest
import torch
from torch import nn

from fcnseg.engine.optimizer import build_optimizer, parameter_groups
from fcnseg.engine.schedule import schedule
from fcnseg.errors import UsageError
from fcnseg.upsample import Upsample


class Net(nn.Module):
    """A part in neither backbone nor head, and a head before its backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(4, 2, 1), Upsample(2, 2, (0.5, 0.5)))
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.gain = nn.Parameter(torch.ones(4))


def by_name(net: nn.Module, groups: list[dict]) -> dict[str, tuple[float, float]]:
    """Rate and decay of each parameter; each is in one group."""
    found = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    assert len(found) == sum(len(g["params"]) for g in groups)
    assert all(g["lr"] == g["peak_lr"] for g in groups)
    return {name: found[id(p)] for name, p in net.named_parameters() if id(p) in found}


def test_each_parameter_has_the_rate_and_decay_of_its_part() -> None:
    net = Net()
    groups = parameter_groups(net, net.head, 0.1, 10, 0.5, bias_lr_factor=2)
    assert by_name(net, groups) == {
        "head.0.weight": (1.0, 0.5),
        "head.0.bias": (2.0, 0.0),
        "head.1.weight": (0.1, 0.0),
        "backbone.0.weight": (0.1, 0.5),
        "backbone.0.bias": (0.2, 0.0),
        "backbone.1.weight": (0.1, 0.0),
        "backbone.1.bias": (0.2, 0.0),
        "gain": (0.1, 0.0),
    }
    plain = by_name(net, parameter_groups(net, net.head, 0.1, 10, 0.5))
    assert (plain["head.0.bias"], plain["backbone.0.bias"]) == ((1.0, 0.0), (0.1, 0.0))


def test_what_needs_no_gradient_is_left_out() -> None:
    net = Net()
    net.backbone.requires_grad_(False)
    names = set(by_name(net, parameter_groups(net, net.head, 0.1, 10, 0.5)))
    assert names == {"head.0.weight", "head.0.bias", "head.1.weight", "gain"}


def test_a_head_of_another_network_is_refused() -> None:
    with pytest.raises(UsageError, match="head: expected a part of the model"):
        parameter_groups(Net(), Net().head, 0.1, 10, 0.5)


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_the_momentum_of_sgd(momentum: float) -> None:
    weight = nn.Parameter(torch.tensor([[1.0]], dtype=torch.float64))
    group: dict[str, Any] = {"params": [weight], "lr": 0.1, "weight_decay": 0.0}
    optimizer = build_optimizer("sgd", [group], momentum)
    expected, velocity = 1.0, 0.0
    for gradient in (1.0, -0.5, 2.0):
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
        velocity = momentum * velocity + gradient
        expected -= 0.1 * velocity
        assert weight.item() == pytest.approx(expected, abs=1e-12)


def test_schedules_by_name() -> None:
    poly, constant = schedule("poly"), schedule("constant")
    assert [constant(step, 10, 0.0) for step in range(10)] == [1.0] * 10
    assert [constant(step, 10, 0.2) for step in range(4)] == [1 / 3, 2 / 3, 1.0, 1.0]
    assert [poly(step, 10, 0.2) for step in range(3)] == [1 / 3, 2 / 3, 1.0]
    assert poly(6, 10, 0.2) == pytest.approx(0.5**0.9)
    with pytest.raises(UsageError, match="--schedule: expected one of poly, constant, got 'cos'"):
        schedule("cos")
