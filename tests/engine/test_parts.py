"""Schedule, parameter groups, log and evaluation."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fcnseg.data.loading import evaluation_loader
from fcnseg.engine.evaluate import evaluate, is_collapsed
from fcnseg.engine.events import Evaluating
from fcnseg.engine.log import Log, cut_log, read_log
from fcnseg.engine.optimizer import build_optimizer, parameter_groups, set_learning_rate
from fcnseg.engine.schedule import poly_with_warmup
from fcnseg.errors import NumericError, UsageError
from fcnseg.metrics import ConfusionMatrix

CPU = torch.device("cpu")


def test_schedule_rises_then_falls_to_zero() -> None:
    factors = [poly_with_warmup(step, 100, warmup=0.1) for step in range(101)]
    assert factors[:3] == pytest.approx([1 / 11, 2 / 11, 3 / 11])
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.5**0.9)
    assert factors[99] > 0
    assert factors[100] == 0
    assert all(a < b for a, b in pairwise(factors[:11]))
    assert all(a > b for a, b in pairwise(factors[10:]))


@pytest.mark.parametrize("total", [1, 2, 3])
def test_schedule_of_very_short_runs_never_starts_at_zero(total: int) -> None:
    assert all(0 < poly_with_warmup(step, total, warmup=0.9) <= 1 for step in range(total))


def test_groups_hold_every_parameter_once(tiny: Any) -> None:
    groups = parameter_groups(tiny, tiny.head, 0.1, 10, 0.5)
    found = {g["name"]: (len(g["params"]), g["lr"], g["weight_decay"]) for g in groups}
    assert found == {
        "backbone": (1, 0.1, 0.5),
        "backbone, no decay": (3, 0.1, 0.0),
        "head": (1, 1.0, 0.5),
        "head, no decay": (1, 1.0, 0.0),
    }
    members = [p for g in groups for p in g["params"]]
    assert {id(p) for p in members} == {id(p) for p in tiny.parameters()}

    optimizer = build_optimizer("adamw", groups)
    set_learning_rate(optimizer, 0.5)
    assert [g["lr"] for g in optimizer.param_groups] == [0.05, 0.05, 0.5, 0.5]


def test_unknown_optimizer() -> None:
    with pytest.raises(UsageError, match="--optimizer: expected one of adamw, sgd"):
        build_optimizer("adam", [])


def test_log_is_cut_after_a_step(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path)
    for step in range(1, 5):
        log.write("step", step=step, loss=1 / step)
        log.write("eval", step=step, epoch=step)
    log.close()
    cut_log(path, 3, evaluated=False)  # the third epoch was not scored yet
    rows = [(row["kind"], row["step"]) for row in read_log(path)]
    assert rows == [("step", 1), ("eval", 1), ("step", 2), ("eval", 2), ("step", 3)]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_evaluation_counts_what_a_plain_loop_counts(
    tiny: Any, blocks: Callable[..., Any], batch_size: int
) -> None:
    source = blocks(5)
    expected = np.zeros((3, 3), int)
    tiny.eval()
    for index in range(len(source)):
        sample = source[index]
        pixels = (sample.image.astype(np.float32) / 255 - 0.5) / 0.25
        with torch.no_grad():
            score = tiny(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].numpy()
        for truth, guess in zip(sample.label.ravel(), score.argmax(0).ravel(), strict=True):
            if truth != 255:
                expected[truth, guess] += 1
    tiny.train()
    events: list[Any] = []
    loader = evaluation_loader(source, batch_size)
    confusion = evaluate(tiny, loader, CPU, observer=events.append, total=5)
    assert np.array_equal(confusion.counts, expected)
    assert tiny.training
    assert events[-1] == Evaluating(5, 5)


def test_scores_that_are_not_finite_are_refused(tiny: Any, blocks: Callable[..., Any]) -> None:
    with torch.no_grad():
        tiny.head.bias[0] = float("inf")
    with pytest.raises(NumericError, match="block-0, block-1: the network's scores are not"):
        evaluate(tiny, evaluation_loader(blocks(2), 2), CPU)
    assert tiny.training


def test_collapse_needs_several_true_classes() -> None:
    confusion = ConfusionMatrix(3)
    confusion.update(np.array([1, 1]), np.array([1, 1]))
    assert not is_collapsed(confusion)
    confusion.update(np.array([1, 1]), np.array([0, 2]))
    assert is_collapsed(confusion)
    confusion.update(np.array([0]), np.array([0]))
    assert not is_collapsed(confusion)
