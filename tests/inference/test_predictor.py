"""From photographs to labels and scores."""

import numpy as np
import pytest
import torch

import fcnseg
from fcnseg.errors import NumericError, UsageError


@pytest.fixture
def model() -> fcnseg.FCN:
    torch.manual_seed(0)
    model = fcnseg.build_fcn("resnet18", "16s", 3)
    with torch.no_grad():
        for layer in model.head.score.values():
            layer.weight.normal_(0, 0.1)
    return model


def test_labels_are_the_best_scores_of_the_preprocessed_image(model: fcnseg.FCN) -> None:
    image = np.random.default_rng(0).integers(0, 256, (45, 70, 3), dtype=np.uint8)
    before = image.copy()
    result = fcnseg.Predictor(model, device="cpu")(image)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = torch.from_numpy(((image / 255 - mean) / std).astype(np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = model(x)[0].numpy()
    assert result.scores is not None
    assert np.allclose(result.scores, expected, atol=1e-3)
    assert result.labels.shape == (45, 70)
    assert result.labels.dtype == np.uint8
    assert np.array_equal(result.labels, result.scores.argmax(0))
    assert np.array_equal(image, before)
    assert np.allclose(result.probabilities().sum(0), 1, atol=1e-5)


def test_one_pixel_and_no_scores(model: fcnseg.FCN) -> None:
    result = fcnseg.Predictor(model, device="cpu")(np.zeros((1, 1, 3), np.uint8), scores=False)
    assert result.labels.shape == (1, 1)
    assert result.scores is None


def test_the_predictor_evaluates(model: fcnseg.FCN) -> None:
    predictor = fcnseg.Predictor(model.train(), device="cpu")
    image = np.full((40, 40, 3), 90, np.uint8)
    assert np.array_equal(predictor(image).scores, predictor(image).scores)
    assert not model.training


def test_refusals(model: fcnseg.FCN) -> None:
    predictor = fcnseg.Predictor(model, device="cpu")
    with pytest.raises(UsageError, match=r"image: expected an \(H, W, 3\) uint8 RGB array, got"):
        predictor(np.zeros((4, 4), np.uint8))
    with pytest.raises(UsageError, match="--device tpu: cannot be used"):
        fcnseg.Predictor(model, device="tpu")
    with pytest.raises(UsageError, match="--precision fp16: needs CUDA"):
        fcnseg.Predictor(model, device="cpu", precision="fp16")
    with torch.no_grad():
        model.head.score["stride32"].weight.fill_(float("nan"))
    with pytest.raises(NumericError, match="not finite"):
        predictor(np.zeros((40, 40, 3), np.uint8))
