"""Windows of image files, against the same files read whole."""

import struct
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fcnseg.data import rasters
from fcnseg.data.images import read_image
from fcnseg.data.rasters import ArrayRaster, TiffRaster, open_raster
from fcnseg.data.tiff_segments import Segments
from fcnseg.errors import DataError, UsageError

SIZE = (70, 90)
WINDOWS = [(0, 0, 70, 90), (0, 0, 1, 1), (69, 89, 1, 1), (15, 31, 17, 33), (16, 0, 32, 90)]
ORIENTATION, STRIP_OFFSETS, STRIP_COUNTS, PLANAR = 274, 273, 279, 284
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325

needs_libtiff = pytest.mark.skipif(not features.check("libtiff"), reason="Pillow has no libtiff")


def picture(mode: str) -> Image.Image:
    """Smooth colours with some noise, 70x90 (height x width)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    noise = np.random.default_rng(0).integers(0, 20, (*SIZE, 4))
    waves = np.stack([2 * y, x, y + x, 255 - 2 * y], 2) + noise
    rgba = Image.fromarray(waves.clip(0, 255).astype(np.uint8), "RGBA")
    if mode.startswith("I;16"):
        values = 257 * np.array(rgba.convert("L")).astype(np.uint16)
        return Image.fromarray(values.astype("<u2" if mode == "I;16" else ">u2"))
    return rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode)


def same(path: Path) -> object:
    """Compare windows with the whole, and return the raster."""
    whole = read_image(path)
    with open_raster(path) as raster:
        assert raster.size == whole.shape[:2]
        for top, left, height, width in WINDOWS:
            window = raster.read(top, left, height, width)
            assert window.dtype == np.uint8
            assert np.array_equal(window, whole[top : top + height, left : left + width])
    return raster


def entry(order: str, tag: int, values: list[int], after: bytes, base: int) -> tuple[bytes, bytes]:
    """A LONG tag of a TIFF by hand; longer values go to the end."""
    data = struct.pack(f"{order}{len(values)}L", *values)
    if len(data) > 4:
        place = base + len(after)
        data, after = struct.pack(order + "L", place), after + data
    return struct.pack(order + "HHL", tag, 4, len(values)) + data, after


def tiled(path: Path, pixels: np.ndarray, tile: int, order: str = "<") -> Path:
    """Write (H, W, 3) uint8 as an uncompressed TIFF in tiles, by hand."""
    down, across = (-(-side // tile) for side in pixels.shape[:2])
    padded = np.zeros((down * tile, across * tile, 3), np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    tiles = [
        padded[i * tile : (i + 1) * tile, j * tile : (j + 1) * tile].tobytes()
        for i in range(down)
        for j in range(across)
    ]
    offsets = [8 + len(tiles[0]) * i for i in range(len(tiles))]
    base = 8 + len(tiles[0]) * len(tiles)
    tags = {256: [pixels.shape[1]], 257: [pixels.shape[0]], 258: [8, 8, 8], 259: [1], 262: [2]}
    tags |= {277: [3], TILE_WIDTH: [tile], TILE_LENGTH: [tile]}
    tags |= {TILE_OFFSETS: offsets, TILE_COUNTS: [len(tiles[0])] * len(tiles)}
    directory, after = b"", b""
    for tag, values in sorted(tags.items()):
        made, after = entry(order, tag, values, after, base)
        directory += made
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HL", 42, base + len(after))
    count = struct.pack(order + "H", len(tags))
    path.write_bytes(head + b"".join(tiles) + after + count + directory + bytes(4))
    return path


COMPRESSIONS = ["raw", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd"]


@needs_libtiff
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "I;16", "I;16B"])
def test_strips_of_every_kind(tmp_path: Path, compression: str, mode: str) -> None:
    path = tmp_path / "a.tif"
    try:
        picture(mode).save(path, compression=compression, strip_size=2048)
    except (OSError, RuntimeError):
        pytest.skip(f"Pillow here does not write {mode} with {compression}")
    raster = same(path)
    small = compression == "raw" or mode == "1"  # in one strip here
    assert isinstance(raster, (TiffRaster, ArrayRaster) if small else TiffRaster)


@needs_libtiff
@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
def test_strips_of_jpeg(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    picture(mode).save(
        path,
        compression="jpeg",
        strip_size=90 * 16 * len(Image.new(mode, (1, 1)).getbands()),
        quality=60,
    )
    assert isinstance(same(path), TiffRaster)


@needs_libtiff
@pytest.mark.parametrize("predictor", [1, 2])
def test_a_predictor_is_undone(tmp_path: Path, predictor: int) -> None:
    path = tmp_path / "a.tif"
    tags = {317: predictor}
    picture("RGB").save(path, compression="tiff_lzw", strip_size=2048, tiffinfo=tags)
    assert isinstance(same(path), TiffRaster)


@pytest.mark.parametrize("big", [False, True])
def test_one_uncompressed_strip_is_read_by_rows(
    tmp_path: Path, big: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcnseg.data.tiff_segments._RAW_BYTES", 3 * 90 * 7 + 11)
    picture("RGB").save(tmp_path / "a.tif", big_tiff=big)
    raster = same(tmp_path / "a.tif")
    assert isinstance(raster, TiffRaster)
    assert raster._segments.cell == (7, 90)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiles(tmp_path: Path, order: str) -> None:
    pixels = np.array(picture("RGB"))
    path = tiled(tmp_path / "a.tif", pixels, 16, order)
    assert np.array_equal(read_image(path), pixels)
    raster = same(path)
    assert isinstance(raster, TiffRaster)
    assert raster._segments.cell == (16, 16)


@needs_libtiff
@pytest.mark.parametrize(
    "write",
    [
        lambda path: picture("RGB").save(path, format="PNG"),
        lambda path: picture("RGB").save(path, format="JPEG"),
        lambda path: picture("RGB").save(path, format="TIFF", tiffinfo={ORIENTATION: 8}),
        lambda path: picture("RGB").save(path, format="TIFF", compression="tiff_lzw"),
    ],
    ids=["png", "jpeg", "orientation", "one compressed strip"],
)
def test_other_files_are_decoded_whole(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "a.tif"
    write(path)
    whole = read_image(path)
    with open_raster(path) as raster:
        assert isinstance(raster, ArrayRaster)
        assert raster.size == whole.shape[:2]
        assert np.array_equal(raster.read(3, 4, 50, 60), whole[3:53, 4:64])


def lzw(path: Path) -> Path:
    picture("RGB").save(path, compression="tiff_lzw", strip_size=2048)
    return path


@needs_libtiff
def test_a_window_decodes_the_segments_it_touches_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, decoded = lzw(tmp_path / "a.tif"), []
    read = Segments.read

    def counted(self: Segments, file: object, index: int, name: str) -> np.ndarray:
        decoded.append(index)
        return read(self, file, index, name)  # type: ignore[arg-type]

    monkeypatch.setattr(Segments, "read", counted)
    with open_raster(path) as raster:
        assert isinstance(raster, TiffRaster)
        rows = raster._segments.cell[0]
        assert rows == 7
        decoded.clear()
        raster.read(2 * rows, 0, rows + 1, 40)
        raster.read(2 * rows, 40, rows + 1, 50)
        assert decoded == [2, 3]
        monkeypatch.setattr(rasters, "_KEPT_BYTES", 3 * rows * 90 * 3)
        raster.read(5 * rows, 0, 5 * rows, 90)  # more than may be kept, and nothing twice
        assert decoded == [2, 3, 5, 6, 7, 8, 9]
        raster.read(9 * rows, 0, rows, 9)
        raster.read(0, 0, rows, 9)
        assert decoded[7:] == [0]
        assert list(raster._kept) == [8, 9, 0]
        assert raster._bytes == sum(kept.nbytes for kept in raster._kept.values())


@needs_libtiff
def test_threads_read_one_raster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rasters, "_KEPT_BYTES", 1)
    path = lzw(tmp_path / "a.tif")
    whole, wrong = read_image(path), []
    with open_raster(path) as raster:

        def work(seed: int) -> None:
            draws = np.random.default_rng(seed)
            for _ in range(30):
                top, left = int(draws.integers(0, 50)), int(draws.integers(0, 70))
                if not np.array_equal(
                    raster.read(top, left, 20, 20), whole[top : top + 20, left : left + 20]
                ):
                    wrong.append((top, left))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@needs_libtiff
def test_faults_name_the_file(tmp_path: Path) -> None:
    path = lzw(tmp_path / "cut.tif")
    with Image.open(path) as image:
        tags = image.tag_v2  # type: ignore[attr-defined]
        offsets, counts = tags[STRIP_OFFSETS], tags[STRIP_COUNTS]
    damaged = bytearray(path.read_bytes())
    damaged[offsets[5] : offsets[5] + counts[5]] = b"\xff" * counts[5]
    path.write_bytes(damaged)
    with open_raster(path) as raster:
        raster.read(0, 0, 35, 90)
        with pytest.raises(DataError, match=r"cut\.tif: cannot be decoded \(.*\); copy or save"):
            raster.read(0, 0, 36, 90)
    with pytest.raises(DataError, match=r"none\.tif: there is no such file"):
        open_raster(tmp_path / "none.tif").__enter__()
    with pytest.raises(DataError, match=r"claims 70x90 pixels .* limit of 6299; raise --max-pix"):
        open_raster(path, 6299).__enter__()


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.99])
def test_a_truncated_file_is_refused_when_it_is_opened(
    tmp_path: Path, kept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcnseg.data.tiff_segments._RAW_BYTES", 3 * 90 * 7)
    path = tmp_path / "a.tif"
    picture("RGB").save(path)  # the directory comes first, so that the cut is in the pixels
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"a\.tif: cannot be decoded \(image file is truncated"):
        open_raster(path).__enter__()


def test_pixels_without_a_fixed_range_are_refused_when_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcnseg.data.tiff_segments._RAW_BYTES", 4 * 90 * 7)
    Image.new("F", (90, 70)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match=r"f\.tif: the pixels are floating point"):
        open_raster(tmp_path / "f.tif").__enter__()


def test_an_error_of_the_block_stays_as_it_is(tmp_path: Path) -> None:
    picture("RGB").save(tmp_path / "a.tif")
    with pytest.raises(ZeroDivisionError), open_raster(tmp_path / "a.tif"):
        raise ZeroDivisionError


def test_an_array_is_a_raster() -> None:
    pixels = np.array(picture("RGB"))
    raster = ArrayRaster(pixels)
    assert raster.size == SIZE
    assert np.array_equal(raster.read(1, 2, 3, 4), pixels[1:4, 2:6])
    with pytest.raises(UsageError, match=r"raster: expected an \(H, W, 3\) uint8"):
        ArrayRaster(pixels[..., 0])
