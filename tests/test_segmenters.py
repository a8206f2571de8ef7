"""torchvision's segmentation networks: the same numbers as torchvision's own, and the refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from segmentation import SMALLEST, difference, expected_scores, network, offline, photo, saved
from torch import Tensor, nn
from torchvision import models

import fcnseg
from fcnseg.cli.progress import Progress
from fcnseg.data.loading import evaluation_loader
from fcnseg.data.sample import Sample
from fcnseg.data.voc import CLASSES
from fcnseg.engine.evaluate import evaluate
from fcnseg.errors import DataError, NumericError, UsageError, WeightsError
from fcnseg.inference.heatmap import segmenter_maps
from fcnseg.palette import voc_palette
from fcnseg.preprocessing import Preprocessing
from fcnseg.segmenters import (
    describe_segmenter,
    load_segmenter,
    segmenter_weights_at_hand,
    segmenters,
)

DEEPLAB = "torchvision/deeplabv3_mobilenet_v3_large"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    net = network(SMALLEST)
    return net, saved(net, tmp_path_factory.mktemp("small"))


def test_the_names_are_all_that_torchvision_has() -> None:
    theirs = models.list_models(module=models.segmentation)
    assert sorted(segmenters()) == sorted(f"torchvision/{name}" for name in theirs)


@pytest.mark.parametrize("name", segmenters())
def test_the_classes_are_voc_s_in_order(name: str) -> None:
    info = describe_segmenter(name)
    assert info.classes == CLASSES
    assert info.num_classes == 21
    assert info.palette == voc_palette(21)
    assert info.short_side == 520
    assert info.url == models.get_model_weights(name.partition("/")[2]).DEFAULT.url
    assert info.sha256 in info.url
    assert len(info.sha256) == 8


@pytest.mark.parametrize("size", [(520, 520), (520, 601), (300, 371), (900, 640), (37, 31), (1, 1)])
def test_a_photograph_is_scored_as_torchvision_scores_it(
    small: tuple[nn.Module, Path], size: tuple[int, int]
) -> None:
    net, file = small
    predictor = fcnseg.Predictor(load_segmenter(SMALLEST, file), device="cpu")
    image = photo(*size)
    result = predictor(image)
    expected = expected_scores(SMALLEST, net, image)
    assert result.labels.shape == size
    assert result.scores is not None
    if size == (1, 1):
        # One colour: the scores nearly vanish, and are compared with the largest.
        assert np.abs(result.scores - expected).max() < 1e-4 * np.abs(expected).max()
        return
    assert difference(result.scores, expected) < 1e-5
    assert np.array_equal(result.labels, result.scores.argmax(0))
    assert len(np.unique(result.labels)) > 1


class Echo(nn.Module):
    """A "network" whose scores are the colours it is given."""

    class info:
        classes, num_classes, palette = ("r", "g", "b"), 3, voc_palette(3)
        preprocessing = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0)
        short_side = 520

    def forward(self, x: Tensor) -> Tensor:
        assert min(x.shape[2:]) == 520
        return x


@pytest.mark.parametrize("size", [(96, 128), (128, 96), (1040, 1300)])
def test_scores_lie_where_the_photograph_has_what_they_score(size: tuple[int, int]) -> None:
    # On slopes scaling is exact but for the rounding to 8 bits; half a cell beside would show.
    rows, columns = np.mgrid[: size[0], : size[1]] * (250 / max(size))
    image = np.stack([rows, columns, np.zeros(size)], 2).round().astype(np.uint8)
    scores = fcnseg.Predictor(Echo(), device="cpu")(image).scores
    assert scores is not None
    off = np.abs(scores - np.stack([rows, columns, np.zeros(size)]))[:, 3:-3, 3:-3]
    assert off.max() < 1
    assert off.mean() < 0.3
    bias = (scores - np.stack([rows, columns, np.zeros(size)]))[:, 3:-3, 3:-3].mean((1, 2))
    assert np.abs(bias).max() < 0.02


@pytest.mark.parametrize(
    ("name", "auxiliary"),
    [
        (DEEPLAB, False),
        (DEEPLAB, True),
        ("torchvision/fcn_resnet50", True),
        ("torchvision/deeplabv3_resnet50", False),
        pytest.param("torchvision/fcn_resnet101", True, marks=pytest.mark.slow),
        pytest.param("torchvision/deeplabv3_resnet101", True, marks=pytest.mark.slow),
    ],
)
def test_forward_is_torchvision_s_output(name: str, auxiliary: bool, tmp_path: Path) -> None:
    net = network(name, auxiliary)
    state = torch.get_rng_state()
    model = load_segmenter(name, saved(net, tmp_path))
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    image = torch.randn(1, 3, 49, 65, generator=torch.Generator().manual_seed(1)).double()
    with torch.inference_mode():
        found, expected = model.double()(image), net.double()(image)["out"]
    assert found.shape == (1, 21, 49, 65)
    assert difference(found.numpy()[0], expected.numpy()[0]) < 1e-12
    assert not [n for n in model.state_dict() if n.startswith("aux_classifier")]


def test_a_file_without_the_counters_loads(small: tuple[nn.Module, Path], tmp_path: Path) -> None:
    state = small[0].state_dict()
    old = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    torch.save(old, tmp_path / "old.pth")
    loaded = load_segmenter(SMALLEST, tmp_path / "old.pth").state_dict()
    assert all(torch.equal(loaded[n], t) for n, t in old.items())
    assert all(int(t) == 0 for n, t in loaded.items() if n not in old)


class Labelled:
    """Photographs, and as their truth the labels given, with a band of class 5."""

    name, classes, palette = "labelled", CLASSES, voc_palette(21)

    def __init__(self, images: list[np.ndarray], labels: list[np.ndarray]) -> None:
        self.images, self.labels = images, [np.array(label, np.int64) for label in labels]
        for label in self.labels:
            label[:20] = 5

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Sample(self.images[index], self.labels[index], str(index))


def test_evaluation_in_batches_counts_what_prediction_gives(
    small: tuple[nn.Module, Path],
) -> None:
    model = load_segmenter(SMALLEST, small[1])
    images = [photo(97, 130, seed) for seed in range(2)]
    predictor = fcnseg.Predictor(model, device="cpu")
    predicted = [predictor(image, scores=False).labels for image in images]
    source = Labelled(images, predicted)
    confusion = evaluate(model, evaluation_loader(source, 2), torch.device("cpu"))
    expected = np.zeros((21, 21), np.int64)
    for truth, labels in zip(source.labels, predicted, strict=True):
        np.add.at(expected, (truth, labels), 1)
    found = np.asarray(confusion.counts)
    assert found.sum() == 2 * 97 * 130
    # The convolutions of a batch may round otherwise, which turns a tie.
    assert np.abs(found - expected).sum() <= 4


def test_mixed_precision_gives_nearly_the_same_in_float32(tmp_path: Path) -> None:
    net = network(DEEPLAB)
    model = load_segmenter(DEEPLAB, saved(net, tmp_path))
    image = photo(130, 97)
    plain = fcnseg.Predictor(model, device="cpu")(image).scores
    mixed = fcnseg.Predictor(model, device="cpu", precision="bf16")(image).scores
    assert plain is not None
    assert mixed is not None
    assert mixed.dtype == np.float32
    assert 0 < difference(mixed, plain) < 0.5
    # Upsampled in float32: bfloat16 would leave steps, at most a few hundred values.
    assert len(np.unique(mixed[0])) > 3000


def test_maps_of_classes_are_the_softmax_of_each_pixel(small: tuple[nn.Module, Path]) -> None:
    net, file = small
    image = photo(120, 90)
    maps = segmenter_maps(fcnseg.Predictor(load_segmenter(SMALLEST, file), device="cpu"), image)
    probability = torch.from_numpy(expected_scores(SMALLEST, net, image)).softmax(0)
    assert maps.classes == CLASSES
    assert (maps.stride, maps.offset) == ((1, 1), (0, 0))
    assert maps.image_score == pytest.approx(probability.mean((1, 2)).numpy(), abs=1e-5)
    laid = maps.probabilities([8, 12], (120, 90))
    assert np.allclose(laid, probability[[8, 12]].numpy(), atol=1e-5)


@pytest.mark.parametrize("name", segmenters())
def test_offline_names_address_place_and_way_out(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch, tmp_path)
    with pytest.raises(WeightsError) as raised:
        load_segmenter(name)
    text = str(raised.value)
    url = models.get_model_weights(name.partition("/")[2]).DEFAULT.url
    file = url.rpartition("/")[2]
    assert text.startswith(f"{url}: download failed: Network is unreachable; ")
    assert f"put the file by hand at {tmp_path / file} (sha256 beginning with" in text
    assert text.endswith("or give your own copy by --weights FILE")
    assert "\n" not in text
    assert segmenter_weights_at_hand(name) is None


def test_published_weights_come_from_the_cache(
    small: tuple[nn.Module, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def fetch(*asked_for: object, progress: Callable[[int, int | None], None], **_: object) -> Path:
        asked.append(asked_for)
        progress(1_000_000, 13_000_000)
        return small[1]

    monkeypatch.setattr("fcnseg.segmenters.fetch", fetch)
    seen: list[tuple[int, int | None]] = []
    model = load_segmenter(SMALLEST, progress=lambda done, total: seen.append((done, total)))
    weights = models.get_model_weights("lraspp_mobilenet_v3_large").DEFAULT
    assert asked == [(weights.url, "d234d4ea")]
    assert seen == [(1_000_000, 13_000_000)]
    assert torch.equal(next(model.parameters()), next(small[0].parameters()))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision/fcn_resnet51", r"fcn_resnet51: unknown; did you mean 'fcn_resnet50'\?; exp"),
        ("torchvision/vgg16", "vgg16: a classifier, not .*heatmap --backbone vgg16` shows"),
        ("vgg16", "vgg16: a classifier, not .*train --backbone vgg16`"),
        ("timm/resnet50", "a classifier, not .*--backbone timm/resnet50`"),
        ("fcn_resnet101", r"did you mean 'torchvision/fcn_resnet101'\?"),
        ("unet", "unet: unknown; expected torchvision/ and one of fcn_resnet50, fcn_resnet101, de"),
        ("", "--model : unknown; expected"),
    ],
)
def test_other_names_are_refused_with_a_hint(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load_segmenter(name, "never-read.pth")
    assert "\n" not in str(raised.value)


def damaged(state: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    first = next(iter(state))
    match kind:
        case "missing":
            return {n: t for n, t in state.items() if n != first}
        case "unexpected":
            return {**state, "aux_classifier.0.weight": torch.zeros(3)}
        case "reshaped":
            return {**state, first: torch.zeros(16, 3, 5, 5)}
    return {**state, first: torch.full_like(state[first], float("nan"))}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", r"does not fit this network of \d+ tensors: 1 missing \(backbone.0.0.weight\)"),
        ("unexpected", r"1 unexpected \(aux_classifier.0.weight\)"),  # it never had one
        ("reshaped", r"backbone.0.0.weight: \(16, 3, 5, 5\) in the file, \(16, 3, 3, 3\) in the"),
        ("broken", r"NaN or infinity in 1 tensors \(backbone.0.0.weight\)"),
    ],
)
def test_every_other_tensor_must_fit(
    small: tuple[nn.Module, Path], tmp_path: Path, kind: str, message: str
) -> None:
    torch.save(damaged(small[0].state_dict(), kind), tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=message) as raised:
        load_segmenter(SMALLEST, tmp_path / "bad.pth")
    assert str(raised.value).startswith(str(tmp_path / "bad.pth"))


def test_files_that_are_none(small: tuple[nn.Module, Path], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: there is no such file"):
        load_segmenter(SMALLEST, tmp_path / "none.pth")
    (tmp_path / "half.pth").write_bytes(small[1].read_bytes()[:5000])
    with pytest.raises(WeightsError, match=r"half\.pth: .*(truncated|refused)"):
        load_segmenter(SMALLEST, tmp_path / "half.pth")
    with pytest.raises(WeightsError, match=r"mine\.pth: does not fit this network"):
        load_segmenter(DEEPLAB, small[1])


def test_what_cannot_be_scored_is_named(small: tuple[nn.Module, Path]) -> None:
    model = load_segmenter(SMALLEST, small[1])
    with pytest.raises(UsageError, match=r"lraspp_mobilenet_v3_large: expected an \(N, 3, H, W\)"):
        model(torch.zeros(3, 40, 40))
    predictor = fcnseg.Predictor(model, device="cpu")
    strip = np.zeros((2, 2000, 3), np.uint8)
    with pytest.raises(
        DataError, match=r"strip\.png: 2000x2 px would be scaled to 520000x520; crop"
    ):
        predictor(strip, name="strip.png")
    with torch.no_grad():
        model.classifier.low_classifier.bias.fill_(float("nan"))
    with pytest.raises(NumericError, match=r"photo\.jpg: the network's scores are not finite"):
        predictor(photo(20, 20), name="photo.jpg")


def test_progress_of_a_download_has_words(capsys: pytest.CaptureFixture[str]) -> None:
    from fcnseg.engine.events import Downloading

    with Progress(seconds_between_lines=0) as progress:
        progress(Downloading(3_000_000, 13_000_000))
    assert capsys.readouterr().err == "downloading weights: 3 of 13 MB\n"


def test_float8_weights_are_refused(small: tuple[nn.Module, Path], tmp_path: Path) -> None:
    state = small[0].state_dict()
    first = next(iter(state))
    torch.save({**state, first: state[first].to(torch.float8_e4m3fn)}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=r"bad\.pth: .*1 of another type \(backbone") as raised:
        load_segmenter(SMALLEST, tmp_path / "bad.pth")
    assert "\n" not in str(raised.value)
