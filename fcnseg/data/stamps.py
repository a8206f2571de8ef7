"""What a decoded sample was made from, so that a change can be told."""

import hashlib
import io
import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from os.path import abspath
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL

from fcnseg.data.sample import Source
from fcnseg.errors import UsageError

Stamps = tuple[str, ...]
"""One text for the code, one for the image file, and one for each file of the labels."""


def stamps_of(source: Source, threads: int = 1) -> dict[str, Stamps]:
    """Return by sample id what changes when the sample may have.

    That is the code that decodes, the path, size and time of change of the image, and the path
    and content of the files of the labels. A file that cannot be read has a stamp of its own; to
    say what is wrong with it is left to the source.

    Raises :class:`UsageError` for a source that cannot be pickled.
    """
    code = _code_stamp(source)
    files = [source.files(index) for index in range(len(source))]
    masks = list({path: None for _, *labels in files for path in labels})
    with ThreadPoolExecutor(max(1, threads)) as pool:
        contents = dict(zip(masks, pool.map(_content_stamp, masks), strict=True))
    return {
        source.id(index): (code, _file_stamp(image), *(contents[path] for path in labels))
        for index, (image, *labels) in enumerate(files)
    }


def settings_of(source: Source) -> str:
    """Return a text for the settings of the reader; "" for a source that has none to tell."""
    describe = getattr(source, "fingerprint", None)
    return str(describe()) if callable(describe) else ""


def _file_stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        return f"{abspath(path)} {type(error).__name__}"
    return f"{abspath(path)} {status.st_size} {status.st_mtime_ns}"


def _content_stamp(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return f"{abspath(path)} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        return f"{abspath(path)} {type(error).__name__}"


def _code_stamp(source: Source) -> str:
    """Return a digest of the program text that decodes, and of the decoders' versions."""
    pickled = _Pickled()
    try:
        pickled.dump(source)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"--cache: {source.name} cannot be pickled ({error}), so that what its samples depend "
            "on is not known; use functions and classes of a module, and no lambda"
        ) from None
    digest = hashlib.sha256()
    for name in (PIL.__version__, cv2.__version__, np.__version__):
        digest.update(f"{name}\n".encode())
    own = set(Path(__file__).parent.glob("*.py"))
    for path in sorted(own | _program_files(pickled.modules)):
        digest.update(path.read_bytes())
    if not settings_of(source):
        digest.update(pickled.digest.digest())
    return digest.hexdigest()


def _program_files(modules: Sequence[str] | set[str]) -> set[Path]:
    found = set()
    for name in modules:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and name.partition(".")[0] not in sys.stdlib_module_names:
            found.add(Path(file))
    return {path for path in found if path.suffix == ".py" and path.is_file()}


class _Pickled(pickle.Pickler):
    """The modules that a pickle refers to, and its sha256; the pickle itself is not kept."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.digest = hashlib.sha256()
        super().__init__(_Sink(self.digest), protocol=4)

    def reducer_override(self, value: Any) -> Any:
        self.modules.add(getattr(value, "__module__", None) or type(value).__module__)
        return NotImplemented


class _Sink(io.RawIOBase):
    def __init__(self, digest: Any) -> None:
        super().__init__()
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)
