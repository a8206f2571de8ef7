"""Training a classifier on folders of images, and where it then sees its classes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from class_samples import CLASSES, scene, write_folders
from PIL import Image

import fcnseg
from fcnseg.build import load, load_classifier
from fcnseg.classifier_config import ClassifierConfig
from fcnseg.classifier_training import train_classifier
from fcnseg.config import load_config
from fcnseg.convolutionalize import convolutionalize
from fcnseg.engine import events
from fcnseg.engine.log import read_log
from fcnseg.engine.start import Result
from fcnseg.errors import DataError, UsageError, WeightsError
from fcnseg.inference.classify import ImageClassifier
from fcnseg.inference.heatmap import classifier_maps

EPOCHS = 5
TESTED = 20  # new scenes a class


def configured(root: Path, run: Path, **settings: object) -> ClassifierConfig:
    given = {"data_root": str(root), "run": str(run), "workers": 0, "device": "cpu", **settings}
    return load_config(ClassifierConfig, None, given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("shapes")
    root = write_folders(folder / "data", 120)
    return train_classifier(configured(root, folder / "run", epochs=EPOCHS, batch_size=8))


def test_it_learns(trained: Result) -> None:
    assert trained.evaluation.test_accuracy > 0.9
    assert trained.evaluation.train_accuracy > 0.9
    model = fcnseg.load_classifier(trained.best)
    assert model.info.classes == CLASSES
    classify = ImageClassifier(model.net, model.info.preprocessing, device="cpu")
    scenes = [(c, scene(c, 1000 + i)[0]) for c in CLASSES for i in range(TESTED)]
    right = [CLASSES[int(classify(image).argmax())] == name for name, image in scenes]
    assert np.mean(right) > 0.9


def plain_map(
    score_Khw: np.ndarray, class_id: int, stride: float, offset: float, size: int
) -> np.ndarray:
    """What speaks for a class, (size, size): where positive, its score minus the others' mean.

    Bilinear between the centres of cells, which lie at ``offset + stride * i`` pixels; beyond the
    outermost centres the value of the nearest.
    """
    others = np.delete(score_Khw, class_id, axis=0).mean(0)
    positive_hw = np.maximum(score_Khw[class_id] - others, 0)
    count = positive_hw.shape[0]
    place = np.clip((np.arange(size) - offset) / stride, 0, count - 1)
    low = np.minimum(place.astype(int), count - 2)
    share = place - low
    rows = positive_hw[low] * (1 - share)[:, None] + positive_hw[low + 1] * share[:, None]
    return rows[:, low] * (1 - share) + rows[:, low + 1] * share


def test_its_heatmap_lies_on_the_object(trained: Result) -> None:
    """Of the positive mass of the true class's map, the share inside the object's mask."""
    model = load_classifier(trained.best)
    how = model.info.preprocessing
    net = convolutionalize(model.net, how.native_size)
    shares, areas = [], []
    for class_id, name in enumerate(CLASSES):
        for seed in range(2000, 2000 + TESTED):
            image, mask = scene(name, seed)
            maps = classifier_maps(net, how, CLASSES, image, device="cpu")
            assert maps.stride[0] == maps.stride[1] == 12  # 8 of the 64 pixels that 96 became
            mass = plain_map(maps.score, class_id, maps.stride[0], maps.offset[0], len(image))
            shares.append(mass[mask].sum() / mass.sum() if mass.any() else 0.0)
            areas.append(mask.mean())
    assert np.mean(areas) < 0.2
    assert np.mean(shares) >= 0.6
    assert np.mean(shares) > 3 * np.mean(areas)


def test_what_a_run_leaves(trained: Result) -> None:
    evaluations = [row for row in read_log(trained.folder / "log.jsonl") if row["kind"] == "eval"]
    assert [row["epoch"] for row in evaluations] == list(range(1, EPOCHS + 1))
    for row in evaluations:
        assert row["train_loss"] > 0
        assert row["test_loss"] > 0
        assert min(row["test_accuracy"], row["train_accuracy"]) >= 0
        values = [row["class_accuracy"][name] for name in CLASSES]
        assert row["mean_class_accuracy"] == pytest.approx(np.mean(values))
    metrics = json.loads((trained.folder / "metrics.json").read_text())
    assert metrics["best"]["epoch"] == trained.best_epoch
    best = max(evaluations, key=lambda row: (row["test_accuracy"], -row["test_loss"]))
    assert trained.best_epoch == best["epoch"]
    count = 72  # a fifth of 120 a class
    score = (count * best["test_accuracy"] + math.exp(-best["test_loss"])) / (count + 1)
    assert trained.best_score == pytest.approx(score)
    assert len(list((trained.folder / "samples").glob("*.png"))) == 4
    with Image.open(trained.folder / "curves.png") as curves:
        assert curves.width > 600
    page = (trained.folder / "report.html").read_text()
    assert "lozenge" in page
    assert "small_cnn on data" in page


def test_the_scores_are_those_of_classify(trained: Result) -> None:
    """What is saved last says of the test images what training said of them."""
    model = load_classifier(max((trained.folder / "last").glob("*.safetensors")))
    classify = ImageClassifier(model.net, model.info.preprocessing, device="cpu")
    root = trained.folder.parent / "data"
    for name, seen in list(trained.evaluation.images.items())[::7]:
        probability = classify(np.array(Image.open(root / name)))
        assert int(probability.argmax()) == seen.predicted
        assert probability[seen.truth] == pytest.approx(seen.probability, abs=1e-4)


def test_a_classifier_is_no_fcn(trained: Result) -> None:
    with pytest.raises(WeightsError, match=r"holds a classifier, not a segmentation network; heat"):
        load(trained.best)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("few") / "data", 6, side=40)


def files_of(run: Path) -> dict[str, bytes]:
    names = ("best.safetensors", "metrics.json", "log.jsonl", "report.html", "curves.png")
    return {name: (run / name).read_bytes() for name in names}


def short(few: Path, run: Path) -> ClassifierConfig:
    how = {"epochs": 2, "batch_size": 4, "image_size": 32, "save_every": "1"}
    return configured(few, run, **how)


@pytest.fixture(scope="module")
def unbroken(few: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    run = tmp_path_factory.mktemp("unbroken") / "run"
    train_classifier(short(few, run))
    return files_of(run)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_breaks_off_ends_as_one_that_does_not(
    few: Path, unbroken: dict[str, bytes], tmp_path: Path, workers: int
) -> None:
    def killed(event: events.Event) -> None:
        if isinstance(event, events.Stepped) and event.step == 6:
            raise KeyboardInterrupt

    broken = replace(short(few, tmp_path / "run"), workers=workers)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(broken, killed)
    train_classifier(replace(broken, resume=True))
    got = files_of(tmp_path / "run")
    # The page names all settings, and so the workers.
    compared = [name for name in got if not (workers and name == "report.html")]
    assert all(got[name] == unbroken[name] for name in compared)


def test_freezing_trains_the_last_layer_alone(few: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    start = fcnseg.build.build_classifier("small_cnn").state_dict()
    torch.save(start, tmp_path / "start.pth")
    config = configured(
        few, tmp_path / "run", epochs=1, batch_size=4, image_size=32, freeze="backbone",
        weights=str(tmp_path / "start.pth"), lr=0.01,
    )  # fmt: skip
    after = load_classifier(train_classifier(config).best).net.state_dict()
    assert after["fc.weight"].shape[0] == 3
    for name in start:
        assert name.startswith("fc.") or torch.equal(after[name], start[name]), name


def test_it_is_tuned_from_a_classifier_of_other_classes(few: Path, tmp_path: Path) -> None:
    how = {"epochs": 1, "batch_size": 4, "image_size": 32}
    first = train_classifier(configured(few, tmp_path / "first", **how))
    two = tmp_path / "two"
    for name in CLASSES[:2]:
        (two / name).mkdir(parents=True)
        for path in (few / name).iterdir():
            Image.open(path).save(two / name / path.name)
    config = configured(two, tmp_path / "second", weights=str(first.best), lr=1e-9, **how)
    after = load_classifier(train_classifier(config).best)
    assert after.info.classes == CLASSES[:2]
    before = load_classifier(first.best).net.state_dict()
    change = after.net.state_dict()["features.block5.0.weight"] - before["features.block5.0.weight"]
    assert 0 < float(change.abs().max()) < 1e-6


def test_damaged_images_stop_it_before_the_first_step(few: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    write_folders(root, 3, side=40)
    for name in ("disc/0000.png", "square/0001.png"):
        (root / name).write_bytes((root / name).read_bytes()[:300])
    said: list[events.Event] = []
    with pytest.raises(DataError, match=r"disc/0000.png: cannot be .*; also .*square/0001.png"):
        train_classifier(configured(root, tmp_path / "run"), said.append)
    assert not any(isinstance(event, events.Stepped) for event in said)
    assert not (tmp_path / "run").exists()


def test_copies_of_training_images_are_said(tmp_path: Path) -> None:
    write_folders(tmp_path / "data/train", 3, side=40)
    write_folders(tmp_path / "data/test", 2, first_seed=2, side=40)
    config = configured(tmp_path / "data", tmp_path / "run", epochs=1, image_size=32)
    said: list[events.Event] = []
    train_classifier(config, said.append)
    warnings = [e.text for e in said if isinstance(e, events.Notice) and e.warning]
    assert any("data/test: 3 images are copies of training images" in text for text in warnings)
    tested = [e for e in said if isinstance(e, events.Tested)]
    assert set(tested[-1].classes) == set(CLASSES)


def test_other_images_are_not_resumed(few: Path, tmp_path: Path) -> None:
    root = write_folders(tmp_path / "data", 3, side=40)
    config = configured(root, tmp_path / "run", epochs=1, image_size=32)
    train_classifier(config)
    image, _ = scene("disc", 77, 40)
    Image.fromarray(image).save(root / "disc/new.png")
    with pytest.raises(UsageError, match=r"its data have changed .*training images: 6 -> 7"):
        train_classifier(replace(config, resume=True))
