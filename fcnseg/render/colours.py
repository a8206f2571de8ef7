"""What the colours of a map mean: a fixed scale, laid over the photograph.

Lightness says how far a value is from zero, on every scale, so the pictures can be read without
colour vision and without colour.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from fcnseg.errors import UsageError

_STEPS = 255  # odd: a signed scale has one step at zero
# Of a colour over the photograph: where nothing is seen the photograph shows, where a class is
# seen the colour does.
_OPACITY = (0.54, 0.92)

# Lightness, chroma and hue (degrees) in OKLab at both ends of the signed scale; zero is dark.
_COLD, _WARM = (0.87, 0.11, 232.0), (0.87, 0.15, 72.0)
_DARKEST, _CHROMA_BEND = 0.18, 0.6


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` and their colours; values beyond have those of the ends.

    Attributes:
        low: the value of the first colour.
        high: that of the last.
        label: what the bar is called.
        colours: (255, 3) uint8, in even steps.
        opacity: (255,) float32 in [0, 1] with which each lies over the photograph.
        ticks: the values that the bar names.
    """

    low: float
    high: float
    label: str
    colours: np.ndarray = field(repr=False, compare=False)
    opacity: np.ndarray = field(repr=False, compare=False)
    ticks: tuple[float, ...]

    @property
    def signed(self) -> bool:
        """Whether zero lies in the middle."""
        return self.low < 0 < self.high

    def steps(self, values: np.ndarray) -> np.ndarray:
        """The step of each value, intp in 0..254, of the shape of ``values``."""
        part = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        return np.rint(np.clip(part, 0, 1) * (_STEPS - 1)).astype(np.intp)

    def over(self, background: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Colours of ``values`` (H, W) over ``background`` (H, W, 3) uint8; a new array."""
        steps = self.steps(values)
        alpha = self.opacity[steps][..., None]
        mixed = background.astype(np.float32) * (1 - alpha) + self.colours[steps] * alpha
        return np.rint(mixed).astype(np.uint8)

    def tick_labels(self) -> list[str]:
        """The ticks as they are written, with a true minus."""
        return [f"{tick:g}".replace("-", "−") for tick in self.ticks]  # noqa: RUF001


def probability_scale() -> Scale:
    """From 0 to 1, dark and cold to bright and hot."""
    return _sequential("inferno", "probability 0–1")  # noqa: RUF001


def uncertainty_scale(label: str) -> Scale:
    """From 0 to 1 in colours that no probability has; ``label`` says of what."""
    return _sequential("viridis", label)


def score_scale(maps: Sequence[np.ndarray] | np.ndarray) -> Scale:
    """One scale for the raw scores of all ``maps``: as far below zero as above it.

    It ends at the largest distance from zero in any of them, rounded up to two digits.

    Raises :class:`UsageError` for scores that are not finite.
    """
    largest = max(float(np.abs(one).max()) for one in maps)
    if not math.isfinite(largest):
        raise UsageError("maps: expected finite scores, got NaN or infinity")
    end = _rounded_up(largest)
    label = f"score before softmax, −{end:g} to {end:g}"  # noqa: RUF001
    ticks = (-end, -end / 2, 0.0, end / 2, end)
    half = _STEPS // 2
    distance = np.abs(np.arange(_STEPS) - half) / half
    return Scale(-end, end, label, _diverging(), _opacity(distance), ticks)


def _sequential(name: str, label: str) -> Scale:
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
    opacity = _opacity(np.linspace(0, 1, _STEPS) ** 2)
    return Scale(0.0, 1.0, label, _named(name), opacity, ticks)


def _opacity(strength: np.ndarray) -> np.ndarray:
    least, most = _OPACITY
    return (least + (most - least) * strength).astype(np.float32)


def _rounded_up(value: float) -> float:
    """The next number of two digits, at least 0.01."""
    value = max(value, 0.01)
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(round(value / unit, 6)) * unit:.6g}")


@cache
def _named(name: str) -> np.ndarray:
    """A colour map of matplotlib in :data:`_STEPS` steps, (255, 3) uint8."""
    from matplotlib import colormaps

    rgba = colormaps[name](np.linspace(0, 1, _STEPS), bytes=True)
    return np.asarray(rgba)[:, :3]


@cache
def _diverging() -> np.ndarray:
    """Bright blue, dark at zero, bright orange; lightness in even steps, (255, 3) uint8."""
    half = _STEPS // 2
    part = np.arange(1, half + 1) / half
    cold, warm = (_branch(part, *end) for end in (_COLD, _WARM))
    zero = _branch(np.zeros(1), _DARKEST, 0.0, 0.0)
    return np.concatenate([cold[::-1], zero, warm])


def _branch(part: np.ndarray, lightness: float, chroma: float, hue: float) -> np.ndarray:
    """Colours from the dark zero (``part`` 0) to an end (1), (n, 3) uint8."""
    level = _DARKEST + (lightness - _DARKEST) * part
    # Strongest before the end, where there is room for it between black and white.
    strength = chroma * np.minimum(part / _CHROMA_BEND, 1) ** 0.8
    angle = math.radians(hue)
    return _from_oklab(level, strength * math.cos(angle), strength * math.sin(angle))


def _from_oklab(lightness: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """OKLab to sRGB in 8 bits, after Ottosson's published matrices."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = np.stack(
        [
            4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
        ],
        axis=-1,
    ).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded.clip(0, 1) * 255).astype(np.uint8)
