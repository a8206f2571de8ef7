"""What is read off class maps, against plain formulas, and where it lands when it is drawn."""

import math

import numpy as np
import pytest
from PIL import Image

from fcnseg.inference.class_maps import ClassMaps
from fcnseg.inference.heatmap_result import Heatmap
from fcnseg.render.grid import plan

SIZE = (37, 53)


def softmax(score):
    grown = np.exp(score - score.max(0))
    return grown / grown.sum(0)


def made(score, stride=(8.0, 9.0), offset=(3.5, 2.0)):
    image_score = softmax(score).mean((1, 2)).astype(np.float32)
    names = tuple(f"class {i}" for i in range(len(score)))
    return ClassMaps(score.astype(np.float32), names, stride, offset, image_score)


@pytest.fixture
def maps():
    return made(np.random.default_rng(0).normal(0, 2, (7, 5, 6)))


def sampled(cells, y, x, maps):
    """Bilinear between cell centres, continued by the edge, one point at a time."""
    rows, columns = cells.shape
    r = min(max((y - maps.offset[0]) / maps.stride[0], 0), rows - 1)
    c = min(max((x - maps.offset[1]) / maps.stride[1], 0), columns - 1)
    r0, c0 = min(int(r), rows - 2), min(int(c), columns - 2)
    a, b = r - r0, c - c0
    top = (1 - b) * cells[r0, c0] + b * cells[r0, c0 + 1]
    return (1 - a) * top + a * ((1 - b) * cells[r0 + 1, c0] + b * cells[r0 + 1, c0 + 1])


@pytest.mark.parametrize("drawn", [None, SIZE, (74, 106), (50, 40)])
def test_maps_are_laid_where_the_cells_are_in_the_drawing(maps, drawn):
    got = maps.probabilities([2, 4], SIZE, drawn)
    raw = maps.scores([2, 4], SIZE, drawn)
    height, width = drawn or SIZE
    assert got.shape == raw.shape == (2, height, width)
    probability = softmax(maps.score)
    for y, x in [(0, 0), (5, 7), (20, 33), (height - 1, width - 1)]:
        place = (y + 0.5) * SIZE[0] / height - 0.5, (x + 0.5) * SIZE[1] / width - 0.5
        for k, own in enumerate((2, 4)):
            assert got[k, y, x] == pytest.approx(sampled(probability[own], *place, maps), abs=1e-5)
            assert raw[k, y, x] == pytest.approx(sampled(maps.score[own], *place, maps), abs=1e-4)


@pytest.mark.parametrize("drawn", [None, (50, 40)])
def test_the_lead_is_the_distance_to_the_best_other_class(maps, drawn):
    everything = maps.probabilities(range(7), SIZE, drawn)
    leads = maps.leads([1, 6, 0], SIZE, drawn)
    for k, own in enumerate((1, 6, 0)):
        others = np.delete(everything, own, axis=0).max(0)
        assert np.allclose(leads[k], everything[own] - others, atol=1e-6)
    assert (made(np.zeros((1, 2, 2))).leads([0], SIZE) == 1).all()


def test_many_classes_are_ranked_in_parts(maps, monkeypatch):
    whole = maps.leads([0, 3], SIZE)
    monkeypatch.setattr("fcnseg.inference.class_maps._AT_ONCE", 1)
    assert np.array_equal(maps.leads([0, 3], SIZE), whole)
    again = made(maps.score)  # its sums are computed anew, a row at a time
    assert np.allclose(again.entropy(SIZE), maps.entropy(SIZE), atol=1e-6)


def test_entropy_and_margin_are_those_of_the_cells(maps):
    probability = softmax(maps.score.astype(np.float64))
    entropy = -(probability * np.log2(probability)).sum(0) / math.log2(7)
    ranked = np.sort(probability, axis=0)
    got = maps.entropy(SIZE)[0], maps.margin(SIZE)[0]
    for of_cells, laid in zip((entropy, ranked[-1] - ranked[-2]), got, strict=True):
        for y, x in [(0, 0), (11, 30), (36, 52)]:
            assert laid[y, x] == pytest.approx(sampled(of_cells, y, x, maps), abs=1e-5)
    even = made(np.zeros((5, 2, 2)))
    assert np.allclose(even.entropy(SIZE), 1)
    assert np.allclose(even.margin(SIZE), 0)
    certain = np.zeros((5, 2, 2))
    certain[3] = 1000
    assert np.allclose(made(certain).entropy(SIZE), 0)
    assert np.allclose(made(certain).margin(SIZE), 1)


def test_a_fine_map_is_averaged_when_it_is_drawn_small():
    score = np.zeros((2, 80, 120))
    score[0] = np.where(np.indices((80, 120)).sum(0) % 2, 20, -20)  # a chessboard
    maps = made(score, (1.0, 1.0), (0.0, 0.0))
    drawn = maps.probabilities([0], (80, 120), (20, 30))[0]
    assert np.abs(drawn[2:-2, 2:-2] - 0.5).max() < 0.05


HOT = [
    ((31.7, 18.3), (7.25, 12.5), (211, 317), (2, 8)),
    ((32.0, 32.0), (15.5, 15.5), (224, 224), (3, 3)),
    ((37.5, 37.5), (0.0, 36.3), (300, 451), (4, 5)),
    ((13.0, 9.0), (6.0, -4.0), (101, 99), (3, 5)),
    ((64.0, 64.0), (31.0, 31.0), (1500, 2000), (11, 15)),
]


def one_hot_cell(stride, offset, size, cell):
    cells = [int((n - 1 - o) / s) + 1 for n, s, o in zip(size, stride, offset, strict=True)]
    score = np.full((2, *cells), -6.0)
    score[1] = 6
    score[:, cell[0], cell[1]] = 6, -6
    image = np.full((*size, 3), 128, np.uint8)
    return Heatmap(image, made(score, stride, offset), (0,))


def centroid(panel, outside):
    """Of the intensity above that of the panel without the cell, in pixels of the panel."""
    weight = np.abs(panel.astype(float) - outside).sum(axis=2)
    weight[weight < 4] = 0
    y, x = np.indices(weight.shape)
    return (weight * y).sum() / weight.sum(), (weight * x).sum() / weight.sum()


@pytest.mark.parametrize(("stride", "offset", "size", "cell"), HOT)
@pytest.mark.parametrize("kind", ["probability", "raw"])
def test_a_hot_cell_is_drawn_on_its_centre(stride, offset, size, cell, kind):
    result = one_hot_cell(stride, offset, size, cell)
    panel_width = result._sheet(kind, None, 480 * 360).image.shape[1]
    layout = plan(*size, 2, panel_width=panel_width)
    left, top = layout.corner(1)
    figure = result.picture(kind)
    panel = figure[top : top + layout.panel_height, left : left + layout.panel_width]
    y, x = centroid(panel, panel[0, -1].astype(float))
    place = [
        (y + 0.5) * size[0] / layout.panel_height - 0.5,
        (x + 0.5) * size[1] / layout.panel_width - 0.5,
    ]
    for got, o, s, i in zip(place, offset, stride, cell, strict=True):
        assert got == pytest.approx(o + s * i, abs=0.5)


@pytest.mark.parametrize(("stride", "offset", "size", "cell"), HOT[:3])
def test_a_hot_cell_is_on_its_centre_in_the_figure(stride, offset, size, cell, tmp_path):
    result = one_hot_cell(stride, offset, size, cell)
    figure = result.figure()
    figure.savefig(tmp_path / "figure.png", dpi=200)
    pixels = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB"))
    figure.set_dpi(200)
    box = figure.axes[1].get_window_extent()
    rows = slice(round(len(pixels) - box.y1) + 1, round(len(pixels) - box.y0) - 1)
    columns = slice(round(box.x0) + 1, round(box.x1) - 1)
    panel = pixels[rows, columns]
    y, x = centroid(panel, panel[1, -2].astype(float))
    # A pixel's centre is half a pixel from its corner, and display coordinates count from below.
    at = (columns.start + x + 0.5, len(pixels) - (rows.start + y + 0.5))
    got = figure.axes[1].transData.inverted().transform(at)[::-1]
    for place, o, s, i in zip(got, offset, stride, cell, strict=True):
        assert place == pytest.approx(o + s * i, abs=0.5)
