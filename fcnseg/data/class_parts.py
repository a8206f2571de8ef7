"""The two parts of a folder of class folders: images to train on, and images to test on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fcnseg.data.class_folders import ClassFolders, Example
from fcnseg.data.faults import first_names
from fcnseg.data.images import IMAGE_ENDINGS
from fcnseg.data.sample import MAX_PIXELS, classes_fault
from fcnseg.errors import DataError

TRAINING = "train"
TESTING = ("val", "valid", "validation", "test")
"""Names of a folder to test on; the first that is there is taken."""

_SPLIT = 6  # what a seed is for; others are in order.py and subset.py


class ClassSource(Protocol):
    """Images with a class each: picklable, cheap to construct, decoding an image when indexed."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def scaled(self, short_side: int | None) -> "ClassSource":
        """Return the same images; a larger one's short side is scaled down to ``short_side``."""
        ...

    def class_id(self, index: int) -> int:
        """Return the class of an image without decoding it."""
        ...

    def id(self, index: int) -> str:
        """Return the name of an image without decoding it."""
        ...

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the file of an image."""
        ...


class ClassSubset:
    """The images of ``source`` at ``indices``, in that order."""

    def __init__(self, source: ClassSource, indices: Sequence[int], name: str) -> None:
        self.name, self.classes = name, source.classes
        self._source, self._indices = source, list(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> Example:
        return self._source[self._indices[index]]

    def scaled(self, short_side: int | None) -> "ClassSubset":
        """Return the same images; a larger one's short side is scaled down to ``short_side``."""
        return ClassSubset(self._source.scaled(short_side), self._indices, self.name)

    def class_id(self, index: int) -> int:
        """Return the class of an image without decoding it."""
        return self._source.class_id(self._indices[index])

    def id(self, index: int) -> str:
        """Return the name of an image without decoding it."""
        return self._source.id(self._indices[index])

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the file of an image."""
        return self._source.files(self._indices[index])


def class_parts(
    root: str | Path, test_fraction: float | None, seed: int, max_pixels: int = MAX_PIXELS
) -> tuple[ClassSource, ClassSource, tuple[str, ...]]:
    """Find images to train on and images to test on below ``root``.

    ``root/train/CLASS/…`` and a folder of :data:`TESTING` beside it are the two parts as they
    are. Otherwise a share of the images of each class is kept for testing, chosen by ``seed``:
    of ``root/CLASS/…``, or of ``root/train`` where it stands alone.

    Args:
        root: the folder.
        test_fraction: share to keep, above 0, below 1; 0.2 if None. Where the folder has a part
            to test on it must be None.
        seed: 0 or more.
        max_pixels: larger images are refused before decoding.

    Returns:
        (training part, testing part, what a person should know of them).

    Raises:
        DataError: as :class:`ClassFolders`; parts with other classes; or no class that has an
            image to spare.
    """
    if not Path(root).is_dir():
        raise DataError(
            f"--data-root {root}: there is no such folder; expected a folder of images for each "
            "class in it"
        )
    names = _split_names(Path(root))
    if len(names) < 2:
        source = ClassFolders(root, *names, max_pixels=max_pixels)
        return _kept_apart(source, 0.2 if test_fraction is None else test_fraction, seed)
    if test_fraction is not None:
        raise DataError(
            f"--val-fraction: {Path(root) / names[1]} is there to test on; leave the flag out, or "
            f"name {Path(root) / TRAINING} as --data-root"
        )
    training, testing = (ClassFolders(root, name, max_pixels=max_pixels) for name in names[:2])
    fault = classes_fault(training, testing)
    if fault:
        raise DataError(f"{testing.name}: {fault}")
    unused = [str(Path(root) / name) for name in names[2:]]
    notes = (f"{first_names(unused)}: not used; tested on {testing.name}",) if unused else ()
    return training, testing, notes


def _split_names(root: Path) -> list[str]:
    """The training part and those to test on, if these are what the folders of ``root`` are."""
    if not (root / TRAINING).is_dir() or _has_images(root / TRAINING):
        return []
    testing = [name for name in TESTING if (root / name).is_dir()]
    others = [p for p in root.iterdir() if p.is_dir() and p.name not in (TRAINING, *TESTING)]
    visible = [p for p in others if not p.name.startswith((".", "__"))]
    return [TRAINING, *testing] if testing or not visible else []


def _has_images(folder: Path) -> bool:
    return any(path.name.lower().endswith(IMAGE_ENDINGS) for path in folder.iterdir())


def _kept_apart(
    source: ClassFolders, fraction: float, seed: int
) -> tuple[ClassSource, ClassSource, tuple[str, ...]]:
    numbers = np.random.default_rng(np.random.SeedSequence([_SPLIT, seed]))
    training: list[int] = []
    testing: list[int] = []
    alone: list[str] = []
    for class_id, members in enumerate(_members(source)):
        order = numbers.permutation(members).tolist()
        kept = min(max(round(len(order) * fraction), 1), len(order) - 1)
        testing += order[:kept]
        training += order[kept:]
        if kept == 0:
            alone.append(source.classes[class_id])
    if not testing:
        raise DataError(
            f"{source.name}: each class has 1 image, too few to keep some for testing; add images"
        )
    notes = []
    if alone:
        notes.append(
            f"{source.name}: {first_names(alone)}: 1 image each, trained on; nothing tests whether "
            "these classes are recognised"
        )
    parts = (sorted(training), "train"), (sorted(testing), "test")
    first, second = (ClassSubset(source, ids, f"{source.name}/{name}") for ids, name in parts)
    return first, second, tuple(notes)


def _members(source: ClassSource) -> Iterator[list[int]]:
    """The indices of the images of each class."""
    found: list[list[int]] = [[] for _ in source.classes]
    for index in range(len(source)):
        found[source.class_id(index)].append(index)
    yield from found
