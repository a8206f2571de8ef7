"""The commands on small real data, through the command line."""

import json
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from networks import narrow
from PIL import Image

from fcnseg.cli import main
from fcnseg.cli.progress import Progress
from fcnseg.config import TrainConfig, load_config, to_yaml
from fcnseg.data.sample import Source
from fcnseg.engine.events import Downloading, Event
from fcnseg.errors import WeightsError
from fcnseg.sources import build_sources
from fcnseg.training import look_first, train

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
    assert out.count("wrote ") == 7
    assert "mean IU" in out
    assert "training on 5 images, validating on 2" in err
    assert "the last image is left out of each epoch" in err


def test_resume_needs_only_the_folder(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "best.safetensors").read_bytes()
    assert main(["train", "--run", str(trained), "--resume"]) == 0
    assert "finished already, 1 of 1 epochs" in capsys.readouterr().err
    assert (trained / "best.safetensors").read_bytes() == before

    assert main(["train", "--run", str(trained), "--resume", "--lr", "0.5"]) == 2
    assert "cannot be resumed with other settings (lr: 0.0001 -> 0.5)" in capsys.readouterr().err


def test_resume_finds_the_folder_that_is_named_after_the_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "--data", "shapes", "--backbone", "resnet18", "--stages", "32s,16s"]
    stored = load_config(
        TrainConfig,
        None,
        {"data": "shapes", "backbone": "resnet18", "stages": "32s,16s", "seed": 7},
    )
    stored.run_folder.mkdir(parents=True)
    (stored.run_folder / "config.yaml").write_text(to_yaml(stored))
    assert main([*words, "--resume", "--print-config"]) == 0
    assert capsys.readouterr().out == to_yaml(replace(stored, resume=True), comments=True)
    assert main([*words, "--backbone", "resnet34", "--resume"]) == 2
    line = f"{Path('runs/shapes-resnet34-stages')}: nothing to resume, no state was saved here; "
    err = capsys.readouterr().err
    assert f"{line}start it without --resume, or give its folder with --run" in err


def test_a_resumed_training_does_not_look_at_all_masks_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []

    def look(sources: Sequence[Source], *_: object) -> list[SimpleNamespace]:
        looked.append(len(sources))
        return [SimpleNamespace(class_weights=[1.0] * len(s.classes)) for s in sources]

    monkeypatch.setattr("fcnseg.training.first_look", look)
    new = load_config(TrainConfig, None, {"data": "shapes"})
    sources = build_sources(new)
    for config in (new, replace(new, class_weights="auto")):
        look_first(config, sources)
        look_first(replace(config, resume=True), sources)
    assert looked == [2, 0, 2, 1]


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
    assert "images scored: 2 (shapes/val)" in out


def write_pairs(folder: Path, count: int = 3, value: int = 1) -> list[str]:
    numbers = np.random.default_rng(list(str(folder).encode()))  # no two folders are alike
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


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A checkpoint trained on 7 pairs with the fraction 0.3 and seed 5, and their flags."""
    folder = tmp_path_factory.mktemp("cats")
    pairs = [*write_pairs(folder, 7), "--classes", "background,cat"]
    words = ["train", *pairs, *NETWORK, "--epochs", "1", "--crop-size", "32", "--workers", "0"]
    words += ["--val-fraction", "0.3", "--seed", "5", "--run", str(folder / "run")]
    assert main(words) == 0
    return folder / "run" / "best.safetensors", pairs


def evaluated(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[dict, str]:
    capsys.readouterr()
    assert main(["eval", *words, "--workers", "0", "--json"]) == 0
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_eval_refuses_classes_in_another_order(
    cats: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, pairs = cats
    words = ["eval", "--checkpoint", str(checkpoint), *pairs[:-1], "cat,background"]
    assert main(words) == 3
    error = capsys.readouterr().err
    assert error.splitlines()[-1].endswith(
        f"has 2 classes (cat, background), {checkpoint} was trained on 2 (background, cat); "
        "class 0 is 'cat', not 'background'; give the classes of training in the same order"
    )


def test_eval_scores_the_pairs_that_training_held_out(
    cats: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint, pairs = cats
    words = ["--checkpoint", str(checkpoint), *pairs]
    metrics = json.loads((checkpoint.parent / "metrics.json").read_text())

    scores, err = evaluated(words, capsys)
    assert (scores["images"], scores["data"]) == (2, "folder/val")
    assert "scoring the 2 pairs that training held out" in err
    assert scores["mean_iu"] == metrics["mean_iu"]
    assert scores["class_iu"] == metrics["class_iu"]

    monkeypatch.chdir(checkpoint.parent.parent)  # the same folders in other words
    same = ["--data", "folder", "--images", "./images", "--masks", "run/../masks"]
    same += ["--classes", "background,cat", "--checkpoint", str(checkpoint)]
    assert evaluated(same, capsys)[0]["class_iu"] == metrics["class_iu"]
    same_part, err = evaluated([*words, "--val-fraction", "0.3", "--seed", "5"], capsys)
    assert same_part["class_iu"] == metrics["class_iu"]
    assert "warning" not in err

    for other, count in ((["--seed", "6"], 2), (["--val-fraction", "0.5"], 4)):
        scores, err = evaluated([*words, *other], capsys)
        assert scores["images"] == count
        assert f"warning: training held out other pairs: among the {count} scored are" in err

    elsewhere = [*write_pairs(tmp_path, 3), "--classes", "background,cat"]
    scores, err = evaluated(["--checkpoint", str(checkpoint), *elsewhere], capsys)
    assert scores["images"] == 3
    assert "scoring all 3 pairs" in err


def test_eval_warns_where_pairs_were_added_since_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [*write_pairs(tmp_path, 4), "--classes", "background,cat"]
    words = ["train", *pairs, *NETWORK, "--epochs", "1", "--crop-size", "32", "--workers", "0"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 0
    for kind in ("images", "masks"):
        (tmp_path / kind / "new.png").write_bytes((tmp_path / kind / "0.png").read_bytes())
    words = ["--checkpoint", str(tmp_path / "run/best.safetensors"), *pairs]
    _, err = evaluated(words, capsys)
    assert "warning: the folders hold 5 pairs, and 4 when training held some out" in err
    assert "that training held out" not in err


def test_eval_takes_the_validation_folders_of_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [*write_pairs(tmp_path / "a", 3), "--classes", "background,cat"]
    held_out = write_pairs(tmp_path / "b", 2)
    words = ["train", *pairs, *NETWORK, "--epochs", "1", "--crop-size", "32", "--workers", "0"]
    words += ["--val-images", held_out[3], "--val-masks", held_out[5]]
    assert main([*words, "--run", str(tmp_path / "run")]) == 0
    words = ["--checkpoint", str(tmp_path / "run/best.safetensors"), *pairs]
    scores, err = evaluated(words, capsys)
    assert (scores["images"], "2 pairs that training held out" in err) == (2, True)
    scores, err = evaluated([*words, "--val-fraction", "0.5"], capsys)
    assert (scores["images"], "warning: training held out other" in err) == (2, True)


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
    # The checkpoint says how masks are read: no --classes, and no file of them, from here on.
    (tmp_path / "classes.txt").unlink()
    scores, _ = evaluated(["--checkpoint", f"{run}/best.safetensors", *pairs[:-2]], capsys)
    assert scores["images"] == 1
    assert set(scores["class_iu"]) == {"background", "green thing"}


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


def test_large_images_are_refused_by_every_command_that_reads_data(
    cats: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, pairs = cats
    limit = ["--max-pixels", "599", "--workers", "0"]
    words = [*NETWORK, "--epochs", "1", "--run", str(tmp_path / "run")]
    assert main(["check", *pairs, *limit[:2]]) == 3
    assert "more than the limit of 599; raise --max-pixels" in capsys.readouterr().out
    for command in (["train", *words], ["eval", "--checkpoint", str(checkpoint)]):
        assert main([*command, *pairs, *limit]) == 3
        assert "more than the limit of 599; raise --max-pixels" in capsys.readouterr().err
    assert main(["check", *pairs, "--max-pixels", "600"]) == 0


def test_the_papers_padding_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--backbone", "resnet18", "--padding", "paper", "--run", str(tmp_path / "run")]
    assert main(["train", *SMALL, *words]) == 2
    error = capsys.readouterr().err
    assert "error: --padding paper: defined for VGG and AlexNet, not for resnet18" in error
    assert not (tmp_path / "run").exists()


def test_check_finds_the_same_image_in_both_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [*write_pairs(tmp_path), "--classes", "a,b"]
    again = ["--val-images", str(tmp_path / "images"), "--val-masks", str(tmp_path / "masks")]
    assert main(["check", *pairs, *again]) == 3
    out = capsys.readouterr().out
    image = tmp_path / "images" / "0.png"
    assert f"error: {image}: is the same image as {image} of folder, pixel by pixel" in out


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "efficientnet_lite0" in out
    assert "torchvision/fcn_resnet50" in out
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert "torchvision/deeplabv3_resnet101" in [row["name"] for row in listed["models"]]
    rows = {row["name"]: row for row in listed["backbones"]}
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
    *looked_at, err = capsys.readouterr().err.splitlines()
    assert err.startswith("error: https://download.pytorch.org/models/vgg16-397923af.pth: ")
    assert looked_at == ["voc/train: 2 palette masks", "voc/val: 1 palette mask"]
    for way_out in (str(no_network), "--weights FILE", "--weights none", "efficientnet_lite0"):
        assert way_out in err
    assert not Path("runs").exists()


def test_the_observer_of_a_training_hears_of_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(*_: object, progress: Callable[[int, int | None], None], **others: object) -> Path:
        progress(3_000_000, 46_800_000)
        progress(4_000_000, None)
        raise WeightsError("the server has gone")

    monkeypatch.setattr("fcnseg.classifiers.fetch", fetch)
    config = TrainConfig(data="shapes", backbone="resnet18", run=str(tmp_path / "run"))
    events: list[Event] = []
    with pytest.raises(WeightsError, match="gone"):
        train(config, events.append)
    assert events == [Downloading(3_000_000, 46_800_000), Downloading(4_000_000, None)]
    with Progress(seconds_between_lines=0) as progress:
        for event in events:
            progress(event)
    lines = ["downloading weights: 3 of 47 MB", "downloading weights: 4 MB"]
    assert capsys.readouterr().err.splitlines() == lines


def test_vgg16_trains_from_nothing_on_shapes(
    no_network: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcnseg.classifiers.build", narrow)
    words = ["--backbone", "vgg16", "--variant", "8s", "--weights", "none", "--epochs", "1"]
    assert main(["train", *words, *SMALL, "--batch-size", "3", "--run", "vgg"]) == 0
    assert Path("vgg/best.safetensors").is_file()
    assert main(["eval", "--checkpoint", "vgg/best.safetensors", *SMALL]) == 0
    assert "mean IU" in capsys.readouterr().out


def test_ctrl_c_in_an_evaluation_says_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    run = tmp_path / "run"
    words = ["train", *SMALL, *NETWORK, "--epochs", "1", "--run", str(run)]
    with monkeypatch.context() as broken:
        broken.setattr("fcnseg.engine.segmentation.Segmentation.evaluate", evaluate)
        assert main(words) == 130
    err = capsys.readouterr().err.splitlines()[-1]
    assert f"interrupted by SIGINT; {run} is saved at step 1 of 1; continue with" in err
    assert f"`fcnseg train --run {run} --resume`" in err
    assert main(["train", "--run", str(run), "--resume"]) == 0


def test_a_run_without_a_finished_epoch_is_not_offered_to_resume(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("config.yaml", "log.jsonl"):
        (tmp_path / name).write_text("")
    assert main(["train", *SMALL, *NETWORK, "--run", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert "give --overwrite to replace it (nothing was saved there)" in err
    (tmp_path / "log.jsonl").unlink()
    assert main(["train", *SMALL, *NETWORK, "--run", str(tmp_path)]) == 2
    assert "give another --run: it is not a run folder" in capsys.readouterr().err


def test_a_folder_is_no_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--checkpoint", str(trained), *SMALL]) == 4
    assert f"{trained}: is a folder; give the best.safetensors in it" in capsys.readouterr().err
