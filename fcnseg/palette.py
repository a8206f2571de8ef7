"""Colours of classes."""

from collections.abc import Sequence

from fcnseg.errors import UsageError

Colour = tuple[int, int, int]
Palette = Sequence[Sequence[int]]

VOID_COLOUR: Colour = (224, 224, 192)
"""The cream in which PASCAL VOC shows pixels without a label."""


def voc_palette(n: int) -> tuple[Colour, ...]:
    """Return the first ``n`` colours (r, g, b) of PASCAL VOC, 1 <= n <= 256.

    The bits of the class id, lowest first, go to red, green and blue in turn, and fill each of
    them from its highest bit down; so every id has its own colour and 0 is black.

    >>> voc_palette(4)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))

    Raises :class:`UsageError` for another ``n``.
    """
    if not 1 <= n <= 256:
        raise UsageError(f"palette: expected 1 to 256 colours, got {n}")
    return tuple((_channel(i, 0), _channel(i, 1), _channel(i, 2)) for i in range(n))


def check_palette(palette: Palette) -> None:
    """Raise :class:`UsageError` unless there are 1 to 256 colours of three values 0..255."""
    if not 1 <= len(palette) <= 256:
        raise UsageError(f"palette: expected 1 to 256 colours, got {len(palette)}")
    for i, colour in enumerate(palette):
        if len(colour) != 3 or not all(0 <= int(value) <= 255 for value in colour):
            raise UsageError(
                f"palette: colour {i} is {tuple(colour)}; expected (r, g, b), each 0 to 255"
            )


def _channel(class_id: int, first_bit: int) -> int:
    return sum(((class_id >> (3 * k + first_bit)) & 1) << (7 - k) for k in range(3))
