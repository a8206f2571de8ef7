"""The overlay of an image that comes row by row."""

import numpy as np
import pytest

from fcnseg.palette import voc_palette
from fcnseg.render import segmented
from fcnseg.render.shrunk import ShrunkOverlay

NAMES, PALETTE = ("a", "b", "c"), voc_palette(3)


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(height * width)
    image = numbers.integers(0, 256, (height, width, 3), np.uint8)
    return image, np.sort(numbers.integers(0, 3, (height, width), np.uint8), axis=1)


def drawn(image: np.ndarray, labels: np.ndarray, longest: int, rows: int) -> np.ndarray:
    small = ShrunkOverlay(labels.shape, longest)
    for top in range(0, len(labels), rows):
        small.add(image[top : top + rows], labels[top : top + rows])
    return small.picture(NAMES, PALETTE, np.bincount(labels.ravel(), minlength=3).tolist())


@pytest.mark.parametrize("rows", [1, 7, 64, 200])
def test_an_image_that_is_small_enough_is_drawn_as_any(rows: int) -> None:
    image, labels = scene(64, 120)
    whole = segmented(image, labels, NAMES, PALETTE)
    assert np.array_equal(drawn(image, labels, 120, rows), whole)
    assert np.array_equal(drawn(image[:, :90], labels[:, :90], 120, rows),
                          segmented(image[:, :90], labels[:, :90], NAMES, PALETTE))  # fmt: skip


@pytest.mark.parametrize("rows", [1, 4, 5, 64, 130])
def test_a_large_image_is_the_mean_of_squares_and_has_the_label_of_their_middles(rows: int) -> None:
    image, labels = scene(130, 301)
    side, high, wide = 3, 44, 101  # at most 101 pixels
    mean, middle = np.zeros((high, wide, 3), np.uint8), np.zeros((high, wide), np.uint8)
    for i in range(high):
        for j in range(wide):
            square = image[i * side : (i + 1) * side, j * side : (j + 1) * side].reshape(-1, 3)
            mean[i, j] = (2 * square.sum(0, dtype=int) + len(square)) // (2 * len(square))
            middle[i, j] = labels[min(i * side + 1, 129), min(j * side + 1, 300)]
    found = drawn(image, labels, 101, rows)
    assert np.array_equal(found[:high], segmented(mean, middle, NAMES, PALETTE)[:high])
    # The shares are those of all pixels.
    assert found.shape[1] == wide
    assert found.shape[0] > high


def test_rows_to_add_at_once_are_whole_squares() -> None:
    assert ShrunkOverlay((9000, 12000), 4096).rows % 3 == 0
    assert ShrunkOverlay((10, 10**7), 4096).rows == -(-(10**7) // 4096)
