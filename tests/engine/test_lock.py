"""The lock of a run folder: against other processes, against a second use, after a kill."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fcnseg.engine.lock import locked
from fcnseg.errors import EnvironmentFault

HOLD = """\
import os, sys, time
from pathlib import Path
from fcnseg.engine.lock import locked
with locked(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lock of ``tmp_path / "run"``, and its child."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    yield process, child
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)
    process.stdout.close()


def test_the_folder_is_made_and_goes_again_if_nothing_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with locked(folder):
        text = (folder / ".lock").read_text()
        assert text == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert not folder.exists()
    assert not (tmp_path / "runs").exists()
    with locked(tmp_path / "b"):
        pass
    assert tmp_path.is_dir()


def test_an_empty_folder_that_was_there_stays(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_stays(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("kept")
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_another_process_is_kept_out(
    tmp_path: Path, holder: tuple[subprocess.Popen[str], int]
) -> None:
    folder = tmp_path / "run"
    named = f"{folder}: is in use by process {holder[0].pid} on {socket.gethostname()}; wait for"
    for _ in range(2):
        with pytest.raises(EnvironmentFault, match=re.escape(named)), locked(folder):
            pass
    assert (folder / ".lock").exists()


def test_a_killed_process_leaves_nothing_locked_though_its_child_lives(
    tmp_path: Path, holder: tuple[subprocess.Popen[str], int]
) -> None:
    process, child = holder
    process.kill()
    process.wait()
    os.kill(child, 0)  # it is there
    with locked(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_a_second_use_in_the_same_process_is_refused(tmp_path: Path) -> None:
    named = rf"is in use by process {os.getpid()} on"
    with locked(tmp_path / "run"):
        with pytest.raises(EnvironmentFault, match=named), locked(tmp_path / "x" / ".." / "run"):
            pass
        assert (tmp_path / "run" / ".lock").exists()
    with locked(tmp_path / "run"):
        pass


def test_the_file_that_is_locked_is_the_one_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder that ends may remove the file between another's opening and locking it."""
    from fcnseg.engine import lock

    take, removed = lock._lock, []

    def slow(handle: int) -> None:
        if not removed:
            removed.append(True)
            (tmp_path / ".lock").unlink()
        take(handle)

    monkeypatch.setattr(lock, "_lock", slow)
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith("process")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    named = r"file/run: cannot be written to \(Not a directory\); give another --run"
    with pytest.raises(EnvironmentFault, match=named), locked(tmp_path / "file" / "run"):
        pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from fcnseg.engine import lock

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    named = r"\.lock: cannot be locked \(No locks available\); give a --run on another file system"
    with pytest.raises(EnvironmentFault, match=named), locked(tmp_path):
        pass
