"""Images of different sizes: no result depends on which images share a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fcnseg.data.loading import Batch, collate, evaluation_loader, training_loader
from fcnseg.data.sample import Sample
from fcnseg.engine.evaluate import evaluate
from fcnseg.losses import cross_entropy
from fcnseg.metrics import ConfusionMatrix

CLASSES = ("dark", "bright", "red")
SIZES = [(12, 20), (7, 31), (20, 12), (12, 20), (1, 1), (33, 8), (12, 20), (7, 31), (40, 40)]


class Mixed:
    """Noise of several sizes with void among the labels; the fifth image is void alone."""

    name, classes, palette = "mixed", CLASSES, ((0, 0, 0), (9, 9, 9), (9, 0, 0))

    def __len__(self) -> int:
        return len(SIZES)

    def __getitem__(self, index: int) -> Sample:
        numbers = np.random.default_rng(index)
        image = numbers.integers(0, 256, (*SIZES[index], 3)).astype(np.uint8)
        return Sample(image, self.label(index), self.id(index))

    def label(self, index: int) -> np.ndarray:
        numbers = np.random.default_rng([1, index])
        label = numbers.choice([0, 1, 2, 255], SIZES[index]).astype(np.uint8)
        return np.full_like(label, 255) if index == 4 else label

    def id(self, index: int) -> str:
        return str(index)

    def files(self, index: int) -> tuple[Path, ...]:
        del index
        return ()


def logits_of(name: str) -> np.ndarray:
    """Return (3, h, w) float64, the same for an image wherever it is."""
    return np.random.default_rng([2, int(name)]).normal(0, 3, (3, *SIZES[int(name)]))


def batch_logits(batch: Batch) -> torch.Tensor:
    """Return (N, 3, H, W), with wild scores where a batch is padded."""
    score = np.random.default_rng(3).normal(0, 1e4, (len(batch.ids), 3, *batch.labels.shape[1:]))
    for place, (name, (height, width)) in enumerate(zip(batch.ids, batch.sizes, strict=True)):
        score[place, :, :height, :width] = logits_of(name)
    return torch.from_numpy(score)


def plain_loss(name: str, weights: np.ndarray) -> tuple[float, float]:
    """Return (sum of the weighted losses, sum of the weights) of one image, pixel by pixel."""
    score, label, total, mass = logits_of(name), Mixed().label(int(name)), 0.0, 0.0
    for y in range(label.shape[0]):
        for x in range(label.shape[1]):
            truth = int(label[y, x])
            if truth != 255:
                pixel = score[:, y, x]
                total += weights[truth] * (np.log(np.exp(pixel).sum()) - pixel[truth])
                mass += weights[truth]
    return total, mass


def plain_counts(predicted: np.ndarray, label: np.ndarray) -> np.ndarray:
    counts = np.zeros((3, 3), int)
    for truth, guess in zip(label.ravel().tolist(), predicted.ravel().tolist(), strict=True):
        if truth != 255:
            counts[truth, guess] += 1
    return counts


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (0.2, 1.0, 3.0)])
@pytest.mark.parametrize("batch_size", [2, 4, 9])
def test_loss_of_a_padded_batch_is_that_of_its_images(
    batch_size: int, weights: tuple[float, ...]
) -> None:
    for batch in training_loader(Mixed(), None, batch_size, seed=0, epoch=0):
        score = batch_logits(batch).requires_grad_()
        loss = cross_entropy(score, batch.labels, class_weights=torch.tensor(weights))
        parts = np.array([plain_loss(name, np.array(weights)) for name in batch.ids])
        total, mass = parts.sum(axis=0)
        assert loss.item() == pytest.approx(total / mass if mass else 0, rel=1e-9)
        whole = cross_entropy(score, batch.labels, reduction="sum")
        alone = [
            cross_entropy(torch.from_numpy(logits_of(name))[None], label, reduction="sum")
            for name, label in labels_of(batch)
        ]
        assert whole.item() == pytest.approx(sum(one.item() for one in alone), rel=1e-9)
        loss.backward()
        assert score.grad is not None
        for gradient, (height, width) in zip(score.grad, batch.sizes, strict=True):
            assert not gradient[:, height:].any()
            assert not gradient[:, :, width:].any()


def labels_of(batch: Batch) -> list[tuple[str, torch.Tensor]]:
    return [(name, torch.from_numpy(Mixed().label(int(name)))[None]) for name in batch.ids]


@pytest.mark.parametrize("batch_size", [1, 3, 9])
def test_counts_of_padded_batches_are_those_of_the_images(batch_size: int) -> None:
    confusion = ConfusionMatrix(3)
    for batch in training_loader(Mixed(), None, batch_size, seed=1, epoch=0):
        confusion.update(batch_logits(batch).argmax(1), batch.labels)
    expected = sum(
        plain_counts(logits_of(str(index)).argmax(0), Mixed().label(index))
        for index in range(len(SIZES))
    )
    assert np.array_equal(confusion.counts, expected)


class Global(nn.Module):
    """A tiny network in which every pixel sees the whole image, so that padding would show."""

    def __init__(self, tiny: nn.Module) -> None:
        super().__init__()
        self.tiny, self.info, self.num_classes = tiny, tiny.info, tiny.num_classes

    def forward(self, pixels_N3HW: torch.Tensor) -> torch.Tensor:
        whole = pixels_N3HW.mean((2, 3), keepdim=True)
        return self.tiny(pixels_N3HW - whole) + whole


def test_evaluation_is_the_same_for_any_batch_size(tiny: nn.Module) -> None:
    model, source, cpu = Global(tiny).eval(), Mixed(), torch.device("cpu")
    expected = np.zeros((3, 3), int)
    with torch.inference_mode():
        for index in range(len(source)):
            sample = source[index]
            pixels = torch.from_numpy(sample.image).permute(2, 0, 1)[None]
            score = model(model.info.preprocessing(pixels))
            expected += plain_counts(score.argmax(1)[0].numpy(), sample.label)
    assert (expected > 0).sum() >= 6
    for batch_size in (1, 2, 3, 100):
        found = evaluate(model, evaluation_loader(source, batch_size), cpu)
        assert np.array_equal(found.counts, expected), batch_size


def test_padding_would_show(tiny: nn.Module) -> None:
    """The test above can fail: in one padded batch the same network predicts otherwise."""
    model, source = Global(tiny).eval(), Mixed()
    batch = collate([source[index] for index in range(len(source))])
    with torch.inference_mode():
        labels = model(model.info.preprocessing(batch.images)).argmax(1)
    counts = plain_counts(labels.numpy(), batch.labels.numpy())
    found = evaluate(model, evaluation_loader(source, 1), torch.device("cpu"))
    assert not np.array_equal(found.counts, counts)
