"""``fcnseg export`` as a person runs it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fcnseg
from fcnseg.cli import main
from fcnseg.engine.checkpoint import save_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = fcnseg.build_fcn("small_cnn", "8s", num_classes=3, classes=["sky", "road", "car"])
    for module in model.head.score.values():
        nn.init.normal_(module.weight)
    path = tmp_path / "street.safetensors"
    save_model(path, model, {"data": "camvid"})
    return path


def test_a_checkpoint_as_a_program(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", "--checkpoint", str(checkpoint), "--format", "torch", "--json"]
    assert main([*words, "--preprocess"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert Path(told["file"]) == checkpoint.with_suffix(".pt2")
    assert Path(told["card"]) == checkpoint.with_name("street.pt2.md")
    assert [c["size"] for c in told["compared"]] == [[1, 45, 83], [2, 150, 117]]
    assert "recording the network" in printed.err
    card = Path(told["card"]).read_text(encoding="utf-8")
    assert "| 2 | car |" in card
    assert "| data | camvid |" in card
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    program = torch.export.load(told["file"]).module()
    scores = program(torch.from_numpy(image).permute(2, 0, 1)[None])[0]
    expected = fcnseg.Predictor(fcnseg.load(checkpoint), device="cpu")(image).scores
    assert expected is not None
    assert np.abs(scores.detach().numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "--checkpoint: missing"),
        (["--checkpoint", "none.safetensors", "--format", "torch"], 4, "none.safetensors"),
        (["--checkpoint", "a", "--format", "tf"], 2, "--format: expected one of onnx, torch"),
        (["--checkpoint", "a", "--format", "torch", "--out", "a.onnx"], 2, "ends in .pt2"),
        (["--checkpoint", "a", "--out", "a.pt2", "--opset", "18"], 2, "--opset: is for"),
        (["--checkpoint", "a", "--out", "nowhere/a.pt2"], 5, "the folder nowhere does not exist"),
        (["--model", "torchvision/fcn_resnet5", "--out", "a.pt2"], 2, "did you mean"),
        (["--model", "a", "--checkpoint", "b"], 2, "name two networks"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *words]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert said in printed.err
