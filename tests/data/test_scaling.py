"""Samples read at another size."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fcnseg.data.folder import folder
from fcnseg.data.images import read_image, read_scaled, read_size
from fcnseg.errors import DataError


def photograph(path: Path, height: int, width: int, exif: int = 1) -> np.ndarray:
    """Write a smooth picture whose red grows to the right and whose green grows downwards."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    image = np.stack([x, y, 128 + 0 * x], axis=2).round().astype(np.uint8)
    tags = Image.Exif()
    tags[0x0112] = exif
    Image.fromarray(image).save(path, quality=95, subsampling=0, exif=tags)
    return image


@pytest.mark.parametrize("size", [(400, 600), (601, 397), (1003, 1501)])
@pytest.mark.parametrize("short_side", [48, 100, 333])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_it_shows_the_whole_picture_where_it_belongs(
    tmp_path: Path, size: tuple[int, int], short_side: int, ending: str
) -> None:
    """Compared with the picture averaged over the area of each new pixel."""
    path = tmp_path / f"a.{ending}"
    photograph(path, *size)
    image, whole = read_scaled(path, 10**8, short_side)
    assert whole == size
    assert min(image.shape[:2]) == short_side
    assert max(image.shape[:2]) == short_side * max(size) // min(size)
    wanted = cv2.resize(read_image(path), image.shape[1::-1], interpolation=cv2.INTER_AREA)
    # A shift by half a pixel of the result would be 255 / short_side / 2 grey levels.
    difference = image.astype(int) - wanted.astype(int)
    assert abs(difference.mean()) < 0.3
    assert np.abs(difference).max() <= 3
    for side in (slice(None, 3), slice(-3, None)):
        assert abs(difference[side].mean()) < 0.6
        assert abs(difference[:, side].mean()) < 0.6


def test_a_smaller_picture_is_enlarged(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 20, 30)
    image, whole = read_scaled(tmp_path / "a.jpg", 10**8, 40)
    assert (image.shape, whole) == ((40, 60, 3), (20, 30))


def test_orientation_comes_before_the_size(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 300, 600, exif=6)
    image, whole = read_scaled(tmp_path / "a.jpg", 10**8, 50)
    assert (image.shape, whole) == ((100, 50, 3), (600, 300))
    assert read_size(tmp_path / "a.jpg") == (600, 300)
    assert image[0, -1, 0] < 20 < 235 < image[-1, -1, 0]  # red grew to the right, now downwards


def test_samples_keep_image_and_labels_together(tmp_path: Path) -> None:
    for part in ("i", "m"):
        (tmp_path / part).mkdir()
    label = np.zeros((400, 640), np.uint8)
    label[120:, 200:] = 1
    Image.fromarray(np.repeat(label[..., None] * 200, 3, axis=2)).save(
        tmp_path / "i/a.jpg", quality=98, subsampling=0
    )
    Image.fromarray(label).save(tmp_path / "m/a.png")
    source = folder(tmp_path / "i", tmp_path / "m", ("a", "b"))
    scaled = source.scaled(50)
    sample = scaled[0]
    assert sample.image.shape == (50, 80, 3)
    assert sample.label.shape == (50, 80)
    assert np.array_equal(sample.label == 1, sample.image[..., 0] > 100)
    assert np.array_equal(scaled.label(0), sample.label)
    assert source[0].label.shape == (400, 640)
    assert source.fingerprint() != scaled.fingerprint() != source.scaled(60).fingerprint()


@pytest.mark.parametrize(
    ("size", "short_side"), [((401, 643), 50), ((97, 151), 40), ((61, 50), 77)]
)
def test_each_label_is_that_under_the_centre_of_its_pixel(
    tmp_path: Path, size: tuple[int, int], short_side: int
) -> None:
    for part in ("i", "m"):
        (tmp_path / part).mkdir()
    label = np.random.default_rng(0).integers(0, 2, size).astype(np.uint8)
    Image.new("RGB", size[::-1]).save(tmp_path / "i/a.png")
    Image.fromarray(label).save(tmp_path / "m/a.png")
    found = folder(tmp_path / "i", tmp_path / "m", ("a", "b")).scaled(short_side)[0].label
    rows, columns = (
        np.array([int((i + 0.5) * old / new) for i in range(new)])
        for old, new in zip(size, found.shape, strict=True)
    )
    # Where a centre falls on the edge between two pixels, either is right.
    assert (found == label[np.ix_(rows, columns)]).mean() > 0.97


def test_sizes_are_compared_before_scaling(tmp_path: Path) -> None:
    for part in ("i", "m"):
        (tmp_path / part).mkdir()
    photograph(tmp_path / "i/a.jpg", 200, 300)
    Image.new("L", (150, 100), 1).save(tmp_path / "m/a.png")
    source = folder(tmp_path / "i", tmp_path / "m", ("a", "b")).scaled(40)
    with pytest.raises(DataError, match=r"mask is 100x150 .* but its image .* is 200x300"):
        source[0]


def test_the_header_alone_tells_the_size_and_its_faults(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", 200, 300)
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    assert read_size(tmp_path / "a.jpg") == (200, 300)  # only decoding finds the end missing
    with pytest.raises(DataError, match=r"claims 200x300 pixels.*raise --max-pixels"):
        read_size(tmp_path / "a.jpg", 1000)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="the file is empty"):
        read_size(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be decoded"):
        read_scaled(tmp_path / "a.jpg", 10**8, 20)
