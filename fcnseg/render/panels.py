"""What a sheet of heatmaps shows: the photograph, pictures beside it, and maps over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fcnseg.checks import check_image, check_same_size
from fcnseg.errors import UsageError
from fcnseg.palette import Colour
from fcnseg.render.colours import Scale, probability_scale, score_scale
from fcnseg.render.photograph import greyed

_DARKEST_GREY = 85
_ROUNDING = 1e-5  # a softmax may end so far beyond its range


class Panel(NamedTuple):
    """One map over the photograph.

    Attributes:
        title: what it is a map of.
        values: (H, W) floats, hot is high.
        scale: what their colours mean.
        note: printed behind the title in quiet ink.
        lead: (H, W) floats, above 0 in the region to be outlined; None for no outline.
        swatch: the colour of the class in the pictures; None for none.
    """

    title: str
    values: np.ndarray
    scale: Scale
    note: str = ""
    lead: np.ndarray | None = None
    swatch: Colour | None = None


@dataclass(frozen=True)
class Sheet:
    """All that is drawn; ``draw_sheet`` makes pixels of it and ``draw_figure`` a figure.

    Attributes:
        image: (H, W, 3) uint8, the photograph.
        panels: one or more, of the size of the photograph.
        pictures: (title, (H, W, 3) uint8) shown after the photograph.
        size: (H, W) of the photograph before it was scaled to the size of the panels, if it was:
            the axes of figures are in its pixels.
        caption: what numbers and lines mean, written below a sheet of pixels; figures for papers
            have captions of their own.

    Raises:
        UsageError: other shapes and types, or sizes that differ.
    """

    image: np.ndarray
    panels: tuple[Panel, ...]
    pictures: tuple[tuple[str, np.ndarray], ...] = ()
    size: tuple[int, int] | None = None
    caption: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_image("image", self.image)
        for title, picture in self.pictures:
            check_image(title, picture)
            check_same_size(title, picture.shape[:2], "image", self.image.shape[:2])
        for panel in self.panels:
            check_same_size(panel.title, panel.values.shape, "image", self.image.shape[:2])
            if panel.lead is not None:
                check_same_size("lead", panel.lead.shape, "image", self.image.shape[:2])

    @property
    def cells(self) -> int:
        """Places in the grid."""
        return 1 + len(self.pictures) + len(self.panels)

    @property
    def scales(self) -> list[Scale]:
        """Each scale once, in the order of the panels."""
        return list(dict.fromkeys(panel.scale for panel in self.panels))


def background_of(image: np.ndarray) -> np.ndarray:
    """The photograph as the maps lie over it: in grey, without its darkest shades."""
    return greyed(image, darkest=_DARKEST_GREY)


def class_panels(
    maps_KHW: np.ndarray,
    titles: Sequence[str],
    *,
    scores: Sequence[float] | None = None,
    raw: bool = False,
    leads_KHW: np.ndarray | None = None,
    swatches: Sequence[Colour] | None = None,
) -> tuple[Panel, ...]:
    """One panel a class, all on one scale; the arguments are those of ``render.heatmap``.

    ``swatches`` has a colour a class.

    Raises :class:`UsageError` for other shapes and types, values that are NaN, and probabilities
    further than 1e-5 outside [0, 1].
    """
    maps_KHW = np.asarray(maps_KHW)
    _check_maps(maps_KHW, titles, scores)
    if raw:
        scale = score_scale(maps_KHW)
    else:
        _check_probabilities("maps", maps_KHW)
        scale = probability_scale()
    if leads_KHW is not None and np.shape(leads_KHW) != maps_KHW.shape:
        raise UsageError(f"leads: expected shape {maps_KHW.shape}, got {np.shape(leads_KHW)}")
    return tuple(
        Panel(
            title,
            maps_KHW[k],
            scale,
            "" if scores is None else _note(scores[k], raw),
            None if leads_KHW is None else leads_KHW[k],
            None if swatches is None else swatches[k],
        )
        for k, title in enumerate(titles)
    )


def _note(score: float, raw: bool) -> str:
    said = f"{score:.2f}" if score >= 0.005 else "<0.01"
    return f"p {said}" if raw else said


def _check_maps(maps: np.ndarray, titles: Sequence[str], scores: Sequence[float] | None) -> None:
    if maps.ndim != 3 or len(maps) == 0 or not np.issubdtype(maps.dtype, np.floating):
        raise UsageError(
            f"maps: expected (K, H, W) floats with K >= 1, got shape {maps.shape} of {maps.dtype}"
        )
    if isinstance(titles, str) or len(titles) != len(maps):
        raise UsageError(f"titles: expected one for each of {len(maps)} maps, got {titles!r}")
    if scores is not None:
        _check_probabilities("scores", scores)
        if len(scores) != len(maps):
            raise UsageError(
                f"scores: expected one for each of {len(maps)} maps, got {len(scores)}"
            )


def _check_probabilities(what: str, values: np.ndarray | Sequence[float]) -> None:
    low, high = float(np.min(values)), float(np.max(values))
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        raise UsageError(
            f"{what}: expected probabilities from 0 to 1, got {low:g} to {high:g}; "
            "apply softmax or sigmoid to scores first"
        )
