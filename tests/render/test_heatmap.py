import itertools
import subprocess
import sys

import numpy as np
import pytest
from golden import assert_golden

from fcnseg.errors import UsageError
from fcnseg.render import heatmap, legend
from fcnseg.render.colours import score_scale, uncertainty_scale
from fcnseg.render.contour import outlined
from fcnseg.render.grid import plan
from fcnseg.render.heatmap import draw_sheet
from fcnseg.render.panels import Panel, Sheet, class_panels
from fcnseg.render.text import fitted, text_width

GREY = np.full((60, 80, 3), 120, dtype=np.uint8)


def lightness(colour):
    """CIE L* of an sRGB colour."""
    linear = np.asarray(colour, dtype=float) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    y = float(linear @ [0.2126, 0.7152, 0.0722])
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def plan_of(image, panels, **options):
    return plan(image.shape[0], image.shape[1], panels, **options)


def panel_of(figure, layout, cell):
    left, top = layout.corner(cell)
    return figure[top : top + layout.panel_height, left : left + layout.panel_width]


def test_the_photograph_comes_first_and_panels_are_aligned():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    maps = np.zeros((3, 60, 80), dtype=np.float32)
    figure = heatmap(image, maps, ["a", "b", "c"], panel_width=80, columns=2)
    layout = plan_of(image, 4, panel_width=80, columns=2)
    assert figure.dtype == np.uint8
    assert figure.shape == (layout.height, layout.width, 3)
    assert np.array_equal(panel_of(figure, layout, 0), image)
    first = panel_of(figure, layout, 1)
    assert all(np.array_equal(panel_of(figure, layout, k), first) for k in (2, 3))
    outside = np.ones(figure.shape[:2], dtype=bool)
    for k in range(4):
        panel_of(outside, layout, k)[:] = False
    assert (figure[outside].mean(axis=1) > 0).all()
    assert (figure[:, : layout.corner(0)[0]] == 255).all()


def test_hot_is_high_and_lightness_rises_all_the_way():
    ramp = np.tile(np.linspace(0, 1, 80, dtype=np.float32), (60, 1))
    figure = heatmap(GREY, ramp[None], ["ramp"], panel_width=80)
    row = panel_of(figure, plan_of(GREY, 2, panel_width=80), 1)[30]
    steps = np.diff([lightness(colour) for colour in row])
    assert (steps > 0).all()
    assert steps.max() < 3 * np.median(steps)


def test_raw_scores_have_one_scale_as_long_below_zero_as_above():
    maps = np.zeros((2, 60, 80), dtype=np.float32)
    maps[0] = np.linspace(-7.31, 7.31, 80, dtype=np.float32)
    maps[1, :, :40], maps[1, :, 40:] = maps[0, 0, 20], -maps[0, 0, 20]
    layout = plan_of(GREY, 3, panel_width=80)
    figure = heatmap(GREY, maps, ["a", "b"], raw=True, panel_width=80)
    row = panel_of(figure, layout, 1)[30].astype(int)
    other = panel_of(figure, layout, 2)[30]
    assert np.array_equal(other[0], row[20])  # the same score, the same colour
    assert np.array_equal(other[79], row[59])
    levels = np.array([lightness(colour) for colour in row])
    assert (np.diff(levels[40:]) > 0).all()
    assert (np.diff(levels[:40]) < 0).all()
    assert np.abs(levels - levels[::-1]).max() < 6, "as bright so far below zero as above"
    assert row[79][0] > row[79][2] + 60  # above zero warm, below it cold
    assert row[0][2] > row[0][0] + 60


@pytest.mark.parametrize(
    ("largest", "end"), [(7.31, 7.4), (20.0, 20), (0.0, 0.01), (123.4, 130), (0.99, 0.99)]
)
def test_the_end_of_the_scale_of_scores_is_a_round_number(largest, end):
    scale = score_scale([np.array([[-largest, largest / 2]]), np.zeros((1, 1))])
    assert (scale.low, scale.high) == (-end, end)
    assert scale.ticks[2] == 0
    assert scale.tick_labels()[0].startswith("\N{MINUS SIGN}")
    assert scale.steps(np.array([-2 * end, 0, 2 * end])).tolist() == [0, 127, 254]


def seen_by_dichromats(colours):
    """sRGB as people without one kind of cone see it (Vienot, Brettel and Mollon 1999)."""
    linear = (np.asarray(colours) / 255) ** 2.2
    for red, green in ((0.11238, 0.88762), (0.29275, 0.70725)):  # protanopia, deuteranopia
        mixed = linear[:, 0] * red + linear[:, 1] * green
        blue = linear[:, 2] + 0.004 * (linear[:, 0] - linear[:, 1])
        yield (np.stack([mixed, mixed, blue], 1).clip(0, 1) ** (1 / 2.2)) * 255


def test_the_sign_of_a_score_is_seen_with_any_kind_of_colour_vision():
    colours = score_scale([np.ones((1, 1))]).colours
    below, above = colours[127 - 40 :: -1][:80], colours[127 + 40 :][:80]
    for cold, warm in zip(seen_by_dichromats(below), seen_by_dichromats(above), strict=True):
        assert (np.abs(cold - warm).max(axis=1) > 40).all()


def test_a_line_runs_where_the_lead_is_zero_and_nowhere_else():
    y, x = np.mgrid[:60, :80]
    lead = (15 - np.hypot(x - 40.3, y - 29.6)) / 100
    for level in (0, 128, 255):  # seen on every colour
        before = np.full((60, 80, 3), level, dtype=np.uint8)
        drawn = outlined(before, lead)
        changed = np.abs(drawn.astype(int) - before).max(axis=2)
        away = np.abs(np.hypot(x - 40.3, y - 29.6) - 15)
        assert (changed[away > 2.2] == 0).all()
        assert changed[away < 2].max() > 90
        light = drawn[..., 0].astype(int)[(away > 0) & (away < 0.3)]
        assert light.min() > 150
    for nowhere in (np.ones((60, 80)), -np.ones((60, 80)), np.zeros((60, 80))):
        assert np.array_equal(outlined(before, nowhere), before)
    assert outlined(before[:1, :1], lead[:1, :1]).shape == (1, 1, 3)


def blob(x, y, width):
    rows, columns = np.mgrid[:60, :80]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / width**2).astype(np.float32)


@pytest.fixture
def scene():
    y, x = np.mgrid[:60, :80]
    waves = [127 + 100 * np.sin(x / 9 + k) * np.cos(y / 7 - k) for k in range(3)]
    maps = np.stack([blob(25, 30, 18), 0.8 * blob(55, 25, 14)])
    leads = np.stack([maps[0] - maps[1], maps[1] - maps[0]]) - 0.1
    return np.stack(waves, axis=2).astype(np.uint8), maps, leads


def test_golden_heatmap(scene):
    image, maps, leads = scene
    options = {"scores": [0.4, 0.1], "leads_KHW": leads, "columns": 3, "panel_width": 120}
    assert_golden("heatmap.png", heatmap(image, maps, ["cat", "sofa"], **options), text=True)


def test_golden_heatmap_of_raw_scores(scene):
    image, maps, leads = scene
    drawn = heatmap(image, 12 * maps - 5, ["a", "b"], raw=True, leads_KHW=leads, panel_width=100)
    assert_golden("heatmap_raw.png", drawn, text=True)


def test_golden_contact_sheet(scene):
    image, maps, leads = scene
    panels = class_panels(
        maps,
        ["cat", "sofa"],
        scores=[0.4, 0.1],
        leads_KHW=leads,
        swatches=[(250, 0, 0), (0, 9, 99)],
    )
    doubt = Panel("entropy", 1 - maps.max(0), uncertainty_scale("entropy"), "mean 0.6")
    sheet = Sheet(image, (*panels, doubt), (("winner", image[:, ::-1]),))
    drawn = draw_sheet(sheet, columns=3, panel_width=80)
    assert drawn.shape[0] == plan(60, 80, 5, 3, 80, bars=2).height
    assert_golden("heatmap_sheet.png", drawn, text=True)


@pytest.mark.parametrize("bars", [1, 2, 3])
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_bars_lie_in_the_sheet_and_not_on_each_other(bars, columns):
    layout = plan(60, 80, 6, columns, 100, bars)
    places = [layout.bar_corner(bar) for bar in range(bars)]
    assert len(set(places)) == bars
    for left, top in places:
        assert left + layout.bar_width <= layout.width - 18
        assert top + 14 + 24 <= layout.height
    tops = sorted({top for _, top in places})
    assert all(b - a > 14 + 24 for a, b in itertools.pairwise(tops))


def test_the_scale_is_fixed_and_shared():
    """The same value has the same colour in any panel, next to any other values."""
    maps = np.zeros((2, 60, 80), dtype=np.float32)
    maps[0, :30], maps[1, :30] = 0.3, 0.3
    maps[1, 30:] = 1.0
    layout = plan_of(GREY, 3, panel_width=80)
    figure = heatmap(GREY, maps, ["a", "b"], panel_width=80)
    a, b = (panel_of(figure, layout, k)[10, 40] for k in (1, 2))
    assert np.array_equal(a, b)
    alone = heatmap(GREY, maps[:1], ["a"], panel_width=80)
    assert np.array_equal(panel_of(alone, plan_of(GREY, 2, panel_width=80), 1)[10, 40], a)


def test_the_bar_shows_the_colours_of_the_panels():
    maps = np.stack([np.full((60, 80), v, dtype=np.float32) for v in (0.0, 0.5, 1.0)])
    figure = heatmap(GREY, maps, ["a", "b", "c"], panel_width=200)
    layout = plan_of(GREY, 4, panel_width=200)
    bar = figure[layout.bar_top + 7, layout.corner(0)[0] :]
    width = min(400, layout.grid_width)
    for k, at in ((1, 0), (2, width // 2), (3, width - 1)):
        panel = panel_of(figure, layout, k)[30, 40].astype(int)
        assert np.abs(panel - bar[at]).max() <= 3


def test_a_map_lies_where_it_belongs():
    maps = np.zeros((1, 60, 80), dtype=np.float32)
    maps[0, 45:, 60:] = 1.0
    figure = heatmap(GREY, maps, ["corner"], panel_width=160)
    panel = panel_of(figure, plan_of(GREY, 2, panel_width=160), 1).astype(int).sum(axis=2)
    half = heatmap(GREY, np.full_like(maps, 0.5), ["half"], panel_width=160)
    middle = panel_of(half, plan_of(GREY, 2, panel_width=160), 1)[0, 0].astype(int).sum()
    hot = np.argwhere(panel > middle)
    assert hot.min(axis=0).tolist() == [90, 120]
    assert hot.max(axis=0).tolist() == [119, 159]


@pytest.mark.parametrize("count", [1, 2, 5, 9, 21])
@pytest.mark.parametrize("size", [(300, 400), (400, 300), (60, 600), (600, 60), (1, 1), (1, 500)])
def test_layouts_are_sensible(count, size):
    image = np.zeros((*size, 3), dtype=np.uint8)
    layout = plan_of(image, count + 1)
    assert layout.columns * layout.rows >= count + 1
    assert layout.columns * (layout.rows - 1) < count + 1
    ratio = layout.panel_width / layout.panel_height
    assert ratio == pytest.approx(size[1] / size[0], rel=0.02) or 1 in size
    assert 0.4 < layout.width / layout.height < (4 if min(size) > 1 else 8)
    assert min(layout.panel_width, layout.panel_height) >= 2
    assert max(layout.panel_width, layout.panel_height) <= 1280
    titles = ["a name that is longer than its panel is wide by far"] * count
    maps = np.full((count, *size), 0.5, dtype=np.float32)
    figure = heatmap(image, maps, titles, scores=[0.5] * count)
    assert figure.shape == (layout.height, layout.width, 3)
    assert (figure[:, -10:] == 255).all(), "nothing may reach the right edge"
    assert (figure[:8] == 255).all()
    assert (figure[-8:] == 255).all()


def test_titles_and_scores_are_drawn():
    maps = np.zeros((1, 60, 80), dtype=np.float32)
    figures = [
        heatmap(GREY, maps, [title], scores=scores)
        for title, scores in (("cat", None), ("dog", None), ("cat", [0.83]), ("cat", [0.001]))
    ]
    assert len({figure.tobytes() for figure in figures}) == 4
    layout = plan_of(GREY, 2)
    left, top = layout.corner(1)
    for figure in figures:
        assert (figure[top - 22 : top, left : left + 60] < 128).any()


def test_fitted_keeps_what_fits():
    assert fitted("short", 200, 15) == "short"
    cut = fitted("a rather long class name", 100, 15)
    assert cut.endswith("…")
    assert "a rather long class name".startswith(cut[:-1])
    assert text_width(cut, 15) <= 100
    assert fitted("name", 1, 15) == "…"


def test_inputs_are_not_changed_and_views_are_taken():
    image = np.ascontiguousarray(GREY)[:, ::-1]
    maps = np.random.default_rng(0).random((2, 60, 80))[:, ::-1]
    before = image.copy(), maps.copy()
    heatmap(image, maps, ["a", "b"])
    assert np.array_equal(image, before[0])
    assert np.array_equal(maps, before[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.01, 1.01])
def test_values_that_are_no_probabilities_are_refused(bad):
    maps = np.full((2, 60, 80), 0.5)
    maps[1, 3, 4] = bad
    with pytest.raises(UsageError, match="maps: expected probabilities from 0 to 1, got"):
        heatmap(GREY, maps, ["a", "b"])
    with pytest.raises(UsageError, match="scores: expected probabilities"):
        heatmap(GREY, np.zeros((1, 60, 80)), ["a"], scores=[bad])


def test_rounding_beyond_one_is_taken():
    maps = np.full((1, 60, 80), 1 + 1e-6)
    assert np.array_equal(heatmap(GREY, maps, ["a"]), heatmap(GREY, np.ones((1, 60, 80)), ["a"]))


def test_wrong_arguments_are_refused():
    maps = np.zeros((2, 60, 80))
    with pytest.raises(UsageError, match=r"maps is 59x80 .* image is 60x80"):
        heatmap(GREY, maps[:, 1:], ["a", "b"])
    with pytest.raises(UsageError, match="titles: expected one for each of 2 maps"):
        heatmap(GREY, maps, ["a"])
    with pytest.raises(UsageError, match="titles: expected one for each"):
        heatmap(GREY, maps, "ab")
    with pytest.raises(UsageError, match="scores: expected one for each of 2 maps, got 1"):
        heatmap(GREY, maps, ["a", "b"], scores=[0.5])
    with pytest.raises(UsageError, match=r"expected \(K, H, W\) floats"):
        heatmap(GREY, maps[0], ["a"])
    with pytest.raises(UsageError, match=r"with K >= 1, got shape \(0, 60, 80\)"):
        heatmap(GREY, maps[:0], [])
    with pytest.raises(UsageError, match=r"leads: expected shape \(2, 60, 80\), got \(1, 60"):
        heatmap(GREY, maps, ["a", "b"], leads_KHW=maps[:1])
    with pytest.raises(UsageError, match="expected finite scores"):
        heatmap(GREY, maps + np.inf, ["a", "b"], raw=True)
    with pytest.raises(UsageError, match="columns: expected at least 1"):
        heatmap(GREY, maps, ["a", "b"], columns=0)
    with pytest.raises(UsageError, match="panel_width: expected at least 1 pixel"):
        heatmap(GREY, maps, ["a", "b"], panel_width=0)


def test_a_legend_lists_the_classes_present_largest_first():
    labels = np.zeros((10, 10), dtype=np.uint8)
    labels[:6], labels[6:9] = 2, 1
    labels[9, :5] = 255
    names = ["sky", "road", "tree", "absent"]
    palette = [(9, 9, 9), (250, 0, 0), (0, 250, 0), (1, 2, 3)]
    strip = legend(labels, names, palette, 500)
    assert strip.shape[1:] == (500, 3)
    where = [np.argwhere((strip == c).all(axis=2))[:, 1].min() for c in (palette[2], palette[1])]
    assert where[0] < where[1]
    assert not (strip == palette[3]).all(axis=2).any()
    assert legend(labels, names, palette, 120).shape[0] > strip.shape[0]
    with pytest.raises(UsageError, match="names: expected one for each of 4 colours"):
        legend(labels, names[:3], palette, 500)
    with pytest.raises(UsageError, match="width: expected at least 100"):
        legend(labels, names, palette, 50)


def test_importing_the_room_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys, fcnseg.render; "
        "print([m for m in ('torch', 'matplotlib', 'cv2', 'albumentations') if m in sys.modules])"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "[]"


def test_rendering_never_imports_pyplot():
    code = (
        "import sys, numpy as np; from fcnseg import render; "
        "render.heatmap(np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4)), ['a']); "
        "render.training_curves([]); print('matplotlib.pyplot' in sys.modules)"
    )
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert got.stdout.strip() == "False"
