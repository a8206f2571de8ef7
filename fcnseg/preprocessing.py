"""What a network expects of its input, carried with it from the catalogue to the checkpoint."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fcnseg.checks import check_choice
from fcnseg.errors import UsageError

Interpolation = Literal["bilinear", "bicubic"]


def resize(
    image_NCHW: Tensor, size: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> Tensor:
    """Scale images with antialiasing, as torchvision's networks were tested.

    Args:
        image_NCHW: (N, C, H, W) uint8.
        size: (height, width) in pixels.
        interpolation: ``"bilinear"`` or ``"bicubic"``.

    Returns:
        (N, C, height, width) uint8, rounded; the images themselves where they have the size.
    """
    if size == tuple(image_NCHW.shape[2:]):
        return image_NCHW
    scaled = F.interpolate(image_NCHW.float(), size, mode=interpolation, antialias=True)
    return scaled.round().clamp(0, 255).to(torch.uint8)


def from_array(image_HW3: Any) -> Tensor:
    """One or several images as a tensor on the CPU: an array (..., H, W, 3) -> (..., 3, H, W).

    The tensor lies over the array's own memory, or over a copy of an array that is not contiguous,
    or read-only, as those over a picture of Pillow's are: torch warns of these.
    """
    if not (image_HW3.flags.c_contiguous and image_HW3.flags.writeable):
        image_HW3 = image_HW3.copy()
    return torch.from_numpy(image_HW3).movedim(-1, -3)


def centre_crop(image_N3HW: Tensor, side: int) -> Tensor:
    """The square of ``side`` pixels in the middle, placed as torchvision places it."""
    top, left = (round((extent - side) / 2) for extent in image_N3HW.shape[2:])
    return image_N3HW[:, :, top : top + side, left : left + side]


@dataclass(frozen=True)
class Preprocessing:
    """From 8-bit RGB to what the network was trained on: ``(value * scale - mean) / std``.

    Attributes:
        mean: subtracted per channel, in the network's channel order, after scaling.
        std: divided by per channel.
        scale: what an 8-bit value is multiplied by; 1/255 brings it to 0..1.
        order: ``"RGB"`` or ``"BGR"``.
        native_size: side in pixels of the square crop the classifier was trained at.
        test_resize: length in pixels that the short side is scaled to before that crop.
        interpolation: how the classifier's authors scaled images in that test.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    scale: float = 1 / 255
    order: Literal["RGB", "BGR"] = "RGB"
    native_size: int = 224
    test_resize: int = 256
    interpolation: Interpolation = "bilinear"

    def __call__(self, image_N3HW: Tensor) -> Tensor:
        """Normalise images on the device they are on.

        Args:
            image_N3HW: (N, 3, H, W) uint8 RGB.

        Returns:
            (N, 3, H, W) float32 in the network's order and range.

        Raises:
            UsageError: not (N, 3, H, W) uint8.
        """
        if image_N3HW.dim() != 4 or image_N3HW.shape[1] != 3 or image_N3HW.dtype != torch.uint8:
            raise UsageError(
                "preprocessing: expected (N, 3, H, W) uint8 RGB images, got "
                f"{tuple(image_N3HW.shape)} {image_N3HW.dtype}"
            )
        if self.order == "BGR":
            image_N3HW = image_N3HW.flip(1)
        image = image_N3HW.to(torch.float32)
        # One multiplication and one addition: (v * scale - mean) / std = v * a + b.
        a = image.new_tensor([self.scale / s for s in self.std]).view(1, 3, 1, 1)
        b = image.new_tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)])
        return torch.addcmul(b.view(1, 3, 1, 1), image, a)

    @property
    def fill(self) -> tuple[int, int, int]:
        """The 8-bit RGB colour that is nearest to zero after preprocessing."""
        colour = [min(max(round(m / self.scale), 0), 255) for m in self.mean]
        r, g, b = colour if self.order == "RGB" else colour[::-1]
        return r, g, b

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of :meth:`to_dict`; unknown keys are an error."""
        known = {f.name for f in fields(cls)}
        if set(values) - known:
            raise UsageError(f"preprocessing: unknown keys {sorted(set(values) - known)}")
        check_choice("preprocessing order", values.get("order", "RGB"), ("RGB", "BGR"))
        known_ways = get_args(Interpolation)
        check_choice(
            "preprocessing interpolation", values.get("interpolation", "bilinear"), known_ways
        )
        made: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        for name in ("mean", "std", "scale", "native_size", "test_resize"):
            _check_numbers(name, made.get(name, getattr(cls, name)))
        return cls(**made)


def _check_numbers(name: str, value: Any) -> None:
    """Refuse what a damaged or foreign description may hold in place of its numbers."""
    triple, whole = name in ("mean", "std"), name in ("native_size", "test_resize")
    numbers = value if triple and isinstance(value, tuple) else (value,)
    kinds = (int,) if whole else (int, float)
    right = len(numbers) == (3 if triple else 1) and all(
        type(n) in kinds and math.isfinite(n) and (n > 0 or name == "mean") for n in numbers
    )
    if not right:
        expected = "three numbers" if triple else "a whole number" if whole else "a number"
        above = "" if name == "mean" else " above 0"
        raise UsageError(f"preprocessing {name}: expected {expected}{above}, got {value!r:.60}")
