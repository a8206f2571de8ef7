"""The run's log: JSON lines, one for each step and one for each evaluation."""

import json
from pathlib import Path
from typing import Any


class Log:
    """Appends rows to ``log.jsonl``; each row has ``kind`` (``step`` or ``eval``)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, kind: str, **values: Any) -> None:
        """Append one row and hand it to the operating system."""
        self._file.write(json.dumps({"kind": kind, **values}) + "\n")
        self._file.flush()

    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return read_log(self._path)

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; an unfinished last line, left by a crash, is skipped."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def cut_log(path: Path, step: int, evaluated: int) -> None:
    """Keep the steps up to ``step`` and the evaluations up to the epoch ``evaluated``.

    What follows is computed again after a resume.
    """
    rows = [row for row in read_log(path) if row["step"] <= step] if path.exists() else []
    rows = [row for row in rows if row["kind"] == "step" or row["epoch"] <= evaluated]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
