"""Steps under the loss scaler of fp16, which works on the CPU as it does on CUDA."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fcnseg.engine.average import Average
from fcnseg.engine.checkpoint import Progress
from fcnseg.engine.states import States
from fcnseg.engine.step import Learner, take_step
from fcnseg.errors import NumericError


class Line(nn.Module):
    """Two weights, and a buffer that counts forward passes as batch norm does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("passes", torch.tensor(0))

    def forward(self, factor: Tensor) -> Tensor:
        self.passes += 1
        return (self.weight * factor).sum()


class Factors:
    """A task whose batch is the gradient that the loss has."""

    def ids(self, batch: Tensor) -> list[str]:
        return [f"x{float(batch[0]):g}"]

    def mass(self, batch: Tensor) -> float:
        return 1.0

    def loss(self, net: nn.Module, batch: Tensor, mass: float) -> Tensor:
        return net(batch) / mass


TASK: Any = Factors()
SMALL = torch.tensor([0.5, -1.0])
LARGE = torch.tensor([1e38, 1e38])  # times 4 it is infinite, times 1 and 2 it is not


def learner(scale: float, **options: Any) -> Learner:
    model = Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return Learner(model, model, model, optimizer, scaler, **options)


def stepped(own: Learner, *batches: Tensor) -> float:
    return take_step(own, TASK, batches, 7, seed=0, lr=0.1)


def weights(own: Learner) -> list[float]:
    return own.model.weight.tolist()


def test_a_scaled_step_is_the_step() -> None:
    own = learner(1024.0)
    assert stepped(own, SMALL) == pytest.approx(0.5 - 2.0)
    assert weights(own) == pytest.approx([0.95, 2.1])
    assert own.scaler.get_scale() == 1024


def test_the_norm_is_clipped_without_the_scale() -> None:
    own = learner(1024.0, clip_norm=0.1)
    stepped(own, torch.tensor([3.0, -4.0]))
    # the gradient has norm 5, shortened to 0.1
    assert weights(own) == pytest.approx([1 - 0.1 * 0.06, 2 + 0.1 * 0.08], abs=1e-6)


def test_batches_of_a_step_are_added_up_under_one_scale() -> None:
    own = learner(1024.0)
    stepped(own, SMALL, SMALL * 3)
    assert weights(own) == pytest.approx([1 - 0.1 * (0.5 + 1.5) / 2, 2 + 0.1 * (1 + 3) / 2])


def test_an_overflow_leaves_the_weights_and_halves_the_scale() -> None:
    own = learner(8.0)
    assert stepped(own, LARGE) == pytest.approx(3e38)
    assert weights(own) == [1.0, 2.0]
    assert own.scaler.get_scale() == 4
    assert not own.optimizer.state[own.model.weight]
    stepped(own, SMALL)
    assert weights(own) == pytest.approx([0.95, 2.1])


def test_an_overflow_in_one_batch_leaves_out_the_whole_step() -> None:
    own = learner(16.0)
    stepped(own, SMALL, LARGE)
    assert weights(own) == [1.0, 2.0]


def test_the_scale_falls_until_the_gradient_fits() -> None:
    own = learner(2.0**16)
    for _ in range(15):  # 2**16 to 2**1
        stepped(own, LARGE)
        assert weights(own) == [1.0, 2.0]
    assert own.scaler.get_scale() == 2
    stepped(own, LARGE)
    assert weights(own) == pytest.approx([-1e37, -1e37])


def test_an_average_takes_no_part_in_a_step_left_out() -> None:
    own = learner(8.0)
    averaged = learner(8.0, average=Average(own.model, 0.5))
    stepped(averaged, LARGE)
    assert averaged.average is not None
    assert int(averaged.average.state_dict()["updates"]) == 0
    stepped(averaged, SMALL)
    assert int(averaged.average.state_dict()["updates"]) == 1


def infinite_gradient(net: nn.Module, batch: Tensor, mass: float) -> Tensor:
    return (net(batch) * 0).abs().sqrt()  # 0, with a slope of infinity there


def test_a_gradient_that_stays_infinite_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TASK, "loss", infinite_gradient, raising=False)
    own = learner(4.0)
    stepped(own, SMALL)
    stepped(own, SMALL)
    assert own.scaler.get_scale() == 1
    with pytest.raises(
        NumericError,
        match=r"^step 7: the norm of the gradient is (inf|nan) at learning rate 0\.1 on x0\.5; "
        r".*intact; lower --lr, or give --precision bf16 or fp32$",
    ):
        stepped(own, SMALL)
    assert weights(own) == [1.0, 2.0]
    assert int(own.model.passes) == 2  # as before the step


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_at_any_scale(value: float) -> None:
    own = learner(2.0**16)
    with pytest.raises(NumericError, match=rf"step 7: the loss is {value}"):
        stepped(own, torch.tensor([value, 0.0]))
    assert weights(own) == [1.0, 2.0]
    assert int(own.model.passes) == 0


def test_the_scale_is_saved_and_restored(tmp_path: Path, make_net: Callable[..., Any]) -> None:
    def own(scale: float) -> Learner:
        model = make_net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        return Learner(model, model, model.head, optimizer, scaler)

    first = own(64.0)
    first.scaler.scale(torch.ones(()))  # the scale is made when it is first used
    States(tmp_path).save(first, Progress(step=3), {})
    second = own(2.0**16)
    States(tmp_path).load(second)
    assert second.scaler.state_dict() == first.scaler.state_dict()
    assert second.scaler.get_scale() == 64
