"""The page of an explanation: whole, closed, escaped, and with the numbers that it was given."""

import base64
import copy
import html
import io
import re
from dataclasses import asdict
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcnseg.errors import UsageError
from fcnseg.explain import explain
from fcnseg.render.explain_page import explain_page
from fcnseg.render.markup import by, count, once, short, table, typeset

EMPTY = {"meta", "link", "br", "img", "hr", "input", "source"}


class Balanced(HTMLParser):
    """Checks that every tag is closed in its order, and keeps the text and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.sources += [v or "" for n, v in attrs if n in ("src", "href", "xlink:href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def plain(text: str) -> str:
    """Times and minus signs as they are typed."""
    return text.replace("\u00d7", "x").replace("\u2212", "-").replace("\u2009", "")


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def paper() -> dict[str, Any]:
    return asdict(explain("vgg16", "8s", (500, 500), "paper"))


def with_experiment(told: dict[str, Any]) -> dict[str, Any]:
    crops = [[0.25, 0.5, 1.0], [0.0, 0.125, 0.75]]
    dense = [[0.875, 0.0, 0.25], [1.0, 0.625, 0.375]]
    found = {
        "window": 40, "stride": 8, "class_id": 3, "crops": crops, "dense": dense,
        "distance": [[0.0, 0.1, 0.2], [0.3, 0.875, 0.5]],
        "same_class": [[True, True, False], [True, True, True]],
        "score_difference": 0.36, "native_difference": 4.6e-8,
        "seconds_crops": 0.6, "seconds_batches": 0.45, "batch": 6, "seconds_dense": 0.1,
        "class": "tabby", "photograph": "cat.jpg",
    }  # fmt: skip
    return {**told, "experiment": found}


def test_the_page_is_complete_in_itself(paper: dict[str, Any]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 56, 3), dtype=np.uint8)
    before = copy.deepcopy(paper)
    page = explain_page(with_experiment(paper), image)
    found = parsed(page)
    assert "http" not in re.sub(r"data:image/[a-z]+;base64,[\w+/=]+", "", page)
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)
    assert "@import" not in page
    assert not {"script", "iframe", "link", "object"} & set(found.tags)
    assert len(found.sources) == 4
    assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in found.sources)
    assert page.startswith("<!doctype html>")
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert paper == before


def test_the_page_has_the_numbers(paper: dict[str, Any]) -> None:
    text = plain(" ".join(parsed(explain_page(paper)).text))
    for wanted in (
        "138357544", "134368799", "Linear 25088→4096", "Conv 512→4096, 7x7", "4096x16x16",
        "ceil(8 - (-23.5)) - 1 = 31", "ceil(2 - 10.5) - 1 = -9", "8 · (70 - 1) + 16 = 568",
        "(12.5 - (-91.5)) / 16 = 6.5", "404", "512x44x44", "256x88x88",
    ):  # fmt: skip
        assert wanted in text, wanted
    assert "Sliding crops" not in text


def test_the_drawings(paper: dict[str, Any]) -> None:
    page = explain_page(paper)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 2
    network, cells = drawings
    assert network.count('class="jump"') == 6  # three skips, three upsamplings
    assert network.count(">+</text>") == 2
    assert network.count('class="score"') == 4
    for name in ("stride 8", "flatten", "classifier.6", "left out", "dropped"):
        assert name in network
    for row in ("12.5 + 32 i, sees 404", "-91.5 + 16 i, sees 100", "kernel 16, 31 cut off"):
        assert row in plain(cells)
    hollow = re.findall(r'<circle class="hollow"', cells)
    assert len(hollow) == 5 + 9  # the published crops of pool4 and pool3
    for x in re.findall(r' (?:x|cx|y|cy)="([^"]+)"', page):
        assert np.isfinite(float(x))


def test_the_experiment(paper: dict[str, Any]) -> None:
    image = np.zeros((48, 56, 3), np.uint8)
    text = " ".join(parsed(explain_page(with_experiment(paper), image)).text)
    for wanted in (
        "tabby", "cat.jpg", "0.600", "6.0", "0.450", "4.5", "5 of 6 windows",
        "(0.88) in row 2, column 2", "4.6 · 10",
    ):  # fmt: skip
        assert wanted in text, wanted
    with pytest.raises(UsageError, match="uint8"):
        explain_page(with_experiment(paper), image.astype(np.float32))


def shown_values(page: str, caption: str, shape: tuple[int, int]) -> np.ndarray:
    """The brightness of each window's square in the panel with that caption."""
    found = re.findall(r'<figure><img src="([^"]+)"[^>]*><figcaption>(.*?)</figcaption>', page)
    (uri,) = [uri for uri, text in found if caption in text]
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L")
    pixels = np.asarray(picture)
    # Windows of 40 px, 8 px apart; the page shows two pixels for one.
    return np.array([
        [pixels[2 * (20 + 8 * row), 2 * (20 + 8 * column)] for column in range(shape[1])]
        for row in range(shape[0])
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("caption", "key"),
    [
        ("probability in each crop", "crops"),
        ("from one pass of the convolutional net", "dense"),
        ("Distance of the two distributions", "distance"),
    ],
)
def test_each_panel_shows_its_own_values(paper: dict[str, Any], caption: str, key: str) -> None:
    told = with_experiment(paper)
    values = np.array(told["experiment"][key])
    page = explain_page(told, np.zeros((48, 56, 3), np.uint8))
    brightness = shown_values(page, caption, values.shape)
    # The colours grow brighter from 0 to 1.
    assert brightness.ravel().argsort().tolist() == values.ravel().argsort().tolist()
    assert np.ptp(brightness.astype(int)) > 60


def test_names_keep_their_letters(paper: dict[str, Any]) -> None:
    told = with_experiment(copy.deepcopy(paper))
    name = "timm/resnext50_32x4d - 2->3 * 4.jpg"
    told["backbone"] = told["experiment"]["photograph"] = told["experiment"]["class"] = name
    told["skips"][0]["node"] = name
    told["surgery"][0]["names"] = told["changes"][0]["names"] = (name,)
    for item in (*told["parts"], *told["layers"]):
        item["name"] = "8x8"
    page = explain_page(told, np.zeros((48, 56, 3), np.uint8))
    text = html.unescape(page)
    # Title, heading, photograph, class (twice), node, surgery, change.
    assert text.count(name) == 8
    assert "32\u00d74d" not in text
    assert "8\u00d78<" not in page
    assert ">8x8</code>" in page
    assert ">8x8</text>" in page
    assert "Conv 512→4096, 7\u00d77" in text


def test_the_page_tells_levels_from_strides() -> None:
    told = asdict(explain("resnet50", "8s", (64, 96), output_stride=8))
    text = " ".join(parsed(explain_page(told)).text)
    for up in told["upsamplings"]:
        assert up["title"] in text
    assert "From level 32 (stride 8) to level 16 (stride 8): ratio 1" in text
    assert "stride 32 in the classifier, 8 in the FCN" in text
    assert "All scored maps have the same stride, 8." in text
    assert not re.search(r"\b1 (finer )?cells\b", text)


@pytest.mark.parametrize("name", ["vgg11", "mobilenet_v3_small"])
def test_layers_that_see_everything_are_told_beside_the_experiment(name: str) -> None:
    told = with_experiment(asdict(explain(name, "32s", (224, 224))))
    page = explain_page(told, np.zeros((48, 56, 3), np.uint8))
    text = " ".join(" ".join(parsed(page).text).split())
    squeezes = name == "mobilenet_v3_small"
    assert ("without padding inside, the two would agree everywhere" in text) != squeezes
    assert ("look at their whole map (squeeze-excite" in text) == squeezes


def test_names_are_escaped(paper: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>\"'&"
    told = with_experiment(copy.deepcopy(paper))
    told["backbone"] = told["variant"] = told["padding"] = evil
    told["experiment"]["class"] = told["experiment"]["photograph"] = evil
    for group in ("parts", "layers"):
        for item in told[group]:
            item["name"] = evil
    for part in told["parts"]:
        part["what"] = part["becomes"] = evil
    for layer in told["layers"]:
        layer["before"]["what"] = evil
    for change in (*told["surgery"], *told["changes"]):
        change.update(names=(evil,), before=evil, after=evil, why=evil)
    for skip in told["skips"]:
        skip["node"] = evil
    for up in told["upsamplings"]:
        for step in up["steps"]:
            step.update(name=evil, formula=evil, why=evil)
    found = parsed(explain_page(told, np.zeros((48, 56, 3), np.uint8)))
    assert "script" not in found.tags
    assert "alert(1)" in " ".join(found.text)


@pytest.mark.parametrize(
    ("name", "variant", "size"),
    [("resnet18", "32s", (64, 500)), ("mobilenet_v3_small", "16s", (300, 200))],
)
def test_other_networks(name: str, variant: str, size: tuple[int, int]) -> None:
    text = " ".join(parsed(explain_page(asdict(explain(name, variant, size)))).text)
    assert f"{name} as FCN-{variant}" in text
    assert ("also see the whole image" in text) == (name != "resnet18")


def test_pieces() -> None:
    assert plain(typeset("a->b 3x3 * <i>")) == "a→b 3x3 · &lt;i&gt;"
    assert typeset("box 12 - (-3.5) x-1") == "box 12 \u2212 (\u22123.5) x-1"
    assert by((512, 7, 7)) == "512\u00d77\u00d77"
    assert by(None) == ""
    assert [plain(once(pair)) for pair in ((2, 2), (-1.5, 2))] == ["2", "-1.5x2"]
    assert count(1234567) == "1\u2009234\u2009567"
    assert [short(n) for n in (0, 950, 15_470_264_320, 86_704_128, 1_849_688_064)] == [
        "", "950", "15.5\u2009G", "86.7\u2009M", "1.85\u2009G",
    ]  # fmt: skip
    assert 'colspan="2"' in table(("a", "b"), [["over"], ["1", "2"]])
