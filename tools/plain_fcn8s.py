"""FCN-8s on VGG16 as it was published, written out plainly: what ``bench_infer.py`` compares with.

Typed as in the published network definition (CVPR 2015; the paddings, strides and crops are those
of its authors' files): 100 pixels of padding in the first convolution, pools that round up, fc6
without padding, transposed convolutions of all classes to all classes, fixed crops, NCHW.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BLOCKS = {"conv1": (64, 2), "conv2": (128, 2), "conv3": (256, 3), "conv4": (512, 3)}
_BLOCKS["conv5"] = (512, 3)


class PlainFCN8s(nn.Module):
    """The published network: (N, 3, H, W) float -> (N, K, H, W) scores.

    Args:
        classes: K.
        width: channels of fc6 and fc7.
    """

    def __init__(self, classes: int = 21, width: int = 4096) -> None:
        super().__init__()
        channels = 3
        for block, (out, count) in _BLOCKS.items():
            for number in range(1, count + 1):
                padding = 100 if (block, number) == ("conv1", 1) else 1
                conv = nn.Conv2d(channels, out, 3, padding=padding)
                self.add_module(f"{block}_{number}", conv)
                channels = out
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.fc6 = nn.Conv2d(512, width, 7)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.score_fr = nn.Conv2d(width, classes, 1)
        self.score_pool4 = nn.Conv2d(512, classes, 1)
        self.score_pool3 = nn.Conv2d(256, classes, 1)
        self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)
        self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, stride=2, bias=False)
        self.upscore8 = nn.ConvTranspose2d(classes, classes, 16, stride=8, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        for up in (self.upscore2, self.upscore_pool4, self.upscore8):
            up.weight = nn.Parameter(_bilinear(up.kernel_size[0], classes))

    def forward(self, image: Tensor) -> Tensor:
        """Score an image of any size."""
        x, pools = image, {}
        for block, (_, count) in _BLOCKS.items():
            for number in range(1, count + 1):
                x = F.relu(self.get_submodule(f"{block}_{number}")(x))
            pools[block] = x = self.pool(x)
        x = F.dropout2d(F.relu(self.fc6(x)), training=self.training)
        x = F.dropout2d(F.relu(self.fc7(x)), training=self.training)
        x = self.upscore2(self.score_fr(x))
        x = x + _crop(self.score_pool4(pools["conv4"]), 5, x)
        x = self.upscore_pool4(x)
        x = x + _crop(self.score_pool3(pools["conv3"]), 9, x)
        return _crop(self.upscore8(x), 31, image).contiguous()


def _crop(scores: Tensor, start: int, like: Tensor) -> Tensor:
    height, width = like.shape[2:]
    return scores[:, :, start : start + height, start : start + width]


def _bilinear(size: int, classes: int) -> Tensor:
    """Interpolation of each class, zeros between two classes: (K, K, size, size)."""
    line = 1 - (torch.arange(size) - (size - 1) / 2).abs() / ((size + 1) // 2)
    weight = torch.zeros(classes, classes, size, size)
    weight[range(classes), range(classes)] = torch.outer(line, line)
    return weight
