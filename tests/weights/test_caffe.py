"""Caffemodels, written by the encoder of ``published.py``, are read or refused."""

import resource
import struct
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from published import blob, caffemodel, field, layer, varint
from torch import Tensor

from fcnseg.errors import WeightsError
from fcnseg.weights import wire
from fcnseg.weights.caffe import read_caffemodel


def some() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "conv1.weight": (4, 3, 3, 3),
        "conv1.bias": (4,),
        "fc6.weight": (5, 36),
        "up.weight": (5, 5, 4, 4),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def read(folder: Path, data: bytes) -> dict[str, list[Tensor]]:
    path = folder / "a.caffemodel"
    path.write_bytes(data)
    return read_caffemodel(path)


def refused(folder: Path, data: bytes, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        read(folder, data)
    assert str(caught.value).startswith(f"{folder / 'a.caffemodel'}: ")
    assert "\n" not in str(caught.value)


def read_or_refused(folder: Path, data: bytes) -> dict[str, list[Tensor]]:
    """What is read; {} where the file is refused in one printable line."""
    try:
        return read(folder, data)
    except WeightsError as error:
        if not str(error).isprintable():
            raise AssertionError(repr(str(error))) from error
        return {}


@pytest.mark.parametrize("v1", [True, False])
@pytest.mark.parametrize("how", [{}, {"packed": False}, {"double": True}, {"legacy": True}])
def test_layers_and_blobs_of_both_kinds(tmp_path: Path, v1: bool, how: dict[str, bool]) -> None:
    tensors = some()
    found = read(tmp_path, caffemodel(tensors, v1=v1, **how))
    assert list(found) == ["conv1", "fc6", "up"]
    got = [*found["conv1"], *found["fc6"], *found["up"]]
    for values, expected in zip(got, tensors.values(), strict=True):
        shape = tuple(expected.shape)
        assert values.shape == ((1,) * (4 - len(shape)) + shape if "legacy" in how else shape)
        assert values.dtype == torch.float32
        assert torch.equal(values.reshape(shape), expected)


def test_numbers_may_come_in_several_parts_and_shapes_unpacked(tmp_path: Path) -> None:
    parts = [np.arange(n, dtype="<f4") + 10 * n for n in (3, 2, 1)]
    data = b"".join(field(5, p.tobytes()) for p in parts[:2]) + b"\x2d" + parts[2].tobytes()
    shape = field(7, field(1, 2) + field(1, 3))
    (values,) = read(tmp_path, layer("a", [data + shape]))["a"]
    assert values.tolist() == [[30, 31, 32], [20, 21, 10]]
    (values,) = read(tmp_path, layer("a", [data]))["a"]
    assert values.shape == (6,)


def test_long_runs_of_single_numbers(tmp_path: Path) -> None:
    """More than are taken at once, with another field among them."""
    values = torch.arange(10_000.0)
    one = blob(values[:5000], packed=False)[: -len(field(6, b"") + field(7, field(1, b"\x88\x27")))]
    data = one + field(99, 1) + blob(values[5000:], packed=False)
    data = data[: data.rindex(field(6, b""))] + field(7, field(1, varint(10_000)))
    assert torch.equal(read(tmp_path, layer("a", [data]))["a"][0], values)


def test_the_real_definition_agrees(tmp_path: Path) -> None:
    """The protobuf package, given Caffe's field numbers, writes what is read here."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="c.proto", package="c", syntax="proto2")

    def message(name: str, *fields: tuple[str, int, int, bool, str | None]) -> None:
        made = file.message_type.add(name=name)
        for title, number, kind, repeated, of in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            one = made.field.add(name=title, number=number, type=kind, label=label)
            if of:
                one.type_name = f".c.{of}"
            elif repeated:
                one.options.packed = True

    whole, inner = kinds.TYPE_INT64, kinds.TYPE_MESSAGE
    message("Shape", ("dim", 1, whole, True, None))
    message(
        "Blob",
        *(("num", 1, whole, False, None), ("channels", 2, whole, False, None)),
        *(("height", 3, whole, False, None), ("width", 4, whole, False, None)),
        *(("data", 5, kinds.TYPE_FLOAT, True, None), ("shape", 7, inner, False, "Shape")),
    )
    text = kinds.TYPE_STRING
    message("New", ("name", 1, text, False, None), ("blobs", 7, inner, True, "Blob"))
    message("Old", ("name", 4, text, False, None), ("blobs", 6, inner, True, "Blob"))
    message("Net", ("layer", 100, inner, True, "New"), ("layers", 2, inner, True, "Old"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    net = message_factory.GetMessageClass(pool.FindMessageTypeByName("c.Net"))()
    values = torch.randn(2, 3, 1, 5, generator=torch.Generator().manual_seed(0))
    new = net.layer.add(name="new").blobs.add(data=values.flatten().tolist())
    new.shape.dim.extend(values.shape)
    old = net.layers.add(name="old").blobs.add(data=values.flatten().tolist())
    old.num, old.channels, old.height, old.width = values.shape
    found = read(tmp_path, net.SerializeToString())
    assert torch.equal(found["new"][0], values)
    assert torch.equal(found["old"][0], values)


def test_every_shorter_file_is_refused_or_has_fewer_layers(tmp_path: Path) -> None:
    whole = caffemodel({name: values for name, values in some().items() if name != "up.weight"})
    complete = read(tmp_path, whole)
    for length in range(len(whole)):
        found = read_or_refused(tmp_path, whole[:length])
        # the last bytes are of a layer without numbers
        assert length >= len(whole) - 60 or len(found) < len(complete)
        for name, blobs in found.items():
            pairs = zip(blobs, complete[name], strict=True)
            assert all(torch.equal(got, expected) for got, expected in pairs)


def test_any_damage_is_a_weights_error_or_harmless(tmp_path: Path) -> None:
    whole = np.frombuffer(caffemodel(some(), v1=True, legacy=True), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
        read_or_refused(tmp_path, damaged.tobytes())


def test_noise_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for length in range(1, 300):
        with pytest.raises(WeightsError) as caught:
            read(tmp_path, rng.integers(0, 256, length, np.uint8).tobytes())
        assert str(caught.value).isprintable()


NUMBERS = field(5, np.arange(6, dtype="<f4").tobytes())
HUGE = field(7, field(1, varint(10**5) + varint(10**4)))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", r"expected a \.caffemodel of 1 byte to 2 GiB, got 0 bytes"),
        (b"<html>not found</html>", r"byte 0: a field has the wire type 4"),
        (b"\x80", r"byte 0: a number is cut off"),
        (b"\xff" * 11, r"a number has more than 10 bytes"),
        (b"\x02\x00", r"a field has the number 0"),
        (varint(1 << 40 | 2) + b"\x00", r"a field has the number \d{11}"),
        (b"\xa2\x06" + varint(10**9) + b"abc", r"a field claims 1000000000 bytes, 3 are left"),
        (b"\xa2\x06" + varint((1 << 64) - 1), r"claims 18446744073709551615 bytes, 0 are left"),
        (b"\xa3\x06" + field(1, "x") + b"\xa4\x06", r"wire type 3"),
        (field(1, "net"), r"no layer with numbers in it"),
        (layer("a", []), r"no layer with numbers in it"),
        (varint(100 << 3) + b"\x01", r"field 100 has the wire type 0"),
        (layer("a", [NUMBERS + HUGE]), r"layer a claims 100000x10000 numbers and has 6;"),
        (layer("a", [HUGE]), r"layer a has a blob without numbers"),
        (layer("a", [NUMBERS + field(7, field(1, b"\x00\x06"))]), r"claims 0x6 numbers and has 6"),
        (
            layer(
                "a", [NUMBERS + field(7, field(1, varint((1 << 64) - 6) + varint((1 << 64) - 1)))]
            ),
            r"claims 18446744073709551610x18446744073709551615 numbers",
        ),
        (layer("a", [NUMBERS + field(7, field(1, b"\x01" * 99))]), r"more than 32 dimensions"),
        (layer("a", [NUMBERS + field(1, 2) + field(2, 3)]), r"claims 2x3x0x0 numbers and has 6"),
        (layer("a", [NUMBERS + field(7, 3)]), r"field 7 has the wire type 0"),
        (layer("a", [field(5, b"12345")]), r"expected numbers of 4 bytes"),
        (layer("a", [field(5, 3)]), r"expected numbers of 4 bytes"),
        (layer("a", [NUMBERS + field(8, b"12345678")]), r"layer a has float and double numbers"),
        (layer("a", [NUMBERS]) * 2, r"two layers are called a;"),
        (layer("a\x1b[2J\n", [NUMBERS]), r"a layer's name is no text"),
        (layer("a" * 999, [NUMBERS]), r"a layer's name has 999 bytes"),
        (field(100, field(1, b"\xff\xfe") + field(7, NUMBERS)), r"a layer's name is no text"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, data: bytes, match: str) -> None:
    refused(tmp_path, data, match)


def test_missing_files_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.caffemodel", tmp_path):
        with pytest.raises(WeightsError, match="there is no such file"):
            read_caffemodel(path)


def test_a_file_beyond_what_the_format_allows_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.caffemodel"
    with open(path, "wb") as file:
        file.truncate((2 << 30) + 1)  # takes no room
    with pytest.raises(WeightsError, match="to 2 GiB, got 2147483649 bytes"):
        read_caffemodel(path)


def test_many_small_fields_cost_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_MOST_FIELDS", 20_000)
    start = time.process_time()
    single = b"\x2d" + struct.pack("<f", 1.0)
    for data in (
        b"\x08\x01" * 200_000,
        layer("a", [b"\x08\x01" * 200_000]),
        layer("a", [(single + b"\x08\x01") * 100_000]),
        layer("a", [field(7, field(1, b"\x01" * 200_000)) + NUMBERS]),
    ):
        refused(tmp_path, data, "more than 20000 fields")
    assert time.process_time() - start < 20  # some hundredths of a second, if nothing is squared


def test_memory_is_taken_for_what_is_there(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for count in (10**9, 1 << 62):
        data = layer("a", [NUMBERS + field(7, field(1, varint(count)))])
        refused(tmp_path, data, f"claims {count} numbers and has 6")
        legacy = b"".join(field(i, count) for i in (1, 2, 3, 4))
        refused(tmp_path, layer("a", [NUMBERS + legacy], v1=True), "numbers and has 6")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
