"""What a decoded sample was made from, so that a change can be told."""

import ast
import contextlib
import hashlib
import io
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from os.path import abspath, commonpath
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL

from fcnseg.data.pairs import ImagePairs, Pair
from fcnseg.data.sample import Source
from fcnseg.data.subset import Subset
from fcnseg.errors import UsageError
from fcnseg.files import sha256_of

Stamps = tuple[str, ...]
"""One text for the code, one for the image file, and one for each file of the labels."""

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = {"site-packages", "dist-packages"}
_DECODERS = ("pycocotools", "scipy")


def whole_of(source: Source) -> Source:
    """Return what ``source`` is a :class:`~fcnseg.data.subset.Subset` of; else itself."""
    while isinstance(source, Subset):
        source = source._source
    return source


def stamps_of(
    source: Source,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Stamps]:
    """Return by sample id what changes when the sample may have.

    That is the code that decodes with its settings, the path, size and time of change of the
    image, and the path and content of the files of the labels. Where the labels of many samples
    come from one file, the function that reads them may offer ``content(pair) -> bytes``: all
    that it knows of the labels of one sample, taken in place of that file and of the pickle of
    the function. A file that cannot be read has a stamp of its own; to say what is wrong with it
    is left to the source.

    Args:
        source: samples that come from files.
        threads: that read files.
        progress: called with (files of labels read, files in all).

    Raises:
        UsageError: the source cannot be pickled.
    """
    whole = whole_of(source)
    code = _code_stamp(whole)
    content = _content_of(whole)
    files = [source.files(index) for index in range(len(source))]
    if content is None:
        masks = list({path: None for _, *labels in files for path in labels})
        read = _each(_content_stamp, masks, threads, progress)
        contents = dict(zip(masks, read, strict=True))
        labelled = [tuple(contents[path] for path in labels) for _, *labels in files]
    else:
        pairs = [Pair(source.id(index), *paths) for index, paths in enumerate(files)]
        labelled = [(hashlib.sha256(content(pair)).hexdigest(),) for pair in pairs]
    return {
        source.id(index): (code, file_stamp(files[index][0]), *labels)
        for index, labels in enumerate(labelled)
    }


def place_of(whole: Source) -> str:
    """Return a text for which data this is, where it is, and what was asked for of it.

    What a change of the data or of the program can change is no part of it, so that what was
    kept before is found, and replaced.
    """
    files = [whole.files(index) for index in range(len(whole))]
    labels = {abspath(path) for paths in files for path in paths[1:]}
    images = _root(Path(abspath(paths[0])).parent for paths in files if paths)
    # Two files of labels for one folder of images are two sets of data.
    made_of = min(labels) if len(labels) == 1 else _root(Path(path).parent for path in labels)
    return "\n".join([whole.name, images, made_of, _settings_of(whole)])


def _root(folders: Iterable[Path]) -> str:
    """Return the folder that holds them all; "" for none."""
    distinct = {str(folder) for folder in folders}
    try:
        return commonpath(distinct) if distinct else ""
    except ValueError:  # on different drives
        return min(distinct)


def _settings_of(source: Source) -> str:
    side = source._short_side if isinstance(source, ImagePairs) else None
    return repr((tuple(source.classes), side))


def file_stamp(path: Path) -> str:
    """Return a text that changes with the path, the size and the time of change of a file."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{abspath(path)} {type(error).__name__}"
    return f"{abspath(path)} {status.st_size} {status.st_mtime_ns}"


def _content_of(source: Source) -> Callable[[Pair], bytes] | None:
    reader = source._read_label if isinstance(source, ImagePairs) else None
    return getattr(reader, "content", None)


def _content_stamp(path: Path) -> str:
    try:
        return f"{abspath(path)} {sha256_of(path)}"
    except OSError as error:
        return f"{abspath(path)} {type(error).__name__}"


def _each(
    function: Callable[[Path], str],
    paths: Sequence[Path],
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[str]:
    pool = ThreadPoolExecutor(max(1, threads))
    try:
        for done, result in enumerate(pool.map(function, paths), 1):
            if progress is not None:
                progress(done, len(paths))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _code_stamp(source: Source) -> str:
    """Return a digest of the program text that decodes, its settings, and decoders' versions."""
    pickled = _Pickled()
    try:
        pickled.dump(source)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            f"--cache: {source.name} cannot be pickled ({error}), so that what its samples depend "
            "on is not known; use functions and classes of a module, and no lambda"
        ) from None
    digest = hashlib.sha256()
    for text in (PIL.__version__, cv2.__version__, np.__version__, *map(_version, _DECODERS)):
        digest.update(f"{text}\n".encode())
    for path in sorted(_program(pickled.modules)):
        with contextlib.suppress(OSError):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    describe = getattr(source, "fingerprint", None)
    if _content_of(source) is not None:
        digest.update(_settings_of(source).encode())
    elif callable(describe):
        digest.update(str(describe()).encode())
    else:
        digest.update(pickled.digest.digest())
    return digest.hexdigest()


def _version(name: str) -> str:
    # Asked of the installation: whether a module is loaded yet depends on who has decoded before.
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _program(modules: Iterable[str]) -> set[Path]:
    """Return the files of our decoders, of the modules named, and of what these may use.

    That is what they import from their own folder, in functions too, and what else is loaded
    from there. Of a package that is installed it is the module itself.
    """
    found = _with_imports(_PACKAGE.glob("data/*.py"), _PACKAGE.parent, _is_ours)
    for name in modules:
        file = getattr(sys.modules.get(name), "__file__", None)
        if not file or name.partition(".")[0] in sys.stdlib_module_names:
            continue
        path = Path(file)
        if path in found:
            continue
        if not _INSTALLED.isdisjoint(path.parts):
            found.add(path)
            continue
        if _is_ours(path):
            found |= _with_imports([path], _PACKAGE.parent, _is_ours)
            continue
        depth = name.count(".") + (path.name == "__init__.py")
        home = path.parents[min(depth, len(path.parents) - 1)]
        beside = _Below(home)
        found |= _with_imports([path, *filter(beside, _loaded())], home, beside)
    return found


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(_PACKAGE)


class _Below:
    """Whether a file is a person's own in a folder, and neither ours nor installed there."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __call__(self, path: Path) -> bool:
        if _is_ours(path) or not path.is_relative_to(self._home):
            return False
        return _INSTALLED.isdisjoint(path.relative_to(self._home).parts)


def _loaded() -> list[Path]:
    # The program that was started may be another each time.
    modules = [module for name, module in list(sys.modules.items()) if name != "__main__"]
    files = [getattr(module, "__dict__", {}).get("__file__") for module in modules]
    return [Path(file) for file in files if isinstance(file, str)]


def _with_imports(start: Iterable[Path], root: Path, wanted: Callable[[Path], bool]) -> set[Path]:
    """Return ``start`` and the files below ``root`` that these import, and so on."""
    found: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for place in _imported(path, root) if path.suffix == ".py" else ():
            near = (place.with_name(f"{place.name}.py"), place / "__init__.py")
            waiting += [file for file in near if wanted(file)]
    return found


def _imported(path: Path, root: Path) -> set[Path]:
    """Return the places, without an ending, of what a file may import from below ``root``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return set()
    places = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            places |= {place for alias in node.names for place in _places(root, alias.name)}
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[min(node.level, len(path.parents)) - 1] if node.level else root
            within = _places(base, node.module or "")
            places |= {*within, *(within[-1] / alias.name for alias in node.names)}
    return {place for place in places if place.name}


def _places(base: Path, name: str) -> list[Path]:
    """Return the places of ``a``, ``a.b`` and ``a.b.c`` below ``base`` for the name ``a.b.c``."""
    parts = name.split(".")
    return [base.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]


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
