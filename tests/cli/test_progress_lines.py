"""What a training says on stderr."""

from pathlib import Path

import pytest
from rich.cells import cell_len

from fcnseg.cli.class_columns import class_columns
from fcnseg.cli.progress import Progress
from fcnseg.engine import events
from fcnseg.engine.events import Evaluated, Notice, Started
from fcnseg.metrics import Scores

CLASSES = ("sky", "car", "boat")


def evaluated(epoch: int, *values: float | None) -> Evaluated:
    return Evaluated(epoch, 2, 0.5, Scores(0.9, 0.8, 0.7, 0.6, values), CLASSES, epoch == 1)


def test_classes_follow_each_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress(Started(Path("run"), 0, 2, 5, 20, 4))
        progress(evaluated(1, 0.5, 0.25, None))
        progress(Notice("saved"))
        progress(evaluated(2, 0.512, 0.25, 0.1))
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == [
        "epoch 1/2: loss 0.5000, mean IU 70.0 %, pixel accuracy 90.0 %, best so far",
        "  IU % of each class:",
        "  sky   50.0   car   25.0   boat   n/a",
        "saved",
        "epoch 2/2: loss 0.5000, mean IU 70.0 %, pixel accuracy 90.0 %",
        "  IU % of each class, and points since the last evaluation:",
        "  sky   51.2 +1.2   car   25.0 =      boat  10.0",
    ]


def test_a_classifier_says_both_accuracies(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress(events.Tested(1, 4, 0.3, 0.4, 0.75, 1.0, {"cat": 0.5, "dog": None}, True))
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1/4: loss 0.3000, test loss 0.4000, test accuracy 75.0 %, train accuracy 100.0 %, "
        "best so far",
        "  accuracy % of each class:",
        "  cat  50.0   dog   n/a",
    ]


@pytest.mark.parametrize("width", [30, 60, 100, 200])
@pytest.mark.parametrize("number", [1, 7, 40, 48])
def test_lines_keep_to_the_width_and_columns_to_the_order(width: int, number: int) -> None:
    values = {f"{'x' * (i % 9)}车{i}": i / number for i in range(number)}
    lines = class_columns(values, dict.fromkeys(values, 0.3), width)
    assert all(cell_len(line) <= width for line in lines)
    across = max(line.count("车") for line in lines)
    assert len(lines) == -(-number // across)
    columns = [
        line.split()[k] for k in range(0, 3 * across, 3) for line in lines if line.split()[k:]
    ]
    assert columns == list(values)


def test_of_many_classes_the_weakest_are_shown() -> None:
    values = {f"class{i}": (i * 7 % 60) / 60 for i in range(60)}
    lines = class_columns({**values, "none": None}, {}, 80)
    assert lines[-1] == "  the 24 weakest of 61 classes; metrics.json has all"
    shown = [word for line in lines[:-1] for word in line.split() if word.startswith("class")]
    assert set(shown) == set(sorted(values, key=lambda name: values[name])[:24])


def test_names_are_kept_to_one_short_line() -> None:
    (line,) = class_columns({"a\nb" + "c" * 60: 0.5}, {}, 80)
    assert line.startswith("  a b")
    assert "…" in line
    assert class_columns({}, {}, 80) == []
