"""Test-time augmentation against a plain mean of probabilities."""

import numpy as np
import pytest
import torch
from segmentation import photo
from torch.nn import functional as F

import fcnseg
from fcnseg.errors import UsageError
from fcnseg.inference.views import Views, read_views
from fcnseg.preprocessing import resize


@pytest.fixture(scope="module")
def model() -> fcnseg.FCN:
    torch.manual_seed(0)
    model = fcnseg.build_fcn("resnet18", "16s", 3)
    with torch.no_grad():
        for layer in model.head.score.values():
            layer.weight.normal_(0, 0.1)
    return model.eval()


def test_the_mean_of_all_views(model: fcnseg.FCN) -> None:
    image = photo(70, 100)
    views = Views((0.5, 1.0, 1.5), flip=True)
    found = fcnseg.Predictor(model, device="cpu", views=views)(image)
    plain = fcnseg.Predictor(model, device="cpu")
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    total = torch.zeros(3, 70, 100)
    for size in ((35, 50), (70, 100), (105, 150)):
        scaled = resize(pixels, size)[0].permute(1, 2, 0).numpy()
        for flip in (False, True):
            seen = plain(np.ascontiguousarray(scaled[:, ::-1] if flip else scaled)).scores
            assert seen is not None
            score = torch.from_numpy(np.ascontiguousarray(seen[:, :, ::-1] if flip else seen))
            total += F.interpolate(score[None], (70, 100), mode="bilinear")[0].softmax(0) / 6
    assert np.abs(found.probabilities() - total.numpy()).max() < 1e-5
    assert (found.labels == total.argmax(0).numpy()).mean() > 0.999


def test_a_mirrored_image_gives_mirrored_labels(model: fcnseg.FCN) -> None:
    predictor = fcnseg.Predictor(model, device="cpu", views=Views(flip=True))
    image = photo(64, 96)
    there = predictor(image).probabilities()
    back = predictor(np.ascontiguousarray(image[:, ::-1])).probabilities()
    assert np.abs(there - back[:, :, ::-1]).max() < 1e-5


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("flip", Views((1.0,), True)),
        ("0.75,1,1.25,flip", Views((0.75, 1, 1.25), True)),
        ("1", Views()),
        ("2, 1", Views((2, 1))),
    ],
)
def test_texts(text: str, views: Views) -> None:
    assert read_views(text) == views


@pytest.mark.parametrize("text", ["", "flop", "0", "nan", "1,1", "5", "-1", "1,,2"])
def test_texts_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--tta {text}: expected scales from 0.1 to 4 and flip"):
        read_views(text)
