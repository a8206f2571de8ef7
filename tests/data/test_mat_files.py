"""MATLAB files: SBD's fields read as scipy reads them, hostile and damaged ones refused."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from scipy.io import loadmat, savemat
from voc_layout import labels_of, write_sbd_mask

from fcnseg.data.mat_files import read_mat_field
from fcnseg.errors import DataError

resource = pytest.importorskip("resource", reason="measured as POSIX does")

SAMPLES = Path(scipy.io.__file__).parent / "matlab/tests/data"


def header() -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def array(kind: int, shape: tuple[int, ...], rest: bytes, name: bytes = b"GTcls") -> bytes:
    """An array of MATLAB's class ``kind`` that claims ``shape`` and holds ``rest``."""
    flags = element(6, struct.pack("<II", kind, 0))
    sizes = element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, flags + sizes + element(1, name) + rest)


def structure(segmentation: bytes, shape: tuple[int, ...] = (1, 1)) -> bytes:
    names = element(5, struct.pack("<i", 16)) + element(1, b"Segmentation".ljust(16, b"\0"))
    return array(2, shape, names + segmentation)


def compressed(array: bytes) -> bytes:
    packed = zlib.compress(array, 9)
    return struct.pack("<II", 15, len(packed)) + packed


def written(path: Path, *arrays: bytes) -> Path:
    path.write_bytes(header() + b"".join(arrays))
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_mat_field(path, "GTcls", "Segmentation")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_of_sbd_is_read_as_scipy_reads_it(tmp_path: Path, compressed: bool) -> None:
    labels = labels_of("a") % 21
    path = tmp_path / "a.mat"
    write_sbd_mask(path, labels, compressed)
    read = read_mat_field(path, "GTcls", "Segmentation")
    assert np.array_equal(read, labels)
    assert read.dtype == np.uint8
    present = loadmat(path)["GTcls"]["CategoriesPresent"][0, 0]
    assert np.array_equal(read_mat_field(path, "GTcls", "CategoriesPresent"), present)
    with pytest.raises(DataError, match=r"something else than real numbers in GTcls\.Boundaries"):
        read_mat_field(path, "GTcls", "Boundaries")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "?"])
def test_every_type_of_number(tmp_path: Path, kind: str, compressed: bool) -> None:
    values = np.arange(12).reshape(3, 4).astype(kind)
    fields = {"other": "text", "Segmentation": values}
    savemat(tmp_path / "x.mat", {"a": 1, "GTcls": fields, "z": 2}, do_compression=compressed)
    read = read_mat_field(tmp_path / "x.mat", "GTcls", "Segmentation")
    assert np.array_equal(read, loadmat(tmp_path / "x.mat")["GTcls"]["Segmentation"][0, 0])
    assert np.array_equal(read, values)


def test_bytes_written_by_hand_are_read(tmp_path: Path) -> None:
    """The helpers that make hostile files make good ones too; numbers go down the columns."""
    numbers = array(9, (2, 3), element(2, bytes([1, 2, 3, 4, 5, 6])), b"")
    path = written(tmp_path / "x.mat", structure(numbers))
    assert read_mat_field(path, "GTcls", "Segmentation").tolist() == [[1, 3, 5], [2, 4, 6]]
    path = written(tmp_path / "y.mat", compressed(structure(numbers)), compressed(numbers))
    assert read_mat_field(path, "GTcls", "Segmentation").tolist() == [[1, 3, 5], [2, 4, 6]]


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="scipy came without its tests")
@pytest.mark.parametrize("version", ["6.1_SOL2", "6.5.1_GLNX86", "7.1_GLNX86", "7.4_GLNX86"])
def test_files_that_matlab_wrote(version: str) -> None:
    """Of big and little machines: SOL2 is the former."""
    path = SAMPLES / f"teststruct_{version}.mat"
    expected = loadmat(path)["teststruct"]["doublefield"][0, 0]
    assert np.array_equal(read_mat_field(path, "teststruct", "doublefield"), expected)
    for field in ("stringfield", "complexfield"):
        with pytest.raises(DataError, match="has something else than real numbers"):
            read_mat_field(path, "teststruct", field)


def test_compressed_bombs(tmp_path: Path) -> None:
    bomb = compressed(bytes(100 << 20))
    path = written(tmp_path / "x.mat", bomb)
    assert path.stat().st_size < 200_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "unpacks to more than 67108864 bytes" in refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000
    with open(tmp_path / "long.mat", "wb") as file:
        file.write(header())
        file.truncate(1 << 30)
    assert "is larger than 67108864 bytes" in refused(tmp_path / "long.mat")


NUMBERS = array(9, (2, 3), element(2, bytes(6)), b"")
BILLION = (30_000, 30_000)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([structure(array(1, BILLION, b""))], "has something else than real numbers"),
        ([structure(NUMBERS, BILLION)], "has no struct called GTcls, but another kind"),
        ([structure(array(9, BILLION, element(2, bytes(6))))], r"has 6 bytes .* needs 900000000"),
        ([structure(array(9, (0, 0), element(2, bytes(6))))], r"has 6 bytes .* needs 0"),
        ([structure(array(4, BILLION, element(16, b"")))], "something else than real numbers"),
        ([structure(array(9, (-2, -3), element(2, bytes(6))))], r"\(-2, -3\)"),
        ([structure(array(9, (2, 3), element(200, bytes(6))))], "something else than real numbers"),
        ([structure(array(17, (1, 1), b""))], "has something else than real numbers"),
        ([structure(b"")], r"has no field Segmentation in GTcls, only \[\]"),
        ([element(9, bytes(8))], "has an element of type 9 where an array is expected"),
        ([compressed(element(9, bytes(8)))], "has an element of type 9 where an array is"),
        ([compressed(b"")], "has an element of type 0 where an array is expected"),
        ([struct.pack("<II", 14, 1 << 31)], "claims 2147483648 bytes and does not have them"),
        ([b"\0\0\0"], "is cut off within the head"),
        ([element(14, bytes(16))], "has an array whose description is damaged"),
        ([element(14, element(6, bytes(8)) + element(5, bytes(4)))], "description is damaged"),
        ([element(15, b"x" * 8)], "cannot be read"),
        ([array(9, (2, 3), element(2, bytes(6)))], "has no struct called GTcls, but another"),
        ([array(9, (2, 3), element(2, bytes(6)), b"other")], "has no variable GTcls"),
        ([element(14, b"")] * 100_001, "has more than 100000 elements"),
        ([], "has no variable GTcls"),
    ],
)
def test_hostile_files_are_refused(tmp_path: Path, arrays: list[bytes], message: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert re.search(message, refused(written(tmp_path / "x.mat", *arrays)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_deep_nesting_beside_the_field_is_passed_over(tmp_path: Path) -> None:
    nested = NUMBERS
    for _ in range(2000):
        nested = array(1, (1, 1), nested, b"")
    path = written(tmp_path / "x.mat", nested, structure(NUMBERS + nested))
    assert read_mat_field(path, "GTcls", "Segmentation").shape == (2, 3)


@pytest.mark.parametrize("sample", ["a.mat", "teststruct_6.1_SOL2.mat"])
def test_every_cut_and_many_flipped_bits_are_one_error_or_read(tmp_path: Path, sample: str) -> None:
    name = ("GTcls", "Segmentation") if sample == "a.mat" else ("teststruct", "doublefield")
    write_sbd_mask(tmp_path / "a.mat", labels_of("a") % 21, compressed=False)
    if sample != "a.mat" and not SAMPLES.is_dir():
        pytest.skip("scipy came without its tests")
    content = (tmp_path / sample if sample == "a.mat" else SAMPLES / sample).read_bytes()
    path, messages = tmp_path / "b.mat", []
    rng = np.random.default_rng(0)
    damaged = [content[:place] for place in range(0, len(content), 7)]
    for place in rng.integers(124, len(content), 3000):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    for each in damaged:
        path.write_bytes(each)
        try:
            read_mat_field(path, *name)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert not [text for text in messages if "\n" in text]


def test_other_kinds_of_files(tmp_path: Path) -> None:
    path = tmp_path / "x.mat"
    assert "there is no such file" in refused(path)
    path.write_bytes(b"")
    assert "is no MATLAB 5 file" in refused(path)
    path.write_bytes(b"<html>not found</html>" * 20)
    assert "is no MATLAB 5 file" in refused(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    assert "is a MATLAB 7.3 (HDF5) file, expected MATLAB 5; save it" in refused(path)
    savemat(path, {"GTcls": np.ones((2, 3))}, format="4")
    assert "is no MATLAB 5 file" in refused(path)
    path.unlink()
    path.mkdir()
    assert "cannot be read (Is a directory)" in refused(path)
