"""Where the cells of a feature map lie in the image, and how much of it they see.

Along each axis, cell ``i`` of a map sees the pixels from ``first + stride * i`` to
``last + stride * i``, both included. Three numbers follow: the *stride*, the *offset* (the
centre of cell 0) and the *receptive field* (the count of pixels that one cell sees). Padding,
crop offsets, the kernels of the upsampling and the place of a heatmap on a photograph all
follow from these. Pixel ``p`` has its centre at the coordinate ``p``.

This file is the algebra; ``rules.py`` says how each tensor operation uses it, and ``trace.py``
runs a network to find the geometry of each of its maps.
"""

from dataclasses import dataclass, replace

from fcnseg.errors import UsageError


@dataclass(frozen=True)
class Axis:
    """One axis of a feature map: ``size`` cells, in the pixels of the image."""

    size: int
    stride: float
    first: float
    last: float

    @property
    def offset(self) -> float:
        """Centre of cell 0 in pixels: the middle of what the cell sees."""
        return (self.first + self.last) / 2

    @property
    def field(self) -> float:
        """Receptive field in pixels."""
        return self.last - self.first + 1

    def window(self, size: int, step: float, before: float, after: float) -> "Axis":
        """The axis of a map whose cell ``i`` reads cells ``step*i + before`` to ``+ after``."""
        first, last = self.first + self.stride * before, self.last + self.stride * after
        return Axis(size, self.stride * step, first, last)

    def merge(self, other: "Axis", where: str) -> "Axis":
        """The axis of a sum or a concatenation of two maps; ``where`` names it in the error."""
        if (self.size, self.stride) != (other.size, other.stride):
            raise UsageError(
                f"{where}: expected maps of one stride, got {self.size} cells at stride "
                f"{self.stride:g} and {other.size} at {other.stride:g}; geometry is not defined"
            )
        first, last = min(self.first, other.first), max(self.last, other.last)
        return replace(self, first=first, last=last)


@dataclass(frozen=True)
class Geometry:
    """The geometry of a feature map; tuples are (vertical, horizontal).

    Attributes:
        y: the vertical axis.
        x: the horizontal axis.
        sees_all: every cell depends on the whole image as well (squeeze-excite, group norm);
            stride, offset and field then describe the local path.
    """

    y: Axis
    x: Axis
    sees_all: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return self.y.size, self.x.size

    @property
    def stride(self) -> tuple[float, float]:
        """Pixels from one cell to the next."""
        return self.y.stride, self.x.stride

    @property
    def offset(self) -> tuple[float, float]:
        """Centre of cell (0, 0) in pixels."""
        return self.y.offset, self.x.offset

    @property
    def field(self) -> tuple[float, float]:
        """Receptive field in pixels."""
        return self.y.field, self.x.field

    def merge(self, other: "Geometry", where: str) -> "Geometry":
        """The geometry of a sum or a concatenation of two maps."""
        return Geometry(
            self.y.merge(other.y, where),
            self.x.merge(other.x, where),
            self.sees_all or other.sees_all,
        )
