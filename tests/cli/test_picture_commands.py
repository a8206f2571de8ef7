"""``heatmap``, ``predict`` and ``demo`` as a person runs them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from networks import sky_cat_tree
from PIL import Image

from fcnseg.cli import demo, main
from fcnseg.config import Size, TrainConfig
from fcnseg.engine.checkpoint import save_model


@pytest.fixture
def cat(tmp_path: Path, photograph: Callable[[str], np.ndarray]) -> Path:
    path = tmp_path / "chelsea.jpg"
    Image.fromarray(photograph("chelsea")).save(path, quality=95)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "best.safetensors"
    save_model(path, sky_cat_tree())
    return path


def test_heatmap_writes_the_figure_and_the_numbers(
    cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = cat.read_bytes()
    assert main(["heatmap", str(cat), "--out", str(tmp_path / "out"), "--top", "2"]) == 0
    assert "Egyptian cat" in capsys.readouterr().out
    with Image.open(tmp_path / "out/chelsea.heatmap.png") as figure:
        assert figure.width > 600
    with np.load(tmp_path / "out/chelsea.npz") as numbers:
        assert numbers["score"].shape == (1000, 8, 12)  # 256 px at stride 32
        assert numbers["score"].dtype == np.float32
        assert list(numbers["classes"])[281:286][-1] == "Egyptian cat"
        assert numbers["stride"] == pytest.approx([32 * 300 / 256, 32 * 451 / 384])
        assert numbers["offset"].shape == (2,)
    assert cat.read_bytes() == before


def test_heatmap_of_named_classes_in_json(
    cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["heatmap", str(cat), "--out", str(tmp_path), "--json", "--classes", "tabby,espresso"]
    assert main([*words, "--size", "native"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    assert [c["name"] for c in result["classes"]] == ["tabby", "espresso"]
    assert result["classes"][0]["probability"] > result["classes"][1]["probability"]
    assert all(Path(file).is_file() for file in result["written"])


def test_heatmap_of_a_trained_network(cat: Path, tmp_path: Path, checkpoint: Path) -> None:
    words = ["heatmap", str(cat), "--checkpoint", str(checkpoint), "--out", str(tmp_path)]
    assert main([*words, "--classes", "sky,cat"]) == 0
    with np.load(tmp_path / "chelsea.npz") as numbers:
        assert numbers["score"].shape == (3, 300, 451)
        assert list(numbers["classes"]) == ["sky", "cat", "tree"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--classes", "Egyptn cat"], 2, "did you mean 'Egyptian cat'"),
        (["--top", "0"], 2, "--top: expected 1 to 30 classes, got 0"),
        (["--classes", "a"], 2, "classes have this in their names ("),
        (["--classes", ""], 2, "--classes '': no class has this in its name"),
        (["--weights", "none"], 2, "--weights none: a network without weights sees nothing"),
        (
            ["--checkpoint", "x", "--backbone", "vgg16"],
            2,
            "--backbone: the network of",
        ),
        (["--size", "big"], 2, "--size big: expected a number of pixels from 32 up, or native"),
        (["--backbone", "resnet19"], 2, "--backbone resnet19: unknown; did you mean"),
        (["--weights", "nothing.pth"], 4, "nothing.pth: there is no such file"),
        (["--checkpoint", "nothing.safetensors"], 4, "nothing.safetensors: no such file"),
        (
            ["--checkpoint", "x", "--size", "99"],
            2,
            "--size: the network of",
        ),
    ],
)
def test_heatmap_refusals_are_one_line(
    cat: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["heatmap", str(cat), *words]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_heatmap_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heatmap", str(tmp_path / "none.jpg")]) == 3
    assert "no such file or folder" in capsys.readouterr().err
    assert main(["heatmap", str(tmp_path)]) == 3
    assert "no images in this folder" in capsys.readouterr().err


def test_predict_writes_palette_masks_overlays_and_scores(
    cat: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["predict", str(cat), "--checkpoint", str(checkpoint), "--out", str(out), "--scores"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "pixels %" in text
    assert f"wrote mask and overlay and scores of 1 image to {out}" in text
    with Image.open(out / "chelsea.png") as mask:
        assert mask.mode == "P"
        assert mask.size == (451, 300)
        labels = np.array(mask)
    with np.load(out / "chelsea.npz") as numbers:
        assert np.array_equal(numbers["score"].argmax(0), labels)
    with Image.open(out / "chelsea.overlay.jpg") as overlay:
        assert overlay.width == 451


def test_bad_files_are_passed_over_and_said(
    cat: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "c.jpg"):
        (folder / name).write_bytes(cat.read_bytes())
    (folder / "b.jpg").write_bytes(cat.read_bytes()[:3000])
    out = tmp_path / "out"
    words = ["predict", str(folder), "--checkpoint", str(checkpoint), "--out", str(out)]
    assert main([*words, "--json"]) == 3
    printed = capsys.readouterr()
    assert [Path(r["image"]).name for r in json.loads(printed.out)] == ["a.jpg", "c.jpg"]
    assert f"error: {folder / 'b.jpg'}: " in printed.err
    assert "1 of 3 images were passed over" in printed.err
    assert sorted(p.name for p in out.iterdir()) == [
        "a.overlay.jpg", "a.png", "c.overlay.jpg", "c.png",
    ]  # fmt: skip
    (folder / "a.png").write_bytes(cat.read_bytes())
    assert main(words) == 2
    assert "their results would have one name" in capsys.readouterr().err


def test_photographs_are_never_replaced(
    cat: Path, tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    with Image.open(cat) as image:
        image.save(folder / "cat.png")
    before = (folder / "cat.png").read_bytes()
    words = ["predict", str(folder), "--checkpoint", str(checkpoint), "--out", str(folder)]
    assert main(words) == 2
    assert "cat.png is one of the photographs and would be replaced" in capsys.readouterr().err
    assert (folder / "cat.png").read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["cat.png"]


def test_pictures_of_ours_in_a_folder_are_no_photographs(
    cat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cat.parent / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_bytes(cat.read_bytes())
    for _ in range(2):
        assert main(["heatmap", str(folder), "--top", "1", "--out", str(folder)]) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["cat.heatmap.png", "cat.jpg", "cat.npz"]


def test_a_long_strip_and_a_huge_image_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8000, 8)).save(tmp_path / "strip.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    assert main(["heatmap", str(tmp_path), "--max-pixels", "100", "--out", str(tmp_path)]) == 3
    assert "raise --max-pixels" in capsys.readouterr().err
    assert main(["heatmap", str(tmp_path / "strip.png"), "--out", str(tmp_path)]) == 3
    err = capsys.readouterr().err
    assert "strip.png: 8000x8 px would be scaled to 256 by 256000" in err


def test_demo_runs_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = demo.demo_config

    def small(folder: Path, seed: int, device: str) -> TrainConfig:
        return TrainConfig(**{
            **vars(whole(folder, seed, device)),
            "train_length": 4, "val_length": 2, "batch_size": 2, "epochs": 1, "workers": 0,
            "image_size": Size(64, 64),
        })  # fmt: skip

    monkeypatch.setattr(demo, "demo_config", small)
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--device", "cpu"]) == 0
    text = capsys.readouterr().out
    assert "military uniform" in text
    assert "mean IU on unseen shapes:" in text
    for name in (
        "grace_hopper.heatmap.png", "grace_hopper.npz", "predictions.png",
        "shapes/best.safetensors", "shapes/curves.png", "predictions/shapes-0.png",
        "predictions/shapes-0.overlay.jpg", "predictions/shapes-0.heatmap.png",
    ):  # fmt: skip
        assert (out / name).is_file(), name
    before = (out / "shapes/best.safetensors").read_bytes()
    assert main(["demo", "--out", str(out)]) == 2
    assert "holds a demo already; give --overwrite" in capsys.readouterr().err
    assert (out / "shapes/best.safetensors").read_bytes() == before


@pytest.mark.slow
def test_demo_learns_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 0
    metrics = json.loads((tmp_path / "demo/shapes/metrics.json").read_text())
    assert metrics["best"]["mean_iu"] > 0.8
