"""Properties of the training transform over many seeds, and its fixed results."""

import hashlib
import multiprocessing
import pickle
import random

import cv2
import numpy as np
import pytest
import torch

from fcnseg.data.shapes import Shapes
from fcnseg.data.transforms import TrainingTransform
from fcnseg.errors import UsageError

FILL = (12, 34, 56)


def coded(height: int, width: int, void: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Return blocks of labels and an image whose red channel is ten times the label."""
    numbers = np.random.default_rng(0)
    label = numbers.integers(0, 20, (-(-height // 8), -(-width // 8))).astype(np.uint8)
    label = np.kron(label, np.ones((8, 8), np.uint8))[:height, :width].astype(np.uint8)
    label[numbers.random(label.shape) < void] = 255
    solid = np.where(label == 255, 0, label)
    return np.stack([solid * 10, solid * 10, 255 - solid], axis=2).astype(np.uint8), label


def digest(transform: TrainingTransform, seed: int) -> str:
    image, label = transform(*coded(50, 70), seed)
    return hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()


def test_same_seed_same_result_whatever_came_before_and_in_another_process() -> None:
    transform = TrainingTransform((40, 48), fill=FILL)
    expected = [digest(transform, seed) for seed in range(4)]
    assert len(set(expected)) == 4
    random.seed(5)
    np.random.seed(5)
    again = pickle.loads(pickle.dumps(transform))
    assert [digest(again, seed) for seed in (3, 1, 0, 2)] == [expected[i] for i in (3, 1, 0, 2)]
    assert digest(transform, 2**64 - 1) == digest(again, 2**64 - 1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(digest, [(transform, seed) for seed in range(4)]) == expected


def test_global_random_states_are_neither_read_nor_changed() -> None:
    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    TrainingTransform((40, 40))(*coded(50, 70), 3)
    assert random.getstate() == states[0]
    assert str(np.random.get_state()) == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (50, 70), (300, 200)])
@pytest.mark.parametrize("crop", [(1, 1), (32, 48), (120, 64)])
def test_size_type_and_no_new_labels(size: tuple[int, int], crop: tuple[int, int]) -> None:
    transform = TrainingTransform(crop, fill=FILL)
    image, label = coded(*size)
    before = image.copy(), label.copy()
    for seed in range(25):
        new_image, new_label = transform(image, label, seed)
        assert new_image.shape == (*crop, 3)
        assert new_label.shape == crop
        assert new_image.dtype == new_label.dtype == np.uint8
        assert new_image.flags.c_contiguous
        assert new_label.flags.c_contiguous
        assert set(np.unique(new_label)) <= {*np.unique(label), 255}
    assert np.array_equal(image, before[0])
    assert np.array_equal(label, before[1])


def test_image_and_label_stay_registered() -> None:
    image, label = coded(120, 160, void=0)
    transform = TrainingTransform((64, 80), colour=0, fill=FILL)
    checked = 0
    for seed in range(60):
        new_image, new_label = transform(image, label, seed)
        valid = new_label != 255
        read = np.round(new_image[..., 0] / 10).astype(int)
        # Image pixels across a block's edge are blends; labels inside the blocks must agree.
        block = np.ones((5, 5), np.uint8)
        inner = valid & (cv2.erode(new_label, block) == cv2.dilate(new_label, block))
        checked += inner.sum()
        assert (read == new_label)[inner].all()
    assert checked > 10000


def test_labels_do_not_drift_against_the_image() -> None:
    """The edge between two halves is where it is in the image, to a quarter of a pixel."""
    image = np.zeros((64, 64, 3), np.uint8)
    label = np.zeros((64, 64), np.uint8)
    image[:, 32:], label[:, 32:] = 200, 1
    for factor in (0.5, 0.6, 0.77, 1.3, 1.5, 2.0):
        transform = TrainingTransform((200, 200), (factor, factor), flip=0, colour=0)
        new_image, new_label = transform(image, label, 0)
        rows = new_label != 255
        row = np.flatnonzero(rows.any(axis=1))[0]
        valid = rows[row]
        share = new_image[row, valid, 0].sum() / 200
        assert abs(share - (new_label[row, valid] == 1).sum()) <= 0.51, factor


def test_small_images_are_padded_with_fill_and_void() -> None:
    image, label = coded(20, 30, void=0)
    for colour in (0, 1):
        transform = TrainingTransform((50, 60), (1, 1), colour=colour, fill=FILL)
        for seed in range(10):
            new_image, new_label = transform(image, label, seed)
            outside = new_label == 255
            assert outside.sum() == 50 * 60 - 20 * 30
            assert (new_image[outside] == FILL).all()


def test_scale_one_without_flip_and_colour_is_a_crop() -> None:
    image, label = coded(40, 50)
    transform = TrainingTransform((16, 24), (1, 1), flip=0, colour=0)
    places = set()
    for seed in range(40):
        new_image, new_label = transform(image, label, seed)
        found = [
            (y, x)
            for y in range(25)
            for x in range(27)
            if np.array_equal(image[y : y + 16, x : x + 24], new_image)
            and np.array_equal(label[y : y + 16, x : x + 24], new_label)
        ]
        assert found
        places.add(found[0])
    assert len(places) > 20


def test_flip_scale_and_colour_are_drawn_independently() -> None:
    ramp = np.repeat(np.linspace(0, 250, 64).astype(np.uint8)[None, :, None], 64, axis=0)
    image, label = np.repeat(ramp, 3, axis=2), np.zeros((64, 64), np.uint8)
    transform = TrainingTransform((256, 256), (0.5, 2.0))
    flipped, widths, lights = [], [], []
    for seed in range(300):
        new_image, new_label = transform(image, label, seed)
        valid = new_label != 255
        columns = np.flatnonzero(valid.any(axis=0))
        row = new_image[np.flatnonzero(valid.any(axis=1))[0], columns].astype(float).mean(axis=1)
        flipped.append(row[0] > row[-1])
        widths.append(len(columns))
        lights.append(row.mean())
    assert 0.4 < np.mean(flipped) < 0.6
    assert min(widths) < 38
    assert max(widths) > 122
    together = np.corrcoef([flipped, widths, lights])
    assert np.abs(together[np.triu_indices(3, 1)]).max() < 0.2


def test_turned_images_have_fill_and_void_outside_and_nothing_of_it_inside() -> None:
    image, label = np.full((60, 80, 3), 200, np.uint8), np.ones((60, 80), np.uint8)
    plain = TrainingTransform((64, 64), rotate=40, colour=0, fill=FILL)
    strong = TrainingTransform((64, 64), rotate=40, colour=1, blur=1, fill=FILL)
    outside_somewhere = 0
    for seed in range(30):
        new_image, new_label = plain(image, label, seed)
        assert (new_image[new_label == 1] == 200).all()
        assert (new_image[new_label == 255] == FILL).all()
        new_image, new_label = strong(image, label, seed)
        assert (new_image[new_label == 255] == FILL).all()
        inside = new_image[new_label == 1].astype(int)
        assert np.ptp(inside, axis=0).max() <= 1  # one colour, whatever it has become
        outside_somewhere += (new_label == 255).any()
    assert outside_somewhere > 20


def test_angles_go_both_ways_up_to_the_largest() -> None:
    image, label = np.zeros((99, 99, 3), np.uint8), np.zeros((99, 99), np.uint8)
    image[48:51, 49:] = 255
    transform = TrainingTransform((99, 99), (1, 1), flip=0, rotate=25, colour=0)
    angles = []
    for seed in range(80):
        y, x = np.nonzero(transform(image, label, seed)[0][..., 0] > 100)
        angles.append(np.degrees(np.arctan2(y.mean() - 49, x.mean() - 49)))
    assert -26 < min(angles) < -20
    assert 20 < max(angles) < 26


def test_one_class_fills_no_more_than_its_share_where_that_can_be() -> None:
    """Nine tenths of the image are one class; crops over the edge are the ones wanted."""
    image, label = np.zeros((60, 400, 3), np.uint8), np.zeros((60, 400), np.uint8)
    label[:, 340:], label[:30, :] = 1, 255

    def shares(limit: float) -> np.ndarray:
        transform = TrainingTransform((40, 100), (1, 1), max_class_share=limit)
        found = []
        for seed in range(120):
            counts = np.bincount(transform(image, label, seed)[1].ravel(), minlength=256)
            found.append(counts[:255].max() / counts[:255].sum())
        return np.array(found)

    free, limited = shares(1), shares(0.8)
    assert (free > 0.8).mean() > 0.7
    # Each of eleven draws does with a probability of about a fifth.
    assert (limited > 0.8).mean() < 0.25
    assert (limited <= free).all()
    strict = shares(1e-6)
    assert (strict <= limited).all()
    assert (strict < limited).any()


def test_unlabelled_crops_are_drawn_again() -> None:
    image, label = np.zeros((40, 300, 3), np.uint8), np.full((40, 300), 255, np.uint8)
    label[:, 200:] = 3
    transform = TrainingTransform((32, 32), (1, 1), max_class_share=0.99)
    empty = [(transform(image, label, seed)[1] == 255).all() for seed in range(60)]
    assert np.mean(empty) < 0.1


def test_strength_of_colours() -> None:
    """On grey, only brightness shows: a factor of 0.7 to 1.3, for four of five samples."""
    image, label = np.full((8, 8, 3), 100, np.uint8), np.zeros((8, 8), np.uint8)
    for strength in (0.0, 0.4, 1.0):
        transform = TrainingTransform((8, 8), (1, 1), colour=strength)
        made = [transform(image, label, seed)[0] for seed in range(300)]
        values = np.array([new[0, 0, 0] for new in made]).astype(int)
        assert all(np.ptp(new) <= 1 for new in made)
        assert np.abs(values - 100).max() <= 30 * strength + 1
        assert np.abs(values - 100).max() >= 27 * strength
        if strength:
            assert 0.7 < (values != 100).mean() < 0.9


def test_blur_changes_the_image_alone() -> None:
    image, label = coded(40, 40, void=0)
    sharp = TrainingTransform((40, 40), (1, 1), flip=0, colour=0)(image, label, 0)
    assert np.array_equal(sharp[0], image)
    changed = []
    for seed in range(100):
        transform = TrainingTransform((40, 40), (1, 1), flip=0, colour=0, blur=0.3)
        new_image, new_label = transform(image, label, seed)
        assert np.array_equal(new_label, label)
        changed.append(not np.array_equal(new_image, image))
    assert 0.15 < np.mean(changed) < 0.45


def test_big_photographs_cost_no_more_than_the_crop() -> None:
    image = np.zeros((6000, 8000, 3), np.uint8)
    label = np.zeros((6000, 8000), np.uint8)
    new_image, _ = TrainingTransform((64, 64), (2.0, 2.0))(image, label, 0)
    assert new_image.shape == (64, 64, 3)


def test_it_fits_the_generated_data() -> None:
    sample = Shapes()[0]
    image, label = TrainingTransform((128, 128))(sample.image, sample.label, 1)
    assert image.shape[:2] == label.shape


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="--crop-size: expected height and width above 0"):
        TrainingTransform((0, 4))
    with pytest.raises(
        UsageError, match="--scale-min, --scale-max: expected 0 < smallest <= largest"
    ):
        TrainingTransform((4, 4), (2.0, 0.5))
    with pytest.raises(UsageError, match="--flip: expected 0 to 1, got 2"):
        TrainingTransform((4, 4), flip=2)
    for setting, expected in (
        ({"rotate": 181}, "--rotate: expected 0 to 180, got 181"),
        ({"colour": -0.1}, "--colour: expected 0 to 1, got -0.1"),
        ({"blur": float("nan")}, "--blur: expected 0 to 1, got nan"),
        ({"max_class_share": 0}, "--max-class-share: expected above 0 and at most 1, got 0"),
    ):
        with pytest.raises(UsageError, match=expected):
            TrainingTransform((4, 4), **setting)
    transform = TrainingTransform((4, 4))
    with pytest.raises(UsageError, match="seed: expected 0 or more"):
        transform(*coded(5, 5), -1)
    with pytest.raises(UsageError, match=r"image is 5x5 .* but label is 5x6"):
        transform(coded(5, 5)[0], coded(5, 6)[1], 0)
    with pytest.raises(UsageError, match=r"expected an .H, W, 3. uint8 RGB array"):
        transform(coded(5, 5)[0].astype(float), coded(5, 5)[1], 0)
