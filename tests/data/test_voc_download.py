"""--download: made archives on a server of this machine, unpacked to where the readers look."""

import hashlib
import io
import os
import re
import socket
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from voc_layout import labels_of, make_sbd, make_voc

from fcnseg.data import voc_download
from fcnseg.data.voc import voc
from fcnseg.data.voc_aug import voc_aug
from fcnseg.data.voc_download import SBD_ARCHIVE, VOC_ARCHIVES, Archive, fetch_sbd, fetch_voc
from fcnseg.errors import DataError, EnvironmentFault, UsageError

LISTS = {"train": ["t"], "val": ["v"]}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Publisher:
    """Serves archives from a folder, and is what :mod:`voc_download` takes for the real one."""

    def __init__(self, folder: Path, address: str, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.address, self._patch = folder, address, patch

    def publish_voc(self, year: int, *parts: Path, sha256: str | None = None) -> None:
        archives = tuple(
            self.publish(part, f"{i}-{year}.tar", sha256) for i, part in enumerate(parts)
        )
        self._patch.setattr(voc_download, "VOC_ARCHIVES", {**VOC_ARCHIVES, year: archives})

    def publish_sbd(self, part: Path) -> None:
        self._patch.setattr(voc_download, "SBD_ARCHIVE", self.publish(part, "benchmark.tgz", None))

    def publish(self, part: Path, name: str, sha256: str | None) -> Archive:
        with tarfile.open(self.folder / name, "w:gz" if name.endswith("gz") else "w") as tar:
            tar.add(part, ".")
        digest = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
        return Archive(f"{self.address}/{name}", sha256 or digest)


@pytest.fixture
def publisher(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Publisher]:
    folder = tmp_path_factory.mktemp("server")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("FCNSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield Publisher(folder, f"http://127.0.0.1:{server.server_address[1]}", monkeypatch)
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_voc_is_fetched_and_read(publisher: Publisher, tmp_path: Path) -> None:
    published, seen = tmp_path / "published", []
    make_voc(published / "VOCdevkit/VOC2012", LISTS)
    publisher.publish_voc(2012, published)
    root = tmp_path / "new/root"
    said = fetch_voc(root, progress=lambda *event: seen.append(event))
    assert re.fullmatch(
        r".*root/VOCdevkit/VOC2012: downloaded and unpacked; .* may be remov.*", said
    )
    assert files(root) == files(published)
    assert os.listdir(root) == ["VOCdevkit"]
    assert np.array_equal(voc(root, "train")[0].label, labels_of("t"))
    size = (publisher.folder / "0-2012.tar").stat().st_size
    assert [doing for doing, _, _ in seen] == sorted(doing for doing, _, _ in seen)
    assert ("downloading", size, size) in seen
    assert {event[0] for event in seen} == {"downloading", "unpacking"}


def test_data_that_are_there_are_left_alone(publisher: Publisher, tmp_path: Path) -> None:
    """No server has these: every attempt to ask one would fail."""
    make_voc(tmp_path / "VOCdevkit/VOC2007", LISTS)
    make_sbd(tmp_path / "dataset", LISTS)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)}
    nothing = "is there already, nothing is downloaded"
    for root in (tmp_path, tmp_path / "VOCdevkit", tmp_path / "VOCdevkit/VOC2007"):
        assert fetch_voc(root) == f"{tmp_path}/VOCdevkit/VOC2007: {nothing}"
    assert fetch_voc(tmp_path, 2007).endswith(nothing)
    assert fetch_sbd(tmp_path) == f"{tmp_path}/dataset: {nothing}"
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path)} == before


@pytest.mark.parametrize(
    ("root", "year", "target"),
    [
        (".", None, "VOCdevkit/VOC2012"),
        (".", 2009, "VOCdevkit/VOC2009"),
        ("VOCdevkit", None, "VOCdevkit/VOC2012"),
        ("VOC2008", None, "VOC2008"),
        ("VOCdevkit/VOC2010", None, "VOCdevkit/VOC2010"),
    ],
)
def test_where_it_is_put(
    publisher: Publisher, tmp_path: Path, root: str, year: int | None, target: str
) -> None:
    name = re.sub(r".*VOC", "VOC", target)
    make_voc(tmp_path / "published/VOCdevkit" / name, LISTS)
    publisher.publish_voc(int(name[3:]), tmp_path / "published")
    fetch_voc(tmp_path / "data" / root, year)
    assert (tmp_path / "data" / target / "JPEGImages/t.jpg").is_file()
    assert len(voc(tmp_path / "data" / root, "val", year)) == 1
    assert not list((tmp_path / "data").rglob(".*"))


def test_voc_2007_has_a_test_split(publisher: Publisher, tmp_path: Path) -> None:
    make_voc(tmp_path / "a/VOCdevkit/VOC2007", LISTS)
    make_voc(tmp_path / "b/VOCdevkit/VOC2007", {"test": ["x", "y"]})
    publisher.publish_voc(2007, tmp_path / "a", tmp_path / "b")
    fetch_voc(tmp_path / "root", 2007)
    assert len(voc(tmp_path / "root", "test")) == 2
    assert files(tmp_path / "root") == files(tmp_path / "a") | files(tmp_path / "b")


def test_voc_2011_has_a_folder_above(publisher: Publisher, tmp_path: Path) -> None:
    make_voc(tmp_path / "a/TrainVal/VOCdevkit/VOC2011", LISTS)
    publisher.publish_voc(2011, tmp_path / "a")
    fetch_voc(tmp_path / "root", 2011)
    assert os.listdir(tmp_path / "root/VOCdevkit") == ["VOC2011"]
    assert len(voc(tmp_path / "root", "val")) == 1


def test_sbd_is_fetched_beside_voc(publisher: Publisher, tmp_path: Path) -> None:
    make_voc(tmp_path / "v/VOCdevkit/VOC2012", LISTS)
    make_sbd(tmp_path / "s/benchmark_RELEASE/dataset", {"train": ["s", "v"], "val": ["t"]})
    publisher.publish_voc(2012, tmp_path / "v")
    publisher.publish_sbd(tmp_path / "s")
    fetch_voc(tmp_path / "root")
    assert "benchmark_RELEASE: downloaded and unpacked" in fetch_sbd(tmp_path / "root")
    source = voc_aug(tmp_path / "root", "train")
    assert [source.id(i) for i in range(len(source))] == ["t", "s"]
    assert "nothing is downloaded" in fetch_sbd(tmp_path / "root")


def test_a_part_of_voc_in_the_way_is_refused_before_any_download(tmp_path: Path) -> None:
    folder = make_voc(tmp_path / "VOCdevkit/VOC2012", {"train": ["t"]})
    with pytest.raises(
        DataError, match=r"VOC2012: is there, but without ImageSets/Segm.*/val\.txt"
    ):
        fetch_voc(tmp_path)
    assert len(files(folder)) == 3
    (tmp_path / "other/VOCdevkit/VOC2012/Annotations").mkdir(parents=True)
    with pytest.raises(DataError, match=r"VOC2012: is in the way"):
        fetch_voc(tmp_path / "other")
    (tmp_path / "other/benchmark_RELEASE").touch()
    with pytest.raises(DataError, match=r"benchmark_RELEASE: is in the way"):
        fetch_sbd(tmp_path / "other")
    with pytest.raises(UsageError, match="VOC 2013: expected a year from 2007 to 2012"):
        fetch_voc(tmp_path / "new", 2013)


def test_offline_everything_is_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/VOCtrainval.tar"
    monkeypatch.setenv("FCNSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(voc_download, "VOC_ARCHIVES", {2012: (Archive(url, "ab" * 32),)})
    with pytest.raises(DataError) as caught:
        fetch_voc(tmp_path / "root")
    assert re.fullmatch(
        rf"{url}: download failed: .*; put the file by hand at "
        rf"{tmp_path}/cache/VOCtrainval\.tar \(sha256 {'ab' * 32}\), or unpack a copy of your own "
        "and point --data-root at it",
        str(caught.value),
    )
    assert not (tmp_path / "root").exists()


def test_an_archive_put_by_hand_is_taken(publisher: Publisher, tmp_path: Path) -> None:
    make_voc(tmp_path / "a/VOCdevkit/VOC2012", LISTS)
    publisher.publish_voc(2012, tmp_path / "a")
    name = "0-2012.tar"
    (publisher.folder / name).rename(Path(os.environ["FCNSEG_CACHE"]) / name)
    fetch_voc(tmp_path / "root")
    assert len(voc(tmp_path / "root", "train")) == 1


def test_another_hash_a_hostile_archive_and_an_empty_one(
    publisher: Publisher, tmp_path: Path
) -> None:
    make_voc(tmp_path / "a/VOCdevkit/VOC2012", LISTS)
    publisher.publish_voc(2012, tmp_path / "a", sha256="0" * 64)
    with pytest.raises(DataError, match=r"0-2012\.tar: download failed: what came has sha256"):
        fetch_voc(tmp_path / "root")
    publisher.publish_voc(2012, tmp_path / "a")
    archive = publisher.folder / "0-2012.tar"
    with tarfile.open(archive, "a") as tar:
        out = tarfile.TarInfo("../../out")
        out.size = 1
        tar.addfile(out, io.BytesIO(b"x"))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    voc_download.VOC_ARCHIVES[2012] = (Archive(f"{publisher.address}/0-2012.tar", digest),)
    with pytest.raises(DataError, match=r"0-2012\.tar: has '\.\./\.\./out', which leads out of"):
        fetch_voc(tmp_path / "root")
    (tmp_path / "nothing").mkdir()
    publisher.publish_voc(2012, tmp_path / "nothing")
    with pytest.raises(DataError, match=r"holds no folder VOC2012; get the archive again"):
        fetch_voc(tmp_path / "root")
    assert sorted(os.listdir(tmp_path)) == ["a", "nothing"]


@pytest.mark.parametrize("when", ["downloading", "unpacking"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, EnvironmentFault])
def test_what_is_interrupted_leaves_the_root_as_it_was_and_is_repeated(
    publisher: Publisher, tmp_path: Path, when: str, error: type[BaseException]
) -> None:
    make_voc(tmp_path / "a/VOCdevkit/VOC2012", LISTS)
    publisher.publish_voc(2012, tmp_path / "a")

    def interrupt(doing: str, _done: int, _total: int | None) -> None:
        if doing == when:
            raise error("stop")

    root = tmp_path / "root"
    make_sbd(root / "dataset", {"train": ["s"]})
    before = files(root)
    for _ in range(2):
        with pytest.raises(error, match="stop"):
            fetch_voc(root, progress=interrupt)
        assert files(root) == before
        assert os.listdir(root) == ["dataset"]
    fetch_voc(root)
    assert len(voc(root, "train")) == 1


def test_the_published_archives() -> None:
    """Of every year, over https, each with a whole sha256 of its own."""
    assert sorted(VOC_ARCHIVES) == list(range(2007, 2013))
    archives = [*sum(VOC_ARCHIVES.values(), ()), SBD_ARCHIVE]
    assert all(re.fullmatch("[0-9a-f]{64}", archive.sha256) for archive in archives)
    assert all(archive.url.startswith("https://") for archive in archives)
    assert len({archive.sha256 for archive in archives}) == len(archives) == 8
    assert all(str(year) in a.name for year in VOC_ARCHIVES for a in VOC_ARCHIVES[year])
