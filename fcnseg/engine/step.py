"""One optimizer step: forward, backward, update, and what makes it whole or nothing."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fcnseg.engine.average import Average
from fcnseg.engine.task import Task
from fcnseg.engine.world import World
from fcnseg.errors import NumericError, UsageError

_DROPOUT = 4  # what a seed is for; 1 to 3 are the data's


@dataclass(frozen=True)
class Learner:
    """A network and what changes it.

    ``net`` is ``model`` as it is called in training, compiled or wrapped for several processes;
    ``head`` is the part of it that trains when the rest is frozen. ``clip_norm`` is the largest
    norm of the gradient, infinite for any.
    """

    model: nn.Module
    net: nn.Module
    head: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: Average | None = None
    frozen: bool = False
    clip_norm: float = math.inf
    world: World = field(default_factory=World)

    @property
    def judged(self) -> nn.Module:
        """What is evaluated and kept as the best: the averaged network where there is one."""
        return self.model if self.average is None else self.average.module

    def training_mode(self) -> None:
        """Ready for a step; frozen, all but the head stays as in evaluation."""
        self.net.train()
        if self.frozen:
            self.net.eval()
            self.head.train()


def take_step(
    learner: Learner, task: Task, batches: Sequence[Any], step: int, seed: int, lr: float
) -> float:
    """Make one optimizer step of ``batches`` and return its loss.

    The loss is the mean over the batches of all processes together, as if they were one; a Dice
    term, which is no mean over pixels, is that of each batch, weighted by its labelled pixels.
    Whatever is random in the network is a function of (``seed``, ``step``, process), so that a
    resumed run needs no random state.

    Args:
        learner: changed in place.
        task: says what the loss is.
        batches: this process's share of the step, one or more.
        step: counts from 1; for messages and the seed.
        seed: 0 or more.
        lr: for messages.

    Raises:
        UsageError: a batch of one image, of which batch norm can learn nothing.
        NumericError: the loss or the gradient is not finite, in any process. Weights, optimizer
            and the statistics of batch norms are then as before the step.
    """
    world, before = learner.world, _statistics(learner.model)
    torch.manual_seed(step_seed(seed, step, world.rank))
    (mass,) = world.sum(sum(task.mass(batch) for batch in batches))
    learner.optimizer.zero_grad(set_to_none=True)
    parts = []
    for index, batch in enumerate(batches):
        last = index == len(batches) - 1
        with world.deferring(learner.net, last), _single_values_named():
            part = task.loss(learner.net, batch, mass)
            learner.scaler.scale(part).backward()
        parts.append(part.detach())
    learner.scaler.unscale_(learner.optimizer)
    norm = nn.utils.get_total_norm([p.grad for p in _trained(learner) if p.grad is not None])
    *losses, length = _read([*parts, norm])
    own = sum(losses)
    (value,) = world.sum(own)
    fault = _fault(learner, value, length)
    if fault:
        _restore(before)
        learner.optimizer.zero_grad(set_to_none=True)
        ids = [name for batch in batches for name in task.ids(batch)]
        wrong = [] if math.isfinite(own) and not math.isfinite(value) else ids
        named = ", ".join(name for names in world.gather(wrong) for name in names)
        raise NumericError(
            f"step {step}: {fault} at learning rate {lr:.3g} on {named}; the checkpoints written "
            f"before are intact; lower --lr, or give {_remedy(learner)}"
        )
    if length > learner.clip_norm:
        nn.utils.clip_grads_with_norm_(_trained(learner), learner.clip_norm, norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    if learner.average is not None and math.isfinite(length):  # otherwise no step was made
        learner.average.update(learner.model)
    return value


@contextlib.contextmanager
def _single_values_named() -> Iterator[None]:
    """Say what to do where batch norm has a single number to take statistics of."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UsageError(
            "--batch-size: batch norm needs more than one image in each batch of each process, "
            "since images of this size end in a map of one cell; give 2 or more, or larger images"
        ) from error


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """The seed, 0 to 2**63 - 1, of what is random in the network in a step."""
    sequence = np.random.SeedSequence([_DROPOUT, seed, step, rank])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _trained(learner: Learner) -> list[nn.Parameter]:
    return [p for group in learner.optimizer.param_groups for p in group["params"]]


def _read(scalars: Sequence[Tensor]) -> list[float]:
    """The numbers of a step, read together: an accelerator has to be waited for each time."""
    return [float(number) for number in torch.stack(list(scalars)).tolist()]


def _fault(learner: Learner, loss: float, norm: float) -> str:
    """What is not finite. A gradient too large for fp16 is not a fault: the scaler halves its
    scale and leaves the step out, until there is nothing left to halve."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if math.isfinite(norm):
        return ""
    if learner.scaler.is_enabled() and learner.scaler.get_scale() > 1:
        return ""
    return f"the norm of the gradient is {norm}"


def _remedy(learner: Learner) -> str:
    return "--precision bf16 or fp32" if learner.scaler.is_enabled() else "--clip-norm 1"


def _statistics(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Buffers that a forward pass may write, with copies."""
    return [(buffer, buffer.clone()) for buffer in model.buffers()]


def _restore(before: list[tuple[Tensor, Tensor]]) -> None:
    with torch.no_grad():
        for buffer, value in before:
            buffer.copy_(value)
