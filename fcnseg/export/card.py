"""The model card beside an exported file: all that running it takes, in Markdown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnseg import __version__
from fcnseg.backbones import Backbone
from fcnseg.export.comparison import MOST, UP_TO, Compared
from fcnseg.export.deployed import INPUT, Deployed
from fcnseg.export.snippet import how_to_run
from fcnseg.model import FCN
from fcnseg.preprocessing import Preprocessing

# Settings of a training that say how good a network may be; paths on its machine are not among
# them.
_TOLD = (
    *("data", "pairs", "recipe", "stages", "weights", "epochs", "iterations", "batch_size"),
    *("accumulate", "crop_size", "optimizer", "lr", "schedule", "class_weights", "dice", "ema"),
    *("freeze", "seed"),
)


@dataclass(frozen=True)
class Card:
    """What a model card is made from.

    Attributes:
        path: the exported file.
        format: a key of :data:`fcnseg.export.formats.FORMATS`.
        written: operator set and version of what wrote the file.
        sha256: of the file.
        size: of the file, in bytes.
        deployed: what is in it.
        compared: the file beside PyTorch.
        settings: of the training; empty where none are known.
    """

    path: Path
    format: str
    written: str
    sha256: str
    size: int
    deployed: Deployed
    compared: tuple[Compared, ...]
    settings: Mapping[str, Any]


def model_card(card: Card) -> str:
    """The card as Markdown."""
    info = card.deployed.model.info
    parts = [
        f"# {card.path.name}",
        f"Semantic segmentation: a class for every pixel of a photograph, {info.num_classes} "
        f"classes. Written by fcnseg {__version__} ({card.written}).",
        f"    sha256  {card.sha256}\n    bytes   {card.size:,}",
        *_in_and_out(card.deployed),
        *_preprocessing(card.deployed),
        "## How to run it",
        how_to_run(card.path.name, card.format, card.deployed),
        "## Classes",
        _table(
            ("id", "class", "colour (RGB)"),
            ((i, _cell(n), info.palette[i]) for i, n in enumerate(info.classes)),
        ),
        "## Network",
        _network(card.deployed.model),
        "## Training",
        _training(card.settings),
        "## Beside PyTorch",
        _compared(card),
    ]
    return "\n\n".join(parts) + "\n"


def _in_and_out(deployed: Deployed) -> list[str]:
    kind, info = str(deployed.input_type).removeprefix("torch."), deployed.model.info
    values = "0 to 255" if deployed.preprocess else "preprocessed as below"
    output = (
        "(N, H, W) uint8: the id of the best class of each pixel"
        if deployed.argmax
        else f"(N, {info.num_classes}, H, W) float32: the score of each class at each pixel, "
        "before any softmax"
    )
    rows = [
        ("input", f"`{INPUT}`", f"(N, 3, H, W) {kind}: RGB images, {values}"),
        ("output", f"`{deployed.output}`", output),
    ]
    free = "N, H and W are free, from 1 up. The output has the height and width of the input."
    return ["## Input and output", _table(("", "name", "what"), rows), free]


def _preprocessing(deployed: Deployed) -> list[str]:
    how, side = deployed.model.info.preprocessing, deployed.model.info.short_side
    parts = ["## Preprocessing"]
    if side is not None:
        parts.append(
            f"The network knows things at the size that it saw them in: scale the short side of a "
            f"photograph to {side} px first (bilinear, smoothed), the long side in proportion, "
            "rounded down. Nothing in the file does this; its output has the size of its input."
        )
    if deployed.preprocess:
        parts.append("Inside the program: give it 8-bit RGB. What it computes from a value v:")
    else:
        parts.append("Not in the program: give it these numbers, v from 0 to 255:")
    parts.append(_formula(how))
    return parts


def _formula(how: Preprocessing) -> str:
    names = ("red", "green", "blue") if how.order == "RGB" else ("blue", "green", "red")
    rows = [
        (i, name, f"(v * {how.scale!r} - {mean!r}) / {std!r}")
        for i, (name, mean, std) in enumerate(zip(names, how.mean, how.std, strict=True))
    ]
    return _table(("channel", "of", "value"), rows)


def _network(model: Any) -> str:
    info = model.info
    if not isinstance(model, FCN) or not isinstance(model.backbone, Backbone):
        return f"{getattr(info, 'name', type(model).__name__)}, with the weights published for it."
    told = (
        f"FCN-{info.variant} on {info.backbone}, padding {info.padding}, upsampling "
        f"{info.upsample}, output stride {info.output_stride}."
    )
    rows = [
        (level, _pair(place.stride), _pair(place.offset), _pair(place.field))
        for level, place in sorted(model.backbone.taps.items())
    ]
    maps = _table(("map", "stride", "first cell at", "receptive field"), rows)
    all_of_it = any(place.sees_all for place in model.backbone.taps.values())
    notes = ["Pixels of the input, vertical x horizontal."]
    if all_of_it:
        notes.append("Each cell also depends on the whole image.")
    if info.padding == "same":
        notes.append(
            f"Inside, images are extended with zeros at the right and the bottom to multiples of "
            f"{model.backbone.multiple} px, {model.backbone.smallest} at least; the output is "
            "cropped again. Images of several sizes in one batch need padding, which changes "
            "scores: give images of one size."
        )
    return "\n\n".join((told, maps, " ".join(notes)))


def _training(settings: Mapping[str, Any]) -> str:
    rows = [
        (name.replace("_", " "), _cell(str(settings[name])))
        for name in _TOLD
        if settings.get(name) is not None
    ]
    return _table(("setting", "value"), rows) if rows else "No settings are stored with it."


def _compared(card: Card) -> str:
    rows = [
        ("x".join(map(str, one.size)), f"{one.difference:.1e}", f"{one.largest:.3g}", one.other)
        for one in card.compared
    ]
    heads = ("N x H x W", "largest difference", "largest score", "pixels of another class")
    told = (
        "The file was loaded again and run on noise at sizes that it was not recorded at. It is "
        f"refused if it differs by more than {MOST:g}, or where scores reach more than {UP_TO:g}, "
        f"by more than {MOST / UP_TO:g} of the largest."
    )
    if card.deployed.argmax:
        told += (
            " The difference is by how much, where the labels differ, PyTorch scores the file's "
            "class below its own."
        )
    return f"{told}\n\n{_table(heads, rows)}"


def _pair(values: tuple[float, float]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(heads), *([str(value) for value in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
