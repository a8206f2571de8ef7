"""How far a pixel's scores look: what tiles must overlap by, and where they may begin."""

from dataclasses import dataclass

from fcnseg.backbones import Backbone
from fcnseg.heads import SkipHead
from fcnseg.model import Segmenter


@dataclass(frozen=True)
class Reach:
    """How much of an image the scores of a pixel depend on.

    Attributes:
        pixels: they depend on nothing further away than this, up, down, left or right.
        grid: in a part of an image that begins at a multiple of this, every map has its cells
            where it has them in the whole.
        smallest: the least side that is not extended further than to a multiple of ``grid``.
        sees_all: they depend on the whole image as well (squeeze-excite, group norm).
    """

    pixels: int
    grid: int
    smallest: int
    sees_all: bool


def reach(model: Segmenter) -> Reach | None:
    """The reach of an FCN, from its geometry; None for a network that has none to ask.

    A cell of a map sees half its receptive field to each side; the bilinear kernels of the head
    bring it to pixels up to one stride away, of each map on the way.
    """
    backbone, head = getattr(model, "backbone", None), getattr(model, "head", None)
    if not isinstance(backbone, Backbone) or not isinstance(head, SkipHead):
        return None
    taps = [backbone.taps[level] for level in sorted(head.strides)]
    furthest = spread = 0.0
    for tap in taps:  # from the finest, the last on the way to the pixels, to the coarsest
        spread += max(tap.stride)
        furthest = max(furthest, max(tap.field) / 2 + spread)
    return Reach(
        pixels=int(-(-furthest // 1)),
        grid=backbone.multiple,
        smallest=backbone.smallest,
        sees_all=any(tap.sees_all for tap in backbone.taps.values()),
    )
