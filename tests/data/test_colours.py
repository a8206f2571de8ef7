"""The one affine map of colours against the four steps that it stands for."""

import colorsys

import numpy as np
import pytest

from fcnseg.data.colours import colour_map, mean_colour, recoloured

GREY = np.array([0.299, 0.587, 0.114])


def picture() -> np.ndarray:
    """Return colours that stay inside 0 to 255 under mild changes."""
    return np.random.default_rng(0).integers(60, 180, (40, 50, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    ("brightness", "contrast", "saturation"),
    [(1, 1, 1), (0.8, 1, 1), (1, 0.7, 1), (1, 1, 0), (1, 1, 1.3), (1.2, 0.8, 1.2), (0.7, 1.2, 0.6)],
)
def test_equals_the_plain_formulas(brightness: float, contrast: float, saturation: float) -> None:
    image = picture()
    brighter = image * brightness
    contrasted = contrast * brighter + (1 - contrast) * (brighter @ GREY).mean()
    grey = (contrasted @ GREY)[..., None]
    expected = np.clip(grey + saturation * (contrasted - grey), 0, 255)
    matrix = colour_map(brightness, contrast, saturation, 0, mean_colour(image))
    assert np.abs(recoloured(image, matrix) - expected).max() <= 1.01


def test_the_steps_may_come_in_any_order() -> None:
    mean = np.array([90.0, 120.0, 40.0])
    whole = colour_map(1.2, 0.8, 1.3, 0.02, mean)
    steps = [(1.2, 1, 1, 0), (1, 0.8, 1, 0), (1, 1, 1.3, 0), (1, 1, 1, 0.02)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        made, now = np.eye(4), mean
        for step in order:
            matrix = np.vstack([colour_map(*steps[step], now), (0, 0, 0, 1)])
            made, now = matrix @ made, matrix[:3, :3] @ now + matrix[:3, 3]
        assert np.allclose(made[:3], whole)


def test_hue_turns_and_lightness_stays() -> None:
    red = np.full((1, 1, 3), (150, 100, 100), np.uint8)
    for turn in (0.03, -0.03, 0.1):
        colour = recoloured(red, colour_map(1, 1, 1, turn, mean_colour(red)))[0, 0].astype(float)
        assert abs(colour @ GREY - np.array([150, 100, 100]) @ GREY) < 1
        hue = (colorsys.rgb_to_hsv(*colour / 255)[0] + 0.5) % 1 - 0.5
        assert hue * turn > 0
        assert abs(abs(hue) - abs(turn)) < 0.6 * abs(turn)
    whole = recoloured(red, colour_map(1, 1, 1, 1, mean_colour(red)))
    assert np.abs(whole.astype(int) - red).max() <= 1


def test_nothing_wraps_around_and_the_input_is_left_alone() -> None:
    image = np.array([[(0, 0, 0), (255, 255, 255), (250, 5, 128)]], np.uint8)
    before = image.copy()
    image.flags.writeable = False
    bright = recoloured(image, colour_map(1.3, 1.3, 1.4, 0.03, mean_colour(image)))
    assert bright[0, 0].max() < 40
    assert bright[0, 1].min() == 255
    assert np.array_equal(image, before)
