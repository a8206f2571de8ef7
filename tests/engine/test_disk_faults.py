"""Full disks, folders that cannot be written to, killed loader processes, numbers that are not."""

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from kills import contents, different, quick_curves, unloadable

from fcnseg.config import TrainConfig
from fcnseg.engine.events import Evaluating, Event, Stepped
from fcnseg.errors import EnvironmentFault, NumericError

Run = Callable[..., Any]

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and signals of Linux")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcnseg.engine.segmentation.training_curves", quick_curves)


@pytest.fixture
def saving(config: TrainConfig) -> TrainConfig:
    """Two epochs of four steps, saved after each."""
    return replace(config, batch_size=2, save_every="1")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs that nothing happened to are kept."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def undisturbed(run_training: Run, kept: Path) -> Callable[[TrainConfig], Path]:
    """A run of these settings that nothing happened to; it is made once."""

    def find(config: TrainConfig) -> Path:
        folder = kept / f"{config.save_every}-{config.ema}"
        if not folder.exists():
            run_training(replace(config, run=str(folder)))
        return folder

    return find


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can grow beyond ``size`` bytes in the block: what a full disk looks like."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Filling:
    """An observer after which the disk is full: from a step on, or from an evaluation on."""

    def __init__(self, size: int, step: int | None = None, evaluation: int | None = None) -> None:
        self._size, self._step, self._evaluation = size, step, evaluation
        self.stack = contextlib.ExitStack()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Evaluating) and event.done == event.total and self._evaluation:
            self._evaluation -= 1
            due = self._evaluation == 0
        else:
            due = isinstance(event, Stepped) and event.step == self._step
        if due:
            self.stack.enter_context(largest_file(self._size))


@linux
@pytest.mark.parametrize(
    ("file", "size", "when"),
    [
        (r"last/step-00000006\.safetensors", 4000, {"step": 6}),
        (r"log\.jsonl", 0, {"step": 6}),
        (r"best\.safetensors", 100, {"evaluation": 2}),
        (r"log\.jsonl", 100, {"evaluation": 2}),
        (r"samples/block-0\.png", 6000, {"evaluation": 2}),
        (r"report\.html", 50_000, {"evaluation": 2}),
    ],
)
def test_a_full_disk_costs_what_was_not_saved_and_no_more(
    saving: TrainConfig,
    run_training: Run,
    undisturbed: Callable[[TrainConfig], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    size: int,
    when: dict[str, int],
) -> None:
    saved = (7, 8) if "evaluation" in when else (4, 5)
    if size == 0:  # room for a part of the next row
        saving, saved = replace(saving, save_every="none"), (0, 4)
    whole, run = undisturbed(saving), tmp_path / "run"
    if size == 0:
        rows = (whole / "log.jsonl").read_bytes().splitlines(keepends=True)
        size = len(b"".join(rows[:7])) + 20
    elif "log" in file:  # the best checkpoint would come before it
        monkeypatch.setattr("fcnseg.engine.train.save_model", lambda *_: None)
    filling = Filling(size, **when)
    with filling.stack, pytest.raises(EnvironmentFault) as caught:
        run_training(saving, filling)
    assert re.fullmatch(
        rf"{run}/{file}: cannot be written \(.*(File too large|os error 27).*\); .+",
        str(caught.value),
    )
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)

    assert unloadable(run) == []
    found = {path.name for path in run.glob("last/*")}
    assert found == {f"step-{number:08}.safetensors" for number in saved}
    assert [name for name in contents(run) if name.endswith(".part")] == []
    monkeypatch.undo()
    monkeypatch.setattr("fcnseg.engine.segmentation.training_curves", quick_curves)
    run_training(replace(saving, resume=True))
    assert different(whole, run) == []


@linux
def test_a_disk_that_is_full_before_the_first_step(
    saving: TrainConfig, run_training: Run, tmp_path: Path
) -> None:
    events: list[Event] = []
    words = r"run/config\.yaml: cannot be written \(File too large\); .*has room"
    with largest_file(10), pytest.raises(EnvironmentFault, match=words):
        run_training(saving, events.append)
    assert [event for event in events if isinstance(event, Stepped)] == []
    run_training(replace(saving, epochs=1, overwrite=True))  # what is left is known as a run's


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder that this process may not write to, even where it is started by root."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        if os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            pytest.skip("every folder can be written to")
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_folder_is_found_before_the_first_step(
    saving: TrainConfig, run_training: Run, read_only: Path
) -> None:
    from fcnseg.engine.lock import locked

    words = r"/run: cannot be written to \(Permission denied\); give another --run"
    events: list[Event] = []
    with pytest.raises(EnvironmentFault, match=words):
        run_training(replace(saving, run=str(read_only / "run")), events.append)
    assert events == []
    with pytest.raises(EnvironmentFault, match=words), locked(read_only / "run"):
        pass
    assert list(read_only.iterdir()) == []


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_loader_process_ends_the_run_in_seconds(
    saving: TrainConfig, run_training: Run, number: signal.Signals
) -> None:
    def kill(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 2:
            for worker in multiprocessing.active_children():
                assert worker.pid is not None
                os.kill(worker.pid, number)
                time.sleep(0.05)  # torch hears of it here, far from its loader

    start = time.monotonic()
    words = r"^--workers: a loader process was killed \(out of memory\?\); lower --workers or"
    with pytest.raises(EnvironmentFault, match=words) as caught:
        run_training(replace(saving, workers=2, batch_size=1), kill)
    assert caught.value.exit_code == 5
    assert time.monotonic() - start < 60
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("kind", "words", "ema"),
    [("loss", "the loss is nan", 0.9), ("gradient", "the norm of the gradient is nan", 0.0)],
)
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(
    saving: TrainConfig,
    run_training: Run,
    undisturbed: Callable[[TrainConfig], Path],
    make_net: Callable[..., Any],
    tmp_path: Path,
    kind: str,
    words: str,
    ema: float,
) -> None:
    saving = replace(saving, ema=ema)
    whole = undisturbed(saving)
    passes, before = 0, dict[str, torch.Tensor]()

    class Poisoned(make_net):  # type: ignore[misc, valid-type]
        def forward(self, pixels_N3HW: torch.Tensor) -> torch.Tensor:
            nonlocal passes
            passes += self.training
            due = self.training and passes == 7
            if due:
                before.update({name: t.clone() for name, t in self.state_dict().items()})
                pixels_N3HW = pixels_N3HW * (float("nan") if kind == "loss" else 1)
            score_NKHW = super().forward(pixels_N3HW)
            if due and kind == "gradient":
                score_NKHW.register_hook(lambda gradient: gradient * float("nan"))
            return score_NKHW

    torch.manual_seed(saving.seed)
    net, run = Poisoned(), tmp_path / "run"
    expected = (
        rf"^step 7: {words} at learning rate [\d.e-]+ on block-\d, block-\d; the checkpoints "
        "written before are intact; lower --lr, or give --clip-norm 1$"
    )
    with pytest.raises(NumericError, match=expected) as caught:
        run_training(saving, model=net)
    assert caught.value.exit_code == 6
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in after)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert unloadable(run) == []
    assert sorted(path.name for path in run.glob("last/*")) == [
        f"step-{step:08}.safetensors" for step in (5, 6)
    ]

    run_training(replace(saving, resume=True))  # what was wrong is gone
    assert different(whole, run) == []
