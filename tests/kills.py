"""Trainings in processes of their own that are killed, many a second.

A helper process imports everything once and then forks: a training that is killed after a few
steps costs a fraction of a second. The helper runs nothing of torch, which does not survive a
fork once it has threads.
"""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent


@dataclass
class Helper:
    """The helper process, seen from a test."""

    process: "subprocess.Popen[str]"

    def train(self, folder: Path, settings: dict[str, Any], **how: Any) -> dict[str, Any]:
        """Train in ``folder``; say what became of it.

        The answer has ``done`` (true where the training came to its end), ``error`` ([exit code,
        line] where it raised one of our errors), ``boundary`` where it was killed at one, and
        ``seconds``.

        Args:
            folder: the run folder.
            settings: of ``TrainConfig``, as text or plain values.
            how: ``seconds``: the process group is killed then. ``known``: it is killed at the
                first boundary that is not among these, of ``phases`` alone if these are given.
        """
        return self._ask({"settings": {**settings, "run": str(folder)}, **how})

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        assert "bug" not in answer, answer["bug"]
        return answer

    def command(self, words: list[str], **how: Any) -> tuple[int, str]:
        """Run ``fcnseg`` with these words; return the exit code and what it wrote to stderr.

        Args:
            words: of the command line.
            how: ``signal``: a number sent once ``log`` holds a row with the text ``row``; sent to
                the process group where ``group`` is true, else to the process alone.
        """
        answer = self.killed_command(words, **how)
        return answer["code"], answer["stderr"]

    def killed_command(self, words: list[str], **how: Any) -> dict[str, Any]:
        """Run ``fcnseg`` with these words; the answer has ``code`` where it came to its end.

        Args:
            words: of the command line.
            how: as for :meth:`command`; or ``seconds``: it is killed then; or ``known`` and
                ``folder``: it is killed at the first boundary of a file in that folder that is not
                among these, which is the answer's ``boundary``.
        """
        return self._ask({"words": words, **how})


@contextlib.contextmanager
def helper() -> Iterator[Helper]:
    """A helper process that is there for the block."""
    import fcnseg

    paths = [str(Path(fcnseg.__file__).parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    try:
        yield Helper(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)


def _serve() -> None:
    parts = _imported()
    _import_ahead()
    for line in sys.stdin:
        request = json.loads(line)
        reading, writing = os.pipe()
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _child(parts, request, writing)
        os.close(writing)
        if "signal" in request:
            _send(child, request)
        _wait(child, start + request.get("seconds", 100))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # the workers
        with os.fdopen(reading) as pipe:
            said = pipe.read().splitlines()
        answer = {"done": False, "error": None, "boundary": None}
        for text in said:
            answer.update(json.loads(text))
        print(json.dumps({**answer, "seconds": time.monotonic() - start}), flush=True)


def _import_ahead() -> None:
    """What each training would import on its way."""
    import gc

    import matplotlib.mlab  # noqa: F401
    import PIL.Image
    import PIL.PngImagePlugin

    import fcnseg.cli.predict_summary
    import fcnseg.cli.progress
    import fcnseg.data.transforms
    import fcnseg.stages  # noqa: F401

    PIL.Image.init()
    gc.freeze()  # what is not touched needs not be copied


def _send(child: int, request: dict[str, Any]) -> None:
    """Send the signal when its time has come; never, if the process ends before."""
    log, row = Path(request["log"]), request["row"]
    while not (log.is_file() and row in log.read_text()):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.002)
    (os.killpg if request.get("group") else os.kill)(child, request["signal"])


def _wait(child: int, deadline: float) -> None:
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(0.002)


def _imported() -> ModuleType:
    """``tests/engine/conftest.py``, whose name several files have."""
    spec = importlib.util.spec_from_file_location("tiny_training", HERE / "engine" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_training"] = module
    spec.loader.exec_module(module)
    return module


def _child(parts: ModuleType, request: dict[str, Any], pipe: int) -> None:
    """Train, say how it went, and end without coming back."""
    os.setsid()
    write = os.write

    def say(**values: Any) -> None:
        write(pipe, json.dumps(values).encode() + b"\n")

    try:
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 1)
        if "words" in request:
            if "known" in request:
                killer = Killer(set(request["known"]), set(), say, "command")
                killer.watch_files(Path(request["folder"]))
            _command(request["words"], say)
        else:
            _train(parts, request, say)
    except BaseException:
        import traceback

        say(bug=traceback.format_exc())
    os._exit(0)


def _train(parts: ModuleType, request: dict[str, Any], say: Callable[..., None]) -> None:
    import torch

    from fcnseg.config import TrainConfig, load_config
    from fcnseg.engine import segmentation
    from fcnseg.engine.lock import locked
    from fcnseg.errors import FcnsegError

    torch.set_num_threads(1)
    segmentation.training_curves = quick_curves  # most of the time would go into drawing them
    config = load_config(TrainConfig, None, request["settings"])
    if "known" in request:
        way = "resume" if config.resume else "overwrite" if config.overwrite else "new"
        known, phases = set(request["known"]), set(request.get("phases", ()))
        Killer(known, phases, say, f"start, {way}").watch(config.run_folder)
    try:
        with locked(config.run_folder):
            parts.train_tiny(config, validation=parts.Blocks(2, salt=1))
    except FcnsegError as error:
        say(error=[error.exit_code, str(error)])
    else:
        say(done=True)


def _command(words: list[str], say: Callable[..., None]) -> None:
    import tempfile

    import torch

    from fcnseg.cli import main
    from fcnseg.engine import segmentation

    torch.set_num_threads(1)
    segmentation.training_curves = quick_curves
    with tempfile.TemporaryFile("w+") as file:
        os.dup2(file.fileno(), 2)
        code = main(words)
        sys.stderr.flush()
        file.seek(0)
        say(code=code, stderr=file.read())


def quick_curves(rows: Any) -> np.ndarray:
    """A picture that is another for other rows."""
    text = np.frombuffer(json.dumps(list(rows)).encode(), np.uint8)
    picture = np.zeros((64, 64, 3), np.uint8)
    picture.reshape(-1)[: len(text)] = text[: picture.size]
    return picture


@dataclass
class Killer:
    """Ends the process group at the first boundary where no process was ended yet."""

    known: set[str]
    phases: set[str]
    say: Callable[..., None]
    phase: str
    seen: Counter[str] = field(default_factory=Counter)

    def watch(self, folder: Path) -> None:
        from fcnseg.engine import train

        self._follow(train.Run, "tell")
        self._follow(train.Run, "save")
        self._follow(train, "finish_epoch")
        self.watch_files(folder)

    def watch_files(self, folder: Path) -> None:
        from boundaries import report_boundaries

        report_boundaries(folder, self.at)

    def at(self, label: str) -> None:
        name = f"{self.phase}: {_CHANGING.sub('', label)}"
        self.seen[name] += 1
        boundary = f"{name} {self.seen[name]}"
        if boundary not in self.known and (not self.phases or self.phase in self.phases):
            self.say(boundary=boundary)
            os.killpg(0, signal.SIGKILL)

    def _follow(self, owner: Any, name: str) -> None:
        """Know from the calls of a function what is being done."""
        real = getattr(owner, name)

        def followed(*args: Any) -> Any:
            self.phase, self.seen = name, Counter()
            try:
                return real(*args)
            finally:
                self.phase = "between"

        setattr(owner, name, followed)


_CHANGING = re.compile(r"(?<=\.)[0-9a-f]{12}(?=\.part)|\d+")
_NAMES = re.compile(r"run: .*\n")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run folder by its name, the folder's own name left out of the settings."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    if "config.yaml" in files:
        files["config.yaml"] = _NAMES.sub("", files["config.yaml"].decode()).encode()
    return files


def different(one: Path, two: Path) -> list[str]:
    """The names of the files in which two run folders differ."""
    a, b = contents(one), contents(two)
    return [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]


def unloadable(folder: Path) -> list[str]:
    """The checkpoints under their own names that are not whole."""
    from fcnseg.engine.tensors import read_tensors
    from fcnseg.errors import WeightsError

    found = []
    for path in folder.rglob("*.safetensors"):
        try:
            read_tensors(path)
        except WeightsError as error:
            found.append(str(error))
    return found


if __name__ == "__main__":
    _serve()
    os._exit(0)  # all that was imported need not be taken apart
