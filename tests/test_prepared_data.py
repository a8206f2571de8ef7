"""From settings to training samples: every setting arrives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcnseg.config import Size, TrainConfig, load_config
from fcnseg.data.transforms import TrainingTransform
from fcnseg.sources import build_sources
from fcnseg.training import prepared, training_transform

FILL = (9, 8, 7)
USUAL: dict[str, Any] = {
    "crop_size": (40, 56), "scale": (0.5, 2.0), "flip": 0.5, "rotate": 0.0, "colour": 1.0,
    "blur": 0.0, "max_class_share": 1.0, "fill": FILL,
}  # fmt: skip


def scene() -> tuple[np.ndarray, np.ndarray]:
    numbers = np.random.default_rng(0)
    label = np.zeros((90, 120), np.uint8)
    label[10:20, 30:50] = 1
    return numbers.integers(0, 256, (90, 120, 3)).astype(np.uint8), label


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({}, {}),
        ({"crop_size": Size(30, 20)}, {"crop_size": (30, 20)}),
        ({"scale_min": 1.5}, {"scale": (1.5, 2.0)}),
        ({"scale_max": 0.6}, {"scale": (0.5, 0.6)}),
        ({"flip": 0.0}, {"flip": 0.0}),
        ({"rotate": 30.0}, {"rotate": 30.0}),
        ({"colour": 0.2}, {"colour": 0.2}),
        ({"blur": 1.0}, {"blur": 1.0}),
        ({"max_class_share": 0.6}, {"max_class_share": 0.6}),
    ],
)
def test_each_setting_of_the_augmentation_arrives(
    settings: dict[str, Any], arguments: dict[str, Any]
) -> None:
    made = training_transform(TrainConfig(**{"crop_size": Size(40, 56), **settings}), FILL)
    plain = TrainingTransform(**{**USUAL, **arguments})
    usual = TrainingTransform(**USUAL)
    differs = 0
    for seed in range(8):
        image, label = made(*scene(), seed)
        expected = plain(*scene(), seed)
        assert np.array_equal(image, expected[0])
        assert np.array_equal(label, expected[1])
        other = usual(*scene(), seed)
        differs += image.shape != other[0].shape or not np.array_equal(image, other[0])
    assert (differs > 0) == bool(settings)


@pytest.mark.parametrize("cache", [False, True])
def test_training_samples_are_scaled_and_validation_samples_are_not(
    tmp_path: Path, cache: bool
) -> None:
    for part in ("i", "m"):
        (tmp_path / part).mkdir()
    for index in range(4):
        Image.new("RGB", (120, 90), (index, 0, 0)).save(tmp_path / f"i/{index}.jpg")
        Image.new("L", (120, 90), index % 2).save(tmp_path / f"m/{index}.png")
    flags = {"images": str(tmp_path / "i"), "masks": str(tmp_path / "m"), "classes": "a,b"}
    flags |= {"short_side": "30", "crop_size": "16"}
    if cache:
        flags["cache"] = str(tmp_path / "cache")
    config = load_config(TrainConfig, None, flags)
    training, validation = prepared(config, build_sources(config))
    assert training[0].image.shape == (30, 40, 3)
    assert training[0].label.shape == (30, 40)
    assert validation[0].image.shape == (90, 120, 3)
    assert (tmp_path / "cache").is_dir() == cache
