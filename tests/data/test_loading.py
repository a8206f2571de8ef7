"""Batches: padding, worker processes and their errors."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fcnseg.data.loading import Batch, collate, evaluation_loader, training_loader
from fcnseg.data.order import augmentation_seed, epoch_batches, epoch_order
from fcnseg.data.sample import Sample
from fcnseg.data.shapes import Shapes
from fcnseg.data.transforms import TrainingTransform
from fcnseg.errors import DataError, EnvironmentFault, UsageError

FILL = (9, 8, 7)


class Sized:
    """Samples of given sizes whose image and label hold the index."""

    name, classes, palette = "sized", ("a", "b"), ((0, 0, 0), (1, 1, 1))

    def __init__(self, sizes: list[tuple[int, int]], broken: int = -1, killed: int = -1) -> None:
        self.sizes, self.broken, self.killed = sizes, broken, killed

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        if index == self.broken:
            raise DataError(f"{index}.png: is broken; mend it")
        if index == self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        size = self.sizes[index]
        image = np.full((*size, 3), (index, 0, 255), np.uint8)
        return Sample(image, np.full(size, index % 2, np.uint8), self.id(index))

    def label(self, index: int) -> np.ndarray:
        return self[index].label

    def id(self, index: int) -> str:
        return str(index)

    def files(self, index: int) -> tuple[Path, ...]:
        return ()


@pytest.fixture
def start_method() -> Iterator[Callable[[str], None]]:
    usual = multiprocessing.get_start_method(allow_none=True)
    yield lambda name: multiprocessing.set_start_method(name, force=True)
    multiprocessing.set_start_method(usual, force=True)


def contents(loader: Iterable[Batch]) -> list[tuple]:
    return [
        (batch.ids, batch.sizes, batch.images.numpy().tobytes(), batch.labels.numpy().tobytes())
        for batch in loader
    ]


def test_collate_pads_right_and_below() -> None:
    source = Sized([(2, 5), (4, 3)])
    batch = collate([source[0], source[1]], FILL)
    assert batch.images.shape == (2, 3, 4, 5)
    assert batch.images.dtype == batch.labels.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert (batch.ids, batch.sizes) == (["0", "1"], [(2, 5), (4, 3)])
    for number, (height, width) in enumerate(batch.sizes):
        for y in range(4):
            for x in range(5):
                inside = y < height and x < width
                pixel = [number, 0, 255] if inside else list(FILL)
                assert batch.images[number, :, y, x].tolist() == pixel
                assert batch.labels[number, y, x] == (number % 2 if inside else 255)


def test_an_epoch_has_every_sample_once() -> None:
    loader = training_loader(Sized([(3, 3)] * 11), None, 4, seed=1, epoch=2)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [len(batch.ids) for batch in batches] == [4, 4, 3]
    ids = [int(name) for batch in batches for name in batch.ids]
    assert ids == epoch_order(11, 1, 2)


def test_transform_gets_image_label_and_the_seed_of_the_sample() -> None:
    def transform(image: np.ndarray, label: np.ndarray, seed: int) -> tuple:
        called[int(image[0, 0, 0])] = seed
        return image, label

    called: dict[int, int] = {}
    list(training_loader(Sized([(3, 3)] * 6), transform, 2, seed=7, epoch=3))
    assert called == {index: augmentation_seed(7, 3, index) for index in range(6)}


def test_going_on_in_the_middle() -> None:
    source, transform = Shapes(length=11, size=(64, 64)), TrainingTransform((48, 48))
    whole = contents(training_loader(source, transform, 3, 0, 1))
    rest = training_loader(source, transform, 3, 0, 1, first_batch=2)
    assert len(rest) == 2
    assert contents(rest) == whole[2:]


@pytest.mark.parametrize("sampling", ["once", "replacement"])
def test_each_process_has_its_share_of_the_batches(sampling: str) -> None:
    source = Sized([(3, 3)] * 15)
    for rank in range(2):
        loader = training_loader(source, None, 3, 1, 2, 0, FILL, 1, rank, 2, sampling)
        ids = [[int(name) for name in batch.ids] for batch in loader]
        assert ids == epoch_batches(15, 3, 1, 2, rank, 2, sampling)[1:]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_change_nothing(start_method: Callable[[str], None], method: str) -> None:
    source, transform = Shapes(length=7, size=(64, 64)), TrainingTransform((48, 80))
    alone = contents(training_loader(source, transform, 3, 5, 1, fill=FILL))
    shown = contents(evaluation_loader(source, 3))
    start_method(method)
    workers = 2 if method == "fork" else 1  # starting by spawn imports everything again
    assert contents(training_loader(source, transform, 3, 5, 1, workers, FILL)) == alone
    if method == "fork":
        assert contents(evaluation_loader(source, 3, workers)) == shown


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_left_alone(workers: int) -> None:
    before = torch.get_rng_state()
    source = Shapes(length=3, size=(48, 48))
    list(training_loader(source, TrainingTransform((32, 32)), 2, 0, 0, workers))
    list(evaluation_loader(source, 2, workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_evaluation_has_one_size_a_batch_and_never_pads() -> None:
    numbers = np.random.default_rng(0)
    sizes = [(int(h), int(w)) for h, w in numbers.integers(2, 6, (200, 2))]
    source = Sized(sizes)
    seen = []
    for batch in evaluation_loader(source, 4):
        assert len(batch.ids) <= 4
        assert set(batch.sizes) == {tuple(batch.images.shape[2:])}
        for name, size, image in zip(batch.ids, batch.sizes, batch.images, strict=True):
            assert size == sizes[int(name)]
            assert (image[0] == int(name)).all()
            seen.append(int(name))
    assert sorted(seen) == list(range(200))


def test_evaluation_of_one_size_keeps_the_order() -> None:
    batches = list(evaluation_loader(Sized([(3, 4)] * 7), 3))
    assert [batch.ids for batch in batches] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


def test_evaluation_does_not_hoard_images() -> None:
    """With a new size for every image, batches come before the source is exhausted."""
    decoded = []

    class Counted(Sized):
        def __getitem__(self, index: int) -> Sample:
            decoded.append(index)
            return super().__getitem__(index)

    next(iter(evaluation_loader(Counted([(2, 2 + i) for i in range(100)]), 2)))
    assert len(decoded) <= 17


@pytest.mark.parametrize("workers", [0, 2])
def test_a_faulty_sample_surfaces_as_its_own_error(workers: int) -> None:
    source = Sized([(3, 3)] * 6, broken=4)
    for loader in (
        training_loader(source, None, 2, 0, 0, workers),
        evaluation_loader(source, 2, workers),
    ):
        with pytest.raises(DataError) as caught:
            list(loader)
        assert type(caught.value) is DataError
        assert str(caught.value) == "4.png: is broken; mend it"
        assert multiprocessing.active_children() == []  # though the error is still held


def test_a_killed_worker_is_said() -> None:
    source = Sized([(3, 3)] * 6, killed=4)
    with pytest.raises(EnvironmentFault, match=r"--workers: a loader process was killed"):
        list(training_loader(source, None, 2, 0, 0, workers=1))


class Signalled(Sized):
    """Sends a signal to its own process as sample 4 is read."""

    def __init__(self, number: int, times: int = 1) -> None:
        super().__init__([(3, 3)] * 6)
        self.number, self.times = number, times

    def __getitem__(self, index: int) -> Sample:
        for _ in range(self.times if index == 4 else 0):
            os.kill(os.getpid(), self.number)
            time.sleep(0.05)
        return super().__getitem__(index)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_workers_leave_signals_to_the_main_process(number: int) -> None:
    alone = contents(training_loader(Sized([(3, 3)] * 6), None, 2, 0, 0))
    assert contents(training_loader(Signalled(number), None, 2, 0, 0, workers=1)) == alone


def test_a_worker_that_does_not_listen_can_be_ended() -> None:
    with pytest.raises(EnvironmentFault, match="a loader process was killed"):
        list(training_loader(Signalled(signal.SIGTERM, times=2), None, 2, 0, 0, workers=1))


def test_signals_wait_until_a_worker_is_ready_for_them() -> None:
    """The mask of this process is as before, whatever its workers start with."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    next(iter(training_loader(Sized([(3, 3)] * 6), None, 2, 0, 0, workers=1)))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


HELD = """\
from fcnseg.data.loading import training_loader
from fcnseg.data.shapes import Shapes
iterator = iter(training_loader(Shapes("train", 6), None, 2, 0, 0, workers=1))
print(len(next(iterator).ids))
"""


def test_a_program_ends_though_it_holds_an_iterator() -> None:
    words = [sys.executable, "-c", HELD]
    done = subprocess.run(words, capture_output=True, text=True, timeout=40, check=True)
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_wrong_arguments() -> None:
    source = Sized([(3, 3)])
    with pytest.raises(UsageError, match="--batch-size: expected 1 or more, got 0"):
        training_loader(source, None, 0, 0, 0)
    with pytest.raises(UsageError, match="--workers: expected 0 or more, got -1"):
        evaluation_loader(source, 1, -1)
    with pytest.raises(UsageError, match="epoch: expected 0 or more"):
        training_loader(source, None, 1, 0, -1)
    with pytest.raises(DataError, match="sized: has no samples"):
        evaluation_loader(Sized([]), 1)
