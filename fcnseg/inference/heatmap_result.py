"""A network's view of one photograph, and every form in which it is shown or written."""

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from fcnseg.checks import check_choice
from fcnseg.errors import UsageError
from fcnseg.files import write_atomically
from fcnseg.inference.class_maps import ClassMaps
from fcnseg.palette import Colour, voc_palette
from fcnseg.render.colours import uncertainty_scale
from fcnseg.render.figure import draw_figure, write_figure
from fcnseg.render.files import png_bytes, write_image
from fcnseg.render.grid import fitted_panel, panel_area
from fcnseg.render.heatmap import draw_sheet
from fcnseg.render.heatmap_page import heatmap_page
from fcnseg.render.overlay import overlay
from fcnseg.render.panels import Panel, Sheet, class_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["probability", "raw"]
Uncertainty = Literal["entropy", "margin"]
KINDS: tuple[Kind, ...] = ("probability", "raw")
UNCERTAINTIES: tuple[Uncertainty, ...] = ("entropy", "margin")

_LEAST_OUTLINED = 0.1
_CAPTION = (
    "number: probability of the class for the photograph as a whole",
    f"line: around where the class is the most probable one, at {_LEAST_OUTLINED} or more",
)
_FIGURES, _PICTURES = (".svg", ".pdf"), (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where a network sees classes in a photograph; a notebook shows it by itself.

    Attributes:
        image: (H, W, 3) uint8 RGB, the photograph.
        maps: the scores of all classes, and where their cells lie.
        ids: the classes that are shown, in order.
        palette: K colours, 8-bit RGB; None for classes that have none.
        name: of the photograph, for the heading of the page.
    """

    image: np.ndarray
    maps: ClassMaps
    ids: tuple[int, ...]
    palette: tuple[Colour, ...] | None = None
    name: str = ""

    def __repr__(self) -> str:
        """One line, whatever the size."""
        high, wide = self.image.shape[:2]
        rows, columns = self.maps.score.shape[1:]
        known = f"{len(self.maps.classes)} classes on {columns}x{rows} cells"
        return f"Heatmap({wide}x{high} px, {known}: {', '.join(self.classes)})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that are shown."""
        return tuple(self.maps.classes[i] for i in self.ids)

    def picture(
        self, kind: Kind = "probability", uncertainty: Uncertainty | None = None
    ) -> np.ndarray:
        """The photograph and one panel a class, (H', W', 3) uint8.

        A thin line bounds the region where the class of a panel is the most probable one, at a
        probability of 0.1 or more: among many classes one wins everywhere. Where all of the
        network's classes are shown, a panel has the winner of each pixel.

        Args:
            kind: ``"probability"``: on a fixed scale from 0 to 1; ``"raw"``: scores before
                softmax, all panels on one scale, as long below zero as above it.
            uncertainty: one more panel: ``"entropy"`` of the classes in each cell as a share of
                log2 K bits, or the ``"margin"`` by which the best probability leads the second.
        """
        sheet = self._sheet(kind, uncertainty, panel_area(self._cells))
        return draw_sheet(sheet, panel_width=sheet.image.shape[1])

    def figure(
        self, kind: Kind = "probability", uncertainty: Uncertainty | None = None
    ) -> "Figure":
        """The same as a matplotlib figure of 7 inches' width; axes are in the image's pixels."""
        return draw_figure(self._sheet(kind, uncertainty, panel_area(self._cells, in_print=True)))

    def page(self) -> str:
        """One HTML page that needs nothing else: layers, and all scores under the pointer."""
        maps = self.maps
        return heatmap_page(
            self.image,
            maps.score,
            maps.classes,
            maps.stride,
            maps.offset,
            field=maps.field,
            sees_all=maps.sees_all,
            chosen=list(self.ids),
            image_score=maps.image_score,
            palette=self.palette,
            title=f"What the network sees in {self.name}" if self.name else "",
        )

    def save(
        self,
        path: str | os.PathLike[str],
        kind: Kind = "probability",
        uncertainty: Uncertainty | None = None,
    ) -> Path:
        """Write what the suffix of ``path`` says, whole or not at all; returns the path.

        ``.png``, ``.jpg``: :meth:`picture`. ``.svg``, ``.pdf``: :meth:`figure`. ``.html``:
        :meth:`page`. ``.npz``: ``score`` (K, h, w) float32 before softmax, ``classes``,
        ``stride`` and ``offset``; the latter (vertical, horizontal) in pixels of the photograph.

        Raises:
            UsageError: another suffix.
            EnvironmentFault: the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        known = (*_PICTURES, *_FIGURES, ".html", ".npz")
        if suffix not in known:
            raise UsageError(f"{path}: expected a name that ends in {', '.join(known)}")
        if suffix in _PICTURES:
            return write_image(path, self.picture(kind, uncertainty))
        if suffix in _FIGURES:
            return write_figure(path, self.figure(kind, uncertainty))
        content = self.page().encode() if suffix == ".html" else self._numbers()
        return write_atomically(path, content)

    def _repr_png_(self) -> bytes:
        return png_bytes(self.picture())

    @property
    def _cells(self) -> int:
        return len(self.ids) + 3  # the photograph; perhaps the winner and the uncertainty

    @property
    def _is_complete(self) -> bool:
        return 1 < len(self.maps.classes) == len(self.ids)

    def _sheet(self, kind: Kind, uncertainty: Uncertainty | None, area: int) -> Sheet:
        """All panels at the size at which they are drawn."""
        check_choice("kind", kind, KINDS)
        check_choice("uncertainty", uncertainty, (None, *UNCERTAINTIES))
        maps, ids = self.maps, list(self.ids)
        size = (self.image.shape[0], self.image.shape[1])
        width, height = fitted_panel(*size, area)
        drawn = (height, width)
        shown = Image.fromarray(np.ascontiguousarray(self.image))
        photograph = np.asarray(shown.resize((width, height), Image.Resampling.LANCZOS))
        raw = kind == "raw"
        colours = self.palette or voc_palette(min(len(maps.classes), 255) + 1)[1:]
        leads_KHW = maps.leads(ids, size, drawn)
        probability_KHW = maps.probabilities(ids, size, drawn)
        panels = class_panels(
            maps.scores(ids, size, drawn) if raw else probability_KHW,
            self.classes,
            scores=[float(maps.image_score[i]) for i in ids],
            raw=raw,
            leads_KHW=np.minimum(leads_KHW, probability_KHW - _LEAST_OUTLINED),
            swatches=[colours[i] for i in ids] if self._is_complete else None,
        )
        pictures: tuple[tuple[str, np.ndarray], ...] = ()
        if self._is_complete:
            winner = np.asarray(ids)[leads_KHW.argmax(0)]
            pictures = (("winner", overlay(photograph, winner, colours, 0.65)),)
        if uncertainty is not None:
            panels += (_uncertain(maps, uncertainty, size, drawn),)
        return Sheet(photograph, panels, pictures, size, _CAPTION)

    def _numbers(self) -> bytes:
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            score=self.maps.score,
            classes=np.array(self.maps.classes),
            stride=np.array(self.maps.stride),
            offset=np.array(self.maps.offset),
        )
        return buffer.getvalue()


def _uncertain(
    maps: ClassMaps, which: Uncertainty, size: tuple[int, int], drawn: tuple[int, int]
) -> Panel:
    if which == "entropy":
        count = len(maps.classes)
        label = f"entropy, share of log₂ {count} = {math.log2(count):.3g} bits"
        values = maps.entropy(size, drawn)[0]
    else:
        label = "difference of the two best probabilities"
        values = maps.margin(size, drawn)[0]
    return Panel(which, values, uncertainty_scale(label), f"mean {values.mean():.2f}")
