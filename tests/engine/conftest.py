"""A network of a few thousand parameters with the parts that the engine asks of an FCN."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fcnseg.config import Size, TrainConfig
from fcnseg.data.loading import Batch, evaluation_loader, training_loader
from fcnseg.data.order import batches_in_epoch
from fcnseg.data.sample import Sample, Source
from fcnseg.data.subset import Subset
from fcnseg.data.transforms import TrainingTransform
from fcnseg.engine.continuity import describe_data, describe_machine
from fcnseg.engine.events import Observer, silent
from fcnseg.engine.interrupt import Interruption
from fcnseg.engine.run import RunFolder
from fcnseg.engine.segmentation import PixelLoss, Segmentation
from fcnseg.engine.start import Result, build_learner, enter, fit_config
from fcnseg.engine.train import Batches
from fcnseg.engine.world import World
from fcnseg.model import ModelInfo
from fcnseg.preprocessing import Preprocessing

CLASSES = ("dark", "bright", "red")
PALETTE = ((0, 0, 0), (255, 255, 255), (255, 0, 0))
FILL = (127, 127, 127)


class TinyNet(nn.Module):
    """Two strided convolutions with batch norm and dropout, a score layer, bilinear upsampling."""

    def __init__(self, classes: tuple[str, ...] = CLASSES) -> None:
        super().__init__()
        self.num_classes = len(classes)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout2d(0.1)
        )
        self.head = nn.Conv2d(16, self.num_classes, 3, padding=1)
        self.info = ModelInfo(
            backbone="vgg16",
            variant="8s",
            padding="same",
            upsample="learned",
            classes=classes,
            palette=PALETTE[: self.num_classes],
            preprocessing=Preprocessing(
                (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 1 / 255, "RGB", 224, 256
            ),
        )

    def forward(self, pixels_N3HW: Tensor) -> Tensor:
        score_NKhw = self.head(self.backbone(pixels_N3HW))
        return nn.functional.interpolate(score_NKhw, pixels_N3HW.shape[-2:], mode="bilinear")


class Blocks:
    """Images of three flat colours with noise, which the tiny network can learn."""

    classes = CLASSES
    palette = PALETTE

    def __init__(self, length: int, salt: int = 0) -> None:
        self.name = "blocks"
        self._length, self._salt = length, salt

    def __len__(self) -> int:
        return self._length

    def id(self, index: int) -> str:
        return f"block-{index}"

    def files(self, index: int) -> tuple[Path, ...]:
        del index
        return ()

    def label(self, index: int) -> np.ndarray:
        return self[index].label

    def __getitem__(self, index: int) -> Sample:
        numbers = np.random.default_rng([self._salt, index])
        label = np.zeros((24, 32), np.uint8)
        row, column = numbers.integers(4, 20), numbers.integers(4, 28)
        label[:row, :column], label[row:, column:] = 1, 2
        colours = np.array([(30, 30, 30), (220, 220, 220), (220, 30, 30)])
        image = colours[label] + numbers.integers(-20, 20, (24, 32, 3))
        label[row] = 255
        return Sample(image.astype(np.uint8), label, self.id(index))


def training_data() -> tuple[Blocks, TrainingTransform]:
    """What :func:`run_training` trains on."""
    return Blocks(9), TrainingTransform((24, 32), scale=(0.8, 1.2), fill=FILL)


def train_tiny(
    config: TrainConfig,
    observer: Observer = silent,
    model: nn.Module | None = None,
    validation: Source | None = None,
    class_weights: Sequence[float] | None = None,
    stop: Interruption | None = None,
    world: World | None = None,
) -> Result:
    """Train a fresh tiny network as ``training.train`` does; its parts may be given."""
    world = world or World()
    folder = enter(config) if world.is_first else RunFolder(config.run_folder)
    torch.manual_seed(config.seed)
    net: Any = model or TinyNet()
    training, transform = training_data()
    source = validation or Blocks(4, salt=1)
    cpu = torch.device("cpu")
    learner = build_learner(config, net, net.head, cpu, torch.float32, world)
    batches = Batches(
        lambda epoch, first: training_loader(
            *(training, transform, config.batch_size, config.seed, epoch, config.workers, FILL),
            first_batch=first,
            rank=world.rank,
            world_size=world.size,
            sampling=config.sampling,
        ),
        batches_in_epoch(len(training), config.batch_size, world.size),
        (len(training), len(source)),
    )
    own = Subset(source, range(world.rank, len(source), world.size), source.name)
    weights = None if class_weights is None else torch.tensor(class_weights)
    task = Segmentation(
        net.info.preprocessing,
        source,
        lambda: evaluation_loader(own, config.batch_size),
        folder,
        cpu,
        pixel_loss=PixelLoss(config.reduction, weights, config.dice),
        world=world,
        observer=observer,
    )
    each_step = config.batch_size * config.accumulate * world.size
    return fit_config(
        *(config, folder, learner, task, batches),
        describe_data((training, source), class_weights, each_step),
        describe_machine(cpu, torch.float32, world.size),
        {},
        f"fcnseg train --run {folder.path} --resume",
        stop,
        observer,
    )


@pytest.fixture
def tiny() -> TinyNet:
    torch.manual_seed(0)
    return TinyNet()


@pytest.fixture
def make_net() -> Callable[..., TinyNet]:
    return TinyNet


@pytest.fixture
def blocks() -> Callable[..., Blocks]:
    return Blocks


@pytest.fixture
def first_batch() -> Callable[[TrainConfig], Batch]:
    """The first batch of the first epoch of :func:`run_training`."""

    def load(config: TrainConfig) -> Batch:
        source, transform = training_data()
        loader = training_loader(source, transform, config.batch_size, config.seed, 0, 0, FILL)
        return next(iter(loader))

    return load


@pytest.fixture
def run_training() -> Callable[..., Result]:
    """See :func:`train_tiny`."""

    def run(
        config: TrainConfig,
        observer: Observer = silent,
        model: nn.Module | None = None,
        validation: Source | None = None,
        class_weights: Sequence[float] | None = None,
        stop: Interruption | None = None,
    ) -> Result:
        return train_tiny(config, observer, model, validation, class_weights, stop)

    return run


@pytest.fixture
def train_with() -> Callable[..., Result]:
    """:func:`train_tiny` itself."""
    return train_tiny


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        data="shapes",
        epochs=2,
        batch_size=4,
        lr=1e-2,
        head_lr_factor=1,
        crop_size=Size(24, 32),
        workers=0,
        run=str(tmp_path / "run"),
    )
