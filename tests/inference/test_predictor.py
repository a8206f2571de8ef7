"""From photographs to labels and scores."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from segmentation import photo

import fcnseg
from fcnseg.engine.checkpoint import save_model
from fcnseg.errors import DataError, NumericError, UsageError


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
    with pytest.raises(UsageError, match=r"image: expected uint8: an \(H, W, 3\) RGB .* got"):
        predictor(np.zeros((4, 4)))
    with pytest.raises(UsageError, match="--device tpu: cannot be used"):
        fcnseg.Predictor(model, device="tpu")
    with pytest.raises(UsageError, match="--precision fp16: needs CUDA"):
        fcnseg.Predictor(model, device="cpu", precision="fp16")
    with torch.no_grad():
        model.head.score["stride32"].weight.fill_(float("nan"))
    with pytest.raises(NumericError, match="not finite"):
        predictor(np.zeros((40, 40, 3), np.uint8))


def test_a_model_that_sees_photographs_smaller(model: fcnseg.FCN) -> None:
    """Scores of the scaled photograph, brought back to it by a plain bilinear formula."""
    model.info = replace(model.info, short_side=32)
    y, x = np.mgrid[:90, :135]
    image = np.stack([x, y, (x + y) / 2], axis=2).astype(np.uint8)
    result = fcnseg.Predictor(model, device="cpu")(image)
    assert result.labels.shape == (90, 135)
    assert result.scores is not None

    small = np.asarray(Image.fromarray(image).resize((48, 32), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(small.copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        coarse = model(model.info.preprocessing(pixels))[0].numpy()
    at_y = np.clip((np.arange(90) + 0.5) * 32 / 90 - 0.5, 0, 31)
    at_x = np.clip((np.arange(135) + 0.5) * 48 / 135 - 0.5, 0, 47)
    for k in range(3):
        rows = np.array([np.interp(at_y, np.arange(32), column) for column in coarse[k].T]).T
        expected = np.array([np.interp(at_x, np.arange(48), row) for row in rows])
        assert np.abs(result.scores[k] - expected).max() < 0.02 * np.abs(coarse).max()


def test_the_size_at_which_photographs_are_seen_is_kept_in_the_checkpoint(
    model: fcnseg.FCN, tmp_path: Path
) -> None:
    model.info = replace(model.info, short_side=48)
    save_model(tmp_path / "a.safetensors", model)
    assert fcnseg.load(tmp_path / "a.safetensors").info.short_side == 48


def test_a_batch_is_its_images(model: fcnseg.FCN) -> None:
    images = [photo(40, 60, 0), photo(64, 64, 1), photo(40, 60, 2), photo(60, 40, 3)]
    predictor = fcnseg.Predictor(model, device="cpu")
    found = predictor.batch(images)
    for image, result in zip(images, found, strict=True):
        alone = predictor(image)
        assert result.scores is not None
        assert np.allclose(result.scores, alone.scores, atol=1e-4)
        assert (result.labels == alone.labels).mean() > 0.999
        assert result.image is image
    assert predictor.batch([]) == []
    assert predictor.batch(images[:2], scores=False)[1].scores is None


def test_images_of_one_size_go_through_the_network_together(model: fcnseg.FCN) -> None:
    sizes = []
    model.register_forward_hook(lambda _, inputs, __: sizes.append(tuple(inputs[0].shape)))
    images = [photo(40, 60, 0), photo(64, 64, 1), photo(40, 60, 2)]
    fcnseg.Predictor(model, device="cpu").batch(images)
    assert sizes == [(2, 3, 40, 60), (1, 3, 64, 64)]


def test_all_kinds_of_pictures_give_the_same(model: fcnseg.FCN, tmp_path: Path) -> None:
    pixels = photo(45, 70)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    predictor = fcnseg.Predictor(model, device="cpu")
    kinds = [pixels, Image.fromarray(pixels), tmp_path / "a.png", str(tmp_path / "a.png"), tensor]
    expected = predictor(pixels)
    for result in [predictor(kind) for kind in kinds] + predictor.batch([kinds[2]]):
        assert np.array_equal(result.scores, expected.scores)
        assert np.array_equal(result.labels, expected.labels)


def test_faults_name_the_picture(model: fcnseg.FCN, tmp_path: Path) -> None:
    predictor = fcnseg.Predictor(model, device="cpu")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png: the file is empty"):
        predictor.batch([photo(40, 40), tmp_path / "empty.png"])
    with torch.no_grad():
        next(iter(model.parameters())).fill_(float("nan"))
    with pytest.raises(NumericError, match=r"a, b: the network's scores are not finite"):
        predictor.batch([photo(40, 40), photo(40, 40)], names=["a", "b"])


def test_threads_share_a_predictor(model: fcnseg.FCN) -> None:
    predictor = fcnseg.Predictor(model, device="cpu")
    images = [photo(48 + 16 * (i % 2), 64, i) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(predictor, images))
    for image, result in zip(images, together, strict=True):
        assert np.array_equal(predictor(image).scores, result.scores)


def test_a_notebook_shows_the_overlay_and_the_legend(model: fcnseg.FCN) -> None:
    image = photo(300, 2100)
    result = fcnseg.Predictor(model, device="cpu")(image, scores=False)
    with Image.open(io.BytesIO(result._repr_png_())) as shown:
        assert shown.width == 1024
        assert shown.height > round(300 * 1024 / 2100)
    counts = np.bincount(result.labels.ravel(), minlength=3) / result.labels.size
    assert re.fullmatch(r"Prediction\(2100x300 px, 3 classes: class \d .* %\)", repr(result))
    assert result.shares() == dict(zip(result.classes, counts, strict=True))
    with pytest.raises(UsageError, match="probabilities: no scores here; call predictor"):
        result.probabilities()
