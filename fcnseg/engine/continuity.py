"""What a resumed run must find as it was: the samples, their classes and what they weigh."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fcnseg.data.sample import Source

_LISTS = ("training", "validation")


def describe_data(
    sources: tuple[Source, Source], class_weights: Sequence[float] | None
) -> dict[str, Any]:
    """Return plain values that are equal for the same classes, samples and weights.

    Samples are told by their names and their order, not by what the files hold.
    """
    described: dict[str, Any] = {
        "classes": list(sources[0].classes),
        "class weights": None if class_weights is None else [float(w) for w in class_weights],
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


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in value)
    return "none" if value is None else str(value)
