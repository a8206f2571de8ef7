"""What ``--resume`` needs: the newest two states of a run, each whole or not there."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcnseg.engine.checkpoint import Progress, load_state, save_state
from fcnseg.engine.step import Learner
from fcnseg.errors import WeightsError

_KEPT = 2
_NAME = re.compile(r"step-(\d+)\.safetensors")


class States:
    """The files ``step-00000123.safetensors`` in a folder. Making one touches nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole: list[Path] = []  # written or read by us, newest last

    def files(self) -> list[Path]:
        """Every state, newest first."""
        if not self.folder.is_dir():
            return []
        found = [(step, p) for p in self.folder.iterdir() if (step := _step(p)) is not None]
        return [path for _, path in sorted(found, reverse=True)]

    def newest_step(self) -> int | None:
        """The step of the newest state; None if there is none."""
        files = self.files()
        return _step(files[0]) if files else None

    def save(self, learner: Learner, progress: Progress, settings: Mapping[str, Any]) -> Path:
        """Write a state; the one before is kept, all others go.

        Raises :class:`~fcnseg.errors.EnvironmentFault` where the disk refuses, and
        :class:`~fcnseg.errors.NumericError` for numbers that are not finite; what was there
        before is then untouched.
        """
        path = self.folder / f"step-{progress.step:08}.safetensors"
        save_state(
            *(path, learner.model, learner.optimizer, progress, learner.scaler),
            average=learner.average,
            config=settings,
        )
        self._whole = [*(p for p in self._whole if p != path), path][-_KEPT:]
        for other in self.files():
            if other not in self._whole:
                other.unlink(missing_ok=True)
        return path

    def load(self, learner: Learner) -> tuple[Progress, list[str]]:
        """Restore the newest state that is whole, in place.

        Returns its progress and a line for each newer one that is damaged. Raises
        :class:`WeightsError`, that of the newest, if there is none.
        """
        faults: list[WeightsError] = []
        for path in self.files():
            try:
                progress = load_state(
                    path, learner.model, learner.optimizer, learner.scaler, learner.average
                )
                if progress.step != _step(path):
                    raise WeightsError(f"{path}: holds step {progress.step}; not what it was")
            except WeightsError as error:
                faults.append(error)
                continue
            self._whole = [path]
            what = [str(fault).rpartition("; ")[0] for fault in faults]  # without the advice
            used = f"the state before it, of step {progress.step}, is used"
            return progress, [f"{fault}; {used}" for fault in what]
        if len(faults) > 1:
            best = self.folder.with_name("best.safetensors")
            also = f"and no state before it is whole; start another --run from {best}"
            raise WeightsError(f"{faults[0]}, {also}")
        if faults:
            raise faults[0]
        raise WeightsError(f"{self.folder}: holds no state; start the run without --resume")


def _step(path: Path) -> int | None:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None
