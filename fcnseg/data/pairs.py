"""One image file and its mask file to one sample; shared by the formats that have files."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fcnseg.data.faults import faults_of, raise_faults
from fcnseg.data.images import MaskPixels, read_image, read_mask_pixels
from fcnseg.data.sample import MAX_PIXELS, Sample
from fcnseg.errors import DataError

_LISTED = 20


def read_pair(
    sample_id: str,
    files: tuple[Path, Path],
    to_ids: Callable[[Path, MaskPixels], np.ndarray],
    max_pixels: int = MAX_PIXELS,
) -> Sample:
    """Read (image file, mask file) into a sample; ``to_ids`` turns mask pixels into class ids.

    Raises:
        DataError: a file cannot be decoded, a mask holds something else than class ids, or the
            sizes differ. Faults of both files are in the one error.
    """
    image_path, mask_path = files
    faults: list[str] = []
    image = label = None
    try:
        image = read_image(image_path, max_pixels)
    except DataError as error:
        faults += faults_of(error)
    try:
        label = to_ids(mask_path, read_mask_pixels(mask_path, max_pixels))
    except DataError as error:
        faults += faults_of(error)
    raise_faults(faults)
    assert image is not None
    assert label is not None
    if image.shape[:2] != label.shape:
        raise DataError(_size_fault(image_path, image.shape[:2], mask_path, label.shape))
    return Sample(image, label, sample_id)


def check_inside(root: Path, pairs: Sequence[tuple[Path, Path]]) -> None:
    """Raise :class:`DataError` for files that lie outside ``root`` once links are followed."""
    real_root = root.resolve()
    real_folders: dict[Path, Path] = {}
    faults = []
    for file in (file for pair in pairs for file in pair):
        if file.parent not in real_folders:
            real_folders[file.parent] = file.parent.resolve()
        real = file.resolve() if file.is_symlink() else real_folders[file.parent] / file.name
        if not real.is_relative_to(real_root):
            faults.append(
                f"{file}: leads out of the data root, to {real}; "
                f"put the file itself below {root}, or pass the folder that holds it"
            )
    raise_faults(faults[:_LISTED])


def _size_fault(image: Path, size: tuple[int, ...], mask: Path, mask_size: tuple[int, ...]) -> str:
    hint = "they must be equal"
    if mask_size == size[::-1]:
        hint += " (an EXIF rotation is applied: draw masks on the upright image)"
    return (
        f"{mask}: the mask is {mask_size[0]}x{mask_size[1]} (height x width) but its image "
        f"{image} is {size[0]}x{size[1]}; {hint}"
    )
