"""What ``predict`` writes of a photograph, whole or in tiles, and for the server of VOC."""

import contextlib
import json
import os
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from predicting import contents, photographs, tiny_checkpoint

from fcnseg.build import load
from fcnseg.cli import main
from fcnseg.cli import predict_tiles as tiles
from fcnseg.cli.finding import Photograph
from fcnseg.cli.predict_plan import chunks_of_shard, coco_path, jobs_of, without_existing
from fcnseg.cli.predict_results import write
from fcnseg.cli.shards import Shard
from fcnseg.data.coco import coco
from fcnseg.data.images import read_image
from fcnseg.data.voc import CLASSES
from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.files import remove_leftovers, replacing, scratch_beside
from fcnseg.inference.prediction import Prediction
from fcnseg.inference.predictor import Predictor


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model") / "best.safetensors")


@pytest.fixture
def predict(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        return main(["predict", "--checkpoint", str(checkpoint), *words])

    return run


def test_tiles_write_what_the_predictor_gives(
    predict: Callable[..., int], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (130, 210, 3), np.uint8)
    ).resize((420, 260)).save("big.tif")  # fmt: skip
    words = ("big.tif", "--tile", "128", "--overlap", "32")
    assert predict(*words, "--scores", "--coco", "all.json") == 0
    whole = Predictor(load(checkpoint), "cpu", tile=128, overlap=32)(read_image("big.tif"))
    folder = tmp_path / "predictions"
    assert sorted(contents(folder)) == ["big.npz", "big.overlay.jpg", "big.png"]
    with Image.open(folder / "big.png") as mask:
        assert np.array_equal(np.array(mask), whole.labels)
    with np.load(folder / "big.npz") as numbers:
        assert np.array_equal(numbers["score"], whole.scores)
        assert numbers["classes"].tolist() == ["background", "cat", "tree"]
    (tmp_path / "images").mkdir()
    Path("big.tif").rename("images/big.tif")
    assert np.array_equal(coco("all.json", "images")[0].label, whole.labels)
    before = contents(folder)
    for name in ("big.npz", "big.overlay.jpg", "big.png"):
        (folder / name).unlink()
        assert predict("images/big.tif", *words[1:], "--scores", "--skip-existing") == 0
        assert contents(folder) == before


def test_the_overlay_of_tiles_is_scaled_down_beyond_its_longest_side(
    predict: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(Path(), "a.png")
    shrunk = tiles.ShrunkOverlay
    monkeypatch.setattr(tiles, "ShrunkOverlay", lambda size: shrunk(size, 40))
    assert predict("a.png", "--tile", "64") == 0
    with Image.open("predictions/a.overlay.jpg") as overlay:
        assert overlay.size == (32, 24)
    with Image.open("predictions/a.png") as mask:
        assert mask.size == (64, 48)


def test_a_disk_without_room_for_the_scores_is_said_before(
    predict: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not hasattr(tiles.os, "posix_fallocate"):
        pytest.skip("space cannot be reserved here")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    photographs(Path(), "a.png")
    monkeypatch.setattr(tiles.os, "posix_fallocate", full)
    assert predict("a.png", "--tile", "64", "--scores") == 5
    assert "a.npz: no room for the scores of the whole image (No space" in capsys.readouterr().err
    assert contents(Path("predictions")) == {}


def test_bad_files_are_passed_over_in_tiles_too(
    predict: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    bad, _ = photographs(Path("p"), "a.png b.png")
    bad.write_bytes(bad.read_bytes()[:90])
    assert predict("p", "--tile", "64", "--no-overlay") == 3
    assert f"error: {bad}: cannot be decoded" in capsys.readouterr().err
    assert list(contents(Path("predictions"))) == ["b.png"]


def test_views_change_the_scores(predict: Callable[..., int]) -> None:
    photographs(Path(), "a.png")
    for out, words in (("plain", ()), ("views", ("--tta", "0.5,1,flip"))):
        assert predict("a.png", "--no-overlay", "--scores", "--out", out, *words) == 0
    plain, views = (np.load(f"{out}/a.npz")["score"] for out in ("plain", "views"))
    assert views.shape == plain.shape
    assert np.allclose(np.exp(views).sum(0), 1, atol=1e-4)  # logarithms of probabilities
    assert predict("a.png", "--tta") == 0


def test_masks_for_the_server_of_voc(
    predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(Path("JPEGImages"), "2008_000001.jpg more/2008_000004.jpg")
    words = ["JPEGImages", "--voc-test", "comp6", "--out", "sent"]
    voc = tiny_checkpoint(tmp_path / "voc.safetensors", CLASSES)
    assert main(["predict", *words, "--checkpoint", str(voc)]) == 0
    place = "results/VOC2012/Segmentation/comp6_test_cls"
    assert sorted(contents(Path("sent"))) == [
        f"{place}/2008_000001.png", f"{place}/2008_000004.png",
    ]  # fmt: skip
    assert f"wrote mask of 2 images to {Path('sent', place)}" in capsys.readouterr().out
    assert predict(*words) == 2
    assert "the server scores the 21 classes of PASCAL VOC" in capsys.readouterr().err
    photographs(Path("JPEGImages"), "again/2008_000004.jpg")
    assert predict(*words) == 2
    assert "their results would have one name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--voc-test", "comp7"], r"--voc-test: expected one of comp5, comp6, got 'comp7'"),
        (["--voc-test", "comp5", "--scores"], r"--scores: --voc-test writes masks alone; leave"),
        (["--batch-size", "0"], r"--batch-size 0: expected auto, or a number of images from 1 up"),
        (["--shard", "3/2"], r"--shard 3/2: expected i/n, such as 1/4"),
        (["--tile", "x"], r"--tile x: expected a number of pixels or auto, got 'x'"),
        (["--tile", "0"], r"--tile 0: "),
        (["--tile", "64,64"], r"--tile 64,64: expected a number of pixels or auto, got '64,64'"),
        (["--tile", "64", "--overlap", "1,2"], r"--overlap 1,2: expected a number of pixels or f"),
        (["--batch-size", "1,2"], r"--batch-size 1,2: expected auto, or a number of images from"),
        (["--tile", "64", "--overlap", "half"], r"--overlap half: expected a number of pixels or"),
        (["--tile", "64", "--overlap", "64"], r"--tile 64: with an overlap of 64 pixels"),
        (["--overlap", "8"], r"--overlap 8: is of tiles; give --tile too"),
        (["--tta", "1,mirror"], r"--tta 1,mirror: expected scales from 0\.1 to 4 and flip"),
        (["--coco", "."], r"--coco \.: is a folder, expected the name of a file"),
        (["--coco", "a.png"], r"--coco a\.png: expected a name that ends in \.json"),
        (["./@l.json", "--coco", "@L.json"], r"--coco @L\.json: @L\.json is a file that is read"),
        (["@l.json", "--coco", "l.json"], r"--coco l\.json: l\.json is a file that is read"),
        ([".", "--no-overlay", "--out", "."], r"--out \.: is the folder of the photographs; with"),
        ([".", "--voc-test", "comp6", "--out", "../x"], r"--out \.\./x: .* with --voc-test masks"),
    ],
)
def test_refusals_are_one_line(
    predict: Callable[..., int],
    words: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photographs(Path("x"), "a.png")
    monkeypatch.chdir("x")
    Path("l.json").write_text("a.png")
    Path("@l.json").write_bytes(Path("a.png").read_bytes())
    before = contents(Path())
    assert predict("a.png", *words) == 2
    assert contents(Path()) == before
    assert "--coco" not in words or not Path("predictions").exists()
    err = capsys.readouterr().err
    assert re.match(f"error: {message}", err)
    assert err.count("\n") == 1


def test_json_has_the_shares_and_files_of_each_image(
    predict: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(Path("p"), "a.png s/b.png")
    assert predict("p", "--json", "--no-overlay") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert second["image"] == str(Path("p/s/b.png"))
    assert second["written"] == [str(Path("predictions/s/b.png"))]
    with Image.open("predictions/a.png") as mask:
        labels = np.array(mask)
    expected = {n: (labels == i).mean() for i, n in enumerate(("background", "cat", "tree"))}
    assert first["shares"] == pytest.approx(expected)


def test_the_json_of_a_share_is_no_file_that_is_read(tmp_path: Path) -> None:
    photograph = Photograph(tmp_path / "A.2-of-3.json", "A.json")
    args = Namespace(coco=str(tmp_path / "a.json"), checkpoint="c", weights=None, images=["p"])
    jobs = jobs_of([photograph], tmp_path / "out", (".png",))
    assert coco_path(args, Shard(1, 3), jobs) == tmp_path / "a.1-of-3.json"
    with pytest.raises(UsageError, match=r"a\.2-of-3\.json is a file that is read and would be"):
        coco_path(args, Shard(2, 3), jobs)
    jobs = jobs_of([Photograph(Path("b"), "a")], tmp_path, (".json",))
    with pytest.raises(UsageError, match=r"a\.json is a result and would be replaced; choose"):
        coco_path(args, Shard(), jobs)


def test_tiles_say_how_far_they_are(
    predict: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photographs(Path(), "a.png b.png")
    words = ("a.png", "b.png", "--tile", "32", "--overlap", "0", "--batch-size", "2")
    assert predict(*words) == 0
    assert "rows" not in capsys.readouterr().err
    monkeypatch.setattr(tiles, "_FIRST_S", 0.0)
    computed = []
    inner = Predictor.bands
    monkeypatch.setattr(
        Predictor, "bands", lambda self, *rest: computed.append(rest[2]) or inner(self, *rest)
    )
    Path("predictions/b.png").unlink()
    assert predict(*words, "--skip-existing") == 0
    assert "b.png: rows 32 of 48\n" in capsys.readouterr().err
    assert computed == ["b.png"]


def test_a_photograph_beyond_jpeg_has_a_smaller_overlay(predict: Callable[..., int]) -> None:
    Image.new("RGB", (65_600, 40)).save("wide.png")
    assert predict("wide.png", "--tile", "4096") == 0
    labels = np.zeros((40, 65_600), np.uint8)
    image = np.zeros((40, 65_600, 3), np.uint8)
    palette = ((0, 0, 0), (9, 9, 9))
    found = Prediction(labels, None, ("a", "b"), palette, image)
    write(found, {".overlay.jpg": Path("wide.overlay.jpg")})
    for name in ("predictions/wide.overlay.jpg", "wide.overlay.jpg"):
        with Image.open(name) as picture:
            assert picture.width in (3859, 4096)


def test_a_name_that_is_too_long_is_passed_over(
    predict: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    long, most = "x" * 246 + ".png", "y" * 243 + ".png"
    try:
        photographs(Path("p"), f"a.png {long} {most}")
    except OSError:
        pytest.skip("no such long names here")
    assert predict("p", "--skip-existing") == 3
    err = capsys.readouterr().err
    assert f"{long}: the name of its result {long[:246]}.overlay.jpg is too long for the" in err
    assert len(contents(Path("predictions"))) == 4
    assert predict("p", "--scores") == 3


def test_a_mask_of_another_photograph_is_no_result(
    predict: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(Path(), "a.png b.png")
    assert predict("a.png", "b.png") == 0
    Image.new("RGB", (20, 30)).save("a.png")
    for words in ((), ("--scores",), ("--scores", "--tile", "64")):
        capsys.readouterr()
        assert predict("a.png", "b.png", "--skip-existing", *words) == 3
        expected = r"a\.png: was made of another photograph: is 48x64, a\.png 30x20 \(.*; remove it"
        assert re.search(expected, capsys.readouterr().err)


def test_a_reader_that_has_gone_is_no_error(
    predict: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def gone(*_: object) -> None:  # what rich does
        raise SystemExit(1)

    photographs(Path(), "a.png")
    monkeypatch.setattr("rich.console.Console.print", gone)
    assert predict("a.png") == 141
    assert capsys.readouterr().err == ""


def test_chunks_are_cut_from_the_whole_list() -> None:
    found = [Photograph(Path(f"{i}.png"), f"{i}.png") for i in range(7)]
    jobs = jobs_of(found, Path("nowhere"), (".png",))
    parts = [chunks_of_shard(jobs, 2, Shard(number, 3)) for number in (1, 2, 3)]
    assert [[[j.number for j in chunk] for chunk in part] for part in parts] == [
        [[0, 1], [6]], [[2, 3]], [[4, 5]],
    ]  # fmt: skip


def test_a_chunk_is_left_out_only_as_a_whole(tmp_path: Path) -> None:
    found = [Photograph(Path(f"{i}.png"), f"{i}.png") for i in range(2)]
    jobs = jobs_of(found, tmp_path, (".png", ".npz"))
    for name in ("0.png", "0.npz", "1.png"):
        (tmp_path / name).touch()
    left = without_existing(jobs)
    assert [(job.there, set(job.wanted)) for job in left] == [(False, set()), (False, {".npz"})]
    (tmp_path / "1.npz").touch()
    assert [job.there for job in without_existing(jobs)] == [True, True]


def test_leftovers_are_those_of_ones_own_results(tmp_path: Path) -> None:
    with scratch_beside(tmp_path / "a.npz") as scratch:
        scratch.touch()
    assert contents(tmp_path) == {}
    kept = (".b.png.0123456789ab.part", ".a.png.0123456789a.part", "a.png", ".a.png.part")
    for name in (*kept, ".a.png.0123456789ab.part", ".a.png.ffffffffffff.part"):
        (tmp_path / name).touch()
    remove_leftovers([tmp_path / "a.png", tmp_path / "none/a.png"])
    assert sorted(contents(tmp_path)) == sorted(kept)
    long = tmp_path / ("\u00e9" * 120 + ".png")
    with contextlib.suppress(EnvironmentFault), replacing(long) as temporary:
        assert len(os.fsencode(temporary.name)) <= 143
        left = temporary.with_name(re.sub(r"\w{12}(?=\.part)", "0" * 12, temporary.name))
        other = temporary.with_name(left.name.replace("~", "~0"))
        left.touch()
        other.touch()
    remove_leftovers([long])
    assert (left.exists(), other.exists()) == (False, True)
