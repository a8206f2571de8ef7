import json
import math

import numpy as np
import pytest
import torch

from fcnseg.errors import DataError, UsageError
from fcnseg.metrics import ConfusionMatrix

K = 5


def random_pixels(seed, shape=(6, 11, 13), classes=K, void_share=0.2):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, classes, shape)
    predicted = np.where(rng.random(shape) < 0.6, label, rng.integers(0, classes, shape))
    label[rng.random(shape) < void_share] = 255
    return predicted, label


def plain_scores(predicted, label, classes, void=255):
    """The definitions of section 5 restated as loops over pixels and classes."""
    right = [0] * classes
    in_truth = [0] * classes
    in_guess = [0] * classes
    for p, t in zip(predicted.ravel().tolist(), label.ravel().tolist(), strict=True):
        if t == void:
            continue
        in_truth[t] += 1
        in_guess[p] += 1
        right[t] += p == t
    total = sum(in_truth)
    accuracies, ious, weighted, per_class = [], [], 0.0, []
    for c in range(classes):
        if in_truth[c]:
            accuracies.append(right[c] / in_truth[c])
        union = in_truth[c] + in_guess[c] - right[c]
        if union == 0:
            per_class.append(None)
            continue
        per_class.append(right[c] / union)
        ious.append(right[c] / union)
        weighted += in_truth[c] / total * right[c] / union
    return {
        "pixel_accuracy": sum(right) / total,
        "mean_accuracy": sum(accuracies) / len(accuracies),
        "mean_iu": sum(ious) / len(ious),
        "frequency_weighted_iu": weighted,
        "class_iu": per_class,
    }


def assert_same_scores(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        if name == "class_iu":
            assert [v is None for v in got[name]] == [v is None for v in value]
            value = [v for v in value if v is not None]
            assert [v for v in got[name] if v is not None] == pytest.approx(value, abs=1e-12)
        else:
            assert got[name] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_the_plain_loops(seed):
    predicted, label = random_pixels(seed)
    matrix = ConfusionMatrix(K)
    matrix.update(predicted, label)
    assert_same_scores(matrix.scores().to_dict(), plain_scores(predicted, label, K))


def test_absent_classes_are_none_and_do_not_count_in_the_means():
    label = np.array([[0, 0, 1, 255]])
    predicted = np.array([[0, 3, 1, 2]])  # 3 only predicted, 2 only under void, 4 nowhere
    matrix = ConfusionMatrix(K)
    matrix.update(predicted, label)
    scores = matrix.scores()
    assert scores.class_iu == (0.5, 1.0, None, 0.0, None)
    assert scores.mean_iu == 0.5
    assert scores.mean_accuracy == 0.75
    assert scores.pixel_accuracy == pytest.approx(2 / 3)
    assert scores.frequency_weighted_iu == pytest.approx(2 / 3 * 0.5 + 1 / 3)
    assert json.loads(json.dumps(scores.to_dict()))["class_iu"][2] is None
    assert_same_scores(scores.to_dict(), plain_scores(predicted, label, K))


def test_counts_are_indexed_truth_then_prediction():
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([2, 2, 0]), np.array([1, 1, 0]))
    assert matrix.counts.dtype == np.int64
    assert matrix.counts.tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]


@pytest.mark.parametrize("batch", [1, 2, 5, 6])
@pytest.mark.parametrize("merged", [False, True])
def test_any_batching_and_merging_gives_the_same_counts(batch, merged):
    predicted, label = random_pixels(7)
    whole = ConfusionMatrix(K)
    whole.update(predicted, label)
    parts = ConfusionMatrix(K)
    for start in range(0, len(label), batch):
        piece = predicted[start : start + batch], label[start : start + batch]
        if merged:
            other = ConfusionMatrix(K)
            other.update(*piece)
            parts.merge(other)
        else:
            parts.update(*piece)
    assert np.array_equal(whole.counts, parts.counts)
    assert whole.scores() == parts.scores()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_tensors_and_arrays_count_alike(dtype):
    predicted, label = random_pixels(3)
    reference = ConfusionMatrix(K)
    reference.update(predicted, label)
    pairs = [
        (torch.from_numpy(predicted).to(dtype), torch.from_numpy(label).to(dtype)),
        (torch.from_numpy(predicted).to(dtype), label.astype(np.uint16)),
        (predicted.astype(np.uint8), torch.from_numpy(label).to(dtype)),
        (predicted.astype(np.uint8)[..., ::-1], label.astype(np.int32)[..., ::-1]),
    ]
    for pair in pairs:
        matrix = ConfusionMatrix(K)
        matrix.update(*pair)
        assert np.array_equal(matrix.counts, reference.counts)


def test_an_id_out_of_range_is_an_error_and_nothing_is_counted():
    matrix = ConfusionMatrix(K)
    label = np.zeros((2, 3), dtype=np.int64)
    label[1, 2] = 9
    with pytest.raises(DataError, match=r"label: 1 pixels .* 0\.\.4 \(first: 9 at index \(1, 2\)"):
        matrix.update(np.zeros((2, 3), dtype=np.int64), label)
    for wrong in (5, -1, 255):
        predicted = torch.zeros(2, 3, dtype=torch.int64)
        predicted[0, 1] = wrong
        with pytest.raises(UsageError, match=rf"predicted: .*first: {wrong} at index \(0, 1\)"):
            matrix.update(predicted, torch.zeros(2, 3, dtype=torch.int64))
    assert matrix.counts.sum() == 0


def test_predictions_under_void_are_not_read():
    matrix = ConfusionMatrix(K)
    matrix.update(np.array([255, 1]), np.array([255, 1]))
    assert matrix.counts.sum() == matrix.counts[1, 1] == 1


def test_wrong_arguments_are_refused_with_both_sides():
    matrix = ConfusionMatrix(K)
    ids = np.zeros((2, 3), dtype=np.uint8)
    with pytest.raises(UsageError, match=r"\(2, 3\) but label has \(3, 2\)"):
        matrix.update(ids, ids.T)
    with pytest.raises(UsageError, match=r"predicted: expected .* integer class ids, got float32"):
        matrix.update(ids.astype(np.float32), ids)
    with pytest.raises(UsageError, match=r"label: .* got torch\.bool"):
        matrix.update(ids, torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(UsageError, match=r"label: .* got list"):
        matrix.update(ids, [[0] * 3] * 2)
    with pytest.raises(UsageError, match="num_classes: expected at least 1, got 0"):
        ConfusionMatrix(0)
    with pytest.raises(UsageError, match="void: 255 is one of the 256 class ids"):
        ConfusionMatrix(256)
    with pytest.raises(UsageError, match="5 classes and void 255, the other has 4 and 255"):
        matrix.merge(ConfusionMatrix(4))


def test_nothing_labelled_is_an_error_and_not_a_score():
    matrix = ConfusionMatrix(K)
    matrix.update(np.zeros((4, 4), dtype=np.uint8), np.full((4, 4), 255, dtype=np.uint8))
    with pytest.raises(DataError, match="no labelled pixel was counted"):
        matrix.scores()


def test_counts_beyond_32_bits_stay_exact():
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([0, 1, 1]), np.array([0, 0, 1]))
    matrix.counts *= 3_000_000_000
    scores = matrix.scores()
    assert int(matrix.counts.sum()) == 9_000_000_000
    assert scores.pixel_accuracy == pytest.approx(2 / 3)
    assert all(math.isfinite(v) for v in scores.class_iu)
