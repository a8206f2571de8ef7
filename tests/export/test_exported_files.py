"""Exported files beside PyTorch, and the card that goes with them."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fcnseg
from fcnseg import export as exporting
from fcnseg.errors import EnvironmentFault, NumericError, UsageError
from fcnseg.export import formats
from fcnseg.export.comparison import Compared, compare
from fcnseg.export.deployed import Deployed, _whole_paddings, recorded
from fcnseg.export.formats import FORMATS, described
from fcnseg.model import FCN

SIZES = [(1, 33, 47), (2, 64, 64), (1, 350, 525), (1, 500, 375)]


def with_scores(backbone: str, variant: str, classes: int = 5) -> FCN:
    """A network whose score layers, which start at zero, see something."""
    torch.manual_seed(0)
    model = fcnseg.build_fcn(backbone, variant, num_classes=classes).eval()
    for module in model.head.score.values():
        nn.init.normal_(module.weight, std=0.2)
        nn.init.normal_(module.bias)
    if backbone == "vgg16":  # without norms, its maps would fade to nothing
        for module in model.backbone.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    with torch.no_grad():  # scores of the size that trained networks give
        largest = model(torch.randn(1, 3, 128, 128)).abs().max()
        for numbers in model.head.score.parameters():
            numbers.mul_(10 / largest)
    return model


@pytest.fixture(scope="module")
def model() -> FCN:
    return with_scores("small_cnn", "8s")


def run_card(card: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The labels that the Python of a card finds in a photograph."""
    monkeypatch.chdir(card.parent)
    Image.fromarray(photo).save("photo.png")
    (code,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, np.ndarray] = {}
    exec(code.replace("photo.jpg", "photo.png"), names)
    return names["labels"]


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (61, 95, 3), dtype=np.uint8)


def test_onnx_takes_any_size_and_its_card_says_how(
    model: FCN, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    told = {"data": "camvid", "lr": 0.001, "data_root": "/home/me"}
    done = exporting.export(model, tmp_path / "net.onnx", settings=told)
    session = runtime.InferenceSession(done.path)
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape) == ("image", ["batch", 3, "height", "width"])
    assert (given.name, given.shape) == ("scores", ["batch", 5, "height", "width"])
    for size in [(1, 33, 47), (2, 64, 64), (3, 1, 1), (1, 130, 50)]:
        image = torch.randn(size[0], 3, *size[1:])
        (scores,) = session.run(None, {"image": image.numpy()})
        with torch.inference_mode():
            expected = model(image).numpy()
        assert np.abs(scores - expected).max() < 1e-4
    assert done.sha256 == hashlib.sha256(done.path.read_bytes()).hexdigest()
    card = done.card.read_text(encoding="utf-8")
    assert done.card.name == "net.onnx.md"
    assert done.sha256 in card
    assert "| data | camvid |" in card
    assert "/home/me" not in card
    assert "FCN-8s on small_cnn" in card
    assert [c.size for c in done.compared] == [(1, 45, 83), (2, 150, 117)]
    assert 0 < max(c.difference for c in done.compared) < 1e-4
    labels = run_card(done.card, photo, monkeypatch)
    assert np.array_equal(labels, fcnseg.Predictor(model, device="cpu")(photo).labels)


class Doubled(nn.Module):
    """A network of nothing but arithmetic, recorded in no time: 3 scores of 3 channels."""

    def __init__(self, info: object) -> None:
        super().__init__()
        self.info = info

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image * 2


@pytest.fixture
def doubled() -> Doubled:
    return Doubled(fcnseg.build_fcn("small_cnn", "8s", num_classes=3).info)


def test_a_program_with_both_ends_inside(
    doubled: Doubled, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "net.pt2"
    done = exporting.export(doubled, where, "torch", preprocess=True, argmax=True)
    program = torch.export.load(where).module()
    labels = program(torch.from_numpy(photo).permute(2, 0, 1)[None])
    assert labels.dtype == torch.uint8
    how = doubled.info.preprocessing
    expected = ((photo * how.scale - np.array(how.mean)) / np.array(how.std)).argmax(2)
    assert np.array_equal(labels[0].numpy(), expected)
    assert np.array_equal(run_card(done.card, photo, monkeypatch), expected)
    card = done.card.read_text(encoding="utf-8")
    assert "(N, 3, H, W) uint8: RGB images, 0 to 255" in card
    assert "(N, H, W) uint8: the id of the best class" in card
    assert [c.other for c in done.compared] == [0, 0]


def test_a_file_that_differs_does_not_stay(
    doubled: Doubled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = FORMATS["torch"]
    wrong = formats.Format(
        *(right.ending, right.title, right.write),
        run=lambda path: lambda images: right.run(path)(images) + 1e-3,
    )
    monkeypatch.setitem(FORMATS, "torch", wrong)
    said = (
        r"net\.pt2: not written, because at 1x45x83 px it differs from PyTorch by 1\.0e-03 "
        r"\(expected up to 1\.0e-04, as scores reach "
    )
    with pytest.raises(NumericError, match=said):
        exporting.export(doubled, tmp_path / "net.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_without_its_card_no_file_stays(doubled: Doubled, tmp_path: Path) -> None:
    (tmp_path / "net.pt2.md").mkdir()  # in the way of the card
    with pytest.raises(EnvironmentFault, match=r"net\.pt2\.md: cannot be written"):
        exporting.export(doubled, tmp_path / "net.pt2", "torch")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pt2.md"]
    (tmp_path / "folder.pt2").mkdir()
    with pytest.raises(UsageError, match=r"--out .*folder\.pt2: expected a name for a file"):
        exporting.export(doubled, tmp_path / "folder.pt2", "torch")


def test_labels_are_judged_by_the_scores_behind_them(doubled: Doubled) -> None:
    deployed = Deployed(doubled, preprocess=True, argmax=True).eval()

    def own(images: torch.Tensor) -> torch.Tensor:
        return deployed(images)

    def turned(images: torch.Tensor) -> torch.Tensor:
        labels = deployed(images).clone()
        labels[0, 0, 0] = (labels[0, 0, 0] + 1) % 3
        return labels

    assert compare(deployed, own)[0].difference == 0
    (found, _) = compare(deployed, turned)
    assert found.other == 1
    noise = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 45, 83), generator=noise, dtype=torch.uint8)
    scores = deployed.scores(image)[0, :, 0, 0]
    best = int(scores.argmax())
    assert found.difference == pytest.approx(float(scores[best] - scores[(best + 1) % 3]))
    assert not found.close


@pytest.mark.parametrize(
    ("difference", "largest", "close"),
    [
        *((9e-5, 0.1, True), (2e-4, 0.1, False), (2e-4, 10, False), (float("nan"), 1, False)),
        *((9e-4, 100, True), (2e-3, 100, False)),
    ],
)
def test_what_counts_as_equal(difference: float, largest: float, close: bool) -> None:
    assert Compared((1, 2, 3), difference, largest, 0).close == close


def test_the_short_side_is_on_the_card(
    doubled: Doubled, photo: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    how = replace(doubled.info.preprocessing, order="BGR")
    doubled.info = replace(
        doubled.info, short_side=122, preprocessing=how, classes=("a|b", "c", "d")
    )
    done = exporting.export(doubled, tmp_path / "net.pt2", "torch")
    card = done.card.read_text(encoding="utf-8")
    assert "scale the short side of a photograph to 122 px first" in card
    assert "Nothing in the file does this" in card
    assert "These lines read 8-bit RGB and grey without alpha." in card
    assert f"    bytes   {done.path.stat().st_size:,}\n" in card
    assert "| 0 | blue | (v * " in card
    assert "| 0 | a\\|b | (" in card
    labels = run_card(done.card, photo, monkeypatch)
    assert labels.shape == (122, 190)
    scaled = np.asarray(Image.fromarray(photo).resize((190, 122), Image.Resampling.BILINEAR))
    numbers = (scaled[..., ::-1] * how.scale - np.array(how.mean)) / np.array(how.std)
    assert np.array_equal(labels, numbers.argmax(2))


def test_missing_packages_are_named(
    doubled: Doubled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None if name != "onnx" else name)
    said = r"missing onnxscript, onnxruntime; run pip install 'fcnseg\[export\]'"
    with pytest.raises(EnvironmentFault, match=said):
        exporting.export(doubled, tmp_path / "net.onnx")
    exporting.export(doubled, tmp_path / "net.pt2", "torch")


@pytest.mark.parametrize(
    ("name", "format", "opset", "said"),
    [
        ("a.txt", "onnx", None, r"--out .*a\.txt: expected a name that ends in \.onnx"),
        ("a.onnx", "torch", None, r"--out .*a\.onnx: expected a name that ends in \.pt2"),
        ("a.onnx", "tflite", None, r"--format: expected one of onnx, torch, got 'tflite'"),
        ("a.onnx", "onnx", 12, r"--opset: expected 18 or later, got 12"),
        ("a.pt2", "torch", 18, r"--opset: is for --format onnx"),
    ],
)
def test_what_does_not_go_together(
    doubled: Doubled, tmp_path: Path, name: str, format: str, opset: int | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        exporting.export(doubled, tmp_path / name, format, opset=opset)
    assert list(tmp_path.iterdir()) == []


class Sized(Doubled):
    """A network that cannot be recorded for every size."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image if image.shape[2] == 97 else image * image.shape[3]


def test_a_network_for_one_size_is_refused(doubled: Doubled, tmp_path: Path) -> None:
    said = r"net\.pt2: torch\.export cannot follow this network at every size"
    with pytest.raises((UsageError, NumericError), match=said):
        exporting.export(Sized(doubled.info), tmp_path / "net.pt2", "torch")
    assert list(tmp_path.iterdir()) == []


def test_the_padding_in_whole_numbers_is_timm_s() -> None:
    padding = pytest.importorskip("timm.layers.padding")
    cases = [
        (n, k, s, d) for n in range(1, 40) for k in (1, 2, 3, 5) for s in (1, 2, 3) for d in (1, 2)
    ]
    before = [padding.get_same_padding(*case) for case in cases]
    own = padding.get_same_padding
    with _whole_paddings():
        assert padding.get_same_padding is not own
        assert [padding.get_same_padding(*case) for case in cases] == before
    assert padding.get_same_padding is own


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["8s", "32s"])
@pytest.mark.parametrize("backbone", ["vgg16", "resnet50", "efficientnet_lite0"])
def test_both_formats_agree_with_pytorch(backbone: str, variant: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    deployed = Deployed(with_scores(backbone, variant), preprocess=False, argmax=False).eval()
    program = recorded(deployed, backbone)
    for kind in FORMATS.values():
        path = tmp_path / f"net{kind.ending}"
        kind.write(program, path, "scores", described(deployed.model.info), None)
        for found in compare(deployed, kind.run(path), SIZES):
            assert found.largest > 0.1
            assert found.difference < 1e-4, (kind.title, found)
        path.unlink()
