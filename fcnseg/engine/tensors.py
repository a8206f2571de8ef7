"""A file of tensors that is whole or refused: safetensors with a checksum, written atomically.

safetensors executes nothing and checks its layout, but has no checksum; the sha256 kept in the
metadata covers the metadata and the name, type, shape and bytes of every tensor.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fcnseg.errors import WeightsError
from fcnseg.files import replacing
from fcnseg.weights.state import one_line


def write_tensors(path: Path, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able ``content`` to ``path``, which is replaced only when complete.

    Raises :class:`EnvironmentFault` where the disk refuses; the old file is then untouched.
    """
    plain = _unshared({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    text = json.dumps(content, sort_keys=True)
    # one key: the order in which safetensors writes several changes from file to file
    metadata = {"fcnseg": f"{_digest(plain, text)} {text}"}
    with replacing(path, "free some space or choose another folder") as temporary:
        try:
            save_file(plain, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error  # what it makes of a full disk


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read ``(content, tensors)``. Raises :class:`WeightsError` for a missing, truncated,
    changed or foreign file."""
    with _opened(path) as file:
        # copied out of the mapped file, which may be replaced while the tensors live
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        digest, text = _recorded(path, file)
    if _digest(tensors, text) != digest:
        raise WeightsError(
            f"{path}: damaged, its contents do not match their sha256; use another checkpoint"
        )
    return _parsed(path, text), tensors


def read_content(path: Path) -> dict[str, Any]:
    """Read the content alone, without checking the sha256: for a file already read whole."""
    with _opened(path) as file:
        return _parsed(path, _recorded(path, file)[1])


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: not a checkpoint of fcnseg: its description is not a mapping")
    return content


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.is_dir():
        raise WeightsError(f"{path}: is a folder; give the best.safetensors in it")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; give a checkpoint written by fcnseg train")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: not a complete safetensors file ({one_line(error)}); use another checkpoint"
        ) from None


def _recorded(path: Path, file: Any) -> tuple[str, str]:
    """The sha256 and the text of the content."""
    metadata = file.metadata() or {}
    if "fcnseg" not in metadata:
        raise WeightsError(f"{path}: not written by fcnseg; give a checkpoint of fcnseg train")
    digest, _, text = metadata["fcnseg"].partition(" ")
    return digest, text


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of the tensors whose memory another one uses: safetensors refuses these."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return result
