"""From a coarse map to a finer one, cell centres kept where they are.

Say a coarse cell ``i`` lies at the index ``ratio * i + shift`` of the finer map. A transposed
convolution with stride ``ratio`` interpolates bilinearly when its kernel is the triangle of half
width ``ratio``, and it keeps every centre in place when the kernel and the crop agree with the
shift. Kernel size and crop are computed from the shift: VGG16 with the paper's padding gives the
published 64/32/16/4 kernels and the crops 19, 27, 31, 5, 9 (CVPR 2015, section 3.3).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcnseg.errors import UsageError


def bilinear_kernel(ratio: int, shift: float) -> tuple[Tensor, int]:
    """The one-dimensional kernel that interpolates between cells ``ratio`` apart.

    Args:
        ratio: finer cells to one coarse cell.
        shift: index, in the finer map, at which the centre of coarse cell 0 lies.

    Returns:
        The kernel, (k,) float32, and the crop: the count of cells at the start of the transposed
        convolution's output that lie before index 0 of the finer map. It is negative where the
        output starts inside the finer map; then the finer map is the one to crop. A shift in the
        middle between two cells gives an even kernel, ``2 * ratio``; a whole one gives an odd
        kernel, ``2 * ratio - 1``.
    """
    crop = math.ceil(ratio - shift) - 1
    centre = crop + shift
    size = math.ceil(centre + ratio)
    index = torch.arange(size, dtype=torch.float64)
    return (1 - (index - centre).abs() / ratio).float(), crop


class Upsample(nn.Module):
    """A transposed convolution of each class by itself, bilinear at the start.

    Args:
        channels: score maps, each with a kernel of its own.
        ratio: finer cells to one coarse cell, a whole number of 1 or more.
        shift: (vertical, horizontal) index in the finer map of the centre of coarse cell (0, 0).
        learned: the kernels are parameters; otherwise they stay bilinear.
        dense: each class has a kernel for every class, as in the layers of Caffe and of
            pytorch-fcn; at the start those between two classes are zero. They are parameters.

    Attributes:
        weight: (K, 1, k, k) float32; dense (K, K, k, k), the class it is read from first.
        crop: (vertical, horizontal) crop offsets as in :func:`bilinear_kernel`.
    """

    def __init__(
        self,
        channels: int,
        ratio: int,
        shift: Sequence[float],
        learned: bool = True,
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.ratio = channels, ratio
        self.groups = 1 if dense else channels
        self.shift = (float(shift[0]), float(shift[1]))
        (rows, top), (columns, left) = (bilinear_kernel(ratio, s) for s in self.shift)
        self.crop = (top, left)
        weight = torch.outer(rows, columns).expand(channels, 1, -1, -1).clone()
        if dense:
            weight = densely(weight)
        if learned or dense:
            self.weight = nn.Parameter(weight)
        else:
            self.register_buffer("weight", weight)

    def extra_repr(self) -> str:
        """Size of the kernel, ratio and crop, for printing."""
        kernel = "x".join(map(str, self.weight.shape[2:]))
        text = f"{self.channels}, kernel={kernel}, stride={self.ratio}, crop={self.crop}"
        return text if self.groups > 1 or self.channels == 1 else f"{text}, dense"

    def forward(self, score_NKhw: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Upsample score maps.

        Args:
            score_NKhw: (N, K, h, w) float.
            size: (H, W) of the finer map. The scores are continued by their edge as far as that
                takes, and the result is cropped to it: a constant map stays constant up to the
                border. None: the bare transposed convolution as published, fading at the border,
                neither extended nor cropped.

        Returns:
            (N, K, H, W) float.
        """
        if size is None:
            return self._transposed(score_NKhw)
        top, bottom = self.extension(0, score_NKhw.shape[2], size[0])
        left, right = self.extension(1, score_NKhw.shape[3], size[1])
        if max(top, bottom, left, right) > 0:
            score_NKhw = _continued(_continued(score_NKhw, 2, top, bottom), 3, left, right)
        row, column = self.crop[0] + self.ratio * top, self.crop[1] + self.ratio * left
        up = self._transposed(score_NKhw)
        return up[:, :, row : row + size[0], column : column + size[1]]

    def _transposed(self, score_NKhw: Tensor) -> Tensor:
        return F.conv_transpose2d(score_NKhw, self.weight, stride=self.ratio, groups=self.groups)

    def extension(self, axis: int, cells: int, size: int) -> tuple[int, int]:
        """Cells to add before and after, so that every finer cell lies between two centres.

        Args:
            axis: 0 for vertical, 1 for horizontal.
            cells: of the coarser map on that axis.
            size: cells of the finer map on that axis.
        """
        before = math.ceil(self.shift[axis] / self.ratio)
        # Whole numbers throughout: torch.export can follow them where sizes are symbols.
        above, below = self.shift[axis].as_integer_ratio()
        last = -((above - below * (size - 1)) // (below * self.ratio))
        return max(before, 0), max(last - cells + 1, 0)


def _continued(map_NKhw: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Repeat the first and the last cell along an axis.

    Written out, since the gradient of torch's replicating pad adds in no fixed order on CUDA, and
    is mistaken for another memory format by torch.compile.
    """
    shape = [-1, -1, -1, -1]
    shape[axis] = before
    first = map_NKhw.narrow(axis, 0, 1).expand(shape)
    shape[axis] = after
    last = map_NKhw.narrow(axis, map_NKhw.shape[axis] - 1, 1).expand(shape)
    return torch.cat([first, map_NKhw, last], axis)


def densely(weight_K1kk: Tensor) -> Tensor:
    """Kernels of each class by itself, (K, 1, k, k), as (K, K, k, k), zero between two classes."""
    of_itself = torch.eye(len(weight_K1kk), dtype=torch.bool, device=weight_K1kk.device)
    return torch.where(of_itself[:, :, None, None], weight_K1kk, 0.0)


def resample(
    map_NKhw: Tensor, stride: Sequence[float], offset: Sequence[float], size: Sequence[int]
) -> Tensor:
    """Lay maps over their image: bilinear between cell centres, continued by the edge.

    Args:
        map_NKhw: (N, K, h, w) float.
        stride: (vertical, horizontal) pixels from cell to cell; any positive numbers.
        offset: (vertical, horizontal) centre of cell (0, 0) in pixels.
        size: (H, W) of the image in pixels.

    Returns:
        (N, K, H, W) float; pixel ``p`` holds the value at ``(p - offset) / stride`` of the map.

    Raises:
        UsageError: the map is not (N, K, h, w).
    """
    if map_NKhw.dim() != 4:
        raise UsageError(f"resample: expected an (N, K, h, w) map, got {tuple(map_NKhw.shape)}")
    out = map_NKhw
    for axis in (0, 1):
        cells = out.shape[2 + axis]
        pixel = torch.arange(int(size[axis]), device=out.device, dtype=torch.float64)
        position = ((pixel - offset[axis]) / stride[axis]).clamp(0, cells - 1)
        low = position.floor().long().clamp(max=max(cells - 2, 0))
        high = (low + 1).clamp(max=cells - 1)
        part = (position - low).to(out.dtype)
        part = part[:, None] if axis == 0 else part
        first, second = out.index_select(2 + axis, low), out.index_select(2 + axis, high)
        out = torch.lerp(first, second, part)
    return out
