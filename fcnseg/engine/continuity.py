"""What a resumed run must find as it was, and what may change the last digits of its result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch

_LISTS = ("training", "validation")


class Listed(Protocol):
    """Samples with names, and the names of their classes."""

    @property
    def classes(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def id(self, index: int) -> str: ...


def describe_data(
    sources: tuple[Listed, Listed],
    class_weights: Sequence[float] | None = None,
    images_a_step: int = 0,
) -> dict[str, Any]:
    """Return plain values that are equal for the same classes, samples, weights and steps.

    Samples are told by their names and their order, not by what the files hold.
    """
    described: dict[str, Any] = {
        "classes": list(sources[0].classes),
        "class weights": None if class_weights is None else [float(w) for w in class_weights],
        "images a step": images_a_step,
    }
    for name, source in zip(_LISTS, sources, strict=True):
        ids = json.dumps([source.id(index) for index in range(len(source))])
        described[f"{name} images"] = len(source)
        described[f"list of {name} images"] = hashlib.sha256(ids.encode()).hexdigest()
    return described


def data_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in what two descriptions differ; nothing where ``then`` was not recorded."""
    found = []
    for name, value in now.items():
        if name not in then or then[name] == value:
            continue
        if name.startswith("list of"):
            if then.get(name.removeprefix("list of ")) == now.get(name.removeprefix("list of ")):
                found.append(f"another {name}")
        else:
            found.append(f"{name}: {_short(then[name])} -> {_short(value)}")
    return found


def describe_machine(
    device: torch.device, precision: torch.dtype, processes: int
) -> dict[str, Any]:
    """Return what the last digits of a result depend on, as plain values."""
    kind = device.type
    if kind == "cuda":
        kind = torch.cuda.get_device_name(device)
    elif kind == "cpu":
        kind = f"cpu with {torch.backends.cpu.get_cpu_capability()}"
    return {
        "torch": str(torch.__version__),
        "device": kind,
        "precision": str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def machine_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say in what two descriptions of a machine differ."""
    return [f"{n}: {_short(then[n])} -> {_short(v)}" for n, v in now.items() if then.get(n, v) != v]


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in value)
    return "none" if value is None else str(value)
