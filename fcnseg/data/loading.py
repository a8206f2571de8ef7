"""Sources to batches, with or without worker processes.

Nothing here draws from a global random state, and the number of workers changes nothing.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from fcnseg.data.order import augmentation_seed, epoch_batches
from fcnseg.data.sample import VOID, Colour, Sample, Source
from fcnseg.data.workers import LESS_MEMORY, in_order, loader_settings, results
from fcnseg.errors import DataError, FcnsegError, UsageError

Transform = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]

# Evaluation holds at most this many batches' worth of images that wait for others of their size.
_WAITING_BATCHES = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples side by side.

    Attributes:
        images: (N, 3, H, W) uint8 RGB, channels last in memory.
        labels: (N, H, W) uint8 class ids, 255 where void.
        ids: N sample ids.
        sizes: N (height, width) before padding; the sample is in the upper left corner.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: list[str]
    sizes: list[tuple[int, int]]


def collate(samples: Sequence[Sample], fill: Colour = (0, 0, 0)) -> Batch:
    """Put samples into one batch of the largest height and width.

    Smaller images are extended to the right and below with ``fill`` (r, g, b), labels with 255.
    Each sample is copied once, in a worker process into memory that it shares with the main one.
    """
    sizes = [(int(sample.label.shape[0]), int(sample.label.shape[1])) for sample in samples]
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    images_NHWC = _empty(len(samples), height, width, 3)
    labels_NHW = _empty(len(samples), height, width)
    arrays = zip(samples, sizes, images_NHWC.numpy(), labels_NHW.numpy(), strict=True)
    for sample, (h, w), image, label in arrays:
        image[:h, :w], label[:h, :w] = sample.image, sample.label
        image[h:], label[h:] = fill, VOID
        image[:h, w:], label[:h, w:] = fill, VOID
    ids = [sample.id for sample in samples]
    return Batch(images_NHWC.permute(0, 3, 1, 2), labels_NHW, ids, sizes)


def _empty(*shape: int) -> torch.Tensor:
    """Return a new uint8 tensor; in a worker process it is sent without being copied again."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    shared = torch.UntypedStorage._new_shared(math.prod(shape), device="cpu")
    return torch.empty(0, dtype=torch.uint8).set_(shared).view(shape)


class TrainingLoader:
    """The batches of one epoch; see :func:`training_loader`. Can be iterated any number of times.

    ``len()`` is the number of batches.
    """

    def __init__(
        self, tasks: "_Tasks", batches: list[list[int]], workers: int, fill: Colour
    ) -> None:
        self._tasks, self._batches = tasks, batches
        self._workers, self._fill = workers, fill

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        loader = DataLoader(
            self._tasks,
            batch_sampler=self._batches,
            collate_fn=_Collate(self._fill),
            **loader_settings(self._workers),
        )
        yield from results(loader, LESS_MEMORY)


class EvaluationLoader:
    """Batches for evaluation; see :func:`evaluation_loader`. Can be iterated any number of times.

    The number of batches is known only at the end; the number of samples is ``len(source)``.
    """

    def __init__(self, source: Source, batch_size: int, workers: int) -> None:
        self._source, self._batch_size, self._workers = source, batch_size, workers

    def __iter__(self) -> Iterator[Batch]:
        tasks = _Tasks(self._source, None, 0, 0)
        waiting: dict[tuple[int, ...], list[Sample]] = {}
        for sample in in_order(tasks, self._workers, LESS_MEMORY):
            group = waiting.setdefault(sample.label.shape, [])
            group.append(sample)
            if len(group) == self._batch_size:
                yield collate(waiting.pop(sample.label.shape))
            elif sum(map(len, waiting.values())) >= _WAITING_BATCHES * self._batch_size:
                fullest = max(waiting, key=lambda size: len(waiting[size]))
                yield collate(waiting.pop(fullest))
        for group in waiting.values():
            yield collate(group)


def training_loader(
    source: Source,
    transform: Transform | None,
    batch_size: int,
    seed: int,
    epoch: int,
    workers: int = 0,
    fill: Colour = (0, 0, 0),
    first_batch: int = 0,
    rank: int = 0,
    world_size: int = 1,
    sampling: str = "once",
) -> TrainingLoader:
    """Return the batches of one epoch, or one process's share of each.

    Their samples are those of :func:`~fcnseg.data.order.epoch_batches`; the last batch may be
    smaller.

    Args:
        source: where samples come from.
        transform: called with image, label and a seed that is a function of (seed, epoch, index).
        batch_size: samples a batch of this process, 1 or more.
        seed: 0 or more.
        epoch: 0 or more; together with ``seed`` it decides the order.
        workers: processes that prepare batches; 0 prepares them in this process.
        fill: (r, g, b) beside images that are smaller than the largest of their batch.
        first_batch: how many batches of the epoch to leave out, for going on in the middle.
        rank: which of ``world_size`` processes this is, from 0.
        world_size: processes that train together.
        sampling: ``"once"`` or ``"replacement"``, as :func:`~fcnseg.data.order.epoch_order` says.

    Raises:
        UsageError: a number is out of range, or there are fewer samples than processes.
        DataError: on construction, the source is empty; while iterating, a sample is faulty, in
            the words of the source, whether a worker or this process read it.
        EnvironmentFault: while iterating, a worker process was killed.
    """
    _check_numbers(source, batch_size, workers)
    for name, value in (("seed", seed), ("epoch", epoch), ("first_batch", first_batch)):
        if value < 0:
            raise UsageError(f"{name}: expected 0 or more, got {value}")
    batches = epoch_batches(len(source), batch_size, seed, epoch, rank, world_size, sampling)
    tasks = _Tasks(source, transform, seed, epoch)
    return TrainingLoader(tasks, batches[first_batch:], workers, fill)


def evaluation_loader(source: Source, batch_size: int, workers: int = 0) -> EvaluationLoader:
    """Return batches of samples as they are, of one size a batch, each sample once.

    Samples come in the order of the source as far as sizes allow. Raises as
    :func:`training_loader`.
    """
    _check_numbers(source, batch_size, workers)
    return EvaluationLoader(source, batch_size, workers)


class _Tasks(Dataset[Any]):
    """Prepares one sample; a user's error is returned, since torch would wrap a raised one."""

    def __init__(self, source: Source, transform: Transform | None, seed: int, epoch: int) -> None:
        self._source, self._transform = source, transform
        self._seed, self._epoch = seed, epoch

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample | FcnsegError:
        try:
            sample = self._source[index]
            if self._transform is None:
                return sample
            seed = augmentation_seed(self._seed, self._epoch, index)
            image, label = self._transform(sample.image, sample.label, seed)
            return Sample(image, label, sample.id)
        except FcnsegError as error:
            return error


class _Collate:
    """:func:`collate` with a fill, for worker processes; the first error goes through."""

    def __init__(self, fill: Colour) -> None:
        self._fill = fill

    def __call__(self, prepared: list[Sample | FcnsegError]) -> Batch | FcnsegError:
        samples: list[Sample] = []
        for item in prepared:
            if isinstance(item, FcnsegError):
                return item
            samples.append(item)
        return collate(samples, self._fill)


def _check_numbers(source: Source, batch_size: int, workers: int) -> None:
    if batch_size < 1:
        raise UsageError(f"--batch-size: expected 1 or more, got {batch_size}")
    if workers < 0:
        raise UsageError(f"--workers: expected 0 or more, got {workers}")
    if len(source) == 0:
        raise DataError(f"{source.name}: has no samples")
