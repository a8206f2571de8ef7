"""``tools/import_weights.py``: what it writes is used, what is wrong is one line and a code."""

import importlib.util
import os
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import published
import pytest
import torch
from networks import narrow
from PIL import Image
from torchvision import models

from fcnseg.cli import main as fcnseg_main
from fcnseg.segmenters import load_segmenter

TOOL = Path(__file__).resolve().parents[1] / "tools" / "import_weights.py"


@pytest.fixture(scope="module")
def tool() -> Callable[[list[str]], int]:
    spec = importlib.util.spec_from_file_location("import_weights", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(autouse=True)
def narrow_fc6_and_fc7() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fcnseg.classifiers.build", narrow)
        yield


def test_from_a_caffemodel_to_masks(
    tool: Callable[[list[str]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tensors = published.state("16s", classes=3)
    Path("fcn16s.caffemodel").write_bytes(published.caffemodel(tensors, v1=True, legacy=True))
    words = ["caffe", "fcn16s.caffemodel", "--variant", "16s", "-o", "out.safetensors"]
    assert tool([*words, "--classes", "sky,tree,road"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first == (
        "fcn16s.caffemodel: 36 tensors of 36 matched: 30 of VGG16, 4 of score layers, 2 of "
        "upsampling (bilinear); 3 classes"
    )
    assert last == (
        "wrote out.safetensors; next: fcnseg predict photo.jpg --checkpoint out.safetensors"
    )
    image = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
    Image.fromarray(image).save("photo.png")
    words = ["predict", "photo.png", "--checkpoint", "out.safetensors", "--scores"]
    assert fcnseg_main(words) == 0
    assert "tree" in capsys.readouterr().out
    with torch.inference_mode():
        (expected,) = published.scores(tensors, "16s", published.preprocessed(image)).numpy()
    got = np.load("predictions/photo.npz")
    assert np.abs(got["score"] - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.array_equal(np.array(Image.open("predictions/photo.png")), expected.argmax(0))
    assert got["classes"].tolist() == ["sky", "tree", "road"]


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_a_network_of_torchvision(
    name: str,
    tool: Callable[[list[str]], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    net = models.get_model(name, weights=None, weights_backbone=None, num_classes=21)
    path, out = tmp_path / "net.pth", tmp_path / "net.safetensors"
    torch.save(net.state_dict(), path)
    assert tool(["torchvision", str(path), "-o", str(out)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    counted = [n for n in net.state_dict() if not n.endswith("num_batches_tracked")]
    assert first == (
        f"{path}: {len(counted)} tensors of {len(counted)} matched: torchvision/{name}"
    )
    assert last.endswith(f"fcnseg predict photo.jpg --model torchvision/{name} --weights {out}")
    written = load_segmenter(f"torchvision/{name}", out).state_dict()
    assert all(torch.equal(written[n], t) for n, t in net.state_dict().items())


def broken(folder: Path, kind: str) -> Path:
    tensors = published.state("32s", classes=3)
    if kind == "malicious":

        class Evil:
            def __reduce__(self) -> object:
                return os.system, (f"touch {folder / 'executed'}",)

        (folder / "a.pth.tar").write_bytes(pickle.dumps({"model_state_dict": Evil()}, 2))
    elif kind == "classifier":
        torch.save(models.resnet18().state_dict(), folder / "a.pth.tar")
    elif kind == "renamed":
        tensors["score59.weight"] = tensors.pop("score_fr.weight")
        torch.save(tensors, folder / "a.pth.tar")
    elif kind == "caffemodel":
        (folder / "a.pth.tar").write_bytes(published.caffemodel(tensors)[:-30_000])
    return folder / "a.pth.tar"


@pytest.mark.parametrize(
    ("kind", "words", "code", "match"),
    [
        ("missing", "torchfcn FILE --variant 32s -o OUT", 4, "FILE: there is no such file"),
        ("malicious", "torchfcn FILE --variant 32s -o OUT", 4, "FILE: refused: .*nothing in it"),
        ("malicious", "caffe FILE --variant 32s -o OUT", 4, "FILE: truncated, or not a .caffe"),
        ("renamed", "torchfcn FILE --variant 32s -o OUT", 4, r"FILE: .*1 missing \(score_fr"),
        ("caffemodel", "caffe FILE --variant 32s -o OUT", 4, "FILE: truncated.*a field claims"),
        ("classifier", "torchvision FILE -o OUT", 4, "FILE: expected a .safetensors, .pth or"),
        ("good", "torchfcn FILE -o OUT", 2, "--variant: missing; expected one of 32s, 16s"),
        ("good", "torchfcn FILE --variant 9s -o OUT", 2, "--variant: expected one of"),
        ("good", "chainer FILE --variant 8s -o OUT", 2, "SOURCE: expected one of torchfcn, caffe"),
        ("good", "torchvision FILE --variant 8s -o OUT", 2, "--variant: torchvision's networks"),
        ("good", "torchfcn FILE --variant 8s -o model.pth", 2, "--out model.pth: expected a name"),
        (
            "good",
            "torchfcn FILE --variant 8s -o no/a.safetensors",
            5,
            "there is no folder no; make",
        ),
        ("good", "torchfcn FILE --variant 8s", 2, "the following arguments are required: -o"),
        ("good", "torchfcn FILE --variant 8s -o OUT --fast", 2, "unrecognized arguments: --fast"),
        ("good", "torchfcn FILE --variant 8s -o OUT --classes ab", 2, "--classes ab: no such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_code(
    kind: str,
    words: str,
    code: int,
    match: str,
    tool: Callable[[list[str]], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = broken(tmp_path, kind), tmp_path / "out.safetensors"
    line = words.replace("FILE", str(path)).replace("OUT", str(out)).split()
    assert tool(line) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert re.search(match.replace("FILE", str(path)), captured.err)
    assert not out.exists()
    assert not (tmp_path / "executed").exists()


def test_it_explains_itself(
    tool: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        tool(["--help"])
    assert left.value.code == 0
    assert "python tools/import_weights.py caffe" in capsys.readouterr().out


def test_all_sources_are_named(
    tool: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool(["torchvison", "a.pth", "-o", "a.safetensors"]) == 2
    assert capsys.readouterr().err == (
        "error: SOURCE: expected one of torchfcn, caffe, torchvision, got 'torchvison'; did you "
        "mean 'torchvision'?\n"
    )
