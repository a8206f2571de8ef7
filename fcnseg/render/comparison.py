"""Truth and prediction side by side, with the pixels on which they differ."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from fcnseg.checks import check_image, check_labels, check_same_size
from fcnseg.errors import UsageError
from fcnseg.palette import VOID_COLOUR, Colour, Palette
from fcnseg.render.gallery import fitted_image, fitted_labels
from fcnseg.render.legend import Entry, strip
from fcnseg.render.mask import colourise
from fcnseg.render.photograph import greyed
from fcnseg.render.text import INK, fitted, font

# Orange-red on light grey: told apart with any kind of colour vision, by lightness alone too.
DIFFERENCE_COLOUR: Colour = (213, 62, 0)
GAP = 4


def difference(
    image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, void: int = 255
) -> np.ndarray:
    """Return ``image`` (H, W, 3) uint8 in light grey, with what is predicted wrongly in orange-red.

    ``truth`` and ``predicted`` are (H, W) class ids; pixels that are void in the truth are never
    marked. The result is (H, W, 3) uint8.

    >>> import numpy as np
    >>> photo, truth = np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [1, 255]])
    >>> difference(photo, truth, np.zeros((2, 2), np.uint8))[..., 0]
    array([[150, 213],
           [213, 150]], dtype=uint8)

    Raises :class:`UsageError` for other shapes and types or sizes that differ.
    """
    check_image("image", image)
    for what, labels in (("truth", truth), ("predicted", predicted)):
        check_labels(what, labels)
        check_same_size(what, labels.shape, "image", image.shape[:2])
    shown = greyed(image, darkest=150, lightest=250)
    shown[(truth != predicted) & (truth != void)] = DIFFERENCE_COLOUR
    return shown


def comparison(
    image: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    palette: Palette,
    void: int = 255,
) -> np.ndarray:
    """Return four panels in a row: photograph, truth, prediction, and where they differ.

    ``image`` is (H, W, 3) uint8, ``truth`` and ``predicted`` are (H, W) class ids; the result is
    (H, 4 * W + 3 * 4, 3) uint8 with white gaps of 4 pixels. The last panel marks in orange-red
    the pixels whose prediction is wrong; pixels that are void in the truth are never marked.

    >>> import numpy as np
    >>> photo, truth = np.zeros((30, 40, 3), np.uint8), np.eye(30, 40, dtype=np.uint8)
    >>> comparison(photo, truth, truth, palette=[(0, 0, 0), (128, 0, 0)]).shape
    (30, 172, 3)

    Raises :class:`UsageError` for other shapes and types, sizes that differ or unknown ids.
    """
    panels = _panels(image, truth, predicted, palette, void)
    gap = np.full((image.shape[0], GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2], gap, panels[3]], axis=1)


def comparison_sheet(
    image: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    palette: Palette,
    names: Sequence[str],
    columns: int = 4,
    longest: int = 800,
    void: int = 255,
) -> np.ndarray:
    """Return the panels of :func:`comparison` with a title over each and a legend of classes below.

    Args:
        image: (H, W, 3) uint8.
        truth: (H, W) class ids.
        predicted: (H, W) class ids.
        palette: one colour a class.
        names: one name a class; the legend has those that occur, the largest first.
        columns: 4 for a row, 2 for two rows.
        longest: the longer side of a panel in pixels at most; small images are enlarged by a
            whole number.
        void: the id in ``truth`` that is not scored.

    Returns:
        (h, w, 3) uint8 on white. The last title says how much of the labelled pixels is wrong,
        counted at full size.

    >>> import numpy as np
    >>> photo, truth = np.zeros((300, 400, 3), np.uint8), np.eye(300, 400, dtype=np.uint8)
    >>> sheet = comparison_sheet(photo, truth, truth, [(0, 0, 0), (128, 0, 0)], ["sea", "ship"])
    >>> sheet.shape[2], sheet.dtype
    (3, dtype('uint8'))

    Raises:
        UsageError: for other shapes and types, sizes that differ or unknown ids.
    """
    if len(names) != len(palette):
        raise UsageError(f"names: expected one for each of {len(palette)} colours, got {names!r}")
    _panels(image, truth, predicted, palette, void)
    small = fitted_image(image, (longest, longest))
    ids = [fitted_labels(part, small.shape[:2]) for part in (truth, predicted)]
    panels = _panels(small, ids[0], ids[1], palette, void)
    labelled = truth != void
    wrong = 100 * float(((truth != predicted) & labelled).sum()) / max(int(labelled.sum()), 1)
    titles = ("image", "truth", "prediction", f"wrong: {wrong:.1f} %")
    size = min(max(small.shape[1] // 20, 12), 26)
    tiles = [_titled(panel, title, size) for panel, title in zip(panels, titles, strict=True)]
    gap = np.full((tiles[0].shape[0], 2 * GAP, 3), 255, dtype=np.uint8)
    rows = [
        np.concatenate([part for tile in tiles[i : i + columns] for part in (tile, gap)][:-1], 1)
        for i in range(0, len(tiles), columns)
    ]
    rows.append(strip(_entries(truth, predicted, palette, names, void), rows[0].shape[1], size))
    return np.concatenate(rows, axis=0)


def _titled(panel: np.ndarray, title: str, size: int) -> np.ndarray:
    high, wide = panel.shape[:2]
    above = round(1.7 * size)
    tile = Image.new("RGB", (wide, high + above), "white")
    at = 2, above - round(0.5 * size)
    shown = fitted(title, wide - 4, size)
    ImageDraw.Draw(tile).text(at, shown, fill=INK, font=font(size), anchor="ls")
    drawn = np.array(tile)
    drawn[above:] = panel
    return drawn


def _entries(
    truth: np.ndarray,
    predicted: np.ndarray,
    palette: Palette,
    names: Sequence[str],
    void: int,
) -> list[Entry]:
    """What occurs in truth or prediction, the largest first; then void and what marks mistakes."""
    ids, counts = np.unique(np.concatenate([truth.ravel(), predicted.ravel()]), return_counts=True)
    order = [int(ids[i]) for i in np.argsort(-counts, kind="stable") if ids[i] != void]
    entries = [Entry(names[i], palette[i]) for i in order]
    if (truth == void).any():
        entries.append(Entry("void, not scored", VOID_COLOUR))
    return [*entries, Entry("wrong", DIFFERENCE_COLOUR)]


def _panels(
    image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, palette: Palette, void: int
) -> list[np.ndarray]:
    """Photograph, truth, prediction and differences, all (H, W, 3) uint8."""
    check_image("image", image)
    coloured_truth = colourise(truth, palette, void)
    coloured_prediction = colourise(predicted, palette, void)
    wrong = difference(image, truth, predicted, void)
    return [image, coloured_truth, coloured_prediction, wrong]
