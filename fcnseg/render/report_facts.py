"""What the page of a training run is made from: plain numbers, texts and small pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcnseg.palette import Colour


@dataclass(frozen=True, eq=False)
class Panel:
    """One image of the evaluation, with what was predicted.

    Attributes:
        id: its name.
        score: its mean IU, or where images are classified the probability of its true class, in
            [0, 1]; None where it has none.
        kind: "worst" or "best".
        picture: (H, W, 3) uint8, see :func:`fcnseg.render.comparison.comparison`.
        caption: more words about it; may be empty.
    """

    id: str
    score: float | None
    kind: str
    picture: np.ndarray
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Trained:
    """Everything on the page.

    The scores, the confusion matrix and the panels are those of the last evaluation in ``rows``;
    which epoch was the best, and its scores, are read from ``rows`` too.

    Attributes:
        title: what was trained on what.
        command: the command that gives this run again.
        settings: (name, value) of every setting, in words.
        environment: (name, value) of versions and hardware, in words.
        classes: K names.
        palette: K colours (r, g, b), or () where classes have none.
        class_values: the measure of each class in [0, 1]; None where it is not defined.
        class_measure: what that is called: "IU" or "accuracy".
        summary: (name, value in [0, 1]) of the measures, the one that decides first.
        confusion: (K, K) int64 counts [truth, predicted].
        rows: the log: rows of kind "step" with ``epoch``, ``step``, ``loss`` and ``lr``; rows of
            kind "eval" with ``epoch``, ``step``, numbers whose names end in "loss", measures in
            [0, 1] and one mapping of class names to values whose name begins with "class".
        best_epoch: the epoch of the best checkpoint.
        score: the name in ``rows`` of the measure that chooses the best checkpoint.
        unit: what the confusion matrix counts: "pixels" or "images".
        panels: images of the evaluation.
    """

    title: str
    command: str
    settings: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    class_values: tuple[float | None, ...]
    class_measure: str
    summary: tuple[tuple[str, float], ...]
    confusion: np.ndarray
    rows: tuple[Mapping[str, Any], ...]
    best_epoch: int
    score: str
    unit: str = "pixels"
    panels: tuple[Panel, ...] = ()
