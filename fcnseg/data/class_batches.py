"""Images of classes to batches, with or without worker processes.

The view of an image is a function of (seed, epoch, index), whatever the number of workers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fcnseg.data.class_parts import ClassSource
from fcnseg.data.faults import faults_of, raise_faults
from fcnseg.data.order import augmentation_seed
from fcnseg.data.workers import LESS_MEMORY, in_order
from fcnseg.errors import DataError, FcnsegError, UsageError

View = Callable[[np.ndarray, int], np.ndarray]
"""(H, W, 3) uint8 RGB of any size and a seed -> (S, S, 3) uint8."""

_LISTED = 5  # faults that are named


@dataclass(frozen=True, eq=False)
class ClassBatch:
    """Images side by side.

    Attributes:
        images: (N, 3, S, S) uint8 RGB, channels last in memory.
        labels: (N,) int64 class ids.
        ids: N names.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: list[str]


class ClassBatches:
    """Batches of views of images. Can be iterated any number of times.

    Args:
        source: where the images come from.
        view: called with an image and a seed that is a function of (``seed``, ``epoch``, index).
        batches: the indices of the images of each batch.
        seed: 0 or more.
        epoch: 0 or more.
        workers: processes that prepare batches; 0 prepares them in this process.

    ``len()`` is the number of batches.

    Raises:
        DataError: while iterating, an image is faulty, in the words of the source.
        EnvironmentFault: while iterating, a worker process was killed.
    """

    def __init__(
        self,
        source: ClassSource,
        view: View,
        batches: Sequence[Sequence[int]],
        seed: int = 0,
        epoch: int = 0,
        workers: int = 0,
    ) -> None:
        for name, value in (("seed", seed), ("epoch", epoch)):
            if value < 0:
                raise UsageError(f"{name}: expected 0 or more, got {value}")
        self._source, self._view, self._workers = source, view, workers
        self._batches, self._seed, self._epoch = batches, seed, epoch

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[ClassBatch]:
        yield from in_order(_Prepared(self), self._workers, LESS_MEMORY)

    def prepare(self, number: int) -> ClassBatch:
        """Return batch ``number``, decoded by this process."""
        examples = [(index, self._source[index]) for index in self._batches[number]]
        views = [
            self._view(example.image, augmentation_seed(self._seed, self._epoch, index))
            for index, example in examples
        ]
        images_NHWC = torch.from_numpy(np.stack(views))
        labels_N = torch.tensor([example.class_id for _, example in examples])
        return ClassBatch(
            images_NHWC.permute(0, 3, 1, 2), labels_N, [example.id for _, example in examples]
        )


class _Prepared:
    """The batches for :func:`~fcnseg.data.workers.in_order`: a user's error is returned."""

    def __init__(self, batches: ClassBatches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> ClassBatch | FcnsegError:
        try:
            return self._batches.prepare(number)
        except FcnsegError as error:
            return error


def consecutive(indices: Sequence[int], batch_size: int) -> list[list[int]]:
    """Return ``indices`` in their order, ``batch_size`` at a time; the last may be fewer."""
    return [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]


def check_images(
    sources: Sequence[ClassSource],
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Decode every image once, so that what is damaged is known before training begins.

    Args:
        sources: the parts.
        workers: processes that decode.
        progress: called with (images done, images in all).

    Raises:
        DataError: images are damaged; the message has the first ones and how many there are.
        EnvironmentFault: a worker process was killed.
    """
    total, done = sum(map(len, sources)), 0
    faults: list[str] = []
    for source in sources:
        for fault in in_order(_Faults(source), workers):
            faults += [fault] if fault else []
            done += 1
            if progress is not None:
                progress(done, total)
    faults.sort()
    if len(faults) > _LISTED:
        more = f"{len(faults) - _LISTED} more of {total} images are faulty"
        faults = [*faults[:_LISTED], more]
    raise_faults(faults)


class _Faults:
    """What is wrong with each image of a source, "" for nothing."""

    def __init__(self, source: ClassSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> str:
        try:
            self._source[index]
        except DataError as error:
            return faults_of(error)[0]
        return ""
