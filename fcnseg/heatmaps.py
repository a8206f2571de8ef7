"""``fcnseg.heatmap``: one call from a photograph to where a network sees its classes."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard, cast

import numpy as np
import torch
from torch import nn

from fcnseg.build import load, load_classifier
from fcnseg.catalogue import LITE0, class_names, describe, imagenet_classes
from fcnseg.classifiers import build_classifier
from fcnseg.download import Progress
from fcnseg.engine.checkpoint import kind_of
from fcnseg.errors import UsageError
from fcnseg.inference.class_names import find_classes
from fcnseg.inference.heatmap_result import Heatmap
from fcnseg.inference.mapper import ClassifierMapper, Mapper, SegmenterMapper
from fcnseg.inference.pictures import Picture, as_pixels
from fcnseg.inference.predictor import Predictor
from fcnseg.model import Segmenter
from fcnseg.own_classifier import OwnClassifier
from fcnseg.preprocessing import Preprocessing
from fcnseg.segmenters import load_segmenter, segmenters
from fcnseg.trace import trace, trace_features

Network = str | os.PathLike[str] | nn.Module | Predictor | Mapper

MOST_PANELS = 30
"""Classes that one sheet shows."""

LEAST_SIDE = 32
"""Pixels, the smallest short side that a photograph is scaled to."""

Classes = str | int | Sequence[str | int]


def heatmap(
    picture: Picture,
    network: Network = LITE0,
    classes: Classes | None = None,
    top: int = 5,
    stride: int | None = None,
    size: int | str | None = None,
    device: str = "auto",
) -> Heatmap:
    """Find where a network sees its classes in a photograph.

    >>> import fcnseg
    >>> from matplotlib.cbook import get_sample_data
    >>> photograph = get_sample_data("grace_hopper.jpg", asfileobj=False)
    >>> found = fcnseg.heatmap(photograph, top=3, device="cpu")
    >>> found.classes
    ('military uniform', 'bow tie', 'suit')
    >>> found.maps.score.shape, found.picture().dtype
    ((1000, 10, 8), dtype('uint8'))

    Args:
        picture: (H, W, 3) uint8 RGB, or a path, a PIL image, a uint8 tensor: see
            :func:`~fcnseg.inference.pictures.as_pixels`.
        network: a name that ``fcnseg models`` lists, with its published weights; the file of a
            checkpoint of ours; ``"torchvision/fcn_resnet50"`` and the like; a segmentation model
            or a predictor; any classifier that ``torch.fx`` can trace (ImageNet's preprocessing
            and, for 1000 scores, its class names); or what :func:`open_network` gives, which
            does the work on the network once for many photographs.
        classes: names or parts of names, or ids from 0, one or a list; a text may hold several
            with commas between; ``"all"`` for all of up to 30. None: the ``top`` best of the
            whole photograph.
        top: how many these are, 1 to 30.
        stride: pixels from cell to cell of a classifier's map, for a finer one; None: its own.
        size: pixels that the short side is scaled to first, 32 or more, ``"native"`` for none;
            None: what the classifier was tested at.
        device: ``"auto"`` (CUDA, MPS, CPU) or the name of one.

    Raises:
        UsageError: no such network or class, or settings that do not go together.
        WeightsError: weights that cannot be had, or a file that is none of ours.
        DataError: a picture that cannot be read.
        NumericError: scores that are not finite.
    """
    check_settings(stride, size, top)
    mapper = open_network(network, stride, size, device)
    chosen = choose_classes(classes, mapper.classes)
    path = str(os.fspath(picture)) if isinstance(picture, (str, os.PathLike)) else ""
    pixels = as_pixels(picture)
    maps = mapper(pixels, path or "image")
    ids = maps.top(top) if chosen is None else chosen
    return Heatmap(pixels, maps, tuple(ids), mapper.palette, Path(path).name)


def check_settings(
    stride: object = None, size: object = None, top: object = 5, classes: object = None
) -> None:
    """Check the arguments of :func:`heatmap` of these names, as far as no network is needed.

    Raises:
        UsageError: one that is wrong; the message starts with its name.
    """
    if not _is_whole(top) or not 1 <= top <= MOST_PANELS:
        raise UsageError(f"top: expected 1 to {MOST_PANELS} classes, got {top!r}")
    if stride is not None and not _is_whole(stride):
        raise UsageError(f"stride: expected a whole number of pixels, got {stride!r}")
    if size not in (None, "native") and not (_is_whole(size) and size >= LEAST_SIDE):
        raise UsageError(
            f"size {size}: expected a number of pixels from {LEAST_SIDE} up, or native"
        )
    if classes is None or isinstance(classes, str) or _is_whole(classes):
        return
    if not isinstance(classes, Sequence | np.ndarray) or not all(
        isinstance(item, str) or _is_whole(item) for item in classes
    ):
        raise UsageError(f"classes: expected names or ids, got {classes!r}")
    if len(classes) == 0:
        raise UsageError("classes: expected names or ids, got none; leave it out for the best")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def choose_classes(wanted: Classes | None, classes: Sequence[str]) -> list[int] | None:
    """The ids of the classes that are wanted by name or id, None where none are.

    Raises:
        UsageError: a name or an id that no class has, or more classes than a sheet shows.
    """
    check_settings(classes=wanted)
    if wanted is None:
        return None
    if isinstance(wanted, str):
        wanted = wanted.split(",")
    items = [wanted] if _is_whole(wanted) else list(cast(Sequence[str | int], wanted))
    if [str(item).strip().lower() for item in items] == ["all"]:
        if len(classes) > MOST_PANELS:
            raise UsageError(
                f"classes all: the network has {len(classes)} classes, one sheet shows up to "
                f"{MOST_PANELS}; name some, or leave it out for the best"
            )
        return list(range(len(classes)))
    ids = list(dict.fromkeys(i for item in items for i in _ids_of(item, classes)))
    if len(ids) > MOST_PANELS:
        some = ", ".join(classes[i] for i in ids[:4])
        raise UsageError(
            f"classes {','.join(map(str, items))}: {len(ids)} classes have this in their names "
            f"({some}, ...); expected up to {MOST_PANELS}; write more of the name"
        )
    return ids


def _ids_of(item: str | int, classes: Sequence[str]) -> list[int]:
    if isinstance(item, str):
        return find_classes(classes, [item], "classes")
    if not 0 <= item < len(classes):
        raise UsageError(f"classes: expected ids from 0 to {len(classes) - 1}, got {item}")
    return [int(item)]


def open_network(
    network: Network = LITE0,
    stride: int | None = None,
    size: int | str | None = None,
    device: str = "auto",
) -> Mapper:
    """A network ready to map photographs; the arguments are those of :func:`heatmap`."""
    check_settings(stride, size)
    if isinstance(network, (ClassifierMapper, SegmenterMapper)):
        _refuse(stride, size, "is open already")
        return network
    if isinstance(network, (str, os.PathLike)):
        return _opened(os.fspath(network), stride, size, device)
    if isinstance(network, OwnClassifier):
        info = network.info
        return ClassifierMapper(network.net, info.preprocessing, info.classes, stride, size, device)
    if isinstance(network, Predictor):
        _refuse(stride, size, "has its own")
        return SegmenterMapper(network)
    if hasattr(network, "info"):
        return open_network(Predictor(cast(Segmenter, network), device), stride, size)
    if not isinstance(network, nn.Module):
        raise UsageError(
            "network: expected a name, a checkpoint, a model or a classifier, got "
            f"{type(network).__name__}"
        )
    preprocessing = Preprocessing()
    traced = trace(network, (preprocessing.native_size,) * 2)
    features = trace_features(traced, (preprocessing.native_size,) * 2)
    count = list(features.values())[-1].shape[1]
    names = imagenet_classes() if count == 1000 else [f"class {i}" for i in range(count)]
    return ClassifierMapper(network, preprocessing, names, stride, size, device)


def _opened(name: str, stride: int | None, size: int | str | None, device: str) -> Mapper:
    """The network of a name or a file."""
    if name in segmenters():
        _refuse(stride, size, "has its own")
        return SegmenterMapper(Predictor(load_segmenter(name), device))
    if name.endswith(".safetensors") or Path(name).is_file():
        if kind_of(name) == "classifier":
            return open_network(load_classifier(name), stride, size, device)
        return open_network(load(name), stride, size, device)
    try:
        class_names(name)
    except UsageError as error:
        # The catalogue speaks of the flag.
        raise UsageError(str(error).replace("--backbone", "network", 1)) from None
    return open_classifier(name, "auto", stride, size, device)


def open_classifier(
    name: str,
    weights: str = "auto",
    stride: int | None = None,
    size: int | str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> ClassifierMapper:
    """A classifier of the catalogue, ready to map photographs.

    ``weights`` and ``progress`` are those of :func:`fcnseg.classifiers.build_classifier`, the
    others those of :func:`heatmap`. A stride that the network does not have is refused before
    anything is downloaded.
    """
    check_settings(stride, size)
    names, preprocessing = class_names(name), describe(name).preprocessing
    if stride is not None:
        with torch.device("meta"):
            ClassifierMapper(build_classifier(name), preprocessing, names, stride)
    classifier = build_classifier(name, weights, progress)
    return ClassifierMapper(classifier, preprocessing, names, stride, size, device)


def _refuse(stride: int | None, size: int | str | None, why: str) -> None:
    for setting, value in (("stride", stride), ("size", size)):
        if value is not None:
            raise UsageError(f"{setting}: the network {why}; leave it out")
