"""Segmentation networks of torchvision with random weights, and what torchvision makes of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import randomise
from torch import nn
from torch.nn import functional as F
from torchvision import models

SMALLEST = "torchvision/lraspp_mobilenet_v3_large"


def network(name: str, auxiliary: bool = False) -> nn.Module:
    """torchvision's own network with random weights and the statistics of a trained one.

    No class is ahead of the others everywhere, as after training.
    """
    torch.manual_seed(0)
    own = name.partition("/")[2]
    extra = {"aux_loss": True} if auxiliary else {}
    net = models.get_model(own, weights=None, weights_backbone=None, **extra)
    randomise(net).eval()
    *_, last = (m for m in net.classifier.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        image = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
        last.bias -= net(image)["out"].mean((0, 2, 3))
    return net


def saved(net: nn.Module, folder: Path, name: str = "mine.pth") -> Path:
    torch.save(net.state_dict(), folder / name)
    return folder / name


def expected_scores(name: str, net: nn.Module, image: np.ndarray) -> np.ndarray:
    """What torchvision's preset and network give, brought to the size of the photograph."""
    preset = models.get_model_weights(name.partition("/")[2]).DEFAULT.transforms()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        score = net(preset(pixels))["out"]
        return F.interpolate(score, image.shape[:2], mode="bilinear", align_corners=False)[
            0
        ].numpy()


def difference(found: np.ndarray | None, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest score."""
    assert found is not None
    largest = float(np.abs(expected).max())
    # A network that says the same everywhere would prove nothing.
    assert (expected - expected.mean((1, 2), keepdims=True)).std() > 0.03 * largest
    return float(np.abs(found - expected).max()) / largest


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blocks of 16 pixels in random colours."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(16, 0).repeat(16, 1)[:height, :width])


def offline(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setenv("FCNSEG_CACHE", str(cache))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)
