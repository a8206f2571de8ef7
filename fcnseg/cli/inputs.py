"""Photographs named on the command line: found, read one after the other, faults passed over."""

import os
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fcnseg.cli.finding import Photograph, find
from fcnseg.errors import DataError, EnvironmentFault, UsageError

_SHOWN = 5

IMAGES_HELP = (
    "photographs; folders, with all that are in them; quoted patterns such as 'photos/**/*.jpg'; "
    "@list.txt, a file with a path a line; or - for such lines on standard input"
)


def photographs(names: Sequence[str], out: str | None = None) -> list[Photograph]:
    """The photographs that are named, as :func:`~fcnseg.cli.finding.find` finds them.

    Raises:
        DataError: as :func:`~fcnseg.cli.finding.find` does.
        UsageError: two files whose results would have the same name.
    """
    found = find(names, out=out)
    check_stems(found)
    return found


def check_stems(found: Sequence[Photograph]) -> None:
    """Raise :class:`UsageError` if results of two photographs would have the same name."""
    stems: dict[str, Photograph] = {}
    pairs = []
    for photograph in found:
        other = stems.setdefault(_alike(photograph.stem), photograph)
        if other != photograph:
            pairs.append(f"{photograph} and {other}")
    if pairs:
        more = f"; {len(pairs) - _SHOWN} more pairs" if len(pairs) > _SHOWN else ""
        raise UsageError(
            f"{', '.join(pairs[:_SHOWN])}{more}: their results would have one name; rename one, or "
            "where they lie in different folders, name the folder that holds these"
        )


def whole_number(flag: str, text: str, expected: str, below: int) -> int:
    """The one number of a flag, as :func:`whole_numbers` takes several."""
    if "," in text:
        raise UsageError(f"{flag} {text}: expected {expected}, got {text!r}")
    return whole_numbers(flag, text, expected, below)[0]


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


def output_folder(name: str, found: Sequence[Photograph], endings: Sequence[str]) -> Path:
    """The folder for results, made if need be, with a folder in it for each that is mirrored.

    Args:
        name: the folder.
        found: the photographs.
        endings: what a result is called after the stem of its photograph.

    Raises:
        UsageError: a result would replace one of the photographs.
        EnvironmentFault: the folder cannot be made.
    """
    folder = Path(name)
    places = Places()
    inputs = {places.of(photograph.path) for photograph in found}
    stems = [folder / photograph.stem for photograph in found]
    for stem in stems:
        for ending in endings:
            result = stem.with_name(stem.name + ending)
            if places.of(result) in inputs:
                raise UsageError(
                    f"--out {name}: {result} is one of the photographs and would be replaced by a "
                    "result; choose another folder"
                )
    try:
        for place in dict.fromkeys([folder, *(stem.parent for stem in stems)]):
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"--out {name}: the folder cannot be made ({error.strerror}); choose another"
        ) from None
    return folder


class Places:
    """Which file a path is, whatever way leads to its folder.

    Names that some systems take for the same are the same on all, so that results can be taken
    from one to another: upper and lower case (macOS, Windows), accents in one character or two.
    """

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """What is equal for two paths of one file."""
        # A link in the last place is what a result would replace, not what it leads to.
        if path.parent not in self._folders:
            self._folders[path.parent] = os.path.realpath(path.parent)
        return _alike(os.path.join(self._folders[path.parent], path.name))


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def each_image(
    found: Sequence[Photograph], work: Callable[[Photograph, Any], None], max_pixels: int
) -> int:
    """Call ``work(photograph, image)`` for every file; bad files are reported and passed over.

    Returns:
        The exit code: 0, or 3 if a file was bad.
    """
    from fcnseg.data.images import read_image

    bad = 0
    for number, photograph in enumerate(found, start=1):
        try:
            work(photograph, read_image(photograph.path, max_pixels))
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            bad += 1
            continue
        if len(found) > 1:
            print(f"{number}/{len(found)}  {photograph}", file=sys.stderr)
    return passed_over(bad, len(found))


def passed_over(bad: int, of: int) -> int:
    """Say how many images were passed over, if any; return the exit code, 0 or 3."""
    if bad:
        print(f"{bad} of {of} images were passed over", file=sys.stderr)
    return 3 if bad else 0
