"""The page of a training: whole, closed, escaped, small, and with the numbers it was given."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pages import check_self_contained

from fcnseg.palette import voc_palette
from fcnseg.render.document import policy
from fcnseg.render.report_classes import worst_first
from fcnseg.render.report_facts import Panel, Trained
from fcnseg.render.report_page import report_page

NAMES = ("road", "car", "kerb", "boat")
COUNTS = np.array([[90, 6, 4, 0], [30, 60, 10, 0], [8, 2, 0, 0], [0, 0, 0, 0]])
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</code></td>\n</svg>"


def log(epochs: int = 8, steps: int = 10, names: tuple[str, ...] = NAMES) -> list[dict[str, Any]]:
    """A run whose mean IU rises and then stays."""
    rows: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        for step in range((epoch - 1) * steps + 1, epoch * steps + 1):
            loss = 2 * math.exp(-step / (epochs * steps)) + 0.01 * (step % 7)
            rows.append({"kind": "step", "epoch": epoch, "step": step, "loss": loss, "lr": 1e-3})
        value = 0.6 * (1 - math.exp(-epoch))
        rows.append(
            {
                "kind": "eval", "epoch": epoch, "step": epoch * steps,
                "train_loss": 2 * math.exp(-epoch / epochs), "pixel_accuracy": value + 0.3,
                "mean_accuracy": value + 0.1, "mean_iu": value,
                "frequency_weighted_iu": value + 0.2,
                "class_iu": {name: (None if name == "boat" else value) for name in names},
            }
        )  # fmt: skip
    return rows


def trained(**change: Any) -> Trained:
    values = {
        "title": "FCN-8s on town", "command": "fcnseg train --data-root 'My Town'",
        "settings": (("epochs", "8"),), "environment": (("torch", "2.14"),), "classes": NAMES,
        "palette": voc_palette(4), "class_values": (0.7, 0.5, 0.0, None), "class_measure": "IU",
        "summary": (("mean IU", 0.4), ("pixel accuracy", 0.71)), "confusion": COUNTS,
        "rows": tuple(log()), "best_epoch": 8, "score": "mean_iu",
        "panels": (
            Panel("street/7", 0.31, "worst", np.full((40, 60, 3), 90, np.uint8)),
            Panel("street/8", 0.92, "best", np.full((40, 60, 3), 30, np.uint8), "a caption"),
        ),
    }  # fmt: skip
    return Trained(**{**values, **change})


def many(number: int, seed: int = 0, **change: Any) -> Trained:
    """A run with so many classes."""
    counts = np.random.default_rng(seed).integers(0, 50, (number, number))
    names = tuple(f"class number {i}" for i in range(number))
    rows = tuple(log(names=names))
    values = tuple(i / number for i in range(number))
    facts = trained(classes=names, palette=voc_palette(number), class_values=values)
    return replace(facts, confusion=counts, rows=rows, **change)


def test_the_page_is_complete_in_itself() -> None:
    page = report_page(trained())
    found = check_self_contained(page)
    assert page.startswith("<!doctype html>")
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert f'Content-Security-Policy" content="{policy(script)}"' in page
    assert policy(script).startswith("default-src 'none';")
    assert "script-src" not in policy()
    assert {a.get("id") for a in found.named("section")} == {
        "curves", "classes", "confusions", "images", "again",
    }  # fmt: skip
    assert all("alt" in attributes for attributes in found.named("img"))
    assert report_page(trained()) == page


def test_what_is_said_first() -> None:
    text = check_self_contained(report_page(trained())).text
    assert "mean IU 60.0 % in epoch 8, the last and the best so far" in text
    assert "Levelled off : mean IU" in text
    # Of kerb 8 of 10 pixels are road; car lies above the mean of the classes.
    assert "Weakest classes , by IU: kerb 0.0 % (80 % of it is taken for road)." in text
    assert "mean IU 40.0 %" in text
    earlier = check_self_contained(report_page(trained(best_epoch=3))).text
    assert "in epoch 3 of 8" in earlier
    assert "All below is of epoch 8, the last: 60.0 %." in earlier


def test_a_collapsed_prediction_is_said() -> None:
    counts = np.zeros((4, 4), np.int64)
    counts[:3, 1] = 7
    text = check_self_contained(report_page(trained(confusion=counts))).text
    assert "Every prediction is car , although the truth has 3 classes." in text
    assert "Every prediction" not in check_self_contained(report_page(trained())).text


def test_the_numbers_of_classes() -> None:
    text = check_self_contained(report_page(trained())).text
    # IU, found 0/10, right 0/14, share 10/210, taken for, found in place of
    assert "kerb 0.0 0.0 0.0 4.76 road 80 % , car 20 % car 71 % , road 29" in text
    assert "car 50.0 60.0 88.2 47.6 road 30 % , kerb 10 % road 9 % , kerb 3" in text
    assert "boat n/a in neither truth nor prediction n/a n/a 0" in text
    assert worst_first((0.5, None, 0.1, 0.1)) == [2, 3, 0, 1]
    accuracy = check_self_contained(report_page(trained(class_measure="accuracy"))).text
    assert "found %" not in accuracy


def test_the_best_epoch_is_marked_where_it_is_not_the_last() -> None:
    assert '<i class="tick"' not in report_page(trained())
    page = report_page(trained(best_epoch=3))
    marks = re.findall(r'<i class="tick" style="left:([\d.]+)%">', page)
    assert [float(mark) for mark in marks] == pytest.approx([60 * (1 - math.exp(-3))] * 3, abs=0.06)


def test_the_confusion_matrix_as_a_table() -> None:
    page = report_page(trained())
    text = check_self_contained(page).text
    wrong, total = 6 + 4 + 30 + 10 + 8 + 2, 210
    assert f"{100 * wrong / total:.1f} % of 210 pixels are wrong" in text
    assert "car road 50.0 30.0 car kerb 16.7 10.0 kerb road 13.3 80.0 road car 10.0 6.00" in text
    assert "road 90 6 4 car 30 60 10 kerb 80 20 boat not in the truth" in text
    cells = re.findall(r'<td class="(right|wrong)" style="--A:([\d.]+)">(\d*)</td>', page)
    assert ("right", f"{0.9**0.6:.2f}", "90") in cells
    assert ("wrong", f"{0.8**0.6:.2f}", "80") in cells
    assert len(cells) == 8


@pytest.mark.parametrize("number", [25, 60, 150, 255])
def test_many_classes_are_a_picture_that_can_be_read(number: int) -> None:
    facts = many(number)
    page = report_page(facts)
    found = check_self_contained(page)
    assert len(page) < 1_300_000
    (drawing,) = [a for a in found.named("svg") if a.get("id") == "matrix"]
    assert drawing["data-names"].split("\n") == list(facts.classes)
    shares = facts.confusion / facts.confusion.sum(1, keepdims=True)
    entries = [tuple(map(int, e.split(","))) for e in drawing["data-shares"].split(" ")]
    assert len(entries) <= 20_000
    for row, column, share in entries[::97]:
        assert share == pytest.approx(1e4 * shares[row, column], abs=0.51)
    (image,) = found.named("image")
    side = float(image["width"])
    assert side == number * int(drawing["data-cell"])
    assert float(drawing["data-side"]) >= side + float(drawing["data-left"])


@pytest.mark.parametrize("number", [1, 2, 24])
def test_few_classes(number: int) -> None:
    found = check_self_contained(report_page(many(number)))
    assert not found.named("image")
    if number == 1:
        assert "One class cannot be confused with another" in found.text


def test_long_lists_of_classes_begin_with_the_worst() -> None:
    text = check_self_contained(report_page(many(120))).text
    assert "All 120 classes, in their order" in text
    assert text.index("class number 0 0.0") < text.index("class number 29 24.2")
    # number 80 is only in the whole list
    assert text.count("class number 80 66.7") == 1
    assert text.count("class number 3 2.5") == 2


def test_names_are_escaped() -> None:
    classes = (EVIL, "b", "c", "d")
    page = report_page(
        trained(
            title=EVIL,
            command=EVIL,
            classes=classes,
            class_measure=EVIL,
            settings=((EVIL, EVIL),),
            environment=((EVIL, EVIL),),
            summary=((EVIL, 0.4),),
            rows=tuple(log(names=classes)),
            panels=(Panel(EVIL, 0.3, "worst", np.zeros((9, 9, 3), np.uint8), EVIL),),
        )
    )
    found = check_self_contained(page)
    assert len(found.named("script")) == 1
    assert len(found.named("img")) == 1
    assert found.text.count("alert(1)") > 10
    big = (EVIL, *(f"{i}" for i in range(39)))
    check_self_contained(report_page(replace(many(40), classes=big)))


@pytest.mark.parametrize(
    "rows",
    [
        [],
        log()[:1],
        log(1, 1),
        [{"kind": "note"}, {"kind": "step", "epoch": 1, "step": 1, "loss": None, "lr": None}],
        [{"kind": "step", "epoch": 1, "step": k, "loss": 0.0, "lr": 0.0} for k in range(1, 5)],
        [{"kind": "eval", "epoch": 1, "step": 2, "mean_iu": None, "class_iu": {}}],
        [{"kind": "eval", "epoch": 1, "step": 2, "mean_iu": float("nan")}],
    ],
)
def test_any_beginning_of_a_run_gives_a_page(rows: list[dict[str, Any]]) -> None:
    facts = trained(rows=tuple(rows), confusion=np.zeros((4, 4), np.int64), panels=(), palette=())
    text = check_self_contained(report_page(facts)).text
    assert "Too early to see a trend" in text
    assert "nan" not in text.split()


def test_a_classifier_has_a_page_too() -> None:
    rows = [
        {
            "kind": "eval", "epoch": e, "step": 5 * e, "train_loss": 1 / e, "test_loss": 0.5 + e,
            "train_accuracy": 0.9, "test_accuracy": 0.4 + 0.05 * e,
            "class_accuracy": dict.fromkeys(NAMES, 0.5),
        }
        for e in range(1, 5)
    ]  # fmt: skip
    page = report_page(
        trained(rows=tuple(rows), score="test_accuracy", best_epoch=4, palette=(), unit="images",
                class_measure="accuracy")
    )  # fmt: skip
    text = check_self_contained(page).text
    assert "test accuracy 60.0 % in epoch 4" in text
    assert "Still improving" in text
    assert "Training accuracy is 30.0 points above test accuracy" in text
    assert "28.6 % of 210 images are wrong" in text
    assert "the probability that the network gives its true class" in text
    assert 'aria-label="loss by step, 5 to an epoch: train loss, test loss"' in page
