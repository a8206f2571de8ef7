"""Photographs by what is typed: files, folders, patterns, lists, and paths on standard input."""

import codecs
import fnmatch
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fcnseg.errors import DataError

_OWN = (".heatmap.png", ".heatmap.jpg", ".overlay.jpg")  # pictures of ours are no photographs


@dataclass(frozen=True)
class Photograph:
    """A photograph, and what its results are called.

    Attributes:
        path: the file.
        name: where it lies below what was named, with ``/``, such as ``sub/a.jpg``.
    """

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without its ending, ``sub/a``: that of its results below their folder."""
        return str(PurePosixPath(self.name).with_suffix(""))

    def __str__(self) -> str:
        return str(self.path)


def find(names: Sequence[str], deep: bool = True, out: str | None = None) -> list[Photograph]:
    """The photographs that are named, each once, in order.

    A name is a file; a folder, with all that are below it; a pattern such as
    ``photos/**/*.jpg``, for shells that leave it to the program; ``@list.txt``, a file of paths, a
    line each; or ``-``, for such lines on standard input. A file or folder that is really called
    so comes first.

    Of folders and patterns, files with the endings of images are taken. Hidden files and folders,
    linked folders, and what ``heatmap`` and ``predict`` wrote are left out: heatmaps, overlays,
    masks that lie beside their overlay, and all of the folder ``out`` where it is one inside. A
    part of a pattern that begins with a dot matches hidden folders.

    Results mirror the folder that was named, or the part of a pattern before the first ``*``, ``?``
    or ``[``; those of a list mirror the folder that all of its files have in common. Lines are
    files whether they are there or not: reading will tell.

    Args:
        names: see above.
        deep: look into the folders of folders.
        out: where results will be written.

    Raises:
        DataError: a name that does not exist, a folder or a pattern without images, or a list
            that cannot be read or is empty.
    """
    skipped = None if out is None else os.path.realpath(out)
    found: dict[Path, Photograph] = {}
    for name in names:
        for photograph in _named(name, deep, skipped):
            found.setdefault(photograph.path, photograph)
    return list(found.values())


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, not of its folders, without the pictures that we wrote there."""
    return [photograph.path for photograph in _below(folder, deep=False, skipped=None)]


def _named(name: str, deep: bool, skipped: str | None) -> list[Photograph]:
    from fcnseg.data.images import IMAGE_ENDINGS

    path = Path(name)
    if os.path.isdir(path):
        inside = list(_below(path, deep, skipped))
        if not inside:
            raise DataError(f"{path}: no images in this folder ({', '.join(IMAGE_ENDINGS)})")
        return inside
    if os.path.isfile(path):
        return [Photograph(path, path.name)]
    if name == "-":
        data = sys.stdin.buffer.read()
        return _listed("standard input (-)", data, deep, skipped)
    if name.startswith("@"):
        return _listed(name[1:], _content(name), deep, skipped)
    if glob.has_magic(name):
        return _matching(name, skipped)
    raise DataError(f"{path}: no such file or folder")


def _below(folder: Path, deep: bool, skipped: str | None) -> Iterator[Photograph]:
    """The images of a folder: its own in order, then those of each of its folders."""

    for place, folders, files in os.walk(folder, onerror=_refused):
        folders[:] = _entered(place, folders, skipped) if deep else []
        there = set(files)
        for name in sorted(files):
            if _is_photograph(name, there):
                path = Path(place, name)
                yield Photograph(path, path.relative_to(folder).as_posix())


def _refused(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed ({error.strerror}); check the folder")


def _entered(
    place: str, folders: Sequence[str], skipped: str | None, hidden: bool = False
) -> list[str]:
    """The folders of ``place`` to look into, in order."""
    inside = [name for name in sorted(folders) if hidden or not name.startswith(".")]
    paths = {name: os.path.join(place, name) for name in inside}
    return [
        name
        for name, path in paths.items()
        if not os.path.islink(path) and (skipped is None or os.path.realpath(path) != skipped)
    ]


def _is_photograph(name: str, beside: set[str]) -> bool:
    from fcnseg.data.images import IMAGE_ENDINGS

    stem, ending = os.path.splitext(name)
    if ending.lower() not in IMAGE_ENDINGS or name.startswith(".") or name.endswith(_OWN):
        return False
    return not (ending == ".png" and f"{stem}.overlay.jpg" in beside)


def _matching(pattern: str, skipped: str | None) -> list[Photograph]:
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    root = Path(*parts[:fixed])
    matches = _matches(root, parts[fixed:], skipped) if os.path.isdir(root) else ()
    paths = sorted(set(matches), key=str)
    if not paths:
        raise DataError(f"{pattern}: no such file or folder, and no image matches it as a pattern")
    return [Photograph(path, path.relative_to(root).as_posix()) for path in paths]


def _matches(folder: Path, parts: Sequence[str], skipped: str | None) -> Iterator[Path]:
    """The images below a folder whose parts of a path match those of a pattern."""
    part, rest = parts[0], parts[1:]
    place, folders, files = next(os.walk(folder, onerror=_refused), ("", [], []))
    if part == "**":
        yield from _matches(folder, rest or ("*",), skipped)
        for name in _entered(place, folders, skipped):
            yield from _matches(folder / name, parts, skipped)
    elif rest:
        for name in _entered(place, folders, skipped, hidden=part.startswith(".")):
            if fnmatch.fnmatch(name, part):
                yield from _matches(folder / name, rest, skipped)
    else:
        there = set(files)
        for name in files:
            if fnmatch.fnmatch(name, part) and _is_photograph(name, there):
                yield folder / name


def _content(name: str) -> bytes:
    try:
        return Path(name[1:]).read_bytes()
    except OSError as error:
        raise DataError(
            f"{name}: the list {name[1:]} cannot be read ({error.strerror}); expected a text file "
            "with a path a line"
        ) from None


def _listed(what: str, data: bytes, deep: bool, skipped: str | None) -> list[Photograph]:
    """The photographs of a list, and of the folders in it."""
    try:
        text = os.fsdecode(data.removeprefix(codecs.BOM_UTF8))
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{what}: is no text; expected a path a line")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    found: list[Path] = []
    for line in lines:
        if not line.strip():
            continue
        if os.path.isdir(line):
            found += [photograph.path for photograph in _below(Path(line), deep, skipped)]
        else:
            found.append(Path(line))
    if not found:
        raise DataError(f"{what}: names no photographs; expected a path a line")
    whole = [os.path.abspath(path) for path in found]
    try:
        common = os.path.commonpath([os.path.dirname(path) for path in whole])
    except ValueError:  # several drives of Windows
        return [Photograph(path, path.name) for path in found]
    names = [Path(os.path.relpath(path, common)).as_posix() for path in whole]
    return [Photograph(path, name) for path, name in zip(found, names, strict=True)]
