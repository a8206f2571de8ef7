"""What ``--resume`` finds, says, falls back on and refuses."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kills import different, quick_curves

from fcnseg.config import TrainConfig
from fcnseg.data.sample import Sample
from fcnseg.engine.events import Event, Notice, Stepped
from fcnseg.engine.tensors import read_tensors, write_tensors
from fcnseg.engine.world import World
from fcnseg.errors import UsageError, WeightsError

Run = Callable[..., Any]


class Ended(Exception):
    """Raised by an observer to end a run at a chosen moment."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcnseg.engine.segmentation.training_curves", quick_curves)


def end_at(step: int) -> Callable[[Event], None]:
    """End while ``step`` is told of, before it can be saved."""

    def observer(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == step:
            raise Ended

    return observer


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice) and event.warning]


@pytest.fixture
def saving(config: TrainConfig) -> TrainConfig:
    """Four epochs of four steps, saved after each."""
    return replace(config, epochs=4, batch_size=2, save_every="1")


def test_changed_threads_are_said_and_change_nothing_else(
    saving: TrainConfig, run_training: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Ended):
        run_training(saving, end_at(3))
    now = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: now + 3)
    events: list[Event] = []
    run_training(replace(saving, resume=True), events.append)
    (line,) = [text for text in notices(events) if "conditions" in text]
    assert line == (
        f"{tmp_path / 'run'}: goes on with other conditions (threads: {now} -> {now + 3}); the "
        "result may differ from that of an unbroken run"
    )


@pytest.mark.parametrize(("batch_size", "refused"), [(1, False), (2, True)])
def test_a_changed_number_of_processes_is_said_or_refused(
    saving: TrainConfig, train_with: Run, batch_size: int, refused: bool
) -> None:
    with pytest.raises(Ended):
        train_with(saving, end_at(3))
    events: list[Event] = []
    resumed = replace(saving, resume=True, batch_size=batch_size)
    two = World(0, 2)  # which computes alone
    if refused:
        words = r"a step had 2 images and would have 4; give such --batch-size, --accumulate and"
        with pytest.raises(UsageError, match=words):
            train_with(resumed, events.append, world=two)
    else:
        with pytest.raises(Ended):
            train_with(resumed, _both(events.append, end_at(3)), world=two)
        words = "conditions (processes: 1 -> 2, batch size: 2 -> 1);"
        assert any(words in text for text in notices(events))


def _both(*observers: Callable[[Event], None]) -> Callable[[Event], None]:
    def observer(event: Event) -> None:
        for one in observers:
            one(event)

    return observer


def test_a_finished_run_of_constant_rate_is_lengthened_to_the_byte(
    saving: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    constant = replace(saving, schedule="constant", warmup=0.0)
    run_training(replace(constant, run=str(tmp_path / "whole")))
    run_training(replace(constant, epochs=2))
    run_training(replace(constant, resume=True))
    assert different(tmp_path / "whole", tmp_path / "run") == []

    with pytest.raises(UsageError, match=r"run: is at step 16 already, beyond the 8 asked for;"):
        run_training(replace(constant, epochs=2, resume=True))
    assert different(tmp_path / "whole", tmp_path / "run") == []
    falling = replace(saving, run=str(tmp_path / "other"), epochs=1)
    run_training(falling)
    with pytest.raises(UsageError, match=r"epochs: 1 -> 5.* laid out over all steps"):
        run_training(replace(falling, epochs=5, resume=True))


def test_a_run_that_ended_inside_an_epoch_is_lengthened(
    saving: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    constant = replace(saving, schedule="constant", warmup=0.0)
    run_training(replace(constant, run=str(tmp_path / "whole"), iterations=12))
    run_training(replace(constant, iterations=6))
    run_training(replace(constant, iterations=12, resume=True))
    run, whole = tmp_path / "run", tmp_path / "whole"
    state = "last/step-00000012.safetensors"
    one, two = read_tensors(whole / state)[1], read_tensors(run / state)[1]
    assert all(torch.equal(one[name], two[name]) for name in one)
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    ends = [(row["epoch"], row["step"]) for row in rows if row["kind"] == "eval"]
    assert ends == [(1, 4), (2, 6), (2, 8), (3, 12)]
    losses = [row["train_loss"] for row in rows if row["kind"] == "eval" and row["step"] == 8]
    kept = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert losses == [r["train_loss"] for r in kept if r["kind"] == "eval" and r["step"] == 8]


def test_a_lengthened_run_that_is_cut_short_loses_no_evaluation(
    saving: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    constant = replace(saving, schedule="constant", warmup=0.0)
    for run in ("whole", "run"):
        run_training(replace(constant, run=str(tmp_path / run), iterations=5))
    longer = replace(constant, iterations=12, resume=True)
    run_training(replace(longer, run=str(tmp_path / "whole")))
    with pytest.raises(Ended):
        run_training(longer, end_at(7))
    run_training(longer)
    assert different(tmp_path / "whole", tmp_path / "run") == []


def test_a_changed_number_of_steps_in_an_epoch_is_refused(
    config: TrainConfig, run_training: Run
) -> None:
    """Nine images in batches of four leave one out; one by one they leave none out."""
    with pytest.raises(Ended):
        run_training(replace(config, save_every="1"), end_at(2))
    other = replace(config, batch_size=1, accumulate=4, resume=True)
    with pytest.raises(UsageError, match=r"data have changed \(steps an epoch: 2 -> 3\)"):
        run_training(other)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-50] ^= 1
    path.write_bytes(data)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def not_a_number(path: Path) -> None:
    content, tensors = read_tensors(path)
    tensors["model.head.bias"][1] = float("nan")
    write_tensors(path, tensors, content)


def other_keys(path: Path) -> None:
    content, tensors = read_tensors(path)
    tensors["model.tail.bias"] = tensors.pop("model.head.bias")
    write_tensors(path, tensors, content)


def other_memory(path: Path) -> None:
    content, tensors = read_tensors(path)
    memory = {n.replace("exp_avg_sq", "momentum_buffer"): t for n, t in tensors.items()}
    write_tensors(path, memory, content)


def less_memory(path: Path) -> None:
    content, tensors = read_tensors(path)
    del tensors["optimizer.0.exp_avg"]
    write_tensors(path, tensors, content)


def small_memory(path: Path) -> None:
    content, tensors = read_tensors(path)
    tensors["optimizer.0.exp_avg"] = torch.tensor(1.0)
    write_tensors(path, tensors, content)


def saying(**values: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content, tensors = read_tensors(path)
        content["progress"] |= values
        write_tensors(path, tensors, content)

    change.__name__ = f"saying {values}"
    return change


def without_progress(path: Path) -> None:
    content, tensors = read_tensors(path)
    del content["progress"]["loss"]
    write_tensors(path, tensors, content)


def odd_scale(path: Path) -> None:
    content, tensors = read_tensors(path)
    write_tensors(path, tensors, {**content, "scaler": ["x"]})


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (truncated, "not a complete safetensors file"),
    (flipped, "its contents do not match their sha256"),
    (emptied, "not a complete safetensors file"),
    (not_a_number, r"model\.head\.bias holds NaN or infinity"),
    (other_keys, "1 tensors missing, 1 unknown"),
    (other_memory, "belongs to another network or --optimizer"),
    (less_memory, "lacks a part of what the optimizer remembers"),
    (small_memory, "belongs to another network or --optimizer"),
    (without_progress, "does not say how far the run was"),
    (odd_scale, r"its loss scale is \['x'\]"),
    (saying(step=8), "holds step 8"),
    (saying(step=-7), "its step is -7"),
    (saying(step=7.0), "its step is 7.0"),
    (saying(step=True), "its step is True"),
    (saying(step=10**30), "its step is 1000"),
    (saying(loss=float("nan")), "its loss is nan"),
    (saying(loss="much"), "its loss is 'much'"),
    (saying(best_score=None), "its best_score is None"),
    (saying(data=[]), r"its data is \[\]"),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what several tests begin with is kept."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def cut(saving: TrainConfig, run_training: Run, tmp_path: Path, kept: Path) -> TrainConfig:
    """A run of eight steps that ended before the last of them was saved."""
    saving = replace(saving, epochs=2)
    if not (kept / "run").exists():
        with pytest.raises(Ended):
            run_training(replace(saving, run=str(kept / "run")), end_at(8))
    shutil.copytree(kept / "run", tmp_path / "run")
    return saving


@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=lambda v: getattr(v, "__name__", ""))
def test_a_damaged_state_is_replaced_by_the_one_before(
    cut: TrainConfig,
    run_training: Run,
    tmp_path: Path,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    run = tmp_path / "run"
    newest, before = (run / f"last/step-0000000{step}.safetensors" for step in (7, 6))
    assert newest.exists()
    damage(newest)
    events: list[Event] = []
    with pytest.raises(Ended):  # what the end is like, another test says
        run_training(replace(cut, resume=True), _both(events.append, end_at(8)))
    (line,) = [text for text in notices(events) if "is used" in text]
    assert line.startswith(f"{newest}: ")
    assert line.endswith("; the state before it, of step 6, is used")
    assert "\n" not in line
    assert "use another checkpoint" not in line
    assert [e.step for e in events if isinstance(e, Stepped)] == [7, 8]
    assert read_tensors(newest)  # written again
    assert before.exists()
    assert re.search(words, line), line


def test_steps_and_epochs_that_contradict_each_other_are_refused(
    saving: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    with pytest.raises(Ended):
        run_training(saving, end_at(4))
    saying(epoch=40)(tmp_path / "run/last/step-00000003.safetensors")
    with pytest.raises(WeightsError, match="step 3 and epoch 40, which are not possible with 4"):
        run_training(replace(saving, resume=True))


def test_after_falling_back_the_end_is_the_same(
    saving: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    """Also where the damaged state was that of an epoch whose evaluation was written."""
    run_training(replace(saving, run=str(tmp_path / "whole")))
    for step in (7, 8):
        with pytest.raises(Ended):
            run_training(saving, end_at(step + 1))
        flipped(tmp_path / f"run/last/step-{step:08}.safetensors")
        run_training(replace(saving, resume=True))
        assert different(tmp_path / "whole", tmp_path / "run") == []
        saving = replace(saving, overwrite=True)


def test_with_both_states_damaged_nothing_is_touched(
    cut: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flipped(run / "last/step-00000007.safetensors")
    emptied(run / "last/step-00000006.safetensors")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    words = (
        r"step-00000007\.safetensors: damaged, its contents do not match their sha256; .*, and no "
        r"state before it is whole; start another --run from .*best\.safetensors$"
    )
    with pytest.raises(WeightsError, match=words) as caught:
        run_training(replace(cut, resume=True))
    assert caught.value.exit_code == 4
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_inside_an_epoch_reads_no_image_of_the_batches_before(
    saving: TrainConfig,
    run_training: Run,
    blocks: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    reads = tmp_path / "reads"
    reads.touch()
    real = blocks.__getitem__  # type: ignore[attr-defined]

    def noted(source: Any, index: int) -> Sample:
        if source._salt == 0:  # training
            with reads.open("a") as file:  # processes of the loader write there too
                file.write(f"{index}\n")
        return real(source, index)

    monkeypatch.setattr(blocks, "__getitem__", noted)
    saving = replace(saving, epochs=1, workers=workers)
    run_training(replace(saving, run=str(tmp_path / "whole")))
    whole = [int(line) for line in reads.read_text().split()]
    assert len(whole) == len(set(whole)) == 8

    with pytest.raises(Ended):
        run_training(saving, end_at(4))
    reads.write_text("")
    run_training(replace(saving, resume=True))
    resumed = [int(line) for line in reads.read_text().split()]
    if workers:
        assert sorted(resumed) == sorted(whole[-2:])
    else:
        assert resumed == whole[-2:]
    assert different(tmp_path / "whole", tmp_path / "run") == []


def test_names_of_states_are_numbers_of_any_length(tmp_path: Path) -> None:
    from fcnseg.engine.states import States

    for name in ("step-00000009", "step-100000000", "step-00000010", "step-x", "best"):
        (tmp_path / f"{name}.safetensors").touch()
    steps = [path.stem for path in States(tmp_path).files()]
    assert steps == ["step-100000000", "step-00000010", "step-00000009"]
    assert np.diff([int(step[5:]) for step in steps]).max() < 0
