"""The page of a run: facts gathered, and written as ``report.html``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg.errors import UsageError
from fcnseg.files import write_atomically
from fcnseg.palette import Palette
from fcnseg.render.report_facts import Panel, Trained
from fcnseg.render.report_page import report_page
from fcnseg.run_config import PLACE

__all__ = ["Panel", "write_report"]

_SAMPLES = 4
_BEST, _WORST = 3, 6
_SCORES = ("mean_iu", "test_accuracy")


def write_report(
    path: Path,
    *,
    title: str,
    command: str,
    settings: Mapping[str, Any],
    environment: Sequence[tuple[str, str]],
    classes: Sequence[str],
    palette: Palette,
    class_values: Sequence[float | None],
    class_measure: str,
    summary: Mapping[str, float],
    confusion: np.ndarray,
    rows: Sequence[Mapping[str, Any]],
    best_epoch: int,
    panels: Sequence[Panel] = (),
    unit: str = "pixels",
) -> Path:
    """Write the page of a run; the file is replaced in one step. Returns ``path``.

    The page holds no time and no number that is not in the arguments: the same arguments give the
    same bytes. The settings ``run``, ``resume`` and ``overwrite`` are left out of it.

    Args:
        path: the file.
        title: what was trained on what, such as "FCN-8s of vgg16 on camvid".
        command: the command that gives this run again.
        settings: all settings by name.
        environment: (name, value), see :func:`fcnseg.engine.environment.environment`.
        classes: K names.
        palette: K colours, or () where classes have none.
        class_values: the measure of each class in [0, 1], None where it is not defined.
        class_measure: what that is called: "IU" or "accuracy".
        summary: name -> measure in [0, 1] of the last evaluation, the most important one first.
        confusion: (K, K) integer counts [truth, predicted] of the last evaluation.
        rows: the rows of the log, see :class:`Trained`.
        best_epoch: the epoch of the best checkpoint.
        panels: images of the last evaluation, at most about a dozen; each may be of any size.
        unit: what ``confusion`` counts: "pixels" or "images".

    Raises:
        UsageError: the numbers of classes, colours, values and counts do not fit together.
        EnvironmentFault: the file cannot be written.
    """
    counts = np.asarray(confusion)
    number = len(classes)
    sizes = {"class_values": len(class_values), "palette": len(palette) or number}
    wrong = [f"{name} has {size}" for name, size in sizes.items() if size != number]
    if counts.shape != (number, number):
        wrong.append(f"confusion has shape {counts.shape}")
    if wrong:
        raise UsageError(f"{path}: {number} classes, but {', '.join(wrong)}; give one for each")
    trained = Trained(
        title=title,
        command=command,
        settings=tuple((k, _words(v)) for k, v in settings.items() if k not in PLACE),
        environment=tuple(environment),
        classes=tuple(classes),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in palette),
        class_values=tuple(class_values),
        class_measure=class_measure,
        summary=tuple(summary.items()),
        confusion=counts.astype(np.int64),
        rows=tuple(rows),
        best_epoch=best_epoch,
        score=_score(rows),
        unit=unit,
        panels=tuple(panels),
    )
    return write_atomically(path, report_page(trained).encode("utf-8", "replace"))


def evenly_spread(count: int) -> list[int]:
    """The indices of the samples that are drawn after each evaluation, always the same."""
    return sorted({i * count // _SAMPLES for i in range(_SAMPLES)})


def extremes(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """("worst" or "best", name) of the images with the lowest and the highest scores.

    None is among both; images of one score stand in the order of their names.
    """
    order = sorted(scores, key=lambda name: (scores[name], name))
    worst = order[: min(_WORST, -(-len(order) // 2))]
    best = [name for name in reversed(order[-_BEST:]) if name not in worst]
    return [("worst", name) for name in worst] + [("best", name) for name in best]


def _score(rows: Sequence[Mapping[str, Any]]) -> str:
    """The measure that chooses the best checkpoint, by what the evaluations hold."""
    known = next((row for row in rows if row.get("kind") == "eval"), {})
    return next((name for name in _SCORES if name in known), _SCORES[0])


def _words(value: Any) -> str:
    """A setting as one writes it in YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_words(v)}" for k, v in value.items())
    if type(value) in (list, tuple):  # a Size says itself how it is written
        return ", ".join(_words(v) for v in value)
    return str(value)
