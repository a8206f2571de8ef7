"""What holds for every setting of the training transform, every seed and every size."""

import itertools
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fcnseg.data.loading import augmentation_seed, training_loader
from fcnseg.data.shapes import Shapes
from fcnseg.data.transforms import TrainingTransform

FILL = (12, 34, 56)
SIZES = [(1, 1), (1, 400), (350, 2), (7, 5), (40, 60), (130, 90)]
CROPS = [(1, 1), (3, 120), (32, 48), (100, 90)]

# Each step alone, all at once, and the ends of their ranges.
SETTINGS: list[dict[str, Any]] = [
    {"flip": 1},
    {"rotate": 10},
    {"rotate": 180},
    {"colour": 1},
    {"colour": 0.3},
    {"blur": 1},
    {"max_class_share": 0.6},
    {"max_class_share": 1e-9, "rotate": 30},
    {"scale": (0.01, 0.1)},
    {"scale": (5, 9), "rotate": 45},
    {"flip": 0.5, "rotate": 15, "colour": 1, "blur": 0.5, "max_class_share": 0.75},
]
NOTHING: dict[str, Any] = {"flip": 0, "rotate": 0, "colour": 0, "blur": 0}


def sample(height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise with labels of which no two are neighbours in number, and read-only arrays."""
    numbers = np.random.default_rng(seed)
    ids = numbers.choice([0, 3, 7, 20, 254, 255], (height, width)).astype(np.uint8)
    image = numbers.integers(0, 256, (height, width, 3)).astype(np.uint8)
    image.flags.writeable = ids.flags.writeable = False
    return image, ids


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_no_label_is_invented_and_sizes_are_those_asked_for(settings: dict[str, Any]) -> None:
    for number, (size, crop) in enumerate(itertools.product(SIZES, CROPS)):
        transform = TrainingTransform(crop, fill=FILL, **{**NOTHING, **settings})
        image, label = sample(*size, seed=number)
        before = image.tobytes(), label.tobytes()
        for seed in range(6):
            new_image, new_label = transform(image, label, seed)
            assert set(np.unique(new_label)) <= {*np.unique(label), 255}
            assert (new_image.shape, new_label.shape) == ((*crop, 3), crop)
            assert new_image.dtype == new_label.dtype == np.uint8
            assert new_image.flags.c_contiguous
            assert new_label.flags.c_contiguous
            assert not np.shares_memory(new_image, image)
            assert not np.shares_memory(new_label, label)
        assert (image.tobytes(), label.tobytes()) == before


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_sample_is_a_function_of_its_seed(settings: dict[str, Any]) -> None:
    transform = TrainingTransform((32, 48), fill=FILL, **{**NOTHING, **settings})
    image, label = sample(50, 60, seed=0)
    first = [made(transform, image, label, seed) for seed in range(5)]
    again = pickle.loads(pickle.dumps(transform))
    assert [made(again, image, label, seed) for seed in (4, 2, 0, 1, 3)] == [
        first[i] for i in (4, 2, 0, 1, 3)
    ]
    if settings not in ({"flip": 1}, {"blur": 1}):
        assert len(set(first)) > 1


def made(transform: TrainingTransform, image: np.ndarray, label: np.ndarray, seed: int) -> bytes:
    new_image, new_label = transform(image, label, seed)
    return new_image.tobytes() + new_label.tobytes()


def test_samples_depend_on_seed_epoch_and_index_alone() -> None:
    """By hand, one sample at a time, equals what the loader hands out in its own order."""
    source = Shapes(length=10, size=(64, 72))
    transform = TrainingTransform((40, 48), rotate=20, blur=0.5, max_class_share=0.8)
    for epoch in (0, 3):
        batches = list(training_loader(source, transform, 4, seed=5, epoch=epoch))
        ids = [name for batch in batches for name in batch.ids]
        images = [image for batch in batches for image in batch.images]
        for index in range(len(source)):
            one = source[index]
            expected, _ = transform(one.image, one.label, augmentation_seed(5, epoch, index))
            found = images[ids.index(one.id)].permute(1, 2, 0).numpy()
            assert np.array_equal(found, expected)


@pytest.fixture
def start_method() -> Iterator[Callable[[str], None]]:
    usual = multiprocessing.get_start_method(allow_none=True)
    yield lambda name: multiprocessing.set_start_method(name, force=True)
    multiprocessing.set_start_method(usual, force=True)


@pytest.mark.parametrize(("method", "workers"), [("fork", 1), ("fork", 2), ("spawn", 1)])
def test_any_number_of_workers_gives_the_same(
    start_method: Callable[[str], None], method: str, workers: int
) -> None:
    source = Shapes(length=6, size=(64, 64))
    transform = TrainingTransform((48, 80), rotate=20, blur=0.5, max_class_share=0.8)

    def batches(number: int) -> list[tuple[Any, ...]]:
        loader = training_loader(source, transform, 2, 7, 1, number, FILL)
        return [(b.ids, b.sizes, b.images.tolist(), b.labels.tolist()) for b in loader]

    alone = batches(0)
    start_method(method)
    assert batches(workers) == alone
