"""Images of classes to batches."""

from pathlib import Path

import numpy as np
import pytest
from class_samples import CLASSES, scene, write_folders

from fcnseg.data.class_batches import ClassBatches, check_images, consecutive
from fcnseg.data.class_folders import ClassFolders
from fcnseg.data.class_views import RandomView
from fcnseg.data.order import augmentation_seed
from fcnseg.errors import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("folders"), 3, side=40)


@pytest.mark.parametrize("workers", [0, 2])
def test_they_equal_a_plain_loop(root: Path, workers: int) -> None:
    source, view = ClassFolders(root), RandomView(16)
    batches = [[4, 0, 8], [2], [7, 3]]
    got = list(ClassBatches(source, view, batches, seed=3, epoch=2, workers=workers))
    assert [batch.ids for batch in got] == [[source.id(i) for i in ids] for ids in batches]
    for batch, ids in zip(got, batches, strict=True):
        assert batch.labels.tolist() == [i // 3 for i in ids]
        assert batch.images.shape == (len(ids), 3, 16, 16)
        for pixels, index in zip(batch.images, ids, strict=True):
            image, _ = scene(CLASSES[index // 3], index % 3, 40)
            expected = view(image, augmentation_seed(3, 2, index))
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)


def test_consecutive() -> None:
    assert consecutive([5, 1, 4, 2, 3], 2) == [[5, 1], [4, 2], [3]]
    assert consecutive([], 2) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_images_are_named(tmp_path: Path, workers: int) -> None:
    root = write_folders(tmp_path, 4, side=24)
    source = ClassFolders(root)
    seen = []
    check_images([source], workers, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    for name in ("disc/0001.png", "square/0002.png"):
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"disc/0001.png: cannot be decoded.*; also .*square/0002"):
        check_images([source], workers)
    with pytest.raises(DataError, match=r"disc/0001.png: cannot be decoded"):
        list(ClassBatches(source, RandomView(8), [[0], [1]], workers=workers))


def test_of_many_faults_the_first_are_named(tmp_path: Path) -> None:
    root = write_folders(tmp_path, 4, side=24)
    for path in root.rglob("*.png"):
        path.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"^\S+disc/0000.png: .*; also 7 more of 12 images are"):
        check_images([ClassFolders(root)])
