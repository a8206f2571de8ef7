import math

import numpy as np
import pytest

from fcnseg.render import training_curves
from fcnseg.render.series import running_median

BLUE, PALE, ORANGE = (0, 114, 178), (156, 201, 227), (213, 94, 0)


def rows_of_a_run(steps=300, epochs=6):
    rows = []
    for step in range(steps):
        loss = 2 * math.exp(-step / 60) + 0.1 * math.sin(step)
        rows.append({"kind": "step", "step": step, "epoch": 0, "loss": loss, "lr": 1e-3})
    for epoch in range(1, epochs + 1):
        share = 1 - math.exp(-epoch)
        rows.append(
            {"kind": "eval", "step": epoch * 50, "epoch": epoch, "mean_iu": 0.8 * share}
            | {"pixel_accuracy": 0.95 * share}
        )
    return rows


def panels(picture):
    return np.array_split(picture, 3, axis=1)


def has(panel, colour):
    return bool((np.abs(panel.astype(int) - colour).max(axis=2) <= 12).any())


def test_the_three_panels_have_their_curves():
    picture = training_curves(rows_of_a_run())
    assert picture.shape == (400, 1280, 3)
    assert picture.dtype == np.uint8
    loss, rate, scores = panels(picture)
    assert has(loss, BLUE)
    assert has(loss, PALE)
    assert has(rate, BLUE)
    assert not has(rate, ORANGE)
    assert has(scores, BLUE)
    assert has(scores, ORANGE)


def test_a_falling_loss_falls_in_the_picture():
    panel = panels(training_curves(rows_of_a_run()))[0][60:]
    blue = np.abs(panel.astype(int) - BLUE).max(axis=2) <= 12
    columns = np.flatnonzero(blue.any(axis=0))
    heights = [np.flatnonzero(blue[:, x]).mean() for x in columns]
    assert heights[0] < heights[len(heights) // 2] < heights[-1] + 15


@pytest.mark.parametrize(
    "rows",
    [
        [],
        rows_of_a_run(1, 0),
        rows_of_a_run(0, 1),
        rows_of_a_run(3, 2),
        [{"kind": "note", "text": "resumed"}, {"text": "no kind"}],
        [{"kind": "step", "step": 1, "loss": None, "lr": float("inf")}],
        [{"kind": "step", "step": k, "loss": 0.0, "lr": 0.0} for k in range(4)],
        [{"kind": "eval", "epoch": 1, "mean_iu": None, "pixel_accuracy": None}],
    ],
)
def test_any_beginning_of_a_run_gives_a_picture(rows):
    picture = training_curves(iter(rows))
    assert picture.shape == (400, 1280, 3)
    assert (picture < 128).any()


def test_losses_that_are_not_finite_leave_a_gap():
    rows = rows_of_a_run()
    rows[5]["loss"] = float("nan")
    rows[6]["loss"] = None
    rows[7]["loss"] = float("inf")
    assert has(panels(training_curves(rows))[0], BLUE)


def test_one_wild_step_does_not_flatten_the_curve():
    rows = rows_of_a_run()
    rows[0]["loss"] = 1e6
    rows[200]["loss"] = 1e6
    panel = panels(training_curves(rows))[0][60:]
    blue = np.flatnonzero((np.abs(panel.astype(int) - BLUE).max(axis=2) <= 12).any(axis=1))
    assert blue[-1] - blue[0] > 150


def test_a_classifier_has_its_accuracies_and_its_test_loss():
    rows = rows_of_a_run()
    for row in rows:
        if row["kind"] == "eval":
            row["test_accuracy"], row["train_accuracy"] = row.pop("mean_iu"), 0.97
            row["test_loss"] = 1.5
            del row["pixel_accuracy"]
    loss, _, scores = panels(training_curves(rows))
    assert has(loss, ORANGE)
    assert has(scores, BLUE)
    assert has(scores, ORANGE)
    assert not has(panels(training_curves(rows_of_a_run()))[0], ORANGE)


@pytest.mark.parametrize(("count", "reach"), [(1, 1), (40, 3), (40, 50), (3000, 75)])
def test_running_median_equals_the_plain_loop(count, reach):
    values = np.random.default_rng(0).normal(size=count)
    values[3:5] = np.nan
    places, got = running_median(values, reach)
    assert len(places) == min(count, 400)
    assert (places[0], places[-1]) == (0, count - 1)
    for i, median in zip(places, got, strict=True):
        near = sorted(v for v in values[max(0, i - reach) : i + reach + 1] if not np.isnan(v))
        middle = len(near) // 2
        expected = near[middle] if len(near) % 2 else (near[middle - 1] + near[middle]) / 2
        assert median == pytest.approx(expected)


def test_a_running_median_of_nothing_is_a_gap():
    assert np.isnan(running_median(np.full(5, np.nan), 2)[1]).all()
