"""The run's log: JSON lines, one for each step and one for each evaluation."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fcnseg.errors import EnvironmentFault
from fcnseg.files import write_atomically


class Log:
    """Appends rows to ``log.jsonl``; each row has ``kind`` (``step`` or ``eval``).

    Raises :class:`EnvironmentFault` where the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def write(self, kind: str, **values: Any) -> None:
        """Append one row and hand it to the operating system."""
        row = json.dumps({"kind": kind, **values}).encode() + b"\n"
        with self._refusing():
            # a disk that is full takes a part of it; the next write then says why
            while row:
                row = row[self._file.write(row) :]

    def sync(self) -> None:
        """Bring all rows to the disk: what is saved afterwards never has steps without rows."""
        with self._refusing():
            os.fsync(self._file.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return read_log(self._path)

    def close(self) -> None:
        self._file.close()

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise EnvironmentFault(
                f"{self._path}: cannot be written ({error.strerror}); free some space, then resume"
            ) from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; an unfinished last line, left by a crash, is skipped."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and {"kind", "step"} <= row.keys():
            rows.append(row)
    return rows


def cut_log(path: Path, step: int, evaluated: bool) -> None:
    """Keep what a state of ``step`` knows; what follows is computed again after a resume.

    ``evaluated`` says whether the evaluation after that very step was finished.
    """
    rows = read_log(path) if path.exists() else []
    last = step if evaluated else step - 1
    rows = [row for row in rows if row["step"] <= (step if row["kind"] == "step" else last)]
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
