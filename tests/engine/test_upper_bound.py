"""A perfect prediction at a fraction of the resolution, against a slow double loop."""

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fcnseg.data.camvid import camvid
from fcnseg.data.sample import Sample
from fcnseg.engine import upper_bound
from fcnseg.engine.events import Evaluating, Event
from fcnseg.engine.upper_bound import coarse_counts, upper_bounds
from fcnseg.errors import DataError, UsageError

VOID = 255


def slow(label: np.ndarray, factor: int) -> np.ndarray:
    """The most frequent class of each cell, in all its pixels."""
    result = np.full(label.shape, VOID, np.uint8)
    for top in range(0, label.shape[0], factor):
        for left in range(0, label.shape[1], factor):
            cell = label[top : top + factor, left : left + factor]
            votes = Counter(int(i) for i in cell.ravel() if i != VOID)
            if votes:
                winner = min(votes, key=lambda i: (-votes[i], i))
                result[top : top + factor, left : left + factor] = winner
    return result


def slow_mean_iu(truth: list[np.ndarray], guess: list[np.ndarray], classes: int) -> float:
    ius = []
    for k in range(classes):
        both = either = 0
        for t, g in zip(truth, guess, strict=True):
            valid = t != VOID
            both += int(((t == k) & (g == k) & valid).sum())
            either += int((((t == k) | (g == k)) & valid).sum())
        if either:
            ius.append(both / either)
    return sum(ius) / len(ius)


def random_labels(count: int, classes: int, sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    numbers = np.random.default_rng(5)
    labels = []
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        coarse = numbers.integers(0, classes, (height // 5 + 1, width // 5 + 1))
        label = np.kron(coarse, np.ones((5, 5), int))[:height, :width].astype(np.uint8)
        label[numbers.random(label.shape) < 0.2] = numbers.integers(classes)
        label[numbers.random(label.shape) < 0.3] = VOID
        label[: height // 3, : width // 3] = VOID
        labels.append(label)
    return labels


def slow_counts(label: np.ndarray, factor: int, classes: int) -> list[list[int]]:
    """[truth][class of the cell], one pixel after the other."""
    counts = [[0] * classes for _ in range(classes)]
    for truth, guess in zip(label.ravel(), slow(label, factor).ravel(), strict=True):
        if truth != VOID:
            counts[truth][guess] += 1
    return counts


FACTORS = [1, 2, 3, 4, 7, 8, 16, 100, 10**8]


@pytest.mark.parametrize("size", [(24, 32), (37, 29), (1, 50), (1, 1)])
@pytest.mark.parametrize("together", [True, False])
def test_counts_are_those_of_a_double_loop(size: tuple[int, int], together: bool) -> None:
    (label,) = random_labels(1, 6, [size])
    calls = [FACTORS] if together else [[factor] for factor in reversed(FACTORS)]
    for factors in calls:
        for factor, got in zip(factors, coarse_counts(label, factors, 6), strict=True):
            assert got.tolist() == slow_counts(label, factor, 6)


@pytest.mark.parametrize(("votes", "pixels"), [(1, 1), (40, 100), (200, 64), (10**6, 64)])
@pytest.mark.parametrize("factors", [[1], [5, 100], [32, 16, 8], [2, 3, 6, 12], [100, 1]])
def test_strips_change_nothing(
    monkeypatch: pytest.MonkeyPatch, factors: list[int], votes: int, pixels: int
) -> None:
    (label,) = random_labels(1, 6, [(37, 29)])
    monkeypatch.setattr(upper_bound, "_VOTES", votes)
    monkeypatch.setattr(upper_bound, "_PIXELS", pixels)
    for factor, got in zip(factors, coarse_counts(label, factors, 6), strict=True):
        assert got.tolist() == slow_counts(label, factor, 6)


@pytest.mark.parametrize("factors", [[1], [16], [10**8], [1, 16, 10**8]])
def test_memory_does_not_grow_with_the_classes_of_every_cell(factors: list[int]) -> None:
    label = np.random.default_rng(0).integers(0, 21, (1500, 2000), np.uint8)
    tracemalloc.start()
    try:
        coarse_counts(label, factors, 21)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120e6  # the votes of all cells alone would have 504e6


def test_ties_void_and_incomplete_cells_by_hand() -> None:
    v = VOID
    label = np.array([
        [2, 1, v, v, 4],
        [1, 2, v, v, 4],
        [v, v, 3, 0, 0],
    ], np.uint8)  # fmt: skip
    by_two, by_nine, by_one = coarse_counts(label.astype(np.int64), [2, 9, 1], 5)
    assert by_two.tolist() == [
        [2, 0, 0, 0, 0],
        [0, 2, 0, 0, 0],
        [0, 2, 0, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 2],
    ]
    # Two pixels of each of 0, 1, 2 and 4: the lowest id wins.
    assert by_nine.tolist() == [[n, 0, 0, 0, 0] for n in (2, 2, 2, 1, 2)]
    assert np.array_equal(by_one, np.diag([2, 2, 2, 1, 2]))


class Labels:
    """A source of labels alone."""

    name, palette = "labels/val", ()

    def __init__(self, labels: list[np.ndarray], classes: int) -> None:
        self.labels = labels
        self.classes = tuple(map(str, range(classes)))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        label = self.labels[index]
        return Sample(np.zeros((*label.shape, 3), np.uint8), label, str(index))

    def label(self, index: int) -> np.ndarray:
        return self.labels[index]

    def id(self, index: int) -> str:
        return str(index)

    def files(self, index: int) -> tuple[Path, ...]:
        return ()


def test_bounds_are_those_of_a_double_loop() -> None:
    labels = random_labels(4, 5, [(30, 41), (22, 17)])
    events: list[Event] = []
    bounds = upper_bounds(Labels(labels, 5), [16, 6, 1], events.append)
    assert list(bounds) == [16, 6, 1]
    for factor, confusion in bounds.items():
        guesses = [slow(label, factor) for label in labels]
        scores = confusion.scores()
        assert scores.mean_iu == pytest.approx(slow_mean_iu(labels, guesses, 5), abs=1e-12)
        right = sum(int((g == t)[t != VOID].sum()) for g, t in zip(guesses, labels, strict=True))
        labelled = sum(int((label != VOID).sum()) for label in labels)
        assert scores.pixel_accuracy == pytest.approx(right / labelled, abs=1e-12)
    assert bounds[1].scores().mean_iu == 1
    assert events == [Evaluating(done, 4) for done in (1, 2, 3, 4)]


def test_no_other_cells_get_more_pixels_right() -> None:
    (label,) = random_labels(1, 4, [(24, 24)])
    best = coarse_counts(label, [8], 4)[0].trace()
    numbers = np.random.default_rng(0)
    for _ in range(50):
        other = np.kron(numbers.integers(0, 4, (3, 3)), np.ones((8, 8), int))
        assert (other == label)[label != VOID].sum() <= best


def test_bounds_of_camvid(shared_data: Path) -> None:
    source = camvid(shared_data / "camvid", "val")
    labels = [source[index].label for index in (0, 50)]
    bounds = upper_bounds(Labels(labels, 11), [32])
    expected = slow_mean_iu(labels, [slow(label, 32) for label in labels], 11)
    assert bounds[32].scores().mean_iu == pytest.approx(expected, abs=1e-12)
    assert 0.4 < expected < 0.8


def test_wrong_labels_and_factors_are_refused() -> None:
    label = np.array([[0, 1], [2, 255]], np.uint8)
    with pytest.raises(DataError, match="ids from 0 to 2, expected 0 to 1 or 255 for void"):
        coarse_counts(label, [2], 2)
    with pytest.raises(UsageError, match="--factors: expected whole numbers from 1 up, got 0"):
        coarse_counts(label, [2, 0], 3)
    with pytest.raises(UsageError, match=r"label: expected an \(H, W\) integer array"):
        coarse_counts(label.astype(float), [2], 3)
