"""The page of a heatmap in a browser: what it reads, draws and asks for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from browser import Tab

from fcnseg.palette import voc_palette
from fcnseg.render.colours import probability_scale
from fcnseg.render.heatmap_page import heatmap_page

RNG = np.random.default_rng(7)
HIGH, WIDE = 240, 320
IMAGE = np.full((HIGH, WIDE, 3), 128, np.uint8)
IMAGE[::8] = 90
STRIDE, OFFSET, FIELD = (32.0, 40.0), (11.5, 19.5), (95.0, 101.0)
SCORE = RNG.normal(0, 4, (1000, 7, 8)).astype(np.float32)
SCORE[5, 2, 3] = 25.0
SCORE[9, 5, 6] = 22.0
NAMES = tuple(f"class number {i}" for i in range(1000))
CHOSEN = (5, 9, 700)


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    program = browser.found()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(browser.NAMES)} on the path")
    with browser.tab(program) as opened:
        yield opened


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a classifier with a thousand classes."""
    path = tmp_path_factory.mktemp("page") / "classifier.html"
    text = heatmap_page(
        IMAGE, SCORE, NAMES, STRIDE, OFFSET, field=FIELD, chosen=CHOSEN,
        image_score=np.full(1000, 0.001),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def classifier(tab: Tab, whole: Path) -> Tab:
    tab.open(whole, 1280, 900)
    return tab


def at(tab: Tab, x: int, y: int) -> tuple[float, float]:
    """Where the middle of a pixel of the photograph lies in the window."""
    tab.run("document.getElementById('stage').scrollIntoView({block: 'nearest'})")
    left, top, wide, high = tab.run(
        "(() => { const r = stage.getBoundingClientRect();"
        "return [r.left, r.top, stage.clientWidth, stage.clientHeight]; })()"
    )
    size = tab.run("document.getElementById('boxes').getAttribute('viewBox')").split()
    return left + (x + 0.5) / float(size[2]) * wide, top + (y + 0.5) / float(size[3]) * high


def reading(tab: Tab) -> list[tuple[int, str, str, str]]:
    """Rank, name, probability and score of the rows in view."""
    rows = tab.run(
        "[...document.querySelectorAll('.ranked:not([hidden])')].map(row => ['rank', 'name', 'p',"
        "'raw'].map(kind => row.querySelector('.' + kind).textContent))"
    )
    rows = [(int(rank), name, p, raw.replace("\u2212", "-")) for rank, name, p, raw in rows]
    return sorted(rows)


def text(tab: Tab, identifier: str) -> str:
    return tab.run(f"document.getElementById('{identifier}').textContent").replace("\u00a0", " ")


def rect(tab: Tab, kind: str) -> list[float]:
    return tab.run(
        f"['x', 'y', 'width', 'height'].map(name => Number("
        f"document.querySelector('#boxes .{kind}:not(.under)').getAttribute(name)))"
    )


def shown(tab: Tab) -> list[int]:
    """The ids of the layers that can be seen."""
    return tab.run(
        "[...document.querySelectorAll('#sheets canvas')].filter(c => c.offsetWidth)"
        ".map(c => Number(c.getAttribute('data-id')))"
    )


def softmax(score: np.ndarray) -> np.ndarray:
    shifted = np.exp(score.astype(np.float64) - score.max(axis=0))
    return shifted / shifted.sum(axis=0)


def check_reading(tab: Tab, score: np.ndarray, names: tuple[str, ...]) -> None:
    """The rows in view are those of one cell's scores (K,), to the digits they are shown in."""
    order = np.argsort(-score, kind="stable")
    rows = reading(tab)
    assert len(rows) >= min(len(score), 9)
    probability = softmax(score)
    for rank, name, p, raw in rows:
        k = names.index(name)
        # Scores within a step of one another may stand in either order.
        assert abs(score[k] - score[order[rank - 1]]) < 0.002
        assert float(raw) == pytest.approx(score[k], abs=0.0062)
        if p == "<0.001":
            assert probability[k] < 0.00101
        else:
            assert float(p) == pytest.approx(probability[k], abs=0.0011)


@pytest.mark.parametrize(
    ("x", "y", "row", "column"), [(137, 80, 2, 3), (0, 0, 0, 0), (262, 165, 5, 6), (319, 239, 6, 7)]
)
def test_the_pointer_reads_all_classes(
    classifier: Tab, x: int, y: int, row: int, column: int
) -> None:
    classifier.point(*at(classifier, x, y))
    assert text(classifier, "where") == f"pixel x {x}, y {y}"
    middle = (OFFSET[1] + STRIDE[1] * column, OFFSET[0] + STRIDE[0] * row)
    about = text(classifier, "about")
    assert about.startswith(f"cell in row {row + 1} of 7, column {column + 1} of 8, centred at")
    assert f"x {middle[0]:g}, y {middle[1]:g}" in about
    check_reading(classifier, SCORE[:, row, column], NAMES)
    x0, y0, w, h = rect(classifier, "cell")
    assert (x0 + w / 2 - 0.5, y0 + h / 2 - 0.5, h, w) == pytest.approx((*middle, *STRIDE))
    x0, y0, w, h = rect(classifier, "field")  # what it sees, cut at the photograph
    for start, length, axis, side in ((x0, w, 1, WIDE), (y0, h, 0, HIGH)):
        low, high = (middle[1 - axis] + 0.5 + sign * FIELD[axis] / 2 for sign in (-1, 1))
        assert (start, start + length) == pytest.approx((max(0, low), min(side, high)))
    first = max(0, int(np.ceil(middle[0] - 50))), max(0, int(np.ceil(middle[1] - 47)))
    assert f"It sees x {first[0]} to " in about
    assert f", y {first[1]} to " in about


def test_every_class_can_be_reached_and_found(classifier: Tab) -> None:
    classifier.point(*at(classifier, 137, 80))
    assert classifier.run("document.querySelectorAll('.ranked').length") < 40
    classifier.run("document.getElementById('ranking').scrollTop = 1e9")
    classifier.frame()
    assert reading(classifier)[-1][0] == 1000
    check_reading(classifier, SCORE[:, 2, 3], NAMES)
    classifier.run("const f = document.getElementById('find'); f.value = 'NUMBER 77'; "
                   "f.dispatchEvent(new Event('input')); 1")  # fmt: skip
    assert {name for _, name, _, _ in reading(classifier)} <= {n for n in NAMES if "number 77" in n}
    check_found = [row for row in reading(classifier) if row[1] == "class number 77"]
    rank = int((SCORE[:, 2, 3] > SCORE[77, 2, 3]).sum()) + 1
    assert check_found[0][0] == pytest.approx(rank, abs=2)


def canvas_pixel(tab: Tab, layer: int, x: int, y: int) -> tuple[list[int], float, float]:
    """Colour and opacity of a layer at a pixel of the photograph, and where that was in it."""
    found = tab.run(
        f"(() => {{ const c = document.querySelector('#sheets canvas[data-id=\"{layer}\"]');"
        f"const i = Math.floor(({x} + 0.5) / {WIDE} * c.width),"
        f"j = Math.floor(({y} + 0.5) / {HIGH} * c.height);"
        "const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});"
        "pen.drawImage(c, -i, -j);"
        "return [...pen.getImageData(0, 0, 1, 1).data, (i + 0.5) / c.width,"
        "(j + 0.5) / c.height]; })()"
    )
    return found[:4], found[4] * WIDE - 0.5, found[5] * HIGH - 0.5


def between(k: int, x: float, y: float) -> float:
    """The probability of a class at a place: bilinear between the centres of cells."""
    p = softmax(SCORE)[k]
    row = float(np.clip((y - OFFSET[0]) / STRIDE[0], 0, 6))
    column = float(np.clip((x - OFFSET[1]) / STRIDE[1], 0, 7))
    upper = np.interp(column, range(8), p[int(row)])
    lower = np.interp(column, range(8), p[min(int(row) + 1, 6)])
    return float(upper + (lower - upper) * (row - int(row)))


def test_layers_are_drawn_and_toggled(classifier: Tab) -> None:
    assert shown(classifier) == [5]
    scale = probability_scale()
    for x, y in ((139, 75), (150, 80), (40, 200)):
        colour, px, py = canvas_pixel(classifier, 5, x, y)
        step = scale.steps(np.array(between(5, px, py)))
        expected = [*scale.colours[step], 255 * scale.opacity[step]]
        assert np.abs(np.array(colour) - expected).max() <= 6
    boxes = "document.querySelector('tr[data-id=\"{}\"] input[type=checkbox]').click()"
    classifier.run(boxes.format(9))
    assert shown(classifier) == [5, 9]
    colour, px, py = canvas_pixel(classifier, 9, 259, 171)
    assert colour[3] == pytest.approx(255 * 0.8 * between(9, px, py), abs=3)
    classifier.run(boxes.format(5))
    classifier.run(boxes.format(-1))
    assert shown(classifier) == [-1, 9]
    slider = "document.querySelector('tr[data-id=\"9\"] input[type=range]')"
    classifier.run(f"{slider}.value = 30; {slider}.dispatchEvent(new Event('input')); 1")
    opacity = "document.querySelector('#sheets canvas[data-id=\"9\"]').style.opacity"
    assert float(classifier.run(opacity)) == pytest.approx(0.3)
    tags = classifier.run("[...document.querySelectorAll('.tag')].map(t => t.textContent)")
    assert f"2class number 9{softmax(SCORE)[9].max():.3f}" in tags


def test_a_class_of_the_ranking_gets_a_layer(classifier: Tab) -> None:
    classifier.point(*at(classifier, 19, 11))
    best = int(SCORE[:, 0, 0].argmax())
    known = classifier.run("document.querySelectorAll('tr[data-id]').length")
    ids = classifier.run(
        "[...document.querySelectorAll('tr[data-id]')].map(r => +r.getAttribute('data-id'))"
    )
    names = [row[1] for row in reading(classifier)]
    new = next(n for n in names if NAMES.index(n) not in ids)
    classifier.run(f"[...document.querySelectorAll('.ranked')].find(r => r.querySelector("
                   f"'.name').textContent === '{new}').click()")  # fmt: skip
    assert NAMES.index(new) in shown(classifier)
    assert classifier.run("document.querySelectorAll('tr[data-id]').length") == known + 1
    assert reading(classifier)[0][1] == NAMES[best]


def test_the_keyboard_moves_and_toggles(classifier: Tab) -> None:
    classifier.run("document.getElementById('stage').focus()")

    def cell() -> tuple[int, ...]:
        words = text(classifier, "about").split()
        return int(words[3]) - 1, int(words[7]) - 1

    assert cell() == (2, 3)  # the place where the first class is most probable
    steps: list[tuple[Any, ...]] = [
        ("ArrowRight", (2, 4)), ("ArrowDown", (3, 4)), ("ArrowLeft", (3, 3)), ("ArrowUp", (2, 3)),
        ("Home", (2, 0)), ("ArrowLeft", (2, 0)), ("End", (2, 7)),
    ]  # fmt: skip
    for key, expected in steps:
        classifier.key(key)
        assert cell() == expected
    classifier.key("ArrowDown", shift=True)
    assert cell() == (6, 7)
    check_reading(classifier, SCORE[:, 6, 7], NAMES)
    classifier.key("2")
    classifier.key("w")
    assert shown(classifier) == [-1, 5, 9]
    classifier.key("0")
    assert shown(classifier) == []
    classifier.key("Enter")
    classifier.point(*at(classifier, 19, 11))
    assert cell() == (6, 7)
    classifier.until("document.getElementById('said').textContent.includes('pinned')")
    classifier.key("ArrowUp")
    assert cell() == (5, 7)
    classifier.key("Escape")
    classifier.point(*at(classifier, 20, 12))
    assert cell() == (0, 0)


def test_a_click_pins(classifier: Tab) -> None:
    classifier.click(*at(classifier, 137, 80))
    assert text(classifier, "pin") == "pinned: release"
    classifier.point(*at(classifier, 19, 11))
    assert text(classifier, "where") == "pixel x 137, y 80"
    classifier.click(*at(classifier, 262, 165))
    check_reading(classifier, SCORE[:, 5, 6], NAMES)
    classifier.click(*at(classifier, 262, 165))
    assert text(classifier, "pin") == "pin"
    classifier.point(*at(classifier, 19, 11))
    assert text(classifier, "where") == "pixel x 19, y 11"


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone(tab: Tab, whole: Path, dark: bool) -> None:
    tab.open(whole, 375, 812, dark)
    assert tab.run("document.documentElement.scrollWidth") <= 375
    assert tab.run("document.getElementById('reading').getBoundingClientRect().top") < 812
    tab.tap(*at(tab, 137, 80))
    assert text(tab, "where") in ("pixel x 137, y 80", "pixel x 136, y 80", "pixel x 138, y 80")
    assert text(tab, "pin") == "pinned: release"
    check_reading(tab, SCORE[:, 2, 3], NAMES)
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 300) == dark


def test_a_thinned_segmentation(tab: Tab, tmp_path: Path) -> None:
    score = RNG.normal(0, 2, (21, 375, 500)).astype(np.float32)
    score[3, 100:200, 100:300] += 15
    names = tuple(f"k{i}" for i in range(21))
    path = tmp_path / "segmenter.html"
    image = np.full((375, 500, 3), 100, np.uint8)
    text_ = heatmap_page(image, score, names, (1, 1), (0, 0), palette=voc_palette(21))
    path.write_text(text_, encoding="utf-8")
    tab.open(path, 1280, 900)
    assert shown(tab) == [-1]
    for x, y in ((150, 150), (10, 370), (498, 0)):
        tab.point(*at(tab, x, y))
        check_reading(tab, score[:, y, x], names)
    tags = tab.run("[...document.querySelectorAll('.tag')].map(t => t.textContent)")
    assert any("k3" in tag for tag in tags)


def test_a_page_of_one_cell_and_one_class(tab: Tab, tmp_path: Path) -> None:
    path = tmp_path / "one.html"
    one = np.full((1, 1, 1), -2.5, np.float32)
    image = np.zeros((1, 1, 3), np.uint8)
    path.write_text(heatmap_page(image, one, ["only"], (32, 32), (15.5, 15.5), sees_all=True),
                    encoding="utf-8")  # fmt: skip
    tab.open(path, 1280, 900)
    tab.point(*at(tab, 0, 0))
    assert reading(tab) == [(1, "only", "1.000", "-2.50")]


def test_nothing_leaves_the_page_and_nothing_is_complained_about(tab: Tab, whole: Path) -> None:
    tab.open(whole, 1280, 900)
    assert tab.said == []
    asked = {address.partition(",")[0] for address in tab.requests}
    asked.discard("data:image/jpeg;base64")
    assert all(a.startswith("file:///") and a.endswith(".html") for a in asked), asked
