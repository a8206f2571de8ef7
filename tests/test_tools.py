"""The scripts in ``tools/`` that people run: what they compute, write and print."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import numpy as np
import published
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import fcnseg
from fcnseg.cli import main as fcnseg_main
from fcnseg.data.images import read_image
from fcnseg.engine.checkpoint import save_model
from fcnseg.render.colours import probability_scale
from fcnseg.render.panels import background_of

TOOLS = Path(__file__).resolve().parents[1] / "tools"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_plain_network_is_the_published_one() -> None:
    net = tool("plain_fcn8s").PlainFCN8s(21, width=32).eval()
    tensors = published.state("8s")
    net.load_state_dict(tensors)
    image = torch.randn(1, 3, 33, 47)
    with torch.inference_mode():
        expected = published.scores(tensors, "8s", image)
        torch.testing.assert_close(net(image), expected, rtol=1e-4, atol=1e-4)
        assert net(image).shape == (1, 21, 33, 47)


def test_the_plain_network_starts_bilinear() -> None:
    net = tool("plain_fcn8s").PlainFCN8s(3, width=8)
    for layer, size in ((net.upscore2, 4), (net.upscore_pool4, 4), (net.upscore8, 16)):
        torch.testing.assert_close(layer.weight.detach(), published.bilinear(size, 3))


def test_the_table_has_ratios_of_rounds_to_the_plain_network() -> None:
    bench = tool("bench_infer")
    plain = [(2.0, 4.0, 100.0, 9.0), (4.0, 4.0, 200.0, 8.0), (6.0, 4.0, 150.0, 7.0)]
    same = [(1.0, 1.0, 90.0, 1.0), (3.0, 1.0, 80.0, 1.0), (3.0, 1.0, 70.0, 2.0)]
    lines = bench.table({"plain": plain, "same": same}).splitlines()
    assert lines[0].split() == ["seconds", "ratio", "computing", "ratio", "peak", "MiB", "scoring"]
    assert lines[1].split()[-6:] == ["4.00", "1.00", "4.00", "1.00", "200", "9"]
    assert lines[2].split()[-6:] == ["3.00", "0.50", "1.00", "0.25", "90", "2"]
    assert bench.read_size("375x500") == (375, 500)
    assert bench.read_size("500") == (500, 500)


def test_a_network_that_does_not_run_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bench = tool("bench_infer")
    for words in (["--size", "a"], ["--size", "0"], ["--rounds", "0"]):
        with pytest.raises(SystemExit) as ended:
            bench.main(words)
        assert ended.value.code == 2
    monkeypatch.setattr(bench, "__file__", str(TOOLS / "none.py"))
    with pytest.raises(SystemExit, match="plain: the network does not run"):
        bench.main([])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that tells three classes by chance."""
    torch.manual_seed(0)
    model = fcnseg.build_fcn("small_cnn", "8s", 3, classes=("sky", "far away", "near"))
    for numbers in model.head.score.parameters():
        nn.init.normal_(numbers, std=0.5)
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    save_model(path, model)
    return path


def draw_photographs(folder: Path) -> None:
    (folder / "sub").mkdir(parents=True)
    draws = np.random.default_rng(0)
    for name, size in (("a", (60, 80)), ("b", (60, 80)), ("sub/c", (50, 70))):
        Image.fromarray(draws.integers(0, 256, (*size, 3), np.uint8)).save(folder / f"{name}.png")
    (folder / "bad.png").write_bytes(b"none")


def test_a_folder_is_rendered(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw_photographs(photos)
    words = [str(photos), "--checkpoint", str(checkpoint), "--device", "cpu", "--out", str(out)]
    assert tool("render_folder").main([*words, "--classes", "far,near"]) == 3
    said = capsys.readouterr()
    assert "3 photographs, 9 files in" in said.out
    assert "images/s on cpu" in said.out
    assert "bad.png: is no image" in said.err
    assert "1 of 4 images were passed over" in said.err
    written = sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    endings = [".01-far-away.heatmap.jpg", ".02-near.heatmap.jpg", ".png"]
    assert written == [f"{stem}{e}" for stem in ("a", "b", str(Path("sub/c"))) for e in endings]

    predictor = fcnseg.Predictor(fcnseg.load(checkpoint), device="cpu")
    for stem in ("a", "sub/c"):
        image = read_image(photos / f"{stem}.png")
        whole = predictor(image)
        with Image.open(out / f"{stem}.png") as mask:
            assert np.array_equal(np.asarray(mask), whole.labels)
        drawn = read_image(out / f"{stem}.01-far-away.heatmap.jpg").astype(int)
        expected = probability_scale().over(background_of(image), whole.probabilities()[1])
        assert np.abs(drawn - expected).mean() < 6, "but for what JPEG changes"


def test_without_names_the_classes_that_are_seen_are_drawn(
    tmp_path: Path, checkpoint: Path
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    draw_photographs(photos)
    render = tool("render_folder")
    assert render.main([str(photos / "a.png"), "--checkpoint", str(checkpoint), "--device", "cpu",
                        "--out", str(out)]) == 0  # fmt: skip
    with Image.open(out / "a.png") as mask:
        share = np.bincount(np.asarray(mask).ravel(), minlength=3) / (60 * 80)
    drawn = {int(path.name.split(".")[1][:2]) for path in out.glob("a.*.heatmap.jpg")}
    assert drawn == set(np.flatnonzero(share >= 0.01))


def test_errors_of_rendering_are_one_line(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_photographs(tmp_path / "photos")
    known = [str(tmp_path / "photos"), "--checkpoint", str(checkpoint), "--out", str(tmp_path)]
    render = tool("render_folder").main
    assert render([*known, "--classes", "neer"]) == 2
    assert "did you mean 'near'?" in capsys.readouterr().err
    assert render([*known, "--threads", "0"]) == 2
    assert capsys.readouterr().err == "error: --threads 0: expected 1 or more\n"
    assert render([str(tmp_path / "none"), "--checkpoint", str(checkpoint)]) == 3
    assert "no such file or folder" in capsys.readouterr().err


def test_the_stages_of_voc_are_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = tool("train_voc")
    ran: list[list[str]] = []

    def started(command: list[str]) -> Mock:
        ran.append(command[3:])
        return Mock(wait=Mock(return_value=0 if len(ran) < 2 else 5))

    monkeypatch.setattr(stages.subprocess, "Popen", started)
    words = ["--data-root", "my data", "--stages", "32s,8s", "--run", "r"]
    assert stages.main([*words, "--dry-run"]) == 0
    assert ran == []
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "fcnseg train --data voc-aug --data-root 'my data' --val-split seg11valid --train-split "
        "sbd-train --recipe paper --backbone vgg16 --stages 32s,8s --run r",
        *(
            f"fcnseg eval --checkpoint {Path('r') / stage / 'best.safetensors'} --data voc-aug "
            "--data-root 'my data' --val-split seg11valid"
            for stage in ("32s", "8s")
        ),
    ]
    assert stages.main([*words, "--resume", "--", "--device", "cpu"]) == 5, "the first failure"
    assert ran[0][-3:] == ["--resume", "--device", "cpu"]
    assert [command[0] for command in ran] == ["train", "eval"]
    with pytest.raises(SystemExit):
        stages.main(["--data-root", "d", "--stages", "4s"])
    assert "expected some of 32s,16s,8s,8s-atonce" in capsys.readouterr().err


def test_fcnseg_takes_the_command_of_the_stages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = tool("train_voc")
    ran: list[list[str]] = []
    done = Mock(wait=Mock(return_value=5))
    monkeypatch.setattr(stages.subprocess, "Popen", lambda command: ran.append(command) or done)
    words = ["--data-root", str(tmp_path), "--run", str(tmp_path / "run"), "--stages", "32s,16s"]
    assert stages.main([*words, "--", "--print-config"]) == 5
    capsys.readouterr()
    assert fcnseg_main(ran[0][3:]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["stages"] == "32s,16s"
    assert settings["padding"] == "paper"
    assert settings["lr"] is None, "each stage has its own"


# Stands in for fcnseg: half a second from a signal to its end, as a training that saves.
_SAVES = """
import signal, sys, time
def save(number, _):
    time.sleep(0.5)
    open("saved", "w").close()
    sys.exit(128 + number)
signal.signal(signal.SIGINT, save), signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(30)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for groups of processes")
@pytest.mark.parametrize(
    ("number", "whole_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)]
)
def test_a_training_that_is_ended_saves_first(
    number: signal.Signals, whole_group: bool, tmp_path: Path
) -> None:
    (tmp_path / "fcnseg").mkdir()
    (tmp_path / "fcnseg/__init__.py").touch()
    (tmp_path / "fcnseg/__main__.py").write_text(_SAVES)
    process = subprocess.Popen(
        [sys.executable, str(TOOLS / "train_voc.py"), "--data-root", "d"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout
    while process.stdout.readline() != "ready\n":
        assert process.poll() is None
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, error = process.communicate(timeout=20)
    assert (tmp_path / "saved").exists()
    assert (process.returncode, error) == (128 + number, "")
