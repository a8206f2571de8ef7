"""``fcnseg.heatmap``: every kind of picture and of network, every kind of file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import sky_cat_tree
from PIL import Image
from torch import nn

import fcnseg
from fcnseg.engine.checkpoint import save_model
from fcnseg.errors import UsageError, WeightsError
from fcnseg.heatmaps import choose_classes, open_network
from fcnseg.inference.heatmap_result import Heatmap
from fcnseg.inference.mapper import ClassifierMapper
from fcnseg.own_classifier import build_own_classifier

CLASSES = ("sky", "cat", "tree")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    y, x = np.mgrid[:90, :120]
    waves = [127 + 100 * np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def lite0() -> ClassifierMapper:
    mapper = open_network(size=128, device="cpu")
    assert isinstance(mapper, ClassifierMapper)
    return mapper


@pytest.fixture(scope="module")
def model() -> fcnseg.FCN:
    return sky_cat_tree()


@pytest.fixture(scope="module")
def result(image: np.ndarray, model: fcnseg.FCN) -> Heatmap:
    return fcnseg.heatmap(image, model, classes="all", device="cpu")


def test_array_pil_path_and_tensor_give_the_same(
    image: np.ndarray, lite0: ClassifierMapper, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = fcnseg.heatmap(image, lite0)
    for picture in (path, str(path), Image.open(path), tensor):
        got = fcnseg.heatmap(picture, lite0)
        assert np.array_equal(got.maps.score, expected.maps.score)
        assert got.ids == expected.ids
    assert fcnseg.heatmap(path, lite0).name == "a.png"


def test_networks_of_every_kind(image: np.ndarray, model: fcnseg.FCN, tmp_path: Path) -> None:
    whole = fcnseg.heatmap(image, model, top=2, device="cpu")
    assert whole.maps.score.shape == (3, 90, 120)
    assert whole.palette == model.info.palette
    save_model(tmp_path / "best.safetensors", model)
    predictor = fcnseg.Predictor(model, device="cpu")
    for network in (tmp_path / "best.safetensors", predictor):
        again = fcnseg.heatmap(image, network, top=2, device="cpu")
        assert np.array_equal(again.maps.score, whole.maps.score)
    own = build_own_classifier("small_cnn", ("disc", "square")).eval()
    save_model(tmp_path / "own.safetensors", own)
    for network in (own, tmp_path / "own.safetensors"):
        got = fcnseg.heatmap(image, network, classes=["square"], size="native", device="cpu")
        assert got.classes == ("square",)
        assert got.maps.field is not None
        assert got.palette is None


def test_a_plain_classifier(image: np.ndarray) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 7, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    got = fcnseg.heatmap(image, net, top=2, size="native", device="cpu")
    assert got.maps.classes == ("class 0", "class 1", "class 2", "class 3")
    assert got.maps.stride == (4, 4)
    assert got.maps.offset == (0, 0)
    assert got.maps.field == (7, 7)
    assert not got.maps.sees_all


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.svg", "a.pdf", "a.npz", "a.html"])
def test_every_file_is_written_and_the_same_each_time(
    result: Heatmap, tmp_path: Path, name: str
) -> None:
    first = result.save(tmp_path / name, "raw", "margin").read_bytes()
    again = result.save(tmp_path / ("b" + name), "raw", "margin").read_bytes()
    assert first == again
    assert sorted(p.name for p in tmp_path.iterdir()) == [name, "b" + name]
    if name.endswith(("png", "jpg")):
        with Image.open(tmp_path / name) as picture:
            assert np.asarray(picture).shape == result.picture("raw", "margin").shape
    elif name.endswith("npz"):
        with np.load(tmp_path / name) as numbers:
            assert set(numbers) == {"score", "classes", "stride", "offset"}
            assert np.array_equal(numbers["score"], result.maps.score)
    else:
        for word in ("tree",) if name.endswith("html") else ():
            assert word.encode() in first


@pytest.mark.filterwarnings("error")
def test_read_only_pixels_make_no_noise(image: np.ndarray, lite0: ClassifierMapper) -> None:
    locked = image.copy()
    locked.setflags(write=False)
    got = fcnseg.heatmap(locked, lite0)
    assert np.array_equal(lite0(image).score, got.maps.score)
    assert got != fcnseg.heatmap(image, lite0), "arrays are not compared one by one"


def test_kinds_and_uncertainty_differ_and_inputs_stay(result: Heatmap, image: np.ndarray) -> None:
    before = image.copy()
    pictures = [
        result.picture(kind, uncertainty)
        for kind in ("probability", "raw")
        for uncertainty in (None, "entropy", "margin")
    ]
    assert len({picture.tobytes() for picture in pictures}) == 6
    assert np.array_equal(image, before)
    assert result._repr_png_().startswith(b"\x89PNG")


def test_the_winner_is_shown_where_all_classes_are(result: Heatmap) -> None:
    sheet = result._sheet("probability", None, 80 * 60)
    (winner,) = sheet.pictures
    assert winner[0] == "winner"
    assert [panel.swatch for panel in sheet.panels] == list(result.palette or ())
    probability = np.stack([panel.values for panel in sheet.panels])
    outlined = np.stack([panel.lead for panel in sheet.panels]) > 0
    wins = (probability > 0.1) & (probability == probability.max(0))
    assert (outlined == wins).mean() > 0.999
    some = Heatmap(result.image, result.maps, result.ids[:2], result.palette)
    assert some._sheet("probability", None, 80 * 60).pictures == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "^top: expected 1 to 30 classes, got 0"),
        ({"top": "3"}, "^top: expected 1 to 30 classes, got '3'"),
        ({"classes": "all"}, "^classes all: the network has 1000 classes, one sheet"),
        ({"classes": []}, "^classes: expected names or ids, got none; leave it out"),
        ({"classes": [1.5]}, r"^classes: expected names or ids, got \[1\.5\]"),
        ({"classes": [1000]}, "^classes: expected ids from 0 to 999, got 1000"),
        ({"size": "foo"}, "^size foo: expected a number of pixels from 32 up, or native"),
        ({"size": -5}, "^size -5: expected"),
        ({"size": 0}, "^size 0: expected"),
        ({"size": 31}, "^size 31: expected"),
        ({"stride": "8"}, "^stride: expected a whole number of pixels, got '8'"),
        ({"classes": "Egyptn cat"}, "did you mean 'Egyptian cat'"),
        ({"classes": "a"}, r"classes have this in their names \(.*; write more of the name"),
        ({"stride": 8}, "stride: the network is open already; leave it out"),
    ],
)
def test_wrong_wishes_of_a_classifier(
    image: np.ndarray, lite0: ClassifierMapper, options: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        fcnseg.heatmap(image, lite0, **options)


def test_wrong_networks_and_files(
    image: np.ndarray, model: fcnseg.FCN, result: Heatmap, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"^network resnet19: unknown; did you mean"):
        fcnseg.heatmap(image, "resnet19")
    with pytest.raises(WeightsError, match=r"none\.safetensors: no such file"):
        fcnseg.heatmap(image, "none.safetensors")
    with pytest.raises(UsageError, match="size: the network has its own; leave it out"):
        fcnseg.heatmap(image, model, size=99, device="cpu")
    with pytest.raises(UsageError, match=r"network: expected a name, .* got list"):
        fcnseg.heatmap(image, [])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"a\.gif: expected a name that ends in \.png, "):
        result.save(tmp_path / "a.gif")
    with pytest.raises(UsageError, match="kind: expected one of probability, raw, got 'hot'"):
        result.picture("hot")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"uncertainty: expected one of .*did you mean 'entropy'"):
        result.picture("raw", "entropie")  # type: ignore[arg-type]


def test_classes_by_name() -> None:
    assert choose_classes(None, CLASSES) is None
    assert choose_classes("all", CLASSES) == [0, 1, 2]
    assert choose_classes("tree, sk", CLASSES) == [2, 0]
    assert choose_classes(["cat"], CLASSES) == [1]
    assert choose_classes([2, "sky", np.int64(2)], CLASSES) == [2, 0]
    assert choose_classes(np.array([1, 0]), CLASSES) == [1, 0]  # type: ignore[arg-type]
    assert choose_classes(1, CLASSES) == [1]
