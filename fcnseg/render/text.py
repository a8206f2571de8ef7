"""Text on pictures, in the one font that comes with matplotlib on every platform."""

from functools import cache
from pathlib import Path

from PIL import ImageFont

from fcnseg.palette import Colour

INK: Colour = (34, 34, 34)
QUIET_INK: Colour = (96, 96, 96)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans at ``size`` pixels."""
    import matplotlib

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)


def text_width(text: str, size: int) -> float:
    """Return how many pixels ``text`` is wide at ``size``."""
    return font(size).getlength(text)


def fitted(text: str, width: float, size: int) -> str:
    """Return ``text``, or as much of it as fits into ``width`` pixels, ended by an ellipsis."""
    if text_width(text, size) <= width:
        return text
    kept = text
    while kept and text_width(kept.rstrip() + "…", size) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"
