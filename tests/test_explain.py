"""The explanation against hand arithmetic, published counts and the network itself."""

import functools
import math
import re
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from fcnseg import build_fcn
from fcnseg.errors import UsageError
from fcnseg.explain import explain as explain_anew
from fcnseg.explain.records import Explanation

explain = functools.cache(explain_anew)

# VGG16 by hand: channels of its convolutions, "P" for a pool (Simonyan and Zisserman, table 1).
VGG16 = (64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P")
LINEAR = ((25088, 4096), (4096, 4096), (4096, 1000))


def vgg16_parameters() -> int:
    total, before = 0, 3
    for layer in VGG16:
        if isinstance(layer, int):
            total, before = total + 9 * before * layer + layer, layer
    return total + sum(a * b + b for a, b in LINEAR)


def vgg16_multiply_adds(side: int, first_padding: int = 1, ceil: bool = False) -> tuple[int, int]:
    """Of the convolutions of VGG16, and the side of its last map."""
    total, before, padding = 0, 3, first_padding
    for layer in VGG16:
        if isinstance(layer, int):
            side = side + 2 * padding - 2
            total += side * side * 9 * before * layer
            before, padding = layer, 1
        else:
            side = -(-side // 2) if ceil else side // 2
    return total, side


@pytest.fixture(scope="module")
def paper() -> Explanation:
    return explain("vgg16", "8s", (500, 500), "paper")


def test_vgg16_has_its_parameters_before_and_after(paper: Explanation) -> None:
    assert vgg16_parameters() == 138_357_544
    assert paper.totals.classifier == paper.totals.converted == 138_357_544
    for side in ("before", "after"):
        layers = [getattr(layer, side) for layer in paper.layers]
        assert sum(layer.parameters for layer in layers if layer) == 138_357_544
    assert sum(part.parameters_before for part in paper.parts) == 138_357_544
    # What the FCN keeps is all but fc8; the head has a weight and a bias a class and channel.
    assert paper.totals.backbone == 138_357_544 - 4096 * 1000 - 1000
    assert paper.totals.score == 21 * (4096 + 512 + 256 + 3)
    assert paper.totals.upsampling == 21 * (4 * 4 + 4 * 4 + 16 * 16)


def test_vgg16_multiply_adds_by_a_plain_loop(paper: Explanation) -> None:
    convolutions, side = vgg16_multiply_adds(224)
    assert side == 7
    by_hand = convolutions + sum(a * b for a, b in LINEAR)
    assert round(by_hand / 1e9, 2) == 15.47
    assert paper.totals.multiply_adds_native == by_hand
    at_500, side = vgg16_multiply_adds(500, first_padding=100, ceil=True)
    assert side == 22
    fc6_fc7 = 16 * 16 * (25088 * 4096 + 4096 * 4096)
    assert paper.totals.multiply_adds_backbone == at_500 + fc6_fc7
    (fc6,) = [layer for layer in paper.layers if layer.name == "classifier.0"]
    assert fc6.before.multiply_adds == 25088 * 4096
    assert fc6.after is not None
    assert fc6.after.multiply_adds == 16 * 16 * 25088 * 4096
    assert (fc6.before.what, fc6.after.what) == ("Linear 25088->4096", "Conv 512->4096")
    assert fc6.after.window is not None
    assert fc6.after.window.kernel == (7, 7)


@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    [
        (name, models.get_model_weights(name)["IMAGENET1K_V1"].meta["_ops"])
        for name in ("alexnet", "resnet18", "mobilenet_v3_large")
    ],
)
def test_multiply_adds_are_those_that_torchvision_publishes(
    name: str, multiply_adds: float
) -> None:
    found = explain(name).totals.multiply_adds_native
    assert found / 1e9 == pytest.approx(multiply_adds, abs=2e-3)


def test_sizes_and_crops_of_the_paper(paper: Explanation) -> None:
    assert [skip.place.size for skip in paper.skips] == [(16, 16), (44, 44), (88, 88)]
    assert [skip.node for skip in paper.skips][1:] == ["features_23", "features_16"]
    to16, to8, to1 = paper.upsamplings
    assert (to16.crop, to16.start, to16.cropped) == ((-5, -5), (5, 5), "finer")
    assert (to8.crop, to8.start, to8.cropped) == ((-9, -9), (9, 9), "finer")
    assert (to1.crop, to1.start, to1.cropped) == ((31, 31), (31, 31), "upsampled")
    assert [up.up for up in paper.upsamplings] == [(34, 34), (70, 70), (568, 568)]
    assert [up.kernel for up in paper.upsamplings] == [(4, 4), (4, 4), (16, 16)]


@pytest.mark.parametrize(
    ("variant", "crop", "up", "kernel"), [("32s", 19, 544, 64), ("16s", 27, 560, 32)]
)
def test_the_papers_other_variants(variant: str, crop: int, up: int, kernel: int) -> None:
    last = explain("vgg16", variant, (500, 500), "paper").upsamplings[-1]
    assert (last.crop[0], last.up[0], last.kernel[0]) == (crop, up, kernel)


def test_offsets_and_fields_of_vgg16(paper: Explanation) -> None:
    coarse = paper.skips[0].place
    assert coarse.offset == (12.5, 12.5)
    assert coarse.field == (404, 404)
    same = explain("vgg16", "8s").skips
    assert [skip.place.offset[0] for skip in same] == [15.5, 7.5, 3.5]
    assert [skip.place.stride[0] for skip in same] == [32, 16, 8]


VGG_BY_HAND = {32: 15.5, 16: 7.5, 8: 3.5}  # five pools of two cells, each odd kernel centred
RESNET_BY_HAND = {32: 0.0, 16: 0.0, 8: 0.0}  # odd kernels alone, all centred
# Padding 100 in place of 1 moves all by 99 px; the unpadded 7x7 of fc6 by 3 cells of 32 px.
PAPER_BY_HAND = {32: 15.5 - 99 + 96, 16: 7.5 - 99, 8: 3.5 - 99}

# Arguments, then for each scored map its offset, its stride, and its (rows, columns).
Maps = list[tuple[float, float, tuple[int, int]]]
FORMULAS: list[tuple[tuple[Any, ...], int, Maps]] = [
    (("vgg16", "8s", (500, 500), "paper"), 32,
     [(PAPER_BY_HAND[32], 32, (16, 16)), (PAPER_BY_HAND[16], 16, (44, 44)),
      (PAPER_BY_HAND[8], 8, (88, 88))]),
    (("vgg11", "16s", (375, 500), "same"), 32,
     [(VGG_BY_HAND[32], 32, (12, 16)), (VGG_BY_HAND[16], 16, (24, 32))]),
    (("resnet18", "16s", (240, 501), "same"), 32,
     [(RESNET_BY_HAND[32], 32, (8, 16)), (RESNET_BY_HAND[16], 16, (16, 32))]),
    (("resnet50", "8s", (250, 301), "same"), 8,
     [(RESNET_BY_HAND[32], 8, (32, 40)), (RESNET_BY_HAND[16], 8, (32, 40)),
      (RESNET_BY_HAND[8], 8, (32, 40))]),
    (("resnet50", "8s-atonce", (64, 64), "same"), 16,
     [(RESNET_BY_HAND[32], 16, (4, 4)), (RESNET_BY_HAND[16], 16, (4, 4)),
      (RESNET_BY_HAND[8], 8, (8, 8))]),
]  # fmt: skip


def by_search(
    maps: list[tuple[float, float, int]], image: int, published: bool
) -> list[dict[str, list[float]]]:
    """The numbers of every upsampling along one axis, in the order in which they are printed.

    Nothing is solved: kernels are found by trying cells, sizes by a transposed convolution.
    """
    found = []
    (offset, stride, cells), *finer = maps
    for o, s, size in [*finer, (0.0, 1.0, image)]:
        ratio, shift = int(stride / s), (offset - o) / s
        # Bilinear weights: the finer cells less than one coarse cell from coarse cell 0.
        reached = [j for j in range(-400, 400) if abs(j - shift) < ratio]
        kernel, crop = len(reached), -reached[0]
        before = after = 0
        while not published and shift - ratio * before > 0:
            before += 1
        while not published and shift + ratio * (cells - 1 + after) < size - 1:
            after += 1
        with torch.device("meta"):
            row = torch.empty(1, 1, 1, before + cells + after)
            weight = torch.empty(1, 1, 1, kernel)
            up = torch.conv_transpose2d(row, weight, stride=(1, ratio)).shape[3]
        numbers: dict[str, list[float]] = {
            "shift": [offset, o, s, shift],
            "crop": [ratio, shift, 1, crop],
            "kernel": [crop, shift, ratio, kernel],
            "extended": [before, cells, after, before + cells + after],
            "size": [ratio, before + cells + after, 1, kernel, up],
        }
        if published and (o, s) != (0, 1):
            # The transposed convolution begins inside the finer map, which is cut to it.
            assert 0 <= reached[0] <= reached[0] + up <= size
            numbers["cut"] = [reached[0], reached[0] + up - 1, size]
            o, size = o + s * reached[0], up
        else:
            start = ratio * before - reached[0]
            assert start + size <= up
            moved = [crop, ratio, before, start] if before else []
            numbers["cut"] = [*moved, start, start + size - 1, up]
        found.append(numbers)
        offset, stride, cells = o, s, size
    return found


SHAPES = {
    "shift": "(# - #) / # = #",
    "crop": "ceil(# - #) - # = #",
    "kernel": "ceil(# + # + #) = #",
    "extended": "# + # + # = #",
    "size": "# * (# - #) + # = #",
    "cut": "cells # to # of #",
}


@pytest.mark.parametrize(("args", "output_stride", "maps"), FORMULAS)
def test_every_formula_is_true(args: tuple[Any, ...], output_stride: int, maps: Maps) -> None:
    told = explain(*args, output_stride)
    assert [skip.place.size for skip in told.skips] == [cells for _, _, cells in maps]
    published = args[3] == "paper"
    sides = [side if published else -(-side // 32) * 32 for side in args[2]]
    expected = [
        by_search([(o, s, cells[axis]) for o, s, cells in maps], sides[axis], published)
        for axis in (0, 1)
    ]
    assert len(told.upsamplings) == len(expected[0])
    for i, up in enumerate(told.upsamplings):
        steps = {step.name: step.formula for step in up.steps}
        both = [axis[i] for axis in expected]
        grown = any(numbers["extended"][0] + numbers["extended"][2] for numbers in both)
        assert list(steps) == [name for name in SHAPES if grown or name != "extended"]
        for name, formula in steps.items():
            lines = formula.split("; ") if "vertically" in formula else [formula, formula]
            for numbers, line in zip(both, lines, strict=True):
                assert numbers_in(line) == numbers[name], f"{name}: {formula}"
                assert skeleton(line).endswith(SHAPES[name]), formula
                left, equals, right = re.sub(r"^[a-z]+ly |: .*", "", line).partition(" = ")
                if equals:
                    value = eval(left, {"ceil": math.ceil})  # our own string of numbers
                    assert value == float(right), formula


NUMBER = r"\(-[\d.]+\)|(?<![\w.])-?\d+(?:\.\d+)?"


def numbers_in(line: str) -> list[float]:
    return [float(number.strip("()")) for number in re.findall(NUMBER, line)]


def skeleton(line: str) -> str:
    """A formula with its numbers left out."""
    return re.sub(NUMBER, "#", line).replace("the finer map's ", "")


def test_titles_have_the_level_and_the_stride_of_each_map() -> None:
    coarse = explain("resnet50", "8s", (250, 301), "same", 8)
    assert [up.title for up in coarse.upsamplings] == [
        "From level 32 (stride 8) to level 16 (stride 8): ratio 1",
        "From level 16 (stride 8) to level 8 (stride 8): ratio 1",
        "From level 8 (stride 8) to the image: ratio 8",
    ]
    usual = explain("resnet18", "16s", (240, 501), "same", 32)
    assert [up.title for up in usual.upsamplings] == [
        "From level 32 (stride 32) to level 16 (stride 16): ratio 2",
        "From level 16 (stride 16) to the image: ratio 16",
    ]


def test_a_network_that_branches_on_the_size_of_the_image() -> None:
    told = explain("timm/vgg11", "8s", (224, 256))
    usual = explain("vgg11", "8s", (224, 256))
    assert told.totals.multiply_adds_native == usual.totals.multiply_adds_native
    assert told.totals.classifier == usual.totals.classifier


class Transposed(TorchDispatchMode):
    """Collects the sizes that transposed convolutions give, and the cells they read."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ == "convolution" and args[6]:
            self.sizes.append(tuple(out.shape[2:]))
        return out


@pytest.mark.parametrize(
    ("name", "variant", "padding", "size", "output_stride"),
    [
        ("vgg11", "8s", "same", (375, 500), 32),
        ("vgg11", "16s", "paper", (375, 500), 32),
        ("alexnet", "32s", "same", (227, 300), 32),
        ("resnet18", "8s-atonce", "same", (90, 500), 32),
        ("efficientnet_lite0", "8s", "same", (501, 64), 32),
        ("resnet50", "8s", "same", (90, 131), 8),
        ("timm/vgg11", "8s", "same", (230, 260), 32),
    ],
)
def test_the_network_itself_does_what_is_told(
    name: str, variant: str, padding: Any, size: tuple[int, int], output_stride: int
) -> None:
    told = explain(name, variant, size, padding, output_stride, 5)
    with torch.device("meta"):
        model = build_fcn(name, variant, 5, padding=padding, output_stride=output_stride).eval()
        image = torch.empty(1, 3, *size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter, Transposed() as seen:
            scores = model(image)
    assert [up.up for up in told.upsamplings] == seen.sizes
    assert tuple(scores.shape[2:]) == size
    totals = told.totals
    products = totals.multiply_adds_backbone + totals.multiply_adds_head
    assert counter.get_total_flops() // 2 == products
    assert totals.fcn == sum(p.numel() for p in model.parameters())
    if variant == "8s-atonce":
        assert [skip.scale for skip in told.skips] == [1, 1e-2, 1e-4]


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "mobilenet_v3_large"])
def test_rows_cover_the_network(name: str) -> None:
    told = explain(name)
    assert sum(part.parameters_after for part in told.parts) == told.totals.converted
    assert sum(part.multiply_adds_native for part in told.parts) == (
        told.totals.multiply_adds_native
    )
    assert len(told.parts) < 45
    assert [part.tap for part in told.parts if part.tap] == [8, 16, 32]
    for layer in told.layers:
        if layer.after is None:
            assert layer.stage == 0
        elif layer.before.place is not None:
            assert layer.after.shape[0] == layer.before.shape[0]
    if name == "mobilenet_v3_large":
        assert any(part.place and part.place.sees_all for part in told.parts)
    else:
        assert not any(part.place and part.place.sees_all for part in told.parts)


def test_a_tail_of_two_linear_layers() -> None:
    told = explain("mobilenet_v3_large")
    rewritten = {change.names[0]: change for change in told.surgery}
    assert rewritten["classifier.0"].before == "Linear 960->1280"
    assert rewritten["classifier.0"].after == "Conv 960->1280, 1x1"
    assert rewritten["classifier.3"].after == "Conv 1280->1000, 1x1"
    assert rewritten["avgpool"].after == "dropped"
    left = [change for change in told.changes if change.after == "left out"]
    assert [change.names for change in left] == [("classifier.0",), ("classifier.3",)]
    assert "scores the classifier's classes" in left[1].why
    assert "scores the classifier's classes" not in left[0].why


def test_what_the_paper_changes_besides(paper: Explanation) -> None:
    told = {change.names: (change.before, change.after) for change in paper.changes}
    assert told["features.0",] == ("padding 1", "padding 100")
    pools = tuple(f"features.{i}" for i in (4, 9, 16, 23, 30))
    assert told[pools] == ("rounds down", "rounds up")
    assert told["classifier.6",] == ("Conv 4096->1000", "left out")
    (fc6,) = [c for c in paper.surgery if c.names == ("classifier.0",)]
    assert "(4096, 25088) is read as (4096, 512, 7, 7)" in fc6.why


def test_stride_turned_into_dilation() -> None:
    told = explain("resnet50", "8s", (256, 256), output_stride=8)
    assert {skip.place.stride for skip in told.skips} == {(8, 8)}
    assert [up.ratio for up in told.upsamplings] == [1, 1, 8]
    # By hand: two blocks lose the stride of a 3x3 and of a shortcut; the first block of layer4
    # still reads layer3's cells, so its 3x3 has dilation 2 and so has its shortcut.
    (dilated, left) = told.changes
    assert dilated.before == "stride 2 (4 layers), not dilated"
    assert dilated.after == "stride 1, dilation 2 (7 layers), dilation 4 (2 layers)"
    assert left.after == "left out"


@pytest.mark.parametrize(
    ("name", "pools"),
    [
        ("densenet121", ["features.transition2.pool", "features.transition3.pool"]),
        ("timm/resnet26d", ["layer3.0.downsample.0", "layer4.0.downsample.0"]),
    ],
)
def test_a_dilated_pool_is_told_as_a_pool(name: str, pools: list[str]) -> None:
    told = explain(name, "8s", (64, 64), output_stride=8)
    found = {layer.name: layer.after for layer in told.layers if layer.name in pools}
    assert list(found) == pools
    steps = []
    for after in found.values():
        assert after is not None
        assert after.window is not None
        assert (after.what, after.multiply_adds) == ("Average pool", 0)
        steps.append((after.window.step, after.window.dilation))
    assert steps == [((1, 1), (1, 1)), ((1, 1), (2, 2))]
    assert set(pools) < set(told.changes[0].names)
    assert not any("Dilated" in part.becomes for part in told.parts)
    assert told.totals.converted == told.totals.classifier


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("resnet18", "8s", (500, 500), "paper"), "defined for VGG and AlexNet, not for resnet18"),
        (("vgg17",), "--backbone vgg17: unknown; did you mean 'vgg1"),
        (("vgg16", "4s"), "--variant: expected one of 32s, 16s, 8s, 8s-atonce, got '4s'"),
        (("vgg16", "8s", (0, 500)), "--size 0x500: expected sides of 1 to 100000 pixels"),
        (("vgg16", "8s", (500, 10**6)), "--size 500x1000000: expected sides"),
    ],
)
def test_refusals(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError) as error:
        explain(*args)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
