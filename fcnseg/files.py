"""Files that appear whole or not at all, and what they hold as a hash."""

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from fcnseg.errors import EnvironmentFault

_CHUNK = 1 << 20
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.part", re.DOTALL)
_LONGEST = 120  # bytes of a name; some disks take 143, and a temporary file adds 19
_REMEDY = "check that the folder exists, is writable and has room"


@contextlib.contextmanager
def replacing(path: Path, remedy: str = _REMEDY) -> Iterator[Path]:
    """Write a file beside ``path`` that takes its place when the block ends without an error.

    Yields the path of an empty temporary file. At the end its bytes are brought to the disk, it
    is renamed, and the folder is brought to the disk too: a reader, also after a power failure,
    finds the old file or the new one, whole. After an error the old file is as it was.

    Raises :class:`EnvironmentFault`, one line that ends in ``remedy``, where the disk refuses.
    """
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode  # what the umask allows
        yield temporary
        os.chmod(temporary, mode)  # some writers make files for their owner alone
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: cannot be written ({error.strerror or error}); {remedy}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """The path of a file, not made yet, that may be used in the block and is removed after it.

    It lies beside ``path``, where there is room for results, and :func:`remove_leftovers` finds it.
    """
    temporary = _temporary(path)
    try:
        yield temporary
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{_short(path.name)}.{secrets.token_hex(6)}.part")


def _short(name: str) -> str:
    """The name, or its beginning and a hash: what there is room for in that of a temporary file."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST:
        return name
    digest = hashlib.sha256(data).hexdigest()[:16]
    start = name[:_LONGEST]
    while len(os.fsencode(start)) > _LONGEST - len(digest) - 1:
        start = start[:-1]
    return f"{start}~{digest}"


def write_atomically(path: Path, data: bytes) -> Path:
    """Write ``data`` to ``path`` by :func:`replacing`; returns ``path``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove the temporary files beside ``paths`` of a process that was killed.

    To be called where no other process writes these paths. A file that cannot be removed stays.
    """
    folders: dict[Path, set[str]] = {}
    for path in paths:
        folders.setdefault(path.parent, set()).add(_short(path.name))
    for folder, names in folders.items():
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                match = _TEMPORARY.fullmatch(name)
                if match is not None and match[1] in names:
                    (folder / name).unlink()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hex; raises :class:`OSError` if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power failure; Windows has no way to."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
