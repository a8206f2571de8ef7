import math

import numpy as np
import pytest
import torch

from fcnseg.errors import DataError, UsageError
from fcnseg.losses import cross_entropy

N, K, H, W = 2, 4, 3, 5


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    score = torch.from_numpy(rng.normal(0, 3, (N, K, H, W)))
    label = rng.integers(0, K, (N, H, W))
    label[rng.random((N, H, W)) < 0.3] = 255
    return score, torch.from_numpy(label)


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


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weights", [None, torch.ones(K)])
def test_all_void_is_exactly_zero_with_zero_gradients(reduction, weights):
    score = torch.randn(N, K, H, W, requires_grad=True)
    label = torch.full((N, H, W), 255)
    loss = cross_entropy(score, label, class_weights=weights, reduction=reduction)
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


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_void_pixels_change_nothing(pixels, reduction):
    score, label = pixels
    void = (label == 255)[:, None].expand_as(score)
    other = torch.where(void, score * -7 + 100, score)
    gradients, losses = [], []
    for values in (score, other):
        values = values.clone().requires_grad_()
        loss = cross_entropy(values, label, reduction=reduction)
        loss.backward()
        losses.append(loss.detach())
        gradients.append(values.grad)
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(gradients[0], gradients[1])
    assert float(gradients[0][void].abs().max()) == 0.0


def test_padding_a_batch_with_void_leaves_the_mean(pixels):
    score, label = pixels
    padded = torch.nn.functional.pad(score, (0, 4, 0, 2))
    padded_label = torch.nn.functional.pad(label, (0, 4, 0, 2), value=255)
    torch.testing.assert_close(cross_entropy(padded, padded_label), cross_entropy(score, label))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_scores_are_computed_in_float32(dtype):
    score = (torch.randn(N, K, H, W) * 100).to(dtype).requires_grad_()
    label = torch.zeros(N, H, W, dtype=torch.uint8)
    loss = cross_entropy(score, label)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(score.detach().float(), label))
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
