"""SIGKILL at any moment, any number of times: the end is the same to the byte."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kills import Helper, different, unloadable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")

BASE: dict[str, Any] = {
    "data": "shapes",
    "epochs": 7,
    "batch_size": 4,
    "lr": 0.01,
    "head_lr_factor": 2,
    "crop_size": "24x32",
    "device": "cpu",
    "save_every": "1",
}
KINDS: dict[str, dict[str, Any]] = {
    "adamw-ema": {**BASE, "workers": 0, "optimizer": "adamw", "ema": 0.9},
    "sgd-workers": {**BASE, "workers": 2, "optimizer": "sgd", "momentum": 0.9},
}


@dataclass(frozen=True)
class Whole:
    """A run that nobody interrupted."""

    helper: Helper
    settings: dict[str, Any]
    folder: Path
    seconds: float


@pytest.fixture(scope="module", params=KINDS)
def whole(
    request: pytest.FixtureRequest, forks: Helper, tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    settings = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param) / "whole"
    answer = forks.train(folder, settings)
    assert answer["done"], answer
    return Whole(forks, settings, folder, answer["seconds"])


def go_on(whole: Whole, folder: Path, **how: Any) -> dict[str, Any]:
    """Start anew or resume, as a person would who finds the folder as it is."""
    assert unloadable(folder) == []
    saved = list(folder.glob("last/step-*.safetensors"))
    way = "resume" if saved else "overwrite" if folder.exists() else None
    answer = whole.helper.train(folder, {**whole.settings, **({way: True} if way else {})}, **how)
    assert answer["error"] is None, answer
    return answer


def test_killed_at_ten_random_moments(whole: Whole, tmp_path: Path) -> None:
    numbers, killed, runs = random.Random(5), 0, 0
    while killed < 10:
        folder = tmp_path / f"run{runs}"
        while not go_on(whole, folder, seconds=numbers.uniform(0, whole.seconds / 2))["done"]:
            killed += 1
        assert different(whole.folder, folder) == []
        runs += 1


def test_killed_at_every_boundary(whole: Whole, tmp_path: Path) -> None:
    """Each process is killed at the first boundary where none was killed before.

    It begins by overwriting another run. With loader processes, boundaries are those of the steps
    and the saves alone.
    """
    folder, known = tmp_path / "run", list[str]()
    if whole.settings["workers"]:
        how: dict[str, Any] = {"phases": ["tell", "save"]}
    else:
        how = {}
        another = {**whole.settings, "seed": 1, "epochs": 1}
        assert whole.helper.train(folder, another)["done"]
        again = {**whole.settings, "overwrite": True}
        while not (known and known[-1].startswith("tell")):
            answer = whole.helper.train(folder, again, known=known)
            known.append(answer["boundary"])
    while not (answer := go_on(whole, folder, known=known, **how))["done"]:
        known.append(answer["boundary"])
    assert different(whole.folder, folder) == []

    assert len(known) == len(set(known))
    phases = {name.split(":")[0] for name in known}
    assert phases >= {"tell", "save"}
    if not how:
        assert phases >= {"start, overwrite", "start, resume", "finish_epoch", "between"}
        done = {name.split(": ")[1].rsplit(" ", 1)[0] for name in known}
        for file in ("log.jsonl", "config.yaml", "metrics.json", "report.html", "curves.png"):
            assert f"os.rename .{file}..part" in done


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_fifty_kills_of_the_command(workers: int, tmp_path: Path) -> None:
    """25 with and 25 without loader processes, at random moments of `fcnseg train`.

    Every other moment is one after the log was opened, so that not all of them are in the imports.
    """
    words = [
        *(sys.executable, "-m", "fcnseg", "train", "--data", "shapes", "--image-size", "64x64"),
        *(
            "--train-length",
            "24",
            "--val-length",
            "3",
            "--backbone",
            "small_cnn",
            "--device",
            "cpu",
        ),
        *("--epochs", "12", "--batch-size", "4", "--workers", str(workers), "--save-every", "2"),
        *("--lr", "0.003", "--ema", "0.9" if workers else "0"),
        *("--optimizer", "adamw" if workers else "sgd"),
    ]
    numbers, killed, runs, steps = random.Random(workers), 0, 0, list[int]()
    start = time.monotonic()
    assert command([*words, "--run", str(tmp_path / "whole")]) == 0
    seconds = time.monotonic() - start
    while killed < 25:
        runs, folder, code = runs + 1, tmp_path / f"run{runs + 1}", -9
        while code == -9:
            assert unloadable(folder) == []
            saved = list(folder.glob("last/step-*.safetensors"))
            way = ["--resume"] if saved else ["--overwrite"] if folder.exists() else []
            again = [*words[:4], *([] if saved else words[4:]), "--run", str(folder), *way]
            if killed >= 25:
                code = command(again)
            elif killed % 2:
                code = command(again, numbers.uniform(0.1, 0.6) * seconds)
            else:
                code = command(again, numbers.uniform(0, 0.1) * seconds, folder / "log.jsonl")
            killed += code == -9
            steps += [max(int(path.stem[5:]) for path in saved)] if saved else []
        assert code == 0
        assert different(tmp_path / "whole", folder) == []
    print(f"{workers} workers: {killed} kills in {runs} runs, to the byte; resumed at {steps}")


def command(words: list[str], seconds: float | None = None, log: Path | None = None) -> int:
    """Run a command and return its code.

    Its process group is killed ``seconds`` after it began or, with ``log``, after it opened that.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    begun = time.time()
    process = subprocess.Popen(words, **quiet, start_new_session=True)
    while log is not None and process.poll() is None:
        if log.is_file() and log.stat().st_mtime > begun:
            break
        time.sleep(0.01)
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()
