"""``--compile``: a network compiled by ``torch.compile``, and what is missing where that fails."""

from typing import Any

import torch
from torch import Tensor, nn

from fcnseg.errors import EnvironmentFault

_REMEDY = "leave --compile out, or install what it needs (a C++ compiler, on CUDA triton)"
_SHOWN = 200


class Compiled(nn.Module):
    """A network whose forward and backward are compiled, anew for sizes that it has not seen.

    It shares layers, parameters and training mode with the network that was given; only that
    one's state dict is meant to be kept.

    Args:
        model: stays as it is.
        backend: what compiles, as in ``torch.compile``.
    """

    def __init__(self, model: nn.Module, backend: str = "inductor") -> None:
        super().__init__()
        self.module = model
        self._run = torch.compile(model.forward, backend=backend)

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """What the network gives.

        Raises:
            EnvironmentFault: it cannot be compiled on this machine.
        """
        try:
            out: Tensor = self._run(image_N3HW)
        except _failures() as error:
            raise EnvironmentFault(f"--compile: {_reason(error)}; {_REMEDY}") from error
        return out


def check_compiler(device: torch.device) -> None:
    """Compile a few operations and their gradient, as a training would.

    Raises:
        EnvironmentFault: there is no compiler on this machine, or it does not work.
    """
    numbers = torch.ones(8, device=device, requires_grad=True)
    try:
        torch.compile(lambda x: (x * 2 + 1).relu().sum())(numbers).backward()
    except Exception as error:  # what a missing or broken compiler raises is not told anywhere
        raise EnvironmentFault(f"--compile: {_reason(error)}; {_REMEDY}") from error


def _failures() -> tuple[type[BaseException], ...]:
    from torch._dynamo import exc

    return exc.TorchDynamoException, exc.BackendCompilerFailed


def _reason(error: BaseException) -> str:
    """The first words of the innermost error: those around it only say where it was."""
    inner: Any = error
    while getattr(inner, "inner_exception", None) is not None:
        inner = inner.inner_exception
    lines = [line.strip() for line in str(inner).splitlines() if line.strip()]
    text = lines[0] if lines else type(inner).__name__
    return f"torch.compile fails ({text[:_SHOWN].rstrip('.')})"
