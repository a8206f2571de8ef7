"""Overlays and comparisons."""

import numpy as np
import pytest
from golden import assert_golden

from fcnseg.errors import UsageError
from fcnseg.render import comparison, overlay, voc_palette
from fcnseg.render.comparison import DIFFERENCE_COLOUR, GAP
from fcnseg.render.photograph import blend, greyed

PALETTE = voc_palette(4)
H, W = 48, 64


@pytest.fixture
def image():
    y, x = np.mgrid[:H, :W]
    waves = [127 + 120 * np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


@pytest.fixture
def truth():
    y, x = np.mgrid[:H, :W]
    labels = np.zeros((H, W), dtype=np.uint8)
    labels[10:40, 6:30] = 1
    labels[(x - 44) ** 2 + (y - 24) ** 2 < 150] = 2
    labels[30:44, 20:50] = 3
    labels[:4] = 255
    return labels


@pytest.fixture
def predicted(truth):
    shifted = np.roll(truth, (2, 3), (0, 1))
    shifted[shifted == 255] = 0
    return shifted


def test_golden_overlay(image, truth):
    assert_golden("overlay.png", overlay(image, truth, PALETTE))


def test_golden_overlay_of_a_large_image(image, truth):
    large = [np.kron(a, np.ones((24, 24, 1)[: a.ndim], a.dtype)) for a in (image, truth)]
    assert_golden("overlay_large.png", overlay(*large, PALETTE)[480:640, 600:840])


def test_golden_comparison(image, truth, predicted):
    assert_golden("comparison.png", comparison(image, truth, predicted, PALETTE))


def test_inputs_are_not_changed(image, truth, predicted):
    before = image.copy(), truth.copy(), predicted.copy()
    overlay(image, truth, PALETTE)
    comparison(image, truth, predicted, PALETTE)
    after = image, truth, predicted
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_overlay_is_the_stated_mixture(image, truth, alpha):
    got = overlay(image, truth, PALETTE, alpha=alpha, outline=False)
    for y, x in [(0, 0), (3, 60), (4, 0), (20, 10), (24, 44), (40, 30)]:
        k = truth[y, x]
        for channel in range(3):
            expected = float(image[y, x, channel])
            if k != 255:
                grey = float(image[y, x] @ np.array([0.299, 0.587, 0.114]))
                expected = (1 - alpha) * grey + alpha * PALETTE[k][channel]
            assert got[y, x, channel] == pytest.approx(expected, abs=1.51)


def test_outlines_lie_inside_each_region_and_void_is_untouched(image, truth):
    plain = overlay(image, truth, PALETTE, outline=False)
    outlined = overlay(image, truth, PALETTE)
    padded = np.pad(truth, 1, mode="edge")
    for y in range(H):
        for x in range(W):
            k = truth[y, x]
            around = (
                padded[y, x + 1],
                padded[y + 2, x + 1],
                padded[y + 1, x],
                padded[y + 1, x + 2],
            )
            if k == 255:
                expected = image[y, x]
            elif any(other != k for other in around):
                expected = PALETTE[k]
            else:
                expected = plain[y, x]
            assert np.array_equal(outlined[y, x], expected)


def test_comparison_panels(image, truth, predicted):
    got = comparison(image, truth, predicted, PALETTE)
    assert got.shape == (H, 4 * W + 3 * GAP, 3)
    step = W + GAP
    assert np.array_equal(got[:, :W], image)
    assert np.array_equal(got[20, step + 10], PALETTE[1])
    assert np.array_equal(got[20, 2 * step + 10], PALETTE[1])
    assert np.array_equal(got[0, step], (224, 224, 192))
    for k in (1, 2, 3):
        assert (got[:, k * step - GAP : k * step] == 255).all()
    marked = (got[:, 3 * step :] == DIFFERENCE_COLOUR).all(axis=2)
    assert np.array_equal(marked, (truth != predicted) & (truth != 255))
    assert not marked[:4].any()


def test_wrong_arguments_are_refused(image, truth):
    with pytest.raises(UsageError, match=r"image is 48x64 .* labels is 47x64"):
        overlay(image, truth[1:], PALETTE)
    with pytest.raises(UsageError, match=r"alpha: expected 0 to 1, got 1\.5"):
        overlay(image, truth, PALETTE, alpha=1.5)
    with pytest.raises(UsageError, match="image: expected"):
        overlay(image.astype(float), truth, PALETTE)
    with pytest.raises(UsageError, match=r"predicted is 48x63"):
        comparison(image, truth, truth[:, 1:], PALETTE)
    with pytest.raises(UsageError, match="neither one of the 2 classes"):
        comparison(image, truth, truth, PALETTE[:2])


def test_one_pixel_works():
    image, labels = np.full((1, 1, 3), 100, np.uint8), np.ones((1, 1), np.uint8)
    assert overlay(image, labels, PALETTE).tolist() == [[[114, 50, 50]]]
    assert comparison(image, labels, labels, PALETTE).shape == (1, 4 + 3 * GAP, 3)


def test_greyed_squeezes_lightness_and_blend_mixes():
    image = np.array([[[0, 0, 0], [255, 255, 255]]], dtype=np.uint8)
    assert greyed(image, 40, 240).tolist() == [[[40] * 3, [240] * 3]]
    assert blend(image, image[:, ::-1], 0.2).tolist() == [[[51] * 3, [204] * 3]]
