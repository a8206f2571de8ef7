"""``--model torchvision/NAME`` in predict, eval and heatmap, as a person types it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from segmentation import SMALLEST, difference, expected_scores, network, offline, photo, saved
from torch import nn
from torchvision import models

from fcnseg.cli import main
from fcnseg.data.voc import CLASSES
from fcnseg.palette import voc_palette

FCN50 = "torchvision/fcn_resnet50"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    net = network(SMALLEST)
    return net, saved(net, tmp_path_factory.mktemp("small"))


@pytest.fixture
def png(tmp_path: Path) -> tuple[np.ndarray, Path]:
    image, path = photo(70, 72), tmp_path / "photo.png"
    Image.fromarray(image).save(path)
    return image, path


def test_predict_gives_torchvision_s_own_masks(
    png: tuple[np.ndarray, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, path = png
    net = network(FCN50)
    words = ["--model", FCN50, "--weights", str(saved(net, tmp_path)), "--scores"]
    assert main(["predict", str(path), *words, "--out", str(tmp_path / "out")]) == 0
    expected = expected_scores(FCN50, net, image)
    with np.load(tmp_path / "out/photo.npz") as numbers:
        assert difference(numbers["score"], expected) < 1e-5
        assert tuple(numbers["classes"]) == CLASSES
    with Image.open(tmp_path / "out/photo.png") as mask:
        assert mask.size == (72, 70)
        assert mask.getpalette()[: 3 * 21] == [v for colour in voc_palette(21) for v in colour]
        labels = np.array(mask)
    assert np.mean(labels == expected.argmax(0)) > 0.999
    out, err = capsys.readouterr()
    for name in {CLASSES[i] for i in np.unique(labels)}:
        assert name in out
    assert f"{FCN50}: loaded, sees photographs at a short side of 520 pixels" in err


@pytest.mark.parametrize("command", ["predict", "heatmap", "eval"])
def test_without_file_and_network_one_line_says_where_to_get_them(
    command: str,
    png: tuple[np.ndarray, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    offline(monkeypatch, tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    words = ["--data-root", str(tmp_path)] if command == "eval" else [str(png[1])]
    assert main([command, *words, "--model", FCN50]) == 4
    err = capsys.readouterr().err
    url = models.get_model_weights("fcn_resnet50").DEFAULT.url
    assert err.startswith(f"error: {url}: download failed: Network is unreachable; ")
    assert err.count("\n") == 1
    file = tmp_path / "cache" / url.rpartition("/")[2]
    assert f"put the file by hand at {file} (sha256 beginning with 1167a1af)" in err
    assert "--weights FILE" in err
    assert "--weights none" not in err


def voc(folder: Path, net: nn.Module) -> list[np.ndarray]:
    """Two photographs in the layout of PASCAL VOC; truth is the network, but for a void band."""
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    truths = []
    for index, size in enumerate([(60, 80), (90, 64)]):
        path = folder / "JPEGImages" / f"{index}.jpg"
        Image.fromarray(photo(*size, seed=index)).save(path, quality=95)
        with Image.open(path) as stored:
            labels = expected_scores(SMALLEST, net, np.array(stored)).argmax(0).astype(np.uint8)
        labels[:10] = 255
        mask = Image.fromarray(labels)
        mask.putpalette([v for colour in voc_palette(256) for v in colour])
        mask.save(folder / "SegmentationClass" / f"{index}.png")
        truths.append(labels)
    (folder / "ImageSets/Segmentation/val.txt").write_text("0\n1\n")
    return truths


def test_eval_scores_voc(
    small: tuple[nn.Module, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net, file = small
    truths = voc(tmp_path / "VOC2012", net)
    words = ["--model", SMALLEST, "--weights", str(file), "--data", "voc", "--workers", "0"]
    assert main(["eval", *words, "--data-root", str(tmp_path), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["data"], scores["images"]) == ("voc/val", 2)
    assert scores["pixel_accuracy"] > 0.999
    assert scores["mean_iu"] > 0.9
    there = {CLASSES[i] for truth in truths for i in np.unique(truth) if i != 255}
    assert there <= {name for name, iu in scores["class_iu"].items() if iu is not None}


def test_eval_refuses_data_with_other_classes(
    small: tuple[nn.Module, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", SMALLEST, "--weights", str(small[1]), "--data", "shapes", "--workers", "0"]
    assert main(["eval", *words, "--val-length", "2"]) == 3
    err = capsys.readouterr().err.splitlines()[-1]
    assert "error: shapes/val: has 6 classes (background, circle" in err
    assert f"{SMALLEST} was trained on 21 (background, aeroplane, bicycle, bird and 17 more)" in err


def test_heatmap_shows_the_probabilities(
    small: tuple[nn.Module, Path],
    png: tuple[np.ndarray, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (image, path), (net, file) = png, small
    words = ["heatmap", str(path), "--model", SMALLEST, "--weights", str(file), "--json"]
    score = expected_scores(SMALLEST, net, image)
    probability = np.exp(score - score.max(0)) / np.exp(score - score.max(0)).sum(0)
    mean = probability.mean((1, 2))

    assert main([*words, "--top", "3", "--out", str(tmp_path)]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    best = np.argsort(-mean)[:3]
    assert [c["name"] for c in result["classes"]] == [CLASSES[i] for i in best]
    found = [c["probability"] for c in result["classes"]]
    assert found == pytest.approx(mean[best].tolist(), abs=1e-4)
    with np.load(tmp_path / "photo.npz") as numbers:
        assert difference(numbers["score"], score) < 1e-5
        assert numbers["stride"].tolist() == [1, 1]
        assert tuple(numbers["classes"]) == CLASSES
    assert (tmp_path / "photo.heatmap.png").is_file()

    assert main([*words, "--classes", "cat,sofa", "--out", str(tmp_path)]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in result["classes"]] == ["cat", "sofa"]


def test_photographs_that_cannot_be_scaled_are_passed_over(
    small: tuple[nn.Module, Path],
    png: tuple[np.ndarray, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    strip = tmp_path / "a_strip.png"
    Image.new("RGB", (1500, 2)).save(strip)
    words = ["--model", SMALLEST, "--weights", str(small[1]), "--out", str(tmp_path / "out")]
    for command in ("predict", "heatmap"):
        assert main([command, str(strip), str(png[1]), *words]) == 3
        err = capsys.readouterr().err
        assert f"error: {strip}: 1500x2 px would be scaled to 390000x520; crop it" in err
        assert "1 of 2 images were passed over" in err


TWO = "--checkpoint, --model: name two networks; give one of them"


@pytest.mark.parametrize(
    ("command", "words", "code", "message"),
    [
        ("predict", [], 2, "--checkpoint: missing; give the file of a network of fcnseg train, or"),
        ("eval", ["--weights", "x.pth"], 2, "or --model torchvision/fcn_resnet50 for one with"),
        ("predict", ["--model", FCN50, "--checkpoint", "x"], 2, TWO),
        ("eval", ["--model", FCN50, "--checkpoint", "x"], 2, TWO),
        ("heatmap", ["--model", FCN50, "--checkpoint", "x"], 2, TWO),
        ("heatmap", ["--model", FCN50, "--backbone", "vgg16"], 2, "--backbone: the network of"),
        ("heatmap", ["--model", FCN50, "--size", "300"], 2, "--size: the network of --model has"),
        ("predict", ["--checkpoint", "x", "--weights", "y"], 2, "--weights: the network of --che"),
        ("predict", ["--model", FCN50, "--weights", "none"], 2, "--weights none: a network with"),
        ("predict", ["--model", FCN50, "--weights", "no.pth"], 4, "no.pth: there is no such file"),
        ("eval", ["--model", "torchvision/vgg16"], 2, "torchvision/vgg16: a classifier, not a se"),
        ("heatmap", ["--model", "torchvision/fcn"], 2, "torchvision/fcn: unknown; "),
        ("predict", ["--model", "best.safetensors"], 2, "is a file; give it by --checkpoint"),
    ],
)
def test_refusals_are_one_line(
    command: str,
    words: list[str],
    code: int,
    message: str,
    png: tuple[np.ndarray, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("best.safetensors").touch()
    photographs = [] if command == "eval" else [str(png[1])]
    assert main([command, *photographs, *words]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
