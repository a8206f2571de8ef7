"""The last layer of a classifier, and classifiers of one's own classes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fcnseg.backbones import build_backbone
from fcnseg.classifiers import build_classifier
from fcnseg.errors import UsageError, WeightsError
from fcnseg.last_layer import last_layer, replace_last_layer

# By the networks' own code.
LAST = {
    "alexnet": "classifier.6",
    "vgg11": "classifier.6",
    "resnet18": "fc",
    "squeezenet1_1": "classifier.1",
    "mobilenet_v3_small": "classifier.3",
    "convnext_tiny": "classifier.2",
    "densenet121": "classifier",
    "efficientnet_lite0": "classifier",
    "small_cnn": "fc",
    "timm/resnetv2_50x1_bit": "head.fc",
}


@pytest.mark.parametrize("name", LAST)
def test_it_is_found_and_replaced(name: str) -> None:
    with torch.device("meta"):
        classifier = build_classifier(name)
        before = {k: v.shape for k, v in classifier.state_dict().items()}
        assert replace_last_layer(classifier, 5) == last_layer(classifier) == LAST[name]
        assert classifier(torch.zeros(2, 3, 224, 224)).shape == (2, 5)
    after = {k: v.shape for k, v in classifier.state_dict().items()}
    assert set(after) == set(before)
    changed = {k for k in before if before[k] != after[k]}
    assert changed == {f"{LAST[name]}.weight", f"{LAST[name]}.bias"}


def test_a_network_without_one_is_refused() -> None:
    with pytest.raises(UsageError, match="Sequential: has no linear layer and no convolution"):
        last_layer(nn.Sequential(nn.ReLU(), nn.Flatten()))


def test_all_weights_but_the_last_layer_s_are_taken(tmp_path: Path) -> None:
    torch.manual_seed(0)
    there = build_classifier("resnet18").state_dict()
    torch.save(there, tmp_path / "imagenet.pth")
    own = build_classifier("resnet18", str(tmp_path / "imagenet.pth"), num_classes=4).state_dict()
    assert own["fc.weight"].shape == (4, 512)
    assert all(torch.equal(own[k], there[k]) for k in there if not k.startswith("fc."))
    # What has 4 classes may start what has 6, but is not taken for what has 1000.
    save_file({f"net.{k}": v for k, v in own.items()}, tmp_path / "own.safetensors")
    file = str(tmp_path / "own.safetensors")
    again = build_classifier("resnet18", file, num_classes=6).state_dict()
    assert again["fc.weight"].shape == (6, 512)
    assert torch.equal(again["conv1.weight"], there["conv1.weight"])
    with pytest.raises(WeightsError, match=r"of another shape \(fc.weight: \(4, 512\) in the fi"):
        build_classifier("resnet18", file)
    with pytest.raises(WeightsError, match=r"does not fit this network"):
        build_classifier("resnet34", file, num_classes=4)


def test_a_backbone_starts_from_a_classifier_of_other_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = build_classifier("small_cnn", num_classes=3)
    file = tmp_path / "best.safetensors"
    save_file({f"net.{k}": v for k, v in own.state_dict().items()}, file)
    backbone = build_backbone("small_cnn", str(file)).eval()
    image = torch.randn(1, 3, 64, 64)
    expected = own.eval().features(image)
    assert torch.equal(backbone(image)[8], expected)
