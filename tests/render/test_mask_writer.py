"""Masks written row by row, against masks written at once."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.render import MaskWriter, voc_palette, write_mask

PALETTE = voc_palette(21)


def draw(size: tuple[int, int], noisy: bool = True) -> np.ndarray:
    """Ids 0 to 20, and void."""
    draws = np.random.default_rng(0)
    ids = draws.integers(0, 22, size) if noisy else np.arange(size[0])[:, None] // 50 % 22
    return np.broadcast_to(np.where(ids == 21, 255, ids), size).astype(np.uint8)


def write(path: Path, labels: np.ndarray, rows: list[int]) -> Path:
    with MaskWriter(path, labels.shape, PALETTE) as writer:
        for part in np.split(labels, np.cumsum(rows)):
            writer.write(part)
    return path


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (700, 300), (2, 70000)])
@pytest.mark.parametrize("noisy", [True, False])
def test_rows_make_the_mask_that_is_written_at_once(
    tmp_path: Path, size: tuple[int, int], noisy: bool
) -> None:
    labels = draw(size, noisy)
    made, whole = tmp_path / "rows.png", write_mask(tmp_path / "whole.png", labels, PALETTE)
    write(made, labels, [1] if size[0] > 1 else [])
    with Image.open(made) as mine, Image.open(whole) as theirs:
        assert mine.mode == theirs.mode == "P"
        assert np.array_equal(np.asarray(mine), labels)
        assert mine.getpalette() == theirs.getpalette()
    assert made.read_bytes()[:33] == whole.read_bytes()[:33], "the header"
    assert made.stat().st_mode == whole.stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["rows.png", "whole.png"]


def test_the_bytes_do_not_depend_on_the_bands(tmp_path: Path) -> None:
    labels = draw((500, 400))
    at_once = write(tmp_path / "a.png", labels, []).read_bytes()
    assert at_once.count(b"IDAT") > 1
    for rows in ([250], [1, 2, 3], [499], [0, 100]):
        assert write(tmp_path / "b.png", labels, rows).read_bytes() == at_once


def interrupted(path: Path, labels: np.ndarray) -> None:
    with MaskWriter(path, labels.shape, PALETTE) as writer:
        writer.write(labels[:5])
        raise ZeroDivisionError


def test_after_an_error_the_old_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    labels = draw((10, 10))
    with pytest.raises(ZeroDivisionError):
        interrupted(path, labels)
    with (
        pytest.raises(UsageError, match=r"a\.png: expected 10 rows, got 9; not written"),
        MaskWriter(path, (10, 10), PALETTE) as writer,
    ):
        writer.write(labels[:9])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_wrong_rows_are_refused(tmp_path: Path) -> None:
    path, labels = tmp_path / "a.png", draw((10, 10))
    with MaskWriter(path, (10, 10), PALETTE) as writer:
        with pytest.raises(UsageError, match=r"expected rows 10 wide, 10 of them at most, got 2x9"):
            writer.write(labels[:2, :9])
        writer.write(labels[:7])
        with pytest.raises(UsageError, match=r"10 wide, 3 of them at most, got 4x10"):
            writer.write(labels[:4])
        with pytest.raises(UsageError, match=r"2 pixels .* 21 classes .* 30 at row 0, column 1"):
            writer.write(np.array([[0, 30] + [0] * 7 + [31]], np.uint8))
        with pytest.raises(UsageError, match=r"expected an \(H, W\) integer array"):
            writer.write(labels[7:].astype(float))
        writer.write(labels[7:])
    with Image.open(path) as mask:
        assert np.array_equal(np.asarray(mask), labels)


def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.jpg: expected a name that ends in \.png"):
        MaskWriter(tmp_path / "a.jpg", (1, 1), PALETTE)
    with pytest.raises(UsageError, match="at most 255 fit"):
        MaskWriter(tmp_path / "a.png", (1, 1), voc_palette(256))
    with pytest.raises(UsageError, match=r"a size \(height, width\) of 1 or more, got \(0, 4\)"):
        MaskWriter(tmp_path / "a.png", (0, 4), PALETTE)
    with pytest.raises(EnvironmentFault, match="check that the folder exists"):
        MaskWriter(tmp_path / "none" / "a.png", (1, 1), PALETTE).__enter__()


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(EnvironmentFault, match=r"a\.png: cannot be written \(No space left"):
        write_to(full, tmp_path / "a.png")
    assert os.listdir(tmp_path) == []


def write_to(device: Path, path: Path) -> None:
    """Write a mask whose file takes no bytes."""
    with MaskWriter(path, (300, 500), PALETTE) as writer:
        writer._file.close()
        writer._file = writer._open.enter_context(device.open("wb"))
        writer.write(draw((300, 500)))
