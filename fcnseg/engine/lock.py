"""One process at a time in a run folder.

The lock belongs to the process and goes with it, however it ends: a run that was killed can be
resumed at once, and the file that is left behind locks nothing.
"""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from fcnseg.errors import EnvironmentFault

NAME = ".lock"

_HELD: set[Path] = set()  # a record lock does not keep its own process out
_FAR = 1 << 30  # Windows hides locked bytes from readers, and who holds the lock is at the start
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of ``folder``, which is made if it is not there.

    ``folder/.lock`` names the process and its host while the block runs. At its end the file is
    removed, and so are the folders that were made for it, by this process or by one that was
    killed, where nothing else is in them.

    Raises:
        EnvironmentFault: another process holds the lock, the folder cannot be written to, or its
            file system has no locks.
    """
    path = Path(os.path.abspath(folder)) / NAME
    if path in _HELD:
        raise _taken(folder, path)
    _HELD.add(path)
    made = [p for p in path.parents if not os.path.exists(p)] or _left_behind(path)
    try:
        handle = _take(folder, path)
        try:
            yield
        finally:
            _release(handle, path, made)
    finally:
        _HELD.discard(path)


def _left_behind(path: Path) -> list[Path]:
    """The folder, where a process that was killed has left nothing but its lock in it."""
    with contextlib.suppress(OSError):
        return [path.parent] if os.listdir(path.parent) == [NAME] else []
    return []


def _take(folder: Path, path: Path) -> int:
    """Return a handle that holds the lock on the file which bears its name."""
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            reason = error.strerror or str(error)
            raise EnvironmentFault(
                f"{folder}: cannot be written to ({reason}); give another --run"
            ) from None
        try:
            _lock(handle)
            if _is_named(handle, path):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                return handle
        except OSError as error:
            os.close(handle)
            if error.errno in _BUSY:
                raise _taken(folder, path) from None
            reason = error.strerror or str(error)
            raise EnvironmentFault(
                f"{path}: cannot be locked ({reason}); give a --run on another file system"
            ) from None
        os.close(handle)  # its last holder removed the file between opening and locking


def _lock(handle: int) -> None:
    # Of the ways to lock a file this one is not handed down to a forked process: the workers of
    # a killed run, which live for some seconds more, keep nothing locked.
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_named(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _release(handle: int, path: Path, made: list[Path]) -> None:
    with contextlib.suppress(OSError):
        if sys.platform == "win32":  # open files cannot be removed there
            os.close(handle)
            path.unlink()
        else:
            path.unlink()
            os.close(handle)
        for parent in made:
            parent.rmdir()


def _taken(folder: Path, path: Path) -> EnvironmentFault:
    try:
        holder = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        holder = ""
    return EnvironmentFault(
        f"{folder}: is in use by {holder or 'another process'}; wait for it to end, stop it, or "
        "give another --run"
    )
