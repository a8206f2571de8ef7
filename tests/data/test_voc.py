"""The VOC layout: the genuine sample and made folders."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.sample import Source
from fcnseg.data.voc import CLASSES, Voc
from fcnseg.errors import DataError, UsageError


def write_mask(path: Path, value: int) -> None:
    mask = Image.fromarray(np.full((4, 6), value, np.uint8), "P")
    mask.putpalette(bytes(range(256)) * 3)
    mask.save(path)


def made(root: Path, entries: str = "a\nb\n") -> Path:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (6, 4)).save(root / f"JPEGImages/{name}.jpg")
        write_mask(root / f"SegmentationClass/{name}.png", 20)
    (root / "ImageSets/Segmentation/train.txt").write_text(entries)
    return root


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_genuine_sample(shared_data: Path, split: str) -> None:
    root = shared_data / "voc-sample"
    source = Voc(root, split)
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


def test_the_void_border_is_kept(shared_data: Path) -> None:
    label = Voc(shared_data / "voc-sample", "train")[0].label
    ids, counts = np.unique(label, return_counts=True)
    assert dict(zip(ids.tolist(), counts.tolist(), strict=True)) == {
        0: 125767,
        CLASSES.index("bottle"): 873,
        CLASSES.index("person"): 32900,
        255: 9460,
    }


def test_classes_and_pickling(tmp_path: Path) -> None:
    source = Voc(made(tmp_path), "train")
    assert len(CLASSES) == 21
    assert (CLASSES[0], CLASSES[15], CLASSES[20]) == ("background", "person", "tvmonitor")
    assert np.array_equal(pickle.loads(pickle.dumps(source))[1].label, source[1].label)


@pytest.mark.parametrize("entry", ["../../x", "/etc/x", "a/../b", "..", "a\\b"])
def test_entries_that_are_paths_are_refused(tmp_path: Path, entry: str) -> None:
    root = made(tmp_path, f"a\n\n{entry}\n")
    with pytest.raises(DataError, match=r"train\.txt: entry .* in line 3 is no plain image id"):
        Voc(root, "train")


def test_links_out_of_the_root_are_refused(tmp_path: Path) -> None:
    root = made(tmp_path / "voc")
    (tmp_path / "secret.png").write_bytes((root / "SegmentationClass/a.png").read_bytes())
    (root / "SegmentationClass/a.png").unlink()
    (root / "SegmentationClass/a.png").symlink_to("../../secret.png")
    with pytest.raises(DataError, match=r"SegmentationClass/a\.png: leads out of the data root"):
        Voc(root, "train")


def test_a_missing_root_has_the_ways_out(tmp_path: Path) -> None:
    for root in (None, tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match=r"^--data-root.*--data shapes"):
            Voc(root, "train")
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match="SegmentationClass and ImageSets/Segmentation missing"):
        Voc(tmp_path, "train")


def test_faulty_lists(tmp_path: Path) -> None:
    root = made(tmp_path, "a\nc\nd\ne\nf\n")
    with pytest.raises(
        DataError,
        match=r"JPEGImages: 4 of 5 .*c\.jpg, d\.jpg, e\.jpg and 1 more.*SegmentationClass: 4 of 5",
    ):
        Voc(root, "train")
    lists = root / "ImageSets/Segmentation"
    (lists / "empty.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"empty\.txt: the list is empty"):
        Voc(root, "empty")
    (lists / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(DataError, match="1 ids are listed more than once: a;"):
        Voc(root, "twice")
    with pytest.raises(DataError, match=r"val\.txt: there is no such list; lists there: empty, tr"):
        Voc(root, "val")
    with pytest.raises(UsageError, match=r"VOC split '\.\./train': expected the plain name"):
        Voc(root, "../train")


def test_the_root_may_lie_above(tmp_path: Path) -> None:
    made(tmp_path / "VOCdevkit/VOC2012")
    assert len(Voc(tmp_path, "train")) == 2
    made(tmp_path / "VOCdevkit/VOC2011", "b\n")
    with pytest.raises(DataError, match="holds several years"):
        Voc(tmp_path, "train")
    assert len(Voc(tmp_path, "train", year=2011)) == 1
    assert len(Voc(tmp_path / "VOCdevkit", "train", year="2012")) == 2


def test_values_out_of_range(tmp_path: Path) -> None:
    root = made(tmp_path)
    write_mask(root / "SegmentationClass/b.png", 21)
    with pytest.raises(DataError, match=r"b\.png: pixel value 21 .* x=0, y=0; expected 0 to 20"):
        Voc(root, "train")[1]
