"""What goes into a file: the network, and what may stand before and behind it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fcnseg.errors import FcnsegError, UsageError
from fcnseg.model import Segmenter

INPUT, AXES = "image", {0: "batch", 2: "height", 3: "width"}
"""The name of the input and of its axes whose sizes are free."""

_RECORDED_AT = (2, 3, 97, 130)


class Deployed(nn.Module):
    """A segmentation network as other runtimes get it.

    Args:
        model: preprocessed (N, 3, H, W) -> (N, K, H, W) scores; used as it is, never changed.
        preprocess: take 8-bit images and normalise them first.
        argmax: give the best class of each pixel in place of the scores.
    """

    def __init__(self, model: Segmenter, preprocess: bool, argmax: bool) -> None:
        super().__init__()
        self.model, self.preprocess, self.argmax = model, preprocess, argmax

    @property
    def input_type(self) -> torch.dtype:
        """Of the images: torch.uint8 where the preprocessing is inside, else torch.float32."""
        return torch.uint8 if self.preprocess else torch.float32

    @property
    def output(self) -> str:
        """Name of the output: ``"labels"`` or ``"scores"``."""
        return "labels" if self.argmax else "scores"

    def scores(self, image_N3HW: Tensor) -> Tensor:
        """(N, K, H, W) float32 scores, before any softmax, whatever the output is."""
        if self.preprocess:
            image_N3HW = self.model.info.preprocessing(image_N3HW)
        return self.model(image_N3HW)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) RGB images -> (N, K, H, W) scores, or (N, H, W) uint8 class ids."""
        score_NKHW = self.scores(image)
        return score_NKHW.argmax(1).to(torch.uint8) if self.argmax else score_NKHW


def recorded(deployed: Deployed, name: str) -> ExportedProgram:
    """The program of a network, by ``torch.export``: batch, height and width are free in it.

    Args:
        deployed: the network, in evaluation mode, on the CPU.
        name: what messages call it.

    Raises:
        UsageError: ``torch.export`` cannot follow the network, or only at one size.
    """
    example = torch.zeros(_RECORDED_AT, dtype=deployed.input_type)
    free = dict.fromkeys(AXES, Dim.DYNAMIC)
    refused = f"{name}: torch.export cannot follow this network at every size"
    remedy = "export a network of another --backbone"
    with refusing(refused, remedy), torch.no_grad(), _whole_paddings():
        return torch.export.export(deployed, (example,), dynamic_shapes=(free,), strict=False)


@contextmanager
def refusing(what: str, remedy: str) -> Iterator[None]:
    """Turn the failure of another library into a :class:`UsageError` with its first line.

    Faults of memory and disk are none of the network.
    """
    try:
        yield
    except (FcnsegError, MemoryError, OSError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(f"{what} ({lines[0][:200]}); {remedy}") from error


@contextmanager
def _whole_paddings() -> Iterator[None]:
    """Let timm compute its padding at the right and the bottom in whole numbers for a while.

    It divides sides as floats, which ``torch.export`` follows slowly and without seeing that the
    padding is the same at every size that an FCN extends images to.
    """
    module: Any = sys.modules.get("timm.layers.padding")
    own = getattr(module, "get_same_padding", None)
    if own is None:
        yield
        return

    def whole(side: int, kernel: int, stride: int, dilation: int) -> int:
        cells = (side + stride - 1) // stride
        return max((cells - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)

    module.get_same_padding = whole
    try:
        yield
    finally:
        module.get_same_padding = own
