"""Which device computes, and at which precision."""

from contextlib import AbstractContextManager, nullcontext

import torch

from fcnseg.errors import UsageError


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is CUDA, then MPS, then the CPU, whichever is there first.

    Raises:
        UsageError: torch does not know the device or cannot use it on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name}: cannot be used ({reason}); try auto or cpu") from None
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type of mixed precision; float32 where there is none.

    ``auto`` is float32 away from CUDA. On a CPU with AMX bf16 trains VGG16 1.3 and ResNet18 1.2
    times as fast, but EfficientNet-Lite0, whose convolutions go channel by channel, 0.6 times
    (``tools/bench_precision.py``); and what a run gives would depend on the kind of CPU.

    Raises:
        UsageError: fp16 away from CUDA, where gradients would vanish for want of a scaler.
    """
    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        # by way of fp32 (GPUs before Ampere) bf16 is slower than fp16
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    if name == "fp16" and device.type != "cuda":
        raise UsageError(f"--precision fp16: needs CUDA, the device is {device}; use bf16 or fp32")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Mixed precision where ``precision`` is not float32."""
    if precision == torch.float32:  # not every device that computes has mixed precision
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)
