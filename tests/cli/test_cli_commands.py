"""The commands on small real data, through the command line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from networks import narrow
from PIL import Image

from fcnseg.cli import main
from fcnseg.config import TrainConfig, load_config

SMALL = [
    *("--data", "shapes", "--image-size", "48x48", "--train-length", "5", "--val-length", "2"),
    *("--workers", "0", "--device", "cpu"),
]
NETWORK = ["--backbone", "efficientnet_lite0", "--weights", "none", "--variant", "32s"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    words = ["train", *SMALL, *NETWORK, "--epochs", "1", "--run", str(folder)]
    assert main(words) == 0
    return folder


def test_train_says_what_it_wrote(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", *SMALL, *NETWORK, "--epochs", "1", "--run", str(trained), "--overwrite"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    for name in re.findall(r"wrote (\S+)", out):
        assert Path(name).exists()
    assert out.count("wrote ") == 6
    assert "mean IU" in out
    assert "training on 5 images, validating on 2" in err
    assert "the last batch of an epoch would hold one image and is left out" in err


def test_resume_needs_only_the_folder(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "best.safetensors").read_bytes()
    assert main(["train", "--run", str(trained), "--resume"]) == 0
    assert "all 1 epochs are done already" in capsys.readouterr().err
    assert (trained / "best.safetensors").read_bytes() == before

    assert main(["train", "--run", str(trained), "--resume", "--lr", "0.5"]) == 2
    assert "cannot be resumed with other settings (lr: 0.0001 -> 0.5)" in capsys.readouterr().err


def test_an_existing_run_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL, *NETWORK, "--run", str(trained)]) == 2
    assert f"error: {trained}: exists already; give --resume" in capsys.readouterr().err


def test_print_config_is_a_complete_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--print-config", "--batch-size", "3", "--crop-size", "64"]) == 0
    path = tmp_path / "x.yaml"
    path.write_text(capsys.readouterr().out)
    expected = load_config(TrainConfig, None, {"batch_size": 3, "crop_size": "64x64"})
    assert load_config(TrainConfig, path, {}) == expected


def test_missing_data_is_named_with_ways_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--backbone", "vgg16", "--variant", "8s", "--run", str(tmp_path / "r")]
    assert main(words) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--data-root" in error
    assert "--data shapes" in error
    assert not (tmp_path / "r").exists()


def test_eval_prints_json_and_tables(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "--checkpoint", str(trained / "best.safetensors"), *SMALL]
    assert main([*words, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    metrics = json.loads((trained / "metrics.json").read_text())
    assert scores["mean_iu"] == metrics["mean_iu"]
    assert scores["class_iu"] == metrics["class_iu"]
    assert scores["images"] == 2
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "frequency-weighted IU" in out
    assert "background" in out


def write_pairs(folder: Path, count: int = 3, value: int = 1) -> list[str]:
    numbers = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        image = numbers.integers(0, 255, (20, 30, 3), np.uint8)
        mask = np.zeros((20, 30), np.uint8)
        mask[:, index + 1 :] = value
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
    where = ["--images", str(folder / "images"), "--masks", str(folder / "masks")]
    return ["--data", "folder", *where]


def test_eval_refuses_data_with_other_classes(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [*write_pairs(tmp_path), "--classes", "a,b"]
    assert main(["eval", "--checkpoint", str(trained / "best.safetensors"), *pairs]) == 3
    error = capsys.readouterr().err
    assert "folder: has 2 classes" in error
    assert "was trained on" in error
    assert error.count("\n") == 1


def test_eval_refuses_a_damaged_checkpoint(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes((trained / "best.safetensors").read_bytes()[:5000])
    assert main(["eval", "--checkpoint", str(path), *SMALL]) == 4
    assert f"error: {path}: not a complete safetensors file" in capsys.readouterr().err


def test_training_on_own_pairs_with_a_class_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "classes.txt").write_text("# comment\nbackground 0 0 0\ngreen thing 0 255 0\n")
    pairs = [*write_pairs(tmp_path), "--classes", str(tmp_path / "classes.txt")]
    run = str(tmp_path / "run")
    words = ["train", *pairs, *NETWORK, "--epochs", "1", "--crop-size", "32", "--workers", "0"]
    assert main([*words, "--run", run]) == 0
    out, err = capsys.readouterr()
    assert "green thing" in out
    assert "training on 2 images, validating on 1" in err


def test_check_passes_good_data_and_lists_every_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_pairs(tmp_path / "good")
    assert main(["check", *good, "--classes", "a,b"]) == 0
    assert "no errors" in capsys.readouterr().out

    bad = write_pairs(tmp_path / "bad", value=7)
    (tmp_path / "bad" / "images" / "0.png").write_bytes(b"")
    assert main(["check", *bad, "--classes", "a,b"]) == 3
    out = capsys.readouterr().out
    assert out.count("error: ") >= 3
    assert "images/0.png" in out
    assert "masks/2.png" in out

    assert main(["check", *bad, "--classes", "a,b", "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["sets"][0]["errors"] >= 3


def test_check_finds_the_same_image_in_both_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [*write_pairs(tmp_path), "--classes", "a,b"]
    again = ["--val-images", str(tmp_path / "images"), "--val-masks", str(tmp_path / "masks")]
    assert main(["check", *pairs, *again]) == 3
    out = capsys.readouterr().out
    assert "error: 0: is the same image as '0' of folder" in out


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "efficientnet_lite0" in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["vgg16"]["parameters"] == 138357544
    assert rows["vgg16"]["native_size"] == 224


def test_unknown_backbone_and_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ["--run", str(tmp_path / "r")]
    assert main(["train", *SMALL, "--backbone", "vgg16_b", *run]) == 2
    assert "--backbone vgg16_b: unknown; did you mean 'vgg16_bn'?" in capsys.readouterr().err
    assert main(["train", *SMALL[:-1], "gpu", *run]) == 2
    assert "--device gpu: cannot be used" in capsys.readouterr().err
    assert main(["train", *SMALL, "--precision", "fp16", *run]) == 2
    assert "--precision fp16: needs CUDA" in capsys.readouterr().err


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose cache is empty and whose network is down; the folder of the cache."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setenv("FCNSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def test_vgg16_without_data_says_what_is_missing(
    no_network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--backbone", "vgg16", "--variant", "8s"]) == 3
    err = capsys.readouterr().err
    assert re.fullmatch(r"error: --data-root: PASCAL VOC .*; .*--data shapes.*\n", err)
    assert not Path("runs").exists()


def test_vgg16_without_weights_says_what_is_missing(
    no_network: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--backbone", "vgg16", "--variant", "8s", "--data-root", f"{shared_data}/voc-sample"]
    assert main(["train", *words]) == 4
    err = capsys.readouterr().err
    assert err.startswith("error: https://download.pytorch.org/models/vgg16-397923af.pth: ")
    assert err.count("\n") == 1
    for way_out in (str(no_network), "--weights FILE", "--weights none", "efficientnet_lite0"):
        assert way_out in err
    assert not Path("runs").exists()


def test_vgg16_trains_from_nothing_on_shapes(
    no_network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcnseg.backbones._build", narrow)
    words = ["--backbone", "vgg16", "--variant", "8s", "--weights", "none", "--epochs", "1"]
    assert main(["train", *words, *SMALL, "--batch-size", "3", "--run", "vgg"]) == 0
    assert Path("vgg/best.safetensors").is_file()
    assert main(["eval", "--checkpoint", "vgg/best.safetensors", *SMALL]) == 0
    assert "mean IU" in capsys.readouterr().out
