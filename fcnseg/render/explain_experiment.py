"""The experiment on a photograph: sliding crops beside one pass, as panels of a page."""

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from fcnseg.checks import check_image
from fcnseg.render.markup import by, table, typeset, verbatim
from fcnseg.render.photograph import blend, greyed

Told = Mapping[str, Any]

_COLOUR_MAP = "inferno"
_BLUE = (0, 90, 160)


def experiment(found: Told, image: np.ndarray) -> str:
    """Panels, times and numbers as HTML.

    Args:
        found: what :func:`fcnseg.inference.crops.compare_crops` gave, as its JSON, with ``class``
            and ``photograph``, their names.
        image: (H, W, 3) uint8, the photograph as it saw it.
    """
    check_image("image", image)
    crops, dense = np.array(found["crops"]), np.array(found["dense"])
    distance = np.array(found["distance"])
    name = verbatim(found["class"])
    panels = [
        (
            _photograph(found, image),
            "The photograph. The frame is one crop, dots are the middles of all.",
        ),
        (
            _panel(found, image, crops),
            f"<b>{name}</b>: probability in each crop, one run of the classifier each.",
        ),
        (
            _panel(found, image, dense),
            f"<b>{name}</b>: the same from one pass of the convolutional net.",
        ),
        (
            _panel(found, image, distance),
            "Distance of the two distributions over all classes: 0 equal, 1 disjoint.",
        ),
    ]
    shown = "".join(
        f'<figure><img src="{uri}" alt=""><figcaption>{text}</figcaption></figure>'
        for uri, text in panels
    )
    return f'<div class="panels">{shown}</div>{_scale()}{_numbers(found, distance)}{_times(found)}'


def _photograph(found: Told, image: np.ndarray) -> str:
    picture = Image.fromarray(image).resize((image.shape[1] * 2, image.shape[0] * 2))
    pen = ImageDraw.Draw(picture)
    side = 2 * found["window"]
    pen.rectangle((1, 1, side - 2, side - 2), outline="white", width=5)
    pen.rectangle((2, 2, side - 3, side - 3), outline=_BLUE, width=3)
    for y, x in _middles(found):
        pen.ellipse(
            (2 * x - 6, 2 * y - 6, 2 * x + 6, 2 * y + 6),
            fill=(0, 90, 160),
            outline="white",
            width=2,
        )
    return _uri(picture, "JPEG")


def _panel(found: Told, image: np.ndarray, values: np.ndarray) -> str:
    """The values as squares over the middles of their windows, on the photograph in grey."""
    from matplotlib import colormaps

    below = greyed(image, darkest=150, lightest=235)
    colours = (np.array(colormaps[_COLOUR_MAP](values.clip(0, 1)))[..., :3] * 255).astype(np.uint8)
    stride, half = found["stride"], found["window"] // 2
    top = left = max(half - stride // 2, 0)
    above = colours.repeat(stride, 0).repeat(stride, 1)
    above = above[: image.shape[0] - top, : image.shape[1] - left]
    whole = below.copy()
    spot = (slice(top, top + above.shape[0]), slice(left, left + above.shape[1]))
    whole[spot] = blend(below[spot], above, 0.85)
    return _uri(
        Image.fromarray(whole).resize(
            (image.shape[1] * 2, image.shape[0] * 2), Image.Resampling.NEAREST
        ),
        "PNG",
    )


def _middles(found: Told) -> list[tuple[int, int]]:
    rows, columns = len(found["crops"]), len(found["crops"][0])
    half, stride = found["window"] // 2, found["stride"]
    return [(half + stride * i, half + stride * j) for i in range(rows) for j in range(columns)]


def _uri(picture: Image.Image, form: str) -> str:
    buffer = io.BytesIO()
    if form == "JPEG":
        picture.save(buffer, format=form, quality=85)
    else:
        picture.quantize(128).save(buffer, format=form, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{form.lower()};base64,{text}"


def _scale() -> str:
    """The colour bar of the panels."""
    from matplotlib import colormaps

    stops = []
    for step in range(9):
        r, g, b = (int(255 * v) for v in colormaps[_COLOUR_MAP](step / 8)[:3])
        stops.append(f"rgb({r},{g},{b})")
    return (
        f'<div class="scale" style="background:linear-gradient(90deg,{",".join(stops)})"></div>'
        '<div class="ends"><span>0</span><span>0.5</span><span>1</span></div>'
    )


def _numbers(found: Told, distance: np.ndarray) -> str:
    same = np.array(found["same_class"])
    row, column = np.unravel_index(int(distance.argmax()), distance.shape)
    exact = found["native_difference"] < 1e-4
    verdict = "the same function, up to rounding" if exact else "more than rounding"
    return (
        f"<p>At the classifier's own size, {by((found['window'],) * 2)} px, the largest difference "
        f"of any score is {_power(found['native_difference'])} of the largest score: {verdict}. "
        f"On the grid of {by(distance.shape)} windows it is "
        f"{found['score_difference']:.2g}; both name the same class in {int(same.sum())} of "
        f"{same.size} windows. They are farthest apart ({distance.max():.2f}) in row {row + 1}, "
        f"column {column + 1}, and {distance.mean():.2f} apart on average.</p>"
    )


def _power(value: float) -> str:
    """A small number as HTML, with its power of ten."""
    if value == 0:
        return "0"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} · 10<sup>{typeset(int(power))}</sup>"


def _times(found: Told) -> str:
    one = found["seconds_dense"]
    count = len(found["crops"]) * len(found["crops"][0])
    rows = [
        (f"the classifier on {count} crops, one at a time", found["seconds_crops"]),
        (f"the same crops, {found['batch']} at a time", found["seconds_batches"]),
        ("one pass of the convolutional net", one),
    ]
    return table(
        ("", "seconds", "times one pass"),
        [(typeset(n), f"{s:.3f}", f"{s / one:.1f}") for n, s in rows],
    )
