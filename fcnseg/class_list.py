"""``--classes``: names of classes, and perhaps their colours, from a list or a file."""

import re
from pathlib import Path

from fcnseg.errors import UsageError
from fcnseg.palette import Colour

_COLOURED_LINE = re.compile(r"(.*\S)\s+(\d+)[\s,]+(\d+)[\s,]+(\d+)")
_COLOURED_NAME = re.compile(r"(.*\S)\s*=\s*#([0-9a-fA-F]{6})")

Classes = tuple[tuple[str, ...], tuple[Colour, ...] | None]


def read_classes(text: str) -> Classes:
    """Class names, and a colour for each or None.

    ``text`` is a list ``a,b,c``, a list with colours ``sky=#8080ff,road=#804080``, or a file with
    one name on each line, or on every line a name and its colour: ``road 128 64 128``. Lines that
    begin with ``#`` are comments.

    Raises:
        UsageError: neither a file nor a list, or only some of the classes have a colour.
    """
    if is_file(text):
        return _read_file(Path(text))
    if "," not in text:
        raise UsageError(f"--classes {text}: no such file, and not a list a,b,c")
    words = [word.strip() for word in text.split(",")]
    found = [_COLOURED_NAME.fullmatch(word) for word in words]
    colours = [_from_hex(match[2]) for match in found if match]
    if not colours:
        return tuple(words), None
    if len(colours) < len(words):
        first = next(word for word, match in zip(words, found, strict=True) if not match)
        raise UsageError(
            f"--classes: {first!r} has no colour and others have; write each as name=#rrggbb"
        )
    return tuple(match[1] for match in found if match), tuple(colours)


def read_void(text: str | None) -> int | Colour | None:
    """``--mask-void``: a stored value such as ``11``, or a colour ``#rrggbb``.

    Raises:
        UsageError: neither.
    """
    if text is None:
        return None
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return _from_hex(text[1:])
    if text.isascii() and text.isdigit() and int(text) <= 0xFFFF:
        return int(text)
    raise UsageError(
        f"--mask-void {text}: expected a value such as 11, or a colour such as #ffffff"
    )


def is_file(text: str) -> bool:
    """Whether ``text`` is the name of a file; a long list is no name at all."""
    try:
        return Path(text).is_file()
    except OSError:  # longer than a name may be
        return False


def inline(text: str | None) -> str | None:
    """``text`` itself, or, if it is a file, the list that says the same without the file.

    A file whose names could not stand in a list, because of a comma in them, stays a file.
    """
    if text is None or not is_file(text):
        return text
    names, colours = _read_file(Path(text))
    if any("," in name or "=" in name for name in names) or len(names) < 2:
        return text
    if colours is None:
        return ",".join(names)
    return ",".join(
        f"{n}=#{r:02x}{g:02x}{b:02x}" for n, (r, g, b) in zip(names, colours, strict=True)
    )


def _read_file(path: Path) -> Classes:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(
            f"--classes {path}: is no UTF-8 text; expected a class name on each line"
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    found = [_COLOURED_LINE.fullmatch(line) for line in lines]
    coloured = [match for match in found if match]
    if not coloured:
        return tuple(lines), None
    if len(coloured) < len(lines):
        raise UsageError(f"{path}: some lines have a colour and some have none; give all or none")
    names = tuple(match[1] for match in coloured)
    return names, tuple((int(m[2]), int(m[3]), int(m[4])) for m in coloured)


def _from_hex(digits: str) -> Colour:
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
