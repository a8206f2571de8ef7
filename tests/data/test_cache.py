"""The cache of decoded samples: equal to the source, told of every change, never half-written."""

import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnseg.data import cache as cache_module
from fcnseg.data.cache import cached
from fcnseg.data.camvid import camvid
from fcnseg.data.loading import training_loader
from fcnseg.data.pack import MAGIC, Pack
from fcnseg.data.pairs import ImagePairs
from fcnseg.data.sample import Sample, Source
from fcnseg.data.shapes import Shapes
from fcnseg.data.subset import Subset
from fcnseg.data.transforms import TrainingTransform
from fcnseg.errors import DataError, EnvironmentFault, UsageError

SIZES = [(9, 13), (20, 11), (1, 1), (16, 16), (7, 30)]


def write_pair(root: Path, number: int, size: tuple[int, int], seed: int) -> None:
    numbers = np.random.default_rng(seed)
    for folder, shape, most in (("train", (*size, 3), 256), ("trainannot", size, 12)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        pixels = numbers.integers(0, most, shape).astype(np.uint8)
        Image.fromarray(pixels).save(root / folder / f"{number}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, size in enumerate(SIZES):
        write_pair(tmp_path / "data", number, size, number)
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the samples that are decoded, in order."""
    ids: list[str] = []
    usual = ImagePairs.__getitem__

    def counting(self: ImagePairs, index: int) -> Sample:
        ids.append(self.id(index))
        return usual(self, index)

    monkeypatch.setattr(ImagePairs, "__getitem__", counting)
    return ids


def assert_same(made: Source, source: Source) -> None:
    assert (made.name, made.classes, made.palette) == (source.name, source.classes, source.palette)
    assert len(made) == len(source)
    for index in range(len(source)):
        one, other = made[index], source[index]
        assert one.id == other.id == made.id(index)
        assert made.files(index) == source.files(index)
        for mine, theirs in ((one.image, other.image), (one.label, other.label)):
            assert mine.dtype == theirs.dtype == np.uint8
            assert mine.shape == theirs.shape
            assert mine.tobytes() == theirs.tobytes()
            assert not mine.flags.writeable
        assert np.array_equal(made.label(index), other.label)


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_those_of_the_source(root: Path, folder: Path, workers: int) -> None:
    source = camvid(root, "train")
    seen: list[tuple[int, int]] = []
    made = cached(source, folder, workers, lambda done, total: seen.append((done, total)))
    assert isinstance(made, Source)
    assert_same(made, source)
    assert seen == [(n, 5) for n in range(1, 6)]
    assert only(folder).name.startswith("camvid-train-")
    assert only(folder).stat().st_size > sum(4 * h * w for h, w in SIZES)


def test_it_is_built_once_and_inputs_are_left_alone(
    root: Path, folder: Path, decoded: list[str]
) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    cached(camvid(root, "train"), folder)
    assert decoded == ["0", "1", "2", "3", "4"]
    written = only(folder).stat().st_mtime_ns
    again = cached(camvid(root, "train"), folder, progress=lambda *_: pytest.fail("written again"))
    assert decoded == ["0", "1", "2", "3", "4"]
    assert only(folder).stat().st_mtime_ns == written
    assert_same(again, camvid(root, "train"))
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def test_what_changed_is_decoded_again_and_only_that(
    root: Path, folder: Path, decoded: list[str]
) -> None:
    def again() -> list[str]:
        decoded.clear()
        made = cached(camvid(root, "train"), folder)
        redone = list(decoded)
        assert_same(made, camvid(root, "train"))
        return redone

    assert again() == ["0", "1", "2", "3", "4"]
    image, mask = root / "train" / "1.png", root / "trainannot" / "3.png"
    Image.fromarray(np.full((*SIZES[1], 3), 77, np.uint8)).save(image)
    assert again() == ["1"]
    os.utime(image, ns=(0, 5))
    assert again() == ["1"]
    times = mask.stat().st_atime_ns, mask.stat().st_mtime_ns
    os.utime(mask)
    assert again() == []
    pixels = np.array(Image.open(mask))
    pixels[0, 0] = (pixels[0, 0] + 1) % 12
    Image.fromarray(pixels).save(mask)
    os.utime(mask, ns=times)
    assert again() == ["3"]
    write_pair(root, 9, (6, 6), 9)
    assert again() == ["9"]
    for name in ("train", "trainannot"):
        (root / name / "0.png").unlink()
    assert again() == []
    write_pair(root, 4, (8, 8), 44)  # another size
    assert again() == ["4"]
    assert len(list(folder.iterdir())) == 1


def flip(place: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[place] ^= 0x10
        path.write_bytes(data)

    return damage


def index_with(**wrong: object) -> Callable[[Path], None]:
    """Change an entry of the index and sign it, as only a hostile hand would."""

    def damage(path: Path) -> None:
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[-56:-48])
        index = json.loads(data[-56 - length : -56])
        index["0"].update(wrong)
        text = json.dumps(index).encode()
        tail = struct.pack("<Q32s16s", len(text), hashlib.sha256(text).digest(), MAGIC)
        path.write_bytes(data[: -56 - length] + text + tail)

    return damage


@pytest.mark.parametrize(
    ("damage", "redone"),
    [
        (flip(20), ["0"]),
        (flip(0), None),
        (flip(-3), None),
        (flip(-70), None),
        (flip(-50), None),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), None),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), None),
        (lambda path: path.write_bytes(b""), None),
        (lambda path: path.write_bytes(b"\0" * 5000), None),
        (lambda path: path.write_text("{}"), None),
        (index_with(height=10**9), None),
        (index_with(width=-4), None),
        (index_with(start=10**15), None),
        (index_with(start=0), None),
        (index_with(height=9.5), None),
        (index_with(stamps=None), None),
        (index_with(more=1), None),
        (index_with(crc32="x"), None),
        (index_with(height=3), ["0"]),
        (index_with(stamps=["a", "b", "c"]), ["0"]),
    ],
)
def test_damage_is_noticed_and_mended(
    root: Path,
    folder: Path,
    decoded: list[str],
    damage: Callable[[Path], None],
    redone: list[str] | None,
) -> None:
    source = camvid(root, "train")
    cached(source, folder)
    damage(only(folder))
    decoded.clear()
    made = cached(source, folder)
    assert decoded == (redone or ["0", "1", "2", "3", "4"])
    assert_same(made, source)


def test_sources_and_settings_do_not_mix(root: Path, folder: Path) -> None:
    source = camvid(root, "train")
    small = source.scaled(5)
    part = Subset(source, [3, 1], "camvid/part")
    for one in (source, small, part):
        assert_same(cached(one, folder), one)
    assert len(list(folder.iterdir())) == 3
    for one in (source, small, part):
        made = cached(one, folder, progress=lambda *_: pytest.fail("written again"))
        assert_same(made, one)


def test_another_place_of_the_same_data_is_another_cache(
    root: Path, folder: Path, tmp_path: Path
) -> None:
    cached(camvid(root, "train"), folder)
    shutil.copytree(root, tmp_path / "copy")
    Image.new("RGB", (13, 9)).save(tmp_path / "copy" / "train" / "0.png")
    other = camvid(tmp_path / "copy", "train")
    assert_same(cached(other, folder), other)
    assert len(list(folder.iterdir())) == 2


def digests(source: Source) -> list[str]:
    return [hashlib.sha256(source[i].image.tobytes()).hexdigest() for i in range(len(source))]


def test_it_can_be_pickled_and_opened_in_another_process(root: Path, folder: Path) -> None:
    made = cached(camvid(root, "train"), folder)
    state = pickle.dumps(made)
    assert len(state) < 5000
    assert_same(pickle.loads(state), camvid(root, "train"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(digests, (made,)) == digests(made)


def test_batches_are_those_of_the_source(root: Path, folder: Path) -> None:
    source = camvid(root, "train")
    made = cached(source, folder)
    transform = TrainingTransform((12, 10), rotate=10, blur=0.5, max_class_share=0.5)
    for workers in (0, 2):
        pairs = zip(
            training_loader(source, transform, 2, 0, 0),
            training_loader(made, transform, 2, 0, 0, workers),
            strict=True,
        )
        for one, other in pairs:
            assert one.images.equal(other.images)
            assert one.labels.equal(other.labels)
    assert_same(made, source)


def test_a_cache_replaced_while_in_use_is_said(root: Path, folder: Path) -> None:
    made = cached(camvid(root, "train"), folder)
    expected, state = digests(made), pickle.dumps(made)
    write_pair(root, 2, (5, 5), 22)
    assert_same(cached(camvid(root, "train"), folder), camvid(root, "train"))
    assert digests(made) == expected  # this process keeps what it has opened
    with pytest.raises(
        EnvironmentFault, match=r"\.cache: was replaced by another process.*--cache"
    ):
        pickle.loads(state)[0]


def build(root: Path, folder: Path, start: float) -> list[str]:
    time.sleep(max(0, start - time.time()))
    return digests(cached(camvid(root, "train"), folder))


def test_two_processes_may_build_at_once(root: Path, folder: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.starmap(build, [(root, folder, time.time() + 0.3)] * 4)
    assert found == [digests(camvid(root, "train"))] * 4
    assert only(folder).suffix == ".cache"


def test_a_faulty_sample_is_named_and_nothing_stays(root: Path, folder: Path) -> None:
    (root / "train" / "2.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(DataError, match=r"2\.png: "):
        cached(camvid(root, "train"), folder)
    assert list(folder.iterdir()) == []
    (root / "train" / "2.png").unlink()
    source = camvid(root, "train", strict=False)
    assert_same(cached(source, folder), source)
    (root / "train" / "1.png").unlink()
    before = only(folder).read_bytes()
    with pytest.raises(DataError, match=r"1\.png: there is no such file"):
        cached(source, folder)
    assert only(folder).read_bytes() == before


def run_limited(root: Path, folder: Path, limit: int) -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        cached(camvid(root, "train"), folder)
    except EnvironmentFault as error:
        return str(error)
    return ""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are of Unix")
def test_a_full_disk_leaves_what_was_there(root: Path, folder: Path) -> None:
    cached(camvid(root, "train"), folder)
    before = only(folder).read_bytes()
    write_pair(root, 5, (100, 100), 5)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        message = pool.apply(run_limited, (root, folder, 20000))
    assert str(only(folder)) in message
    assert "cannot be written (File too large); free some space, or choose another" in message
    assert message.endswith("with --cache")
    assert only(folder).read_bytes() == before


def test_room_is_looked_at_before_decoding(
    root: Path, folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(root)._replace(free=600)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(EnvironmentFault, match=r"--cache .*need about 0\.0 GB, and 0\.0 GB are"):
        cached(camvid(root, "train"), folder)
    assert decoded == []
    assert list(folder.iterdir()) == []


def test_folders_that_cannot_be_used(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match=r"--cache .*file: cannot be used \(File exists\)"):
        cached(camvid(root, "train"), tmp_path / "file")


def test_what_a_killed_process_left_is_removed(root: Path, folder: Path) -> None:
    cached(camvid(root, "train"), folder)
    old, young = (folder / f".{only(folder).name}.{name}.part" for name in ("old", "young"))
    for path, age in ((old, 7200), (young, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age, time.time() - age))
    write_pair(root, 0, (4, 4), 0)
    cached(camvid(root, "train"), folder)
    assert not old.exists()
    assert young.exists()


class OwnFormat:
    """A source as a user may write it, without a word on its settings."""

    name, classes, palette = "own", ("a", "b"), ((0, 0, 0), (255, 0, 0))

    def __init__(self, root: Path, level: int = 1, kind: type = np.uint8) -> None:
        self._files, self._level, self._kind = sorted((root / "train").iterdir()), level, kind

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        image = np.array(Image.open(self._files[index]))[:, ::-1]
        return Sample(image, self.label(index), self.id(index))

    def label(self, index: int) -> np.ndarray:
        size = np.array(Image.open(self._files[index])).shape[:2]
        return np.full(size, self._level, self._kind)

    def id(self, index: int) -> str:
        return self._files[index].stem

    def files(self, index: int) -> tuple[Path, ...]:
        return (self._files[index],)


def test_sources_of_a_persons_own(root: Path, folder: Path) -> None:
    for level in (1, 0, 1):
        source = OwnFormat(root, level)
        assert_same(cached(source, folder), source)
    assert len(list(folder.iterdir())) == 1
    with pytest.raises(UsageError, match="0: expected uint8 labels, got int64"):
        cached(OwnFormat(root, kind=np.int64), folder)
    unnamed = OwnFormat(root)
    unnamed.reader = lambda: 0  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"--cache: own cannot be pickled .*use functions"):
        cached(unnamed, folder)


OWN_READER = """
import numpy as np
from fcnseg.data.camvid import camvid
from fcnseg.data.pairs import ImagePairs, Pair

def read(pair, max_pixels):
    from fcnseg.data.images import read_image
    return np.full(read_image(pair.mask).shape[:2], LEVEL, np.uint8)

def source(root):
    files = sorted((root / "train").iterdir())
    pairs = [Pair(f.stem, f, f) for f in files]
    return ImagePairs("own", ("a", "b"), ((0, 0, 0), (9, 9, 9)), pairs, read)
"""


def test_a_reader_that_was_rewritten_decodes_again(
    root: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for level in (0, 1):
        (tmp_path / "reader_of_mine.py").write_text(OWN_READER.replace("LEVEL", str(level)))
        sys.modules.pop("reader_of_mine", None)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        module = __import__("reader_of_mine")
        source = module.source(root)
        made = cached(source, folder)
        assert made.label(0).max() == level
        assert_same(made, source)
    sys.modules.pop("reader_of_mine", None)


def test_generated_samples_have_nothing_to_decode(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--cache: the samples of shapes.* are generated"):
        cached(Shapes(length=2), folder)
    with pytest.raises(DataError, match="has no samples"):
        cached(Shapes(length=2).__class__.__new__(Empty), folder)
    assert not folder.exists()


class Empty(Shapes):
    name = "empty"

    def __len__(self) -> int:
        return 0


def test_bytes_of_the_file_are_read_in_place(root: Path, folder: Path) -> None:
    cached(camvid(root, "train"), folder)
    pack = Pack(only(folder))
    entry = pack.entries["3"]
    image, label = pack.image(entry), pack.label(entry)
    place = pack.bytes_of(entry).ctypes.data
    assert image.ctypes.data == place
    assert label.ctypes.data == place + image.size
