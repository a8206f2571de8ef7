"""Sliding crops beside one pass, on small networks whose answer is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fcnseg.convolutionalize import convolutionalize
from fcnseg.errors import NumericError, UsageError
from fcnseg.inference.crops import compare_crops
from fcnseg.preprocessing import Preprocessing

SIDE, STRIDE, CLASSES = 36, 4, 5
PREPROCESSING = Preprocessing(native_size=SIDE, test_resize=40)


class Small(nn.Module):
    """Stride 4, with or without padding inside; the tail is a flatten and two linear layers."""

    def __init__(self, padding: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Sequential(
            nn.Conv2d(3, 6, 4, stride=2, padding=padding), nn.ReLU(),
            nn.Conv2d(6, 8, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        cells = self.maps(torch.zeros(1, 3, SIDE, SIDE)).shape[2]
        self.tail = nn.Sequential(
            nn.Flatten(), nn.Linear(8 * cells**2, 16), nn.ReLU(), nn.Linear(16, CLASSES)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.maps(x))


@pytest.fixture
def photograph_of_noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)


def test_without_padding_the_two_agree_everywhere(photograph_of_noise: np.ndarray) -> None:
    net = Small(0)
    seen: list[tuple[int, int]] = []
    found = compare_crops(
        net, convolutionalize(net, SIDE, "window"), PREPROCESSING, photograph_of_noise,
        done=lambda *at: seen.append(at),
    )  # fmt: skip
    # 8 windows of 36 px along 64 px; of the other side, 64 * 90 / 130 = 44 px, 3 windows.
    assert found.image.shape == (44, 64, 3)
    assert found.crops.shape == found.dense.shape == found.same_class.shape == (3, 8)
    assert seen == [(i, 24) for i in range(1, 25)]
    assert found.score_difference < 1e-5
    assert found.native_difference < 1e-5
    assert found.distance.max() < 1e-5
    assert found.same_class.all()
    np.testing.assert_allclose(found.crops, found.dense, atol=1e-5)
    # Every probability by a plain loop over the crops.
    pixels = torch.from_numpy(found.image).permute(2, 0, 1)[None]
    for row in range(3):
        for column in range(8):
            y, x = STRIDE * row, STRIDE * column
            crop = PREPROCESSING(pixels[:, :, y : y + SIDE, x : x + SIDE].contiguous())
            with torch.no_grad():
                probability = net(crop).softmax(1)[0, found.class_id]
            assert found.crops[row, column] == pytest.approx(float(probability), abs=1e-5)
    assert min(found.seconds_crops, found.seconds_batches, found.seconds_dense) > 0
    assert (found.window, found.stride, found.batch) == (SIDE, STRIDE, 16)


def test_with_padding_they_agree_at_the_native_size_only(photograph_of_noise: np.ndarray) -> None:
    net = Small(1)
    found = compare_crops(
        net, convolutionalize(net, SIDE, "window"), PREPROCESSING, photograph_of_noise
    )
    assert found.native_difference < 1e-5
    assert found.score_difference > 1e-3
    assert found.distance.max() > found.distance.min() >= 0


class Squeezed(nn.Module):
    """Nothing padded, and every cell scaled by the mean of the whole map."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = Small(0)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.plain.maps(x)
        return self.plain.tail(maps * maps.mean((2, 3), keepdim=True).sigmoid())


def test_a_layer_that_sees_the_whole_map_differs_without_padding(
    photograph_of_noise: np.ndarray,
) -> None:
    net = Squeezed()
    found = compare_crops(
        net, convolutionalize(net, SIDE, "window"), PREPROCESSING, photograph_of_noise
    )
    assert found.native_difference < 1e-5
    assert found.score_difference > 1e-4


def test_layers_keep_their_modes(photograph_of_noise: np.ndarray) -> None:
    net = Small(0).train()
    net.tail.eval()
    dense = convolutionalize(net, SIDE, "window").train()
    compare_crops(net, dense, PREPROCESSING, photograph_of_noise, most=2)
    assert net.training
    assert net.maps[0].training
    assert not net.tail[1].training
    assert dense.training


@pytest.mark.parametrize("size", [(10, 400), (400, 10), (36, 36), (1, 1), (37, 36)])
def test_photographs_of_any_shape(size: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    net = Small(0)
    dense = convolutionalize(net, SIDE, "window")
    found = compare_crops(net, dense, PREPROCESSING, image, most=3)
    assert max(found.crops.shape) == 3
    assert found.image.shape[0] == SIDE + STRIDE * (found.crops.shape[0] - 1)
    assert found.image.shape[1] == SIDE + STRIDE * (found.crops.shape[1] - 1)
    assert found.score_difference < 1e-5


def test_refusals(photograph_of_noise: np.ndarray) -> None:
    net = Small(0)
    dense = convolutionalize(net, SIDE, "window")
    with pytest.raises(UsageError, match="expected 1 to 32 windows along a side, got 0"):
        compare_crops(net, dense, PREPROCESSING, photograph_of_noise, most=0)
    other = Preprocessing(native_size=SIDE + 4)
    with pytest.raises(UsageError, match="one cell at its native size"):
        compare_crops(net, dense, other, photograph_of_noise)
    with pytest.raises(UsageError, match="uint8"):
        compare_crops(net, dense, PREPROCESSING, photograph_of_noise.astype(np.float32))
    with torch.no_grad():
        net.tail[-1].bias[0] = torch.nan
        dense = convolutionalize(net, SIDE, "window")
    with pytest.raises(NumericError, match="not finite"):
        compare_crops(net, dense, PREPROCESSING, photograph_of_noise)
