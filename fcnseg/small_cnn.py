"""A small CNN to be trained from scratch, for small images and for learning how it all works."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

# Channels and stride of each block. Three steps of 2 leave a map of stride 8: fine enough to say
# where in a small image a class is.
_BLOCKS = ((16, 2), (32, 1), (48, 2), (64, 1), (96, 2))


class SmallCNN(nn.Module):
    """Five blocks of convolution, batch norm and ReLU, a global average pool, one linear layer.

    Between the pool and the scores everything is linear, so that the score of an image is the
    mean of the scores of its cells. A cell sees 27x27 pixels.

    Args:
        num_classes: scores K.
    """

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        blocks: OrderedDict[str, nn.Module] = OrderedDict()
        before = 3
        for number, (channels, stride) in enumerate(_BLOCKS, start=1):
            blocks[f"block{number}"] = nn.Sequential(
                nn.Conv2d(before, channels, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
            before = channels
        self.features = nn.Sequential(blocks)
        self.fc = nn.Linear(before, num_classes)

    def forward(self, image_N3HW: Tensor) -> Tensor:
        """Class scores: (N, 3, H, W) float, preprocessed -> (N, K), before any softmax."""
        features_NChw = self.features(image_N3HW)
        return self.fc(torch.flatten(nn.functional.adaptive_avg_pool2d(features_NChw, 1), 1))
