"""Norms of vectors, (N, C), as norms of each cell of a map, (N, C, H, W)."""

from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each cell, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.normalized_shape, self.eps = norm.normalized_shape, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, map_NCHW: Tensor) -> Tensor:
        """Normalise each cell by the mean and variance of its channels."""
        map_NHWC = map_NCHW.movedim(1, -1)
        normed = nn.functional.layer_norm(
            map_NHWC, self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normed.movedim(-1, 1)


def batch_norm(norm: nn.BatchNorm1d) -> nn.BatchNorm2d:
    """The same batch norm for maps; its numbers are shared, not copied."""
    new = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine)
    new.weight, new.bias = norm.weight, norm.bias
    new.running_mean, new.running_var = norm.running_mean, norm.running_var
    new.num_batches_tracked = norm.num_batches_tracked
    return new
