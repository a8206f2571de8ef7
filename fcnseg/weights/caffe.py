"""Caffe's ``.caffemodel``: the numbers of each layer, read from the bytes of the file.

The file is one ``NetParameter`` message of Caffe's ``caffe.proto``. Only the fields that lead to
numbers are read; how the layers are connected is left out. No protobuf package is needed, and
nothing in the file is executed.
"""

import math
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fcnseg.errors import WeightsError
from fcnseg.weights.state import check_file
from fcnseg.weights.wire import BYTES, EIGHT_BYTES, FOUR_BYTES, VARINT, Field, Wire

# Field numbers of caffe.proto. A layer is either of the newer or of the V1 kind.
_LAYERS = {100: {"name": 1, "blobs": 7}, 2: {"name": 4, "blobs": 6}}
_LEGACY_SHAPE = (1, 2, 3, 4)  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_DIMENSIONS = 1
_MOST_DIMENSIONS = 32  # Caffe's own limit
_LONGEST_NAME = 200
# Protocol buffers end there.
_MOST_BYTES = 2 << 30


def read_caffemodel(path: str | os.PathLike[str]) -> dict[str, list[Tensor]]:
    """Return the blobs of each layer that has any, by the layer's name, in the file's order.

    Both kinds of layers are read, V1 and newer; float and double blobs; shapes of any number of
    dimensions and the older four (num, channels, height, width). The file is mapped, and its
    numbers are copied once. Memory is taken for what the file holds, never for what it claims.

    Returns:
        Layer -> float32 tensors on the CPU: for a convolution the weights (out, in, h, w), then
        the biases; a deconvolution's weights are (in, out, h, w).

    Raises:
        WeightsError: the file is missing, damaged, truncated within a layer, or no caffemodel; a
            shape does not agree with the count of numbers; two layers have one name.
    """
    path = Path(path)
    check_file(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 0 < size <= _MOST_BYTES:
                raise WeightsError(
                    f"{path}: expected a .caffemodel of 1 byte to 2 GiB, got {size} bytes; "
                    "fetch the file again"
                )
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    wire = Wire(path, data, "a .caffemodel")
    layers: dict[str, list[Tensor]] = {}
    for item in wire.fields(0, size):
        if item.number not in _LAYERS:
            continue
        name, blobs = _layer(wire, item, **_LAYERS[item.number])
        if not blobs:
            continue
        if name in layers:
            raise WeightsError(f"{path}: two layers are called {name}; expected each once")
        layers[name] = [_tensor(wire, path, name, blob) for blob in blobs]
    if not layers:
        raise WeightsError(
            f"{path}: no layer with numbers in it; expected a trained .caffemodel (one of before "
            "2014 has to go through Caffe's upgrade_net_proto_binary)"
        )
    return layers


class _Span(NamedTuple):
    """Numbers in the file: where the first begins, how many, and bytes from each to the next."""

    start: int
    numbers: int
    step: int


@dataclass
class _Blob:
    """Where the numbers of a blob lie in the file, and what shape it claims."""

    floats: list[_Span] = field(default_factory=list)
    doubles: list[_Span] = field(default_factory=list)
    legacy: dict[int, int] = field(default_factory=dict)
    shape: list[int] | None = None


def _layer(wire: Wire, layer: Field, name: int, blobs: int) -> tuple[str, list[_Blob]]:
    _expect(wire, layer, BYTES)
    title, found = "", []
    for item in wire.fields(layer.start, layer.end):
        if item.number == name:
            title = _name(wire, item)
        elif item.number == blobs:
            found.append(_blob(wire, item))
    return title, found


def _blob(wire: Wire, blob: Field) -> _Blob:
    _expect(wire, blob, BYTES)
    found = _Blob()
    for item in wire.fields(blob.start, blob.end):
        if item.number in _LEGACY_SHAPE:
            _expect(wire, item, VARINT)
            found.legacy[item.number] = item.value
        elif item.number == _SHAPE:
            _expect(wire, item, BYTES)
            found.shape = _dimensions(wire, item)
        elif item.number == _DATA:
            found.floats.append(_span(wire, item, FOUR_BYTES, 4))
        elif item.number == _DOUBLE_DATA:
            found.doubles.append(_span(wire, item, EIGHT_BYTES, 8))
    return found


def _span(wire: Wire, item: Field, single: int, size: int) -> _Span:
    """Numbers of ``size`` bytes, packed into one field or a run of fields of one number each."""
    length = item.end - item.start
    if item.kind == single:
        return _Span(item.start, (length - size) // item.step + 1, item.step)
    if item.kind != BYTES or length % size:
        raise wire.fault(item.start, f"expected numbers of {size} bytes")
    return _Span(item.start, length // size, size)


def _dimensions(wire: Wire, shape: Field) -> list[int]:
    found: list[int] = []
    for item in wire.fields(shape.start, shape.end):
        if item.number == _DIMENSIONS:
            found += wire.varints(item)
        if len(found) > _MOST_DIMENSIONS:
            raise wire.fault(shape.start, f"a shape has more than {_MOST_DIMENSIONS} dimensions")
    return found


def _name(wire: Wire, item: Field) -> str:
    """A layer's name; it may come into messages, so it has to be short and printable."""
    _expect(wire, item, BYTES)
    if item.end - item.start > _LONGEST_NAME:
        raise wire.fault(item.start, f"a layer's name has {item.end - item.start} bytes")
    try:
        name = wire.data[item.start : item.end].decode()
    except UnicodeDecodeError:
        name = "\0"
    if not name.isprintable():
        raise wire.fault(item.start, "a layer's name is no text")
    return name


def _expect(wire: Wire, item: Field, kind: int) -> None:
    if item.kind != kind:
        raise wire.fault(item.start, f"field {item.number} has the wire type {item.kind}")


def _tensor(wire: Wire, path: Path, name: str, blob: _Blob) -> Tensor:
    if blob.floats and blob.doubles:
        raise WeightsError(f"{path}: layer {name} has float and double numbers; expected one kind")
    spans, kind = (blob.doubles, "<f8") if blob.doubles else (blob.floats, "<f4")
    count = sum(span.numbers for span in spans)
    if count == 0:
        raise WeightsError(f"{path}: layer {name} has a blob without numbers; use a trained file")
    legacy = [blob.legacy.get(number, 0) for number in _LEGACY_SHAPE] if blob.legacy else None
    shape = legacy or blob.shape or [count]
    if math.prod(shape) != count:
        claimed = "x".join(map(str, shape))
        raise WeightsError(
            f"{path}: layer {name} claims {claimed} numbers and has {count}; fetch the file again"
        )
    numbers = np.empty(count, np.float32)
    filled = 0
    for start, length, step in spans:
        part: np.ndarray = np.ndarray((length,), kind, wire.data, start, (step,))
        with np.errstate(over="ignore"):  # a double too large becomes infinite
            numbers[filled : filled + length] = part
        filled += length
    return torch.from_numpy(numbers).view(shape)
