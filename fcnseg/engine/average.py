"""A moving average of the weights, which evaluation takes in place of the last ones."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fcnseg.errors import UsageError, WeightsError

_UPDATES, _MODULE = "updates", "module."


class Average:
    """The exponential moving average of a network's weights over its optimizer steps.

    After update number ``n``, from 0, the average is ``d * average + (1 - d) * weights`` with
    ``d = min(decay, (1 + n) / (10 + n))``: the first steps, far from where training ends, are
    soon forgotten. Buffers of floats (statistics of batch norm) are averaged alike, others are
    copied.

    Args:
        model: the network, without any wrapper for several processes.
        decay: 0 < decay < 1; 0.999 looks back over about a thousand steps.

    Attributes:
        module: the average as a network like ``model``, in evaluation mode, on the same device;
            none of its parameters needs a gradient.

    Raises:
        UsageError: a decay outside (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise UsageError(f"--ema: expected a decay between 0 and 1, got {decay}")
        self.module = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay, self._updates = decay, 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after an optimizer step; ``model`` is left as it is."""
        n = self._updates
        part = 1 - min(self._decay, (1 + n) / (10 + n))
        means, values = _tensors(self.module), _tensors(model)
        floats = [i for i, mean in enumerate(means) if mean.is_floating_point()]
        torch._foreach_lerp_([means[i] for i in floats], [values[i] for i in floats], part)
        for mean, value in zip(means, values, strict=True):
            if not mean.is_floating_point():
                mean.copy_(value)
        self._updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that :meth:`load` needs, as tensors by name."""
        state = {_MODULE + name: tensor for name, tensor in self.module.state_dict().items()}
        return {**state, _UPDATES: torch.tensor(self._updates)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state_dict` gave.

        Raises:
            WeightsError: the state is that of another network.
        """
        own, given = self.state_dict(), dict(state)
        other = sorted(
            name
            for name in own.keys() | given.keys()
            if name not in own or name not in given or own[name].shape != given[name].shape
        )
        if other:
            raise WeightsError(
                f"averaged weights: {len(other)} of {len(own)} tensors do not fit the network "
                f"(first {other[0]}); resume with the settings that the run was started with"
            )
        self._updates = int(given.pop(_UPDATES))
        tensors = {name.removeprefix(_MODULE): tensor for name, tensor in given.items()}
        self.module.load_state_dict(tensors)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
