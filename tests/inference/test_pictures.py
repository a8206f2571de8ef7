"""Arrays, PIL images, paths and tensors of one photograph."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcnseg.data.images import read_image
from fcnseg.errors import DataError, UsageError
from fcnseg.inference.pictures import as_pixels

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
GREY = PIXELS[..., 0]
ALPHA = np.dstack([PIXELS, PIXELS[..., 1]])


def saved(folder: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path = folder / "a.png"
    Image.fromarray(pixels, mode).save(path)
    return path


def channels_first(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1)


@pytest.mark.parametrize("pixels", [PIXELS, GREY, ALPHA], ids=["rgb", "grey", "alpha"])
def test_all_kinds_give_what_the_file_gives(pixels: np.ndarray, tmp_path: Path) -> None:
    path = saved(tmp_path, pixels)
    expected = read_image(path)
    kinds: list[Callable[[], object]] = [
        lambda: path,
        lambda: str(path),
        lambda: Image.open(path),
        lambda: pixels,
        lambda: np.asfortranarray(pixels),
        lambda: np.atleast_3d(pixels),
        lambda: channels_first(pixels),
    ]
    for kind in kinds:
        found = as_pixels(kind())
        assert found.dtype == np.uint8
        assert np.array_equal(found, expected)


def test_transparent_pixels_lie_on_white() -> None:
    """Against the plain formula, to the rounding of it."""
    alpha = ALPHA[..., 3:] / 255
    expected = PIXELS * alpha + 255 * (1 - alpha)
    assert np.abs(as_pixels(ALPHA) - expected).max() <= 1


def test_pictures_of_pillow_are_turned_upright_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(PIXELS).save(path, exif=exif, quality=95)
    picture = Image.open(path)
    assert np.array_equal(as_pixels(picture), read_image(path))
    assert as_pixels(picture).shape == (40, 24, 3)
    assert picture.size == (40, 24)
    assert picture.getexif()[274] == 6


def test_cmyk_and_16_bits(tmp_path: Path) -> None:
    path = tmp_path / "cmyk.jpg"
    Image.fromarray(PIXELS).convert("CMYK").save(path)
    assert np.array_equal(as_pixels(Image.open(path)), read_image(path))
    wide = (GREY.astype(np.uint16) << 8) + 7
    path = tmp_path / "wide.png"
    Image.fromarray(wide).save(path)
    assert np.array_equal(as_pixels(Image.open(path)), np.repeat(GREY[..., None], 3, 2))
    assert np.array_equal(as_pixels(path), as_pixels(Image.open(path)))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (PIXELS / 255, r"of float64; if it runs .* \(255 \* image\)\.round\(\)\.astype"),
        (torch.rand(3, 4, 5), r"shape \(3, 4, 5\) of torch.float32; if it .*\.byte\(\)"),
        (GREY.astype(np.uint16), "of uint16; divide it down"),
        (PIXELS[None], r"shape \(1, 24, 40, 3\) of uint8; give one picture of the batch"),
        (torch.from_numpy(PIXELS), r"a \(3, H, W\) tensor.* got shape \(24, 40, 3\)"),
        (PIXELS[:0], r"got shape \(0, 40, 3\)"),
        (7, r"got shape \(\) of int"),
    ],
)
def test_refusals(picture: object, words: str) -> None:
    with pytest.raises(UsageError, match=f"photo: expected uint8: .*{words}"):
        as_pixels(picture, "photo")


def test_pictures_that_pillow_cannot_finish(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(PIXELS).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="image: cannot be decoded"):
        as_pixels(Image.open(path))
    with pytest.raises(DataError, match=r"cut\.jpg: cannot be decoded"):
        as_pixels(path)
    with pytest.raises(DataError, match=r"image: has 24x40 pixels .* limit of 100"):
        as_pixels(Image.fromarray(PIXELS), max_pixels=100)
    frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="image: has several frames"):
        as_pixels(Image.open(tmp_path / "film.gif"))
