"""A written file beside the network in PyTorch: how far apart are they?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fcnseg.errors import NumericError
from fcnseg.export.deployed import Deployed
from fcnseg.export.formats import Run

UNSEEN = ((1, 45, 83), (2, 150, 117))
"""Batch, height and width at which a file is compared; it was recorded at others."""

MOST, UP_TO = 1e-4, 10.0
"""What a file may differ by where scores reach up to so much; in proportion where they reach more.

Single precision keeps a share of a number, not a distance from it.
"""


@dataclass(frozen=True)
class Compared:
    """A file and PyTorch at one size.

    Attributes:
        size: batch, height, width.
        difference: the largest between two scores. Of labels: by how much, at a pixel where the
            labels differ, PyTorch scores the file's class below its own; 0 where they are equal.
        largest: the largest score of PyTorch, without its sign.
        other: pixels at which the best class is another one.
    """

    size: tuple[int, int, int]
    difference: float
    largest: float
    other: int

    @property
    def close(self) -> bool:
        """Whether the two agree; NaN agrees with nothing."""
        return self.difference <= self.most

    @property
    def most(self) -> float:
        """What the difference may be: 1e-4, or 1e-5 of the largest score if that is more."""
        return MOST * max(1.0, self.largest / UP_TO)


@torch.inference_mode()
def compare(
    deployed: Deployed, run: Run, sizes: Sequence[tuple[int, int, int]] = UNSEEN
) -> list[Compared]:
    """Run a file and the network in PyTorch on the same images, of noise, at ``sizes``."""
    noise = torch.Generator().manual_seed(0)
    done = []
    for batch, height, width in sizes:
        shape = (batch, 3, height, width)
        images = torch.randint(0, 256, shape, generator=noise, dtype=torch.uint8)
        if not deployed.preprocess:
            images = deployed.model.info.preprocessing(images)
        score_NKHW, given = deployed.scores(images), run(images)
        largest = float(score_NKHW.abs().max())
        own = score_NKHW.argmax(1)
        expected = own if deployed.argmax else score_NKHW
        if given.shape != expected.shape:
            raise NumericError(
                f"the file gives {tuple(given.shape)} for images {shape}, PyTorch "
                f"{tuple(expected.shape)}; choose another --format"
            )
        label_NHW = given.long() if deployed.argmax else given.argmax(1)
        if deployed.argmax:
            best, its = (score_NKHW.gather(1, ids[:, None]) for ids in (own, label_NHW))
            difference = float((best - its).max())
        else:
            difference = float((score_NKHW - given).abs().max())
        other = int((own != label_NHW).sum())
        done.append(Compared((batch, height, width), difference, largest, other))
    return done
