"""Which images of a folder of class folders are trained on, and which are kept for testing."""

import pickle
from pathlib import Path

import pytest
from PIL import Image

from fcnseg.data.class_parts import ClassSource, class_parts
from fcnseg.errors import DataError


def fill(root: Path, counts: dict[str, int]) -> Path:
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", (9, 7), (number, 0, 0)).save(root / name / f"{number}.png")
    return root


def names(source: ClassSource) -> list[str]:
    return [source.id(index) for index in range(len(source))]


def test_a_share_of_each_class_is_kept_by_seed(tmp_path: Path) -> None:
    root = fill(tmp_path / "pets", {"cat": 10, "dog": 31})
    training, testing, notes = class_parts(root, 0.3, seed=0)
    assert (training.name, testing.name) == ("pets/train", "pets/test")
    assert training.classes == testing.classes == ("cat", "dog")
    assert notes == ()
    kept = names(testing)
    assert [sum(name.startswith(c) for name in kept) for c in ("cat", "dog")] == [3, 9]
    everything = {f"{c}/{i}.png" for c, n in (("cat", 10), ("dog", 31)) for i in range(n)}
    assert set(names(training)) | set(kept) == everything
    assert not set(names(training)) & set(kept)
    assert names(class_parts(root, 0.3, seed=0)[1]) == kept
    assert names(class_parts(root, 0.3, seed=1)[1]) != kept
    example = pickle.loads(pickle.dumps(testing))[0]
    assert (example.id, example.class_id) == (kept[0], testing.class_id(0))
    assert testing.files(0) == (root / kept[0],)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test"])
def test_parts_that_are_there_are_taken(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "train", {"cat": 3, "dog": 2})
    fill(tmp_path / name, {"cat": 1, "dog": 1})
    training, testing, notes = class_parts(tmp_path, None, seed=0)
    assert (len(training), len(testing), notes) == (5, 2, ())
    with pytest.raises(DataError, match=rf"--val-fraction: .*/{name} is there to test on; leave"):
        class_parts(tmp_path, 0.2, seed=0)


def test_of_several_parts_to_test_on_the_others_are_named(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        fill(tmp_path / part, {"cat": 2, "dog": 2})
    _, testing, notes = class_parts(tmp_path, None, seed=0)
    assert testing.name.endswith("/val")
    assert len(notes) == 1
    assert notes[0].startswith(f"{tmp_path / 'test'}: not used")


def test_a_training_part_alone_is_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"cat": 5, "dog": 5})
    training, testing, _ = class_parts(tmp_path, None, seed=0)
    assert (len(training), len(testing)) == (8, 2)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = fill(tmp_path, {"train": 5, "plane": 5, "test": 5})
    training, _, _ = class_parts(root, None, seed=0)
    assert training.classes == ("plane", "test", "train")


def test_a_class_of_one_image_is_trained_on_and_said(tmp_path: Path) -> None:
    root = fill(tmp_path, {"cat": 1, "dog": 4})
    training, testing, notes = class_parts(root, 0.5, seed=0)
    assert len(names(training)) == 3
    assert "cat/0.png" in names(training)
    assert [name[:3] for name in names(testing)] == ["dog", "dog"]
    assert "cat: 1 image each, trained on; nothing tests" in notes[0]


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data-root .*none: there is no such folder"):
        class_parts(tmp_path / "none", None, seed=0)
    fill(tmp_path / "few", {"cat": 1, "dog": 1})
    with pytest.raises(DataError, match=r"few: each class has 1 image, too few to keep some"):
        class_parts(tmp_path / "few", None, seed=0)
    fill(tmp_path / "two/train", {"cat": 2, "dog": 2})
    fill(tmp_path / "two/val", {"cat": 2, "horse": 2})
    with pytest.raises(DataError, match=r"two/val: its classes are cat, horse, those of .*cat, d"):
        class_parts(tmp_path / "two", None, seed=0)
