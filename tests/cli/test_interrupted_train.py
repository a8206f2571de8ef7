"""`fcnseg train` under SIGTERM and SIGINT: it saves, says so in a line, and can go on."""

import re
import signal
import sys
from pathlib import Path

import pytest
from kills import Helper, different, unloadable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")

WORDS = [
    *("train", "--data", "shapes", "--image-size", "48x48", "--backbone", "small_cnn"),
    *("--train-length", "12", "--val-length", "2", "--batch-size", "2", "--epochs", "3"),
    *("--lr", "0.003", "--device", "cpu", "--check-first", "none"),
]


@pytest.fixture(scope="module")
def whole(forks: Helper, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, text = forks.command([*WORDS, "--workers", "0", "--run", str(folder)])
    assert code == 0, text
    return folder


STEP, SCORES = '"step": 8,', '"kind": "eval", "epoch": 2'


@pytest.mark.parametrize(
    ("number", "group", "workers", "row"),
    [
        (signal.SIGTERM, False, 0, STEP),
        (signal.SIGTERM, True, 2, STEP),
        (signal.SIGINT, True, 2, STEP),
        (signal.SIGINT, False, 0, SCORES),  # after the save, while the evaluation is written
    ],
)
def test_a_signal_saves_and_the_run_goes_on_to_the_same_bytes(
    forks: Helper,
    whole: Path,
    tmp_path: Path,
    number: signal.Signals,
    group: bool,
    workers: int,
    row: str,
) -> None:
    run = tmp_path / "run"
    words = [*WORDS, "--workers", str(workers), "--run", str(run)]
    asked = {"signal": int(number), "group": group, "log": str(run / "log.jsonl"), "row": row}
    code, text = forks.command(words, **asked)
    assert code == 128 + number, text
    last = text.splitlines()[-1]
    found = re.fullmatch(
        rf"error: interrupted by {number.name}; {run} is saved at step (\d+) of 18; "
        rf"continue with `fcnseg train --run {run} --resume`",
        last,
    )
    assert found, text
    assert text.count("error") == 1
    assert "Traceback" not in text
    step = int(found[1])
    assert step >= 8 if row == STEP else step == 12
    assert (run / f"last/step-{step:08}.safetensors").is_file()
    assert unloadable(run) == []
    assert not (run / ".lock").exists()

    code, text = forks.command(["train", "--run", str(run), "--resume"])
    assert code == 0, text
    # the number of loader processes is written there, and changes nothing else
    assert different(whole, run) == (["config.yaml", "report.html"] if workers else [])


def test_a_signal_before_the_first_step(forks: Helper, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = [*WORDS, "--workers", "0", "--run", str(run)]
    lock = {"log": str(run / ".lock"), "row": "process"}
    code, text = forks.command(words, signal=int(signal.SIGTERM), **lock)
    assert code == 143, text
    assert re.fullmatch(r"error: interrupted by SIGTERM(; .*)?", text.splitlines()[-1]), text
    saved = list(run.glob("last/*"))
    way = ["--resume"] if saved else ["--overwrite"] if run.exists() else []
    code, text = forks.command([*words, *way])
    assert code == 0, text
    assert different(whole, run) == []


def test_a_second_process_is_kept_out(forks: Helper, whole: Path) -> None:
    from fcnseg.engine.lock import locked

    with locked(whole):
        code, text = forks.command(["train", "--run", str(whole), "--resume"])
    assert code == 5
    assert re.fullmatch(
        rf"error: {whole}: is in use by process \d+ on \S+; wait for it to end, stop it, or give "
        r"another --run\n",
        text,
    )


def test_nothing_to_resume_is_no_fresh_start(forks: Helper, tmp_path: Path) -> None:
    code, text = forks.command([*WORDS, "--run", str(tmp_path / "none"), "--resume"])
    assert (code, text.count("\n")) == (2, 1)
    assert "none: nothing to resume, no state was saved here; start it without --resume" in text
    assert not (tmp_path / "none").exists()


def test_a_finished_run_is_said_to_be(forks: Helper, whole: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    code, text = forks.command(["train", "--run", str(whole), "--resume"])
    assert code == 0
    assert f"{whole}: finished already" in text
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before
