"""Every moment at which what a process has written to the disk changes.

For a test that ends the process at each of them. Used in a process of its own, since nothing is
put back.
"""

import builtins
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fcnseg.engine import tensors

_MAKING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod")


def report_boundaries(folder: Path, at: Callable[[str], None]) -> None:
    """From now on, call ``at`` before each change of a file in ``folder``, and between its parts.

    A change is opening for writing, making, renaming and removing; before the next of these the
    disk is as after the last. Writing and bringing to the disk are reported before and after, and
    writing also in the middle, when half of the bytes are in the file.
    """
    inside = str(folder)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event != "open" and event not in _CHANGES:
            return
        path = args[0]
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path).startswith(inside):
            return
        if event == "open" and not args[2] & _MAKING and not os.path.isdir(path):
            return
        at(f"{event} {os.path.basename(path)}")

    sys.addaudithook(hook)
    _watch_syncing(at)
    _watch_writing(inside, at)
    _watch_tensors(at)


class _Watched:
    """A file whose writing is reported."""

    def __init__(self, file: Any, at: Callable[[str], None]) -> None:
        self._file, self._at = file, at

    def write(self, data: Any) -> int:
        data = bytes(data)
        self._at("write")
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._at("half written")
        self._file.write(data[len(data) // 2 :])
        self._file.flush()
        self._at("written")
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Watched":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()


def _watch_writing(inside: str, at: Callable[[str], None]) -> None:
    real = io.open

    def opened(file: Any, mode: str = "r", *args: Any, **settings: Any) -> Any:
        found = real(file, mode, *args, **settings)
        ours = isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith(inside)
        writes = set(mode) & set("wxa+") and "b" in mode
        return _Watched(found, at) if ours and writes else found

    io.open = builtins.open = opened  # type: ignore[assignment]


def _watch_syncing(at: Callable[[str], None]) -> None:
    real = os.fsync

    def fsync(handle: int) -> None:
        at("fsync")
        real(handle)
        at("synced")

    os.fsync = fsync


def _watch_tensors(at: Callable[[str], None]) -> None:
    # What is not Python: one version of safetensors writes the file in place, another a file of
    # its own beside it.
    real = tensors.save_file

    def save_file(plain: Any, path: Path, metadata: Any) -> None:
        at("write tensors")
        real(plain, path, metadata)
        whole = Path(path).read_bytes()
        own = Path(path).with_name(".tmpW4tChd")
        for place in (path, own):
            with open(place, "wb") as file:
                file._file.write(whole[: len(whole) // 2])
            at("tensors half written")
        own.unlink()
        real(plain, path, metadata)
        at("tensors written")

    tensors.save_file = save_file
