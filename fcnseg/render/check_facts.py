"""What the page of a data check is made from: plain numbers, texts and small pictures."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fcnseg.palette import Colour


@dataclass(frozen=True)
class Split:
    """One split; counts are over the samples that could be read.

    Attributes:
        name: of the split.
        images: number of samples that it lists.
        readable: how many could be read.
        errors: number of errors.
        warnings: number of warnings.
        class_pixels: K numbers, pixels of each class; () where they were not counted.
        class_images: K numbers, samples in which each class occurs; () likewise.
        class_weights: K suggested weights for the loss; () likewise.
        void_pixels: pixels without a label.
        sizes: (height, width) in pixels -> number of samples.
        masks: kinds of mask files, in words.
        bounds: factor -> mean IU in [0, 1] of a perfect prediction at 1/factor of the resolution.
    """

    name: str
    images: int
    readable: int
    errors: int
    warnings: int
    class_pixels: tuple[int, ...] = ()
    class_images: tuple[int, ...] = ()
    class_weights: tuple[float, ...] = ()
    void_pixels: int = 0
    sizes: Mapping[tuple[int, int], int] | None = None
    masks: str = ""
    bounds: Mapping[int, float] | None = None

    @property
    def pixels(self) -> int:
        """Pixels in all, void among them."""
        return sum(self.class_pixels) + self.void_pixels


@dataclass(frozen=True)
class Kind:
    """Findings that differ in names and numbers only.

    Attributes:
        severity: "error" or "warning".
        where: the split, or what else they are about.
        findings: (file, message) of each.
    """

    severity: str
    where: str
    findings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """One sample of the gallery.

    Attributes:
        id: its name.
        split: where it is from.
        size: height and width, in words.
        reason: why it is shown.
        severity: "error", "warning" or "" where nothing is wrong with it.
        thumbnail: (h, w, 3) uint8, see :func:`fcnseg.render.gallery.thumbnail`.
        contents: (name, share in [0, 1] of its pixels), largest first.
    """

    id: str
    split: str
    size: str
    reason: str
    severity: str
    thumbnail: np.ndarray
    contents: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Checked:
    """Everything on the page.

    Attributes:
        name: of the data set.
        classes: K names; () where no split could be opened.
        palette: K colours (r, g, b).
        splits: the training split first.
        kinds: all findings, errors first.
        pictures: the gallery, worst first.
        command: what to run next.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    splits: tuple[Split, ...]
    kinds: tuple[Kind, ...]
    pictures: tuple[Picture, ...]
    command: str

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(len(kind.findings) for kind in self.kinds if kind.severity == "error")

    @property
    def warnings(self) -> int:
        """Number of warnings."""
        return sum(len(kind.findings) for kind in self.kinds if kind.severity == "warning")
