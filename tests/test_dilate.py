"""Dilation gives what shift-and-stitch gives: a finer map of the same function."""

import pytest
import torch
from networks import linear_twin, randomise, seen
from torch import nn

from fcnseg.backbones import build_backbone
from fcnseg.build import build_fcn
from fcnseg.catalogue import describe
from fcnseg.classifiers import build_classifier
from fcnseg.convolutionalize import convolutionalize
from fcnseg.dilate import dilate
from fcnseg.errors import UsageError
from fcnseg.spread import DilatedAvgPool, Move
from fcnseg.stitch import shift_and_stitch
from fcnseg.taps import extract, find_taps
from fcnseg.trace import trace, trace_features


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def noise(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


class Unpadded(nn.Module):
    """A classifier of stride 32 that pads nothing: 91 px -> 2x2 cells -> 4 scores."""

    def __init__(self, pool: type[nn.Module]) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Conv2d(6, 6, 3), pool(2, 2),
            nn.Conv2d(6, 8, 3), nn.ReLU(), pool(3, 2),
            nn.Conv2d(8, 8, 3, 2), nn.ReLU(), pool(2, 2), nn.Conv2d(8, 8, 1),
        )  # fmt: skip
        self.fc6, self.fc7 = nn.Linear(32, 10), nn.Linear(10, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc7(self.fc6(self.features(x).flatten(1)).relu())


@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
@pytest.mark.parametrize("output_stride", [16, 8, 4, 2])
def test_unpadded_networks_agree_with_shift_and_stitch_everywhere(
    pool: type[nn.Module], output_stride: int
) -> None:
    torch.manual_seed(0)
    net = convolutionalize(Unpadded(pool).double(), 91)
    fine = dilate(net, output_stride, 91)
    x = noise(2, 3, 168, 132)
    with torch.inference_mode():
        stitched = shift_and_stitch(net, x, 32, 32 // output_stride)
        score = fine(x)
    assert score.shape == stitched.shape
    assert relative(score, stitched) < 1e-9
    theirs = net.state_dict()
    assert set(fine.state_dict()) == set(theirs)
    assert all(v.data_ptr() == theirs[k].data_ptr() for k, v in fine.state_dict().items())


@pytest.mark.parametrize(
    "name", ["alexnet", "resnet18", pytest.param("vgg16", marks=pytest.mark.slow)]
)
def test_padded_networks_agree_further_than_half_a_field_from_the_border(name: str) -> None:
    torch.manual_seed(0)
    graph = trace(randomise(build_classifier(name)).double().eval())
    features = trace_features(graph, (224, 224))
    last = find_taps(graph, features, describe(name).rule)[32]
    net = extract(graph, {32: last})
    place = features[last].geometry
    assert place is not None
    fine = dilate(net, 8)
    side = int(-(-(place.field[0] + 48) // 32) * 32)
    x = noise(1, 3, side, side)
    with torch.inference_mode():
        dilated = fine(x)[32][0]
        stitched = shift_and_stitch(lambda image: net(image)[32], x, 32, 4)[0]
    rows, columns = (min(a, b) for a, b in zip(dilated.shape[1:], stitched.shape[1:], strict=True))
    difference = (dilated[:, :rows, :columns] - stitched[:, :rows, :columns]).abs().amax(0)
    half = place.field[0] / 2
    inside = [
        [half <= offset + 8 * i <= side - half for i in range(n)]
        for offset, n in zip(place.offset, (rows, columns), strict=True)
    ]
    agree = torch.tensor(inside[0])[:, None] & torch.tensor(inside[1])
    assert agree.sum() >= 16
    assert difference[agree].max() < 1e-9 * stitched.abs().max()
    assert difference.max() > 1e-3 * stitched.abs().max()  # zeros are padded at other places


DILATED = [
    "alexnet", "vgg16", "resnet18", "densenet121", "googlenet", "inception_v3", "squeezenet1_1",
    "shufflenet_v2_x0_5", "mobilenet_v3_small", "convnext_tiny", "efficientnet_lite0",
    "timm/resnet26d", "timm/resnetv2_50x1_bit",
]  # fmt: skip


@pytest.mark.parametrize("name", DILATED)
def test_the_geometry_of_a_dilated_network_is_what_a_gradient_probe_measures(name: str) -> None:
    with torch.device("meta"):
        plain = build_backbone(name, strides=(8, 16, 32))
        fine = build_backbone(name, strides=(8, 16, 32), output_stride=8)
    assert set(fine.state_dict()) == set(plain.state_dict())
    assert fine.channels == plain.channels
    twin = linear_twin(fine.net.to_empty(device="cpu"))
    long = int(-(-(max(g.field[0] for g in fine.taps.values()) + 96) // 32) * 32)
    image = torch.ones(1, 3, long, fine.smallest, dtype=torch.float64, requires_grad=True)
    maps = twin(image)
    for level, place in fine.taps.items():
        assert place.stride == (8, 8)
        assert place.offset == plain.taps[level].offset
        assert place.field == plain.taps[level].field
        cell = round((long / 2 - place.y.offset) / 8)
        for c in (cell, cell + 1):
            first, last = seen(maps[level].select(2, c).sum(), image, 2)
            assert (first, last) == (place.y.first + 8 * c, place.y.last + 8 * c)


@pytest.mark.parametrize(("name", "output_stride"), [("resnet18", 8), ("vgg11", 16)])
def test_a_dilated_fcn_trains_and_gives_the_size_of_its_input(
    name: str, output_stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from networks import narrow

    monkeypatch.setattr("fcnseg.classifiers.build", narrow)
    torch.manual_seed(0)
    model = build_fcn(name, "8s", 3, output_stride=output_stride).train()
    for layer in model.head.score.values():
        nn.init.normal_(layer.weight, std=0.1)
    score = model(torch.randn(1, 3, 67, 45))
    assert score.shape == (1, 3, 67, 45)
    score.square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    assert model.info.output_stride == output_stride


def test_a_dilated_average_pool_is_a_loop_over_its_windows() -> None:
    pool = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
    spread, padding = 2, (2, 2)
    ours = DilatedAvgPool(pool, Move(None, spread, 1, (1, 1)), (padding, padding), (2, 2))
    x = noise(1, 2, 9, 11)
    got = ours(x)
    assert got.shape == (1, 2, 11, 13)
    for row in range(got.shape[2]):
        for column in range(got.shape[3]):
            values = [
                x[0, :, i, j]
                for i in (row - 2, row, row + 2)
                for j in (column - 2, column, column + 2)
                if 0 <= i < 9 and 0 <= j < 11
            ]
            assert torch.allclose(got[0, :, row, column], torch.stack(values).mean(0))


def test_shift_and_stitch_is_a_loop_over_shifted_images() -> None:
    net = nn.Conv2d(3, 2, 4, 4).double()
    x = noise(1, 3, 21, 18)
    with torch.no_grad():
        stitched = shift_and_stitch(net, x, 4, 2)
        assert stitched.shape == (1, 2, 9, 8)
        for i in range(9):
            for j in range(8):
                window = x[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
                assert torch.allclose(stitched[0, :, i, j], net(window)[0, :, 0, 0])


class Functions(nn.Module):
    """Strides made by functions, not layers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = nn.functional
        row = x.new_tensor([1.0, 3.0, 2.0])
        kernel = torch.outer(row, row).expand(3, 3, 3, 3)
        x = f.conv2d(f.pad(x, (1, 1, 1, 1)), kernel, stride=2)
        x = f.max_pool2d(x, 2)[:, :, ::2, ::2]
        x = f.avg_pool2d(f.conv2d(x, kernel, None, 1, 1), 2, 2)
        x = f.pad(x, (0, 0, 0, 0, 0, 1))[:, 1:, 1:, 1:]
        return f.conv2d(f.conv2d(x, kernel, padding="valid"), kernel, padding=1)


class Reused(nn.Module):
    """One pool at every stride, as in many a network written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if i == 0 else 4, 4, 3, padding=1) for i in range(4))
        self.pool, self.smooth = nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            x = self.smooth(self.pool(conv(x)))
        return x


def down(*layers: nn.Module) -> nn.Module:
    """Layers after three convolutions that bring 3 channels to 4 and the stride to 8."""
    first = [nn.Conv2d(c, 4, 3, 2, 1) for c in (3, 4, 4)]
    return nn.Sequential(*first, *layers)


def conv(kernel: int, stride: int = 1, **how: object) -> nn.Conv2d:
    return nn.Conv2d(4, 4, kernel, stride, **how)


@pytest.mark.parametrize(
    ("net", "stride"),
    [
        (Functions(), 16),
        (Reused(), 16),
        (down(nn.MaxPool2d(2), conv(3, padding=1)), 16),
        (down(nn.MaxPool2d(3, 2, 1, ceil_mode=True), conv(3, padding="same")), 16),
        (down(nn.AvgPool2d(3, 2, 1, count_include_pad=False), conv(3, padding="valid")), 16),
        (down(nn.AvgPool2d(2, 2, ceil_mode=True), conv(4, padding="same"), conv(2)), 16),
        (down(nn.MaxPool2d(1, 2, ceil_mode=True), conv(3, padding=1, padding_mode="reflect")), 16),
        (down(nn.AvgPool2d(1, 2), conv(3, padding="same", padding_mode="replicate")), 16),
        (down(conv(3, 2, padding=1), nn.ZeroPad2d(1), conv(3), nn.AvgPool2d(3, 2)), 32),
        (down(conv(3, 2, dilation=2), nn.MaxPool2d(3, 1, 1), nn.MaxPool2d(3, 2, 1)), 32),
        (down(conv(3, 3, padding=1), conv(3, padding=1)), 24),
    ],
    ids=str,
)
def test_layers_of_every_kind_agree_with_shift_and_stitch_inside(
    net: nn.Module, stride: int
) -> None:
    torch.manual_seed(0)
    graph = trace(net.double())
    output = next(node for node in graph.graph.nodes if node.op == "output")
    coarse = extract(graph, {stride: output.args[0].name})
    fine = dilate(coarse, 8, 192)
    x = noise(1, 3, 192, 192)
    with torch.no_grad():
        dilated = fine(x)[stride]
        stitched = shift_and_stitch(lambda image: coarse(image)[stride], x, stride, stride // 8)
    assert dilated.shape[2] >= stitched.shape[2] - stride // 8
    assert bool(dilated.isfinite().all())
    inside = (slice(None), slice(None), slice(8, 16), slice(8, 16))
    assert torch.allclose(dilated[inside], stitched[inside], rtol=1e-9)
    assert dilated[inside].std() > 0


class TwoStrides(nn.Module):
    """The same convolution at stride 8 and at 16, or a stride along one axis alone."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.first, self.shared = kind, down(), conv(3, padding=1)
        self.coarse, self.tall = conv(3, 2, padding=1), conv(3, (2, 1), padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        if self.kind == "shared":
            return self.shared(self.coarse(self.shared(x)))
        if self.kind == "axis":
            return self.shared(self.tall(x))
        if self.kind == "circular":
            return nn.functional.pad(self.coarse(x), (1, 1, 1, 1), mode="circular")
        if self.kind == "adaptive":
            return nn.functional.adaptive_avg_pool2d(self.coarse(x), 5)
        if self.kind == "norm":
            return nn.functional.lp_pool2d(self.coarse(x), 2, 2)
        if self.kind == "cut":
            x = self.coarse(x)
            return (
                x + nn.functional.max_pool2d(nn.functional.pad(x, (1, 1, 1, 1)), 3, 1)[:, :, :, :12]
            )
        raise AssertionError(self.kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("shared", "shared_1: the layer shared is used at two strides"),
        ("axis", "dilated, its cells would see something else"),
        ("circular", "gives a map whose cells have no place in the image"),
        ("adaptive", "adaptive_avg_pool2d: gives a map whose cells have no place"),
        ("norm", "no rule says how to dilate this layer"),
        ("cut", "do not fit together once it is dilated to output stride 8"),
    ],
)
def test_what_cannot_be_dilated_is_refused_and_stays_as_it_was(kind: str, message: str) -> None:
    torch.manual_seed(0)
    net = trace(TwoStrides(kind))
    x = torch.randn(1, 3, 192, 192)
    with torch.no_grad():
        before = net(x)
        with pytest.raises(UsageError, match=message) as raised:
            dilate(net, 8, 192)
        assert "\n" not in str(raised.value)
        assert torch.equal(net(x), before)


def test_refusals() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.Conv2d(3, 3, 3, 2, 1)
            self.fc = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.down(self.down(x)).mean((2, 3)))

    net = convolutionalize(Shared(), 32)
    with pytest.raises(UsageError, match="stride that the network has, one of 1, 2, 4, got 3"):
        dilate(net, 3, 32)
    with pytest.raises(UsageError, match="down_1: the layer down is used at two strides"):
        dilate(net, 1, 32)
    with pytest.raises(UsageError, match="factor 3: expected a divisor of the stride 32"):
        shift_and_stitch(net, noise(1, 3, 64, 64), 32, 3)
    with pytest.raises(UsageError, match="--output-stride 8: the paper's padding goes with"):
        build_backbone("vgg11", padding="paper", output_stride=8)
