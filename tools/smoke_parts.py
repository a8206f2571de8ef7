"""What the checks of ``smoke_gpu.py`` are made of: the command line, a network, a clock."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fcnseg.build import build_fcn
from fcnseg.data.shapes import CLASSES, Shapes
from fcnseg.devices import autocast
from fcnseg.losses import cross_entropy
from fcnseg.model import FCN

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Failed(Exception):
    """What a check found wrong."""


@dataclass
class Smoke:
    """Where and on what the checks run; ``rows`` are those of the table of timings."""

    device: torch.device
    folder: Path
    backbone: str
    size: int
    images: int
    rows: list[tuple[str, float, float, float]] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        """Whether there is more than the script itself to check."""
        return self.device.type == "cuda"

    @property
    def precisions(self) -> dict[str, torch.dtype]:
        """Those that the device trains in."""
        return {n: p for n, p in PRECISIONS.items() if self.on_gpu or n != "fp16"}

    def data(self) -> list[str]:
        """The flags of the data."""
        counts = ["--train-length", str(self.images), "--val-length", str(self.images // 2)]
        return ["--data", "shapes", *counts, "--image-size", str(self.size)]

    def training(self, name: str, *more: str) -> list[str]:
        """The words of a training of two epochs in a folder of its own."""
        how = ["--backbone", self.backbone, "--crop-size", str(self.size), "--epochs", "2"]
        how += ["--device", str(self.device), "--deterministic", "--save-every", "2"]
        return ["train", *self.data(), *how, "--run", str(self.folder / name), *more]

    def picture(self) -> np.ndarray:
        """A photograph of the validation data, (H, W, 3) uint8."""
        return Shapes("val", 1, (self.size, self.size), seed=1)[0].image


def fcnseg(words: Sequence[str], expected: int = 0, script: str | None = None) -> str:
    """Run the command line; return what it printed. Another exit code than expected fails."""
    start = ["-m", "fcnseg"] if script is None else ["-c", script]
    done = subprocess.run(
        [sys.executable, *start, *words], capture_output=True, text=True, timeout=1800
    )
    if done.returncode != expected:
        last = (done.stderr.strip().splitlines() or ["nothing on stderr"])[-1]
        raise Failed(f"`fcnseg {words[0]}` ended with {done.returncode}: {last[:300]}")
    return done.stdout if expected == 0 else done.stderr


def losses(folder: Path) -> list[float]:
    """The loss of every step in a log."""
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text("utf-8").splitlines()]
    return [row["loss"] for row in rows if row["kind"] == "step"]


def killed(words: list[str], folder: Path, wanted: int) -> int:
    """Start a training, SIGKILL it after step ``wanted``; return the step it had reached."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fcnseg", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    log, until = folder / "log.jsonl", time.monotonic() + 900
    while process.poll() is None and time.monotonic() < until:
        reached = log.read_text("utf-8").count('"step", ') if log.is_file() else 0
        if reached >= wanted and list((folder / "last").glob("*.safetensors")):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return reached
        time.sleep(0.01)
    process.kill()
    raise Failed(f"the training ended before it was killed at step {wanted} (give more --images)")


def agreement(same: np.ndarray, least: float, what: str) -> str:
    """The share that is the same; fails below ``least``."""
    share = float(same.mean())
    if share < least:
        raise Failed(f"{100 * share:.2f} % of the {what}, expected {100 * least:g} %")
    return f"{100 * share:.2f} % of the {what}"


def network(smoke: Smoke) -> FCN:
    """An untrained network, ready to train, channels last."""
    torch.manual_seed(0)
    model = build_fcn(smoke.backbone, "8s", len(CLASSES))
    return model.to(smoke.device).to(memory_format=torch.channels_last)


def batch(smoke: Smoke) -> tuple[Tensor, Tensor]:
    """Random images, (8, 3, H, W), channels last, and labels."""
    side, count = smoke.size, 8
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(count, 3, side, side, generator=generator)
    label = torch.randint(0, len(CLASSES), (count, side, side), generator=generator)
    image = image.contiguous(memory_format=torch.channels_last)
    return image.to(smoke.device), label.to(smoke.device)


def timed(smoke: Smoke, precision: torch.dtype, last: bool) -> tuple[float, float, float]:
    """Median milliseconds of a training step and of a prediction, and the peak MiB on the GPU."""
    model, (image, label) = network(smoke), batch(smoke)
    if not last:
        model, image = model.to(memory_format=torch.contiguous_format), image.contiguous()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    scaler = torch.amp.GradScaler(smoke.device.type, enabled=precision == torch.float16)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast(smoke.device, precision):
            score = model(image)
        scaler.scale(cross_entropy(score, label)).backward()
        scaler.step(optimizer)
        scaler.update()

    @torch.inference_mode()
    def predict() -> None:
        with autocast(smoke.device, precision):
            model(image)

    if smoke.on_gpu:
        torch.cuda.reset_peak_memory_stats(smoke.device)
    train = milliseconds(step, smoke)
    peak = torch.cuda.max_memory_allocated(smoke.device) / 2**20 if smoke.on_gpu else 0.0
    model.eval()
    return train, milliseconds(predict, smoke), peak


def milliseconds(work: Callable[[], None], smoke: Smoke) -> float:
    """The median of several calls, after some to warm up; waits for the GPU."""
    times = []
    for number in range(25 if smoke.on_gpu else 3):
        start = time.perf_counter()
        work()
        if smoke.on_gpu:
            torch.cuda.synchronize(smoke.device)
        times.append(1000 * (time.perf_counter() - start) if number else np.inf)
    return float(np.median(times))
