"""A heatmap as one self-contained page, on which the pointer reads every class at a pixel."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg.checks import check_image
from fcnseg.errors import NumericError, UsageError
from fcnseg.palette import Palette, check_palette
from fcnseg.render.colours import probability_scale
from fcnseg.render.document import document
from fcnseg.render.explain_style import STYLE as BASE
from fcnseg.render.gallery import fitted_image, jpeg_uri
from fcnseg.render.heatmap_page_body import Shown, body
from fcnseg.render.heatmap_page_maps import areas, packed
from fcnseg.render.heatmap_page_style import STYLE
from fcnseg.render.page_style import STYLE as SHARED
from fcnseg.render.photograph import greyed

_LONGEST = 1280
_PHOTOGRAPH_BYTES = 480_000
_TOP = 5
# Layers that a page lists by itself: all winners of a few classes, the largest of many.
_FEW_CLASSES, _LISTED = 40, 12
_DARKEST_GREY = 90
_SCRIPTS = ("maps", "layers", "reading")

# Okabe and Ito's colours for all kinds of colour vision, those that differ most first.
_HUES = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (213, 94, 0), (86, 180, 233),
    (240, 228, 66),
)  # fmt: skip


def heatmap_page(
    image: np.ndarray,
    score: np.ndarray,
    classes: Sequence[str],
    stride: Sequence[float],
    offset: Sequence[float],
    *,
    field: Sequence[float] | None = None,
    sees_all: bool = False,
    chosen: Sequence[int] | None = None,
    image_score: Sequence[float] | np.ndarray | None = None,
    palette: Palette | None = None,
    title: str = "",
) -> str:
    """The page as HTML, complete in itself: nothing on it is loaded from elsewhere.

    It holds the photograph, a layer with an opacity of its own for each chosen class and each
    other class that wins somewhere, a layer of the winners, and the scores of all classes, which
    are read with the pointer, by touch or with the arrow keys. Colours stand for probabilities
    on a fixed scale from 0 to 1.

    A page is at most about 6 MB: of a map whose scores would take more than
    :data:`~fcnseg.render.heatmap_page_maps.MOST_BYTES` in 16-bit steps, only each n-th row and
    column of cells is kept, and the page says so. Areas are those of the whole map.

    Args:
        image: (H, W, 3) uint8 RGB.
        score: (K, h, w) finite floats before softmax; the classes exclude each other.
        classes: K names.
        stride: (vertical, horizontal) pixels of ``image`` from cell to cell, above 0.
        offset: (vertical, horizontal) pixel at which cell (0, 0) is centred.
        field: (vertical, horizontal) receptive field of a cell in pixels, shown as a box around
            its centre; None where it is not known.
        sees_all: each cell depends on the whole image as well.
        chosen: ids of the classes to list first; by default the five with the highest
            ``image_score``.
        image_score: (K,) probabilities in [0, 1] of the image as a whole, shown beside the names;
            None for none, and the mean probability then ranks the classes.
        palette: K colours (r, g, b), as a trained network has them; the page then opens with the
            winners, otherwise with the first class.
        title: the heading.

    Raises:
        UsageError: other shapes and types, or ids that do not exist.
        NumericError: scores that are not finite.
    """
    check_image("image", image)
    score = np.asarray(score)
    _check(score, classes, stride, offset, field, image_score, palette)
    size = image.shape[:2]
    ids = _ids(chosen, score, image_score)
    won = areas(score, stride, offset, size)
    kept = packed(score)
    others = [int(i) for i in np.argsort(-won, kind="stable") if won[i] > 0 and i not in set(ids)]
    room = len(score) if len(score) <= _FEW_CLASSES else max(0, _LISTED - len(ids))
    listed = ids + others[:room]
    shown = Shown(
        title=title or "Where the network sees its classes",
        photograph=jpeg_uri(fitted_image(image, (_LONGEST, _LONGEST)), _PHOTOGRAPH_BYTES),
        size=(int(size[0]), int(size[1])),
        cells=(int(score.shape[1]), int(score.shape[2])),
        stride=(float(stride[0]), float(stride[1])),
        offset=(float(offset[0]), float(offset[1])),
        field=None if field is None else (float(field[0]), float(field[1])),
        sees_all=sees_all,
        classes=[str(name) for name in classes],
        listed=listed,
        chosen=len(ids),
        colours=[_colour(palette, i, place) for place, i in enumerate(listed)],
        hues=len(_HUES),
        whole=None if image_score is None else [float(p) for p in image_score],
        areas=won,
        kept=kept,
        opens_with_winners=palette is not None,
    )
    facts = _facts(shown, image, palette)
    return document(shown.title, body(shown, facts), (BASE, SHARED, STYLE), _script())


def _facts(shown: Shown, image: np.ndarray, palette: Palette | None) -> str:
    """What the script needs besides the scores, as JSON that is safe inside an element."""
    kept, scale = shown.kept, probability_scale()
    rgba = np.concatenate([scale.colours, np.rint(255 * scale.opacity)[:, None]], axis=1)
    facts: dict[str, Any] = {
        "size": shown.size,
        "rows": kept.rows,
        "columns": kept.columns,
        "stride": [s * kept.every for s in shown.stride],
        "offset": [shown.offset[a] + shown.stride[a] * kept.first[a] for a in (0, 1)],
        "cell": shown.stride,
        "field": shown.field,
        "seesAll": shown.sees_all,
        "pixelwise": shown.pixelwise,
        "low": kept.low,
        "step": kept.step,
        "classes": shown.classes,
        "listed": shown.listed,
        "whole": None if shown.whole is None else [_short(p) for p in shown.whole],
        "areas": {int(i): _short(shown.areas[i]) for i in np.flatnonzero(shown.areas)},
        "palette": None if palette is None else [[int(v) for v in colour] for colour in palette],
        "hues": _HUES,
        "heat": rgba.astype(np.uint8).tobytes().hex(),
        "grey": round(float(greyed(image, darkest=_DARKEST_GREY)[..., 0].mean())),
    }
    return json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c").replace("/", "\\/")


def _short(share: float) -> float:
    """Five digits: what is small is labelled as smaller than something, not as nothing."""
    return float(f"{share:.5g}")


def _script() -> str:
    """The parts of the script in one scope of their own."""
    parts = [
        Path(__file__).with_name(f"heatmap_page_{name}.js").read_text(encoding="utf-8")
        for name in _SCRIPTS
    ]
    return f'(function () {{\n"use strict";\n{"".join(parts)}}})();\n'


def _colour(palette: Palette | None, class_id: int, place: int) -> tuple[int, int, int]:
    red, green, blue = palette[class_id] if palette is not None else _HUES[place % len(_HUES)]
    return int(red), int(green), int(blue)


def _ids(
    chosen: Sequence[int] | None,
    score: np.ndarray,
    image_score: Sequence[float] | np.ndarray | None,
) -> list[int]:
    if chosen is not None:
        ids = list(dict.fromkeys(int(i) for i in chosen))
        if not ids or not all(0 <= i < len(score) for i in ids):
            raise UsageError(f"chosen: expected ids from 0 to {len(score) - 1}, got {ids}")
        return ids
    rank = image_score
    if rank is None:
        shifted = np.exp(score - score.max(axis=0, keepdims=True))
        rank = (shifted / shifted.sum(axis=0, keepdims=True)).mean(axis=(1, 2))
    return [int(i) for i in np.argsort(-np.asarray(rank), kind="stable")[:_TOP]]


def _check(
    score: np.ndarray,
    classes: Sequence[str],
    stride: Sequence[float],
    offset: Sequence[float],
    field: Sequence[float] | None,
    image_score: Sequence[float] | np.ndarray | None,
    palette: Palette | None,
) -> None:
    if score.ndim != 3 or 0 in score.shape or not np.issubdtype(score.dtype, np.floating):
        raise UsageError(
            f"score: expected (K, h, w) floats, got shape {score.shape} of {score.dtype}"
        )
    if isinstance(classes, str) or len(classes) != len(score):
        raise UsageError(f"classes: expected {len(score)} names, got {len(classes)}")
    for what, pair, least in (("stride", stride, 0.0), ("offset", offset, None),
                              ("field", field, 0.0)):  # fmt: skip
        if pair is None:
            continue
        if len(pair) != 2 or not all(np.isfinite(v) and (least is None or v > least) for v in pair):
            above = "" if least is None else " above 0"
            raise UsageError(f"{what}: expected (vertical, horizontal){above}, got {tuple(pair)}")
    if not np.isfinite(score).all():
        raise NumericError("score: not finite; check the weights of the network")
    if image_score is not None:
        values = np.asarray(image_score)
        if values.shape != (len(score),) or not ((values >= -1e-5) & (values <= 1 + 1e-5)).all():
            raise UsageError(f"image_score: expected {len(score)} probabilities from 0 to 1")
    if palette is not None:
        check_palette(palette)
        if len(palette) != len(score):
            raise UsageError(f"palette: expected {len(score)} colours, got {len(palette)}")
