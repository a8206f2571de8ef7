"""A convolutionalized classifier is the classifier: the same numbers, any size."""

from collections.abc import Callable

import pytest
import torch
from networks import CHAINS, POOLED, randomise
from torch import nn
from torch.nn import functional as f

from fcnseg.catalogue import describe
from fcnseg.classifiers import build_classifier, count_parameters
from fcnseg.convolutionalize import convolutionalize
from fcnseg.errors import UsageError
from fcnseg.trace import trace, trace_features

# All others are compared in test_every_classifier.py.
USUAL = ("alexnet", "vgg11_bn", "vgg16", "resnet18", "resnet50", "efficientnet_lite0")


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def image(*size: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("name", USUAL)
def test_equals_the_classifier_at_the_native_size(name: str) -> None:
    torch.manual_seed(0)
    classifier = randomise(build_classifier(name)).double().eval()
    side = describe(name).preprocessing.native_size
    x = image(side, side)
    window = convolutionalize(classifier, side, pool="window")
    cells = convolutionalize(classifier, side)
    with torch.inference_mode():
        expected = classifier(x)
        assert window(x).shape == (1, 1000, 1, 1)
        assert relative(window(x)[:, :, 0, 0], expected) < 1e-9
        score = cells(x)
        assert score.shape[2:] == ((1, 1) if name in CHAINS else (7, 7))
        assert relative(score.mean((2, 3)), expected) < 1e-9
    assert count_parameters(cells) == count_parameters(window) == count_parameters(classifier)
    assert set(cells.state_dict()) == set(classifier.state_dict())
    assert not cells.training


@pytest.mark.parametrize("name", [*CHAINS, *POOLED])
def test_larger_images_give_the_map_that_geometry_predicts(name: str) -> None:
    with torch.device("meta"):
        net = convolutionalize(build_classifier(name)).eval()
    for size in ((288, 352), (225, 500)):
        predicted = trace_features(net, size)
        *_, last = predicted.values()
        got = net(torch.empty(1, 3, *size, device="meta"))
        assert tuple(got.shape) == last.shape
        assert last.geometry is not None
        assert got.shape[2:] == last.geometry.size
        # Rows and columns that fit: counted by hand from stride and padding.
        for cells, length in zip(last.geometry.size, size, strict=True):
            assert cells == cells_by_hand(name, length)


def cells_by_hand(name: str, length: int) -> int:
    if name == "alexnet":
        for kernel, stride, pad in ((11, 4, 2), (3, 2, 0), (3, 2, 0), (3, 2, 0), (6, 1, 0)):
            length = (length + 2 * pad - kernel) // stride + 1
        return length
    if name in CHAINS:
        return length // 32 - 6
    return -(-length // 32)


def test_without_padding_each_cell_is_the_classifier_on_its_own_crop() -> None:
    torch.manual_seed(0)
    classifier = build_classifier("alexnet").double().eval()
    for module in classifier.modules():
        if isinstance(module, nn.Conv2d):
            module.padding = (0, 0)
    side = 355  # what gives 6x6 cells then; the paper's receptive field of AlexNet
    x = image(side + 32, side + 64)
    net = convolutionalize(classifier, side)
    with torch.inference_mode():
        score = net(x)
        assert score.shape[2:] == (2, 3)
        for row in range(2):
            for column in range(3):
                crop = x[:, :, 32 * row : 32 * row + side, 32 * column : 32 * column + side]
                assert relative(score[:, :, row, column], classifier(crop)) < 1e-9


class Owned(nn.Module):
    """Somebody's own classifier, with a tail of every kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 6, 3, 2, 1))
        self.first, self.norm = nn.Linear(6 * 4 * 5, 12), nn.BatchNorm1d(12)
        self.second, self.layer_norm = nn.Linear(12, 12, bias=False), nn.LayerNorm(12)
        self.last = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.body(x).relu()
        x = x.view(x.size(0), -1)
        x = torch.tanh(self.norm(self.first(x)))
        x = nn.functional.dropout(x, 0.5, self.training)
        return self.last(nn.functional.gelu(self.layer_norm(self.second(x))))


def test_a_classifier_of_ones_own() -> None:
    torch.manual_seed(0)
    classifier = randomise(Owned()).double().eval()
    x = image(16, 20)
    before = {k: v.clone() for k, v in classifier.state_dict().items()}
    net = convolutionalize(classifier, (16, 20))
    with torch.inference_mode():
        assert relative(net(x)[:, :, 0, 0], classifier(x)) < 1e-12
        assert net(image(24, 32)).shape == (1, 4, 3, 4)
    assert net.first.weight.shape == (12, 6, 4, 5)
    assert any(isinstance(module, nn.Dropout) for module in net.modules())
    net.last.weight.data.zero_()
    assert all(torch.equal(v, before[k]) for k, v in classifier.state_dict().items())


@pytest.mark.parametrize("pool", [nn.AdaptiveMaxPool2d(1), nn.AvgPool2d(4), nn.MaxPool2d(4)])
def test_pools_of_other_kinds(pool: nn.Module) -> None:
    torch.manual_seed(0)
    classifier = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), pool, nn.Flatten(), nn.Linear(5, 2))
    x = image(8, 8, dtype=torch.float32)
    net = convolutionalize(classifier, 8, pool="window")
    assert torch.allclose(net(x)[:, :, 0, 0], classifier(x), atol=1e-6)
    assert net(image(10, 16, dtype=torch.float32)).shape == (1, 2, 2, 5)
    assert convolutionalize(classifier, 8)(x).shape == (1, 2, 4, 4)


class Tail(nn.Module):
    """A small body, 32 px -> 8x8 cells of 16, and a tail that a test gives as a function."""

    def __init__(self, tail: Callable[["Tail", torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1))
        self.fc, self.value, self.whole = nn.Linear(16, 10), nn.Linear(16, 1), nn.Linear(1024, 10)
        self.wide, self.scale = nn.Linear(32, 10), nn.Parameter(torch.rand(10))
        self.softmax, self.tail = nn.Softmax(1), tail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self, self.body(x))


@pytest.mark.parametrize(
    "tail",
    [
        # Pools that leave out a part of the map, or weigh it otherwise, stay what they are.
        lambda n, y: n.fc(f.avg_pool2d(y, 7).flatten(1)),
        lambda n, y: n.fc(f.max_pool2d(y, 5).flatten(1)),
        lambda n, y: n.fc(f.avg_pool2d(y, 10, padding=1).flatten(1)),
        lambda n, y: n.fc(f.avg_pool2d(y, 8, divisor_override=1).flatten(1)),
        lambda n, y: n.whole(f.max_pool2d(f.adaptive_avg_pool2d(y, 8), 3, 1, 1).flatten(1)),
        lambda n, y: n.fc(f.avg_pool2d(y, kernel_size=(8, 8)).squeeze(3).squeeze(2)),
        lambda n, y: n.wide(torch.cat([y.mean((2, 3)), y.amax((2, 3))], dim=-1)),
        lambda n, y: n.fc(y.mean((2, 3))) + n.value(y.mean((2, 3))),
        lambda n, y: n.softmax(n.fc(y.mean([-2, -1]))),
    ],
)
@pytest.mark.parametrize("pool", ["none", "window"])
def test_unusual_tails(tail: Callable[..., torch.Tensor], pool: str) -> None:
    torch.manual_seed(0)
    classifier = Tail(tail).double()
    x = image(32, 32)
    net = convolutionalize(classifier, 32, pool=pool)
    score = net(x)
    if score.shape[2:] == (1, 1):
        assert relative(score[:, :, 0, 0], classifier(x)) < 1e-12
    else:
        assert pool == "none"


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        (lambda n, y: n.fc(y.mean((2, 3))) * n.scale, "computes with a tensor of the model .scale"),
        (lambda n, y: n.fc(y.mean((2, 3))).sub(n.fc(y.mean((2, 3))).mean(1, True)), "has a layer"),
        (lambda n, y: n.fc(y.flatten(2).mean(-1)), "expected a flatten of the map"),
        (lambda n, y: n.whole(y.permute(0, 2, 3, 1).flatten(1)), r"expected a map laid out \(N, C"),
        (lambda n, y: n.fc(f.normalize(y.mean((2, 3)), dim=1)), "has a layer"),
    ],
)
def test_tails_that_mean_something_else_on_maps_are_refused(
    tail: Callable[..., torch.Tensor], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        convolutionalize(Tail(tail), 32)


def test_what_no_rule_thought_of_is_found_by_running_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that is wrong on purpose: batch norm without its numbers."""
    monkeypatch.setattr(
        "fcnseg.convolutionalize.batch_norm", lambda norm: nn.BatchNorm2d(norm.num_features)
    )
    with pytest.raises(UsageError, match="Owned: its tail cannot be written as convolutions"):
        convolutionalize(randomise(Owned()), (16, 20))


def test_images_of_other_channels() -> None:
    """Digits in grey, say."""
    classifier = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))
    net = convolutionalize(classifier, 8)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(net(x)[:, :, 0, 0], classifier(x), atol=1e-6)
    assert net(torch.zeros(1, 1, 28, 20)).shape == (1, 10, 21, 13)


def test_training_mode_is_kept_and_layers_can_train() -> None:
    classifier = build_classifier("resnet18").train()
    net = convolutionalize(classifier)
    assert net.training
    assert classifier.training
    net(image(64, 64, dtype=torch.float32).repeat(2, 1, 1, 1)).sum().backward()
    assert net.fc.weight.grad is not None


def test_surgery_says_what_it_did() -> None:
    net = convolutionalize(build_classifier("alexnet"))
    done = {r.node: r for r in net.meta["surgery"]}
    assert "kernel_size=(6, 6)" in done["classifier_1"].after
    assert done["avgpool"].after == "dropped"
    assert "identity" in done["avgpool"].why


@pytest.mark.parametrize(
    ("classifier", "size", "message"),
    [
        (nn.Conv2d(3, 2, 1), 8, "ends in a map"),
        (build_classifier("alexnet"), 320, "pools 9x9 cells to 6x6; expected an identity"),
        (build_classifier("alexnet"), 32, "cannot take an image of 32x32 px"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(2), nn.Linear(64, 4), nn.Flatten()),
            8,
            "expected a flatten of the map",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.GLU(1)),
            8,
            r"GLU\(dim=1\)\): the tail of the classifier has a layer",
        ),
    ],
)
def test_refusals(classifier: nn.Module, size: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        convolutionalize(classifier, size)


def test_what_cannot_be_traced_is_named_with_its_line() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.mean() > 0:  # a decision on numbers
                return x
            return -x

    with pytest.raises(UsageError, match=r"test_convolutionalize.py:\d+ `if x.mean\(\) > 0"):
        trace(Branching())


def test_pooled_names_are_those_of_the_issue() -> None:
    assert [f"resnet{n}" for n in (18, 34, 50, 101, 152)] + ["efficientnet_lite0"] == POOLED
