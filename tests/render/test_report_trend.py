"""Whether a run still improves, by logs of which it is known."""

import numpy as np
import pytest

from fcnseg.render.report_trend import trend


def judged(scores, losses=None, rates=(1e-3, 5e-4), score="mean_iu"):
    losses = np.geomspace(1, 0.5, len(scores)) if losses is None else losses
    rows = [{"kind": "step", "epoch": 1, "step": k, "lr": r} for k, r in enumerate(rates)]
    rows += [
        {"kind": "eval", "epoch": e, "step": e, "train_loss": loss, score: value}
        for e, (value, loss) in enumerate(zip(scores, losses, strict=True), 1)
    ]
    return trend(rows, score)


@pytest.mark.parametrize("scores", [[], [0.3], [0.1, None, 0.2, float("nan"), 0.3]])
def test_few_evaluations_say_nothing(scores):
    found = judged(scores)
    assert found.short == "Too early to see a trend"
    assert found.level == ""


def test_a_rising_score():
    found = judged([0.1, 0.2, 0.3, 0.38, 0.44, 0.48, 0.5, 0.52])
    assert (found.level, found.short) == ("fine", "Still improving")
    # (0.50 + 0.52) / 2 against (0.44 + 0.48) / 2
    assert "rose by 5.0 points over the last 2 evaluations, against the 2 before" in found.why
    assert "more --epochs" not in found.why
    spent = judged([0.1, 0.2, 0.3, 0.38, 0.44, 0.48, 0.5, 0.52], rates=(1e-3, 1e-6))
    assert "more --epochs" in spent.why


def test_a_flat_score():
    found = judged([0.3, 0.5, 0.6, 0.601, 0.6, 0.602, 0.601, 0.602])
    assert (found.level, found.short) == ("fine", "Levelled off")
    assert "learning rate" not in found.why
    spent = judged([0.3, 0.5, 0.6, 0.601, 0.6, 0.602, 0.601, 0.602], rates=(1e-3, 1e-5))
    assert "learning rate is down to 1 % of its highest" in spent.why


def test_a_best_that_lies_behind_while_the_loss_falls_is_overfitting():
    found = judged([0.2, 0.4, 0.55, 0.6, 0.58, 0.55, 0.52, 0.5, 0.48, 0.46])
    assert (found.level, found.short) == ("warning", "Overfitting")
    assert "best in epoch 4; the mean of the last 2 evaluations is 13.0 points lower" in found.why
    diverged = judged(
        [0.2, 0.4, 0.55, 0.6, 0.58, 0.55, 0.52, 0.5, 0.48, 0.46], np.linspace(1, 3, 10)
    )
    assert (diverged.level, diverged.short) == ("warning", "Getting worse")
    assert "the training loss rose by" in diverged.why


def test_a_jumping_score_has_no_trend():
    found = judged([0.31, 0.27, 0.32, 0.3])
    assert found.short == "No clear trend"
    assert "moves by about 4.0 points" in found.why


def test_missing_losses_are_said():
    found = judged([0.1, 0.2, 0.3, 0.4], [None] * 4)
    assert "the training loss is not known" in found.why
