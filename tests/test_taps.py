"""Skips leave from where the papers and the blocks say."""

import pytest
import torch
from networks import randomise
from torch import nn

from fcnseg.backbones import build_backbone
from fcnseg.classifiers import build_classifier
from fcnseg.taps import extract, find_taps
from fcnseg.trace import trace, trace_features


def taps(name: str, rule: str = "blocks") -> dict[int, str]:
    with torch.device("meta"):
        graph = trace(build_classifier(name))
        return find_taps(graph, trace_features(graph, (224, 224)), rule)


def test_chains_take_the_outputs_of_their_pools() -> None:
    assert [taps("vgg16", "pools")[s] for s in (8, 16, 32)] == [
        "features_16", "features_23", "features_30",
    ]  # fmt: skip
    assert [taps("alexnet", "pools")[s] for s in (8, 16, 32)] == [
        "features_2", "features_5", "features_12",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 512), ("resnet50", 2048)])
def test_a_tap_is_the_output_of_the_last_block_of_its_stride(name: str, channels: int) -> None:
    """The maps are those that forward hooks on the stages see."""
    torch.manual_seed(0)
    classifier = randomise(build_classifier(name)).eval()
    graph = trace(classifier)
    found = find_taps(graph, trace_features(graph, (224, 224)))
    seen: dict[int, torch.Tensor] = {}
    for stride, stage in zip((4, 8, 16, 32), ("layer1", "layer2", "layer3", "layer4"), strict=True):
        getattr(classifier, stage).register_forward_hook(
            lambda m, i, out, stride=stride: seen.update({stride: out})
        )
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        classifier(x)
        maps = extract(graph, {s: found[s] for s in (4, 8, 16, 32)})(x)
    assert {s: m.shape[1] for s, m in maps.items()}[32] == channels
    assert all(torch.allclose(maps[s], seen[s]) for s in seen)


def test_an_expansion_inside_the_next_block_is_not_a_tap() -> None:
    backbone = build_backbone("efficientnet_lite0")
    assert {s: backbone.channels[s] for s in (4, 8, 16, 32)} == {4: 24, 8: 40, 16: 112, 32: 1280}


def test_a_plain_chain_without_names_for_its_blocks() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 1, 1), nn.Conv2d(5, 6, 3, 2, 1),
        nn.Conv2d(6, 7, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 2),
    )  # fmt: skip
    graph = trace(net)
    features = trace_features(graph, (32, 32))
    found = find_taps(graph, features)
    assert {s: features[n].shape[1] for s, n in found.items()} == {2: 5, 4: 7}


def test_a_network_that_scores_before_its_pool_is_tapped_before_its_scores() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(6, 10, 1), nn.BatchNorm2d(10), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    graph = trace(net)
    features = trace_features(graph, (32, 32))
    found = find_taps(graph, features)
    assert {s: features[node].shape[1] for s, node in found.items()} == {2: 4, 4: 6}
