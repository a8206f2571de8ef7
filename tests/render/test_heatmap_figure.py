"""The figure for papers: text is text, the same each time, everything in its place."""

import re
from dataclasses import replace

import numpy as np
import pytest
from golden import assert_golden
from PIL import Image

from fcnseg.errors import UsageError
from fcnseg.render.colours import score_scale, uncertainty_scale
from fcnseg.render.figure import draw_figure, write_figure
from fcnseg.render.panels import Panel, Sheet, class_panels


@pytest.fixture
def sheet():
    y, x = np.mgrid[:60, :80]
    waves = [127 + 100 * np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)]
    image = np.stack(waves, axis=2).astype(np.uint8)
    maps = np.stack([np.exp(-((x - c) ** 2 + (y - 30) ** 2) / 200) for c in (20, 60)])
    panels = class_panels(
        maps - 0.5, ["cat $5$", "sofa"], scores=[0.4, 0.1], raw=True,
        leads_KHW=maps - 0.5, swatches=[(250, 0, 0), (0, 9, 99)],
    )  # fmt: skip
    doubt = Panel("entropy", maps.max(0), uncertainty_scale("entropy in bits"), "mean 0.6")
    return Sheet(image, (*panels, doubt), (("winner", image[:, ::-1].copy()),), (600, 800))


def test_golden_figure(sheet, tmp_path):
    figure = draw_figure(sheet)
    figure.savefig(tmp_path / "figure.png", dpi=50)
    with Image.open(tmp_path / "figure.png") as drawn:
        assert_golden("heatmap_figure.png", np.asarray(drawn.convert("RGB")), text=True)


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_the_same_bytes_each_time_and_no_date(sheet, tmp_path, suffix, monkeypatch):
    first = write_figure(tmp_path / f"a.{suffix}", draw_figure(sheet)).read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12345")
    again = write_figure(tmp_path / f"b.{suffix}", draw_figure(sheet)).read_bytes()
    assert first == again
    assert not re.search(rb"CreationDate|dc:date", first)


def test_text_stays_text(sheet, tmp_path):
    svg = write_figure(tmp_path / "a.svg", draw_figure(sheet)).read_text(encoding="utf-8")
    texts = [re.sub(r"<[^>]+>", "", t) for t in re.findall(r"<text.*?</text>", svg, re.DOTALL)]
    said = [" ".join(t.split()) for t in texts]
    for words in ("photograph", "winner", "cat $5$ p 0.40", "sofa p 0.10", "entropy mean 0.6"):
        assert words in said
    assert score_scale([np.array([[0.5]])]).label in said
    pdf = write_figure(tmp_path / "a.pdf", draw_figure(sheet)).read_bytes()
    assert b"/FontFile2" in pdf


@pytest.mark.filterwarnings("error")
def test_names_outside_the_font_make_no_noise(sheet, tmp_path):
    first, *others = sheet.panels
    chinese = replace(sheet, panels=(first._replace(title="\u732b"), *others))
    for suffix in ("pdf", "png"):
        write_figure(tmp_path / f"a.{suffix}", draw_figure(chinese))
    svg = write_figure(tmp_path / "a.svg", draw_figure(chinese)).read_text(encoding="utf-8")
    assert "\u732b" in svg


def test_axes_are_in_pixels_of_the_photograph_and_inside_the_page(sheet):
    figure = draw_figure(sheet)
    for axes in figure.axes[:5]:
        assert axes.get_xlim() == (-0.5, 799.5)
        assert axes.get_ylim() == (599.5, -0.5)
        box = axes.get_window_extent()
        assert box.width / box.height == pytest.approx(80 / 60)
    boxes = [axes.get_position() for axes in figure.axes]
    assert all(0 <= b.x0 < b.x1 <= 1 and 0 <= b.y0 < b.y1 <= 1 for b in boxes)
    apart = [
        a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
        for i, a in enumerate(boxes)
        for b in boxes[:i]
    ]
    assert all(apart)


@pytest.mark.parametrize("size", [(1, 1), (600, 20), (20, 600)])
def test_strips_and_single_pixels(size):
    image = np.zeros((*size, 3), np.uint8)
    panels = class_panels(np.full((1, *size), 0.5), ["a"], leads_KHW=np.ones((1, *size)))
    figure = draw_figure(Sheet(image, panels))
    figure.canvas.draw()
    assert figure.get_size_inches()[1] < 10


def test_other_endings_are_refused(sheet, tmp_path):
    with pytest.raises(UsageError, match=r"a\.eps: expected a name that ends in \.svg, \.pdf"):
        write_figure(tmp_path / "a.eps", draw_figure(sheet))
