"""Download of files into a cache, verified by their sha256."""

import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from fcnseg.errors import EnvironmentFault, FcnsegError, UsageError
from fcnseg.files import replacing, sha256_of

Progress = Callable[[int, int | None], None]

_CHUNK = 1 << 20
_REMEDY = "free the disk or set FCNSEG_CACHE to another folder"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class _Refused(Exception):
    """What came over the network must not be used; the text says why."""


def cache_folder() -> Path:
    """Return the folder for downloads: ``FCNSEG_CACHE``, else the platform's usual cache."""
    chosen = os.environ.get("FCNSEG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "fcnseg"


def cache_path(url: str, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return where :func:`fetch` keeps the file of ``url``, whether it is there or not."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not re.fullmatch(r"[\w.+=-]*\w", name):
        raise UsageError(f"{url}: expected an address that ends in a plain file name, got {name!r}")
    return (cache_folder() if cache_dir is None else Path(cache_dir)) / name


def fetch(
    url: str,
    sha256: str,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    fault: type[FcnsegError],
    otherwise: str,
    timeout: float = 30.0,
    max_bytes: int = 2 << 30,
    progress: Progress | None = None,
) -> Path:
    """Return the cached file of ``url``, downloaded first if it is not there.

    ``sha256`` is the hash in hex or its first digits, at least 8: torchvision's file names carry
    the first 8, as in ``resnet18-f37072fd.pth``. A cached file is used, without the network,
    only if its hash agrees; so a file put there by hand works too. ``fault`` is the kind of error
    that is raised where the file cannot be had, and ``otherwise`` what it advises beside putting
    the file there by hand. ``timeout`` is in seconds and holds for each wait on the network, not
    for the whole download. ``progress(done, total)`` is called with bytes; ``total`` is ``None``
    if the server does not say.

    The file appears under its name only when it is complete and its hash agrees; processes may
    fetch the same file at once. Addresses must be https, also after a redirect; plain http is
    accepted for this machine alone.

    Raises ``fault`` if the file cannot be had, is longer than ``max_bytes``, shorter than
    announced or has another hash; :class:`EnvironmentFault` if the cache cannot be written;
    :class:`UsageError` for an address or a hash that is malformed.
    """
    sha256 = sha256.lower()
    if not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise UsageError(f"sha256 of {url}: expected 8 to 64 hex digits, got {sha256!r}")
    path = cache_path(url, cache_dir)
    found = _hash_of(path)
    if found is not None and found.startswith(sha256):
        return path
    beside = "" if found is None else "; the file in the cache has another sha256 and is not used"

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error) from None
    with replacing(path, _REMEDY) as temporary:
        try:
            with open(temporary, "wb") as file:
                found = _receive(url, file, path, timeout, max_bytes, progress)
            if not found.startswith(sha256):
                raise _Refused(f"what came has sha256 {found}")
        except (_Refused, http.client.HTTPException, OSError) as error:
            reason = _reason(error, timeout) + beside
            raise fault(_advice(url, path, sha256, reason, otherwise)) from None
    return path


def ask(url: str, timeout: float = 10.0) -> None:
    """Ask a server for a file's headers; raises :class:`OSError` unless it has the file."""
    _check_scheme(url)
    request = urllib.request.Request(url, method="HEAD")
    with _opener(url).open(request, timeout=timeout):
        pass


def _receive(
    url: str,
    file: IO[bytes],
    path: Path,
    timeout: float,
    max_bytes: int,
    progress: Progress | None,
) -> str:
    """Write the body of ``url`` to ``file`` and return its sha256, hashed on the way."""
    _check_scheme(url)
    digest, done = hashlib.sha256(), 0
    with _opener(url).open(url, timeout=timeout) as response:
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced and announced.isdigit() else None
        if total is not None and total > max_bytes:
            raise _Refused(f"the server announces {total} bytes, more than the {max_bytes} allowed")
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if done > max_bytes:
                raise _Refused(f"more than the {max_bytes} bytes allowed came")
            digest.update(chunk)
            try:
                file.write(chunk)
            except OSError as error:
                raise _cannot_write(path, error) from None
            if progress is not None:
                progress(done, total)
    if total is not None and done < total:
        raise _Refused(f"only {done} of {total} bytes came")
    return digest.hexdigest()


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never out of https and never to another kind of address."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise _Refused(f"the server redirects from https to {newurl}")
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(url: str) -> urllib.request.OpenerDirector:
    handlers: list[Any] = [_SecureRedirects()]
    if urlsplit(url).hostname in _LOCAL_HOSTS:
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    opener.addheaders = [("User-Agent", "fcnseg")]
    return opener


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS):
        return
    raise _Refused(f"{url} is not an https address")


def _hash_of(path: Path) -> str | None:
    """The sha256 of the file in hex, ``None`` if there is none."""
    try:
        return sha256_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise EnvironmentFault(
            f"{path}: cannot be read ({error.strerror}); "
            "remove it or set FCNSEG_CACHE to another folder"
        ) from None


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection ended before the announced end ({error})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _advice(url: str, path: Path, sha256: str, reason: str, otherwise: str) -> str:
    hash_text = f"sha256 {sha256}" if len(sha256) == 64 else f"sha256 beginning with {sha256}"
    return (
        f"{url}: download failed: {reason}; put the file by hand at {path} ({hash_text}), or "
        f"{otherwise}"
    )


def _cannot_write(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(f"{path}: cannot be written ({error.strerror or error}); {_REMEDY}")
