"""A format of the user's own: one Python file, ``--data my_format.py``."""

import importlib
import sys
from pathlib import Path

from fcnseg.data.sample import Source
from fcnseg.errors import DataError, UsageError


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
        UsageError: there is no such file, it cannot be imported, or it has no such function.
        DataError: from the file itself.
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
    made = function(None if root is None else Path(root), split)
    if not isinstance(made, Source):
        raise UsageError(
            f"--data {file}: source() returned {type(made).__name__}, expected ImagePairs or "
            "another Source"
        )
    if len(made) == 0:
        raise DataError(f"--data {file}: the split {split!r} has no samples")
    return made
