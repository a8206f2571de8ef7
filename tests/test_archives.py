"""Unpacking: what belongs is written, what does not is refused, and nothing is left behind."""

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from fcnseg import archives
from fcnseg.archives import Limits, put_in_place, staging, unpack
from fcnseg.errors import DataError, EnvironmentFault

resource = pytest.importorskip("resource", reason="limits of POSIX")

FILES = {"VOC/a.txt": b"a" * 1000, "VOC/deep/b.bin": bytes(range(256)) * 40, "VOC/empty": b""}


def member(
    name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in FILES.items():
            tar.addfile(member(name, len(content)), io.BytesIO(content))
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(archive: Path, folder: Path, limits: Limits | None = None) -> str:
    """Unpack, which must fail; return the message."""
    folder.mkdir()
    with pytest.raises(DataError) as caught:
        unpack(archive, folder, limits)
    assert str(caught.value).startswith(f"{archive}: ")
    assert "\n" not in str(caught.value)
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert set(os.listdir(folder.parent)) <= {folder.name, archive.name}
    return str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_and_folders_come_out_as_they_went_in(tmp_path: Path, mode: str, style: int) -> None:
    source, seen = tmp_path / "source", []
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    (source / "VOC/nothing").mkdir()
    (source / "VOC" / f"{'long' * 20}.txt").write_bytes(b"long name")
    (source / "VOC/a.txt").chmod(0o777)
    with tarfile.open(tmp_path / "x.tar", mode, format=style) as tar:  # type: ignore[call-overload]
        tar.add(source, ".")
    (tmp_path / "out").mkdir()
    unpack(
        tmp_path / "x.tar", tmp_path / "out", progress=lambda done, all: seen.append((done, all))
    )
    assert contents(tmp_path / "out") == contents(source)
    assert (tmp_path / "out/VOC/nothing").is_dir()
    (tmp_path / "plain").touch()
    assert (tmp_path / "out/VOC/a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert seen == sorted(seen)
    assert 0 < seen[-1][0] <= seen[-1][1] == (tmp_path / "x.tar").stat().st_size


@pytest.mark.parametrize(
    "name", ["../out.txt", "/tmp/out.txt", "a/../../b", "..", "C:x", "a\\b", ""]
)
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_members_that_lead_out_are_refused(tmp_path: Path, name: str, kind: bytes) -> None:
    archive = write_tar(tmp_path / "x.tar", (member(name, kind=kind, link="VOC/a.txt"), b""))
    assert "which leads out of the folder" in refused(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("link", ["/etc/passwd", "../../secret", "../../../etc/passwd"])
def test_links_out_are_refused(tmp_path: Path, kind: bytes, link: str) -> None:
    archive = write_tar(tmp_path / "x.tar", (member("VOC/link", kind=kind, link=link), b""))
    assert "leads out of the folder" in refused(archive, tmp_path / "out")


def test_a_file_written_through_a_link_stays_inside(tmp_path: Path) -> None:
    way = member("VOC/way", kind=tarfile.SYMTYPE, link="deep")
    archive = write_tar(tmp_path / "x.tar", (way, b""), (member("VOC/way/file", 1), b"x"))
    assert "a link to 'deep', which is no file" in refused(archive, tmp_path / "out")


def test_links_to_files_that_came_before_become_copies(tmp_path: Path) -> None:
    near = member("VOC/deep/near", kind=tarfile.SYMTYPE, link="../a.txt")
    hard = member("VOC/deep/hard", kind=tarfile.LNKTYPE, link="VOC/a.txt")
    archive = write_tar(tmp_path / "x.tar", (near, b""), (hard, b""))
    (tmp_path / "out").mkdir()
    unpack(archive, tmp_path / "out")
    expected = {f"VOC/deep/{name}": FILES["VOC/a.txt"] for name in ("near", "hard")}
    assert contents(tmp_path / "out") == FILES | expected
    assert not (tmp_path / "out/VOC/deep/near").is_symlink()
    assert (tmp_path / "out/VOC/a.txt").stat().st_nlink == 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [(tarfile.CHRTYPE, "device"), (tarfile.BLKTYPE, "disk"), (tarfile.FIFOTYPE, "pipe")],
)
def test_devices_are_refused(tmp_path: Path, kind: bytes, name: str) -> None:
    archive = write_tar(tmp_path / "x.tar", (member(name, kind=kind), b""))
    assert f"has '{name}', which is neither file, folder nor" in refused(archive, tmp_path / "out")


def test_a_file_below_a_file_is_refused(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "x.tar", (member("VOC/a.txt/b", 1), b"x"))
    assert "which is a file and a folder" in refused(archive, tmp_path / "out")


def test_bombs_are_refused_before_they_fill_the_disk(tmp_path: Path) -> None:
    size = 64 << 20
    bomb = (member("zeros", size), bytes(size))
    archive = write_tar(tmp_path / "x.tgz", bomb, mode="w:gz")
    assert archive.stat().st_size < 1 << 20
    message = refused(archive, tmp_path / "out")
    assert "unpacks to more than the 16777216 bytes allowed" in message
    assert sum(map(len, contents(tmp_path / "out").values())) <= 17 << 20


def test_limits_of_bytes_members_and_copies(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "x.tar")
    limits = Limits(bytes=4000)
    assert "more than the 4000 bytes" in refused(archive, tmp_path / "a", limits)
    shutil.rmtree(tmp_path / "a")
    assert "more than the 2 members" in refused(archive, tmp_path / "b", Limits(members=2))
    shutil.rmtree(tmp_path / "b")
    copies = [(member(f"{i}", kind=tarfile.LNKTYPE, link="VOC/a.txt"), b"") for i in range(40)]
    archive = write_tar(tmp_path / "x.tar", *copies)
    limits = Limits(bytes=archive.stat().st_size)
    assert "bytes allowed" in refused(archive, tmp_path / "c", limits)


def test_headers_that_claim_the_moon(tmp_path: Path) -> None:
    """A name of 1 GB, made of zeros that compress to nothing, is not read into memory."""
    info = member("././@LongLink", 1 << 30, tarfile.GNUTYPE_LONGNAME)
    archive = tmp_path / "x.tgz"
    with gzip.open(archive, "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "has a header that claims 1073741824 bytes" in refused(archive, tmp_path / "out")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("damage", ["cut", "cut gzip", "flipped", "text", "empty", "none"])
def test_damaged_archives(tmp_path: Path, damage: str) -> None:
    mode = "w:gz" if damage in ("cut gzip", "flipped") else "w"
    archive = write_tar(tmp_path / "x.tar", (member("big", 50_000), os.urandom(50_000)), mode=mode)
    content = bytearray(archive.read_bytes())
    if damage.startswith("cut"):
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    elif damage in ("text", "empty"):
        content = bytearray(b"<html>not found</html>" if damage == "text" else b"")
    archive.write_bytes(content)
    if damage == "none":
        archive.unlink()
    assert "get it again" in refused(archive, tmp_path / "out") or damage == "cut"


def test_a_full_disk_is_the_environments_fault_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_tar(tmp_path / "x.tar", (member("big", 50_000), os.urandom(50_000)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with (
            pytest.raises(EnvironmentFault, match=r"big: cannot be written \(File too large\)"),
            staging(tmp_path / "new/root") as folder,
        ):
            unpack(archive, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError, ValueError])
def test_an_interrupted_staging_leaves_the_root_as_it_was(
    tmp_path: Path, error: type[BaseException]
) -> None:
    def interrupt(_done: int, _total: int) -> None:
        raise error("stop")

    archive = write_tar(tmp_path / "x.tar")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/mine").write_bytes(b"mine")
    for root in (tmp_path / "root", tmp_path / "root/new/deeper"):
        with pytest.raises(BaseException, match="stop"), staging(root) as folder:  # noqa: PT012
            assert folder.parent == root
            unpack(archive, folder, progress=interrupt)
        assert contents(tmp_path / "root") == {"mine": b"mine"}
        assert os.listdir(tmp_path / "root") == ["mine"]


def test_what_was_staged_is_put_in_place(tmp_path: Path) -> None:
    archive, target = write_tar(tmp_path / "x.tar"), tmp_path / "root/kit/VOC2012"
    with staging(tmp_path / "root") as folder:
        unpack(archive, folder)
        put_in_place(folder / "VOC", target)
    assert contents(tmp_path / "root") == {
        name.replace("VOC", "kit/VOC2012", 1): content for name, content in FILES.items()
    }
    assert os.listdir(tmp_path / "root") == ["kit"]


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old/mine").touch()
    with pytest.raises(EnvironmentFault, match=r"old: cannot be written \(Directory not empty\)"):
        put_in_place(tmp_path / "new", tmp_path / "old")
    assert os.listdir(tmp_path / "old") == ["mine"]


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(EnvironmentFault, match=r"cannot be written .*; check that the disk"),
        staging(tmp_path / "file/root"),
    ):
        pass
    assert os.listdir(tmp_path) == ["file"]
    assert archives.Limits().bytes > 2 << 30
