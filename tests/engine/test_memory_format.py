"""Channels stay last in memory: in the maps of a network, and after a run is resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fcnseg.build import build_fcn
from fcnseg.engine.checkpoint import Progress
from fcnseg.engine.start import build_learner
from fcnseg.engine.states import States
from fcnseg.engine.step import Learner
from fcnseg.model import to_input
from fcnseg.run_config import RunConfig

CPU = torch.device("cpu")
LAST = torch.channels_last


def is_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=LAST)


def learner(model: Any, **options: Any) -> Learner:
    return build_learner(RunConfig(**options), model, model.head, CPU, torch.float32)


@pytest.mark.parametrize("backbone", ["vgg11", "resnet18", "efficientnet_lite0", "small_cnn"])
def test_every_map_keeps_its_channels_last(backbone: str) -> None:
    model = build_fcn(backbone, "8s", 5)
    own = learner(model)
    wrong, seen = [], []

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: Any, out: Any) -> None:
            seen.append(name)
            if isinstance(out, Tensor) and out.dim() == 4 and not is_last(out):
                wrong.append(name)

        return hook

    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(look(name))
    images = torch.zeros(1, 3, 70, 90, dtype=torch.uint8)
    own.training_mode()
    score = own.net(to_input(model.info.preprocessing, images, CPU))
    assert len(seen) > 5
    # the last upsampling is cut to the image, and a view of channels that are last
    assert score.stride(1) == 1
    assert [name for name in wrong if not name.startswith("head.upsample")] == []


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_run_has_the_memory_formats_of_an_unbroken_one(
    optimizer: str, make_net: Callable[..., Any], tmp_path: Path
) -> None:
    def stepped(own: Learner) -> None:
        own.training_mode()
        own.optimizer.zero_grad(set_to_none=True)
        images = torch.arange(3 * 24 * 32).view(1, 3, 24, 32).to(torch.uint8)
        own.net(to_input(own.model.info.preprocessing, images, CPU)).square().mean().backward()
        own.optimizer.step()
        if own.average is not None:
            own.average.update(own.model)

    first = learner(make_net(), optimizer=optimizer, ema=0.9)
    stepped(first)
    States(tmp_path).save(first, Progress(step=1), {})
    second = learner(make_net(), optimizer=optimizer, ema=0.9)
    States(tmp_path).load(second)
    first.optimizer.zero_grad(set_to_none=True)
    assert formats(second) == formats(first)
    kernels = [p for p in second.model.parameters() if p.dim() == 4 and min(p.shape[1:]) > 1]
    assert kernels
    assert all(is_last(p) for p in kernels)
    for own in (first, second):
        stepped(own)
    assert formats(second) == formats(first)


def formats(own: Learner) -> dict[str, tuple[int, ...]]:
    """The strides of all that a step computes with."""
    found = {name: tensor.stride() for name, tensor in own.model.state_dict().items()}
    found |= {f"mean {n}": t.stride() for n, t in own.judged.state_dict().items()}
    for name, parameter in own.model.named_parameters():
        for key, value in own.optimizer.state[parameter].items():
            if value is not None:
                found[f"{key} of {name}"] = value.stride()
        if parameter.grad is not None:
            found[f"gradient of {name}"] = parameter.grad.stride()
    return found
