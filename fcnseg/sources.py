"""Which images: from settings to the sources of training, evaluation and the check."""

import re
from collections.abc import Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcnseg.config import DataConfig, validate
from fcnseg.data.sample import Colour, Source
from fcnseg.engine.events import Notice, Observer, silent
from fcnseg.errors import UsageError

_VAL_FRACTION = 0.1


def build_sources(config: DataConfig) -> tuple[Source, Source]:
    """The training and the validation images."""
    if config.data == "folder":
        return _folder_sources(config)
    return _source(config, "train"), _source(config, "val")


def build_evaluation_source(
    config: DataConfig,
    trained: Mapping[str, Any] | None = None,
    given: Container[str] = ("val_fraction", "seed"),
    observer: Observer = silent,
) -> Source:
    """The validation images.

    Of the folders that a network was trained on these are the pairs that training held out; of
    other folders, unless ``config`` names a validation part, every pair. The observer is told
    which.

    Args:
        config: which data.
        trained: the settings of the training, as :func:`~fcnseg.engine.checkpoint.read_config`
            has them; None if there was none.
        given: names of the settings of ``config`` that were chosen; the part held out is a
            function of ``val_fraction`` and ``seed``, and those not chosen are training's.
        observer: told what is scored.
    """
    if config.data != "folder":
        return _source(config, "val")
    if config.val_images:
        return _folder_sources(config)[1]
    if trained is not None and _same_folders(config, trained):
        return _held_out(config, trained, given, observer)
    if config.val_fraction is not None:
        return _folder_sources(config)[1]
    source = _folder(config, config.images, config.masks, "folder")
    observer(Notice(f"scoring all {len(source)} pairs"))
    return source


def build_check_sources(config: DataConfig) -> tuple[Source, ...]:
    """Every part of the data set: (training, validation), or all pairs of a folder at once."""
    if config.data == "folder" and not config.val_images:
        return (_folder(config, config.images, config.masks, "folder"),)
    return build_sources(config)


def read_classes(text: str) -> tuple[tuple[str, ...], tuple[Colour, ...] | None]:
    """Class names from ``a,b,c``, or names and perhaps colours from a file.

    A file has one name on each line, or on every line a name and its colour in RGB masks:
    ``road 128 64 128``. Raises :class:`UsageError` if only some lines have a colour.
    """
    path = Path(text)
    if not path.is_file():
        if "," not in text:
            raise UsageError(f"--classes {text}: no such file, and not a list a,b,c")
        return tuple(name.strip() for name in text.split(",")), None
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    found = [re.fullmatch(r"(.*\S)\s+(\d+)[\s,]+(\d+)[\s,]+(\d+)", line) for line in lines]
    coloured = [match for match in found if match]
    if not coloured:
        return tuple(lines), None
    if len(coloured) < len(lines):
        raise UsageError(f"{path}: some lines have a colour and some have none; give all or none")
    names = tuple(match[1] for match in coloured)
    return names, tuple((int(m[2]), int(m[3]), int(m[4])) for m in coloured)


def _source(config: DataConfig, split: str) -> Source:
    if config.data == "camvid":
        from fcnseg.data.camvid import CamVid

        return CamVid(config.data_root, split, config.max_pixels)
    if config.data == "shapes":
        from fcnseg.data.shapes import Shapes

        length = config.train_length if split == "train" else config.val_length
        return Shapes(split, length, config.image_size, config.seed)
    from fcnseg.data.voc import Voc

    return Voc(config.data_root, split, max_pixels=config.max_pixels)


def _folder_sources(config: DataConfig) -> tuple[Source, Source]:
    from fcnseg.data.subset import split

    everything = _folder(config, config.images, config.masks, "folder")
    if config.val_images:
        return everything, _folder(config, config.val_images, config.val_masks, "folder/val")
    return split(everything, config.val_fraction or _VAL_FRACTION, config.seed)


def _same_folders(config: DataConfig, trained: Mapping[str, Any]) -> bool:
    """Whether the images to be scored are those that training chose its own from."""
    pairs = [(getattr(config, name), trained.get(name)) for name in ("images", "masks")]
    return all(a and b and Path(a).resolve() == Path(b).resolve() for a, b in pairs)


def _held_out(
    config: DataConfig, trained: Mapping[str, Any], given: Container[str], observer: Observer
) -> Source:
    """The pairs that training held out, or, with a warning, those that ``given`` asks for."""
    own_part = trained.get("val_images") is not None
    held_out = replace(
        config,
        val_images=trained.get("val_images"),
        val_masks=trained.get("val_masks"),
        val_fraction=None if own_part else trained.get("val_fraction") or _VAL_FRACTION,
        seed=trained["seed"],
    )
    chosen = {n: getattr(config, n) for n in ("val_fraction", "seed") if n in given}
    if own_part and "val_fraction" not in chosen:
        chosen = {}  # the seed has no part in it
    if any(getattr(held_out, name) != value for name, value in chosen.items()):
        part = replace(held_out, val_images=None, val_masks=None, **chosen)
        source = _folder_sources(part)[1]
        text = f"training held out other pairs: among the {len(source)} scored are training images"
        observer(Notice(f"{text}; leave out --val-fraction and --seed", warning=True))
        return source
    rest, source = _folder_sources(held_out)
    now, then = len(rest) + len(source), trained.get("pairs")
    if not own_part and then not in (None, now):
        text = f"the folders hold {now} pairs, and {then} when training held some out: among the "
        text += f"{len(source)} scored are training images; keep new pairs in folders of their own"
        observer(Notice(text, warning=True))
        return source
    pairs = "1 pair" if len(source) == 1 else f"{len(source)} pairs"
    observer(Notice(f"scoring the {pairs} that training held out"))
    return source


def _folder(config: DataConfig, images: str | None, masks: str | None, name: str) -> Source:
    from fcnseg.data.folder import FolderPairs

    validate(config)
    assert images is not None
    assert masks is not None
    assert config.classes is not None
    classes, palette = read_classes(config.classes)
    return FolderPairs(
        images,
        masks,
        classes,
        config.mask_encoding,
        palette=palette,
        max_pixels=config.max_pixels,
        name=name,
    )
