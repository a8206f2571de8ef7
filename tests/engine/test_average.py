"""The moving average of the weights against its formula, number by number."""

import copy

import pytest
import torch
from torch import nn

from fcnseg.engine.average import Average
from fcnseg.errors import UsageError, WeightsError


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5))
    layers.register_buffer("filter", torch.full((2,), 0.3), persistent=False)
    return layers.train()


def disturbed(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    model(torch.randn(4, 2, 5, 5, generator=generator))


def plain(old: float, new: float, update: int, decay: float) -> float:
    d = min(decay, (1 + update) / (10 + update))
    return d * old + (1 - d) * new


def test_each_number_is_the_formulas() -> None:
    model, decay = net(), 0.3  # of 8 updates the last five are at the full decay
    average = Average(model, decay)
    expected = {k: v.double().flatten().tolist() for k, v in model.state_dict().items()}
    for update in range(8):
        disturbed(model, update)
        average.update(model)
        for name, tensor in model.state_dict().items():
            now = tensor.double().flatten().tolist()
            if tensor.is_floating_point():
                now = [plain(a, b, update, decay) for a, b in zip(expected[name], now, strict=True)]
            expected[name] = now
    for name, tensor in average.module.state_dict().items():
        assert tensor.flatten().tolist() == pytest.approx(expected[name], rel=1e-6, abs=1e-6), name
    assert int(average.module[1].num_batches_tracked) == 8
    assert torch.equal(average.module.filter, torch.full((2,), 0.3))


def test_the_first_updates_forget_the_start() -> None:
    model = net()
    average = Average(model, 0.9999)
    disturbed(model, 1)
    for _ in range(100):
        average.update(model)
    torch.testing.assert_close(average.module[0].weight, model[0].weight, rtol=0, atol=1e-5)


def test_it_is_for_evaluation_and_leaves_the_model_alone() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    average = Average(model, 0.9)
    average.update(model)
    assert not average.module.training
    assert not any(p.requires_grad for p in average.module.parameters())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_it_goes_on_from_its_state_to_the_bit() -> None:
    model = net()
    one, other = Average(model, 0.9), Average(model, 0.9)
    for update in range(6):
        disturbed(model, update)
        one.update(model)
        if update == 2:
            state = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    model = net()
    for update in range(6):
        disturbed(model, update)
        if update == 2:
            other.load(state)
        if update > 2:
            other.update(model)
    found = other.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in one.state_dict().items())


def test_the_state_of_another_network_is_refused() -> None:
    average = Average(nn.Conv2d(2, 3, 3), 0.9)
    for other in (nn.Conv2d(2, 4, 3), nn.Conv2d(2, 3, 3, bias=False)):
        with pytest.raises(WeightsError, match=r"of 3 tensors do not fit .*module\.bias"):
            average.load(Average(other, 0.9).state_dict())


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(UsageError, match="--ema: expected a decay between 0 and 1"):
        Average(nn.Linear(1, 1), decay)
