"""A format that a user adds in one file of their own."""

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data.loading import training_loader
from fcnseg.data.own_format import open_own_format
from fcnseg.errors import DataError, UsageError

# Masks that hold 10 times the class id: none of our own formats reads these.
FORMAT = """
import numpy as np
from fcnseg.data.images import read_mask_pixels
from fcnseg.data.pairs import ImagePairs, Pair

CLASSES = ("ground", "house", "tree")
COLOURS = ((0, 0, 0), (200, 0, 0), (0, 200, 0))

def tenfold(pair, max_pixels):
    return read_mask_pixels(pair.mask, max_pixels).values // 10

def source(root, split):
    images = sorted((root / split).glob("*.jpg"))
    pairs = [Pair(i.stem, i, i.with_suffix(".gt.png")) for i in images]
    return ImagePairs(f"tenfold/{split}", CLASSES, COLOURS, pairs, tenfold)
"""


@pytest.fixture(autouse=True)
def _imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tenfold_masks.py").write_text(FORMAT)
    (tmp_path / "train").mkdir()
    for index in range(4):
        Image.new("RGB", (6, 5), (index, 0, 0)).save(tmp_path / f"train/{index}.jpg")
        label = np.full((5, 6), 10 * (index % 3), np.uint8)
        Image.fromarray(label).save(tmp_path / f"train/{index}.gt.png")
    return tmp_path


def test_it_reads(root: Path) -> None:
    source = open_own_format(root / "tenfold_masks.py", root, "train")
    assert (source.name, len(source)) == ("tenfold/train", 4)
    for index in range(4):
        assert (source[index].label == index % 3).all()


def test_worker_processes_find_it(root: Path) -> None:
    source = open_own_format(root / "tenfold_masks.py", root, "train")
    usual = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        batches = list(training_loader(source, None, 2, 0, 0, workers=1))
    finally:
        multiprocessing.set_start_method(usual, force=True)
    assert sorted(name for batch in batches for name in batch.ids) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def source(root, split): return 3", r"source\(\) returned int, expected ImagePairs"),
        ("x = 1", r"has no function source\(root, split\)"),
        ("x = 1 +", r"cannot be imported \(SyntaxError"),
    ],
)
def test_files_that_do_not_serve(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "formatted.py").write_text(text)
    with pytest.raises(UsageError, match=expected):
        open_own_format(tmp_path / "formatted.py", tmp_path, "train")


def test_errors_of_the_reader_name_the_file_and_the_line(root: Path) -> None:
    source = open_own_format(root / "tenfold_masks.py", root, "train")
    (root / "train/2.gt.png").unlink()
    with pytest.raises(DataError, match=r"2\.gt\.png: there is no such file"):
        source[2]
    text = FORMAT.replace("return read_mask_pixels(", "return read_mask_pixls(")
    (root / "misspelt_masks.py").write_text(text)
    misspelt = open_own_format(root / "misspelt_masks.py", root, "train")
    words = r"1\.gt\.png: its reader in misspelt_masks\.py, line 10, raises NameError: name 'read_m"
    with pytest.raises(DataError, match=words) as caught:
        misspelt[1]
    assert "\n" not in str(caught.value)


def test_errors_of_the_function_name_the_line(root: Path) -> None:
    (root / "adding_paths.py").write_text(FORMAT.replace("root / split", 'root + "/" + split'))
    with pytest.raises(UsageError, match=r"source\(\), line 13, raises TypeError: unsupported"):
        open_own_format(root / "adding_paths.py", root, "train")
    with pytest.raises(DataError, match=r"--data-root: .* is given the folder of the data"):
        open_own_format(root / "adding_paths.py", None, "train")


def test_names_and_empty_splits(root: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.py: there is no such file"):
        open_own_format(root / "none.py", root, "train")
    (root / "json.py").write_text(FORMAT)
    with pytest.raises(UsageError, match="another module is called 'json' already; rename"):
        open_own_format(root / "json.py", root, "train")
    with pytest.raises(DataError, match="the split 'val' has no samples"):
        open_own_format(root / "tenfold_masks.py", root, "val")
