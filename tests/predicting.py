"""A small network and photographs for tests of ``fcnseg predict``."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fcnseg import build_fcn
from fcnseg.engine.checkpoint import save_model

SIZES = ((48, 64), (48, 64), (40, 56))


def tiny_checkpoint(path: Path, classes: tuple[str, ...] = ("background", "cat", "tree")) -> Path:
    """Write a network with random weights that gives each class to some pixels."""
    torch.manual_seed(0)
    model = build_fcn("squeezenet1_1", "16s", len(classes), classes=classes)
    with torch.no_grad():
        for score in model.head.score.values():
            score.weight.normal_(0, 0.1)
            score.weight -= score.weight.mean(0)  # no class is above the others everywhere
    save_model(path, model)
    return path


def photographs(folder: Path, names: str, seed: int = 0) -> list[Path]:
    """Write photographs of the sizes above in turn, smooth noise, under these names."""
    numbers = np.random.default_rng(seed)
    paths = []
    for index, name in enumerate(names.split()):
        height, width = SIZES[index % len(SIZES)]
        coarse = numbers.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
        paths.append(path)
    return paths


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
