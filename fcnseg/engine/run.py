"""The run folder: what a training leaves behind, and the rules for entering an existing one."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcnseg.engine.checkpoint import Progress
from fcnseg.engine.lock import NAME as LOCK
from fcnseg.engine.log import Log, cut_log
from fcnseg.engine.states import States
from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.files import write_atomically

# The best checkpoint of an older run is not among them: it stays until the first epoch of the
# new run replaces it, so that a run which fails early costs nothing.
_CLEARED = ("metrics.json", "curves.png", "report.html")
_FOLDERS = ("last", "samples", "tensorboard")
_UNFINISHED = re.compile(r"\..+\.part|\.tmp\w+|\.probe\.\d+")


def is_unfinished(name: str) -> bool:
    """Whether a file of that name is what a process was writing when it was killed, or its lock."""
    return name == LOCK or _UNFINISHED.fullmatch(name) is not None


class RunFolder:
    """The paths inside a run folder. Making one touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.log = path / "log.jsonl"
        self.metrics = path / "metrics.json"
        self.best = path / "best.safetensors"
        self.states = States(path / "last")
        self.samples = path / "samples"
        self.curves = path / "curves.png"
        self.report = path / "report.html"
        self.tensorboard = path / "tensorboard"

    def check(self, resume: bool, overwrite: bool) -> None:
        """Raise :class:`UsageError` if the run may not start here; changes nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: is a file; give a folder with --run")
        saved = bool(self.states.files())
        if resume and not (self.config.is_file() and saved):
            raise UsageError(
                f"{self.path}: nothing to resume, no state was saved here; start it without "
                "--resume"
            )
        there = self.path.iterdir() if self.path.is_dir() else ()
        occupied = not all(is_unfinished(path.name) for path in there)
        if occupied and not (resume or overwrite):
            if saved:
                ways = "--resume to continue it, --overwrite to replace it, or another --run"
            elif self._is_run():
                ways = "--overwrite to replace it (nothing was saved there), or another --run"
            else:
                ways = "another --run: it is not a run folder"
            raise UsageError(f"{self.path}: exists already; give {ways}")
        if occupied and overwrite and not self._is_run():
            raise UsageError(f"{self.path}: not a run folder, so not overwritten; give another")

    def _is_run(self) -> bool:
        """Whether a training made what is here; one that was killed at once made an empty log."""
        if self.config.is_file() and self.log.is_file():
            return True
        files = (path for path in self.path.rglob("*") if path.is_file())
        return all(
            is_unfinished(p.name) or (p == self.log and p.stat().st_size == 0) for p in files
        )

    def create(
        self, config_yaml: str, resumed: Progress | None = None, evaluated: bool = True
    ) -> Log:
        """Make the folder ready and open its log.

        ``resumed`` says where to continue, ``evaluated`` whether the evaluation there was finished;
        without it what an older run left is removed, but for its best checkpoint. Raises
        :class:`EnvironmentFault` if the folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if resumed is None:
                self._clear()
            self.states.folder.mkdir(exist_ok=True)
            self.samples.mkdir(exist_ok=True)
            for folder in (self.path, self.states.folder, self.samples):
                _remove_unfinished(folder)
                probe = folder / f".probe.{os.getpid()}"
                probe.write_bytes(b"")
                probe.unlink()
            if resumed is None:
                write_atomically(self.log, b"")
            if not self.config.is_file() or self.config.read_text("utf-8") != config_yaml:
                write_atomically(self.config, config_yaml.encode())
            if resumed is not None:
                cut_log(self.log, resumed.step, evaluated)
            return Log(self.log)
        except OSError as error:
            raise EnvironmentFault(
                f"{self.path}: cannot be written to ({error.strerror}); give another --run"
            ) from error

    def write_metrics(self, values: Mapping[str, Any]) -> None:
        """Replace ``metrics.json``, the last file that an evaluation writes."""
        write_atomically(self.metrics, (json.dumps(values, indent=2) + "\n").encode())

    def evaluation_of(self, progress: Progress) -> dict[str, Any] | None:
        """What ``metrics.json`` says of the evaluation at ``progress``; None if it is of another.

        The file is the last that an evaluation writes, so that the others are there too.
        """
        try:
            values = json.loads(self.metrics.read_text(encoding="utf-8"))
            best = values["best"]
            same = (values["epoch"], values["step"]) == (progress.epoch, progress.step)
            whole = isinstance(best["score"], float) and isinstance(best["epoch"], int)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return values if same and whole else None

    def forget_states(self) -> None:
        """Remove what could be resumed here; the rest stays until the next run begins."""
        if self.states.folder.is_dir():
            shutil.rmtree(self.states.folder)

    def _clear(self) -> None:
        # The states go first, so that nobody resumes what has lost its log. Settings and log are
        # replaced later: without them the folder would not be known as that of a run.
        for name in _FOLDERS:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)
        for name in _CLEARED:
            (self.path / name).unlink(missing_ok=True)


def _remove_unfinished(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != LOCK and is_unfinished(path.name):
            path.unlink(missing_ok=True)
