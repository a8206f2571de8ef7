"""What a picture may be, wherever the library takes one."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from fcnseg.data.images import read_image
from fcnseg.data.rgb import opened_to_rgb, to_rgb
from fcnseg.data.sample import MAX_PIXELS
from fcnseg.errors import UsageError

Picture = np.ndarray | Image.Image | torch.Tensor | str | os.PathLike[str]
"""A uint8 array, a picture of Pillow's, a uint8 tensor, or the path of a file."""

_EXPECTED = (
    "expected uint8: an (H, W, 3) RGB or (H, W) grey array, a (3, H, W) tensor, a PIL image or a "
    "path"
)


def as_pixels(
    picture: Picture, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """The pixels of a picture, whatever kind it is, by the rules of :mod:`fcnseg.data.images`.

    Args:
        picture: an array (H, W, 3) RGB, (H, W, 4) RGBA, (H, W) or (H, W, 1) grey; a tensor with
            the channels first, as ``torchvision.io.decode_image`` gives it, on any device; both
            uint8. A PIL image of any mode; its EXIF orientation is applied. A path.
        name: what errors call the picture; None: its path, or "image".
        max_pixels: files and PIL images with more are refused before they are decoded.

    Returns:
        (H, W, 3) uint8 RGB; an RGB array is returned as it is, not copied.

    Raises:
        UsageError: another type, shape or range; floats have no agreed range.
        DataError: a file or a PIL image that cannot be read.
    """
    if isinstance(picture, (str, os.PathLike)):
        return read_image(os.fspath(picture), max_pixels)
    name = name or "image"
    if isinstance(picture, Image.Image):
        return opened_to_rgb(name, picture, max_pixels)
    shape = tuple(getattr(picture, "shape", ()))
    if isinstance(picture, torch.Tensor):
        is_picture = picture.dtype == torch.uint8 and picture.dim() == 3 and shape[0] in (1, 3, 4)
        if is_picture:
            picture = picture.detach().permute(1, 2, 0).cpu().numpy()
    else:
        is_picture = isinstance(picture, np.ndarray) and picture.dtype == np.uint8
        is_picture &= len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if not is_picture or 0 in shape:
        kind = getattr(picture, "dtype", type(picture).__name__)
        raise UsageError(f"{name}: {_EXPECTED}; got shape {shape} of {kind}{_remedy(shape, kind)}")
    assert isinstance(picture, np.ndarray)
    if picture.ndim == 3 and picture.shape[2] == 3:
        return picture
    if picture.ndim == 3 and picture.shape[2] == 4:
        return to_rgb(name, Image.fromarray(np.ascontiguousarray(picture), "RGBA"))
    return np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)


def by_size(images: Sequence[np.ndarray]) -> list[list[int]]:
    """The places of images of one shape together, each group in order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        groups.setdefault(image.shape, []).append(place)
    return list(groups.values())


def _remedy(shape: tuple[int, ...], kind: object) -> str:
    if len(shape) == 4:
        return "; give one picture of the batch at a time"
    if "torch.float" in str(kind):
        return "; if it runs from 0 to 1, convert it with (255 * image).round().byte()"
    if "float" in str(kind):
        return "; if it runs from 0 to 1, convert it with (255 * image).round().astype('uint8')"
    if "16" in str(kind):
        return "; divide it down to 8 bits, such as image >> 8"
    return ""
