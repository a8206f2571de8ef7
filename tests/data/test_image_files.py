"""Reading image and mask files, against pixels written by hand."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.images import read_image, read_mask_kind, read_mask_pixels
from fcnseg.data.rasters import open_raster
from fcnseg.errors import DataError

ORIENTATION = 0x0112


def noise(shape: tuple[int, ...], high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, high, shape).astype(dtype)


def png(path: Path, width: int, height: int, depth: int, colour: int, rows: bytes) -> Path:
    """Write a PNG by hand; ``rows`` are packed rows without filter bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    stride = len(rows) // height
    raw = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "ppm", "webp"])
def test_rgb_is_read_exactly(tmp_path: Path, ending: str) -> None:
    expected = noise((5, 7, 3))
    path = tmp_path / f"a.{ending}"
    Image.fromarray(expected).save(path, lossless=True)  # heeded by WebP alone
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.writeable
    assert np.array_equal(image, expected)


def test_grey_is_repeated(tmp_path: Path) -> None:
    grey = noise((4, 6))
    Image.fromarray(grey).save(tmp_path / "g.png")
    assert np.array_equal(read_image(tmp_path / "g.png"), np.stack([grey] * 3, axis=2))


def test_transparent_pixels_are_composited_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(rgba, "RGBA").save(tmp_path / "a.png")
    expected = [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]
    assert np.array_equal(read_image(tmp_path / "a.png"), expected)
    grey = Image.fromarray(np.array([[[7, 255], [7, 0]]], np.uint8), "LA")
    grey.save(tmp_path / "la.png")
    assert np.array_equal(read_image(tmp_path / "la.png"), [[[7, 7, 7], [255, 255, 255]]])


def test_palette_transparency_is_composited_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([9, 8, 7, 1, 2, 3])
    image.save(tmp_path / "p.png", transparency=1)
    assert np.array_equal(read_image(tmp_path / "p.png"), [[[9, 8, 7], [255, 255, 255]]])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=100)
    image = read_image(tmp_path / "c.jpg")
    assert image.shape == (16, 16, 3)
    assert image[8, 8, 0] > 240
    assert image[8, 8, 1:].max() < 15


def test_16_bit_keeps_the_high_byte(tmp_path: Path) -> None:
    grey = np.array([[0, 255, 256, 40000, 65535]], np.uint16)
    Image.fromarray(grey).save(tmp_path / "g16.png")
    assert np.array_equal(read_image(tmp_path / "g16.png")[0, :, 1], [0, 0, 1, 156, 255])
    rows = np.stack([grey, grey, grey], axis=2).astype(">u2").tobytes()
    colour = read_image(png(tmp_path / "c16.png", 5, 1, 16, 2, rows))
    assert np.array_equal(colour, read_image(tmp_path / "g16.png"))


@pytest.mark.parametrize(("mode", "words"), [("F", "floating point"), ("I", "32-bit integers")])
def test_pixels_without_a_fixed_range_are_refused(tmp_path: Path, mode: str, words: str) -> None:
    Image.new(mode, (3, 3)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif: the pixels are {words}"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_image_and_mask_alike(
    tmp_path: Path, orientation: int
) -> None:
    upright = noise((4, 6), 20)
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png")[..., 0], upright)
    assert np.array_equal(read_mask_pixels(tmp_path / "a.png").values, upright)


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_truncated_files_are_errors(tmp_path: Path, ending: str, kept: float) -> None:
    whole = tmp_path / f"whole.{ending}"
    Image.fromarray(noise((64, 64, 3))).save(whole)
    data = whole.read_bytes()
    path = tmp_path / f"cut.{ending}"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=rf"cut\.{ending}: cannot be decoded \(.*truncated"):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise((64, 64))).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.png: cannot be decoded"):
        read_mask_pixels(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"<!DOCTYPE html><html>not found</html>", "holds HTML"),
        (b"\n <html></html>", "holds HTML"),
        (b"just text", "is no image of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image of a known kind"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_image, read_mask_pixels):
        with pytest.raises(DataError, match=rf"^{path}: {words}") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.png: there is no such file"):
        read_image(tmp_path / "x.png")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)


def test_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    # 400 million pixels claimed by a file of a few bytes: decoding would fail on the data.
    path = png(tmp_path / "bomb.png", 20000, 20000, 8, 0, b"\0" * 20000)
    with pytest.raises(DataError, match=r"bomb\.png: claims 20000x20000 .*--max-pixels"):
        read_image(path)
    with pytest.raises(DataError, match="--max-pixels"):
        read_mask_pixels(path)


def test_the_limit_is_ours_and_not_pillows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (10, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_image(tmp_path / "a.png", max_pixels=80).shape == (8, 10, 3)
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(DataError, match="more than the limit of 79"):
        read_image(tmp_path / "a.png", max_pixels=79)


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_several_frames_are_refused(tmp_path: Path, ending: str) -> None:
    frames = [Image.fromarray(noise((8, 8, 3)) // (i + 1)) for i in range(3)]
    path = tmp_path / f"a.{ending}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="several frames or pages"):
        read_image(path)


def test_a_phones_multi_picture_jpeg_is_one_image(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (16, 8), (200, 0, 0)), Image.new("RGB", (4, 4))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "MPO"
    assert read_image(tmp_path / "a.jpg").shape == (8, 16, 3)


def test_palette_masks_give_indices_not_luminance(tmp_path: Path) -> None:
    ids = noise((9, 9), 21)
    mask = Image.fromarray(ids, "P")
    mask.putpalette(noise((256, 3)).tobytes())
    mask.save(tmp_path / "m.png")
    assert np.array_equal(read_mask_pixels(tmp_path / "m.png").values, ids)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("colour", [0, 3])
def test_few_bits_give_stored_values(tmp_path: Path, depth: int, colour: int) -> None:
    ids = noise((3, 8), 2**depth)
    bits = np.unpackbits(ids[..., None], axis=2)[..., 8 - depth :]
    rows = np.packbits(bits.reshape(3, -1), axis=1).tobytes()
    path = png(tmp_path / "m.png", 8, 3, depth, colour, rows)
    if colour == 3:  # a palette image needs its colour table
        data = path.read_bytes()
        table = bytes(range(3 * 2**depth))
        body = b"PLTE" + table
        chunk = struct.pack(">I", len(table)) + body + struct.pack(">I", zlib.crc32(body))
        path.write_bytes(data[:33] + chunk + data[33:])
    assert np.array_equal(read_mask_pixels(path).values, ids)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_masks_are_not_truncated(tmp_path: Path, ending: str) -> None:
    ids = np.array([[0, 300, 65535, 255]], np.uint16)
    Image.fromarray(ids).save(tmp_path / f"m.{ending}")
    read = read_mask_pixels(tmp_path / f"m.{ending}").values
    assert read.dtype == np.uint16
    assert np.array_equal(read, ids)


def test_32_bit_masks_must_fit_in_16_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 70000]], np.int32)).save(tmp_path / "m.tif")
    with pytest.raises(DataError, match=r"values from 0 to 70000; class ids must fit in 16 bits"):
        read_mask_pixels(tmp_path / "m.tif")


@pytest.mark.parametrize(("ending", "kind"), [("jpg", "JPEG"), ("webp", "WebP")])
def test_lossy_masks_are_refused(tmp_path: Path, ending: str, kind: str) -> None:
    Image.fromarray(noise((8, 8, 3), 3)).save(tmp_path / f"m.{ending}")
    with pytest.raises(DataError, match=rf"m\.{ending}: a {kind} mask is refused"):
        read_mask_pixels(tmp_path / f"m.{ending}")


def test_alpha_of_masks_is_ignored(tmp_path: Path) -> None:
    rgba = noise((4, 4, 4))
    Image.fromarray(rgba, "RGBA").save(tmp_path / "m.png")
    assert np.array_equal(read_mask_pixels(tmp_path / "m.png").values, rgba[..., :3])


def test_16_bit_grey_with_alpha_would_lose_a_byte(tmp_path: Path) -> None:
    path = png(tmp_path / "m.png", 1, 1, 16, 4, b"\x01\x2c\xff\xff")
    with pytest.raises(DataError, match="16-bit grey with alpha is refused"):
        read_mask_pixels(path)


@pytest.mark.parametrize("alpha", [False, True])
def test_16_bit_colour_in_png_would_lose_a_byte(tmp_path: Path, alpha: bool) -> None:
    values = np.repeat(np.array([[[0], [1], [5]]], ">u2"), 3 + alpha, axis=2)
    path = png(tmp_path / "m.png", 3, 1, 16, 6 if alpha else 2, values.tobytes())
    for read in (read_mask_pixels, read_mask_kind):
        with pytest.raises(DataError, match=rf"^{path}: a mask of 16-bit RGB is refused; save it"):
            read(path)


def tiff(path: Path, height: int, width: int, tags: dict[int, list[int]], pixels: bytes) -> Path:
    """Write an uncompressed little-endian TIFF by hand."""
    tags = {256: [width], 257: [height], 259: [1], 278: [height], **tags}
    lists, entries = b"", b""
    start = 8 + len(pixels)
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            field = struct.pack("<I", start + len(lists))
            lists += packed
        else:
            field = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, 3, len(values)) + field
    directory = struct.pack("<H", len(tags)) + entries + b"\0" * 4
    head = b"II*\0" + struct.pack("<I", start + len(lists))
    path.write_bytes(head + pixels + lists + directory)
    return path


@pytest.mark.parametrize("apart", [False, True])
def test_16_bit_colour_in_tiff_would_lose_a_byte(tmp_path: Path, apart: bool) -> None:
    values = np.repeat(np.array([[[0], [1], [5]]], "<u2"), 3, axis=2)
    if apart:  # each colour in a plane of its own
        values = np.moveaxis(values, 2, 0)
    starts, counts = ([8, 14, 20], [6, 6, 6]) if apart else ([8], [18])
    tags = {258: [16] * 3, 262: [2], 273: starts, 277: [3], 279: counts, 284: [1 + apart]}
    path = tiff(tmp_path / "m.tif", 1, 3, tags, np.ascontiguousarray(values).tobytes())
    with pytest.raises(DataError, match=r"m\.tif: a mask of 16-bit RGB is refused"):
        read_mask_pixels(path)


def grey_tiff(path: Path, values: np.ndarray, photometric: int) -> Path:
    bits, size = values.dtype.itemsize * 8, values.nbytes
    tags = {258: [bits], 262: [photometric], 273: [8], 277: [1], 279: [size]}
    return tiff(path, *values.shape, tags, values.tobytes())


def test_tiff_in_which_white_is_zero(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    assert np.array_equal(read_mask_pixels(grey_tiff(tmp_path / "b.tif", ids, 1)).values, ids)
    with pytest.raises(DataError, match=r"w\.tif: a mask in a WhiteIsZero TIFF .* save it as PNG"):
        read_mask_pixels(grey_tiff(tmp_path / "w.tif", ids, 0))
    for photometric in (0, 1):  # Pillow inverts none of 16 bits
        wide = grey_tiff(tmp_path / "wide.tif", ids.astype("<u2"), photometric)
        assert np.array_equal(read_mask_pixels(wide).values, ids)
    shown = noise((5, 8), 2).astype(bool)
    Image.fromarray(shown).save(tmp_path / "fax.tif", compression="group4")
    assert np.array_equal(read_mask_pixels(tmp_path / "fax.tif").values, shown)


def pgm(path: Path, values: np.ndarray, most: int, ascii: bool) -> Path:
    """Write a PGM, or a PPM of (H, W, 3), that says that its largest value is ``most``."""
    height, width = values.shape[:2]
    kind = 5 + (values.ndim == 3) - 3 * ascii
    if ascii:
        body = " ".join(map(str, values.ravel())).encode()
    else:
        body = values.astype(">u2" if most > 255 else np.uint8).tobytes()
    path.write_bytes(f"P{kind}\n{width} {height}\n{most}\n".encode() + body)
    return path


@pytest.mark.parametrize("ascii", [False, True])
def test_pgm_masks_give_stored_values_or_stop(tmp_path: Path, ascii: bool) -> None:
    ids = np.array([[0, 1, 5], [5, 19, 20]])
    for most in (255, 65535):
        path = pgm(tmp_path / "m.pgm", ids, most, ascii)
        assert np.array_equal(read_mask_pixels(path).values, ids)
        assert read_mask_kind(path) == ("grey" if most == 255 else "grey16")
    for most in (127, 20, 254, 300, 65534):
        path = pgm(tmp_path / "m.pgm", ids, most, ascii)
        words = rf"^{path}: a mask with values of 0 to {most} \(maxval; expected 255, or 65535 for"
        with pytest.raises(DataError, match=words):
            read_mask_pixels(path)
    colours = noise((2, 3, 3))
    path = pgm(tmp_path / "m.ppm", colours, 255, ascii)
    assert np.array_equal(read_mask_pixels(path).values, colours)
    with pytest.raises(DataError, match=r"m\.ppm: a mask with values of 0 to 65535"):
        read_mask_pixels(pgm(path, colours, 65535, ascii))


@pytest.mark.parametrize("ascii", [False, True])
def test_16_bit_pgm_photographs_keep_the_high_byte(tmp_path: Path, ascii: bool) -> None:
    grey = np.array([[0, 255, 256, 40000, 65535]])
    image = read_image(pgm(tmp_path / "g.pgm", grey, 65535, ascii))
    assert np.array_equal(image, np.repeat(grey[..., None] // 256, 3, axis=2))
    twelve = np.array([[0, 2048, 4095]])
    image = read_image(pgm(tmp_path / "t.pgm", twelve, 4095, ascii))
    assert np.array_equal(image[..., 0], np.rint(twelve / 4095 * 65535).astype(int) // 256)


def test_overviews_of_a_tiff_are_no_further_pictures(tmp_path: Path) -> None:
    """A page whose tag 254 says that it is a smaller copy, as in cloud-optimised GeoTIFFs."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    whole, half = Image.fromarray(pixels), Image.fromarray(pixels[::2, ::2].copy())
    for kind, name in ((1, "overview.tif"), (0, "pages.tif")):
        half.encoderinfo = {"tiffinfo": {254: kind}}
        whole.save(tmp_path / name, save_all=True, append_images=[half])
    assert np.array_equal(read_image(tmp_path / "overview.tif"), pixels)
    with pytest.raises(DataError, match=r"pages\.tif: has several frames or pages"):
        read_image(tmp_path / "pages.tif")
    with open_raster(tmp_path / "overview.tif", 10_000) as raster:
        assert np.array_equal(raster.read(8, 5, 20, 30), pixels[8:28, 5:35])
