"""The paper's recipe, from the settings to the weights, against a plain re-statement of it.

A VGG of a few channels, without dropout, is trained for 20 steps by :func:`fcnseg.training.train`.
Beside it stands the published training written out: the net's layers with their crops, the
summed loss, and Caffe's update, one tensor after another, in float64.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from networks import SmallVGG, randomise
from torch import Tensor, nn
from torch.nn import functional as F

from fcnseg.build import build_fcn, load
from fcnseg.config import TrainConfig, load_config
from fcnseg.data.shapes import CLASSES, Shapes
from fcnseg.engine.checkpoint import save_model
from fcnseg.training import train

STEPS, SIDE, K = 20, 48, len(CLASSES)
# Larger than published, so that in 20 steps of a tiny net every part moves by far more than 1e-6.
LR, DECAY = 1e-6, 0.5
BLOCKS = ((1, 4), (1, 5), (1, 4), (1, 6), (1, 5))
CONVOLUTIONS = ("features.0", "features.3", "features.6", "features.9", "features.12")
CROPS = {16: 5, 8: 9, 1: 31}  # of pool4, pool3 and the scores, as published
SCALES = {"8s": {16: 1.0, 8: 1.0}, "8s-atonce": {16: 0.01, 8: 0.0001}}


def bilinear(size: int) -> Tensor:
    """The filler of the authors' repository: (K, 1, size, size)."""
    factor = (size + 1) // 2
    centre = factor - 1 if size % 2 == 1 else factor - 0.5
    row = 1 - (torch.arange(size, dtype=torch.float64) - centre).abs() / factor
    return (row[:, None] * row[None, :]).expand(K, 1, size, size)


def cropped(maps: Tensor, start: int, like: Tensor) -> Tensor:
    return maps[:, :, start : start + like.shape[2], start : start + like.shape[3]]


def plain_scores(p: Mapping[str, Tensor], image: Tensor, scales: Mapping[int, float]) -> Tensor:
    def conv(name: str, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, p[f"{name}.weight"], p[f"{name}.bias"], padding=padding)

    x, pools = image, []
    for index, name in enumerate(CONVOLUTIONS):
        x = conv(f"backbone.net.{name}", x, 1 if index else 100).relu()
        x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        pools.append(x)
    x = conv("backbone.net.classifier.0", x).relu()  # fc6
    x = conv("backbone.net.classifier.3", x).relu()  # fc7
    fused = conv("head.score.stride32", x)
    for stride, pool in ((16, pools[3]), (8, pools[2])):
        up = F.conv_transpose2d(fused, bilinear(4), stride=2, groups=K)
        skip = conv(f"head.score.stride{stride}", pool * scales[stride])
        fused = up + cropped(skip, CROPS[stride], up)
    up = F.conv_transpose2d(fused, bilinear(16), stride=8, groups=K)
    return cropped(up, CROPS[1], image)


def plain_training(
    start: Mapping[str, Tensor], batches: list[tuple[Tensor, Tensor]], scales: Mapping[int, float]
) -> dict[str, Tensor]:
    p = {name: tensor.double().requires_grad_() for name, tensor in start.items()}
    moved = {name: torch.zeros_like(tensor) for name, tensor in p.items()}
    for image, label in batches:
        log_probability = plain_scores(p, image.double(), scales).log_softmax(1)
        is_class = label[:, None] == torch.arange(K)[:, None, None]  # none where void
        loss = -log_probability[is_class].sum()
        gradients = torch.autograd.grad(loss, list(p.values()))
        with torch.no_grad():
            for (name, value), gradient in zip(p.items(), gradients, strict=True):
                lr_mult, decay_mult = (2, 0) if name.endswith("bias") else (1, 1)
                step = lr_mult * LR * (gradient + decay_mult * DECAY * value)
                moved[name] = 0.99 * moved[name] + step
                value -= moved[name]
    return {name: tensor.detach() for name, tensor in p.items()}


def drawn(pixels: list[Tensor], source: Shapes) -> list[tuple[Tensor, Tensor]]:
    """The samples that the network was shown, as (image, label), found by their pixels."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    known = []
    for index in range(len(source)):
        image = (torch.from_numpy(source[index].image) / 255 - mean) / std
        label = torch.from_numpy(source[index].label).long()[None]
        known.append((image.permute(2, 0, 1)[None], label))
    found = [[k for k in known if torch.allclose(k[0], x, atol=1e-5)] for x in pixels]
    assert all(len(candidates) == 1 for candidates in found)
    return [candidates[0] for candidates in found]


@pytest.mark.parametrize("variant", ["8s", "8s-atonce"])
def test_twenty_steps_are_those_of_the_paper(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels: list[Tensor] = []

    def small(info: object) -> SmallVGG:
        torch.manual_seed(0)
        net = SmallVGG(BLOCKS, hidden=(8, 7), dropout=0.0)

        def note(layer: nn.Module, inputs: tuple[Tensor]) -> None:
            if layer.training and torch.is_grad_enabled() and inputs[0].device.type == "cpu":
                pixels.append(inputs[0].detach().clone())

        net.features[0].register_forward_pre_hook(note)
        return net

    monkeypatch.setattr("fcnseg.classifiers.build", small)
    model = build_fcn("vgg16", variant, K, padding="paper", upsample="fixed", classes=CLASSES)
    randomise(model, seed=1)  # zero score layers would give the backbone no gradient at first
    with torch.no_grad():
        for numbers in model.head.score.parameters():
            numbers.mul_(0.2)  # small numbers are rounded by little
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    save_model(tmp_path / "start.safetensors", model)
    pixels.clear()

    flags = {
        "recipe": "paper", "variant": variant, "data": "shapes", "image_size": f"{SIDE}",
        "train_length": STEPS, "val_length": 1, "iterations": STEPS, "workers": 0,
        "lr": LR, "weight_decay": DECAY, "device": "cpu", "run": str(tmp_path / "run"),
        "init_from": str(tmp_path / "start.safetensors"),
    }  # fmt: skip
    train(load_config(TrainConfig, None, flags))

    assert len(pixels) == STEPS
    batches = drawn(pixels, Shapes("train", STEPS, (SIDE, SIDE)))
    expected = plain_training(start, batches, SCALES[variant])
    found = dict(load(tmp_path / "run/best.safetensors").named_parameters())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float((value - start[name]).abs().max()) > 1e-5, f"{name} has not moved"
        torch.testing.assert_close(found[name].double(), value, rtol=0, atol=1e-6, msg=name)
