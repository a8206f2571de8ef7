"""Photographs named on the command line: found, read one after the other, faults passed over."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fcnseg.errors import DataError, EnvironmentFault, UsageError

_OWN = (".heatmap.png", ".overlay.jpg")  # pictures of ours are no photographs


def photographs(names: Sequence[str], equal_stems: bool = False) -> list[Path]:
    """Files as they are named, and the images of every folder that is named.

    In folders, what ``heatmap`` and ``predict`` wrote there is left out, but for masks: they are
    images like others.

    Args:
        names: files and folders.
        equal_stems: take two files of one stem, for commands that write nothing beside them.

    Raises:
        DataError: a name that does not exist, or a folder without images.
        UsageError: two files of one stem, whose results would have the same name.
    """
    from fcnseg.data.images import IMAGE_ENDINGS

    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = images_in(path)
            if not inside:
                raise DataError(f"{path}: no images in this folder ({', '.join(IMAGE_ENDINGS)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path}: no such file or folder")
    stems: dict[str, Path] = {}
    for path in [] if equal_stems else found:
        other = stems.setdefault(path.stem, path)
        if other != path:
            raise UsageError(f"{path} and {other}: their results would have one name; rename one")
    return found


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in order, without the pictures that we wrote there."""
    from fcnseg.data.images import IMAGE_ENDINGS

    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in IMAGE_ENDINGS and not p.name.endswith(_OWN)
    )


def check_scaled(path: Path, image: Any, side: int, flag: str | None) -> None:
    """Raise :class:`DataError` if an image becomes too large once its short side is ``side``.

    ``flag`` is the one that chooses the side, None if there is none.
    """
    from fcnseg.sizes import MOST_SCALED

    short, long = sorted(image.shape[:2])
    if side * side * long > MOST_SCALED * short:
        raise DataError(
            f"{path}: {image.shape[1]}x{image.shape[0]} px would be scaled to {side} by "
            f"{side * long // short}; crop it{f', or give a smaller {flag}' if flag else ''}"
        )


def whole_numbers(flag: str, text: str, expected: str, below: int) -> list[int]:
    """The numbers of a flag such as ``--scales 256,384``, from 1 up and under ``below``.

    Raises :class:`UsageError` that names the flag, what was ``expected`` and the first wrong word.
    """
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdigit() and 1 <= int(word) < below):
            raise UsageError(f"{flag} {text}: expected {expected}, got {word!r}")
    return [int(word) for word in words]


def add_max_pixels(parser: Any) -> None:
    """The setting of that name as a flag of commands that read photographs alone."""
    from dataclasses import fields

    from fcnseg.config import DataConfig

    (setting,) = (item for item in fields(DataConfig) if item.name == "max_pixels")
    text = f"{setting.metadata['help']} (default {setting.default})"
    parser.add_argument("--max-pixels", type=int, metavar="N", default=setting.default, help=text)


def output_folder(name: str, paths: Sequence[Path], endings: Sequence[str]) -> Path:
    """The folder for results, made if need be.

    Args:
        name: the folder.
        paths: the photographs.
        endings: what a result is called after the stem of its photograph.

    Raises:
        UsageError: a result would replace one of the photographs.
        EnvironmentFault: the folder cannot be made.
    """
    folder = Path(name)
    inputs = {path.resolve() for path in paths}
    for path in paths:
        for ending in endings:
            result = folder / f"{path.stem}{ending}"
            if result.resolve() in inputs:
                raise UsageError(
                    f"--out {name}: {result} is one of the photographs and would be replaced by a "
                    "result; choose another folder"
                )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"--out {name}: the folder cannot be made ({error.strerror}); choose another"
        ) from None
    return folder


def each_image(paths: Sequence[Path], work: Callable[[Path, Any], None], max_pixels: int) -> int:
    """Call ``work(path, image)`` for every file; bad files are reported and passed over.

    Returns:
        The exit code: 0, or 3 if a file was bad.
    """
    from fcnseg.data.images import read_image

    bad = 0
    for number, path in enumerate(paths, start=1):
        try:
            work(path, read_image(path, max_pixels))
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            bad += 1
            continue
        if len(paths) > 1:
            print(f"{number}/{len(paths)}  {path}", file=sys.stderr)
    if bad:
        print(f"{bad} of {len(paths)} images were passed over", file=sys.stderr)
    return 3 if bad else 0
