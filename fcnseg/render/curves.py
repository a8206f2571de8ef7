"""A training run in one picture: loss, learning rate and accuracy."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fcnseg.render.series import column, in_words, running_median

# Two colours of the Okabe-Ito palette, told apart with any kind of colour vision.
_BLUE = "#0072B2"
_ORANGE = "#D55E00"
_PALE_BLUE = "#9CC9E3"

# What chooses the best checkpoint, and what is shown beside it: of segmentation, of classifiers.
_SCORES = (("mean_iu", "pixel_accuracy"), ("test_accuracy", "train_accuracy"))

_DPI = 100
_SIZE_INCHES = (12.8, 4.0)


def training_curves(rows: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """Return loss and learning rate by step and the scores by epoch, (400, 1280, 3) uint8.

    ``rows`` are the lines of ``log.jsonl`` in order: of kind ``step`` with ``step``, ``loss`` and
    ``lr``, and of kind ``eval`` with ``epoch`` and, in [0, 1], ``mean_iu`` and ``pixel_accuracy``,
    or for a classifier ``test_accuracy`` and ``train_accuracy``; a ``test_loss`` beside ``step``
    is drawn with the loss. Other kinds and other keys are passed over; numbers that are missing
    or not finite leave a gap. Without any rows of a kind its panel says so.

    >>> rows = [{"kind": "step", "step": 1, "loss": 0.7, "lr": 1e-4}]
    >>> training_curves(rows).shape
    (400, 1280, 3)
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    kept = list(rows)
    steps = [row for row in kept if row.get("kind") == "step"]
    evaluations = [row for row in kept if row.get("kind") == "eval"]
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout=layout, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    loss_axes, rate_axes, score_axes = figure.subplots(1, 3)
    for axes in (loss_axes, rate_axes, score_axes):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#E6E6E6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.xaxis.get_major_locator().set_params(integer=True)
    _draw_loss(loss_axes, steps, evaluations)
    _draw_rate(rate_axes, steps)
    _draw_scores(score_axes, evaluations)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_loss(
    axes: Any, rows: list[Mapping[str, Any]], evaluations: list[Mapping[str, Any]]
) -> None:
    axes.set(title="loss", xlabel="step")
    step, loss = column(rows, "step"), column(rows, "loss")
    if not np.isfinite(loss).any():
        return _say(axes, "no steps yet")
    places, median = running_median(loss, max(1, len(loss) // 40))
    axes.plot(step, loss, color=_PALE_BLUE, linewidth=0.8, label="each step")
    axes.plot(step[places], median, color=_BLUE, linewidth=1.8, label="running median")
    if len(loss) == 1:
        axes.plot(step, loss, "o", color=_BLUE)
    # A few wild steps may leave the picture, so that they do not flatten the rest of the curve.
    finite = loss[np.isfinite(loss)]
    top = max(float(np.quantile(finite, 0.99)), float(np.nanmax(median)))
    at, tested = column(evaluations, "step"), column(evaluations, "test_loss")
    if (np.isfinite(tested) & np.isfinite(at)).any():
        axes.plot(at, tested, "s-", color=_ORANGE, markersize=4, label="test loss")
        top = max(top, float(np.nanmax(tested)))
    axes.set_ylim(min(0.0, float(finite.min())), 1.05 * top or 1.0)
    axes.legend(frameon=False, loc="upper right")
    _mark_single(axes, step)


def _draw_rate(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    axes.set(title="learning rate", xlabel="step")
    step, rate = column(rows, "step"), column(rows, "lr")
    if not np.isfinite(rate).any():
        return _say(axes, "no steps yet")
    axes.plot(step, rate, color=_BLUE, linewidth=1.8, marker="o" if len(rate) == 1 else "")
    axes.set_ylim(0, 1.08 * float(np.nanmax(rate)) or 1.0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    _mark_single(axes, step)


def _draw_scores(axes: Any, rows: list[Mapping[str, Any]]) -> None:
    axes.set(title="validation", xlabel="epoch", ylim=(0, 1))
    chosen, other = _SCORES[any("test_accuracy" in row for row in rows)]
    epoch, score, beside = column(rows, "epoch"), column(rows, chosen), column(rows, other)
    if not np.isfinite(score).any():
        return _say(axes, "no evaluation yet")
    axes.plot(epoch, beside, "s-", color=_ORANGE, markersize=4, label=in_words(other))
    axes.plot(epoch, score, "o-", color=_BLUE, markersize=4, label=in_words(chosen))
    best = int(np.nanargmax(score))
    axes.annotate(
        f"best {score[best]:.3f}",
        (epoch[best], score[best]),
        textcoords="offset points",
        xytext=(0, -16),
        ha="right" if best > len(rows) // 2 else "left",
        color=_BLUE,
    )
    axes.legend(frameon=False, loc="lower right")
    _mark_single(axes, epoch)


def _mark_single(axes: Any, x: np.ndarray) -> None:
    """Around a single value the axis would show fractions of a step."""
    if len(x) == 1 and np.isfinite(x[0]):
        axes.set_xticks([int(x[0])])


def _say(axes: Any, text: str) -> None:
    axes.set(xticks=[], yticks=[], xlabel="")
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#606060")
