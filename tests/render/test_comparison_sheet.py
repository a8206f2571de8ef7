"""Panels with titles and a legend."""

import sys

import numpy as np
import pytest

from fcnseg.errors import UsageError
from fcnseg.palette import VOID_COLOUR, voc_palette
from fcnseg.render.comparison import DIFFERENCE_COLOUR, GAP, comparison, comparison_sheet

PALETTE = voc_palette(4)
NAMES = ("background", "car", "person", "a name that is so long that no legend has room for it all")
H, W = 160, 240


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
    truth = np.zeros((H, W), np.uint8)
    truth[40:100, 50:120] = 1
    truth[:16] = 255
    predicted = np.where(truth == 255, 2, truth).astype(np.uint8)
    predicted[40:100, 50:64] = 0
    return image, truth, predicted


def has(picture, colour):
    return bool((picture == np.array(colour)).all(axis=-1).any())


@pytest.mark.parametrize("columns", [4, 2, 1])
def test_the_panels_are_those_of_the_comparison(sample, columns):
    sheet = comparison_sheet(*sample, PALETTE, NAMES, columns)
    plain = comparison(*sample, PALETTE)
    wide = columns * W + (columns - 1) * 2 * GAP
    assert sheet.shape[1] == wide
    title = 20  # of text 12 pixels high
    for k in range(4):
        y, x = divmod(k, columns)
        top, left = (y + 1) * title + y * H, x * (W + 2 * GAP)
        panel = sheet[top : top + H, left : left + W]
        assert np.array_equal(panel, plain[:, k * (W + GAP) : k * (W + GAP) + W])
        above = sheet[top - title : top, left : left + W]
        assert 0.01 < (above < 128).mean() < 0.3  # a title, dark on white
    legend = sheet[-(-4 // columns) * (H + title) :]
    for colour in (PALETTE[0], PALETTE[1], PALETTE[2], VOID_COLOUR, DIFFERENCE_COLOUR):
        assert has(legend, colour)
    assert not has(legend, PALETTE[3])


def test_the_last_title_says_how_much_is_wrong(sample, monkeypatch):
    said = []
    monkeypatch.setattr(
        sys.modules["fcnseg.render.comparison"],  # the name in the package is the function
        "_titled",
        lambda panel, title, size: (said.append(title), panel)[1],
    )
    comparison_sheet(*sample, PALETTE, NAMES)
    wrong = 100 * (60 * 14) / ((H - 16) * W)
    assert said == ["image", "truth", "prediction", f"wrong: {wrong:.1f} %"]
    said.clear()
    image, truth, predicted = sample
    comparison_sheet(image, np.full_like(truth, 255), predicted, PALETTE, NAMES)
    assert said[-1] == "wrong: 0.0 %"


def test_large_images_are_scaled_and_small_ones_enlarged(sample):
    small = comparison_sheet(*sample, PALETTE, NAMES, 2, longest=120)
    assert small.shape[1] == 2 * 120 + 2 * GAP
    tiny = [part[:20, :30] for part in sample]
    assert comparison_sheet(*tiny, PALETTE, NAMES, 2).shape[1] == 2 * 8 * 30 + 2 * GAP
    one = [part[:1, :1] for part in sample]
    assert comparison_sheet(*one, PALETTE, NAMES).shape[2] == 3


def test_the_inputs_are_not_changed_and_faults_are_refused(sample):
    before = [part.copy() for part in sample]
    comparison_sheet(*sample, PALETTE, NAMES)
    assert all(np.array_equal(a, b) for a, b in zip(before, sample, strict=True))
    image, truth, predicted = sample
    with pytest.raises(UsageError, match="names: expected one for each of 4 colours"):
        comparison_sheet(image, truth, predicted, PALETTE, NAMES[:3])
    with pytest.raises(UsageError, match=r"predicted is 160x239"):
        comparison_sheet(image, truth, predicted[:, 1:], PALETTE, NAMES)
    with pytest.raises(UsageError, match="neither one of the 4 classes"):
        comparison_sheet(image, truth, predicted + 9, PALETTE, NAMES)
