"""A convolution over windows that hold tens of thousands of numbers, as fc6 of VGG."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_COLUMN_BYTES = 1 << 26


class WindowConv2d(nn.Conv2d):
    """A :class:`torch.nn.Conv2d` that predicts as one matrix product on the CPU.

    The CPU's convolution first brings its weights into an order of its own, at every call: of the
    411 MB of VGG16's fc6 that takes about as long as the products themselves, for which few
    cells need them. The product of the unfolded windows takes the weights as they lie.
    In training, on other devices, in other types and while being compiled or exported it is
    the usual convolution; so it is with a dilation, a stride or groups.
    """

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Convolve, (N, C, H, W) -> (N, K, h, w)."""
        if not self._as_product(map_NCHW):
            return super().forward(map_NCHW)
        assert not isinstance(self.padding, str)
        rows, columns = self.padding
        padded = F.pad(map_NCHW, (columns, columns, rows, rows)).permute(0, 2, 3, 1)
        weight = self.weight.permute(0, 2, 3, 1)
        by_channel = not weight.is_contiguous()
        if by_channel:
            weight = self.weight
        weight = weight.reshape(self.out_channels, -1)
        # One image after the other: a score does not depend on how many are in a batch.
        maps = [self._product(image, weight, by_channel) for image in padded]
        return torch.stack(maps).permute(0, 3, 1, 2)

    def _product(self, image_HWC: Tensor, weight: Tensor, by_channel: bool) -> Tensor:
        """(h, w, K) of one padded image."""
        kernel = self.kernel_size
        windows_hwCkk = image_HWC.unfold(0, kernel[0], 1).unfold(1, kernel[1], 1)
        order = (0, 1, 2, 3, 4) if by_channel else (0, 1, 3, 4, 2)
        windows = windows_hwCkk.permute(order)
        height, width = windows.shape[:2]
        row_bytes = width * weight.shape[1] * weight.element_size()
        parts = []
        for part in windows.split(max(_COLUMN_BYTES // row_bytes, 1)):
            unfolded = part.reshape(-1, weight.shape[1])
            parts.append(F.linear(unfolded, weight, self.bias))
        return torch.cat(parts).view(height, width, self.out_channels)

    def _as_product(self, map_NCHW: Tensor) -> bool:
        usual = torch.compiler.is_compiling() or torch.jit.is_tracing()
        if usual or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
            return False
        if map_NCHW.device.type != "cpu" or map_NCHW.dim() != 4:
            return False
        if not map_NCHW.dtype == self.weight.dtype == torch.float32:
            return False
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            return False
        sides = zip(map_NCHW.shape[2:], self.padding, self.kernel_size, strict=True)
        return (
            all(side + 2 * pad >= kernel for side, pad, kernel in sides)
            and self.stride == (1, 1)
            and self.dilation == (1, 1)
            and self.groups == 1
        )

    def _get_name(self) -> str:
        return "Conv2d"  # which is what it computes
