"""Heatmaps name what is in a photograph and are hot where it is."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torch import fx, nn

from fcnseg.catalogue import LITE0, describe, imagenet_classes
from fcnseg.classifiers import build_classifier
from fcnseg.convolutionalize import convolutionalize
from fcnseg.dilate import dilate
from fcnseg.errors import NumericError, UsageError
from fcnseg.inference.class_names import find_classes
from fcnseg.inference.heatmap import classifier_maps
from fcnseg.preprocessing import Preprocessing
from fcnseg.trace import trace

Photograph = Callable[[str], np.ndarray]
PREPROCESSING = describe(LITE0).preprocessing


@pytest.fixture(scope="module")
def net() -> fx.GraphModule:
    return convolutionalize(build_classifier(LITE0, "auto"))


def inside(place: tuple[float, float], rows: tuple[int, int], columns: tuple[int, int]) -> bool:
    return rows[0] <= place[0] <= rows[1] and columns[0] <= place[1] <= columns[1]


def share(probability: np.ndarray, rows: slice, columns: slice) -> float:
    """The share of a map's mass that lies in a rectangle of the photograph."""
    return float(probability[rows, columns].sum() / probability.sum())


def test_the_cat_is_named_first_and_hot(net: fx.GraphModule, photograph: Photograph) -> None:
    image = photograph("chelsea")  # 300x451; the cat covers the columns up to 400
    maps = classifier_maps(net, PREPROCESSING, imagenet_classes(), image)
    best = maps.top(1)[0]
    assert maps.classes[best] == "Egyptian cat"
    assert inside(maps.hottest(best), (20, 290), (30, 400))
    probability = maps.probabilities([best], image.shape[:2])
    assert probability.shape == (1, 300, 451)
    assert 0 <= probability.min() < 0.1
    assert 0.8 < probability.max() <= 1


def test_the_espresso_is_hot_on_the_cup(net: fx.GraphModule, photograph: Photograph) -> None:
    image = photograph("coffee")  # 400x600; the cup: rows 20 to 310, columns 170 to 420
    maps = classifier_maps(net, PREPROCESSING, imagenet_classes(), image)
    best = maps.top(1)[0]
    assert maps.classes[best] == "espresso"
    assert inside(maps.hottest(best), (20, 310), (170, 420))
    probability = maps.probabilities([best], image.shape[:2])[0]
    assert share(probability, slice(20, 330), slice(110, 480)) > 0.85


def test_the_uniform_is_hot_on_cap_and_jacket_not_on_the_wall(net: fx.GraphModule) -> None:
    from matplotlib.cbook import get_sample_data

    path = get_sample_data("grace_hopper.jpg", asfileobj=False)
    image = np.array(Image.open(path).convert("RGB"))  # 600x512
    maps = classifier_maps(net, PREPROCESSING, imagenet_classes(), image)
    top = maps.top(5)
    assert maps.classes[top[0]] == "military uniform"
    uniform = maps.probabilities(top[:1], image.shape[:2])[0]
    cap, jacket = uniform[40:180, 150:370], uniform[420:600, 40:500]
    wall, flag = uniform[0:250, 420:512], uniform[0:300, 0:100]
    assert cap.max() > 0.9
    assert jacket.max() > 0.7
    assert cap.mean() > 10 * max(wall.mean(), flag.mean())
    assert jacket.mean() > 3 * max(wall.mean(), flag.mean())


def test_the_image_s_score_is_the_classifier_s_own(
    net: fx.GraphModule, photograph: Photograph
) -> None:
    image = photograph("rocket")
    side = min(image.shape[:2])
    maps = classifier_maps(net, PREPROCESSING, imagenet_classes(), image, short_side=side)
    classifier = build_classifier(LITE0, "auto").eval()
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = classifier(PREPROCESSING(pixels))[0].softmax(0).numpy()
    assert np.allclose(maps.image_score, expected, atol=1e-5)


class Stamp(nn.Module):
    """A "classifier" that says how bright the 16x16 patch of each cell is: its field is known."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Conv2d(3, 2, 16, 16, bias=False)
        with torch.no_grad():
            self.mean.weight[0] = 10 / 768
            self.mean.weight[1] = -10 / 768

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mean(x).mean((2, 3))


@pytest.mark.parametrize("short_side", [64, 128, 256])
def test_maps_lie_where_the_patches_are_whatever_the_scaling(short_side: int) -> None:
    image = np.zeros((128, 192, 3), np.uint8)
    image[96:128, 32:64] = 255  # centred on (111.5, 47.5)
    net = convolutionalize(Stamp(), 32)
    plain = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    maps = classifier_maps(net, plain, ("bright", "dark"), image, short_side)
    stride = 16 * 128 / short_side
    assert maps.stride == pytest.approx((stride, stride))
    assert maps.offset == pytest.approx((stride / 2 - 0.5, stride / 2 - 0.5))
    bright = maps.probabilities([0], (128, 192))[0]
    rows, columns = (bright > 0.9 * bright.max()).nonzero()
    assert abs(rows.mean() - 111.5) <= stride / 2
    assert abs(columns.mean() - 47.5) <= 0.5
    assert bright[111, 47] > 0.95  # scaling softens the edges of the patch
    assert bright[:60].max() < 0.01


def test_classes_are_found_by_their_names() -> None:
    classes = ("tabby", "tiger cat", "Egyptian cat", "cat", "catamaran", "oystercatcher")
    assert find_classes(classes, ["EGYPT"]) == [2]
    assert find_classes(classes, ["cat"]) == [3]  # the whole name wins
    assert find_classes(classes[:3] + classes[4:], ["cat"]) == [1, 2]  # then whole words
    assert find_classes(classes, ["catch", " tabby "]) == [5, 0]
    with pytest.raises(UsageError, match=r"'tabbi': no class has this.*did you mean 'tabby'"):
        find_classes(classes, ["tabbi"])
    with pytest.raises(UsageError, match="'': no class has this"):
        find_classes(classes, [""])


def test_scores_that_are_not_finite_are_refused(net: fx.GraphModule) -> None:
    broken = trace(nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        next(iter(broken.parameters())).fill_(float("nan"))
    with pytest.raises(NumericError, match="not finite"):
        classifier_maps(broken, PREPROCESSING, ("a", "b"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(UsageError, match=r"\(H, W, 3\) uint8"):
        classifier_maps(net, PREPROCESSING, imagenet_classes(), np.zeros((40, 40), np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (20, 31), (150, 40)])
def test_an_image_smaller_than_the_window_is_extended(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    classifier = build_classifier("alexnet").eval()
    preprocessing = describe("alexnet").preprocessing
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    maps = classifier_maps(
        convolutionalize(classifier), preprocessing, imagenet_classes(), image, min(size)
    )
    canvas = np.full((max(size[0], 224), max(size[1], 224), 3), preprocessing.fill, np.uint8)
    canvas[: size[0], : size[1]] = image
    pixels = torch.from_numpy(canvas).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = classifier(preprocessing(pixels)[:, :, :224, :224])[0].numpy()
    assert np.allclose(maps.score[:, 0, 0], expected, atol=1e-4)
    assert maps.stride == (32, 32)
    assert maps.probabilities([0], size).shape == (1, *size)


@pytest.mark.parametrize("name", [LITE0, "resnet18", "timm/tf_mobilenetv3_small_minimal_100"])
@pytest.mark.parametrize("stride", [16, 8])
def test_a_finer_map_covers_the_photograph_and_no_more(name: str, stride: int, photograph) -> None:
    """Networks padded as TensorFlow does it begin late, and go on behind the image."""
    torch.manual_seed(0)
    image, preprocessing = photograph("chelsea"), describe(name).preprocessing
    net = dilate(convolutionalize(build_classifier(name)), stride)
    maps = classifier_maps(net, preprocessing, imagenet_classes(), image)
    for axis in (0, 1):
        first, step = maps.offset[axis], maps.stride[axis]
        last = first + step * (maps.score.shape[1 + axis] - 1)
        assert 0 <= first + 0.5 <= step
        assert image.shape[axis] - 1 - step < last <= image.shape[axis] - 0.5
