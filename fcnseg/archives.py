"""Unpacking of tar archives from elsewhere: every member is checked before it is written."""

import contextlib
import gzip
import os
import posixpath
import secrets
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

from fcnseg.errors import DataError, EnvironmentFault

_CHUNK = 1 << 20
# The longest that is read at once: a header may claim a name of any length.
_LONGEST_READ = 16 << 20
# Archives of so few bytes unpacked are never bombs, whatever their ratio.
_HARMLESS = 16 << 20
_REMEDY = "check that the disk has room and the folder is writable"


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to.

    Attributes:
        bytes: of all files and headers.
        members: count of files and folders.
        ratio: unpacked bytes for each byte of the archive.
    """

    bytes: int = 8 << 30
    members: int = 100_000
    ratio: int = 50


class _Refused(Exception):
    """The archive must not be unpacked; the text says why."""


def unpack(
    archive: Path,
    folder: Path,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Unpack a tar archive, plain or gzipped, into ``folder``, which no other process writes to.

    Only files and folders are made, with the permissions of new ones. A link to a file that came
    before it becomes a copy of that file. ``progress(done, total)`` is called with bytes of the
    archive.

    Raises:
        DataError: the archive is damaged or unpacks to more than the limits; a member has an
            absolute path or one with "..", is a link out of the folder or to nothing, or is
            neither file nor folder. What came before is left in ``folder``.
        EnvironmentFault: the disk refuses.
    """
    limits = limits or Limits()
    try:
        with open(archive, "rb") as raw:
            total = os.fstat(raw.fileno()).st_size
            stream = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
            source = _Bounded(stream, min(limits.bytes, max(total * limits.ratio, _HARMLESS)))
            with tarfile.open(fileobj=source, mode="r:") as tar:  # type: ignore[call-overload]
                count = 0
                while (member := tar.next()) is not None:
                    count += 1
                    if count > limits.members:
                        raise _Refused(f"has more than the {limits.members} members allowed")
                    _write(tar, member, folder, source)
                    if progress is not None:
                        progress(raw.tell(), total)
            while source.read(_CHUNK):  # gzip's checksum lies behind everything
                pass
    except EnvironmentFault:
        raise
    except _Refused as error:
        raise DataError(f"{archive}: {error}; get the archive from its publisher") from None
    except Exception as error:  # the readers raise almost anything on damaged bytes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{archive}: cannot be unpacked ({reason}); get it again") from error


@contextlib.contextmanager
def staging(root: Path) -> Iterator[Path]:
    """Yield a new empty folder inside ``root``, which is gone when the block ends.

    ``root`` is made if need be, and is gone too if nothing was put there. After a SIGKILL a
    folder ``.unpacking.…`` stays, and may be removed.

    Raises :class:`EnvironmentFault` if the folder cannot be made.
    """
    missing = [place for place in (root, *root.parents) if not place.exists()]
    temporary = root / f".unpacking.{secrets.token_hex(6)}"
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise _cannot_write(temporary, error) from None
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            for place in missing:
                place.rmdir()


def put_in_place(folder: Path, target: Path) -> None:
    """Rename ``folder`` to ``target``, which is missing or empty, once its bytes are on the disk.

    Raises :class:`EnvironmentFault` if the disk refuses or ``target`` holds something.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.name != "nt":
            os.sync()  # one call for the many thousand files of a data set
        os.replace(folder, target)
    except OSError as error:
        raise _cannot_write(target, error) from None


class _Bounded:
    """The bytes of a tar, read forward and no further than ``allowed``."""

    def __init__(self, stream: BufferedReader | gzip.GzipFile, allowed: int) -> None:
        self._stream = stream
        self._allowed = allowed
        self._copied = 0

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise _Refused(f"has a header that claims {size} bytes")
        data = self._stream.read(size)
        self._check(self._stream.tell())
        return data

    def seek(self, place: int) -> int:
        if place < self._stream.tell():
            raise _Refused("has a header that points backwards")
        self._check(place)
        return self._stream.seek(place)

    def copies(self, size: int) -> None:
        """Count the bytes of a copy, which are in no part of the archive of their own."""
        self._copied += size
        self._check(self._stream.tell())

    def _check(self, place: int) -> None:
        if place + self._copied > self._allowed:
            raise _Refused(f"unpacks to more than the {self._allowed} bytes allowed")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, source: _Bounded) -> None:
    path = folder / _inner_path(member.name)
    linked = None
    if member.issym() or member.islnk():
        linked = folder / _inner_path(_link_target(member))
        if not linked.is_file():
            raise _Refused(f"has {member.name!r}, a link to {member.linkname!r}, which is no file")
        source.copies(linked.stat().st_size)
    elif not member.isdir() and (not member.isreg() or member.issparse()):
        raise _Refused(f"has {member.name!r}, which is neither file, folder nor link")
    try:
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if linked is not None:
            shutil.copyfile(linked, path)
            return
        file = open(path, "wb")  # noqa: SIM115  (what fails while copying may be the archive)
    except (FileExistsError, NotADirectoryError, IsADirectoryError, shutil.SameFileError):
        raise _Refused(f"has {member.name!r}, which is a file and a folder or itself") from None
    except OSError as error:
        raise _cannot_write(path, error) from None
    with file:
        _copy(tar, member, file, path)


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, file: IO[bytes], path: Path) -> None:
    content = tar.extractfile(member)
    assert content is not None
    left = member.size
    while left:
        chunk = content.read(min(left, _CHUNK))
        if not chunk:
            raise _Refused(f"ends within {member.name!r}")
        left -= len(chunk)
        try:
            file.write(chunk)
        except OSError as error:
            raise _cannot_write(path, error) from None


def _link_target(member: tarfile.TarInfo) -> str:
    """The member that a link means: symbolic ones are relative to their own folder."""
    base = posixpath.dirname(member.name) if member.issym() else ""
    return posixpath.normpath(posixpath.join(base, member.linkname))


def _inner_path(name: str) -> str:
    """``name``, if it stays within the folder on every system."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or set(name) & set("\\:\0") or not any(parts):
        raise _Refused(f"has {name!r}, which leads out of the folder")
    return name


def _cannot_write(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(f"{path}: cannot be written ({error.strerror or error}); {_REMEDY}")
