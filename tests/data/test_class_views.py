"""Random views of an image for training a classifier."""

import numpy as np
import pytest

from fcnseg.data.class_views import RandomView
from fcnseg.errors import UsageError


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose red is its row and whose green is its column, in 0 to 255."""
    y, x = np.mgrid[:height, :width]
    blue = np.full((height, width), 128)
    return np.stack([y * 255 / (height - 1), x * 255 / (width - 1), blue], -1).astype(np.uint8)


def test_a_view_is_a_function_of_image_and_seed() -> None:
    image, view = coordinates(60, 90), RandomView(32)
    before = image.copy()
    first = view(image, 5)
    assert first.shape == (32, 32, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, view(image, 5))
    assert not np.array_equal(first, view(image, 6))
    assert np.array_equal(image, before)


@pytest.mark.parametrize("size", [(60, 90), (200, 40), (7, 7)])
def test_parts_have_the_share_and_the_shape(size: tuple[int, int]) -> None:
    image, view = coordinates(*size), RandomView(64, smallest_share=0.5, flip=0, colour=0)
    shares, aspects = [], []
    for seed in range(200):
        part = view(image, seed).astype(float)
        rows = np.ptp(part[:, :, 0]) / 255 * size[0]
        columns = np.ptp(part[:, :, 1]) / 255 * size[1]
        shares.append(rows * columns / (size[0] * size[1]))
        aspects.append(columns / rows)
        assert (np.diff(part[:, :, 0].mean(1)) >= 0).all()
        assert (np.diff(part[:, :, 1].mean(0)) >= 0).all()
    if size == (60, 90):
        assert 0.45 < min(shares) < 0.6 < 0.85 < max(shares) < 0.9  # 4:3 of 3:2
        assert 0.7 < min(aspects) < 0.85 < 1.2 < max(aspects) < 1.4
    assert max(aspects) < 1.6 or size == (7, 7)


def test_the_whole_image_at_share_1() -> None:
    part = RandomView(32, smallest_share=1, flip=0, colour=0)(coordinates(200, 40), 3)
    assert np.ptp(part[:, :, 0].astype(float)) > 245
    assert np.ptp(part[:, :, 1].astype(float)) > 245


def test_half_are_mirrored() -> None:
    view = RandomView(16, smallest_share=1, flip=0.5, colour=0)
    image = coordinates(16, 16)
    mirrored = sum(np.array_equal(view(image, s), image[:, ::-1]) for s in range(200))
    plain = sum(np.array_equal(view(image, s), image) for s in range(200))
    assert mirrored + plain == 200
    assert 70 < mirrored < 130


def test_colours_change_with_the_strength() -> None:
    image = coordinates(32, 32)
    views = [RandomView(32, smallest_share=1, flip=0, colour=c) for c in (0.0, 0.2, 1.0)]
    changes = [np.mean([abs(v(image, s).astype(int) - image).mean() for s in range(30)])
               for v in views]  # fmt: skip
    assert changes[0] == 0
    assert changes[1] < changes[2] / 3
    assert 5 < changes[2] < 40


def test_wrong_values_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--crop-share: expected above 0, at most 1, got 0"):
        RandomView(32, smallest_share=0)
    with pytest.raises(UsageError, match=r"--flip: expected 0 to 1, got 2"):
        RandomView(32, flip=2)
    with pytest.raises(UsageError, match=r"--image-size: expected 1 pixel or more"):
        RandomView(0)
