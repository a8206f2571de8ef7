"""Fully convolutional networks: classifiers in, heatmaps and segmentations out.

The public names are loaded when they are first used, so that ``import fcnseg`` and
``fcnseg --help`` do not wait for torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "FCN": "fcnseg.model",
    "Predictor": "fcnseg.inference.predictor",
    "build_fcn": "fcnseg.build",
    "heatmap": "fcnseg.heatmaps",
    "load": "fcnseg.build",
    "load_classifier": "fcnseg.build",
}
_ROOMS = ("backbones", "convolutionalize", "geometry", "heads", "losses", "metrics", "render")

__all__ = [*_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _ROOMS:
        return import_module(f"fcnseg.{name}")
    raise AttributeError(f"module 'fcnseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
