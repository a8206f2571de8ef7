"""The sheet of augmented samples: panels in their places, void hatched, size bounded."""

import numpy as np
import pytest

from fcnseg.errors import UsageError
from fcnseg.render import voc_palette
from fcnseg.render.augmented import MOST_SAMPLES, contact_sheet
from fcnseg.render.gallery import coloured_mask, jpeg_uri, parts_thumbnail, sample_thumbnail
from fcnseg.render.hatch import hatched
from fcnseg.render.overlay import overlay

PALETTE = voc_palette(3)
Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def sample(high: int = 60, wide: int = 80, level: int = 90) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((high, wide, 3), level, np.uint8)
    image[..., 0] = np.linspace(0, 255, wide).astype(np.uint8)
    label = np.zeros((high, wide), np.uint8)
    label[high // 4 : high // 2, wide // 4 : wide // 2] = 2
    label[-high // 5 :] = 255
    return image, label


def row(**change: int) -> Row:
    return (*sample(), *sample(**change))


def find(sheet: np.ndarray, panel: np.ndarray) -> list[tuple[int, int]]:
    """Every place (y, x) at which ``panel`` lies on the sheet."""
    h, w = panel.shape[:2]
    corners = (sheet[: len(sheet) - h + 1, : sheet.shape[1] - w + 1] == panel[0, 0]).all(axis=2)
    return [
        (y, x)
        for y, x in np.argwhere(corners).tolist()
        if np.array_equal(sheet[y : y + h, x : x + w], panel)
    ]


def test_each_sample_is_shown_beside_its_augmented_form() -> None:
    rows = [row(high=40, wide=40, level=30), row(level=200)]
    before = [[part.copy() for part in parts] for parts in rows]
    sheet = contact_sheet(rows, PALETTE, ["first", "second"])
    assert sheet.dtype == np.uint8
    tops = []
    for image, label, augmented, ids in rows:
        scale, other = 3, 240 // max(augmented.shape[:2])
        shown = [np.kron(part, np.ones((k, k, 1), np.uint8))
                 for part, k in ((image, scale), (augmented, other))]  # fmt: skip
        left, right = find(sheet, shown[0]), find(sheet, shown[1])
        with_labels = sample_thumbnail(augmented, ids, PALETTE, box=(240, 240))
        last = find(sheet, with_labels)
        second = find(sheet, sample_thumbnail(image, label, PALETTE, box=(240, 240)))
        top = right[0][0]
        assert {top} <= {y for y, _ in left} & {y for y, _ in second} & {y for y, _ in last}
        assert left[0][1] < second[0][1] < right[0][1] < last[0][1]
        tops.append(top)
    assert tops[0] < tops[1]
    for parts, copies in zip(rows, before, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(parts, copies, strict=True))


def test_ids_are_written_above_and_the_legend_below() -> None:
    plain = contact_sheet([row()], PALETTE, [""])
    titled = contact_sheet([row()], PALETTE, ["0001TP_006690"])
    assert plain.shape == titled.shape
    changed = np.argwhere((plain != titled).any(axis=2))
    image_top = find(plain, np.kron(row()[0], np.ones((3, 3, 1), np.uint8)))[0][0]
    assert len(changed) > 100
    assert changed[:, 0].max() < image_top
    legend = contact_sheet([row()], PALETTE, [""], ["sky", "road", "car"])
    assert np.array_equal(legend[: len(plain)], plain)
    below = legend[len(plain) :].reshape(-1, 3).tolist()
    assert list(PALETTE[2]) in below
    assert list(PALETTE[1]) not in below  # does not occur


@pytest.mark.parametrize("number", [1, 12, 13, MOST_SAMPLES])
def test_the_sheet_has_bounded_size(number: int) -> None:
    rows = [(*sample(200, 150), *sample(97, 96))] * number
    high, wide, _ = contact_sheet(rows, PALETTE, ["x" * 300] * number).shape
    assert wide <= 1450
    assert high <= 6700


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--show-augmented: expected 1 to 64 samples, got 0"):
        contact_sheet([], PALETTE, [])
    with pytest.raises(UsageError, match="got 65"):
        contact_sheet([row()] * 65, PALETTE, ["a"] * 65)
    with pytest.raises(UsageError, match=r"titles: expected 1"):
        contact_sheet([row()], PALETTE, [])
    with pytest.raises(UsageError, match="neither one of the 2 classes"):
        contact_sheet([row()], PALETTE[:2], ["a"])
    image, label = sample()
    with pytest.raises(UsageError, match="must be equal"):
        sample_thumbnail(image, label[1:], PALETTE)


def test_hatching_is_light_and_dark_and_nowhere_else() -> None:
    image, label = sample()
    shown = hatched(image, label == 255)
    assert np.array_equal(shown[label != 255], image[label != 255])
    void = shown[label == 255]
    assert (void > 215).all(axis=1).mean() > 0.1
    assert (void < 60).all(axis=1).mean() > 0.1
    assert (void.max(axis=1) == void.min(axis=1)).all()  # grey: no class of a colour
    assert np.array_equal(hatched(image, label == 7), image)


def test_thumbnails_fit_and_keep_every_class() -> None:
    image, label = sample(1500, 2000)
    shown = sample_thumbnail(image, label, PALETTE)
    assert shown.shape == (360, 480, 3)
    # A pixel in the middle of each region has the colour that an overlay gives it.
    expected = overlay(image, label, PALETTE, outline=False)
    for y, x in ((100, 100), (130, 180), (60, 400)):
        whole = expected[round((y + 0.5) * 1500 / 360), round((x + 0.5) * 2000 / 480)]
        assert np.abs(shown[y, x].astype(int) - whole).max() <= 3
    assert sample_thumbnail(image[:1], label[:1], PALETTE).shape == (1, 480, 3)
    assert sample_thumbnail(image[:7, :9], label[:7, :9], PALETTE).shape == (189, 243, 3)


def test_faulty_samples_show_what_there_is() -> None:
    image, label = sample()
    mask = coloured_mask(label, PALETTE)
    assert np.array_equal(mask[label == 2], np.tile(PALETTE[2], ((label == 2).sum(), 1)))
    both = parts_thumbnail(image, mask[:30, :40])
    assert both.shape == (237, 480, 3)
    assert (both[200, 400] == 255).all()  # the smaller one ends above
    assert parts_thumbnail(image, None).shape == (180, 240, 3)
    assert parts_thumbnail(None, mask).shape == (180, 240, 3)
    assert parts_thumbnail(None, None).ndim == 3


def test_pictures_of_a_page_are_small() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    assert len(jpeg_uri(noise)) < 190_000
    assert jpeg_uri(noise[:9, :9]).startswith("data:image/jpeg;base64,")
