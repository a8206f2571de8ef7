"""The four ways to classify a photograph, against loops that know nothing of maps."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import timm
import torch
from networks import randomise
from PIL import Image
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms import functional as TF

from fcnseg.catalogue import LITE0, describe, imagenet_classes
from fcnseg.classifiers import build_classifier
from fcnseg.errors import NumericError, UsageError
from fcnseg.inference.classify import ImageClassifier, crops, dense_net
from fcnseg.preprocessing import Preprocessing

NATIVE, STRIDE, CLASSES = 43, 4, 7
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
PREPROCESSING = Preprocessing(MEAN, STD, native_size=NATIVE, test_resize=50)


def body() -> list[nn.Module]:
    """Unpadded layers of stride 4 whose map of a 43x43 image, all of it, has 8x8 cells."""
    return [nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU()]


def classifier(kind: str) -> nn.Module:
    """A small classifier that pads nothing; each kind ends as a family of networks does."""
    torch.manual_seed(3)
    flat = [nn.Flatten(), nn.Linear(1024, 12), nn.ReLU(), nn.Linear(12, CLASSES)]
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    tails = {
        "flat": flat,  # VGG
        "affine": [*pooled, nn.Dropout(0.5), nn.Linear(16, CLASSES)],  # ResNet
        "hard": [*pooled, nn.Linear(16, 12), nn.Hardswish(), nn.Linear(12, CLASSES)],  # MobileNet
    }
    net = nn.Sequential(*body(), *tails[kind])
    with torch.no_grad():  # make the classes differ
        net[-1].weight.mul_(20)
    return net.eval()


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    noise = torch.rand(1, 3, 9, 12, generator=torch.Generator().manual_seed(1))
    smooth = nn.functional.interpolate(noise, (70, 96), mode="bilinear")
    return (255 * smooth[0].permute(1, 2, 0)).round().to(torch.uint8).numpy()


def scaled(image: np.ndarray, short_side: int, mirrored: bool = False) -> Tensor:
    """(1, 3, H, W) as torchvision prepares it."""
    pixels = TF.resize(torch.from_numpy(image).permute(2, 0, 1), [short_side], antialias=True)
    pixels = TF.hflip(pixels) if mirrored else pixels
    return TF.normalize(pixels / 255, list(MEAN), list(STD))[None]


def posterior(score: Tensor) -> np.ndarray:
    odds = np.exp(score.double().numpy() - float(score.max()))
    return odds / odds.sum()


def cut(x: Tensor, top: int, left: int, side: int = NATIVE) -> Tensor:
    return x[:, :, top : top + side, left : left + side]


@torch.no_grad()
def slid(net: nn.Module, x: Tensor) -> Tensor:
    """The mean score of every window that the classifier has in an image."""
    height, width = x.shape[2:]
    scores = [
        net(cut(x, top, left))[0]
        for top in range(0, height - NATIVE + 1, STRIDE)
        for left in range(0, width - NATIVE + 1, STRIDE)
    ]
    assert len(scores) > 1
    return torch.stack(scores).mean(0)


@pytest.mark.parametrize("kind", ["flat", "hard"])
@pytest.mark.parametrize(("scales", "mirror"), [((50,), False), ((47, 61), True)])
def test_dense_is_the_mean_over_sliding_windows(
    image: np.ndarray, kind: str, scales: tuple[int, ...], mirror: bool
) -> None:
    net = classifier(kind)
    expected = [
        posterior(slid(net, scaled(image, scale, mirrored)))
        for scale in scales
        for mirrored in ([False, True] if mirror else [False])
    ]
    got = ImageClassifier(net, PREPROCESSING, "dense", scales, mirror)(image)
    assert got.dtype == np.float32
    assert got.shape == (CLASSES,)
    assert np.allclose(got, np.mean(expected, axis=0), atol=1e-6)
    assert got.max() - got.min() > 0.05


def test_dense_is_the_classifier_itself_on_the_whole_image_where_the_tail_is_affine(
    image: np.ndarray,
) -> None:
    net = classifier("affine")
    with torch.no_grad():
        expected = [posterior(net(scaled(image, 61, m))[0]) for m in (False, True)]
    got = ImageClassifier(net, PREPROCESSING, "dense", [61])(image)
    assert np.allclose(got, np.mean(expected, axis=0), atol=1e-6)


@pytest.mark.parametrize("kind", ["flat", "affine", "hard"])
@pytest.mark.parametrize("mirror", [False, True])
def test_multicrop_is_a_plain_loop(image: np.ndarray, kind: str, mirror: bool) -> None:
    net, expected = classifier(kind), []
    for scale in (53, 60):
        x = scaled(image, scale)
        height, width = x.shape[2:]
        for row in range(5):
            for column in range(5):
                top, left = round(row * (height - 43) / 4), round(column * (width - 43) / 4)
                crop = cut(x, top, left)
                for view in [crop, crop.flip(3)] if mirror else [crop]:
                    with torch.no_grad():
                        expected.append(posterior(net(view)[0]))
    assert len(expected) == (100 if mirror else 50)
    got = ImageClassifier(net, PREPROCESSING, "multicrop", [53, 60], mirror)(image)
    assert np.allclose(got, np.mean(expected, axis=0), atol=1e-6)


def test_crops_reach_from_border_to_border() -> None:
    x = torch.arange(100.0).view(1, 1, 10, 10).repeat(1, 3, 1, 1)
    corners = [int(crop[0, 0, 0]) for crop in crops(x, 4)]
    assert corners == [10 * y + x for y in (0, 2, 3, 4, 6) for x in (0, 2, 3, 4, 6)]
    assert all(crop.shape == (3, 4, 4) for crop in crops(x, 4))
    assert len(crops(x, 10)) == 25  # all the same


def test_both_is_the_mean_of_dense_and_multicrop(image: np.ndarray) -> None:
    net = classifier("flat")
    dense, multicrop, both = (
        ImageClassifier(net, PREPROCESSING, mode, (50, 64))(image)
        for mode in ("dense", "multicrop", "both")
    )
    assert np.allclose(both, (dense.astype(float) + multicrop) / 2, atol=1e-7)
    assert not np.allclose(dense, multicrop, atol=1e-4)


def test_center_is_one_crop_in_the_middle(image: np.ndarray) -> None:
    net = classifier("hard")
    x = scaled(image, 50)
    assert tuple(x.shape[2:]) == (50, 68)
    with torch.no_grad():
        expected = posterior(net(cut(x, 4, 12))[0])  # torchvision rounds 3.5 and 12.5 to even
    assert np.allclose(ImageClassifier(net, PREPROCESSING)(image), expected, atol=1e-6)


class Recorder(nn.Module):
    """Keeps the batches that it is given; its copies keep theirs in the same list."""

    def __init__(self, seen: list[Tensor] | None = None) -> None:
        super().__init__()
        self.seen: list[Tensor] = [] if seen is None else seen

    def __deepcopy__(self, memo: object) -> "Recorder":
        return Recorder(self.seen)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x.mean((2, 3))


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "efficientnet_b1", "regnet_x_400mf"])
@pytest.mark.parametrize("upright", [False, True])
def test_center_gives_the_network_what_torchvision_gives_it(
    photograph: Callable[[str], np.ndarray], name: str, upright: bool
) -> None:
    photo = photograph("chelsea")
    photo = np.ascontiguousarray(photo.transpose(1, 0, 2)) if upright else photo
    preset = models.get_model_weights(name)["IMAGENET1K_V1"].transforms()
    expected = preset(torch.from_numpy(photo).permute(2, 0, 1))[None]
    net = Recorder()
    ImageClassifier(net, describe(name).preprocessing)(photo)
    assert net.seen[0].shape == expected.shape
    assert torch.allclose(net.seen[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_050"])
def test_center_gives_the_network_what_timm_gives_it(
    photograph: Callable[[str], np.ndarray], name: str
) -> None:
    photo = photograph("chelsea")
    settings = timm.data.resolve_data_config(timm.get_pretrained_cfg(name).to_dict())
    expected = timm.data.create_transform(**settings)(Image.fromarray(photo))[None]
    net = Recorder()
    ours = LITE0 if name == "tf_efficientnet_lite0" else f"timm/{name}"
    ImageClassifier(net, describe(ours).preprocessing)(photo)
    # Pillow scales in integers: one level of 255.
    assert (net.seen[0] - expected).abs().max() <= 1.01 / 255 / min(settings["std"])
    assert (net.seen[0] - expected).abs().median() < 1e-6


def test_crops_come_in_small_batches(image: np.ndarray) -> None:
    net = Recorder()
    ImageClassifier(net, PREPROCESSING, "multicrop", (50, 60))(image)
    assert sum(len(batch) for batch in net.seen) == 100
    assert max(len(batch) for batch in net.seen) == 10


def test_dense_does_not_tell_left_from_right_when_mirrored(image: np.ndarray) -> None:
    see = ImageClassifier(classifier("flat"), PREPROCESSING, "dense")
    mirrored = np.ascontiguousarray(image[:, ::-1])
    assert np.allclose(see(image), see(mirrored), atol=1e-4)  # the pixels are rounded
    alone = ImageClassifier(classifier("flat"), PREPROCESSING, "dense", mirror=False)
    assert not np.allclose(alone(image), alone(mirrored), atol=1e-3)


def slides(net: nn.Module) -> bool:
    pools = [m for m in net.modules() if isinstance(m, (nn.AvgPool2d, nn.MaxPool2d))]
    return any(pool.stride in (1, (1, 1)) for pool in pools)


@pytest.mark.parametrize(("kind", "window"), [("flat", False), ("affine", False), ("hard", True)])
def test_the_window_slides_where_the_mean_is_not_the_classifier_s(kind: str, window: bool) -> None:
    assert slides(dense_net(classifier(kind), NATIVE)) == window


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v2", "efficientnet_lite0", "squeezenet1_1"]
)
def test_an_affine_tail_has_the_mean_score_of_the_classifier(name: str) -> None:
    torch.manual_seed(0)
    net = randomise(build_classifier(name)).double().eval()
    image = torch.randn(1, 3, 256, 288, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected, cells = net(image), dense_net(net, 224)(image)
    assert cells[0, 0].numel() > 9
    assert (cells.mean((2, 3)) - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "alexnet"])
def test_other_tails_have_the_classifier_s_own_window(name: str) -> None:
    torch.manual_seed(0)
    net = randomise(build_classifier(name)).double().eval()
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        expected, cells = net(image), dense_net(net, 224)(image)
    assert cells.shape[2:] == (1, 1)
    assert (cells[:, :, 0, 0] - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize(
    ("photo", "names"),
    [("coffee", {"espresso"}), ("chelsea", {"tiger cat", "Egyptian cat", "tabby"})],
)
def test_photographs_are_named_in_every_mode(
    photograph: Callable[[str], np.ndarray], photo: str, names: set[str]
) -> None:
    net, preprocessing = build_classifier(LITE0, "auto"), describe(LITE0).preprocessing
    results = {
        mode: ImageClassifier(net, preprocessing, mode, mirror=False)(photograph(photo))
        for mode in ("center", "dense", "multicrop")
    }
    for probability in results.values():
        assert imagenet_classes()[probability.argmax()] in names
        assert probability.sum() == pytest.approx(1, abs=1e-5)
    assert not np.allclose(results["dense"], results["multicrop"], atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (200, 30), (3, 40)])
def test_small_and_long_images(size: tuple[int, int]) -> None:
    photo = np.full((*size, 3), 90, np.uint8)
    result = ImageClassifier(classifier("flat"), PREPROCESSING, "both")(photo)
    assert result.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("mode", ["center", "dense", "multicrop", "both"])
def test_the_callers_model_stays_as_it_was(image: np.ndarray, mode: str) -> None:
    net = classifier("affine").train()
    net[0].eval()
    modes = [module.training for module in net.modules()]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    see = ImageClassifier(net, PREPROCESSING, mode)
    first = see(image)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert np.array_equal(see(image), first)  # no dropout
    with torch.no_grad():
        net[0].weight.zero_()
    assert np.array_equal(see(image), first)


def test_a_broken_classifier_and_wrong_arguments_are_refused(image: np.ndarray) -> None:
    net = classifier("flat")
    with torch.no_grad():
        net[-1].bias.fill_(float("nan"))
    for mode in ("center", "dense", "multicrop"):
        with pytest.raises(NumericError, match="scores are not finite; check its weights"):
            ImageClassifier(net, PREPROCESSING, mode)(image)
    with pytest.raises(UsageError, match=r"image: expected an \(H, W, 3\) uint8"):
        ImageClassifier(net, PREPROCESSING)(image[..., 0])
    cases: list[tuple[str, Sequence[int], str]] = [
        ("dens", (50,), r"--mode: expected one of center, dense.*did you mean 'dense'"),
        ("center", (50,), "--scales: --mode center has one scale"),
        ("dense", (50, 42), "--scales 50,42: the classifier's window has 43 pixels"),
        ("dense", (), "--scales none: the classifier's window"),
    ]
    for mode, scales, message in cases:
        with pytest.raises(UsageError, match=message):
            ImageClassifier(net, PREPROCESSING, mode, scales)
