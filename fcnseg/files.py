"""Files that appear whole or not at all, and what they hold as a hash."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from fcnseg.errors import EnvironmentFault

_CHUNK = 1 << 20
_REMEDY = "check that the folder exists, is writable and has room"


@contextlib.contextmanager
def replacing(path: Path, remedy: str = _REMEDY) -> Iterator[Path]:
    """Write a file beside ``path`` that takes its place when the block ends without an error.

    Yields the path of an empty temporary file. At the end its bytes are brought to the disk, it
    is renamed, and the folder is brought to the disk too: a reader, also after a power failure,
    finds the old file or the new one, whole. After an error the old file is as it was.

    Raises :class:`EnvironmentFault`, one line that ends in ``remedy``, where the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
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


def write_atomically(path: Path, data: bytes) -> Path:
    """Write ``data`` to ``path`` by :func:`replacing`; returns ``path``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


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
