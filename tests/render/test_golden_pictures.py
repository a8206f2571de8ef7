"""Every renderer of masks, comparisons and curves against a golden image; heatmaps have their own
file."""

from pathlib import Path

import numpy as np
import pytest
from golden import FOLDER, assert_golden, renewing
from PIL import Image

from fcnseg import render

PALETTE = render.voc_palette(4)
NAMES = ("background", "aeroplane", "bicycle", "bird")
H, W = 96, 160


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    y, x = np.mgrid[:H, :W]
    waves = [127 + 120 * np.sin(x / 15 + k) * np.cos(y / 11 - k) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    y, x = np.mgrid[:H, :W]
    labels = np.zeros((H, W), dtype=np.uint8)
    labels[20:70, 10:60] = 1
    labels[(x - 110) ** 2 + (y - 48) ** 2 < 900] = 2
    labels[60:88, 40:110] = 3
    labels[:6] = 255
    return labels


@pytest.fixture(scope="module")
def predicted(truth: np.ndarray) -> np.ndarray:
    shifted = np.roll(truth, (4, 6), (0, 1))
    shifted[shifted == 255] = 0
    return shifted


def test_colours(truth: np.ndarray) -> None:
    assert_golden("colourise.png", render.colourise(truth, PALETTE))


def test_mask_file(truth: np.ndarray, tmp_path: Path) -> None:
    """Of a palette image the ids and the colours, not the bytes: zlib may pack them otherwise."""
    render.write_mask(tmp_path / "mask.png", truth, PALETTE)
    if renewing():
        render.write_mask(FOLDER / "mask.png", truth, PALETTE)
    with Image.open(tmp_path / "mask.png") as found, Image.open(FOLDER / "mask.png") as golden:
        assert found.mode == golden.mode == "P"
        assert np.array_equal(np.asarray(found), np.asarray(golden))
        assert found.getpalette() == golden.getpalette()
        assert np.array_equal(np.asarray(found), truth)


def test_overlay(image: np.ndarray, truth: np.ndarray) -> None:
    assert_golden("overlay_void.png", render.overlay(image, truth, PALETTE))


def test_segmented(image: np.ndarray, truth: np.ndarray) -> None:
    assert_golden("segmented.png", render.segmented(image, truth, NAMES, PALETTE), text=True)


def test_segmented_scaled_down(image: np.ndarray, truth: np.ndarray) -> None:
    large = [np.kron(a, np.ones((8, 8, 1)[: a.ndim], a.dtype)) for a in (image, truth)]
    found = render.segmented(large[0], large[1], NAMES, PALETTE, longest=320)
    assert_golden("segmented_small.png", found, text=True)


def test_legend(truth: np.ndarray) -> None:
    assert_golden("legend.png", render.legend(truth, NAMES, PALETTE, 240), text=True)


def test_difference(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> None:
    assert_golden("difference.png", render.difference(image, truth, predicted))


def test_comparison(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> None:
    assert_golden("comparison_void.png", render.comparison(image, truth, predicted, PALETTE))


@pytest.mark.parametrize("columns", [2, 4])
def test_comparison_sheet(
    columns: int, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray
) -> None:
    sheet = render.comparison_sheet(image, truth, predicted, PALETTE, NAMES, columns)
    assert_golden(f"comparison_sheet_{columns}.png", sheet, text=True)


def test_training_curves() -> None:
    steps = np.arange(1, 200)
    rows = [
        {"kind": "step", "step": int(s), "loss": float(2 * np.exp(-s / 60)), "lr": 1e-4 * (200 - s)}
        for s in steps
    ]
    scores = [(0.4, 0.2), (0.7, 0.5), (0.8, 0.62)]
    rows += [
        {"kind": "eval", "epoch": e + 1, "step": 66 * e, "pixel_accuracy": a, "mean_iu": m}
        for e, (a, m) in enumerate(scores)
    ]
    assert_golden("training_curves.png", render.training_curves(rows), text=True)
