"""SBD beside VOC: which images are in which split, and what is read for them."""

import hashlib
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from voc_layout import labels_of, make_sbd, make_voc, sbd_labels, write_sbd_mask

from fcnseg.config import DataConfig
from fcnseg.data.voc_aug import voc_aug
from fcnseg.errors import DataError, UsageError
from fcnseg.sources import build_sources

VOC = {"train": ["t1", "t2"], "val": ["v1", "v2", "v3"], "trainval": ["t1", "t2", "v1", "v2", "v3"]}
# As in the published sets, SBD's lists hold images of both of VOC's lists.
SBD = {"train": ["s1", "t1", "v1", "s2"], "val": ["s3", "v2", "t2"]}


def made(
    root: Path, sbd: str = "benchmark_RELEASE/dataset", voc: str = "VOCdevkit/VOC2012"
) -> Path:
    make_voc(root / voc, VOC)
    make_sbd(root / sbd, SBD)
    return root


def ids(root: Path, split: str) -> list[str]:
    source = voc_aug(root, split)
    return [source.id(i) for i in range(len(source))]


def hashes(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_splits_against_sets_of_names(tmp_path: Path) -> None:
    root = made(tmp_path)
    train = ids(root, "train")
    everything = set(SBD["train"]) | set(SBD["val"]) | set(VOC["train"])
    assert set(train) == everything - set(VOC["val"])
    assert len(train) == len(set(train))
    assert ids(root, "sbd-train") == SBD["train"]
    assert ids(root, "sbd-val") == SBD["val"]
    for split, names in VOC.items():
        if split != "train":
            assert ids(root, split) == names


def test_every_sample_label_for_label(tmp_path: Path) -> None:
    source = voc_aug(made(tmp_path), "train")
    assert source.name == "voc-aug/train"
    for i in range(len(source)):
        name = source.id(i)
        from_voc = name in VOC["train"]
        expected = labels_of(name) if from_voc else sbd_labels(name)
        assert np.array_equal(source[i].label, expected)
        assert np.array_equal(source.label(i), expected)
        assert source.label(i).dtype == np.uint8
        colour = (200, 100, 50) if from_voc else (20, 30, 40)
        assert np.abs(source[i].image.astype(int) - colour).max() <= 3
    of_sbd = voc_aug(tmp_path, "sbd-train")
    labels = {of_sbd.id(i): of_sbd[i].label for i in range(len(of_sbd))}
    assert all(np.array_equal(label, sbd_labels(name)) for name, label in labels.items())
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy[3].label, source[3].label)


@pytest.mark.parametrize(
    ("sbd", "voc", "root"),
    [
        ("benchmark_RELEASE/dataset", "VOCdevkit/VOC2012", "."),
        ("dataset", "VOC2012", "."),
        (".", "VOC2012", "."),
        (".", ".", "."),
        ("benchmark_RELEASE/dataset", "TrainVal/VOCdevkit/VOC2011", "."),
        ("sbd", "VOCdevkit/VOC2012", "sbd"),
        ("sbd/dataset", "VOC2012", "sbd/dataset"),
        ("sbd/dataset", "VOC2012", "sbd"),
    ],
)
def test_layouts(tmp_path: Path, sbd: str, voc: str, root: str) -> None:
    made(tmp_path, sbd, voc)
    assert sorted(ids(tmp_path / root, "train")) == ["s1", "s2", "s3", "t1", "t2"]
    assert ids(tmp_path / root, "val") == VOC["val"]


def test_of_several_years_2012_is_taken(tmp_path: Path) -> None:
    make_voc(made(tmp_path) / "VOCdevkit/VOC2007", {"train": ["x"], "val": ["s1"]})
    assert ids(tmp_path, "val") == VOC["val"]
    assert "s1" in ids(tmp_path, "train")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for root in (None, tmp_path / "none"):
        with pytest.raises(DataError, match=r"^--data-root.*--download"):
            voc_aug(root, "train")
    make_voc(tmp_path / "VOC2012", VOC)
    with pytest.raises(DataError, match=r"no SBD there \(img and cls .*; fetch it with --download"):
        voc_aug(tmp_path, "train", strict=False)
    assert ids(tmp_path, "val") == VOC["val"]
    made(tmp_path)
    shutil.rmtree(tmp_path / "VOC2012")
    shutil.rmtree(tmp_path / "VOCdevkit")
    with pytest.raises(DataError, match=r"no PASCAL VOC there .*--download"):
        voc_aug(tmp_path, "train", strict=False)
    assert ids(tmp_path, "sbd-train") == SBD["train"]
    (tmp_path / "benchmark_RELEASE/dataset/val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt: there is no such list"):
        voc_aug(tmp_path, "sbd-val", strict=False)
    with pytest.raises(UsageError, match="expected the plain name of a list"):
        voc_aug(made(tmp_path / "again"), "../x")


def test_faults_of_the_layout_are_listed_and_the_rest_is_kept(tmp_path: Path) -> None:
    sbd = made(tmp_path) / "benchmark_RELEASE/dataset"
    (sbd / "img/s1.jpg").unlink()
    (sbd / "cls/s3.mat").unlink()
    (sbd / "train.txt").write_text("s1\nt1\n../x\ns2\ns2\n")
    (tmp_path / "secret.mat").write_bytes((sbd / "cls/s2.mat").read_bytes())
    (sbd / "cls/s2.mat").unlink()
    (sbd / "cls/s2.mat").symlink_to("../../../secret.mat")
    before = hashes(tmp_path)
    wanted = (
        r"train\.txt: entry '\.\./x' in line 3 is no plain image id",
        r"train\.txt: 1 ids are listed more than once: s2",
        r"img: 1 of 2 files listed in train\.txt are missing: s1\.jpg",
        r"cls/s2\.mat: leads out of the data root",
        r"cls: 1 of 1 files listed in val\.txt are missing: s3\.mat",
    )
    for message in wanted:
        with pytest.raises(DataError, match=message):
            voc_aug(tmp_path, "train")
    lenient = voc_aug(tmp_path, "train", strict=False)
    assert [lenient.id(i) for i in range(len(lenient))] == ["t1", "t2"]
    assert len(lenient.faults) == len(wanted)
    assert hashes(tmp_path) == before


def test_faulty_masks_name_the_file(tmp_path: Path) -> None:
    file = made(tmp_path) / "benchmark_RELEASE/dataset/cls/s1.mat"

    def message() -> str:
        with pytest.raises(DataError) as caught:
            voc_aug(tmp_path, "sbd-train")[0]
        assert str(caught.value).startswith(f"{file}: ")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    labels = np.zeros((4, 6), np.uint8)
    labels[2, 3] = 33
    write_sbd_mask(file, labels % 21)
    savemat(file, {"GTcls": {"Segmentation": labels}})
    assert (
        "pixel value 33 (1 pixels): is no class id, first at x=3, y=2; expected 0 to 20"
        in message()
    )
    savemat(file, {"GTcls": {"Segmentation": np.zeros((5, 6), np.uint8)}})
    assert "the mask is 5x6 (height x width) but its image" in message()
    for wrong in (np.zeros((4, 6)), np.zeros((4, 6, 3), np.uint8), np.zeros((0, 0), np.uint8)):
        savemat(file, {"GTcls": {"Segmentation": wrong}})
        assert "expected one whole number a pixel" in message()
    savemat(file, {"GTcls": {"Segmentation": np.full((4, 6), -3, np.int32)}})
    assert "has values from -3 to -3, expected class ids from 0 to 20" in message()
    savemat(file, {"GTcls": {"Segmentation": np.full((4, 6), 1 << 40)}})
    assert "expected class ids" in message()
    file.write_bytes(file.read_bytes()[:150])
    assert "cut off" in message() or "does not have them" in message()
    write_sbd_mask(file, labels % 21)
    with pytest.raises(DataError, match=r"s1\.mat: has 24 pixels, more than the limit of 23"):
        voc_aug(tmp_path, "sbd-train", max_pixels=23).label(0)


def test_overlapping_lists_are_refused_and_the_papers_are_not(tmp_path: Path) -> None:
    root = made(tmp_path)
    config = DataConfig(data="voc-aug", data_root=str(root))
    training, validation = build_sources(config)
    assert (len(training), len(validation)) == (5, 3)
    overlapping = DataConfig(data="voc-aug", data_root=str(root), train_split="sbd-train")
    with pytest.raises(DataError, match=r"1 of its 3 images are in voc-aug/sbd-train too: v1;"):
        build_sources(overlapping)
    (root / "VOCdevkit/VOC2012/ImageSets/Segmentation/rest.txt").write_text("v2\nv3\n")
    apart = DataConfig(
        data="voc-aug", data_root=str(root), train_split="sbd-train", val_split="rest"
    )
    assert [len(source) for source in build_sources(apart)] == [4, 2]


def test_an_image_of_another_size_in_voc_is_named_too(tmp_path: Path) -> None:
    root = made(tmp_path)
    Image.new("RGB", (7, 4)).save(root / "VOCdevkit/VOC2012/JPEGImages/t1.jpg")
    with pytest.raises(DataError, match=r"SegmentationClass/t1\.png: the mask is 4x6 .* is 4x7"):
        voc_aug(root, "train")[0]
