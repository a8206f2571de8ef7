"""One process of a training of a tiny network: started by torchrun, or called in a fork.

As a script it takes the settings as JSON.
"""

import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from fcnseg.cli.faults import exit_code_and_line
from fcnseg.config import Size, TrainConfig
from fcnseg.engine.events import Event, Stepped
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.world import joined
from fcnseg.errors import DataError


def engine_fixtures() -> ModuleType:
    """The module tests/engine/conftest.py, which knows how to train a tiny network."""
    path = Path(__file__).parent / "engine" / "conftest.py"
    spec = importlib.util.spec_from_file_location("engine_fixtures", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plain_net(fixtures: ModuleType) -> nn.Module:
    """The tiny network without batch norm and dropout: an image does not depend on its batch."""
    torch.manual_seed(0)
    net: nn.Module = fixtures.TinyNet()
    net.backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
    return net


def train_a_share(
    settings: dict[str, Any],
    pause: float = 0.0,
    broken: str = "",
    full_disk: int = -1,
    signalled: tuple[int, int] = (-1, -1),
    images: int = 25,
) -> np.ndarray:
    """Train as one of several processes; returns the confusion counts at the end.

    Args:
        settings: of ``TrainConfig``.
        pause: seconds after each step.
        broken: id of a training image that cannot be read.
        full_disk: the process that can write no file over 20 kB.
        signalled: (process, step) of a SIGTERM.
        images: how many there are to train on.
    """
    fixtures = engine_fixtures()
    usual = {"data": "shapes", "optimizer": "sgd", "lr": 1e-2, "head_lr_factor": 1.0}
    config = TrainConfig(**{**usual, "workers": 0, **settings}, crop_size=Size(24, 32))
    rank = int(os.environ.get("RANK", "0"))
    if rank == full_disk:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    _, transform = fixtures.training_data()
    source = _with_a_broken_one(fixtures, broken, images)
    fixtures.training_data = lambda: (source, transform)

    def observer(event: Event) -> None:
        if isinstance(event, Stepped):
            time.sleep(pause)
            if (rank, event.step) == signalled:
                os.kill(os.getpid(), signal.SIGTERM)

    with Interruption() as stop, joined(timeout_s=60) as world:
        net = plain_net(fixtures)
        result = fixtures.train_tiny(config, observer, net, stop=stop, world=world)
        counts: np.ndarray = result.evaluation.confusion.counts
        return counts


def _with_a_broken_one(fixtures: ModuleType, name: str, images: int) -> Any:
    class Source(fixtures.Blocks):  # type: ignore[name-defined,misc]
        def __getitem__(self, index: int) -> Any:
            if self.id(index) == name:
                raise DataError(f"{name}.png: is broken; mend it")
            return super().__getitem__(index)

    return Source(images)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    try:
        (Path(given["run"]).parent / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
        train_a_share(given, pause=float(sys.argv[2]))
    except Exception as error:
        code, line = exit_code_and_line(error)
        if line:
            print(line, file=sys.stderr)
        sys.exit(code)
