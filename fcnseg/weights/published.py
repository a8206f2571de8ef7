"""The published FCNs of VGG16, by Berkeley and by pytorch-fcn, under the names they both use.

Which tensors there are follows from the variant; a file with others is refused here, before
anything is built.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from fcnseg.errors import WeightsError
from fcnseg.weights.caffe import read_caffemodel
from fcnseg.weights.state import shown
from fcnseg.weights.torchfcn import read_torchfcn

_CONVOLUTIONS = (2, 2, 3, 3, 3)
BACKBONE = (
    *(f"conv{block}_{i + 1}" for block, n in enumerate(_CONVOLUTIONS, 1) for i in range(n)),
    *("fc6", "fc7"),
)
"""Layers of the classifier in the order of the network."""

SCORES = {32: "score_fr", 16: "score_pool4", 8: "score_pool3"}
"""Score layers by the stride of what they score."""

SCALES = {16: "scale_pool4.weight", 8: "scale_pool3.weight"}
"""What Caffe multiplies the skips by where they are trained at once; other files have none."""

UPSAMPLINGS = {
    "32s": {1: "upscore"},
    "16s": {16: "upscore2", 1: "upscore16"},
    "8s": {16: "upscore2", 8: "upscore_pool4", 1: "upscore8"},
    "8s-atonce": {16: "upscore2", 8: "upscore_pool4", 1: "upscore8"},
}
"""Transposed convolutions of each variant by the stride that they lead to; 1 is the image."""

_ARCHITECTURES = {"FCN32s": "32s", "FCN16s": "16s", "FCN8s": "8s", "FCN8sAtOnce": "8s-atonce"}
_NAMES_SHOWN = 4


def read_published(source: str, file: str | Path, variant: str) -> dict[str, Tensor]:
    """The tensors of a published FCN: all that the variant has, and no other.

    Args:
        source: a key of :data:`SOURCES`.
        file: the weights.
        variant: a key of :data:`UPSAMPLINGS`.

    Returns:
        ``"conv1_1.weight"`` and so on -> tensors on the CPU, in the file's shapes and types. Of
        Caffe's networks trained at once, the scales of the skips as well.

    Raises:
        WeightsError: the file is missing, damaged or refused, holds another variant, or has
            tensors too few or too many; the message names and counts them.
    """
    tensors, saved_as = SOURCES[source](file)
    said = _ARCHITECTURES.get(saved_as or "", variant)
    if said != variant:
        raise WeightsError(f"{file}: holds the network {saved_as}; give --variant {said}")
    _check_names(file, tensors, variant)
    return tensors


def _caffe(file: str | Path) -> tuple[dict[str, Tensor], None]:
    kinds = {0: "weight", 1: "bias"}
    layers = read_caffemodel(file).items()
    named = {f"{n}.{kinds.get(i, i)}": blob for n, blobs in layers for i, blob in enumerate(blobs)}
    return named, None


SOURCES: dict[str, Callable[[str | Path], tuple[dict[str, Tensor], str | None]]] = {
    "torchfcn": read_torchfcn,
    "caffe": _caffe,
}
"""What reads a file of each source: its tensors, and what the network is called there."""


def _layers(variant: str) -> tuple[str, ...]:
    """Layers with numbers; there is a score layer for every transposed convolution."""
    scores = list(SCORES.values())[: len(UPSAMPLINGS[variant])]
    return (*BACKBONE, *scores, *UPSAMPLINGS[variant].values())


def _names(variant: str) -> list[str]:
    """Tensors: transposed convolutions have no bias."""
    up = UPSAMPLINGS[variant].values()
    kinds = {n: ("weight",) if n in up else ("weight", "bias") for n in _layers(variant)}
    return [f"{layer}.{kind}" for layer, both in kinds.items() for kind in both]


def _check_names(file: str | Path, tensors: Mapping[str, Tensor], variant: str) -> None:
    expected, scales = _names(variant), set(SCALES.values())
    allowed = {*expected, *(scales if variant == "8s-atonce" else ())}
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in allowed]
    if not missing and not unexpected:
        return
    fits = [v for v in UPSAMPLINGS if set(tensors) - scales == set(_names(v))]
    if fits:
        advice = f"its layers are those of --variant {fits[-1 if scales & set(tensors) else 0]}"
    else:
        advice = f"expected the layers {', '.join(_layers(variant))}"
    faults = [
        f"{len(names)} {kind} ({_some(names)})"
        for names, kind in ((missing, "missing"), (unexpected, "unexpected"))
        if names
    ]
    raise WeightsError(f"{file}: does not fit VGG16's FCN-{variant}: {', '.join(faults)}; {advice}")


def _some(names: list[str]) -> str:
    """The first few names."""
    first = [shown(name) for name in names[:_NAMES_SHOWN]]
    return ", ".join(first + ["..."] * (len(names) > _NAMES_SHOWN))
