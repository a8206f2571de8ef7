"""Stride, offset and receptive field are what a gradient measures."""

import ast
from pathlib import Path

import pytest
import torch
from networks import CHAINS, FAMILIES, POOLED, SIBLINGS, linear_twin, seen
from torch import nn

import fcnseg
from fcnseg import trace
from fcnseg.backbones import Backbone, build_backbone
from fcnseg.errors import UsageError
from fcnseg.geometry import Axis
from fcnseg.heads import SkipHead
from fcnseg.trace import trace_features

NETWORKS = [(name, "same") for name in (*CHAINS, *POOLED, *FAMILIES)]
NETWORKS += [(name, "paper") for name in CHAINS]


class Backbones(dict[tuple[str, str], Backbone]):
    """Backbones with their taps, as shapes only, by name and padding; built when asked for."""

    def __missing__(self, key: tuple[str, str]) -> Backbone:
        with torch.device("meta"):
            self[key] = build_backbone(key[0], padding=key[1], strides=(8, 16, 32))
        return self[key]


@pytest.fixture(scope="module")
def backbones() -> Backbones:
    return Backbones()


@pytest.mark.parametrize(
    ("name", "padding"),
    [pytest.param(*n, marks=pytest.mark.slow if n[0] in SIBLINGS else ()) for n in NETWORKS],
)
def test_geometry_is_what_a_gradient_probe_measures(
    backbones: dict[tuple[str, str], Backbone], name: str, padding: str
) -> None:
    backbone = backbones[name, padding]
    twin = linear_twin(materialised(backbone.net))
    field = max(g.field[0] for g in backbone.taps.values())
    multiple, thin = backbone.multiple, backbone.smallest
    long = int(-(-(field + 6 * multiple) // multiple) * multiple)
    for axis, size in ((2, (long, thin)), (3, (thin, long))):
        image = torch.ones(1, 3, *size, dtype=torch.float64, requires_grad=True)
        maps = twin(image)
        for stride, place in backbone.taps.items():
            line = place.y if axis == 2 else place.x
            middle = round((long / 2 - line.offset) / stride)
            for cell in (middle, middle + 1):  # two cells: the stride is measured too
                row = maps[stride].select(axis, cell)
                first, last = seen(row.sum(), image, axis)
                assert (first, last) == (line.first + stride * cell, line.last + stride * cell)
    # Squeeze-excite and group norm look at the whole image, at the latest in the last stage.
    assert backbone.taps[max(backbone.taps)].sees_all == FAMILIES.get(name, False)


def materialised(net: nn.Module) -> nn.Module:
    """Numbers do not matter to the twin, only that there are some."""
    return net.to_empty(device="cpu")


@pytest.mark.parametrize("name", CHAINS)
def test_the_paper_padding_is_that_of_the_published_networks(
    backbones: dict[tuple[str, str], Backbone], name: str
) -> None:
    convs = [m for m in backbones[name, "paper"].net.modules() if isinstance(m, nn.Conv2d)]
    assert convs[0].padding == (100, 100)
    assert [c.padding for c in convs if c.kernel_size in ((7, 7), (6, 6))] == [(0, 0)]


def test_figures_of_the_paper(backbones: dict[tuple[str, str], Backbone]) -> None:
    fields = {n: backbones[n, "same"].taps[32].field for n in ("alexnet", "vgg16")}
    assert fields == {"alexnet": (355, 355), "vgg16": (404, 404)}
    net = backbones["vgg16", "paper"].net
    features = trace_features(net, (500, 500))
    sizes = {f.geometry.stride[0]: f.geometry.size for f in features.values() if f.geometry}
    assert sizes[32] == (16, 16)  # the last map at the stride: fc7
    taps_500 = {
        s: maps.shape[2:] for s, maps in net(torch.empty(1, 3, 500, 500, device="meta")).items()
    }
    assert taps_500 == {8: (88, 88), 16: (44, 44), 32: (16, 16)}


def test_centres_of_cells(backbones: dict[tuple[str, str], Backbone]) -> None:
    """Worked out by hand from the layers, as in the notes of the papers' users."""
    names = [*CHAINS, *POOLED, *(f"efficientnet_lite{n}" for n in range(5))]
    coarsest = {n: backbones[n, "same"].taps for n in (*names, "inception_v3", "timm/inception_v4")}
    offset = {n: taps[max(taps)].offset[0] for n, taps in coarsest.items()}
    assert {offset[f"vgg{n}"] for n in (11, 13, 16, 19)} == {15.5}
    assert {offset[f"resnet{n}"] for n in (18, 34, 50, 101, 152)} == {0}
    assert {offset[f"efficientnet_lite{n}"] for n in range(5)} == {31}
    assert {offset["inception_v3"], offset["timm/inception_v4"]} == {37}
    assert [backbones["densenet121", "same"].taps[s].offset[0] for s in (8, 16, 32)] == [2, 6, 14]
    assert backbones["vgg16", "paper"].taps[32].offset == (12.5, 12.5)


@pytest.mark.parametrize(
    ("variant", "crops"),
    [("32s", {1: 19}), ("16s", {16: 5, 1: 27}), ("8s", {16: 5, 8: 9, 1: 31})],
)
def test_published_crops_come_out_of_geometry(
    backbones: dict[tuple[str, str], Backbone], variant: str, crops: dict[int, int]
) -> None:
    backbone = backbones["vgg16", "paper"]
    head = SkipHead(backbone.taps, backbone.channels, 21, variant, padding="paper")
    assert head.crops == {stride: (c, c) for stride, c in crops.items()}
    kernels = [up.weight.shape[2] for up in head.upsample.values()]
    assert kernels == {"32s": [64], "16s": [4, 32], "8s": [4, 4, 16]}[variant]


def test_published_crops_are_typed_nowhere() -> None:
    package = Path(fcnseg.__file__).parent
    crops = {19, 27, 31, 12.5, 15.5, 7.5, 3.5}
    for path in [*package.glob("*.py"), *package.glob("inference/*.py")]:
        numbers = {
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, (int, float))
        }
        # VGG19 is the name of a network; 5 and 9 mean other things where nothing is cropped.
        names = {19} if path.name == "catalogue.py" else set()
        places = ("geometry", "rules", "trace", "upsample", "heads", "model", "taps")
        assert not numbers & ((crops | {5, 9} if path.stem in places else crops) - names), path


class Layers(nn.Module):
    """Operations that the catalogue does not have."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        f = nn.functional
        k = x.new_full((3, 3, 3, 3), 1 / 27)
        dilated = f.conv2d(x, k, padding=3, dilation=3, stride=2)
        reflected = f.avg_pool2d(f.pad(x, (1, 2, 0, 3), mode="reflect"), 3, 2)
        ceiled = f.avg_pool2d(dilated, 3, 2, ceil_mode=True)
        sliced = dilated[:, :, 1::2, 2:]
        joined = torch.cat([dilated, x[:, :, ::2, ::2]], 1)
        back = f.conv_transpose2d(dilated, k, stride=2, padding=1)
        nearest = f.interpolate(ceiled, scale_factor=2)
        last = x.permute(0, 2, 3, 1) * x.new_ones(3)
        norm = last - last.mean(-1, keepdim=True) * 0.5
        return {
            "dilated": dilated, "reflected": reflected, "ceiled": ceiled, "sliced": sliced,
            "joined": joined, "back": back, "nearest": nearest, "norm": norm.permute(0, 3, 1, 2),
        }  # fmt: skip


def test_every_operation_moves_the_geometry_as_the_gradient_says() -> None:
    net = trace.trace(Layers())
    size = (60, 72)
    features = trace_features(net, size)
    image = torch.ones(1, 3, *size, dtype=torch.float64, requires_grad=True)
    output = next(n for n in net.graph.nodes if n.op == "output").args[0]
    for name, value in net(image).items():
        place = features[output[name].name].geometry
        assert place is not None, name
        assert place.size == tuple(value.shape[2:]), name
        for axis, line in ((2, place.y), (3, place.x)):
            middle = value.shape[axis] // 2
            spans = [seen(value.select(axis, c).sum(), image, axis) for c in (middle, middle + 1)]
            low = min(
                first - line.stride * c
                for (first, _), c in zip(spans, (middle, middle + 1), strict=True)
            )
            high = max(
                last - line.stride * c
                for (_, last), c in zip(spans, (middle, middle + 1), strict=True)
            )
            assert (low, high) == (line.first, line.last), name


class Squeezed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1)
        self.group = nn.GroupNorm(2, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.conv(x)
        gated = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return {"plain": x, "gated": gated, "group": self.group(x), "after": gated.relu() + 1}


def test_maps_that_see_the_whole_image_are_flagged() -> None:
    net = trace.trace(Squeezed())
    features = trace_features(net, (32, 32))
    output = next(n for n in net.graph.nodes if n.op == "output").args[0]
    places = {name: features[node.name].geometry for name, node in output.items()}
    assert {n: g.sees_all for n, g in places.items()} == {
        "plain": False, "gated": True, "group": True, "after": True,
    }  # fmt: skip
    assert {(g.stride, g.offset, g.field) for g in places.values()} == {((2, 2), (0, 0), (3, 3))}


def test_an_operation_without_a_rule_is_an_error() -> None:
    class Rolled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.roll(x, 1, -1)

    with pytest.raises(UsageError, match=r"roll.*moves stride and offset") as raised:
        trace_features(trace.trace(Rolled()), (8, 8))
    assert "\n" not in str(raised.value)


def test_cutting_a_map_into_pieces_is_an_error() -> None:
    class Halved(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.chunk(2, 2)[1]

    with pytest.raises(UsageError, match="cuts or repeats the map"):
        trace_features(trace.trace(Halved()), (8, 8))


def test_maps_of_two_strides_cannot_be_one() -> None:
    with pytest.raises(UsageError, match="layer: expected maps of one stride"):
        Axis(4, 2, 0, 0).merge(Axis(4, 1, 0, 0), "layer")
