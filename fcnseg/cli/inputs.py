"""Photographs named on the command line: found, read one after the other, faults passed over."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fcnseg.errors import DataError, UsageError


def photographs(names: Sequence[str]) -> list[Path]:
    """Files as they are named, and the images of every folder that is named.

    Raises:
        DataError: a name that does not exist, or a folder without images.
        UsageError: two files of one stem, whose results would have the same name.
    """
    from fcnseg.data.images import IMAGE_ENDINGS

    found: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_ENDINGS)
            if not inside:
                raise DataError(f"{path}: no images in this folder ({', '.join(IMAGE_ENDINGS)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path}: no such file or folder")
    stems: dict[str, Path] = {}
    for path in found:
        other = stems.setdefault(path.stem, path)
        if other != path:
            raise UsageError(f"{path} and {other}: their results would have one name; rename one")
    return found


def output_folder(name: str) -> Path:
    """The folder, made if need be.

    Raises:
        OSError: it cannot be made.
    """
    folder = Path(name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def each_image(paths: Sequence[Path], work: Callable[[Path, Any], None]) -> int:
    """Call ``work(path, image)`` for every file; bad files are reported and passed over.

    Returns:
        The exit code: 0, or 3 if a file was bad.
    """
    from fcnseg.data.images import read_image

    bad = 0
    for number, path in enumerate(paths, start=1):
        try:
            image = read_image(path)
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            bad += 1
            continue
        work(path, image)
        if len(paths) > 1:
            print(f"{number}/{len(paths)}  {path}", file=sys.stderr)
    if bad:
        print(f"{bad} of {len(paths)} images could not be read", file=sys.stderr)
    return 3 if bad else 0
