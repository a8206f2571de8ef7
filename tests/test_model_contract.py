"""What every FCN owes, whatever its backbone and variant.

The backbones are the real ones, except that VGG and AlexNet get narrow fc6 and fc7: 100 million
numbers less, nothing else different. A backbone is built once and shared by its variants.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from networks import CHAINS, POOLED, linear_twin, narrow, randomise, seen
from torch import nn

from fcnseg import build, classifiers
from fcnseg.backbones import Backbone, build_backbone
from fcnseg.build import build_fcn, load
from fcnseg.catalogue import describe
from fcnseg.engine.checkpoint import save_model
from fcnseg.errors import UsageError, WeightsError
from fcnseg.heads import VARIANTS, SkipHead
from fcnseg.model import FCN, ModelInfo

SIZES = [(1, 1), (33, 47), (64, 64), (350, 525), (500, 375)]
K = 4
# The siblings of these differ in depth only; they take minutes.
USUAL = ("alexnet", "vgg11_bn", "vgg16", "resnet18", "resnet50", "efficientnet_lite0")
NETWORKS = [
    pytest.param(n, v, marks=() if n in USUAL else pytest.mark.slow)
    for n in (*CHAINS, *POOLED)
    for v in VARIANTS
]


@pytest.fixture(autouse=True, scope="module")
def narrow_chains() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "build", narrow)
        yield
    shared_backbone.cache_clear()


@lru_cache(maxsize=1)
def shared_backbone(name: str, padding: str = "same") -> Backbone:
    torch.manual_seed(0)
    return randomise(build_backbone(name, padding=padding, strides=(8, 16, 32)))


def fcn(name: str, variant: str, padding: str = "same", upsample: str = "learned") -> FCN:
    backbone = shared_backbone(name, padding)
    head = SkipHead(backbone.taps, backbone.channels, K, variant, upsample, padding)
    classes, palette = tuple("abcd"), ((0, 0, 0),) * K
    info = ModelInfo(
        name, variant, padding, upsample, classes, palette, describe(name).preprocessing
    )
    return FCN(backbone, head, info)


def randomise_scores(model: FCN) -> FCN:
    """Zero-initialised score layers give the backbone no gradient in the first step."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model.head.score.values():
            for value in layer.parameters():
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    return model


def image(*size: int, batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_the_output_has_the_size_of_the_input(name: str, variant: str) -> None:
    model = fcn(name, variant).eval()
    shapes_only = FCN(model.backbone, model.head, model.info)
    state = {k: v.to("meta") for k, v in shapes_only.state_dict(keep_vars=True).items()}
    for size in SIZES:
        on_meta = torch.empty(2, 3, *size, device="meta")
        out = torch.func.functional_call(shapes_only, state, on_meta)
        assert out.shape == (2, K, *size)
    with torch.inference_mode():
        for size in SIZES[:3]:
            out = model(image(*size))
            assert out.shape == (1, K, *size)
            assert torch.count_nonzero(out) == 0  # score layers start at zero


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_a_constant_score_map_gives_a_constant_image(name: str, variant: str) -> None:
    model = fcn(name, variant).eval()
    with torch.inference_mode():
        for layer in model.head.score.values():
            layer.bias.fill_(0.5)
        for size in SIZES[:3]:
            out = model(image(*size))
            expected = torch.tensor(0.5 * len(model.head.strides))
            assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_batch_of_one_trains_everything_that_should_learn(name: str, variant: str) -> None:
    model = randomise_scores(fcn(name, variant)).train()
    model.zero_grad()
    torch.manual_seed(0)
    out = model(image(33, 47))
    (out * torch.randn(out.shape)).sum().backward()
    before_norm = {
        id(first.bias)
        for first, second in pairwise(model.modules())
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)
    }
    for key, value in model.named_parameters():
        assert value.grad is not None, key
        # A bias before batch norm is subtracted again: its gradient is rounding.
        assert id(value) in before_norm or value.grad.abs().max() > 0, key
    frozen = randomise_scores(fcn(name, variant, upsample="fixed"))
    learned = {k for k, _ in frozen.named_parameters() if k.startswith("head.upsample")}
    assert not learned


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_save_and_load_give_identical_scores(name: str, variant: str, tmp_path) -> None:
    model = randomise_scores(fcn(name, variant)).eval()
    save_model(tmp_path / "model.safetensors", model)
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.info == model.info
    x = image(33, 47, batch=2)
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x))
        # A batch gives what its images give one at a time, but for the order of sums.
        batch, single = loaded(x)[:1], loaded(x[:1])
        assert (batch - single).abs().max() < 1e-4 * single.abs().max()


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_paper_padding_gives_the_size_of_the_input(name: str, variant: str) -> None:
    model = fcn(name, variant, padding="paper", upsample="fixed").eval()
    state = {k: v.to("meta") for k, v in model.state_dict(keep_vars=True).items()}
    for size in SIZES:
        on_meta = torch.empty(1, 3, *size, device="meta")
        assert torch.func.functional_call(model, state, on_meta).shape == (1, K, *size)


@pytest.mark.parametrize("name", ["vgg16", "resnet18", "efficientnet_lite0", "alexnet"])
@pytest.mark.parametrize("padding", ["same", "paper"])
def test_registration(name: str, padding: str) -> None:
    """An impulse at a cell of a score map peaks at the cell's centre, as a gradient measures it."""
    if padding == "paper" and name not in CHAINS:
        pytest.skip("the paper's padding is defined for VGG and AlexNet")
    model = fcn(name, "8s", padding=padding).eval()
    size = (448, 512)
    twin = linear_twin(model.backbone.net)
    # Measured where the whole field lies inside the image: 1024 pixels are enough for all.
    strip = torch.ones(1, 3, 96, 1024, dtype=torch.float64, requires_grad=True)
    measured = twin(strip)
    sizes = {s: m.shape[2:] for s, m in twin(torch.ones(1, 3, *size).double()).items()}
    for stride in model.head.strides:
        middle = measured[stride].shape[3] // 2
        first, last = seen(measured[stride].select(3, middle).sum(), strip, 3)
        assert first > 0
        assert last < 1023
        cells = [cells // 2 for cells in sizes[stride]]
        centre = [(first + last) / 2 + stride * (cell - middle) for cell in cells]
        features = {s: torch.zeros(1, model.backbone.channels[s], *sizes[s]) for s in sizes}
        features[stride][0, 0, cells[0], cells[1]] = 1
        with torch.inference_mode():
            for layer in model.head.score.values():
                layer.weight.zero_()
                layer.weight[1, 0] = 1
            score = model.head(features, size)[0]
        assert score.shape[1:] == size
        peaks = (score[1] >= score[1].max() - 1e-6).nonzero().double().mean(0)
        assert abs(float(peaks[0]) - centre[0]) <= 0.5
        assert abs(float(peaks[1]) - centre[1]) <= 0.5


def test_at_once_scales_what_the_skips_see() -> None:
    model = randomise_scores(fcn("resnet18", "8s-atonce")).eval()
    plain = fcn("resnet18", "8s").eval()
    plain.head.load_state_dict(model.head.state_dict())
    with torch.no_grad():
        plain.head.score["stride16"].weight *= 0.01
        plain.head.score["stride8"].weight *= 0.0001
        x = image(64, 96)
        assert torch.allclose(model(x), plain(x), atol=1e-5)


def test_only_the_maps_of_the_variant_are_kept() -> None:
    assert list(build_fcn("resnet18", "32s", 3).backbone.taps) == [32]
    assert list(build_fcn("resnet18", "8s", 3).backbone.taps) == [8, 16, 32]


def test_refusals(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"--variant: expected one of 32s.*did you mean '8s'"):
        build_fcn("resnet18", "8", 3)
    with pytest.raises(UsageError, match="expected 1 to 255"):
        build_fcn("resnet18", "8s", 0)
    with pytest.raises(UsageError, match="3 class names"):
        build_fcn("resnet18", "8s", 2, classes=("a", "b", "c"))
    model = fcn("resnet18", "32s")
    with pytest.raises(UsageError, match=r"expected an \(N, 3, H, W\) batch"):
        model(torch.zeros(3, 8, 8))
    with pytest.raises(UsageError, match="needs maps at stride 32, 16, 8, the backbone has 32"):
        SkipHead({32: model.backbone.taps[32]}, {32: 512}, K, "8s")
    with pytest.raises(WeightsError, match="no such file"):
        build.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("variant", "4s", "variant: expected one of 32s, 16s, 8s, 8s-atonce, got '4s'"),
        ("backbone", "resnet19", "unknown; did you mean 'resnet18'"),
        ("padding", "wide", "expected one of same, paper"),
    ],
)
def test_a_checkpoint_of_another_version(tmp_path, key: str, value: str, message: str) -> None:
    model = fcn("resnet18", "32s")
    model.info = replace(model.info, **{key: value})
    save_model(tmp_path / "odd.safetensors", model)
    with pytest.raises(WeightsError, match=r"odd.safetensors: .*" + message):
        load(tmp_path / "odd.safetensors")


def test_what_no_file_stores_survives_a_checkpoint(tmp_path) -> None:
    """The filters of blur pools are buffers that are not in the state dict."""
    torch.manual_seed(0)
    model = randomise_scores(build_fcn("timm/resnetblur18", "32s", 3)).eval()
    save_model(tmp_path / "blur.safetensors", model)
    loaded = load(tmp_path / "blur.safetensors")
    x = image(40, 50)
    with torch.inference_mode():
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("stride", [64, 4, 0, -8, True, "8", None])
def test_an_output_stride_that_no_network_has(stride: object) -> None:
    with pytest.raises(
        UsageError, match=r"^--output-stride: expected one of 8, 16, 32, got"
    ) as said:
        build_fcn("resnet18", "32s", 3, output_stride=stride)
    assert str(said.value).isprintable()
