"""Golden images: pictures that were looked at once, in ``assets/golden``.

After a deliberate change of the looks renew them, look at them, and commit:
``FCNSEG_RENEW_GOLDEN=1 pytest tests/render``.
"""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from fcnseg.render import write_image

FOLDER = Path(__file__).parents[1] / "assets" / "golden"
_MOST_BYTES = 60_000


def renewing() -> bool:
    """Whether the golden images are to be written anew."""
    return os.environ.get("FCNSEG_RENEW_GOLDEN") == "1"


def assert_golden(name: str, got: np.ndarray, text: bool = False) -> None:
    """Hold a picture, (H, W, 3) uint8, against the one of that name.

    With ``text`` one pixel in fifty may differ by more than two steps: letters are drawn a little
    differently from release to release of FreeType. ``text`` is for pictures with words on them.
    """
    path = FOLDER / name
    if renewing():
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_image(path, got)
    with Image.open(path) as stored:
        expected = np.asarray(stored.convert("RGB"))
    assert got.shape == expected.shape
    # Pillow may round its grey by one step more or less from release to release.
    far = np.abs(got.astype(int) - expected).max(axis=2) > 2
    assert far.mean() <= (0.02 if text else 0), f"{name}: {far.sum()} pixels differ"
    assert path.stat().st_size < _MOST_BYTES
