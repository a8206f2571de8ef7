"""Sizes of scaled images."""

MOST_SCALED = 50_000_000
"""Pixels to which an image may be scaled: a long strip becomes very long."""


def scaled_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """The (height, width) of an image of ``size`` once its short side is ``short_side`` pixels.

    The long side is rounded down, as torchvision and timm do it.
    """
    short, long = min(size), max(size)
    scaled = short_side * long // short
    return (short_side, scaled) if size[0] <= size[1] else (scaled, short_side)
