"""What segmentation gives for one image."""

from dataclasses import dataclass

import numpy as np

from fcnseg.errors import UsageError
from fcnseg.render import segmented_png


@dataclass(frozen=True, eq=False)
class Prediction:
    """The segmentation of one image; a notebook shows it as a picture.

    Attributes:
        labels: (H, W) uint8 class ids.
        scores: (K, H, W) float32 class scores before softmax, None if they were not asked for.
        classes: K names.
        palette: K colours, 8-bit RGB.
        image: (H, W, 3) uint8 RGB, what was segmented.
    """

    labels: np.ndarray
    scores: np.ndarray | None
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    image: np.ndarray

    def __repr__(self) -> str:
        """One line, whatever the size."""
        high, wide = self.labels.shape
        shares = sorted(self.shares().items(), key=lambda item: -item[1])
        seen = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares[:3] if share)
        return f"Prediction({wide}x{high} px, {len(self.classes)} classes: {seen})"

    def probabilities(self) -> np.ndarray:
        """Softmax of the scores over the classes, (K, H, W) float32 in [0, 1].

        Raises:
            UsageError: the scores were not asked for.
        """
        if self.scores is None:
            raise UsageError("probabilities: no scores here; call predictor(image, scores=True)")
        shifted = np.exp(self.scores - self.scores.max(axis=0, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=0, keepdims=True))

    def shares(self) -> dict[str, float]:
        """What part of the image each class covers, in [0, 1], by name."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        return {n: float(c / counts.sum()) for n, c in zip(self.classes, counts, strict=True)}

    def _repr_png_(self) -> bytes:
        """The overlay and its legend as a PNG."""
        return segmented_png(self.image, self.labels, self.classes, self.palette)
