"""The same image file in training and validation, found without decoding anything."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from fcnseg.files import sha256_of


class Filed(Protocol):
    """Samples that come from files, the image's first."""

    def __len__(self) -> int: ...
    def files(self, index: int) -> tuple[Path, ...]: ...


def copied_files(training: Filed, validation: Filed) -> list[tuple[Path, Path]]:
    """Return (file of training, file of validation) of images that are equal byte for byte.

    Only files that have a size in common with one of the other part are read. The same picture in
    another encoding is not found here; ``fcnseg check`` compares the decoded pixels.
    """
    mine, theirs = _by_size(training), _by_size(validation)
    found = []
    for size in sorted(mine.keys() & theirs.keys()):
        by_content = {sha256_of(path): path for path in reversed(mine[size])}
        found += [
            (by_content[digest], path)
            for path in theirs[size]
            if (digest := sha256_of(path)) in by_content
        ]
    return sorted(found, key=lambda pair: pair[1])


def _by_size(source: Filed) -> dict[int, Sequence[Path]]:
    sizes: dict[int, list[Path]] = {}
    for index in range(len(source)):
        for path in source.files(index)[:1]:
            with contextlib.suppress(OSError):  # a missing file is a fault that others find
                sizes.setdefault(path.stat().st_size, []).append(path)
    return dict(sizes)
