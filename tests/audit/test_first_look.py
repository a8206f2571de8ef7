"""The look before training, and class weights from a file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.audit.first_look import first_look, read_class_weights
from fcnseg.data.folder import folder
from fcnseg.data.shapes import Shapes
from fcnseg.data.subset import split
from fcnseg.engine.events import Evaluating, Event, Notice
from fcnseg.errors import DataError

CLASSES = ("ground", "house", "tree")


def pairs(root: Path, count: int, salt: int = 0) -> Path:
    numbers = np.random.default_rng(0)
    for part in ("i", "m"):
        (root / part).mkdir(parents=True)
    for index in range(count):
        Image.new("RGB", (40, 36), (index, salt, 0)).save(root / f"i/{index}.jpg")
        label = numbers.choice([0, 0, 0, 1, 2], (36, 40)).astype(np.uint8)
        Image.fromarray(label).save(root / f"m/{index}.png")
    return root


def test_it_counts_and_says_what_the_masks_are(tmp_path: Path) -> None:
    root = pairs(tmp_path, 5)
    source = folder(root / "i", root / "m", CLASSES)
    events: list[Event] = []
    (report,) = first_look([source], observer=events.append)
    labels = [np.asarray(Image.open(path)) for path in (root / "m").iterdir()]
    assert report.class_pixels == [sum(int((a == i).sum()) for a in labels) for i in range(3)]
    assert events[:5] == [Evaluating(n, 5, "looking at") for n in range(1, 6)]
    assert events[5] == Notice("folder: 5 grey masks")


def test_images_are_not_decoded(tmp_path: Path) -> None:
    root = pairs(tmp_path, 2)
    numbers = np.random.default_rng(0).integers(0, 256, (36, 40, 3), np.uint8)
    Image.fromarray(numbers).save(root / "i/0.jpg")
    (root / "i/0.jpg").write_bytes((root / "i/0.jpg").read_bytes()[:1500])
    first_look([folder(root / "i", root / "m", CLASSES)])


def test_faults_of_all_sources_come_in_one_error(tmp_path: Path) -> None:
    train, val = pairs(tmp_path / "t", 3), pairs(tmp_path / "v", 8, salt=90)
    Image.new("L", (40, 36), 7).save(train / "m/1.png")
    (train / "i/2.jpg").write_bytes(b"<html>")
    for index in range(1, 8):
        Image.new("L", (40, 30), 0).save(val / f"m/{index}.png")
    sources = [folder(root / "i", root / "m", CLASSES) for root in (train, val)]
    with pytest.raises(DataError) as caught:
        first_look(sources)
    message = str(caught.value)
    assert "1.png: pixel value 7 (1440 pixels): is no class id, first at x=0, y=0" in message
    assert "2.jpg: holds HTML" in message
    assert "the mask is 30x40 (height x width) but its image" in message
    assert "and 4 more errors among 11 pairs: `fcnseg check`" in message
    assert "\n" not in message


def test_copies_of_training_images_are_errors_in_a_part_of_its_own(tmp_path: Path) -> None:
    train, val = pairs(tmp_path / "t", 4), pairs(tmp_path / "v", 3, salt=90)
    (val / "i/1.jpg").write_bytes((train / "i/3.jpg").read_bytes())
    sources = [folder(root / "i", root / "m", CLASSES) for root in (train, val)]
    with pytest.raises(DataError) as caught:
        first_look(sources)
    assert str(caught.value).startswith(f"{val}/i/1.jpg: is the same file as {train}/i/3.jpg of ")
    (val / "i/1.jpg").write_bytes((val / "i/0.jpg").read_bytes())  # twice in one part is no leak
    assert len(first_look(sources)) == 2


def test_copies_among_pairs_that_we_split_are_a_warning(tmp_path: Path) -> None:
    root = pairs(tmp_path, 6)
    source = folder(root / "i", root / "m", CLASSES)
    training, validation = split(source, 0.3, 0)
    theirs, mine = validation.files(1)[0], training.files(2)[0]
    theirs.write_bytes(mine.read_bytes())
    events: list[Event] = []
    first_look([training, validation], observer=events.append)
    (warning,) = [e for e in events if isinstance(e, Notice) and e.warning]
    assert "1 of the 2 images held out for validation are copies of training" in warning.text
    assert f"{theirs} of {mine}; remove the copies" in warning.text


def test_strips_that_cannot_be_scaled_are_named(tmp_path: Path) -> None:
    root = pairs(tmp_path, 2)
    Image.new("RGB", (6000, 2)).save(root / "i/1.jpg")
    Image.new("L", (6000, 2)).save(root / "m/1.png")
    source = folder(root / "i", root / "m", CLASSES)
    words = r"1\.jpg: is 2x6000 .* too long to be scaled by --short-side 512"
    with pytest.raises(DataError, match=words):
        first_look([source], short_side=512)
    assert len(first_look([source], short_side=16)) == 1
    with pytest.raises(DataError, match=r"1\.jpg: is 2x6000 .* by --short-side 512; crop it"):
        source.scaled(512)[1]


def test_generated_samples_are_looked_at_only_to_be_counted() -> None:
    source, other = (Shapes(split, length=3, size=(64, 64)) for split in ("train", "val"))
    assert first_look([source, other]) == []
    (report,) = first_look([source, other], counts=True)
    labels = [source[i].label for i in range(3)]
    assert report.class_pixels == [sum(int((a == i).sum()) for a in labels) for i in range(6)]


def test_weights_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.txt"
    file.write_text("# name weight\ntree 2.5\nground 0\n\nhouse: 1e-1\n")
    assert read_class_weights(file, CLASSES) == [0, 0.1, 2.5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ground 1\nhouse 1\n", "class 'tree' has no weight"),
        ("ground 1\nhouse 1\ntree -2\n", "line 3 is 'tree -2'; expected the name of a class"),
        ("ground 1\nhouse 1\ntree x\n", "line 3 is 'tree x'"),
        ("ground 1\nground 1\nhouse 1\ntree 1\n", "line 2 is 'ground 1'"),
        ("ground 1\nhouse 1\ntree inf\n", "line 3"),
        ("ground 1\nhose 1\ntree 1\n", "line 2: 'hose' is no class; did you mean 'house'"),
        ("ground 0\nhouse 0\ntree 0\n", "every weight is 0"),
    ],
)
def test_wrong_weights(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "weights.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=expected):
        read_class_weights(file, CLASSES)


def test_a_file_of_weights_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--class-weights .*none\.txt: cannot be read"):
        read_class_weights(tmp_path / "none.txt", CLASSES)
