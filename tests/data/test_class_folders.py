"""Folders of images, one a class."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.class_folders import ClassFolders
from fcnseg.errors import DataError

FILES = {"cat": ["b.jpg", "a.PNG", "deep/c.png"], "ant": ["x.png"], "dog": ["y.bmp", "z.tif"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for class_name, names in FILES.items():
        for number, name in enumerate(names):
            path = tmp_path / "train" / class_name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (60, 40), (len(class_name) * 10, number, 9)).save(path)
    (tmp_path / "train/cat/notes.txt").write_text("no image")
    (tmp_path / "train/.hidden").mkdir()
    return tmp_path


def test_it_equals_a_plain_listing(root: Path) -> None:
    source = ClassFolders(root, "train")
    assert (source.name, source.classes) == (f"{root.name}/train", ("ant", "cat", "dog"))
    assert len(source) == 6
    found = {source.id(i): source.class_id(i) for i in range(6)}
    expected = {f"{c}/{n}": sorted(FILES).index(c) for c, names in FILES.items() for n in names}
    assert found == expected
    for index in range(6):
        example = pickle.loads(pickle.dumps(source))[index]
        assert (example.id, example.class_id) == (source.id(index), source.class_id(index))
        pixels = np.asarray(Image.open(source.files(index)[0]).convert("RGB"))
        assert np.array_equal(example.image, pixels)
    assert len(ClassFolders(root / "train")) == 6


def test_scaled_on_reading(root: Path) -> None:
    source = ClassFolders(root, "train", short_side=20)
    assert source[0].image.shape == (20, 30, 3)
    assert source.scaled(None)[0].image.shape == (40, 60, 3)
    assert source.scaled(41)[0].image.shape == (40, 60, 3)  # never enlarged
    assert source[0].image.shape == (20, 30, 3)


def test_what_is_wrong_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data-root .*: there is no folder .*val"):
        ClassFolders(root, "val")
    with pytest.raises(DataError, match=r"train/cat: holds 1 folders; expected two or more"):
        ClassFolders(root / "train/cat")
    (root / "val").mkdir()
    with pytest.raises(DataError, match=r"its folders are splits \(train, val\), not classes"):
        ClassFolders(root)


def test_all_faults_come_at_once(root: Path) -> None:
    Image.new("RGB", (4, 4)).save(root / "train/stray.png")
    (root / "train/empty").mkdir()
    Image.new("RGB", (4, 4)).save(root / "out.png")
    (root / "train/dog/link.png").symlink_to(root / "out.png")
    with pytest.raises(DataError) as caught:
        ClassFolders(root, "train")
    message = str(caught.value)
    assert "1 images lie beside the class folders: stray.png" in message
    assert "empty: no images for this class" in message
    assert "link.png: leads out of the data root" in message


def test_damaged_images_are_named(root: Path) -> None:
    (root / "train/ant/x.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"ant/x\.png: the file is empty"):
        ClassFolders(root, "train")[0]


def ids_of(source: ClassFolders) -> list[tuple[str, int]]:
    return [(source.id(i), source.class_id(i)) for i in range(len(source))]


def test_links_to_folders_are_followed_once(root: Path) -> None:
    plain = ids_of(ClassFolders(root, "train"))
    pool = root / "train/.pool/more"
    pool.mkdir(parents=True)
    for number in range(5):
        Image.new("RGB", (4, 4)).save(pool / f"{number}.png")
    (root / "train/cat/more").symlink_to("../.pool/more")
    (root / "train/cat/zz_again").symlink_to("../.pool/more")
    (pool / "loop").symlink_to("../../cat")
    (root / "train/cat/self").symlink_to(".")
    linked = [(f"cat/more/{number}.png", 1) for number in range(5)]
    assert sorted(ids_of(ClassFolders(root, "train"))) == sorted(plain + linked)


def test_links_to_folders_of_other_classes_and_outside(root: Path) -> None:
    (root / "train/cat/friend").symlink_to("../dog")
    (root / "outside").mkdir()
    (root / "train/ant/away").symlink_to(root / "outside")
    with pytest.raises(DataError) as caught:
        ClassFolders(root, "train")
    message = str(caught.value)
    assert f"{root}/train/dog: is read for class cat too, by a link; remove the link" in message
    assert f"{root}/train/ant/away: leads out of the data root" in message
    (root / "train/cat/friend").unlink()
    (root / "train/ant/away").unlink()
    (root / "train/cat/up").symlink_to("..")
    with pytest.raises(DataError, match=r"cat/up/ant: is read for class ant too, by a link"):
        ClassFolders(root, "train")


def test_folders_that_cannot_be_read_are_errors(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Permissions do not stop an administrator, who may run this.
    scan = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"cat/deep: cannot be read \(Permission denied\)"):
        ClassFolders(root, "train")
