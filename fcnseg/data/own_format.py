"""A format of the user's own: one Python file, ``--data my_format.py``."""

import importlib
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnseg.data.pairs import ImagePairs, Pair, ReadLabel
from fcnseg.data.sample import Source
from fcnseg.errors import DataError, FcnsegError, UsageError


def open_own_format(file: str | Path, root: str | Path | None, split: str) -> Source:
    """Call ``source(root, split)`` of a Python file, which is run.

    It returns a :class:`~fcnseg.data.pairs.ImagePairs` or another
    :class:`~fcnseg.data.sample.Source`. The file is imported as a module of its own name from its
    own folder, so that worker processes find what it defines.

    Args:
        file: the Python file.
        root: ``--data-root``.
        split: "train", "val", or what ``--train-split`` and ``--val-split`` say.

    Raises:
        UsageError: there is no such file, it cannot be imported, it has no such function, or
            this fails.
        DataError: no root is given, or the split is empty. What ``read_label`` raises becomes
            one, too, when a sample is read.
    """
    path = Path(file).resolve()
    if not path.is_file():
        raise UsageError(f"--data {file}: there is no such file; check the path")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--data {file}: cannot be imported ({type(error).__name__}: {reason}); mend the file"
        ) from error
    if Path(getattr(module, "__file__", None) or "").resolve() != path:
        raise UsageError(
            f"--data {file}: another module is called {path.stem!r} already; rename the file"
        )
    function = getattr(module, "source", None)
    if not callable(function):
        raise UsageError(f"--data {file}: has no function source(root, split); add it")
    if root is None:
        raise DataError(f"--data-root: {file} is given the folder of the data; name it")
    try:
        made = function(Path(root), split)
    except FcnsegError:
        raise
    except Exception as error:
        raise UsageError(f"--data {file}: source(){_said(error, path)}; mend it") from error
    if not isinstance(made, Source):
        raise UsageError(
            f"--data {file}: source() returned {type(made).__name__}, expected ImagePairs or "
            "another Source"
        )
    if len(made) == 0:
        raise DataError(f"--data {file}: the split {split!r} has no samples")
    if isinstance(made, ImagePairs):
        return made.reading(lambda read_label: _Guarded(read_label, path))
    return made


@dataclass(frozen=True)
class _Guarded:
    """A reader of the user's own, whose errors name the file that it read and its own line."""

    read_label: ReadLabel
    path: Path

    def __call__(self, pair: Pair, max_pixels: int) -> np.ndarray:
        try:
            return self.read_label(pair, max_pixels)
        except FcnsegError:
            raise
        except Exception as error:
            raise DataError(
                f"{pair.mask}: its reader in {self.path.name}{_said(error, self.path)}; mend the "
                "file or the reader"
            ) from error


def _said(error: Exception, path: Path) -> str:
    """Return ``", line 11, raises KeyError: 'x'"`` with the last line of the user's own file."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == path]
    where = f", line {lines[-1]}," if lines else ""
    return f"{where} raises {type(error).__name__}: {' '.join(str(error).split())}"
