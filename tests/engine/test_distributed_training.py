"""A training in two processes against the same training in one, and what ends it early."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import Ending, together
from tiny_process import engine_fixtures, plain_net, train_a_share

from fcnseg.config import TrainConfig
from fcnseg.data.loading import evaluation_loader
from fcnseg.data.order import evaluation_share
from fcnseg.data.sample import Sample
from fcnseg.data.subset import Subset
from fcnseg.engine.run import RunFolder
from fcnseg.engine.segmentation import Segmentation
from fcnseg.engine.world import joined

SCRIPT = Path(__file__).parents[1] / "tiny_process.py"


def steps(folder: Path) -> list[dict[str, Any]]:
    log = folder / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    return [row for row in rows if row["kind"] == "step"]


def torchrun(folder: Path, pause: float = 0.0, **settings: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    given = json.dumps({"run": str(folder), **settings})
    return subprocess.Popen(
        [*words, str(SCRIPT), given, str(pause)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_torchrun_leaves_our_flags_to_us() -> None:
    """Without ``--`` it takes ``--run`` for a beginning of ``--run-path``."""
    from torch.distributed.run import parse_args

    words = ["train", *(f"--{item.name.replace('_', '-')}" for item in fields(TrainConfig))]
    args = parse_args(["--nproc-per-node", "2", "-m", "--", "fcnseg", *words])
    assert (args.nproc_per_node, args.module) == ("2", True)
    assert (args.training_script, args.training_script_args) == ("fcnseg", words)


USUAL = {"epochs": 2, "save_every": "1"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process with batches of 4."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    (ending,) = together(train_a_share, {**USUAL, "run": str(folder), "batch_size": 4}, size=1)
    assert ending.code == 0, ending
    return folder


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes with batches of 2 each."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    found = together(train_a_share, {**USUAL, "run": str(folder), "batch_size": 2})
    assert [ending.code for ending in found] == [0, 0], found
    assert np.array_equal(found[0].value, found[1].value)
    return folder


def same_curve(folder: Path, alone: Path) -> None:
    found, expected = steps(folder), steps(alone)
    assert [row["step"] for row in found] == list(range(1, 13))
    for name in ("loss", "lr"):
        values = [row[name] for row in expected]
        assert [row[name] for row in found] == pytest.approx(values, rel=1e-5)
    assert expected[-1]["loss"] < 0.9 * expected[0]["loss"]


def test_two_processes_have_the_loss_curve_of_one(alone: Path, unbroken: Path) -> None:
    same_curve(unbroken, alone)


def test_accumulated_batches_of_two_processes(alone: Path, tmp_path: Path) -> None:
    settings = {**USUAL, "run": str(tmp_path / "run"), "batch_size": 1, "accumulate": 2}
    found = together(train_a_share, settings)
    assert [ending.code for ending in found] == [0, 0], found
    same_curve(tmp_path / "run", alone)


class Sizes:
    """Noise of several sizes with labels that no network could know."""

    name, classes = "sizes", ("dark", "bright", "red")
    palette = ((0, 0, 0), (255, 255, 255), (255, 0, 0))

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Sample:
        numbers = np.random.default_rng(index)
        size = (20 + 4 * (index % 2), 28)
        label = numbers.choice([0, 1, 2, 255], size).astype(np.uint8)
        return Sample(numbers.integers(0, 256, (*size, 3), np.uint8), label, self.id(index))

    def label(self, index: int) -> np.ndarray:
        return self[index].label

    def id(self, index: int) -> str:
        return f"noise-{index}"

    def files(self, index: int) -> tuple[Path, ...]:
        return ()


def evaluate_a_share(folder: Path) -> tuple[np.ndarray, dict[str, float]]:
    fixtures, source = engine_fixtures(), Sizes()
    net: Any = plain_net(fixtures)
    with joined() as world:
        share = evaluation_share(len(source), 2, world.rank, world.size)
        own = Subset(source, share, source.name)
        task = Segmentation(
            net.info.preprocessing,
            source,
            lambda: evaluation_loader(own, 2) if share else (),
            RunFolder(folder),
            torch.device("cpu"),
            world=world,
        )
        scored = task.evaluate(net)
        return scored.confusion.counts, dict(scored.images)


def test_evaluation_is_exactly_that_of_one_process(tmp_path: Path) -> None:
    (alone,) = together(evaluate_a_share, tmp_path, size=1)
    counts, images = alone.value
    assert counts.sum() == sum((Sizes().label(index) != 255).sum() for index in range(7))
    for size in (2, 5):
        for ending in together(evaluate_a_share, tmp_path, size=size):
            assert np.array_equal(ending.value[0], counts)
            assert ending.value[1] == images


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_process_ends_all_and_the_run_goes_on(
    alone: Path, unbroken: Path, tmp_path: Path
) -> None:
    """Started by torchrun; its loader processes hold on to nothing."""
    settings = {**USUAL, "batch_size": 2}
    run = torchrun(tmp_path / "run", 0.2, **settings, workers=1)
    end = time.monotonic() + 90
    while len(steps(tmp_path / "run")) < 3:
        assert run.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    ids = [int((tmp_path / f"pid-{rank}").read_text()) for rank in range(2)]
    killed = time.monotonic()
    os.kill(ids[1], signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    assert run.returncode != 0
    assert not any(map(is_there, ids))
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, said
    assert "another process of this training was killed" in lines[0]
    assert len(steps(tmp_path / "run")) < 12

    resumed = together(train_a_share, {"run": str(tmp_path / "run"), **settings, "resume": True})
    assert [ending.code for ending in resumed] == [0, 0], resumed
    same_curve(tmp_path / "run", alone)
    for name in ("last/step-00000012.safetensors", "metrics.json", "best.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (unbroken / name).read_bytes(), name


def fails(run: Path, **how: Any) -> list[Ending]:
    return together(train_a_share, {**USUAL, "run": str(run), "batch_size": 2}, *how.values())


def test_a_bad_file_in_one_process_ends_both(tmp_path: Path) -> None:
    found = fails(tmp_path / "run", pause=0.0, broken="block-5")
    assert sorted(ending.code for ending in found) == [3, 5]
    said = sorted(ending.line for ending in found)
    assert said == ["", "error: block-5.png: is broken; mend it"]


def test_a_failed_save_of_the_first_process_ends_both(tmp_path: Path) -> None:
    found = fails(tmp_path / "run", pause=0.0, broken="", full_disk=0)
    assert [ending.code for ending in found] == [5, 5]
    assert "cannot be written (File too large)" in found[0].line
    assert found[1].line == ""


def test_a_signal_to_one_process_saves_and_ends_both(tmp_path: Path) -> None:
    run = tmp_path / "run"
    found = fails(run, pause=0.0, broken="", full_disk=-1, signalled=(1, 1))
    assert [ending.code for ending in found] == [143, 143]
    (line,) = [ending.line for ending in found if ending.line]
    assert line.startswith(f"error: interrupted by SIGTERM; {run} is saved at step 2 of 12;")
    settings = {**USUAL, "run": str(run), "batch_size": 2, "resume": True}
    assert [ending.code for ending in together(train_a_share, settings)] == [0, 0]
    assert [row["step"] for row in steps(run)] == list(range(1, 13))


def test_another_number_of_processes_cannot_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    fails(run, pause=0.0, broken="", full_disk=-1, signalled=(0, 1))
    settings = {**USUAL, "run": str(run), "batch_size": 2, "resume": True}
    (ending,) = together(train_a_share, settings, size=1)
    assert ending.code == 2
    assert "a step had 4 images and would have 2; give such --batch-size" in ending.line
