"""What a run's numbers depend on beside its settings: versions, hardware, threads."""

import contextlib
import importlib.metadata
import platform
from pathlib import Path

import torch

import fcnseg

_PACKAGES = ("torch", "torchvision", "timm", "numpy", "albumentations", "opencv-python-headless")


def environment(
    device: torch.device, precision: torch.dtype = torch.float32, processes: int = 1
) -> list[tuple[str, str]]:
    """Return (name, value) of all that may change the result of a run, in words.

    Nothing in it changes from one start to the next on the same machine: there is no time, no
    path, no name of a host or a user.

    Args:
        device: that trains.
        precision: of activations while training.
        processes: that train together.
    """
    rows = [("fcnseg", fcnseg.__version__), ("Python", platform.python_version())]
    rows += [(name, version) for name in _PACKAGES if (version := _version(name))]
    rows.append(("system", f"{platform.system()} {platform.machine()}"))
    rows.append(("device", _device(device)))
    if device.type == "cuda":
        rows.append(("CUDA", str(torch.version.cuda or torch.version.hip)))
        rows.append(("cuDNN", str(torch.backends.cudnn.version())))
    rows.append(("processor", _processor()))
    rows.append(("threads of torch", str(torch.get_num_threads())))
    rows.append(("processes", str(processes)))
    rows.append(("precision", str(precision).removeprefix("torch.")))
    exact = torch.are_deterministic_algorithms_enabled()
    rows.append(("deterministic algorithms only", "yes" if exact else "no"))
    return rows


def _version(package: str) -> str:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""


def _device(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"


def _processor() -> str:
    """The model of the processor where the system tells it, else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
