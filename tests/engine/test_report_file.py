"""report.html: what is gathered for it, and that the same run gives the same bytes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import check_self_contained

from fcnseg.engine.environment import environment
from fcnseg.engine.report import Panel, write_report
from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.settings import Size

PANEL = Panel("a", 0.5, "worst", np.zeros((20, 30, 3), np.uint8))


def arguments(**change: Any) -> dict[str, Any]:
    rows = [
        {"kind": "step", "epoch": 1, "step": 1, "loss": 0.5, "lr": 0.1},
        {"kind": "eval", "epoch": 1, "step": 1, "train_loss": 0.5, "mean_iu": 0.25,
         "class_iu": {"a": 0.5, "b": 0.0}},
    ]  # fmt: skip
    values = {
        "title": "FCN-8s", "command": "fcnseg train", "environment": [("torch", "2")],
        "settings": {"run": "here", "resume": True, "overwrite": False, "lr": 1e-10, "ema": None,
                     "crop_size": Size(32, 48), "flip": True, "names": ["a", "b"]},
        "classes": ("a", "b"), "palette": ((0, 0, 0), (9, 9, 9)), "class_values": (0.5, None),
        "class_measure": "IU", "summary": {"mean IU": 0.25}, "confusion": np.eye(2, dtype=int),
        "rows": rows, "best_epoch": 1, "panels": [PANEL],
    }  # fmt: skip
    return {**values, **change}


def test_the_page_is_written_and_always_the_same(tmp_path: Path) -> None:
    path = write_report(tmp_path / "report.html", **arguments())
    page = path.read_text(encoding="utf-8")
    text = check_self_contained(page).text
    assert "lr 1e-10 ema null crop_size 32x48 flip true names a, b" in text
    assert "mean IU 25.0 % in epoch 1" in text
    assert not re.search(r"\d\d:\d\d|20\d\d-", text)
    again = write_report(tmp_path / "report2.html", **arguments())
    assert again.read_bytes() == path.read_bytes()
    elsewhere = {**arguments()["settings"], "run": "there", "resume": False, "overwrite": True}
    moved = write_report(tmp_path / "report3.html", **arguments(settings=elsewhere))
    assert moved.read_bytes() == path.read_bytes()


def test_a_row_of_a_classifier_names_the_score(tmp_path: Path) -> None:
    rows = [{"kind": "eval", "epoch": 1, "step": 1, "test_accuracy": 0.75, "class_accuracy": {}}]
    change = {"rows": rows, "palette": (), "unit": "images", "class_measure": "accuracy"}
    path = write_report(tmp_path / "report.html", **arguments(**change))
    assert "test accuracy 75.0 % in epoch 1" in check_self_contained(path.read_text("utf-8")).text


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"class_values": (0.5,)}, r"2 classes, but class_values has 1; give one for each"),
        ({"palette": ((0, 0, 0),)}, r"2 classes, but palette has 1"),
        ({"confusion": np.eye(3)}, r"2 classes, but confusion has shape \(3, 3\)"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, Any], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        write_report(tmp_path / "report.html", **arguments(**change))
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_environment_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"report\.html: cannot be written"):
        write_report(tmp_path / "gone" / "report.html", **arguments())


def test_the_environment_holds_versions_and_nothing_that_changes() -> None:
    rows = environment(torch.device("cpu"), torch.bfloat16, processes=3)
    found = dict(rows)
    assert found["torch"] == torch.__version__.partition("+")[0] or torch.__version__
    assert found["device"] == "cpu"
    assert found["precision"] == "bfloat16"
    assert found["processes"] == "3"
    assert found["threads of torch"] == str(torch.get_num_threads())
    assert "CUDA" not in found
    assert environment(torch.device("cpu"), torch.bfloat16, processes=3) == rows
    assert str(Path.home()) not in str(rows)
