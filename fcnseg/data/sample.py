"""What every data set hands out: samples, and the protocol of a source of samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from fcnseg.data.faults import first_names
from fcnseg.errors import UsageError
from fcnseg.palette import Colour, check_palette

VOID = 255
"""The label of pixels that are neither trained on nor scored."""

MAX_PIXELS = 250_000_000
"""Images whose header claims more pixels than this are refused before they are decoded."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) uint8 class ids, 255 where void.
        id: the name of the sample within its source, unique there.
    """

    image: np.ndarray
    label: np.ndarray
    id: str


class NamedClasses(Protocol):
    """A source, or what was found in one: its name and its classes."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...


@runtime_checkable
class Source(Protocol):
    """One split of one data set: picklable, cheap to construct, decoding a sample when indexed.

    ``name`` says which data and which split; ``classes`` and ``palette`` have one entry per class
    id. Indexing raises :class:`~fcnseg.errors.DataError` naming the file that is wrong.
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def palette(self) -> tuple[Colour, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def label(self, index: int) -> np.ndarray:
        """Return the labels of a sample, (H, W) uint8, without decoding its image."""
        ...

    def id(self, index: int) -> str:
        """Return the name of a sample without decoding it."""
        ...

    def files(self, index: int) -> tuple[Path, ...]:
        """Return (image file, mask file), or () where samples are generated."""
        ...


def classes_fault(training: NamedClasses, later: NamedClasses) -> str:
    """Return why the class ids of a later part do not mean what those of training do, or ""."""
    if tuple(training.classes) == tuple(later.classes):
        return ""
    return (
        f"its classes are {first_names(later.classes, 8)}, those of {training.name} are "
        f"{first_names(training.classes, 8)}; a class id must mean the same in both: give "
        "--classes, or correct the reader"
    )


def check_classes(classes: tuple[str, ...], palette: tuple[Colour, ...] | None = None) -> None:
    """Raise :class:`UsageError` unless there are 2 to 255 distinct names, and a colour for each."""
    if isinstance(classes, str):
        raise UsageError(f"--classes: expected a list of names, got the text {classes!r}")
    if not 2 <= len(classes) <= VOID:
        raise UsageError(
            f"--classes: expected 2 to {VOID} names, got {len(classes)}; "
            "the background is a class too"
        )
    if any(not name.strip() for name in classes):
        raise UsageError("--classes: a name is empty; write the names as a,b,c")
    twice = sorted({name for name in classes if classes.count(name) > 1})
    if twice:
        raise UsageError(f"--classes: {twice[0]!r} is there more than once; names must differ")
    if palette is None:
        return
    if len(palette) != len(classes):
        raise UsageError(
            f"palette: expected {len(classes)} colours, one a class, got {len(palette)}"
        )
    check_palette(palette)
    if len(set(palette)) != len(palette):
        raise UsageError("palette: two classes have the same colour; colours must differ")
