"""The cache of decoded samples: equal to the source, told of every change, never half-written."""

import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcnseg.data import cache as cache_module
from fcnseg.data.cache import cached
from fcnseg.data.camvid import camvid
from fcnseg.data.loading import training_loader
from fcnseg.data.pack import MAGIC, Pack
from fcnseg.data.pairs import ImagePairs, Pair
from fcnseg.data.sample import Sample, Source
from fcnseg.data.shapes import Shapes
from fcnseg.data.stamps import stamps_of
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
    counted = [(n, 5) for n in range(1, 6)]
    assert seen == counted + counted  # masks compared, then samples written
    seen.clear()
    cached(source, folder, workers, lambda done, total: seen.append((done, total)))
    assert seen == counted
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
    again = cached(camvid(root, "train"), folder)
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
        (index_with(crc32=-1), None),
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


def test_a_damaged_sample_is_decoded_when_it_is_read_and_mended(
    root: Path, folder: Path, decoded: list[str]
) -> None:
    source = camvid(root, "train")
    expected = digests(cached(source, folder))
    whole = only(folder).read_bytes()
    for workers in (0, 2):
        flip(20)(only(folder))
        decoded.clear()
        made = cached(source, folder)
        assert decoded == []
        if workers:  # noticed by another process
            loader = training_loader(made, None, 1, 0, 0, workers)
            assert sorted(name for batch in loader for name in batch.ids) == list("01234")
        assert digests(made) == expected
        assert decoded == ([] if workers else ["0"])
        assert np.array_equal(made.label(0), source.label(0))
        assert only(folder).read_bytes() == whole
    index_with(height=3)(only(folder))
    assert_same(cached(source, folder), source)


def test_damage_is_not_taken_over(root: Path, folder: Path) -> None:
    cached(camvid(root, "train"), folder)
    flip(20)(only(folder))
    write_pair(root, 4, (8, 8), 44)
    assert_same(cached(camvid(root, "train"), folder), camvid(root, "train"))
    pack = Pack(only(folder))
    assert len(pack.entries) == 5
    assert all(map(pack.is_intact, pack.entries.values()))


def test_damaged_and_changed_at_once_is_said(root: Path, folder: Path) -> None:
    made = cached(camvid(root, "train"), folder)
    flip(20)(only(folder))
    write_pair(root, 0, (9, 13), 100)
    with pytest.raises(EnvironmentFault, match=r"0\.png: changed while in use.*--cache .*\.cache "):
        made[0]
    assert made[1].id == "1"


def test_only_what_is_the_sample_mends(root: Path, folder: Path) -> None:
    cached(camvid(root, "train"), folder)
    pack = Pack(only(folder))
    good, entry = pack.read(pack.entries["0"]), pack.entries["0"]
    flip(20)(only(folder))
    damaged = only(folder).read_bytes()
    pack.mend(entry, bytes(len(good)))
    pack.mend(entry, good[:-1])
    assert only(folder).read_bytes() == damaged
    only(folder).write_bytes(damaged + bytes(8))  # another file by now
    pack.mend(entry, good)
    assert only(folder).read_bytes() == damaged + bytes(8)


def test_sources_and_settings_do_not_mix(
    root: Path, folder: Path, decoded: list[str], tmp_path: Path
) -> None:
    source = camvid(root, "train")
    small = source.scaled(5)
    shutil.copytree(root / "trainannot", tmp_path / "other" / "trainannot")
    shutil.copytree(root / "train", tmp_path / "other" / "train")
    pairs = [Pair(source.id(i), *camvid(tmp_path / "other", "train").files(i)) for i in range(5)]
    mine = [Pair(p.id, source.files(i)[0], p.mask) for i, p in enumerate(pairs)]
    masks = ImagePairs(source.name, source.classes, source.palette, mine, source._read_label)
    names = ("a", *source.classes[1:])
    classes = ImagePairs(source.name, names, source.palette, source._pairs, source._read_label)
    for one in (source, small, masks, classes):
        assert_same(cached(one, folder), one)
    assert len(list(folder.iterdir())) == 4
    decoded.clear()
    for one in (source, small, masks, classes):
        cached(one, folder)
    assert decoded == []


def test_parts_of_a_source_share_its_file(root: Path, folder: Path, decoded: list[str]) -> None:
    source = camvid(root, "train")
    first = [Subset(source, [3, 1, 0], "camvid/a"), Subset(source, [2, 4], "camvid/b")]
    made = [cached(part, folder) for part in first]
    states = [pickle.dumps(part) for part in made]
    assert sorted(decoded) == list("01234")
    decoded.clear()
    for indices in ([0, 2, 4], [1, 3], range(5)):  # as another --seed cuts it
        cached(Subset(source, indices, "camvid/a"), folder)
    cached(source, folder)
    assert decoded == []
    assert only(folder).name.startswith("camvid-train-")
    for part, one, state in zip(first, made, states, strict=True):
        assert_same(one, part)
        assert_same(pickle.loads(state), part)
    write_pair(root, 2, (5, 5), 22)
    decoded.clear()
    cached(first[0], folder)
    assert decoded == []
    cached(first[1], folder)
    assert decoded == ["2"]


def test_a_run_goes_on_while_another_part_is_written(root: Path, folder: Path) -> None:
    source = camvid(root, "train")
    made = cached(Subset(source, [0, 1], "camvid/a"), folder)
    expected, state = digests(made), pickle.dumps(made)
    cached(Subset(source, [2, 3], "camvid/b"), folder)
    assert digests(pickle.loads(state)) == expected
    for path in folder.iterdir():  # as if two runs had begun at once, and the other came last
        path.unlink()
    cached(Subset(source, [2, 3], "camvid/b"), folder)
    assert digests(pickle.loads(state)) == expected
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(digests, (pickle.loads(state),)) == expected
    only(folder).unlink()
    assert digests(pickle.loads(state)) == expected


def test_a_file_that_others_keep_replacing_is_said(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "write_pack", lambda *_: None)
    with pytest.raises(EnvironmentFault, match=r"\.cache: was replaced by another.*a --cache of"):
        cached(camvid(root, "train"), folder)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
def test_no_map_of_ours_is_open_when_the_file_is_replaced(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: list[bool] = []
    usual = os.replace

    def replace(one: Path, other: Path) -> None:
        mapped.append(str(other) in Path("/proc/self/maps").read_text())
        usual(one, other)

    monkeypatch.setattr(os, "replace", replace)
    source = camvid(root, "train")
    made = [cached(Subset(source, [number], "camvid/a"), folder) for number in range(3)]
    assert mapped == [False] * 3
    assert [one[0].id for one in made] == ["0", "1", "2"]
    assert str(only(folder)) in Path("/proc/self/maps").read_text()


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
    later = pickle.loads(state)
    assert later[1].image.tobytes() == made[1].image.tobytes()
    with pytest.raises(EnvironmentFault, match=r"2\.png: changed while in use.*; start again$"):
        later[2]


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


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Write modules beside each other and import the first anew, as another run would."""
    place = tmp_path / "formats"
    names: set[str] = set()
    monkeypatch.syspath_prepend(str(place))

    def write(**texts: str) -> Any:
        shutil.rmtree(place, ignore_errors=True)
        for name, text in texts.items():
            path = place / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        names.update(name.replace("__", ".") for name in texts)
        for name in [n for n in sys.modules if n.partition(".")[0] in {m[:9] for m in names}]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return importlib.import_module(next(iter(texts)).replace("__", "."))

    yield write
    for name in [n for n in sys.modules if n.startswith("my_")]:
        del sys.modules[name]


AT_THE_TOP = OWN_READER.replace("import numpy", "from my_helper import LEVEL\nimport numpy")
IN_A_FUNCTION = OWN_READER.replace("return np.full", "from my_helper import LEVEL; return np.full")
BY_NAME = OWN_READER.replace("import numpy", "LEVEL = __import__('my_helper').LEVEL\nimport numpy")
RELATIVE = AT_THE_TOP.replace("from my_helper", "from .deeper.my_helper")


@pytest.mark.parametrize(
    ("reader", "name", "helper"),
    [
        (OWN_READER + "LEVEL = {}", "my_reader", "my_unused"),
        (AT_THE_TOP, "my_reader", "my_helper"),
        (IN_A_FUNCTION, "my_reader", "my_helper"),
        (BY_NAME, "my_reader", "my_helper"),
        (RELATIVE, "my_format__reader", "my_format__deeper__my_helper"),
    ],
    ids=["itself", "top", "function", "loaded", "relative"],
)
def test_a_reader_or_its_helper_that_was_rewritten_decodes_again(
    root: Path,
    folder: Path,
    decoded: list[str],
    module: Callable[..., Any],
    reader: str,
    name: str,
    helper: str,
) -> None:
    for level in (0, 1, 1):
        texts = {name: reader.replace("{}", str(level)), helper: f"LEVEL = {level}"}
        source = module(**texts).source(root)
        decoded.clear()
        made = cached(source, folder)
        assert made.label(0).max() == level
        assert_same(made, source)
    assert len(decoded) == 5  # those of assert_same
    assert len(list(folder.iterdir())) == 1


STAMPS_OF_A_COPY = """
import sys
from pathlib import Path
import fcnseg
from fcnseg.data.camvid import camvid
from fcnseg.data.stamps import stamps_of

source = camvid(sys.argv[1], "train")
before = stamps_of(source)
assert before == stamps_of(source)
for name in sys.argv[2:]:
    path = Path(fcnseg.__file__).parent / name
    text = path.read_bytes()
    path.write_bytes(text + b"#")
    print(name, stamps_of(source) != before)
    path.write_bytes(text)
"""


def test_our_own_decoders_are_stamped(root: Path, tmp_path: Path) -> None:
    package = Path(cache_module.__file__).parents[1]
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, tmp_path / "copy" / "fcnseg", ignore=without)
    names = ["images", "encodings", "scaling", "painting", "instances", "mat_files", "pairs"]
    files = [*(f"data/{name}.py" for name in names), "palette.py", "checks.py"]
    others = ["build.py", "cli/train.py"]
    found = subprocess.run(
        [sys.executable, "-c", STAMPS_OF_A_COPY, str(root), *files, *others],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "copy")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    told = dict(line.split() for line in found.stdout.splitlines())
    assert told == dict.fromkeys(files, "True") | dict.fromkeys(others, "False")


@pytest.mark.parametrize("name", ["pycocotools", "scipy"])
def test_decoders_of_others_are_stamped_by_version(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stamps_of(camvid(root, "train"))
    usual = importlib.metadata.version
    other = lambda asked: "0.0" if asked == name else usual(asked)  # noqa: E731
    monkeypatch.setattr(importlib.metadata, "version", other)
    assert stamps_of(camvid(root, "train")) != before


class FromOneFile:
    """A reader of labels that are all in one file, as COCO's are."""

    def __init__(self, file: Path) -> None:
        self.levels: dict[str, int] = json.loads(file.read_text())

    def __call__(self, pair: Pair, max_pixels: int) -> np.ndarray:
        return np.full(np.array(Image.open(pair.image)).shape[:2], self.levels[pair.id], np.uint8)


class WithContent(FromOneFile):
    def content(self, pair: Pair) -> bytes:
        return bytes([self.levels[pair.id]])


@pytest.mark.parametrize(("reader", "redone"), [(FromOneFile, 5), (WithContent, 1)])
def test_labels_of_one_file_are_told_apart(
    root: Path, folder: Path, decoded: list[str], reader: type[FromOneFile], redone: int
) -> None:
    file = root / "labels.json"
    seen: list[tuple[int, int]] = []

    def again(**levels: int) -> list[str]:
        file.write_text(
            json.dumps(dict.fromkeys("01234", 0) | {k[1]: n for k, n in levels.items()})
        )
        pairs = [Pair(f"{n}", root / "train" / f"{n}.png", file) for n in range(5)]
        palette = ((0, 0, 0), (9, 9, 9))
        source = ImagePairs("own", ("a", "b"), palette, pairs, reader(file))
        part = Subset(source, [4, 3, 1, 0], "own/part")
        decoded.clear()
        seen.clear()
        made = [cached(one, folder, 0, lambda *at: seen.append(at)) for one in (part, source)]
        ids = list(decoded)
        for one, theirs in zip(made, (part, source), strict=True):
            assert_same(one, theirs)
        return ids

    assert sorted(again()) == list("01234")
    assert again() == []
    assert seen == ([(1, 1)] * 2 if reader is FromOneFile else [])
    changed = again(_3=1)
    assert "3" in changed
    assert len(changed) == redone
    assert len(again(_3=1, _2=1)) == redone
    assert len(list(folder.iterdir())) == 1


def test_two_files_of_labels_are_two_caches(root: Path, folder: Path, decoded: list[str]) -> None:
    sources = []
    for name in ("one", "two"):
        file = root / f"{name}.json"
        file.write_text(json.dumps(dict.fromkeys("01234", len(sources))))
        pairs = [Pair(f"{n}", root / "train" / f"{n}.png", file) for n in range(5)]
        palette = ((0, 0, 0), (9, 9, 9))
        sources.append(ImagePairs("own", ("a", "b"), palette, pairs, WithContent(file)))
    for _ in range(2):
        for source in sources:
            decoded.clear()
            cached(source, folder)
    assert decoded == []
    assert len(list(folder.iterdir())) == 2


def test_ids_that_are_not_unique_are_refused(root: Path, folder: Path) -> None:
    source = OwnFormat(root)
    source.id = lambda index: "same"  # type: ignore[method-assign]
    for one in (source, Subset(source, [1], "own/part")):
        with pytest.raises(DataError, match=r"own: 5 samples have the id 'same', .*--cache"):
            cached(one, folder)
    assert not folder.exists()
    twice = Subset(OwnFormat(root), [2, 1, 2], "own/part")
    assert_same(cached(twice, folder), twice)


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
    assert label.ctypes.data == image.ctypes.data + image.size
    assert pack.read(entry) == image.tobytes() + label.tobytes()
    with pytest.raises(BufferError):
        pack.close()
    del image, label
    pack.close()
    assert not pack.open()
