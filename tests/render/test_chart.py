"""Charts as SVG: everything at its place, gaps kept, and small."""

import re

import numpy as np
import pytest

from fcnseg.render.chart import HEIGHT, WIDTH, Axis, Band, Line, chart, sparkline
from fcnseg.render.series import in_words, losses, measures, thinned


def points(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    """The places of each piece of a curve."""
    (path,) = re.findall(rf'<path class="line {kind}" d="([^"]*)"', svg)
    return [
        [tuple(map(float, place.split())) for place in piece.split("L")]
        for piece in path.split("M")[1:]
    ]


def line(y: list[float], **change: object) -> Line:
    return Line("a", "one", np.arange(len(y), dtype=float), np.array(y, dtype=float), **change)


def test_places_are_linear_between_the_ticks() -> None:
    svg = chart("loss", "step", [line([0, 10, 5])])
    (curve,) = points(svg, "one")
    ticks = {
        float(text): float(y)
        for y, text in re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', svg)
    }
    assert curve[1][1] == pytest.approx(ticks[10], abs=4.1)  # the texts stand a little lower
    assert curve[2][1] - curve[0][1] == pytest.approx((curve[1][1] - curve[0][1]) / 2, abs=0.11)
    assert curve[1][0] - curve[0][0] == pytest.approx(curve[2][0] - curve[1][0], abs=0.11)


def test_a_logarithmic_axis_has_equal_steps_for_equal_factors() -> None:
    (curve,) = points(chart("loss", "step", [line([100, 10, 1])], scale="log"), "one")
    assert curve[1][1] - curve[0][1] == pytest.approx(curve[2][1] - curve[1][1], abs=0.11)


def test_missing_values_leave_gaps_and_wild_ones_stay_inside() -> None:
    nan = float("nan")
    svg = chart("loss", "step", [line([1, nan, 2, 3, nan, 4])])
    assert [len(piece) for piece in points(svg, "one")] == [1, 2, 1]
    wild = chart("loss", "step", [line([1, 2, 1e9, 3])], within=(0, 5))
    ((curve),) = points(wild, "one")
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in curve)
    assert curve[0][1] - curve[1][1] > 10


def test_a_band_is_closed_in_each_piece() -> None:
    nan = float("nan")
    low, high = np.array([0, nan, 1, 1.0]), np.array([2, nan, 3, 4.0])
    band = Band(np.arange(4.0), low, high)
    svg = chart("loss", "step", [line([1, 1, 2, 2])], band)
    (area,) = re.findall(r'<path class="band" d="([^"]*)"', svg)
    assert area.count("M") == area.count("Z") == 2
    assert area.count("L") == 1 + 3


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0], [float("nan")], [1e-12, 1e12]])
@pytest.mark.parametrize("scale", ["linear", "percent", "log"])
def test_any_values_give_a_drawing(values: list[float], scale: str) -> None:
    svg = chart("loss", "step", [line(values)], scale=scale)
    assert "nan" not in svg
    assert "inf" not in svg
    assert "<svg" in sparkline(np.array(values))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.552, 0.93), (1, 104), (0, 3e-7), (-2, 2)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = Axis(low, high, 0, 100).ticks()
    assert 3 <= len(ticks) <= 8
    assert all(low - 1e-12 <= tick <= high + 1e-12 for tick in ticks)
    step = ticks[1] - ticks[0]
    assert float(f"{step:.0e}") == pytest.approx(step)
    assert f"{step:.0e}"[0] in "125"


def test_names_and_titles_are_escaped() -> None:
    svg = chart("<b>", "<i>", [Line('"><x>', "one", np.arange(2.0), np.arange(2.0), ("<t>", "&"))])
    assert not {"<b>", "<i>", "<x>", "<t>"} & set(re.findall(r"<\w>", svg))
    assert "<title>&lt;t&gt;</title>" in svg


def test_thinning_keeps_the_least_and_the_largest() -> None:
    x = np.arange(100_000, dtype=float)
    y = np.random.default_rng(0).normal(size=len(x)) + np.linspace(5, 0, len(x))
    y[777], y[5000] = 40, np.nan
    thin = thinned(x, y)
    assert len(thin.x) == 300
    assert np.nanmax(thin.high) == 40
    assert np.nanmin(thin.low) == np.nanmin(y)
    for i, group in enumerate(np.array_split(np.arange(len(x)), 300)):
        assert thin.low[i] == np.nanmin(y[group])
        assert thin.high[i] == np.nanmax(y[group])
    assert len(thin.trend_x) == 150
    assert np.abs(np.interp(thin.trend_x, x, np.linspace(5, 0, len(x))) - thin.trend).max() < 0.2
    svg = chart("loss", "step", [Line("t", "one", thin.trend_x, thin.trend)],
                Band(thin.x, thin.low, thin.high))  # fmt: skip
    assert len(svg) < 30_000


def test_numbers_of_an_evaluation_by_their_names() -> None:
    row = {"kind": "eval", "epoch": 1, "step": 2, "train_loss": 0.1, "mean_iu": 0.5,
           "frequency_weighted_iu": 0.4, "class_iu": {"a": 0.1}, "flag": True}  # fmt: skip
    assert measures([row]) == ["mean_iu", "frequency_weighted_iu"]
    assert losses([row]) == ["train_loss"]
    assert in_words("frequency_weighted_iu") == "frequency-weighted IU"
