"""``predict`` over many files: batches, shares, bad files, and runs that were broken off."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from kills import Helper
from PIL import Image
from predicting import contents, photographs, tiny_checkpoint

from fcnseg.cli import main
from fcnseg.cli.shards import Shard, device_of, end_with_others, read_shard
from fcnseg.errors import EnvironmentFault, UsageError

NAMES = "a.png b.png c.jpg sub/a.png sub/b.bmp sub/deep/c.png z.png"
MASKS = {"a.png", "b.png", "c.png", "sub/a.png", "sub/b.png", "sub/deep/c.png", "z.png"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model") / "best.safetensors")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "photos"
    photographs(folder, NAMES)
    return folder


@pytest.fixture
def predict(
    archive: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, of: Path = archive, out: str = "out") -> int:
        return main(["predict", str(of), "--checkpoint", str(checkpoint), "--out", out, *words])

    return run


def test_a_folder_gives_what_each_file_gives(
    predict: Callable[..., int], archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("--scores") == 0
    whole = contents(Path("out"))
    assert {name for name in whole if name.endswith(".png")} == MASKS
    assert len(whole) == 3 * len(MASKS)
    assert "wrote mask and overlay and scores of 7 images to out" in capsys.readouterr().out
    for path in sorted(archive.rglob("*.*")):
        folder = str(Path("single") / path.relative_to(archive).parent)
        assert predict("--scores", of=path, out=folder) == 0
    assert contents(Path("single")) == whole
    labels = {name: set(np.unique(np.array(Image.open(f"out/{name}")))) for name in MASKS}
    assert set.union(*labels.values()) == {0, 1, 2}  # or there would be little to compare


@pytest.mark.parametrize("size", ["1", "3"])
def test_shares_and_broken_off_runs_give_the_bytes_of_one_run(
    predict: Callable[..., int], size: str
) -> None:
    words = ("--batch-size", size, "--scores")
    assert predict(*words) == 0
    whole = contents(Path("out"))
    for part in ("1/3", "3/3", "2/3"):
        assert predict(*words, "--shard", part, out="parts") == 0
    assert contents(Path("parts")) == whole
    for name in ("a.png", "sub/a.overlay.jpg", "sub/b.npz", "z.png", "z.overlay.jpg", "z.npz"):
        Path("out", name).unlink()
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")}
    assert predict(*words, "--skip-existing") == 0
    assert contents(Path("out")) == whole
    # What was there is not written again.
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_more_shares_than_files(predict: Callable[..., int], archive: Path) -> None:
    assert predict("--shard", "2/2", of=archive / "a.png") == 0
    assert list(Path("out").iterdir()) == []


def test_a_finished_run_says_the_same_again(
    predict: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("--coco", "all.json") == 0
    first, before = capsys.readouterr().out, Path("all.json").read_bytes()
    assert predict("--coco", "all.json", "--skip-existing") == 0
    printed = capsys.readouterr()
    table = first.partition("wrote")[0]
    assert printed.out.startswith(table)
    assert "left those of 7 images as they were; they count in the table" in printed.out
    assert printed.err == ""
    assert Path("all.json").read_bytes() == before
    Image.new("L", (64, 48), 9).save("out/a.png")
    assert predict("--skip-existing") == 3
    assert "a.png: is there already, and is no mask of 3 classes" in capsys.readouterr().err


def test_five_bad_files_of_twenty(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "twenty"
    paths = photographs(folder, " ".join(f"{i:02}.png" for i in range(20)))
    for path in paths[::4]:
        path.write_bytes(path.read_bytes()[:90])
    assert predict("--batch-size", "4", "--no-overlay", of=folder) == 3
    assert len(list(Path("out").iterdir())) == 15
    lines = capsys.readouterr().err.splitlines()
    faults = [line for line in lines if line.startswith("error: ")]
    assert [Path(line.split(": ")[1]).name for line in faults] == [p.name for p in paths[::4]]
    assert lines[-1] == "5 of 20 images were passed over"
    assert lines[0] == faults[0]  # in the order of the files
    whole = contents(Path("out"))
    Path("out/01.png").unlink()
    assert predict("--batch-size", "4", "--no-overlay", "--skip-existing", of=folder) == 3
    assert contents(Path("out")) == whole


def test_lists_patterns_and_standard_input(
    checkpoint: Path, archive: Path, tmp_path: Path
) -> None:  # fmt: skip
    words = [sys.executable, "-m", "fcnseg", "predict", "--checkpoint", str(checkpoint)]
    words += ["--no-overlay", "--json", "-"]
    lines = "".join(f"{path}\n" for path in (archive / "sub/a.png", archive / "gone.png"))
    done = subprocess.run(
        words, input=lines, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 3
    assert f"{archive / 'gone.png'}: there is no such file" in done.stderr
    (row,) = json.loads(done.stdout)
    assert row["written"] == [str(Path("predictions/sub/a.png"))]
    assert list(contents(tmp_path)) == ["predictions/sub/a.png"]


def test_shares_of_torchrun(predict: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert predict() == 0
    for rank in ("1", "0"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", rank)
        assert predict("--coco", "all.json", out="parts") == 0
    assert contents(Path("parts")) == contents(Path("out"))
    ids = [
        image["id"]
        for part in ("all.1-of-2.json", "all.2-of-2.json")
        for image in json.loads(Path(part).read_text())["images"]
    ]
    assert ids == [1, 3, 5, 7, 2, 4, 6]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="torchrun's store is for POSIX")
def test_a_bad_file_does_not_end_the_other_processes_of_torchrun(
    archive: Path, checkpoint: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG")
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "--"]
    words += ["fcnseg", "predict", str(archive), str(bad), "--device", "cpu"]
    words += ["--checkpoint", str(checkpoint), "--out", str(tmp_path / "out")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert "1 of 4 images were passed over" in done.stderr
    assert {n for n in contents(tmp_path / "out") if n.endswith(".png")} == MASKS


def test_a_store_that_has_gone_leaves_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    class Gone:
        def set(self, *_: object) -> None: ...

        def check(self, _: object) -> bool:
            raise dist.DistNetworkError("failed to recv, got 0 bytes")

    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setattr(dist, "rendezvous", lambda *_, **__: iter([(Gone(), 0, 2)]))
    end_with_others(Shard(1, 2, by_torchrun=True), 3)


def test_which_share_and_which_gpu() -> None:
    environment = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    shard = read_shard(None, environment)
    assert (shard.number, shard.count) == (3, 4)
    assert read_shard(None, {}) == read_shard(None, {"RANK": "0", "WORLD_SIZE": "1"}) == Shard()
    assert device_of("auto", shard, 2, environment) == "cuda:1"
    assert device_of("auto", shard, 0, environment) == "auto"
    assert device_of("cpu", shard, 2, environment) == "cpu"
    assert device_of("cuda", Shard(), 2, environment) == "cuda"
    with pytest.raises(EnvironmentFault, match=r"process 1 of this machine finds 1 GPUs; lower"):
        device_of("cuda", shard, 1, environment)
    with pytest.raises(UsageError, match=r"--shard 1/2: torchrun gives each of its 4 processes"):
        read_shard("1/2", environment)
    for text in ("0/2", "3/2", "1", "1/", "a/2", "-1/2"):
        with pytest.raises(UsageError, match=rf"--shard {text}: expected i/n, such as 1/4"):
            read_shard(text, {})


def test_a_signal_ends_it_at_once(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "many"
    photographs(folder, " ".join(f"{i:03}.png" for i in range(200)))

    def interrupt() -> None:
        while not Path("out/003.png").exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt, daemon=True).start()
    assert predict(of=folder) == 143
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: interrupted by SIGTERM; results that are there are whole;")
    found = contents(Path("out"))
    assert 4 <= len(found) < 400
    assert not [name for name in found if name.endswith(".part")]


def kill_at_every_change(
    forks: Helper, expected: dict[str, bytes], words: list[str], out: Path
) -> int:
    """Run the command until no moment is left at which it was not killed; how many there were.

    After each kill, no file but temporary ones may be another than ``expected``. Every other time
    the next run goes on from what is there, else it begins with temporary files alone.
    """
    known: list[str] = []
    while True:
        answer = forks.killed_command(words, known=known, folder=str(out))
        found = contents(out)
        results = [name for name in found if not name.endswith(".part")]
        assert [name for name in results if found[name] != expected[name]] == [], known[-1:]
        if answer["boundary"] is None:
            assert answer["code"] == 0, answer["stderr"]
            assert found == expected  # so no temporary file is left
            return len(known)
        known.append(answer["boundary"])
        for name in results if len(known) % 2 else ():
            (out / name).unlink()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
@pytest.mark.parametrize(
    ("names", "flags", "least"),
    [
        ("sub/deep/c.png", ["--no-overlay"], 12),
        pytest.param("a.png sub/deep/c.png", ["--scores"], 80, marks=pytest.mark.slow),
        pytest.param("a.png", ["--scores", "--tile", "32"], 40, marks=pytest.mark.slow),
    ],
    ids=["one", "two", "tiles"],
)
def test_killed_at_every_change_of_a_file(
    forks: Helper,
    archive: Path,
    checkpoint: Path,
    tmp_path: Path,
    names: str,
    flags: list[str],
    least: int,
) -> None:
    def words_of(out: Path) -> list[str]:
        out.mkdir()
        words = ["predict", *(str(archive / name) for name in names.split())]
        words += ["--checkpoint", str(checkpoint), "--out", str(out / "masks"), *flags]
        words += ["--batch-size", "2", "--skip-existing"]
        return words if least < 20 else [*words, "--coco", str(out / "all.json")]

    assert main(words_of(tmp_path / "whole")) == 0
    out = tmp_path / "out"
    known = kill_at_every_change(forks, contents(tmp_path / "whole"), words_of(out), out)
    assert known >= least
