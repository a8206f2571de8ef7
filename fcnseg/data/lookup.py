"""Image files below a folder, found by names that another program wrote on another machine."""

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fcnseg.data.faults import first_names


@dataclass(frozen=True)
class Folder:
    """The files below a folder, links to folders followed.

    Attributes:
        root: the folder.
        files: by path below it, with "/" between the parts.
        links_out: of those that are links out of the folder, or lie in one, where they lead.
    """

    root: Path
    files: Mapping[str, Path]
    links_out: Mapping[str, Path] = field(default_factory=dict)


class Found(NamedTuple):
    """What :func:`find` found.

    Attributes:
        key: the key in ``Folder.files``, None if there is no such file.
        left_out: the folders of the name that are not part of ``key``, "" for none.
        fault: why the file may not be used.
    """

    key: str | None = None
    left_out: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Matches:
    """Which file each image is.

    Attributes:
        keys: image -> key in ``Folder.files``; no two images have the same.
        missing: the names that are not there.
        faults: why the other images are left out.
        notes: how names were found that are not there as they are written.
    """

    keys: dict[str, str]
    missing: list[str]
    faults: list[str]
    notes: list[str]


def list_folder(root: Path) -> Folder:
    """List every file below ``root``."""
    real_root = root.resolve()
    files: dict[str, Path] = {}
    links_out: dict[str, Path] = {}
    seen = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = Path(place).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        outside = not real.is_relative_to(real_root)
        below = Path(place).relative_to(root).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in names:
            key, path = _spelled(prefix + name), Path(place, name)
            files[key] = path
            if outside or path.is_symlink():
                target = path.resolve()
                if not target.is_relative_to(real_root):
                    links_out[key] = target
    return Folder(root, files, links_out)


def find(folder: Folder, name: str) -> Found:
    """Find the file that ``name`` means.

    Backslashes are separators. A name that is not there as it is, such as the path of the file
    on another machine, is looked for by its end: the longest end that is there counts.
    """
    parts: list[str] = []
    written = _spelled(name).replace("\\", "/")
    for part in written.split("/"):
        if part == ".." and not parts:
            return Found(fault=_refused(folder, name))
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    for start in range(len(parts)):
        key = "/".join(parts[start:])
        if key in folder.files:
            if key in folder.links_out:
                return Found(
                    fault=f"{key!r} is a link out of {folder.root}, to {folder.links_out[key]}; "
                    "put the file itself there, or give the folder that holds it"
                )
            if not start:
                return Found(key)
            absolute = "/" if written.startswith("/") else ""
            return Found(key, f"{absolute}{'/'.join(parts[:start])}/")
    return Found()


def match(folder: Folder, names: Mapping[str, str]) -> Matches:
    """Find the files of all images; ``names``: image -> its name as written.

    Names whose beginnings differ may mean files of different folders. Once two of them would be
    one file, no name is found by its end any more.
    """
    by_key: dict[str, list[str]] = {}
    left_out: dict[str, str] = {}
    missing, faults = [], []
    for image, name in names.items():
        found = find(folder, name)
        if found.key is not None:
            by_key.setdefault(found.key, []).append(image)
            left_out[image] = found.left_out
        elif found.fault:
            faults.append(f"image {image}: {found.fault}")
        else:
            missing.append(name)
    keys = {}
    rivals: tuple[str, str, str] | None = None
    for key, (first, *others) in by_key.items():
        if not others:
            keys[first] = key
        for other in others:
            if left_out[other] != left_out[first]:
                rivals = rivals or (first, other, key)
            else:
                faults.append(
                    f"images {first} and {other} are both {key!r}; keep one entry, with the "
                    "annotations of both"
                )
    if rivals:
        first, other, key = rivals
        faults.append(
            f"images {first} and {other} ({names[first]!r} and {names[other]!r}) would both be "
            f"{key!r} of {folder.root}; give the folder that file_name starts from, or keep one "
            f"entry of each image ({_count(left_out)} found by the end and refused)"
        )
        keys = {image: key for image, key in keys.items() if not left_out[image]}
    return Matches(keys, missing, faults, _notes({i: left_out[i] for i in keys}))


def _notes(left_out: Mapping[str, str]) -> list[str]:
    beginnings = list(dict.fromkeys(repr(text) for text in left_out.values() if text))
    if not beginnings:
        return []
    one = sum(map(bool, left_out.values())) == 1
    verb = "was" if len(beginnings) == 1 else "were"
    return [
        f"{_count(left_out)} found by {'its' if one else 'their'} end: "
        f"{first_names(beginnings)} {verb} left out"
    ]


def _count(left_out: Mapping[str, str]) -> str:
    count = sum(map(bool, left_out.values()))
    return "1 file name was" if count == 1 else f"{count} file names were"


def missing_files(folder: Folder, listed_in: Path, missing: list[str], total: int) -> str:
    """Return the message for files that are listed and not there."""
    one = len(missing) == 1 < total
    count = "an image" if one else f"{len(missing)} of {total} images"
    return (
        f"{folder.root}: {count} listed in {listed_in} {'is' if one else 'are'} missing: "
        f"{first_names([repr(name)[1:-1] for name in missing])}{_likely(folder, missing)}; "
        "add the files, or give the folder that file_name starts from"
    )


def sample_ids(keys: list[str]) -> list[str]:
    """Return names for samples, no two the same.

    A name is the path without its ending, with it where two would be equal; where one with its
    ending equals one without (``a.jpg``, ``a.png``, ``a.jpg.jpg``), all are the paths themselves.
    """
    short = [PurePosixPath(key).with_suffix("").as_posix() for key in keys]
    counts: dict[str, int] = {}
    for name in short:
        counts[name] = counts.get(name, 0) + 1
    names = [name if counts[name] == 1 else key for name, key in zip(short, keys, strict=True)]
    return names if len(set(names)) == len(names) else list(keys)


def _refused(folder: Folder, name: str) -> str:
    end = _spelled(name).replace("\\", "/").rsplit("/", 1)[-1]
    hint = f", as {end!r} of {folder.root} is" if end in folder.files else ""
    return (
        f"file_name {name!r} leads out of the folder of images and is refused; "
        f"write it as a path below that folder{hint}"
    )


def _spelled(name: str) -> str:
    """Return the one spelling of accents, of which a Mac and other systems use different ones."""
    return unicodedata.normalize("NFC", name)


def _likely(folder: Folder, missing: list[str]) -> str:
    """Return a hint for the first missing name that has a likely file, or ""."""
    names = {key.rsplit("/", 1)[-1].lower(): key for key in sorted(folder.files, reverse=True)}
    stems = {name.rsplit(".", 1)[0]: key for name, key in names.items()}
    for name in missing:
        wanted = _spelled(name).replace("\\", "/").rsplit("/", 1)[-1]
        key = names.get(wanted.lower()) or stems.get(wanted.lower().rsplit(".", 1)[0])
        if key is None:
            continue
        if key.endswith(f"/{wanted}"):
            deeper = folder.root / key.removesuffix(wanted)
            return f" ({wanted} is in {deeper}: give that folder as --images?)"
        return f" ({key} is there: is it the same picture?)"
    return ""
