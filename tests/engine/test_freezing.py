"""A pretrained network as a fixed feature extractor: nothing of it changes, nothing is kept."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fcnseg.engine.start import build_learner
from fcnseg.engine.step import take_step
from fcnseg.losses import cross_entropy
from fcnseg.run_config import RunConfig

Batch = tuple[Tensor, Tensor]


class Pixels:
    """A task whose batches are tensors."""

    def ids(self, batch: Batch) -> list[str]:
        return ["sample"] * len(batch[1])

    def mass(self, batch: Batch) -> float:
        return float(batch[1].numel())

    def loss(self, net: nn.Module, batch: Batch, mass: float) -> Tensor:
        return cross_entropy(net(batch[0]), batch[1], reduction="sum") / mass


@pytest.fixture
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(6, 3, 24, 32, generator=generator)
    labels = torch.randint(0, 3, (6, 24, 32), generator=generator)
    return list(zip(images.split(2), labels.split(2), strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_frozen_backbone_keeps_numbers_statistics_and_no_gradient(
    tiny: Any, batches: list[Batch], optimizer: str
) -> None:
    config = RunConfig(freeze="backbone", optimizer=optimizer, lr=0.1, weight_decay=0.5)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    learner = build_learner(config, tiny, tiny.head, torch.device("cpu"), torch.float32)
    features: list[Tensor] = []
    tiny.backbone.register_forward_hook(lambda module, inputs, output: features.append(output))

    learner.training_mode()
    assert not any(module.training for module in tiny.backbone.modules())
    assert tiny.head.training
    for step, batch in enumerate(batches, 1):
        take_step(learner, Pixels(), [batch], step, 0, 0.1)  # type: ignore[arg-type]

    assert not any(output.requires_grad for output in features)
    assert all(parameter.grad is None for parameter in tiny.backbone.parameters())
    trained = [p for group in learner.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in trained} == {id(p) for p in tiny.head.parameters()}
    after = tiny.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}


def test_dropout_of_a_frozen_backbone_is_off(tiny: Any, batches: list[Batch]) -> None:
    tiny.backbone[3].p = 0.9
    config = RunConfig(freeze="backbone", lr=0.1)
    learner = build_learner(config, tiny, tiny.head, torch.device("cpu"), torch.float32)
    learner.training_mode()
    assert torch.equal(tiny(batches[0][0]), tiny(batches[0][0]))
