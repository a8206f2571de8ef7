"""The run folder: what a training leaves behind, and the rules for entering an existing one."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fcnseg.data.sample import Source
from fcnseg.engine.checkpoint import Progress
from fcnseg.engine.evaluate import predict_labels
from fcnseg.engine.log import Log, cut_log
from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.files import write_atomically
from fcnseg.metrics import Scores
from fcnseg.model import FCN
from fcnseg.render.comparison import comparison
from fcnseg.render.curves import training_curves
from fcnseg.render.files import write_image

# The best checkpoint of an older run is not among them: it stays until the first epoch of the
# new run replaces it, so that a run which fails early costs nothing.
_CLEARED = ("config.yaml", "log.jsonl", "metrics.json", "curves.png")
_FOLDERS = ("last", "samples")


class RunFolder:
    """The paths inside a run folder. Making one touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.log = path / "log.jsonl"
        self.metrics = path / "metrics.json"
        self.best = path / "best.safetensors"
        self.state = path / "last" / "state.safetensors"
        self.samples = path / "samples"
        self.curves = path / "curves.png"

    def check(self, resume: bool, overwrite: bool) -> None:
        """Raise :class:`UsageError` if the run may not start here; changes nothing."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path}: is a file; give a folder with --run")
        if resume and not (self.config.is_file() and self.state.is_file()):
            raise UsageError(
                f"{self.path}: nothing to resume, no epoch was finished here; "
                "start it without --resume"
            )
        occupied = self.path.is_dir() and any(self.path.iterdir())
        if occupied and not (resume or overwrite):
            if self.state.is_file():
                ways = "--resume to continue it, --overwrite to replace it, or another --run"
            elif self.config.is_file() and self.log.is_file():
                ways = "--overwrite to replace it (no epoch was finished there), or another --run"
            else:
                ways = "another --run: it is not a run folder"
            raise UsageError(f"{self.path}: exists already; give {ways}")
        if occupied and overwrite and not (self.config.is_file() and self.log.is_file()):
            raise UsageError(f"{self.path}: not a run folder, so not overwritten; give another")

    def create(self, config_yaml: str, resumed: Progress | None = None) -> Log:
        """Make the folder ready and open its log.

        ``resumed`` says where to continue; without it what an older run left is removed, but for
        its best checkpoint. Raises :class:`EnvironmentFault` if the folder cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if resumed is None:
                self._clear()
            self.state.parent.mkdir(exist_ok=True)
            self.samples.mkdir(exist_ok=True)
            for folder in (self.path, self.state.parent, self.samples):
                probe = folder / f".probe.{os.getpid()}"
                probe.write_bytes(b"")
                probe.unlink()
            if resumed is None:
                self.config.write_text(config_yaml, encoding="utf-8")
            else:
                cut_log(self.log, resumed.step, resumed.evaluated)
            return Log(self.log)
        except OSError as error:
            raise EnvironmentFault(
                f"{self.path}: cannot be written to ({error.strerror}); give another --run"
            ) from error

    def write_metrics(self, values: dict[str, Any]) -> None:
        """Replace ``metrics.json``."""
        write_atomically(self.metrics, (json.dumps(values, indent=2) + "\n").encode())

    def write_curves(self, rows: Sequence[dict[str, Any]]) -> None:
        """Redraw ``curves.png`` from the rows of the log."""
        write_image(self.curves, training_curves(rows))

    def write_samples(
        self,
        model: FCN,
        source: Source,
        device: torch.device,
        precision: torch.dtype,
        count: int = 4,
    ) -> None:
        """Overwrite the panels of ``count`` images, always the same, spread over ``source``."""
        was_training = model.training
        model.eval()
        chosen = sorted({i * len(source) // count for i in range(count)})
        for index in chosen:
            sample = source[index]
            images_13HW = torch.from_numpy(sample.image.copy()).permute(2, 0, 1)[None]
            labels_1HW = predict_labels(model, images_13HW, [sample.id], device, precision)
            predicted = labels_1HW[0].to(torch.uint8).cpu().numpy()
            panel = comparison(sample.image, sample.label, predicted, source.palette)
            write_image(self.samples / f"{sample.id.replace('/', '_')}.png", panel)
        model.train(was_training)

    def _clear(self) -> None:
        for name in _CLEARED:
            (self.path / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            if (self.path / name).is_dir():
                shutil.rmtree(self.path / name)


def named_scores(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """The scores as JSON-able values, IU per class by name."""
    values = scores.to_dict()
    values["class_iu"] = dict(zip(classes, scores.class_iu, strict=True))
    return values
