"""The convolution of large windows: the numbers of torch's own, on every path."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fcnseg import window
from fcnseg.window import WindowConv2d

Settings = dict[str, Any]


def pair(**settings: Any) -> tuple[WindowConv2d, nn.Conv2d]:
    """The same numbers in both kinds."""
    torch.manual_seed(0)
    ours = WindowConv2d(6, 5, (4, 3), **settings)
    theirs = nn.Conv2d(6, 5, (4, 3), **settings)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of images that went through the matrix product."""
    seen: list[tuple[int, ...]] = []
    product = WindowConv2d._product

    def noted(self: WindowConv2d, image: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(tuple(image.shape))
        return product(self, image, *rest)

    monkeypatch.setattr(WindowConv2d, "_product", noted)
    return seen


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("padding", [0, (2, 1), 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows_at_once", [1, 1000])
def test_a_product_is_the_convolution(
    memory: torch.memory_format, padding: Any, bias: bool, rows_at_once: int,
    products: list[Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(window, "_COLUMN_BYTES", rows_at_once * 4 * 6 * 12 * 9)
    ours, theirs = pair(padding=padding, bias=bias)
    ours, theirs = ours.to(memory_format=memory), theirs.to(memory_format=memory)
    maps = torch.randn(2, 6, 7, 9).contiguous(memory_format=memory)
    before = maps.clone()
    with torch.inference_mode():
        made = ours(maps)
        torch.testing.assert_close(made, theirs(maps), rtol=1e-5, atol=1e-6)
        assert torch.equal(made[1:], ours(maps[1:])), "a batch is its images one by one"
    assert len(products) == 3
    assert torch.equal(maps, before)
    with torch.no_grad():
        assert ours(maps[:, :, :4, :3]).shape == theirs(maps[:, :, :4, :3]).shape


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        ({"dilation": 2}, None),
        ({"stride": 2}, None),
        ({"groups": 1, "padding_mode": "reflect", "padding": 1}, None),
        ({"padding": "same"}, None),
        ({}, lambda net: net.double()),
    ],
    ids=["dilation", "stride", "reflecting", "padding by name", "double"],
)
def test_other_settings_take_the_usual_way(
    settings: Settings, change: Callable[[nn.Module], nn.Module] | None, products: list[Any]
) -> None:
    ours, theirs = pair(**settings)
    maps = torch.randn(1, 6, 12, 12)
    if change is not None:
        ours, theirs, maps = change(ours), change(theirs), maps.double()
    with torch.inference_mode():
        assert torch.equal(ours(maps), theirs(maps))
    assert products == []


def test_training_compiling_exporting_and_shapes_take_the_usual_way(products: list[Any]) -> None:
    ours, theirs = pair(padding=1)
    maps = torch.randn(1, 6, 12, 12, requires_grad=True)
    made = ours(maps)
    assert torch.equal(made, theirs(maps))
    made.sum().backward()
    assert ours.weight.grad is not None
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert ours(maps).dtype == torch.bfloat16
    with torch.no_grad():
        assert copy.deepcopy(ours).to("meta")(maps.to("meta")).shape == made.shape
        sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
        program = torch.export.export(ours, (maps.detach(),), dynamic_shapes=(sides,))
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert called == ["aten.conv2d.default"]
    assert products == []


def test_an_image_smaller_than_the_window_is_the_usual_error() -> None:
    ours, _ = pair()
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"[Kk]ernel size can't be greater"):
        ours(torch.randn(1, 6, 3, 9))


def test_it_is_shown_as_what_it_computes() -> None:
    ours, theirs = pair(padding=3)
    assert str(ours) == str(theirs)
