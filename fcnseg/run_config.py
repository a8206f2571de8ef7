"""How a training runs: what all trainings share, whatever they train."""

import re
from dataclasses import dataclass

from fcnseg.settings import seed_setting, setting

DEFAULT_LR = 1e-4
"""Learning rate where nothing says another."""

PLACE = ("run", "resume", "overwrite")
"""The settings that say where a run is kept and how it was entered."""

MACHINE = (
    *("device", "precision", "compile", "deterministic", "workers"),
    *("save_every", "tensorboard", *PLACE),
)
"""The settings that say how, and not what, is computed."""

_UNITS = {"": None, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class RunConfig:
    """Optimization, machine and run folder."""

    seed: int = seed_setting()
    epochs: int = setting(30, "passes over the training images", at_least=1)
    iterations: int | None = setting(
        None, "optimizer steps in all, in place of epochs", at_least=1, at_most=10**9
    )
    batch_size: int = setting(4, "images in a training batch, of each process", at_least=1)
    accumulate: int = setting(
        1, "batches whose gradients are added up for one optimizer step", at_least=1
    )
    optimizer: str = setting("adamw", "how gradients become steps", choices=("adamw", "sgd"))
    momentum: float = setting(0.9, "momentum of sgd", at_least=0, below=1)
    lr: float | None = setting(
        None,
        f"learning rate of the backbone, after warm-up (default {DEFAULT_LR}, of the recipe paper "
        "the published one of the variant)",
        above=0,
        at_most=10,
    )
    head_lr_factor: float = setting(
        10.0, "learning rate of the head, as a multiple of lr", above=0, at_most=1000
    )
    bias_lr_factor: float = setting(
        1.0, "learning rate of biases, as a multiple of that of their layers", above=0, at_most=100
    )
    weight_decay: float = setting(
        1e-2, "weight decay; biases and norms have none", at_least=0, below=1
    )
    schedule: str = setting(
        "poly", "how the learning rate falls after warm-up", choices=("poly", "constant")
    )
    warmup: float = setting(
        0.05, "share of all steps over which the learning rate rises", at_least=0, below=1
    )
    clip_norm: float = setting(
        0.0, "largest norm of the gradient; longer ones are shortened to it; 0: any", at_least=0
    )
    ema: float = setting(
        0.0,
        "decay of a moving average of the weights, such as 0.999, which is what is evaluated and "
        "kept as the best; 0: none",
        at_least=0,
        below=1,
    )
    freeze: str = setting("none", "backbone: train the head only", choices=("none", "backbone"))
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 or mps")
    precision: str = setting(
        "auto",
        "auto: fp32 on the CPU, bf16 or fp16 on CUDA; bf16 trains some networks faster on CPUs "
        "that compute it (AMX)",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    compile: bool = setting(
        False,
        "train through torch.compile: minutes before the first step, faster ones after it; the "
        "last digits may change when a run is resumed",
    )
    deterministic: bool = setting(
        False, "CUDA: deterministic algorithms, slower, so that a resumed run repeats to the bit"
    )
    workers: int = setting(2, "processes that load images; 0 loads in the main one", at_least=0)
    save_every: str = setting(
        "10m", "save what --resume needs every N steps, Nm minutes, or none: after each epoch only"
    )
    tensorboard: bool = setting(False, "write events for TensorBoard into the run folder too")
    run: str | None = setting(None, "run folder (default runs/DATA-BACKBONE-VARIANT)")
    resume: bool = setting(False, "continue the run in the run folder where it was saved last")
    overwrite: bool = setting(False, "replace the run in the run folder")

    @property
    def rate(self) -> float:
        """The learning rate of the backbone."""
        return DEFAULT_LR if self.lr is None else self.lr

    @property
    def save_interval(self) -> tuple[int | None, float | None]:
        """Steps, and seconds, between two saves inside an epoch; None where there is no such."""
        number, unit = self._save_every()
        seconds = _UNITS[unit]
        return (number, None) if seconds is None else (None, float(number * seconds))

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps from beginning to end."""
        return self.iterations or self.epochs * steps_per_epoch

    def faults(self) -> list[str]:
        """What in the settings contradicts itself, a line each."""
        found = []
        if self.resume and self.overwrite:
            found.append("--resume, --overwrite: exclude each other; give one of them")
        try:
            self._save_every()
        except ValueError:
            found.append(
                f"--save-every: expected steps such as 500, minutes such as 10m, or none, got "
                f"{self.save_every!r}"
            )
        return found

    def _save_every(self) -> tuple[int, str]:
        if self.save_every == "none":
            return 10**18, ""
        found = re.fullmatch(r"(\d{1,9})([smh]?)", self.save_every)
        if not found or int(found[1]) == 0:
            raise ValueError(self.save_every)
        return int(found[1]), found[2]
