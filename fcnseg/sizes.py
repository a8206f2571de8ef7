"""Sizes of scaled images."""

from fcnseg.errors import DataError

MOST_SCALED = 50_000_000
"""Pixels to which an image may be scaled: a long strip becomes very long."""


def scaled_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """The (height, width) of an image of ``size`` once its short side is ``short_side`` pixels.

    The long side is rounded down, as torchvision and timm do it.
    """
    short, long = min(size), max(size)
    scaled = short_side * long // short
    return (short_side, scaled) if size[0] <= size[1] else (scaled, short_side)


def check_scaled(name: str, size: tuple[int, int], short_side: int, flag: str | None) -> None:
    """Raise :class:`DataError` if an image becomes too large once its short side is ``short_side``.

    ``name`` is the image's, ``size`` its (height, width), ``flag`` the one that chooses the side,
    None if there is none.
    """
    high, wide = scaled_size(size, short_side)
    if high * wide > MOST_SCALED:
        smaller = f", or give a smaller {flag}" if flag else ""
        raise DataError(
            f"{name}: {size[1]}x{size[0]} px would be scaled to {short_side} by "
            f"{max(high, wide)}; crop it{smaller}"
        )
