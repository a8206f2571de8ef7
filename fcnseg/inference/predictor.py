"""Segment photographs with a trained model."""

from dataclasses import dataclass

import numpy as np
import torch

from fcnseg.checks import check_image
from fcnseg.devices import choose_device, choose_precision
from fcnseg.model import Segmenter, score_images


@dataclass(frozen=True)
class Prediction:
    """The segmentation of one image.

    Attributes:
        labels: (H, W) uint8 class ids.
        scores: (K, H, W) float32 class scores before softmax, None if they were not asked for.
    """

    labels: np.ndarray
    scores: np.ndarray | None

    def probabilities(self) -> np.ndarray:
        """Softmax of the scores over the classes, (K, H, W) float32 in [0, 1]."""
        assert self.scores is not None, "ask the predictor for scores"
        shifted = np.exp(self.scores - self.scores.max(axis=0, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=0, keepdims=True))


class Predictor:
    """A model on a device, from 8-bit photographs to labels.

    The model is put into evaluation mode and moved to the device; the predictor itself holds no
    state and may be called from several threads.

    Args:
        model: from :func:`fcnseg.load`, :func:`fcnseg.build_fcn` or
            :func:`fcnseg.segmenters.load_segmenter`.
        device: ``"auto"`` (CUDA, MPS, CPU) or the name of one.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.

    Raises:
        UsageError: the device or the precision is not to be had.
    """

    def __init__(self, model: Segmenter, device: str = "auto", precision: str = "auto") -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.model = model.eval().to(self.device).to(memory_format=torch.channels_last)

    def __call__(self, image: np.ndarray, scores: bool = True, name: str = "image") -> Prediction:
        """Segment one image.

        Args:
            image: (H, W, 3) uint8 RGB, any size from 1x1.
            scores: also give the class scores, K * H * W floats.
            name: what errors call the image.

        Raises:
            UsageError: not an (H, W, 3) uint8 array.
            DataError: a strip too long for the size at which the model sees photographs.
            NumericError: the model gives NaN or infinity; its labels would mean nothing.
        """
        check_image(name, image)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        score_KHW = score_images(self.model, pixels, self.device, self.precision, name)[0]
        labels = score_KHW.argmax(0).to(torch.uint8).cpu().numpy()
        return Prediction(labels, score_KHW.float().cpu().numpy() if scores else None)
