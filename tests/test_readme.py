"""What the README and the help say is run as it stands."""

import re
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.cli import COMMANDS, main
from fcnseg.cli.parser import parse

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SHELL = [line for kind, text in BLOCKS if not kind for line in text.splitlines() if line.strip()]
RUN = ("heatmap", "check", "train", "train-classifier", "eval", "predict", "export", "explain")
# What makes the commands of the README short enough for a test.
SHORTER = {
    "train": ["--epochs", "1", "--crop-size", "64x64", "--workers", "0"],
    "train-classifier": ["--epochs", "1", "--workers", "0"],
}


def test_the_commands_for_ones_own_images_work_in_order(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    photograph: Callable[[str], np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("onnxruntime")
    Image.fromarray(photograph("chelsea")).save("photo.jpg")
    Image.fromarray(photograph("chelsea")).save("map.tif", compression="tiff_lzw")
    random = np.random.default_rng(0)
    for folder in ("photos", "masks"):
        Path(folder).mkdir()
    for index in range(12):
        image = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(image).save(f"photos/{index}.jpg")
        Image.fromarray((image[..., 0] > 128).astype(np.uint8)).save(f"masks/{index}.png")
    for index in range(8):
        place = Path("pets", ("cat", "dog")[index % 2])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (48, 64, 3), np.uint8)).save(place / f"{index}.jpg")
    ran = []
    for line in SHELL:
        words = shlex.split(line)
        if words[0] == "fcnseg" and words[1] in RUN:
            if {"CamVid", "VOC", "--model", "fcn8s.safetensors"} & set(words):
                continue  # needs data or weights that have to be downloaded
            assert main([*words[1:], *SHORTER.get(words[1], [])]) == 0, line
            ran.append(words[1])
            if words[1] == "eval":  # a tenth of the 12 pairs, held out by the line before
                assert "images scored: 1 (folder/val)" in capsys.readouterr().out
    assert ran == [
        *("heatmap", "heatmap", "heatmap", "heatmap", "check", "train", "eval", "predict"),
        *("predict", "predict", "predict", "export", "export"),
        *("train-classifier", "heatmap", "explain"),
    ]
    assert Path("photo.heatmap.png").is_file()
    with np.load("photo.npz") as numbers:
        assert set(numbers) == {"score", "classes", "stride", "offset"}
    assert Path("runs/cats/best.safetensors").is_file()
    assert len(list(Path("predictions").glob("*.overlay.jpg"))) == 13
    assert {"map.png", "0.png"} <= {path.name for path in Path("predictions").iterdir()}
    for name in ("photo.heatmap.html", "photo.heatmap.pdf", "masks.json"):
        assert Path(name).stat().st_size > 1000
    for name in ("best.onnx", "best.onnx.md", "best.pt2", "best.pt2.md"):
        assert Path("runs/cats", name).is_file()


def test_the_python_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = PYTHON[-1]
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["result"].labels.shape == (375, 500)
    assert names["picture"].shape == (375, 500, 3)
    assert Path("photo.pdf").is_file()


def test_the_format_of_ones_own_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = PYTHON
    (name,) = re.findall(r"^# (\w+\.py)$", code, re.MULTILINE)
    assert len(code.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path(name).write_text(code)
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        Path(f"cracks/{split}").mkdir(parents=True)
        for index in range(3):
            image = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(image).save(f"cracks/{split}/{split}{index}.jpg")
            np.save(f"cracks/{split}/{split}{index}.npy", image[..., 0] // 128)
    (line,) = re.findall(rf"`(fcnseg train --data {name}[^`]*)`", README)
    backbone = ["--backbone", "efficientnet_lite0", "--run", "run"]
    assert main([*shlex.split(line)[1:], *SHORTER["train"], *backbone]) == 0
    assert main(["check", *shlex.split(line)[2:]]) == 0


def test_the_pictures_are_there() -> None:
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path


def test_the_map_names_every_room() -> None:
    rooms = {p.name for p in (ROOT / "fcnseg").iterdir() if not p.name.startswith("__")}
    named = set(re.findall(r"([\w]+\.py)`", README)) | set(re.findall(r"([\w]+)/`", README))
    assert rooms - {"py.typed"} <= named


def test_every_command_is_in_the_readme() -> None:
    assert set(re.findall(r"\| `fcnseg ([\w-]+)`", README)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_the_help_parse(name: str) -> None:
    command = import_module(f"fcnseg.cli.{name.replace('-', '_')}")
    lines = command.EXAMPLES.replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        words = shlex.split(line.split(" > ")[0])
        if words[0] == "torchrun":
            words = words[words.index("--") + 1 :]
        assert words[0] == "fcnseg"
        other = import_module(f"fcnseg.cli.{words[1].replace('-', '_')}")
        assert parse(words[1], other, words[2:]) is not None
    assert any(line.startswith(f"fcnseg {name}") for line in lines)
