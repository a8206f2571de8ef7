"""The VOC layout: the genuine sample and made folders."""

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from voc_layout import labels_of, make_voc, voc_colours, write_voc_mask

from fcnseg.data.faults import DataFaults
from fcnseg.data.sample import Source
from fcnseg.data.voc import CLASSES, PALETTE, voc
from fcnseg.errors import DataError, UsageError


def made(root: Path, entries: str = "a\nb\n") -> Path:
    make_voc(root, {"train": ["a", "b"]})
    (root / "ImageSets/Segmentation/train.txt").write_text(entries)
    return root


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_genuine_sample(shared_data: Path, split: str) -> None:
    root = shared_data / "voc-sample"
    source = voc(root, split)
    assert isinstance(source, Source)
    listed = (root / f"ImageSets/Segmentation/{split}.txt").read_text().split()
    assert [source.id(i) for i in range(len(source))] == listed
    for sample in (source[i] for i in range(len(source))):
        mask = Image.open(root / f"SegmentationClass/{sample.id}.png")
        assert mask.mode == "P"
        assert np.array_equal(sample.label, np.asarray(mask))
        assert sample.image.shape[:2] == sample.label.shape
        # The colour table of the file is the palette of the class ids.
        table = np.array(mask.getpalette("RGB")).reshape(-1, 3)
        assert np.array_equal(table[: len(source.palette)], source.palette)
        assert table[255].tolist() == [224, 224, 192]
        as_shown = np.asarray(mask.convert("RGB"))
        assert (as_shown[sample.label == 255] == (224, 224, 192)).all()


GENUINE = {
    "2011_000003": {"background": 125767, "bottle": 873, "person": 32900, "void": 9460},
    "2011_000006": {
        "background": 93492, "chair": 44306, "person": 34791, "sofa": 14002, "void": 909
    },
    "2011_000025": {"background": 62022, "bus": 118222, "car": 7256},
}  # fmt: skip


def test_the_classes_and_the_void_of_the_genuine_sample(shared_data: Path) -> None:
    sources = [voc(shared_data / "voc-sample", split) for split in ("train", "val")]
    found = {}
    for source in sources:
        for i in range(len(source)):
            ids, counts = np.unique(source.label(i), return_counts=True)
            names = [(*CLASSES, *["?"] * 234, "void")[class_id] for class_id in ids]
            found[source.id(i)] = dict(zip(names, counts.tolist(), strict=True))
    assert found == GENUINE


def test_a_made_set_is_read_back_label_for_label(tmp_path: Path) -> None:
    lists = {"train": ["2007_000032", "x"], "val": ["y"], "trainval": ["2007_000032", "x", "y"]}
    root = make_voc(tmp_path, lists)
    for split, names in lists.items():
        source = voc(root, split)
        assert source.name == f"voc/{split}"
        assert [source.id(i) for i in range(len(source))] == names
        for i, name in enumerate(names):
            assert np.array_equal(source[i].label, labels_of(name))
            assert np.array_equal(source.label(i), labels_of(name))
            assert source.files(i) == (
                root / f"JPEGImages/{name}.jpg",
                root / f"SegmentationClass/{name}.png",
            )


def test_classes_and_pickling(tmp_path: Path) -> None:
    source = voc(made(tmp_path), "train")
    assert len(CLASSES) == 21
    assert (CLASSES[0], CLASSES[15], CLASSES[20]) == ("background", "person", "tvmonitor")
    assert np.array_equal(np.ravel(PALETTE), voc_colours()[: 3 * 21])
    assert np.array_equal(pickle.loads(pickle.dumps(source))[1].label, source[1].label)


@pytest.mark.parametrize("kind", ["palette", "grey", "rgb", "sorted palette", "void of any colour"])
def test_the_same_labels_in_any_encoding(tmp_path: Path, kind: str) -> None:
    labels = labels_of("a")
    file = made(tmp_path) / "SegmentationClass/a.png"
    if kind == "grey":
        Image.fromarray(labels).save(file)
    elif kind == "rgb":
        table = np.array(voc_colours(), np.uint8).reshape(-1, 3)
        table[255] = (224, 224, 192)
        Image.fromarray(table[labels]).save(file)
    elif kind == "sorted palette":
        # What a program does that keeps the colours in use alone, in an order of its own.
        table = np.array(voc_colours(), np.uint8).reshape(-1, 3)
        table[255] = (224, 224, 192)
        used = np.unique(labels)[::-1]
        mask = Image.fromarray(np.searchsorted(-used.astype(int), -labels.astype(int)).astype("u1"))
        mask = Image.fromarray(np.asarray(mask), "P")
        mask.putpalette(table[used].ravel().tolist())
        mask.save(file)
    elif kind == "void of any colour":
        mask = Image.fromarray(labels, "P")
        mask.putpalette([*voc_colours()[:-3], 1, 2, 3])
        mask.save(file)
    assert np.array_equal(voc(tmp_path, "train").label(0), labels)


def test_a_colour_table_that_is_not_of_voc_says_nothing(tmp_path: Path) -> None:
    mask = Image.fromarray(labels_of("a"), "P")
    mask.putpalette(bytes(range(256)) * 3)
    mask.save(made(tmp_path) / "SegmentationClass/a.png")
    assert np.array_equal(voc(tmp_path, "train").label(0), labels_of("a"))


def write_table(root: Path, values: list[list[int]], table: list[tuple[int, int, int]]) -> None:
    """Write a mask of 8-bit indices with a colour table of any length, which Pillow would pad."""
    file = root / "SegmentationClass/a.png"
    write_voc_mask(file, np.array(values, np.uint8))
    data = file.read_bytes()
    start = data.index(b"PLTE")
    kind_and_body = b"PLTE" + np.array(table, np.uint8).tobytes()
    length = struct.pack(">I", len(kind_and_body) - 4)
    check = struct.pack(">I", zlib.crc32(kind_and_body))
    file.write_bytes(data[: start - 4] + length + kind_and_body + check + data[start + 776 :])


def test_vocs_colours_in_another_order_beside_others(tmp_path: Path) -> None:
    root = made(tmp_path)
    person, foreign = tuple(voc_colours()[45:48]), (230, 230, 200)
    values = [[0, 0, 0], [1, 0, 2]]
    source = voc(root, "train")
    write_table(root, values, [(0, 0, 0), person, foreign])
    message = r"a\.png: index 2, first at x=2, y=1, has \(230, 230, 200\), the colour of no class"
    with pytest.raises(DataError, match=message + ".*save the mask with VOC's colour table"):
        source.label(0)
    write_table(root, values, [(0, 0, 0), person])
    with pytest.raises(DataError, match="index 2, first at x=2, y=1, has no colour"):
        source.label(0)
    write_table(root, [[0, 0, 0], [1, 0, 255]], [(0, 0, 0), person, *[(0, 0, 0)] * 254])
    assert source.label(0).tolist() == [[0, 0, 0], [15, 0, 255]]


def test_vocs_colours_in_their_order_beside_others(tmp_path: Path) -> None:
    root = made(tmp_path)
    values = [[0, 0, 0], [1, 255, 2]]
    # The colour that is not in use is another class's.
    write_table(root, values, [(0, 0, 0), (128, 0, 0), (230, 230, 200), (192, 128, 128)])
    assert voc(root, "train").label(0).tolist() == values


@pytest.mark.parametrize("entry", ["../../x", "/etc/x", "a/../b", "..", "a\\b"])
def test_entries_that_are_paths_are_refused(tmp_path: Path, entry: str) -> None:
    root = made(tmp_path, f"a\n\n{entry}\n")
    message = r"train\.txt: entry .* in line 3 is no plain image id"
    with pytest.raises(DataError, match=message):
        voc(root, "train")
    lenient = voc(root, "train", strict=False)
    assert [lenient.id(i) for i in range(len(lenient))] == ["a"]
    assert len(lenient.faults) == 1


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    root = made(tmp_path / "voc")
    (tmp_path / "secret.png").write_bytes((root / "SegmentationClass/a.png").read_bytes())
    (root / "SegmentationClass/a.png").unlink()
    (root / "SegmentationClass/a.png").symlink_to("../../secret.png")
    with pytest.raises(DataError, match=r"SegmentationClass/a\.png: leads out of the data root"):
        voc(root, "train")


def test_a_missing_root_has_the_ways_out(tmp_path: Path) -> None:
    for root in (None, tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match=r"^--data-root.*--download.*--data shapes"):
            voc(root, "train")
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match="SegmentationClass and ImageSets/Segmentation missing"):
        voc(tmp_path, "train")


def test_faulty_lists(tmp_path: Path) -> None:
    root = made(tmp_path, "a\nc\nd\ne\nf\n")
    with pytest.raises(
        DataFaults,
        match=r"JPEGImages: 4 of 5 .*c\.jpg, d\.jpg, e\.jpg and 1 more.*SegmentationClass: 4 of 5",
    ):
        voc(root, "train")
    assert len(voc(root, "train", strict=False)) == 1
    lists = root / "ImageSets/Segmentation"
    (lists / "empty.txt").write_text("\n \n")
    (lists / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match="1 ids are listed more than once: a;"):
        voc(root, "twice")
    assert len(voc(root, "twice", strict=False)) == 2
    (lists / "photo.txt").write_bytes(b"\xff\xd8\xff\xe0")
    for strict in (True, False):
        with pytest.raises(DataError, match=r"empty\.txt: the list is empty"):
            voc(root, "empty", strict=strict)
        with pytest.raises(DataError, match=r"photo\.txt: is no text file"):
            voc(root, "photo", strict=strict)
        with pytest.raises(DataError, match=r"val\.txt: there is no such list; lists there: empt"):
            voc(root, "val", strict=strict)
        with pytest.raises(DataError, match=r"only VOC 2007 has masks, in VOCtest_06-Nov-2007"):
            voc(root, "test", strict=strict)
        with pytest.raises(UsageError, match=r"VOC split '\.\./train': expected the plain name"):
            voc(root, "../train", strict=strict)


def test_the_root_may_lie_above(tmp_path: Path) -> None:
    made(tmp_path / "VOCdevkit/VOC2012")
    assert len(voc(tmp_path, "train")) == 2
    made(tmp_path / "TrainVal/VOCdevkit/VOC2011", "b\n")
    with pytest.raises(DataError, match=r"several years \(.*\); point --data-root at one"):
        voc(tmp_path, "train")
    assert len(voc(tmp_path, "train", 2011)) == 1
    assert len(voc(tmp_path / "VOCdevkit", "train", 2012)) == 2
    with pytest.raises(DataError, match="in neither the folder, VOC2007 nor VOCdevkit/VOC2007"):
        voc(tmp_path, "train", 2007)


def test_values_out_of_range(tmp_path: Path) -> None:
    root = made(tmp_path)
    write_voc_mask(root / "SegmentationClass/b.png", np.full((4, 6), 21, np.uint8))
    with pytest.raises(DataError, match=r"b\.png: pixel value 21 .* x=0, y=0; expected 0 to 20"):
        voc(root, "train")[1]
    Image.new("RGB", (6, 4), (128, 0, 1)).save(root / "SegmentationClass/b.png")
    with pytest.raises(DataError, match=r"b\.png: colour \(128, 0, 1\) at x=0, y=0 belongs to no"):
        voc(root, "train")[1]


def test_seg11valid_comes_with_the_package(tmp_path: Path, shared_data: Path) -> None:
    ids = (shared_data / "seg11valid.txt").read_text().split()
    assert len(set(ids)) == 736
    root = make_voc(tmp_path, {"val": [*ids[:3], "2011_003276"]})
    source = voc(root, "seg11valid", strict=False)
    assert [source.id(i) for i in range(len(source))] == ids[:3]
    assert len(source.faults) == 2 * 733
    with pytest.raises(DataError, match=r"733 of 736 files listed in seg11valid\.txt are missing"):
        voc(root, "seg11valid")
    for name in ids:
        (root / f"JPEGImages/{name}.jpg").touch()
        (root / f"SegmentationClass/{name}.png").touch()
    whole = voc(root, "seg11valid")
    assert [whole.id(i) for i in range(len(whole))] == ids


def test_a_check_names_every_missing_file(tmp_path: Path) -> None:
    names = [f"2007_00000{i}" for i in range(6)]
    root = make_voc(tmp_path, {"train": names})
    for name in names[:4]:
        (root / f"JPEGImages/{name}.jpg").unlink()
    source = voc(root, "train", strict=False)
    assert [source.id(i) for i in range(len(source))] == names[4:]
    found = [fault.split(": ")[0] for fault in source.faults]
    assert found == [str(root / f"JPEGImages/{name}.jpg") for name in names[:4]]
    with pytest.raises(DataError, match=r"4 of 6 files listed in train\.txt are missing: 2007_0"):
        voc(root, "train")


def test_the_ways_out_begin_with_pairs_of_ones_own(tmp_path: Path) -> None:
    for root in (None, tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="; give --images DIR --masks DIR for pairs of"):
            voc(root, "train")
