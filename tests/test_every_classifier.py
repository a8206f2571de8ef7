"""Every CNN classifier of torchvision, and one of each family of timm, by the same surgery."""

import pytest
import torch
from networks import families, randomise
from torch import nn

from fcnseg.build import build_fcn
from fcnseg.catalogue import catalogue, describe
from fcnseg.classifiers import build_classifier, count_parameters
from fcnseg.convolutionalize import convolutionalize
from fcnseg.errors import UsageError

# Networks of timm beside those of FAMILIES.
TIMM = [
    "timm/tf_efficientnet_lite0", "timm/tf_efficientnet_lite1", "timm/tf_efficientnet_lite2",
    "timm/tf_efficientnet_lite3", "timm/tf_efficientnet_lite4", "timm/convnext_tiny",
    "timm/resnet50", "timm/vgg16", "timm/regnety_032", "timm/efficientnetv2_rw_s",
    "timm/tf_efficientnetv2_s",
]  # fmt: skip


def the_same_function(name: str) -> None:
    """The window at the native size holds the classifier's own scores, to 1e-9 in float64."""
    torch.manual_seed(0)
    classifier = randomise(build_classifier(name)).double().eval()
    side = describe(name).preprocessing.native_size
    image = torch.randn(1, 3, side, side, dtype=torch.float64)
    with torch.inference_mode():
        expected = classifier(image)
        net = convolutionalize(classifier, side, pool="window")
        parameters, keys = count_parameters(classifier), set(classifier.state_dict())
        del classifier
        got = net(image)
    assert got.shape == (*expected.shape, 1, 1)
    assert (got[:, :, 0, 0] - expected).abs().max() < 1e-9 * expected.abs().max()
    assert count_parameters(net) == parameters
    assert set(net.state_dict()) == keys


@pytest.mark.parametrize("name", families())
def test_one_of_each_family_is_the_same_function(name: str) -> None:
    the_same_function(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*catalogue(), *TIMM])
def test_every_classifier_is_the_same_function(name: str) -> None:
    the_same_function(name)


@pytest.mark.parametrize("name", families())
def test_fcn_8s_of_each_family_gives_the_size_of_its_input_and_trains(name: str) -> None:
    torch.manual_seed(0)
    model = build_fcn(name, "8s", 3)
    randomise(model.backbone)  # gammas of zero would stop the gradient
    for layer in model.head.score.values():
        nn.init.normal_(layer.weight, std=0.01)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    before = {key: value.clone() for key, value in model.named_parameters()}
    for size in ((67, 45), (33, 97)):
        score = model.train()(torch.randn(1, 3, *size))
        assert score.shape == (1, 3, *size)
        loss = nn.functional.cross_entropy(score, torch.randint(0, 3, (1, *size)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert bool(loss.isfinite())
    learning = [bool(p.grad.abs().max() > 0) for p in model.backbone.parameters()]
    assert sum(learning) > 0.7 * len(learning)  # stochastic depth leaves out a block or two
    assert any(not torch.equal(v, before[k]) for k, v in model.named_parameters())
    assert all(bool(p.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vit_b_16", "MultiheadAttention"),
        ("swin_t", "ShiftedWindowAttention"),
        ("maxvit_t", "RelativePositionalMultiHeadAttention"),
    ],
)
def test_networks_that_are_not_convolutional_are_refused(name: str, kind: str) -> None:
    from torchvision import models

    with torch.device("meta"):
        net = models.get_model(name)
    said = rf"attention over positions \(.*: {kind}\).*choose a CNN"
    with pytest.raises(UsageError, match=said) as raised:
        convolutionalize(net)
    assert "\n" not in str(raised.value)


def test_squeezenet_ends_at_stride_16() -> None:
    with pytest.raises(UsageError, match=r"--backbone squeezenet1_1: has maps at .*8, 16, none at"):
        build_fcn("squeezenet1_1", "32s", 3)
    model = build_fcn("squeezenet1_1", "16s", 3)
    assert model.backbone.channels == {16: 512}  # the features, not the 1000 class scores


class Branching(nn.Module):
    """Somebody's own classifier, with code that only running it can decide."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if x.sum() > 0:
            x = x * 2
        return self.fc(x.mean((2, 3)))


def test_an_untraceable_network_names_its_line() -> None:
    with pytest.raises(UsageError, match=r"test_every_classifier.py:\d+ `if x.sum\(\) > 0:`"):
        convolutionalize(Branching(), 32)


class Careful(nn.Module):
    """Somebody's own classifier, which asks for the size of its maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4 * 8 * 8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if x.shape[-1] < 8 or x.shape[-2] < 8:
            x = nn.functional.interpolate(x, size=(8, 8))
        return self.fc(x.flatten(1))


def test_a_branch_on_a_shape_goes_the_way_of_the_native_size() -> None:
    torch.manual_seed(0)
    classifier = Careful().double()
    net = convolutionalize(classifier, 16)
    image = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    assert torch.allclose(net(image)[:, :, 0, 0], classifier(image), rtol=1e-9)
    assert net(torch.randn(1, 3, 32, 24, dtype=torch.float64)).shape == (1, 2, 9, 5)


def test_a_mask_is_no_reason_to_call_a_network_a_transformer() -> None:
    class SpatialAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 1, 7, padding=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
            return x * self.conv(both).sigmoid()

    class Masked(Branching):
        def __init__(self) -> None:
            super().__init__()
            self.mask = SpatialAttention()

    with pytest.raises(UsageError, match=r"Masked cannot be traced at .*`if x.sum\(\) > 0:`"):
        convolutionalize(Masked(), 32)
    masked = nn.Sequential(nn.Conv2d(3, 4, 3), SpatialAttention(), nn.AdaptiveAvgPool2d(1))
    net = convolutionalize(nn.Sequential(masked, nn.Flatten(), nn.Linear(4, 2)), 32)
    assert net(torch.zeros(1, 3, 40, 40)).shape == (1, 2, 38, 38)
