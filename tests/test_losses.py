import math
from functools import partial

import numpy as np
import pytest
import torch

from fcnseg.errors import DataError, UsageError
from fcnseg.losses import cross_entropy, dice_loss, labelled_mass

N, K, H, W = 2, 4, 3, 5


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    score = torch.from_numpy(rng.normal(0, 3, (N, K, H, W)))
    label = rng.integers(0, K, (N, H, W))
    label[rng.random((N, H, W)) < 0.3] = 255
    return score, torch.from_numpy(label)


def softmax(column):
    exponentials = [math.exp(float(v) - max(map(float, column))) for v in column]
    return [e / sum(exponentials) for e in exponentials]


def plain_dice(score, label):
    """One class after another, one pixel after another."""
    columns = [
        (softmax(score[n, :, y, x]), int(label[n, y, x]))
        for n in range(N) for y in range(H) for x in range(W)
        if int(label[n, y, x]) != 255
    ]  # fmt: skip
    losses = []
    for k in range(K):
        there = sum(t == k for _, t in columns)
        if there:
            on_it = sum(p[k] for p, t in columns if t == k)
            losses.append(1 - 2 * on_it / (sum(p[k] for p, _ in columns) + there))
    return sum(losses) / len(losses)


def plain(score, label, reduction="mean", weights=None):
    total = mass = 0.0
    for n in range(N):
        for y in range(H):
            for x in range(W):
                t = int(label[n, y, x])
                if t == 255:
                    continue
                column = [float(v) for v in score[n, :, y, x]]
                top = max(column)
                log_sum = top + math.log(sum(math.exp(v - top) for v in column))
                weight = 1.0 if weights is None else float(weights[t])
                total += weight * (log_sum - column[t])
                mass += weight
    return total / mass if reduction == "mean" else total


LOSSES = {
    "mean": cross_entropy,
    "sum": partial(cross_entropy, reduction="sum"),
    "weighted": partial(cross_entropy, class_weights=torch.tensor([0.5, 2.0, 0.0, 1.0])),
    "dice": dice_loss,
}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 0.0, 1.0])])
def test_equals_the_plain_loops(pixels, reduction, weights):
    score, label = pixels
    got = cross_entropy(score, label, class_weights=weights, reduction=reduction)
    assert got.shape == ()
    assert got.item() == pytest.approx(plain(score, label, reduction, weights), abs=1e-12)


def test_weighted_mean_is_torchs(pixels):
    score, label = pixels
    weights = torch.tensor([0.5, 2.0, 0.25, 1.0], dtype=torch.float64)
    expected = torch.nn.functional.cross_entropy(score, label, weight=weights, ignore_index=255)
    torch.testing.assert_close(cross_entropy(score, label, class_weights=weights), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 0.0, 1.0])])
def test_gradcheck(pixels, reduction, weights):
    score, label = pixels
    score.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: cross_entropy(s, label, class_weights=weights, reduction=reduction), (score,)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_all_void_is_exactly_zero_with_zero_gradients(name):
    score = torch.randn(N, K, H, W, requires_grad=True)
    loss = LOSSES[name](score, torch.full((N, H, W), 255))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(score.grad, torch.zeros_like(score))


def test_only_classes_of_weight_zero_is_exactly_zero():
    score = torch.randn(N, K, H, W, requires_grad=True)
    weights = torch.tensor([0.0, 1.0, 1.0, 1.0])
    loss = cross_entropy(score, torch.zeros(N, H, W, dtype=torch.long), class_weights=weights)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(score.grad, torch.zeros_like(score))


@pytest.mark.parametrize("name", LOSSES)
def test_void_pixels_change_nothing(pixels, name):
    score, label = pixels
    void = (label == 255)[:, None].expand_as(score)
    other = torch.where(void, score * -7 + 100, score)
    gradients, losses = [], []
    for values in (score, other):
        values = values.clone().requires_grad_()
        loss = LOSSES[name](values, label)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(values.grad)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(gradients[0], gradients[1])
    assert float(gradients[0][void].abs().max()) == 0.0


@pytest.mark.parametrize("name", LOSSES)
def test_padding_a_batch_with_void_leaves_the_loss(pixels, name):
    score, label = pixels
    padded = torch.nn.functional.pad(score, (0, 4, 0, 2))
    padded_label = torch.nn.functional.pad(label, (0, 4, 0, 2), value=255)
    torch.testing.assert_close(LOSSES[name](padded, padded_label), LOSSES[name](score, label))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("function", [cross_entropy, dice_loss])
def test_half_scores_are_computed_in_float32(function, dtype):
    score = (torch.randn(N, K, H, W) * 100).to(dtype).requires_grad_()
    label = torch.zeros(N, H, W, dtype=torch.uint8)
    loss = function(score, label)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, function(score.detach().float(), label))
    loss.backward()
    assert score.grad.dtype == dtype


def test_wrong_arguments_are_refused(pixels):
    score, label = pixels
    with pytest.raises(UsageError, match=r"expected shape \(2, 3, 5\).*got \(2, 3, 4\)"):
        cross_entropy(score, label[..., :4])
    with pytest.raises(UsageError, match="expected integer class ids"):
        cross_entropy(score, label.float())
    with pytest.raises(UsageError, match=r"expected \(N, K, H, W\) floats"):
        cross_entropy(score[0], label)
    with pytest.raises(UsageError, match=r"one weight for each of 4 classes, got shape \(3,\)"):
        cross_entropy(score, label, class_weights=torch.ones(3))
    with pytest.raises(UsageError, match="reduction: expected one of mean, sum, got 'summ'"):
        cross_entropy(score, label, reduction="summ")
    with pytest.raises(UsageError, match="void: 2 is one of the 4 class ids"):
        cross_entropy(score, label, void=2)


@pytest.mark.parametrize("weights", [None, torch.ones(K)])
def test_a_label_out_of_range_is_named_on_the_cpu(pixels, weights):
    score, label = pixels
    label[1, 2, 3] = 200
    with pytest.raises(DataError, match=r"label: 1 pixels .* 0\.\.3 .* first value: 200"):
        cross_entropy(score, label, class_weights=weights)


def test_dice_equals_the_plain_loops(pixels):
    score, label = pixels
    assert dice_loss(score, label).item() == pytest.approx(plain_dice(score, label), abs=1e-12)


def test_dice_is_averaged_over_the_classes_that_are_there(pixels):
    score, label = pixels
    label[label == 2] = 0
    assert dice_loss(score, label).item() == pytest.approx(plain_dice(score, label), abs=1e-12)
    label[label != 255] = 3
    assert dice_loss(score, label).item() == pytest.approx(plain_dice(score, label), abs=1e-12)


def test_dice_gradcheck(pixels):
    score, label = pixels
    score.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: dice_loss(s, label), (score,))


def test_dice_of_the_truth_is_zero_and_of_the_opposite_one():
    label = torch.tensor([[[0, 1], [2, 255]]])
    sure = 100.0 * torch.nn.functional.one_hot(label.where(label != 255, 0), 3).permute(0, 3, 1, 2)
    assert dice_loss(sure, label).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(sure.roll(1, 1), label).item() == pytest.approx(1, abs=1e-6)


def test_dice_refuses_what_cross_entropy_refuses(pixels):
    score, label = pixels
    with pytest.raises(UsageError, match=r"expected shape \(2, 3, 5\).*got \(2, 3, 4\)"):
        dice_loss(score, label[..., :4])
    with pytest.raises(DataError, match=r"label: 1 pixels .* 0\.\.3 .* first value: 9"):
        dice_loss(score, torch.where(torch.arange(N * H * W).reshape(N, H, W) == 7, 9, label))


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 2.0, 0.0, 0.1])])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_the_mass_turns_a_sum_into_the_mean(pixels, weights, dtype):
    score, label = pixels
    mass = labelled_mass(label.to(dtype), class_weights=weights)
    assert isinstance(mass, float)
    expected = [1.0 if weights is None else float(weights[t]) for t in label[label != 255]]
    assert mass == pytest.approx(sum(expected), rel=1e-12)
    total = cross_entropy(score, label, class_weights=weights, reduction="sum")
    torch.testing.assert_close(total / mass, cross_entropy(score, label, class_weights=weights))


def test_the_masses_of_parts_add_up(pixels):
    score, label = pixels
    weights = torch.tensor([0.5, 2.0, 0.0, 1.0])
    mass = sum(labelled_mass(part, class_weights=weights) for part in label.split(1))
    parts = [
        cross_entropy(s, t, class_weights=weights, reduction="sum")
        for s, t in zip(score.split(1), label.split(1), strict=True)
    ]
    whole = cross_entropy(score, label, class_weights=weights)
    torch.testing.assert_close(sum(parts) / mass, whole)


def test_nothing_labelled_has_no_mass():
    void = torch.full((1, 2, 2), 255, dtype=torch.uint8)
    assert labelled_mass(void) == labelled_mass(void, class_weights=torch.ones(K)) == 0.0


def test_the_mass_names_a_label_out_of_range():
    label = torch.tensor([[[0, 4]]])
    with pytest.raises(DataError, match=r"label: 1 pixels .* 0\.\.3 .* first value: 4"):
        labelled_mass(label, class_weights=torch.ones(K))
