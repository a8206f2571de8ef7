"""The code of an accelerator run on PyTorch's ``meta`` device, which has shapes and no numbers.

A tensor made on the wrong device shows itself here as it would on a GPU, on any machine. What is
read as a number is replaced, since there is none: ``step._read``, ``model._check_finite`` and
``heatmap._read`` do nothing but read.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fcnseg import model as models
from fcnseg.backbones import build_backbone
from fcnseg.build import build_fcn
from fcnseg.classifiers import build_classifier
from fcnseg.convolutionalize import convolutionalize
from fcnseg.data.class_batches import ClassBatch
from fcnseg.data.loading import Batch
from fcnseg.engine import step
from fcnseg.engine.classification import Classification
from fcnseg.engine.evaluate import predict_labels
from fcnseg.engine.run import RunFolder
from fcnseg.engine.segmentation import PixelLoss, Segmentation
from fcnseg.engine.start import build_learner
from fcnseg.inference import heatmap
from fcnseg.losses import PerceptualLoss
from fcnseg.own_classifier import CentreView, build_own_classifier
from fcnseg.preprocessing import Preprocessing
from fcnseg.run_config import RunConfig

META = torch.device("meta")
CLASSES = 5
_COPIES = (torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten.copy_)


class OneDevice(TorchDispatchMode):
    """Refuses every operation on tensors of two devices, but for copies and single numbers.

    As a GPU does; without it a convolution on ``meta`` takes a kernel of any device.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in _pytree.tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        devices = {tensor.device.type for tensor in tensors if tensor.dim()}
        if len(devices) > 1 and func.overloadpacket not in _COPIES:
            raise AssertionError(f"{func} on {sorted(devices)}")
        return out


@pytest.fixture(autouse=True)
def _unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that cannot be read are 1, and finite."""
    monkeypatch.setattr(
        step, "_read", lambda scalars: [1.0 for number in scalars if _on_meta(number)]
    )
    monkeypatch.setattr(models, "_check_finite", lambda score, what: None)
    monkeypatch.setattr(heatmap, "_read", lambda score: torch.zeros(score.shape))
    for draws in ("normal_", "uniform_"):  # random numbers take long, and are not looked at
        monkeypatch.setattr(Tensor, draws, lambda tensor, *args, **options: tensor.zero_())


def _on_meta(tensor: Tensor) -> bool:
    assert tensor.device == META
    return True


def batch(size: tuple[int, int] = (50, 70), count: int = 2) -> Batch:
    labels = torch.arange(count * size[0] * size[1]).view(count, *size) % CLASSES
    labels[:, :3] = 255
    images = torch.zeros((count, *size, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    return Batch(images, labels.to(torch.uint8), ["a", "b"][:count], [size] * count)


def segmentation(preprocessing: Preprocessing, loss: PixelLoss) -> Segmentation:
    nothing: Any = None
    folder = RunFolder(Path("nowhere"))
    return Segmentation(preprocessing, nothing, nothing, folder, META, pixel_loss=loss)


NETWORKS: dict[str, Mapping[str, Any]] = {
    "vgg16 8s": {"backbone": "vgg16"},
    "vgg16 paper": {
        "backbone": "vgg16",
        "variant": "8s-atonce",
        "padding": "paper",
        "upsample": "fixed",
    },
    "resnet18 dense": {"backbone": "resnet18", "upsample": "dense"},
    "resnet18 dilated": {"backbone": "resnet18", "variant": "32s", "output_stride": 8},
    "lite0 32s": {"backbone": "efficientnet_lite0", "variant": "32s", "upsample": "fixed"},
}


def network(name: str) -> Any:
    options = {"variant": "8s", **NETWORKS[name]}
    return build_fcn(num_classes=CLASSES, short_side=None, **options)


RECIPES: dict[str, tuple[RunConfig, PixelLoss]] = {
    "adamw": (RunConfig(optimizer="adamw"), PixelLoss()),
    "everything": (
        RunConfig(optimizer="adamw", clip_norm=0.5, ema=0.9, accumulate=2, bias_lr_factor=2),
        PixelLoss("mean", torch.rand(CLASSES) + 0.5, dice=0.5),
    ),
    "paper": (
        RunConfig(optimizer="sgd", momentum=0.99, bias_lr_factor=2, weight_decay=5e-4),
        PixelLoss("sum"),
    ),
    "frozen": (RunConfig(optimizer="sgd", freeze="backbone"), PixelLoss()),
}


def take_steps(model: Any, config: RunConfig, task: Any, batches: Sequence[Any]) -> None:
    """Two steps, the second from an optimizer that remembers; everything is on ``meta`` then."""
    with OneDevice():
        learner = build_learner(config, model, model.head, META, torch.float32)
        learner.training_mode()
        for number in (1, 2):
            step.take_step(learner, task, batches, number, seed=0, lr=0.1)
    trained = [p for group in learner.optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in trained]
    assert len(trained) == sum(p.requires_grad for p in model.parameters()) > 0
    assert all(g is not None and g.device == META for g in gradients)
    states = [t for s in learner.optimizer.state.values() for t in s.values() if t is not None]
    assert len(states) >= len(trained)
    assert all(t.device == META for t in states if t.dim())
    held = [*learner.model.state_dict().values(), *learner.judged.state_dict().values()]
    assert all(t.device == META for t in held)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("vgg16 8s", "adamw"),
        ("vgg16 paper", "paper"),
        ("resnet18 dense", "everything"),
        ("resnet18 dilated", "frozen"),
        ("lite0 32s", "adamw"),
    ],
)
def test_a_step_and_a_prediction_stay_on_one_device(name: str, recipe: str) -> None:
    model = network(name)
    config, loss = RECIPES[recipe]
    task = segmentation(model.info.preprocessing, loss)
    batches = [batch(), batch((64, 64), 1)][: config.accumulate]
    take_steps(model, config, task, batches)
    model.eval()
    with OneDevice():
        labels_NHW = predict_labels(model, batch().images, ["a", "b"], META)
    assert (labels_NHW.device, labels_NHW.dtype) == (META, torch.int64)
    assert labels_NHW.shape == (2, 50, 70)


def test_the_steps_of_every_recipe_stay_on_one_device(
    make_net: Callable[..., Any],
) -> None:
    for config, loss in RECIPES.values():
        model = make_net(tuple("abcde"[:3]))
        weights = None if loss.class_weights is None else loss.class_weights[:3]
        own = PixelLoss(loss.reduction, weights, loss.dice)
        take_steps(model, config, segmentation(model.info.preprocessing, own), [three()] * 2)


def three() -> Batch:
    """A batch of three classes."""
    whole = batch()
    return Batch(whole.images, whole.labels.where(whole.labels < 3, 255), whole.ids, whole.sizes)


@pytest.mark.parametrize("backbone", ["small_cnn", "resnet18"])
def test_a_step_of_a_classifier_stays_on_one_device(backbone: str) -> None:
    model = build_own_classifier(backbone, tuple("abcde"), size=64)
    nothing: Any = None
    view = CentreView(model.info.preprocessing)
    task = Classification(view, nothing, nothing, RunFolder(Path("nowhere")), nothing, META)
    seen = batch((64, 64))
    whole = ClassBatch(seen.images, torch.tensor([0, 3]), ["a", "b"])
    take_steps(model, RECIPES["everything"][0], task, [whole])


def test_scaled_images_stay_on_one_device() -> None:
    model = build_fcn("resnet18", "8s", CLASSES, short_side=40).to(META).eval()
    with OneDevice():
        labels_NHW = predict_labels(model, batch().images, ["a", "b"], META)
    assert (labels_NHW.device, labels_NHW.shape) == (META, (2, 50, 70))


@pytest.mark.parametrize(
    ("name", "pool", "size"),
    [("resnet18", "none", (250, 300)), ("efficientnet_lite0", "window", (90, 60))],
)
def test_class_maps_stay_on_one_device(name: str, pool: Any, size: tuple[int, int]) -> None:
    classifier = build_classifier(name)
    net = convolutionalize(classifier, 224, pool)
    with OneDevice():
        maps = heatmap.classifier_maps(
            net,
            Preprocessing(),
            [str(i) for i in range(1000)],
            np.zeros((*size, 3), np.uint8),
            device="meta",
        )
    assert all(p.device == META for p in net.parameters())
    assert maps.score.shape[0] == 1000


def test_the_perceptual_loss_stays_on_one_device() -> None:
    loss = PerceptualLoss(build_backbone("resnet18", strides=(4, 8)), {4: 1.0, 8: 0.5}).to(META)
    image = torch.zeros(1, 3, 64, 96, device=META, requires_grad=True)
    optimizer = torch.optim.Adam([image], lr=0.05)
    with OneDevice():
        value = loss(image, torch.zeros(1, 3, 64, 96, device=META))
        value.backward()
        optimizer.step()
    assert value.shape == ()
    assert image.grad is not None
    assert image.grad.device == META


class _Kernel(nn.Module):
    """Holds its kernel as a plain tensor, which ``to`` does not move."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = torch.ones(3, 3, 1, 1)

    def forward(self, image_N3HW: Tensor) -> Tensor:
        return nn.functional.conv2d(image_N3HW, self.kernel)


def at_the_gradient(layer: nn.Module, work: Callable[[Tensor], Tensor]) -> None:
    layer.register_forward_hook(lambda module, given, out: out.register_hook(work) and None)


@pytest.mark.parametrize("made", ["a kernel", "an index", "a gradient"])
def test_a_tensor_on_the_wrong_device_is_noticed(
    make_net: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    model = make_net()
    if made == "a kernel":
        model.backbone.insert(0, _Kernel())
    elif made == "an index":
        forward = model.forward
        model.forward = lambda pixels: forward(pixels)[:, torch.tensor([2, 1, 0])]
    else:
        at_the_gradient(model.head, lambda grad: grad * torch.ones(grad.shape))
    task = segmentation(model.info.preprocessing, PixelLoss())
    with pytest.raises((AssertionError, RuntimeError), match=r"meta.*cpu|cpu.*meta"):
        take_steps(model, RunConfig(), task, [three()])
