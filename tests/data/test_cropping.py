"""Crops: image and labels on one grid, compared with a plain reference in floating point."""

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.cropping import beyond, cut_image, cut_label, draw_crop, largest_share


def smooth(height: int, width: int) -> np.ndarray:
    """Return an image whose red says x and whose green says y, in steps of 2 a pixel."""
    y, x = np.mgrid[:height, :width]
    return np.stack([2 * x, 2 * y, np.zeros_like(x)], axis=2).astype(np.uint8)


def reference_positions(
    crop_size: tuple[int, int], turn: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the pixels of a crop are in the scaled part: (y, x) of centres."""
    y, x = np.mgrid[: crop_size[0], : crop_size[1]].astype(float)
    if turn is None:
        return y, x
    return turn[1, 0] * x + turn[1, 1] * y + turn[1, 2], turn[0, 0] * x + turn[0, 1] * y + turn[
        0, 2
    ]


@pytest.mark.parametrize("factor", [0.5, 0.77, 1.0, 1.3, 2.0])
@pytest.mark.parametrize("angle", [0.0, 7.0, -33.0, 90.0, 180.0])
def test_image_shows_what_the_labels_are(factor: float, angle: float) -> None:
    """The colour of a crop's pixel tells its place in the image; so does a label of two halves."""
    image = smooth(100, 120)
    label = np.zeros((100, 120), np.uint8)
    label[:, 60:] = 1
    for seed in range(8):
        numbers = np.random.default_rng(seed)
        crop = draw_crop((100, 120), (40, 50), factor, angle, numbers)
        new_image, new_label = cut_image(image, crop), cut_label(label, crop)
        assert new_image.shape[:2] == new_label.shape == crop.size
        # The edge is between x = 59 and 60, where red is 119.
        x = new_image[..., 0] / 2
        far = (np.abs(x - 59.5) > 0.55 + 0.5 / factor) & (new_label != 255)
        assert (new_label[far] == (x[far] > 59.5)).all()


@pytest.mark.parametrize("angle", [5.0, 30.0, -75.0])
def test_edges_of_image_and_labels_coincide_to_a_fraction_of_a_pixel(angle: float) -> None:
    """Summed over a crop, an edge in the labels is where it is in the image."""
    image, label = np.zeros((160, 160, 3), np.uint8), np.zeros((160, 160), np.uint8)
    image[:, 80:], label[:, 80:] = 200, 1
    drift = []
    for seed in range(12):
        crop = draw_crop((160, 160), (64, 64), 1.4, angle, np.random.default_rng(seed))
        new_image, new_label = cut_image(image, crop), cut_label(label, crop)
        if (new_label == 255).any() or not 0 < new_label.sum() < new_label.size:
            continue
        edge = 64 / max(abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle))))
        drift.append((new_image[..., 0].sum() / 200 - (new_label == 1).sum()) / edge)
    assert len(drift) >= 3
    assert np.abs(drift).max() < 0.35
    assert abs(np.mean(drift)) < 0.1


@pytest.mark.parametrize("angle", [12.0, -50.0])
def test_turned_crop_equals_plain_resampling(angle: float) -> None:
    image = smooth(90, 110)
    label = np.random.default_rng(1).integers(0, 9, (90, 110)).astype(np.uint8)
    crop = draw_crop((90, 110), (48, 64), 1.0, angle, np.random.default_rng(3))
    y, x = reference_positions(crop.size, crop.turn)
    y, x = y + crop.rows[0], x + crop.columns[0]
    inside = (np.round(y) >= 0) & (np.round(y) < 90) & (np.round(x) >= 0) & (np.round(x) < 110)
    outside = beyond(crop)
    assert outside is not None
    # Where a position is halfway between two pixels, either is nearest.
    clear = (np.abs(y % 1 - 0.5) > 0.01) & (np.abs(x % 1 - 0.5) > 0.01)
    assert ((outside == 0) == inside)[clear].all()
    new_image, new_label = cut_image(image, crop), cut_label(label, crop)
    here = inside & clear
    rows, columns = np.round(y[here]).astype(int), np.round(x[here]).astype(int)
    assert np.array_equal(new_label[here], label[rows, columns])
    assert (new_label[~inside & clear] == 255).all()
    well = (y > 0) & (y < 89) & (x > 0) & (x < 109)
    assert np.abs(new_image[..., 0] / 2 - x)[well].max() < 0.6
    assert np.abs(new_image[..., 1] / 2 - y)[well].max() < 0.6


def test_a_turn_leaves_the_middle_in_place_and_goes_by_the_angle() -> None:
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 50] = 255
    image[50, 51:] = 99
    for angle in (20.0, 90.0, -60.0):
        crop = draw_crop((101, 101), (101, 101), 1.0, angle, np.random.default_rng(0))
        turned = cut_image(image, crop)
        assert turned[50, 50, 0] > 200
        ys, xs = np.nonzero(turned[..., 0] > 60)
        found = np.degrees(np.arctan2(ys.mean() - 50, xs.mean() - 50))
        assert abs(abs(found) - abs(angle)) < 1


def test_corners_of_small_images_are_kept() -> None:
    label = np.ones((20, 30), np.uint8)
    crop = draw_crop((20, 30), (100, 100), 1.0, 40.0, np.random.default_rng(0))
    assert abs((cut_label(label, crop) == 1).sum() - 600) < 12


@pytest.mark.parametrize("factor", [0.2, 0.5, 0.6, 0.75, 0.9])
def test_shrinking_averages(factor: float) -> None:
    """Noise gets smaller as it does where each new pixel is the mean of the area it covers."""
    noise = np.random.default_rng(0).normal(128, 30, (200, 200, 1)).clip(0, 255)
    image = np.repeat(noise, 3, axis=2).astype(np.uint8)
    crop = draw_crop((200, 200), (200, 200), factor, 0.0, np.random.default_rng(0))
    made = cut_image(image, crop).astype(float)
    mean_of_area = Image.fromarray(image).resize(made.shape[1::-1], Image.Resampling.BOX)
    assert abs(made.mean() - image.mean()) < 0.5
    assert made.std() < 1.25 * np.std(np.asarray(mean_of_area))


def test_only_what_is_seen_is_scaled() -> None:
    for angle in (0.0, 30.0):
        crop = draw_crop((20000, 30000), (64, 64), 2.0, angle, np.random.default_rng(0))
        assert crop.rows[1] - crop.rows[0] < 64
        assert crop.columns[1] - crop.columns[0] < 64


def test_results_are_new_arrays() -> None:
    image, label = smooth(10, 12), np.zeros((10, 12), np.uint8)
    crop = draw_crop((10, 12), (10, 12), 1.0, 0.0, np.random.default_rng(0))
    assert not np.shares_memory(cut_image(image, crop), image)
    assert not np.shares_memory(cut_label(label, crop), label)


def test_largest_share_leaves_void_out() -> None:
    label = np.full((4, 5), 255, np.uint8)
    assert largest_share(label) == float("inf")
    label[0, :3], label[1, 0] = 2, 7
    assert largest_share(label) == 0.75
