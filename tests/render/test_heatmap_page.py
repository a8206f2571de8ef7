"""The page of a heatmap: whole, small, escaped, and holding the numbers it was given."""

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest
from pages import check_self_contained

from fcnseg.errors import NumericError, UsageError
from fcnseg.palette import voc_palette
from fcnseg.render.heatmap_page import heatmap_page
from fcnseg.render.heatmap_page_maps import areas, packed

RNG = np.random.default_rng(6)
IMAGE = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
SCORE = RNG.normal(0, 3, (7, 4, 5)).astype(np.float32)
NAMES = ("tabby", "tiger cat", "lynx", "sofa", "desk", "lamp", "rug")
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--"


def page(**change: Any) -> str:
    values: dict[str, Any] = {
        "image": IMAGE, "score": SCORE, "classes": NAMES, "stride": (16.0, 15.0),
        "offset": (5.5, 10.0),
    }  # fmt: skip
    return heatmap_page(**{**values, **change})


def held(text: str) -> tuple[dict[str, Any], np.ndarray]:
    """The facts and the scores of a page, unpacked independently of its script."""
    facts = json.loads(re.findall(r'id="map-facts">(.*?)</script>', text, re.DOTALL)[0])
    packed_text = re.findall(r'id="map-scores">(.*?)</script>', text, re.DOTALL)[0]
    numbers = np.frombuffer(base64.urlsafe_b64decode(packed_text), "<u2").astype(np.float64)
    score = (facts["low"] + facts["step"] * numbers).reshape(-1, facts["rows"], facts["columns"])
    return facts, score


def test_the_page_is_complete_in_itself() -> None:
    text = page(title="A title")
    found = check_self_contained(text)
    assert found.text.startswith("A title")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert all("alt" in attributes for attributes in found.named("img"))
    executable = [a for a in found.named("script") if "type" not in a]
    assert len(executable) == 1
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_are_escaped() -> None:
    text = page(classes=(EVIL, *NAMES[1:]), title=EVIL)
    found = check_self_contained(text)
    assert len(found.named("script")) == 3
    assert len(found.named("img")) == 1
    assert held(text)[0]["classes"][0] == EVIL


def test_scores_are_kept_to_half_a_step() -> None:
    facts, score = held(page())
    assert facts["step"] == pytest.approx(float(np.ptp(SCORE)) / 65535)
    assert np.abs(score - SCORE).max() <= facts["step"] / 2 * 1.001
    assert (facts["offset"], facts["stride"]) == ([5.5, 10.0], [16.0, 15.0])
    flat = held(page(score=np.full((7, 1, 1), 2.5, np.float32)))[1]
    assert (flat == 2.5).all()


def test_areas_are_those_of_the_nearest_cells() -> None:
    won = np.zeros(7)
    for y in range(60):
        for x in range(80):
            row = min(range(4), key=lambda i: abs(5.5 + 16 * i - y))
            column = min(range(5), key=lambda j: abs(10.0 + 15 * j - x))
            won[SCORE[:, row, column].argmax()] += 1
    # Pixels that are as far from one cell as from the next go to the later one.
    got = areas(SCORE, (16.0, 15.0), (5.51, 10.01), (60, 80))
    assert got == pytest.approx(won / 4800, abs=1e-9)
    assert areas(SCORE, (16.0, 15.0), (5.5, 10.0), (60, 80)).sum() == pytest.approx(1)
    pixelwise = RNG.normal(size=(3, 6, 8)).astype(np.float32)
    counts = np.bincount(pixelwise.argmax(0).ravel(), minlength=3) / 48
    assert areas(pixelwise, (1, 1), (0, 0), (6, 8)) == pytest.approx(counts)


def test_what_is_small_is_not_nothing() -> None:
    single = np.zeros((2, 1200, 1000), np.float32)
    single[1, 700, 600] = 1
    photograph = np.zeros((1200, 1000, 3), np.uint8)
    facts, _ = held(
        heatmap_page(photograph, single, ("a", "b"), (1, 1), (0, 0), image_score=(1, 4.321e-6))
    )
    assert facts["whole"] == [1, 4.321e-6]
    assert facts["areas"] == {"0": 1, "1": 8.3333e-7}


def test_a_large_map_is_thinned_and_the_page_says_so() -> None:
    noise = RNG.integers(0, 256, (375, 500, 3), dtype=np.uint8)
    score = RNG.normal(size=(21, 375, 500)).astype(np.float32)
    names = [f"class {i}" for i in range(21)]
    text = heatmap_page(noise, score, names, (1, 1), (0, 0), palette=voc_palette(21))
    assert len(text.encode()) < 6_000_000
    found = check_self_contained(text).text
    assert "one pixel in 2 of each row and column: 250\u00d7188 of 500\u00d7375" in found
    facts, kept = held(text)
    assert (facts["stride"], facts["offset"], facts["cell"]) == ([2, 2], [0, 0], [1, 1])
    assert np.abs(kept - score[:, ::2, ::2]).max() <= facts["step"]
    assert facts["areas"]["0"] == pytest.approx(float((score.argmax(0) == 0).mean()), rel=5e-5)
    third = packed(RNG.normal(size=(2, 9, 11)).astype(np.float32), most=60)
    assert (third.every, third.first, third.rows, third.columns) == (3, (1, 1), 3, 4)
    assert packed(score[:, :1], most=30).columns == 1


def test_what_is_listed() -> None:
    def ids(text: str) -> list[int]:
        return [int(a["data-id"]) for a in check_self_contained(text).named("tr") if "data-id" in a]

    winners = set(np.unique(SCORE.argmax(0)).tolist())
    listed = ids(page(chosen=[6, 2, 6]))
    assert listed[:3] == [-1, 6, 2]
    assert set(listed[1:]) == winners | {6, 2}
    chance = np.full(7, 0.1)
    chance[[3, 5]] = 0.3, 0.2
    assert ids(page(image_score=chance))[1:3] == [3, 5]
    mean = np.exp(SCORE) / np.exp(SCORE).sum(0)
    assert ids(page())[1:6] == np.argsort(-mean.mean((1, 2)))[:5].tolist()
    many = RNG.normal(size=(200, 9, 9)).astype(np.float32)
    text = page(score=many, classes=[f"n{i}" for i in range(200)], stride=(6, 8))
    assert len(ids(text)) == 13
    left = len(np.unique(many.argmax(0))) - len(set(ids(text)) & set(np.unique(many.argmax(0))))
    assert f"{left} other classes that win somewhere" in check_self_contained(text).text


def test_what_is_said_of_the_geometry() -> None:
    text = check_self_contained(page(field=(31, 33), sees_all=True)).text
    assert "each cell of a map of 4 rows and 5 columns, 16\u00d715 pixels apart" in text
    assert "31\u00d733 px and the whole photograph" in text
    assert "5.5\u00d710 px centre of the first cell" in text
    assert "receptive field" not in check_self_contained(page()).text
    assert "it sees the whole photograph" in check_self_contained(page(sees_all=True)).text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": IMAGE[..., 0]}, r"image: expected an \(H, W, 3\) uint8 RGB array"),
        ({"score": SCORE[0]}, r"score: expected \(K, h, w\) floats, got shape \(4, 5\)"),
        ({"score": SCORE.astype(int)}, r"score: expected .* of int64"),
        ({"classes": NAMES[:6]}, r"classes: expected 7 names, got 6"),
        ({"stride": (0, 16)}, r"stride: expected \(vertical, horizontal\) above 0, got \(0, 16\)"),
        ({"offset": (np.nan, 0)}, r"offset: expected \(vertical, horizontal\), got"),
        ({"field": (3,)}, r"field: expected"),
        ({"chosen": [7]}, r"chosen: expected ids from 0 to 6, got \[7\]"),
        ({"chosen": []}, r"chosen: expected ids from 0 to 6, got \[\]"),
        ({"image_score": [0.1] * 6}, r"image_score: expected 7 probabilities"),
        ({"image_score": [1.2] * 7}, r"image_score: expected 7 probabilities"),
        ({"palette": voc_palette(6)}, r"palette: expected 7 colours, got 6"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        page(**change)


def test_scores_that_are_not_finite_are_refused() -> None:
    broken = SCORE.copy()
    broken[2, 1, 1] = np.nan
    with pytest.raises(NumericError, match=r"score: not finite; check the weights"):
        page(score=broken)


def test_inputs_stay_as_they_are_and_pages_alike() -> None:
    image, score = IMAGE.copy(), SCORE.copy()
    assert page(image=image, score=score) == page()
    assert (image == IMAGE).all()
    assert (score == SCORE).all()
