"""Checks of shapes, types and values that every room shares.

Arrays are duck-typed (``ndim``, ``shape``, ``dtype``), so that the rooms without torch use the
same checks as the rooms with it.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from fcnseg.errors import UsageError


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known name nearest to ``name``, or ``""``."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def check_choice(what: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raise :class:`UsageError` unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        listed = ", ".join(map(str, allowed))
        hint = nearest(value, map(str, allowed)) if isinstance(value, str) else ""
        raise UsageError(f"{what}: expected one of {listed}, got {value!r}{hint}")


def check_image(what: str, image: Any) -> None:
    """Raise :class:`UsageError` unless ``image`` is (H, W, 3) uint8 with H, W >= 1."""
    shape = tuple(getattr(image, "shape", ()))
    dtype = str(getattr(image, "dtype", type(image).__name__))
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or not dtype.endswith("uint8"):
        raise UsageError(
            f"{what}: expected an (H, W, 3) uint8 RGB array, got shape {shape} of {dtype}"
        )


def check_batch(what: str, images: Any) -> None:
    """Raise :class:`UsageError` unless ``images`` is (N, 3, H, W), none of them 0."""
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1] != 3 or 0 in shape:
        raise UsageError(f"{what}: expected an (N, 3, H, W) batch, got {shape}")


def check_labels(what: str, labels: Any) -> None:
    """Raise :class:`UsageError` unless ``labels`` is (H, W) of an integer type."""
    shape = tuple(getattr(labels, "shape", ()))
    dtype = str(getattr(labels, "dtype", type(labels).__name__))
    if len(shape) != 2 or "int" not in dtype:
        raise UsageError(
            f"{what}: expected an (H, W) integer array of class ids, got shape {shape} of {dtype}"
        )


def check_same_size(what: str, size: Sequence[int], other: str, other_size: Sequence[int]) -> None:
    """Raise :class:`UsageError` unless the two (H, W) sizes are equal; the message has both."""
    if tuple(size) != tuple(other_size):
        raise UsageError(
            f"{what} is {size[0]}x{size[1]} (height x width) but {other} is "
            f"{other_size[0]}x{other_size[1]}; they must be equal"
        )
