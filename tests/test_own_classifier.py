"""A classifier of one's own classes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from fcnseg.errors import UsageError
from fcnseg.own_classifier import CentreView, ClassifierInfo, build_own_classifier, sized
from fcnseg.preprocessing import Preprocessing


def test_it_scores_one_s_own_classes() -> None:
    model = build_own_classifier("resnet18", ("cat", "dog", "owl"), size=96).eval()
    assert model(torch.zeros(2, 3, 96, 96)).shape == (2, 3)
    assert model.head is model.net.fc
    assert model.info.preprocessing.native_size == 96
    assert model.info.preprocessing.test_resize == 110  # 256 to 224 of the classifier
    assert model.info.kind == "classifier"
    assert set(model.state_dict()) == {f"net.{k}" for k in model.net.state_dict()}


def test_its_description_goes_both_ways() -> None:
    info = build_own_classifier("small_cnn", ("a", "b")).info
    assert ClassifierInfo.from_dict(info.to_dict()) == info


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": 3}, "backbone: expected a short name"),
        ({"classes": "ab"}, "classes: expected two names or more"),
        ({"classes": ["a"]}, "classes: expected two names or more"),
        ({"classes": ["a", 1]}, "classes: expected two names or more"),
        ({"preprocessing": 1}, "preprocessing: expected keys and values"),
        ({"preprocessing": {"native_size": -1}}, "native_size: expected a whole number above 0"),
        ({"variant": "8s"}, "expected the keys"),
    ],
)
def test_a_foreign_description_is_refused(change: dict, said: str) -> None:
    values = build_own_classifier("small_cnn", ("a", "b")).info.to_dict()
    with pytest.raises(UsageError, match=said):
        ClassifierInfo.from_dict({**values, **change})


@pytest.mark.parametrize("size", [(300, 400), (410, 290), (224, 224), (40, 31)])
@pytest.mark.parametrize("way", ["bilinear", "bicubic"])
def test_the_view_is_torchvision_s_test(size: tuple[int, int], way: str) -> None:
    numbers = np.random.default_rng(0)
    small = numbers.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = np.array(Image.fromarray(small).resize(size[::-1], Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(image).permute(2, 0, 1)
    mode = v2.InterpolationMode(way)
    steps = v2.Compose([v2.Resize(72, mode, antialias=True), v2.CenterCrop(64)])
    expected = steps(pixels).permute(1, 2, 0).numpy()
    how = Preprocessing(native_size=64, test_resize=72, interpolation=way)  # type: ignore[arg-type]
    got = CentreView(how)(image)
    assert got.shape == (64, 64, 3)
    assert np.abs(got.astype(int) - expected).max() <= 1  # torchvision rounds its own way


def test_a_strip_is_seen_in_its_middle() -> None:
    image = np.zeros((8, 4000, 3), np.uint8)
    image[:, 1990:2010] = 200
    view = CentreView(Preprocessing(native_size=64, test_resize=64))(image)
    assert view.shape == (64, 64, 3)
    assert view.min() == 200


def test_sizes() -> None:
    assert sized(Preprocessing(), None) == Preprocessing()
    assert sized(Preprocessing(), 448).test_resize == 512
    with pytest.raises(UsageError, match="--image-size: expected 32 pixels or more, got 16"):
        sized(Preprocessing(), 16)
    with pytest.raises(UsageError, match="needs two classes or more, got 1"):
        build_own_classifier("small_cnn", ("a",))
