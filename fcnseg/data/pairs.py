"""Image files and the files of their labels: the source behind every format that has files."""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnseg.data.faults import faults_of, raise_faults
from fcnseg.data.images import read_image, read_scaled
from fcnseg.data.sample import MAX_PIXELS, Colour, Sample, check_classes
from fcnseg.data.scaling import scaled_label
from fcnseg.errors import DataError, UsageError


@dataclass(frozen=True)
class Pair:
    """An image file, the file that its labels come from, and a name unique in its source."""

    id: str
    image: Path
    mask: Path


ReadLabel = Callable[[Pair, int], np.ndarray]
"""(pair, max_pixels) -> (H, W) uint8 class ids, 255 where void. Picklable, and its pickle says all
that its result depends on beside the file. Raises :class:`DataError` naming the file."""


class ImagePairs:
    """A source of pairs of files: what every reader of a format returns.

    Args:
        name: which data and which split.
        classes: 2 to 255 names; class id = place in the list.
        palette: one (r, g, b) per class.
        pairs: the samples.
        read_label: how the labels of a pair are read.
        notes: what the reader found out by itself and a person should know, a line each.
        faults: what is wrong with the layout, a line each: pairs that are not among ``pairs``.
        strict: raise the faults; otherwise they are kept in :attr:`faults`, for a check that
            wants to see the other samples too.
        max_pixels: larger images are refused before decoding.
        short_side: what the short side of every sample is scaled to, in pixels; None: as it is.

    Raises:
        UsageError: the classes or the palette are wrong.
        DataError: there are faults, or two pairs of one name, and ``strict`` is true.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        palette: Sequence[Colour],
        pairs: Sequence[Pair],
        read_label: ReadLabel,
        *,
        notes: Sequence[str] = (),
        faults: Sequence[str] = (),
        strict: bool = True,
        max_pixels: int = MAX_PIXELS,
        short_side: int | None = None,
    ) -> None:
        self.name = name
        self.classes = tuple(classes)
        self.palette = tuple(palette)
        check_classes(self.classes, self.palette)
        if short_side is not None and short_side < 1:
            raise UsageError(f"--short-side: expected 1 or more, got {short_side}")
        self._pairs, twice = _of_one_name(name, pairs)
        self.faults = (*faults, *twice)
        if strict:
            raise_faults(self.faults)
        self.notes = tuple(notes)
        self._read_label = read_label
        self._max_pixels = max_pixels
        self._short_side = short_side

    def __len__(self) -> int:
        return len(self._pairs)

    def id(self, index: int) -> str:
        """Return the name of a sample."""
        return self._pairs[index].id

    def files(self, index: int) -> tuple[Path, ...]:
        """Return (image file, file of the labels)."""
        return self._pairs[index].image, self._pairs[index].mask

    def __getitem__(self, index: int) -> Sample:
        """Decode a sample in full.

        Raises:
            DataError: a file cannot be decoded, a mask holds something else than class ids, or
                the sizes differ. Faults of both files are in the one error.
        """
        pair = self._pairs[index]
        faults: list[str] = []
        image = label = None
        try:
            image, size = self._read_image(pair.image)
        except DataError as error:
            faults += faults_of(error)
        try:
            label = self._read_label(pair, self._max_pixels)
        except DataError as error:
            faults += faults_of(error)
        raise_faults(faults)
        assert image is not None
        assert label is not None
        if size != label.shape:
            raise DataError(size_fault(pair, size, label.shape))
        return Sample(image, scaled_label(label, self._short_side), pair.id)

    def _read_image(self, path: Path) -> tuple[np.ndarray, tuple[int, ...]]:
        """Return the image and the (height, width) of the whole one."""
        if self._short_side is not None:
            return read_scaled(path, self._max_pixels, self._short_side)
        image = read_image(path, self._max_pixels)
        return image, image.shape[:2]

    def label(self, index: int) -> np.ndarray:
        """Return (H, W) uint8 class ids of a sample without decoding its image.

        Raises:
            DataError: the file of the labels is faulty.
        """
        return scaled_label(
            self._read_label(self._pairs[index], self._max_pixels), self._short_side
        )

    def scaled(self, short_side: int | None) -> "ImagePairs":
        """Return the same pairs, read with their short side scaled to ``short_side`` pixels."""
        return self._with(self._read_label, short_side)

    def reading(self, wrap: Callable[[ReadLabel], ReadLabel]) -> "ImagePairs":
        """Return the same pairs, their labels read by what ``wrap`` makes of the reader."""
        return self._with(wrap(self._read_label), self._short_side)

    def _with(self, read_label: ReadLabel, short_side: int | None) -> "ImagePairs":
        return ImagePairs(
            self.name,
            self.classes,
            self.palette,
            self._pairs,
            read_label,
            notes=self.notes,
            faults=self.faults,
            strict=False,
            max_pixels=self._max_pixels,
            short_side=short_side,
        )

    def fingerprint(self) -> str:
        """Return a sha256 of everything but the files that samples depend on."""
        reading = pickle.dumps((self._read_label, self.classes, self._short_side), protocol=4)
        return hashlib.sha256(reading).hexdigest()


def _of_one_name(name: str, pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], list[str]]:
    """Return the pairs whose names are their own, and the faults of the others."""
    by_id: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_id.setdefault(pair.id, []).append(pair)
    faults = [
        f"{name}: {len(same)} samples have the name {key!r}, the first of {same[0].image} and "
        f"{same[1].image}; give each pair an id of its own"
        for key, same in by_id.items()
        if len(same) > 1
    ]
    return tuple(pair for pair in pairs if len(by_id[pair.id]) == 1), faults


def size_fault(pair: Pair, size: Sequence[int], mask_size: Sequence[int]) -> str:
    """Return the message for an image and labels of different (height, width)."""
    hint = "they must be equal"
    if tuple(mask_size) == tuple(size)[::-1]:
        hint += " (an EXIF rotation is applied: draw masks on the upright image)"
    return (
        f"{pair.mask}: the mask is {mask_size[0]}x{mask_size[1]} (height x width) but its image "
        f"{pair.image} is {size[0]}x{size[1]}; {hint}"
    )


def inside(root: Path, pairs: Sequence[Pair]) -> tuple[list[Pair], list[str]]:
    """Return the pairs whose files lie below ``root`` once links are followed, and the faults."""
    real_root = root.resolve()
    real_folders: dict[Path, Path] = {}
    kept, faults = [], []
    for pair in pairs:
        out = False
        for file in (pair.image, pair.mask):
            if file.parent not in real_folders:
                real_folders[file.parent] = file.parent.resolve()
            real = file.resolve() if file.is_symlink() else real_folders[file.parent] / file.name
            if not real.is_relative_to(real_root):
                out = True
                faults.append(
                    f"{file}: leads out of the data root, to {real}; "
                    f"put the file itself below {root}, or pass the folder that holds it"
                )
        if not out:
            kept.append(pair)
    return kept, faults
