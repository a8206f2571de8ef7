import io
import os

import numpy as np
import pytest
from PIL import Image

from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.palette import VOID_COLOUR
from fcnseg.render import colourise, voc_palette, write_image, write_mask

PALETTE = ((0, 0, 0), (128, 0, 0), (0, 200, 50))


@pytest.fixture
def labels():
    ids = np.zeros((4, 6), dtype=np.uint8)
    ids[1:3, 1:4], ids[3], ids[0, 5] = 1, 2, 255
    return ids


def test_voc_palette_is_the_published_one():
    palette = voc_palette(256)
    assert len(set(palette)) == 256
    assert palette[:6] == (
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (128, 128, 0),
        (0, 0, 128),
        (128, 0, 128),
    )
    assert palette[15] == (192, 128, 128)
    assert palette[20] == (0, 64, 128)
    assert palette[255] == VOID_COLOUR == (224, 224, 192)
    assert voc_palette(21) == palette[:21]
    for wrong in (0, 257):
        with pytest.raises(UsageError, match=f"1 to 256 colours, got {wrong}"):
            voc_palette(wrong)


def test_voc_palette_is_that_of_voc_files(shared_data):
    mask = Image.open(next((shared_data / "voc-sample" / "SegmentationClass").glob("*.png")))
    stored = np.array(mask.getpalette()).reshape(-1, 3)
    assert np.array_equal(stored, voc_palette(len(stored)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_colourise_gives_each_id_its_colour(labels, dtype):
    coloured = colourise(labels.astype(dtype), PALETTE)
    assert coloured.dtype == np.uint8
    for y in range(4):
        for x in range(6):
            k = labels[y, x]
            assert tuple(coloured[y, x]) == ((224, 224, 192) if k == 255 else PALETTE[k])


def test_colourise_with_another_void():
    coloured = colourise(np.array([[-1, 2]]), PALETTE, void=-1)
    assert coloured.tolist() == [[[224, 224, 192], [0, 200, 50]]]


def test_unknown_ids_are_named(labels):
    labels[2, 3] = 7
    with pytest.raises(UsageError, match=r"1 pixels .* 3 classes .* 7 at row 2, column 3"):
        colourise(labels, PALETTE)
    with pytest.raises(UsageError, match="-1 at row 0, column 0"):
        colourise(np.full((2, 2), -1), PALETTE)
    with pytest.raises(UsageError, match=r"expected an \(H, W\) integer array"):
        colourise(labels.astype(float), PALETTE)
    with pytest.raises(UsageError, match=r"colour 1 is \(0, 300, 0\)"):
        colourise(labels, ((0, 0, 0), (0, 300, 0)))


def test_a_mask_holds_the_ids_and_shows_the_colours(tmp_path, labels):
    path = write_mask(tmp_path / "a.png", labels, PALETTE)
    with Image.open(path) as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), labels)
        assert np.array_equal(np.asarray(mask.convert("RGB")), colourise(labels, PALETTE))
    assert path.read_bytes()[24:26] == bytes([8, 3]), "8 bits a pixel, palette colour"


def test_a_mask_round_trips_for_every_id_and_for_other_voids(tmp_path):
    ids = np.arange(256, dtype=np.int32).reshape(16, 16)
    path = write_mask(tmp_path / "all.png", ids, voc_palette(255))
    with Image.open(path) as mask:
        assert np.array_equal(np.asarray(mask), ids)
    path = write_mask(tmp_path / "all.png", np.array([[-1, 2]]), PALETTE, void=-1)
    with Image.open(path) as mask:
        assert np.asarray(mask).tolist() == [[255, 2]]


def test_a_mask_is_refused_where_it_would_lie(tmp_path, labels):
    with pytest.raises(UsageError, match=r"a\.jpg: expected a name that ends in \.png"):
        write_mask(tmp_path / "a.jpg", labels, PALETTE)
    with pytest.raises(UsageError, match="at most 255 fit"):
        write_mask(tmp_path / "a.png", labels, voc_palette(256), void=-1)
    with pytest.raises(UsageError, match="neither one of the 2 classes"):
        write_mask(tmp_path / "a.png", labels, PALETTE[:2])
    assert os.listdir(tmp_path) == []


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_png_is_exact_and_jpeg_is_of_quality_92(tmp_path, image):
    with Image.open(write_image(tmp_path / "a.PNG", image[::-1])) as stored:
        assert np.array_equal(np.asarray(stored), image[::-1])
    expected = io.BytesIO()
    Image.fromarray(image).save(expected, format="JPEG", quality=92, subsampling=0)
    for name in ("a.jpg", "a.JPEG"):
        assert write_image(tmp_path / name, image).read_bytes() == expected.getvalue()


def test_an_image_that_cannot_be_written_is_an_error(tmp_path, image, monkeypatch):
    def failing(*_, **__):
        raise OSError("encoder error -2")

    with pytest.raises(UsageError, match=r"a\.gif: expected a name that ends in \.png, \.jpg"):
        write_image(tmp_path / "a.gif", image)
    with pytest.raises(UsageError, match=r"expected an \(H, W, 3\) uint8 RGB array"):
        write_image(tmp_path / "a.png", image / 255)
    with pytest.raises(EnvironmentFault, match="check that the folder exists"):
        write_image(tmp_path / "missing" / "a.png", image)
    with pytest.raises(UsageError, match=r"a\.jpg: a side of a JPEG has 65500 .*, got 4x65501 \("):
        write_image(tmp_path / "a.jpg", np.zeros((4, 65_501, 3), np.uint8))
    monkeypatch.setattr(Image.Image, "save", failing)
    with pytest.raises(EnvironmentFault, match=r"a\.jpg: cannot be encoded as JPEG \(encoder err"):
        write_image(tmp_path / "a.jpg", image)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, image, monkeypatch):
    path = write_image(tmp_path / "a.png", image)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EnvironmentFault, match="No space left on device"):
        write_image(path, image[:5])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]
