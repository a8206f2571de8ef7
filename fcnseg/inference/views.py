"""Test-time augmentation: a network's answer on several views of an image, averaged."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional as F

from fcnseg.errors import UsageError
from fcnseg.preprocessing import resize

DEFAULT = "0.75,1,1.25,flip"
_SMALLEST, _LARGEST = 0.1, 4.0
_FINEST = 32
_EXPECTED = f"expected scales from {_SMALLEST} to {_LARGEST:g} and flip, such as {DEFAULT}"


@dataclass(frozen=True)
class Views:
    """The views of an image.

    Attributes:
        scales: factors that height and width are multiplied by.
        flip: each scale mirrored left to right as well.

    Raises:
        UsageError: no scales, one out of range, or one twice.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        right = [scale for scale in self.scales if _SMALLEST <= scale <= _LARGEST]
        if not right or len(set(right)) < len(self.scales):
            raise UsageError(f"views: {_EXPECTED}, each once; got {self.scales}")

    @property
    def steps(self) -> int:
        """The least count of pixels that every scale makes a whole number of.

        Tiles that begin at multiples of it, times the stride, begin at multiples of the stride in
        all views.
        """
        return math.lcm(*(Fraction(s).limit_denominator(_FINEST).denominator for s in self.scales))

    @property
    def plain(self) -> bool:
        """Whether the image itself is the only view."""
        return self.scales == (1.0,) and not self.flip


def read_views(text: str) -> Views:
    """The views of a text such as ``0.75,1,1.25,flip``; ``flip`` alone is at scale 1.

    Raises:
        UsageError: it names ``--tta``, what was expected and what was got.
    """
    words = [word.strip() for word in text.split(",")]
    try:
        scales = tuple(float(word) for word in words if word != "flip")
        return Views(scales or (1.0,), "flip" in words)
    except (ValueError, UsageError):
        raise UsageError(f"--tta {text}: {_EXPECTED}, each once") from None


def score_views(score: Callable[[Tensor], Tensor], images_N3HW: Tensor, views: Views) -> Tensor:
    """Scores of images from all their views.

    Args:
        score: (N, 3, h, w) uint8 -> (N, K, h, w) scores.
        images_N3HW: (N, 3, H, W) uint8.
        views: which.

    Returns:
        (N, K, H, W): the scores themselves where the image is the only view, otherwise float32,
        the logarithm of the mean of the views' probabilities, so that softmax gives that mean.
    """
    if views.plain:
        return score(images_N3HW)
    height, width = images_N3HW.shape[2:]
    total: Tensor | None = None
    for scale in views.scales:
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        scaled = resize(images_N3HW, size)
        for flipped in (False, True) if views.flip else (False,):
            seen = score(scaled.flip(3) if flipped else scaled).float()
            seen = seen.flip(3) if flipped else seen
            if size != (height, width):
                seen = F.interpolate(seen, (height, width), mode="bilinear", align_corners=False)
            probability = seen.softmax(1)
            total = probability if total is None else total.add_(probability)
    assert total is not None
    count = len(views.scales) * (1 + views.flip)
    # A probability of 0 in float32 would become minus infinity.
    return total.div_(count).clamp_min_(torch.finfo(torch.float32).tiny).log_()
