"""Images for a classifier: a folder of each class, named after it."""

import os
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnseg.data.faults import first_names, raise_faults
from fcnseg.data.images import IMAGE_ENDINGS, read_image, read_scaled, read_size
from fcnseg.data.sample import MAX_PIXELS
from fcnseg.errors import DataError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Example:
    """One image and its class.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        class_id: place of the class in the source's ``classes``.
        id: path below the root, unique in the source.
    """

    image: np.ndarray
    class_id: int
    id: str


class ClassFolders:
    """One split of a folder of class folders: ``root/cat/1.jpg`` or ``root/train/cat/1.jpg``.

    Classes are the folders in the order of their names; what is deeper inside belongs to them,
    also by links to folders below the root. Each folder is read once, however many links lead to
    it. Names that start with a dot are passed over.

    Args:
        root: the folder of classes, or of splits if ``split`` is given and a folder of it.
        split: "train", "val" or "test" where the root has such folders; None: the root itself.
        max_pixels: larger images are refused before decoding.
        short_side: what the short side of a larger image is scaled down to, in pixels; None: every
            image is as it is.

    Raises:
        DataError: there is no such folder, fewer than two classes, a class without images, images
            beside the class folders, a folder that cannot be read, a link out of the root, or
            one from a class to a folder of another.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        *,
        max_pixels: int = MAX_PIXELS,
        short_side: int | None = None,
    ) -> None:
        folder = Path(root) if split is None else Path(root) / split
        if not folder.is_dir():
            raise DataError(
                f"--data-root {root}: there is no folder {folder}; expected a folder of images for "
                "each class in it"
            )
        self.name = f"{Path(root).name}/{split}" if split else Path(root).name
        self._max_pixels, self._short_side = max_pixels, short_side
        self.classes, self._files = _list(folder)
        self._root = folder

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Example:
        """Decode one image; raises :class:`DataError` naming the file if it is damaged."""
        path, class_id = self._files[index]
        side = self._short_side
        if side is None or min(read_size(path, self._max_pixels)) <= side:
            image = read_image(path, self._max_pixels)
        else:
            image, _ = read_scaled(path, self._max_pixels, side)
        return Example(image, class_id, self.id(index))

    def scaled(self, short_side: int | None) -> "ClassFolders":
        """Return the same images with another ``short_side``."""
        other = copy(self)
        other._short_side = short_side
        return other

    def class_id(self, index: int) -> int:
        """Return the class of an image without decoding it."""
        return self._files[index][1]

    def id(self, index: int) -> str:
        """Return the name of an image: its path below the folder of classes."""
        return self._files[index][0].relative_to(self._root).as_posix()

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the file of an image."""
        return (self._files[index][0],)


def _list(folder: Path) -> tuple[tuple[str, ...], list[tuple[Path, int]]]:
    inside = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__MACOSX")))
    classes = [path for path in inside if path.is_dir()]
    stray = [path.name for path in inside if path.is_file() and _is_image(path.name)]
    if len(classes) < 2:
        raise DataError(
            f"{folder}: holds {len(classes)} folders; expected two or more, one a class, with its "
            "images inside"
        )
    if {path.name for path in classes} <= set(SPLITS):
        raise DataError(
            f"{folder}: its folders are splits ({first_names([p.name for p in classes])}), not "
            "classes; name the split"
        )
    faults = []
    if stray:
        faults.append(
            f"{folder}: {len(stray)} images lie beside the class folders: {first_names(stray)}; "
            "put each into the folder of its class"
        )
    files = []
    owners: dict[Path, str] = {}
    for class_id, place in enumerate(classes):
        found, wrong = _images(place, folder.resolve(), owners)
        if not found and not wrong:
            faults.append(f"{place}: no images for this class; add some or remove the folder")
        faults += wrong
        files += [(path, class_id) for path in found]
    raise_faults(faults)
    return tuple(path.name for path in classes), files


def _images(place: Path, real_root: Path, owners: dict[Path, str]) -> tuple[list[Path], list[str]]:
    """Return the images of the class folder ``place``, links followed, and what is wrong.

    ``owners`` has the class that each folder was read for, by its real path; it is filled here.
    """
    found: list[Path] = []
    faults: list[str] = []

    def unreadable(error: OSError) -> None:
        faults.append(f"{error.filename}: cannot be read ({error.strerror}); check the folder")

    for name, folders, files in os.walk(place, followlinks=True, onerror=unreadable):
        real = Path(name).resolve()
        outside = not real.is_relative_to(real_root)
        if outside or real in owners:
            folders.clear()
            if outside:
                faults.append(_outside(name, real_root))
            elif owners[real] != place.name:
                faults.append(
                    f"{name}: is read for class {owners[real]} too, by a link; remove the link, "
                    "so that each image has one class"
                )
            continue
        owners[real] = place.name
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for path in [Path(name, file) for file in sorted(files) if _is_image(file)]:
            found.append(path)
            if path.is_symlink() and not path.resolve().is_relative_to(real_root):
                faults.append(_outside(path, real_root))
    return found, faults


def _outside(path: str | Path, real_root: Path) -> str:
    return f"{path}: leads out of the data root; put what it leads to below {real_root}"


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(IMAGE_ENDINGS)
