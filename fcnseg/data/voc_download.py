"""Downloads of PASCAL VOC and of SBD, unpacked into the folder where the readers look.

The addresses are the publishers' own, all https; the hashes are those that torchvision published
for these archives. Archives stay in the cache of downloads, from which they may be removed. No
folder that is there already is ever changed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fcnseg.archives import put_in_place, staging, unpack
from fcnseg.data.voc import WAYS_OUT, find_folders, lacking
from fcnseg.data.voc_aug import find_sbd
from fcnseg.download import fetch
from fcnseg.errors import DataError, UsageError

Progress = Callable[[str, int, int | None], None]
"""Called with ("downloading" or "unpacking", bytes done, bytes in all or None)."""

_DEFAULT_YEAR = 2012
_OTHERWISE = "unpack a copy of your own and point --data-root at it"


@dataclass(frozen=True)
class Archive:
    """An archive as its publisher keeps it."""

    url: str
    sha256: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.url).name


_OXFORD = "https://thor.robots.ox.ac.uk/pascal/VOC"
VOC_ARCHIVES = {
    2007: (
        Archive(
            f"{_OXFORD}/voc2007/VOCtrainval_06-Nov-2007.tar",
            "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
        ),
        Archive(
            f"{_OXFORD}/voc2007/VOCtest_06-Nov-2007.tar",
            "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
        ),
    ),
    2008: (
        Archive(
            f"{_OXFORD}/voc2008/VOCtrainval_14-Jul-2008.tar",
            "7f0ca53c1b5a838fbe946965fc106c6e86832183240af5c88e3f6c306318d42e",
        ),
    ),
    2009: (
        Archive(
            f"{_OXFORD}/voc2009/VOCtrainval_11-May-2009.tar",
            "11cbe1741fb5bdadbbca3c08e9ec62cd95c14884845527d50847bc2cf57e7fd6",
        ),
    ),
    2010: (
        Archive(
            f"{_OXFORD}/voc2010/VOCtrainval_03-May-2010.tar",
            "1af4189cbe44323ab212bff7afbc7d0f55a267cc191eb3aac911037887e5c7d4",
        ),
    ),
    2011: (
        Archive(
            f"{_OXFORD}/voc2011/VOCtrainval_25-May-2011.tar",
            "0a7f5f5d154f7290ec65ec3f78b72ef72c6d93ff6d79acd40dc222a9ee5248ba",
        ),
    ),
    2012: (
        Archive(
            f"{_OXFORD}/voc2012/VOCtrainval_11-May-2012.tar",
            "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        ),
    ),
}
"""The archives with masks, by year. The test masks of 2008 to 2012 are not public."""

SBD_ARCHIVE = Archive(
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/"
    "benchmark.tgz",
    "6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
)


def fetch_voc(root: Path, year: int | None = None, *, progress: Progress | None = None) -> str:
    """Put VOC into ``root/VOCdevkit/VOC<year>``, unless it is there, and say what was done.

    A root that is called ``VOC2007`` or the like is the folder itself, and says the year; a root
    that is called ``VOCdevkit`` is the folder above it. Otherwise the year is 2012, or any that
    is there. An interrupted download or unpacking leaves ``root`` as it was.

    Args:
        root: where; it need not exist.
        year: 2007 to 2012.
        progress: told of every piece.

    Raises:
        UsageError: no such year.
        DataError: an archive cannot be had or is damaged, or a part of VOC is in the way; the
            message says where to put the archive by hand.
        EnvironmentFault: the disk refuses.
    """
    named = re.fullmatch(r"VOC(\d{4})", root.resolve().name)
    if year is None and named:
        year = int(named[1])
    there = find_folders(root, year) if root.is_dir() else []
    for folder in there:
        missing = lacking(folder)
        if missing:
            raise DataError(
                f"{folder}: is there, but without {' and '.join(missing)}; add them, or move the "
                "folder away to have the whole downloaded"
            )
    if there:
        return f"{there[0]}: is there already, nothing is downloaded"
    year = _DEFAULT_YEAR if year is None else year
    if year not in VOC_ARCHIVES:
        raise UsageError(f"VOC {year}: expected a year from 2007 to 2012; {WAYS_OUT}")
    target = root / f"VOCdevkit/VOC{year}"
    if named:
        target = root
    elif root.resolve().name == "VOCdevkit":
        target = root / f"VOC{year}"
    return _install(VOC_ARCHIVES[year], f"VOC{year}", target, progress)


def fetch_sbd(root: Path, *, progress: Progress | None = None) -> str:
    """Put SBD into ``root/benchmark_RELEASE``, unless it is there, and say what was done.

    Arguments and errors as :func:`fetch_voc`.
    """
    try:
        return f"{find_sbd(root)}: is there already, nothing is downloaded"
    except DataError:
        return _install((SBD_ARCHIVE,), "benchmark_RELEASE", root / "benchmark_RELEASE", progress)


def _install(
    archives: Sequence[Archive], name: str, target: Path, progress: Progress | None
) -> str:
    """Make ``target`` the folder ``name`` that the archives hold together."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(
            f"{target}: is in the way: it holds something else than was looked for; move it away "
            "to have the whole downloaded"
        )

    def tell(doing: str) -> Callable[[int, int | None], None]:
        return lambda done, total: progress and progress(doing, done, total)

    files = [
        fetch(a.url, a.sha256, fault=DataError, otherwise=_OTHERWISE, progress=tell("downloading"))
        for a in archives
    ]
    with staging(target.parent) as temporary:
        for file in files:
            unpack(file, temporary, progress=tell("unpacking"))
        found = sorted(place for place in temporary.rglob(name) if place.is_dir())
        if not found:
            raise DataError(f"{files[0]}: holds no folder {name}; get the archive again")
        put_in_place(found[0], target)
    names = " and ".join(str(file) for file in files)
    return f"{target}: downloaded and unpacked; {names} may be removed"
