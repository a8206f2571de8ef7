"""Which images: from settings to the sources of training, evaluation and the check."""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcnseg.class_list import is_file, read_classes, read_void
from fcnseg.config import DataConfig, is_split_by_us, validate
from fcnseg.data.faults import first_names
from fcnseg.data.pairs import ImagePairs
from fcnseg.data.sample import Source, classes_fault
from fcnseg.data.subset import Subset, split
from fcnseg.engine.events import Downloading, Notice, Observer, silent
from fcnseg.errors import DataError, UsageError

_VAL_FRACTION = 0.1

Part = tuple[str, Callable[[], Source]]
"""The name of a part of a data set, and what opens it."""


def build_sources(config: DataConfig, observer: Observer = silent) -> tuple[Source, Source]:
    """The training and the validation images; the observer is told of downloads.

    Raises:
        DataError: data that are missing, or whose layout is faulty; a training list and a
            validation list that overlap or whose classes differ.
    """
    fetch(config, observer)
    if is_split_by_us(config):
        fraction = config.val_fraction or _VAL_FRACTION
        return split(_open(config, "train"), fraction, config.seed)
    training, validation = _open(config, "train"), _open(config, "val")
    _refuse_other_classes(training, validation)
    _refuse_overlap(config, training, validation)
    return training, validation


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
    fetch(config, observer)
    if not is_split_by_us(config):
        return _open(config, "val")
    if trained is not None and _same_data(config, trained):
        return _held_out(config, trained, given, observer)
    if config.val_fraction is not None:
        return build_sources(config)[1]
    source = _open(config, "train")
    observer(Notice(f"scoring all {len(source)} pairs"))
    return source


def build_check_sources(config: DataConfig, observer: Observer = silent) -> list[Part]:
    """Every part of the data set: training and validation, or all pairs of a folder at once.

    A part is opened when it is called for, and keeps the faults of its layout to be listed. Raises
    :class:`DataError` for a download that fails.
    """
    fetch(config, observer)
    names = ("train",) if is_split_by_us(config) else ("train", "val")
    return [(name, _Opener(config, name)) for name in names]


class _Opener:
    def __init__(self, config: DataConfig, part: str) -> None:
        self._config, self._part = config, part

    def __call__(self) -> Source:
        return _open(self._config, self._part, strict=False)


def fetch(config: DataConfig, observer: Observer = silent) -> None:
    """Download the data set into its folder if the settings ask for it; else do nothing.

    Raises :class:`DataError` where it cannot be had, :class:`UsageError` without a folder.
    """
    if not config.download:
        return
    if config.data_root is None:
        raise UsageError("--download: needs a folder to put the data into; give --data-root")
    from fcnseg.data.voc_download import fetch_sbd, fetch_voc

    root = Path(config.data_root)

    def progress(doing: str, done: int, total: int | None) -> None:
        observer(Downloading(done, total, "data", doing))

    observer(Notice(fetch_voc(root, progress=progress)))
    if config.data == "voc-aug":
        observer(Notice(fetch_sbd(root, progress=progress)))


def _open(config: DataConfig, part: str, strict: bool = True) -> Source:
    """The ``part`` "train" or "val"; what we split ourselves is whole in "train"."""
    validate(config)
    how: dict[str, Any] = {"max_pixels": config.max_pixels, "strict": strict}
    split = (config.train_split if part == "train" else config.val_split) or part
    match config.data:
        case "folder":
            return _open_folder(config, part, how)
        case "coco":
            return _open_coco(config, part, how)
        case "shapes":
            from fcnseg.data.shapes import Shapes

            length = config.train_length if part == "train" else config.val_length
            return Shapes(part, length, config.image_size, config.seed)
        case "camvid":
            from fcnseg.data.camvid import camvid

            return camvid(config.data_root, split, **how)
        case "camvid32":
            from fcnseg.data.camvid import camvid32

            return camvid32(config.data_root, split, **how)
        case "voc":
            from fcnseg.data.voc import voc

            return voc(config.data_root, split, **how)
        case "voc-aug":
            from fcnseg.data.voc_aug import voc_aug

            return voc_aug(config.data_root, split, **how)
    from fcnseg.data.own_format import open_own_format

    return open_own_format(config.data, config.data_root, split)


def _open_folder(config: DataConfig, part: str, how: dict[str, Any]) -> Source:
    from fcnseg.data.folder import folder

    images, masks, name = config.images, config.masks, "folder"
    if part == "val":
        images, masks, name = config.val_images, config.val_masks, "folder/val"
    assert images is not None
    assert masks is not None
    if config.classes is None:
        raise UsageError(
            f"--classes: missing; `fcnseg check --images {images} --masks {masks}` looks at the "
            "masks and proposes them"
        )
    classes, palette = read_classes(config.classes)
    how |= {"palette": palette, "suffix": config.mask_suffix, "name": name}
    how["void"] = read_void(config.mask_void)
    return folder(images, masks, classes, config.mask_encoding, **how)


def _open_coco(config: DataConfig, part: str, how: dict[str, Any]) -> Source:
    from fcnseg.data.coco import VOC_NAMES, coco, coco_split

    classes = None
    if config.classes == "voc":
        classes = tuple(VOC_NAMES)
    elif config.classes is not None and config.classes != "all":
        one = "," not in config.classes and not is_file(config.classes)
        classes = (config.classes,) if one else read_classes(config.classes)[0]
    if config.annotations is None:
        split = config.train_split if part == "train" else config.val_split
        return coco_split(config.data_root, split or part, classes, **how)
    annotations, images, name = config.annotations, config.images, "coco"
    if part == "val":
        if classes is None:  # ids are given out in the order of the categories of one file
            classes = _open_coco(config, "train", how).classes
        annotations, name = config.val_annotations or "", "coco/val"
        images = config.val_images or config.images
    assert images is not None
    return coco(Path(annotations), Path(images), classes, name=name, **how)


def scaled(source: Source, short_side: int | None) -> Source:
    """The same samples with their short side scaled to ``short_side`` pixels, if not None.

    Raises :class:`UsageError` for samples that are not files.
    """
    if short_side is None:
        return source
    if not isinstance(source, (ImagePairs, Subset)):
        raise UsageError(f"--short-side: {source.name} has no files that could be scaled")
    return source.scaled(short_side)


def _refuse_other_classes(training: Source, validation: Source) -> None:
    """Raise :class:`DataError` unless a class id means the same in both."""
    fault = classes_fault(training, validation)
    if fault:
        raise DataError(f"{validation.name}: {fault}")


def _refuse_overlap(config: DataConfig, training: Source, validation: Source) -> None:
    """Raise :class:`DataError` if an image is in both lists; generated ones never are."""
    if not isinstance(training, ImagePairs) or not isinstance(validation, ImagePairs):
        return
    # The same photograph of VOC may lie in VOC's folder and in SBD's.
    by_id = config.data in ("voc", "voc-aug")

    def keys(source: ImagePairs) -> dict[Any, str]:
        indices = range(len(source))
        return {
            source.id(i) if by_id else source.files(i)[0].resolve(): source.id(i) for i in indices
        }

    mine, theirs = keys(training), keys(validation)
    shared = sorted(theirs[key] for key in mine.keys() & theirs.keys())
    if shared:
        raise DataError(
            f"{validation.name}: {len(shared)} of its {len(validation)} images are in "
            f"{training.name} too: {first_names(shared)}; scores on them would mean nothing; "
            "choose another --train-split or --val-split"
        )


def _same_data(config: DataConfig, trained: Mapping[str, Any]) -> bool:
    """Whether the images to be scored are those that training chose its own from."""
    names = ("images", "annotations" if config.data == "coco" else "masks")
    pairs = [(getattr(config, name), trained.get(name)) for name in names]
    return all(a and b and Path(a).resolve() == Path(b).resolve() for a, b in pairs)


def _held_out(
    config: DataConfig, trained: Mapping[str, Any], given: Container[str], observer: Observer
) -> Source:
    """The pairs that training held out, or, with a warning, those that ``given`` asks for."""
    parts = {n: trained.get(n) for n in ("val_images", "val_masks", "val_annotations")}
    own_part = any(value is not None for value in parts.values())
    fraction = None if own_part else trained.get("val_fraction") or _VAL_FRACTION
    as_then: dict[str, Any] = {**parts, "val_fraction": fraction, "seed": trained["seed"]}
    held_out = replace(config, **as_then)
    chosen = {n: getattr(config, n) for n in ("val_fraction", "seed") if n in given}
    if own_part and "val_fraction" not in chosen:
        chosen = {}  # the seed has no part in it
    if any(getattr(held_out, name) != value for name, value in chosen.items()):
        nothing: dict[str, Any] = dict.fromkeys(parts)
        part = replace(held_out, **nothing, **chosen)
        source = build_sources(part)[1]
        text = f"training held out other pairs: among the {len(source)} scored are training images"
        observer(Notice(f"{text}; leave out --val-fraction and --seed", warning=True))
        return source
    rest, source = build_sources(held_out)
    now, then = len(rest) + len(source), trained.get("pairs")
    if not own_part and then not in (None, now):
        text = f"the folders hold {now} pairs, and {then} when training held some out: among the "
        text += f"{len(source)} scored are training images; keep new pairs in folders of their own"
        observer(Notice(text, warning=True))
        return source
    pairs = "1 pair" if len(source) == 1 else f"{len(source)} pairs"
    observer(Notice(f"scoring the {pairs} that training held out"))
    return source
