"""Image files below a folder, found by names that another program wrote on another machine."""

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

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


def find(folder: Folder, name: str) -> tuple[str | None, str]:
    """Find the file that ``name`` means.

    Backslashes are separators. A name that is not there as it is, such as the path of the file
    on another machine, is looked for by its end: the longest end that is there counts.

    Returns:
        The key in ``folder.files`` and "", or None and the fault: "" if there is no such file,
        else a message.
    """
    parts: list[str] = []
    for part in _spelled(name).replace("\\", "/").split("/"):
        if part == ".." and not parts:
            return None, _refused(folder, name)
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    for start in range(len(parts)):
        key = "/".join(parts[start:])
        if key in folder.files:
            if key in folder.links_out:
                return None, (
                    f"{key!r} is a link out of {folder.root}, to {folder.links_out[key]}; "
                    "put the file itself there, or give the folder that holds it"
                )
            return key, ""
    return None, ""


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
    """Return names for samples: the path without its ending, with it where two would be equal."""
    short = [PurePosixPath(key).with_suffix("").as_posix() for key in keys]
    counts: dict[str, int] = {}
    for name in short:
        counts[name] = counts.get(name, 0) + 1
    return [name if counts[name] == 1 else key for name, key in zip(short, keys, strict=True)]


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
