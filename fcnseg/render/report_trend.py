"""Whether a run is still improving, has levelled off or fits its training images only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fcnseg.render.series import Row, column, in_words, is_loss, of_kind

# In a measure from 0 to 1: less than this is no change, more than that a real loss.
_SAME, _WORSE = 0.005, 0.02
_RATE_GONE = 0.05
_GAP = 0.1


@dataclass(frozen=True)
class Trend:
    """A judgement in a few words, and the numbers that it rests on, in a sentence.

    ``level`` is "fine", "warning" or "" where nothing can be said yet.
    """

    level: str
    short: str
    why: str


def trend(rows: Sequence[Row], score: str) -> Trend:
    """Judge a run by its log; ``score`` names the measure that chooses the best checkpoint.

    Compared are the mean of the last evaluations, a quarter of all and at least two, and the mean
    of as many before them; and the best with the last. A change that is small beside the jumps
    from one evaluation to the next counts as none.
    """
    evaluations = of_kind(rows, "eval")
    value = column(evaluations, score)
    evaluations = [row for row, v in zip(evaluations, value, strict=True) if np.isfinite(v)]
    value = value[np.isfinite(value)]
    if len(value) < 4:
        why = f"{len(value)} of the 4 evaluations that it takes are done."
        return Trend("", "Too early to see a trend", why)
    name, span, best = in_words(score), max(2, len(value) // 4), int(value.argmax())
    gain = float(value[-span:].mean() - value[-2 * span : -span].mean())
    jump = float(np.median(np.abs(np.diff(value))))
    noise = jump / float(np.sqrt(span))
    fell = _fall(column(evaluations, "train_loss"), span)
    lost = float(value[best] - value[-span:].mean())
    gap = _gap(evaluations)
    since = f"over the last {span} evaluations, against the {span} before"
    change = f"{name} {_moved(gain)} {since}; {_loss_moved(fell)}."
    if lost > _WORSE + noise and fell > 0 and best < len(value) - span:
        at = evaluations[best].get("epoch")
        why = f"{name} was best in epoch {at}; the mean of the last {span} evaluations is "
        return Trend(
            "warning", "Overfitting", f"{why}{_points(lost)} lower, while {_loss_moved(fell)}.{gap}"
        )
    if noise > 2 * _SAME and abs(gain) <= noise:
        why = f"from one evaluation to the next {name} moves by about {_points(jump)}; {change}"
        return Trend("fine", "No clear trend", f"{why}{gap}")
    if gain > _SAME:
        more = " A longer run (more --epochs) would have room left."
        left = more if _rate_left(rows) <= _RATE_GONE else ""
        return Trend("fine", "Still improving", f"{change}{left}{gap}")
    if gain < -_SAME:
        return Trend("warning", "Getting worse", f"{change}{gap}")
    return Trend("fine", "Levelled off", f"{change}{_schedule(rows)}{gap}")


def _schedule(rows: Sequence[Row]) -> str:
    rate = _rate_left(rows)
    if rate > _RATE_GONE:
        return ""
    return (
        f" The learning rate is down to {100 * rate:.2g} % of its highest, so this alone does not "
        "say that a longer run would gain nothing."
    )


def _fall(loss: np.ndarray, span: int) -> float:
    """The share by which the training loss fell; NaN where it is not known."""
    now, before = loss[-span:].mean(), loss[-2 * span : -span].mean()
    return float((before - now) / before) if before > 0 else float("nan")


def _rate_left(rows: Sequence[Row]) -> float:
    """The last learning rate as a share of the highest; 1 where there is none."""
    rates = column(of_kind(rows, "step"), "lr")
    rates = rates[np.isfinite(rates)]
    return float(rates[-1] / rates.max()) if len(rates) and rates.max() > 0 else 1.0


def _gap(evaluations: Sequence[Row]) -> str:
    """Training against test accuracy, where both are known and lie far apart."""
    last = evaluations[-1]
    ends = {n: last[n] for n in last if n.endswith("accuracy") and not is_loss(n)}
    here, there = ends.get("train_accuracy"), ends.get("test_accuracy")
    if here is None or there is None or here - there < _GAP:
        return ""
    return (
        f" Training accuracy is {_points(here - there)} above test accuracy: the network knows its "
        "training images better than others."
    )


def _moved(gain: float) -> str:
    if abs(gain) < 0.0005:
        return "has not moved"
    return f"{'rose' if gain > 0 else 'fell'} by {_points(abs(gain))}"


def _loss_moved(fell: float) -> str:
    if not np.isfinite(fell):
        return "the training loss is not known"
    if abs(fell) < 0.005:
        return "the training loss has not moved"
    return f"the training loss {'fell' if fell > 0 else 'rose'} by {100 * abs(fell):.0f} %"


def _points(share: float) -> str:
    points = 100 * share
    return f"{points:.1f} point{'' if f'{points:.1f}' == '1.0' else 's'}"
