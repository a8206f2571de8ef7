"""The generated data set: determinism, labels, sizes, and what decides the class."""

import pickle

import numpy as np
import pytest

from fcnseg.data import painting, shapes
from fcnseg.data.sample import VOID, Source
from fcnseg.data.shapes import CLASSES, PALETTE, Shapes
from fcnseg.errors import UsageError


def test_a_scene_is_a_function_of_seed_split_and_index() -> None:
    source = Shapes("train", 50, seed=3)
    assert isinstance(source, Source)
    again = pickle.loads(pickle.dumps(source))
    state = str(np.random.get_state())
    first = source[7]
    assert str(np.random.get_state()) == state
    source[8]
    for other in (source[7], again[7], Shapes("train", 9, seed=3)[7]):
        assert np.array_equal(other.image, first.image)
        assert np.array_equal(other.label, first.label)
    differing = [source[8], Shapes("train", 50, seed=4)[7], Shapes("val", 50, seed=3)[7]]
    assert not any(np.array_equal(other.image, first.image) for other in differing)


@pytest.mark.parametrize("size", [(160, 160), (96, 128), (48, 200), (301, 257)])
def test_size_type_and_labels(size: tuple[int, int]) -> None:
    source = Shapes("val", 12, size)
    for index in range(len(source)):
        sample = source[index]
        assert sample.image.shape == (*size, 3)
        assert sample.label.shape == size
        assert sample.image.dtype == sample.label.dtype == np.uint8
        assert set(np.unique(sample.label)) <= {*range(len(CLASSES)), VOID}
        assert (sample.label == 0).mean() > 0.2
        assert sample.id == source.id(index)
        assert source.files(index) == ()


def test_every_class_occurs_and_void_is_a_border() -> None:
    source = Shapes("train", 120)
    labels = np.concatenate([source[i].label.ravel() for i in range(len(source))])
    counts = np.bincount(labels, minlength=256)
    shares = counts / counts.sum()
    assert (shares[1 : len(CLASSES)] > 0.01).all()
    assert 0.04 < shares[VOID] < 0.16
    assert len(CLASSES) == len(PALETTE) == len(set(PALETTE))


def test_void_lies_between_different_classes() -> None:
    for index in range(30):
        label = Shapes("train", 30)[index].label.astype(int)
        for a, b in ((label[1:], label[:-1]), (label[:, 1:], label[:, :-1])):
            assert ((a == b) | (a == VOID) | (b == VOID)).all()


def test_colour_says_nothing_about_the_class() -> None:
    source = Shapes("train", 250)
    means: dict[int, list[np.ndarray]] = {k: [] for k in range(1, len(CLASSES))}
    for sample in (source[i] for i in range(len(source))):
        for class_id in means:
            where = sample.label == class_id
            if where.any():
                means[class_id].append(sample.image[where].mean(axis=0))
    overall = np.concatenate([np.array(values) for values in means.values()])
    for values in means.values():
        # The mean over about 100 objects of one class stays near that over all objects.
        assert np.abs(np.mean(values, axis=0) - overall.mean(axis=0)).max() < 25


def test_outlines_equal_a_slow_point_in_polygon_test() -> None:
    numbers = np.random.default_rng(0)
    for name, outline in shapes._OUTLINES.items():
        polygons = [points + 20.0 for points in outline(numbers, 15.0)]
        cover = painting.coverage(polygons, 40)
        inside = np.zeros((40, 40), bool)
        y, x = np.mgrid[:40, :40] + 0.5
        for points in polygons:  # even-odd rule, edge by edge
            for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
                crosses = (y0 > y) != (y1 > y)
                with np.errstate(divide="ignore", invalid="ignore"):
                    inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        wrong = inside != (cover >= 0.5)
        # They may part only where the outline runs through the pixel.
        assert not wrong[(cover < 0.2) | (cover > 0.8)].any(), name
        assert wrong.sum() < 25
        assert cover.sum() == pytest.approx(inside.sum(), rel=0.06), name


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="shapes split: expected one of train, val"):
        Shapes("test")
    with pytest.raises(UsageError, match="length of 1 or more"):
        Shapes(length=0)
    with pytest.raises(UsageError, match="48x48 pixels or more"):
        Shapes(size=(47, 100))
    with pytest.raises(UsageError, match="--seed: expected 0 or more"):
        Shapes(seed=-1)
    with pytest.raises(IndexError, match="has scenes 0 to 2, not 3"):
        Shapes(length=3)[3]
