"""State dicts and training checkpoints of pytorch-fcn.

Its ``.pth.tar`` files hold the best mean IU beside the weights, as a NumPy scalar. What a pickle
calls NumPy by is answered here by two functions that know numbers and nothing else: no code of
NumPy runs on the contents of the file.
"""

import os
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fcnseg.errors import WeightsError
from fcnseg.weights.state import named_tensors, read_pickle, read_state

_ENDINGS = (".pth", ".pt", ".pth.tar")
# NumPy's names for the types of numbers, and struct's.
_FORMATS = {
    **dict(zip(("f2", "f4", "f8", "b1"), "efd?", strict=True)),
    **dict(zip(("i1", "i2", "i4", "i8"), "bhiq", strict=True)),
    **dict(zip(("u1", "u2", "u4", "u8"), "BHIQ", strict=True)),
}
_ORDERS = {"<": "<", ">": ">", "|": "<", "=": "<"}


def read_torchfcn(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], str | None]:
    """Return the tensors of pytorch-fcn by name, on the CPU, and the network's name.

    Read are state dicts and the trainer's checkpoints, in ``.pth``, ``.pt`` and ``.pth.tar``
    files of either of torch's formats, those of Python 2 included, and ``.safetensors``.

    Returns:
        The tensors, and ``arch`` (such as ``"FCN8sAtOnce"``) where a checkpoint says it.

    Raises:
        WeightsError: as :func:`fcnseg.weights.state.read_state`. Beside what that allows a
            checkpoint may hold NumPy scalars; anything else is refused and nothing is executed.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(".safetensors"):
        return read_state(path), None
    if not name.endswith(_ENDINGS):
        raise WeightsError(
            f"{path}: expected a {', '.join(_ENDINGS)} or .safetensors file of pytorch-fcn"
        )
    content = read_pickle(path, _NUMPY, encoding="latin1")
    arch = content.get("arch") if isinstance(content, Mapping) else None
    return named_tensors(path, content), arch if isinstance(arch, str) else None


class _Type:
    """What stands for a ``numpy.dtype``: the type of a number and its byte order."""

    def __init__(self, name: str, *_: Any) -> None:
        self.format = _FORMATS.get(name.lstrip("<>|=")) if isinstance(name, str) else None
        if self.format is None:
            raise pickle.UnpicklingError("a NumPy type that is not of plain numbers")
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in _ORDERS:
            raise pickle.UnpicklingError("a NumPy type in an unknown byte order")
        self.order = _ORDERS[order]


def _scalar(kind: Any, number: Any) -> float | int | bool:
    """What stands for ``numpy.core.multiarray.scalar``: a number from its bytes."""
    data = number.encode("latin1") if isinstance(number, str) else number
    if type(kind) is not _Type or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a NumPy scalar that is no number")
    try:
        (value,) = struct.unpack(f"{kind.order}{kind.format}", data)
    except struct.error as error:
        raise pickle.UnpicklingError(f"a NumPy scalar of another size: {error}") from None
    return value


_NUMPY = (
    (_Type, "numpy.dtype"),
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
)
