"""Shift and stitch: a finer score map from an unchanged network, at many times the cost."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from fcnseg.errors import UsageError


def shift_and_stitch(
    net: Callable[[Tensor], Tensor], image_NCHW: Tensor, stride: int, factor: int
) -> Tensor:
    """Score shifted images and interlace the maps (CVPR 2015, section 3.2).

    The result is what :func:`fcnseg.dilate.dilate` computes in one pass: everywhere for a network
    that pads nothing, and further than half a receptive field from the border for others.

    Args:
        net: (N, C, H, W) -> (N, K, h, w), of stride ``stride``.
        image_NCHW: the images, preprocessed: zeros come in where they are shifted.
        stride: of the network's map, in pixels.
        factor: shifts along each axis; they are ``stride / factor`` pixels apart.

    Returns:
        (N, K, h', w') of stride ``stride / factor``, with the first cell where that of ``net``
        is. It takes ``factor ** 2`` passes.

    Raises:
        UsageError: ``factor`` does not divide ``stride``.
    """
    if factor < 1 or stride % factor:
        raise UsageError(f"factor {factor}: expected a divisor of the stride {stride}")
    step = stride // factor
    parts: dict[tuple[int, int], Tensor] = {}
    for down in range(factor):
        for right in range(factor):
            score = net(F.pad(image_NCHW, (step * right, 0, step * down, 0)))
            # Where the image moved, the first cell lies before that of the image itself.
            own = score[:, :, int(down > 0) :, int(right > 0) :]
            parts[-down % factor, -right % factor] = own
    # The interlaced map ends where the first of its parts does.
    rows = min(part.shape[2] * factor + i for (i, _), part in parts.items())
    columns = min(part.shape[3] * factor + j for (_, j), part in parts.items())
    first = parts[0, 0]
    stitched = first.new_empty(*first.shape[:2], rows, columns)
    for (i, j), part in parts.items():
        hole = stitched[:, :, i::factor, j::factor]
        hole.copy_(part[:, :, : hole.shape[2], : hole.shape[3]])
    return stitched
