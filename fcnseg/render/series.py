"""The rows of a log as columns of numbers, thinned where there are too many to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = Mapping[str, Any]

_NO_MEASURES = ("epoch", "step")


@dataclass(frozen=True, eq=False)
class Thinned:
    """A curve in at most so many pieces: the least and largest value of each, and a trend.

    Attributes:
        x: (n,) the middle of each piece.
        low, high: (n,) least and largest value; NaN where there is none.
        trend_x: (m,) places of the trend.
        trend: (m,) the running median; NaN where there is none.
    """

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    trend_x: np.ndarray
    trend: np.ndarray


def column(rows: Sequence[Row], key: str) -> np.ndarray:
    """The values of ``key`` as (n,) float64, NaN where there is no finite number."""
    values = np.array([_number(row.get(key)) for row in rows], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def of_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    """The rows of one kind, in their order."""
    return [row for row in rows if row.get("kind") == kind]


def measures(rows: Sequence[Row]) -> list[str]:
    """Names of the measures in rows of evaluations: their numbers that are no losses."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [n for n in names if n not in _NO_MEASURES and not is_loss(n) and _numeric(rows, n)]


def losses(rows: Sequence[Row]) -> list[str]:
    """Names of the losses in rows of evaluations."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if is_loss(name) and _numeric(rows, name)]


def is_loss(name: str) -> bool:
    """Whether a number of an evaluation is a loss."""
    return name.endswith("loss")


def class_values(row: Row) -> Mapping[str, float | None]:
    """The values of classes by name in the row of an evaluation; {} where there are none."""
    for name, value in row.items():
        if name.startswith("class") and isinstance(value, Mapping):
            return value
    return {}


def in_words(name: str) -> str:
    """The name of a measure or loss as one says it: "mean_iu" -> "mean IU"."""
    words = [("IU" if word == "iu" else word) for word in name.split("_")]
    text = " ".join(words)
    return text.replace("frequency weighted", "frequency-weighted")


def thinned(x: np.ndarray, y: np.ndarray, pieces: int = 300, trends: int = 150) -> Thinned:
    """Return the curve through (x, y), both (n,), in at most ``pieces`` pieces.

    Values that are NaN are left out. The trend is the median over a twentieth of the values
    around each of at most ``trends`` places.
    """
    groups = np.array_split(np.arange(len(x)), min(len(x), pieces)) if len(x) else []
    bounds = [_bounds(y[group]) for group in groups]
    places, trend = running_median(y, max(1, len(x) // 40) if len(x) > 2 else 0, trends)
    return Thinned(
        x=np.array([x[group].mean() for group in groups]),
        low=np.array([low for low, _ in bounds]),
        high=np.array([high for _, high in bounds]),
        trend_x=x[places],
        trend=trend,
    )


def running_median(
    values: np.ndarray, reach: int, most: int = 400
) -> tuple[np.ndarray, np.ndarray]:
    """Return up to ``most`` places (m,) int64 spread over ``values`` and the median around each.

    The median is over ``reach`` values on either side, NaN left out; (m,) float64.
    """
    spread = np.linspace(0, len(values) - 1, min(len(values), most))
    places = np.unique(spread.round().astype(np.int64))
    near = [values[max(0, i - reach) : i + reach + 1] for i in places]
    return places, np.array([_median(v) for v in near], dtype=np.float64)


def _bounds(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def _numeric(rows: Sequence[Row], name: str) -> bool:
    return any(np.isfinite(_number(row.get(name))) for row in rows)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return float("nan")
    return float(value)
