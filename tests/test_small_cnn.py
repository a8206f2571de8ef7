"""The small CNN: what it computes, and what it can be made into."""

import pytest
import torch
from networks import randomise
from torch.nn import functional as F

from fcnseg.build import build_fcn
from fcnseg.catalogue import class_names, describe
from fcnseg.classifiers import build_classifier
from fcnseg.convolutionalize import convolutionalize
from fcnseg.errors import UsageError
from fcnseg.small_cnn import SmallCNN
from fcnseg.trace import trace_features


def test_it_is_five_blocks_a_mean_and_a_linear_layer() -> None:
    torch.manual_seed(0)
    net = randomise(SmallCNN(7)).double().eval()
    image = torch.randn(2, 3, 61, 48, dtype=torch.float64)
    state, x = net.state_dict(), image
    for number, stride in enumerate((2, 1, 2, 1, 2), start=1):
        block = f"features.block{number}"
        x = F.conv2d(x, state[f"{block}.0.weight"], stride=stride, padding=1)
        norm = [state[f"{block}.1.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
        x = F.batch_norm(x, *norm).clamp(min=0)
    expected = x.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    assert torch.allclose(net(image), expected, rtol=1e-10)


def test_the_mean_of_its_map_is_its_score() -> None:
    torch.manual_seed(0)
    classifier = randomise(SmallCNN(3)).double().eval()
    net = convolutionalize(classifier, 64)
    image = torch.randn(1, 3, 80, 64, dtype=torch.float64)
    map_NKhw = net(image)
    assert map_NKhw.shape == (1, 3, 10, 8)
    assert torch.allclose(map_NKhw.mean((2, 3)), classifier(image), rtol=1e-10)
    *_, last = trace_features(net, (64, 64)).values()
    assert last.geometry is not None
    assert (last.geometry.stride, last.geometry.offset) == ((8, 8), (0, 0))
    assert last.geometry.field == (27, 27)


def test_it_has_a_map_at_stride_8_for_an_fcn() -> None:
    model = build_fcn("small_cnn", "8s", 4)
    assert model.backbone.channels == {8: 96}
    for variant in ("32s", "16s"):
        with pytest.raises(UsageError, match=r"small_cnn: has maps at stride 2, 4, 8, none at"):
            build_fcn("small_cnn", variant, 4)


def test_it_knows_nothing_before_it_is_trained() -> None:
    assert describe("small_cnn").preprocessing.native_size == 64
    torch.manual_seed(0)
    first = build_classifier("small_cnn", "auto").state_dict()
    torch.manual_seed(0)
    assert torch.equal(first["fc.weight"], SmallCNN().fc.weight)
    with pytest.raises(UsageError, match=r"small_cnn: knows nothing before it is trained; train"):
        class_names("small_cnn")
