"""``fcnseg check`` as a person runs it: what is printed, written and proposed."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import owndata
import pytest
from owndata import CLASSES, flags, hashes, labels
from PIL import Image

from fcnseg.audit.page import to_page, write_page
from fcnseg.audit.report import Record, Report
from fcnseg.cli import main
from fcnseg.cli.checked import print_report, print_reports
from fcnseg.cli.parser import parse

SHAPES = ["--data", "shapes", "--image-size", "48x64", "--train-length", "6", "--val-length", "6"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four sound pairs, and an empty folder to run in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return owndata.write_pairs(tmp_path / "own", 4)


def check(words: list[str]) -> int:
    return main(["check", "--workers", "0", *words])


def next_words(out: str) -> list[str]:
    """The data flags of the proposed command, which ``fcnseg train`` must understand; where it
    has no settings of its own, it proposes a backbone whose weights are at hand."""
    from fcnseg.cli import train

    words = shlex.split(out.splitlines()[-1])
    assert words[:2] == ["fcnseg", "train"]
    assert parse("train", train, words[2:]) is not None
    if "--config" in words:
        return words[2:]
    assert words[-2:] == ["--backbone", "efficientnet_lite0"]
    return words[2:-2]


def test_a_summary_of_sound_data(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(flags(root)) == 0
    out, err = capsys.readouterr()
    assert "folder: 4 of 4 images usable" in out
    assert "  height x width: 40x48 (4)" in out
    assert "  masks: 4 grey masks, values are class ids" in out
    assert "  mean IU of a perfect prediction: 32s " in out
    masks = np.stack([labels(seed) for seed in range(4)])
    for class_id, name in enumerate(("ground", "house", "tree")):
        share = 100 * float((masks == class_id).mean())
        (row,) = [line.split() for line in out.splitlines() if line.split()[:1] == [name]]
        assert row[1:3] == [f"{share:.2f}", "4"]
    assert "no errors, 0 warnings; next:" in out
    assert next_words(out) == flags(root)
    assert err == ""
    assert list(Path().iterdir()) == []


def test_json_has_everything(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "images/good1.png").write_bytes(b"")
    assert check([*flags(root), "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"ok", "sets", "across", "guess", "advice", "next"}
    assert (report["ok"], report["across"], report["guess"]) == (False, [], [])
    (part,) = report["sets"]
    assert (part["errors"], part["images"], part["readable"]) == (1, 4, 3)
    assert part["findings"][0]["file"] == f"{root}/images/good1.png"
    assert set(part["upper_bounds"]) == {"32", "16", "8"}
    assert len(part["class_weights"]) == 3
    assert report["next"].startswith("fcnseg train --images ")


def test_every_mixture_of_flags_and_a_file_is_kept_for_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("data: shapes\nimage_size: 48x64\nval_length: 3\nbatch_size: 2\n")
    assert check(["--config", str(file), "--train-length", "5", "--rotate", "7"]) == 0
    out = capsys.readouterr().out
    assert "shapes/train: 5 of 5 images usable" in out
    assert "shapes/val: 3 of 3 images usable" in out
    expected = ["--config", str(file), "--train-length", "5", "--rotate", "7"]
    assert sorted(next_words(out)) == sorted(expected)


@pytest.mark.parametrize("kind", ["index", "palette", "rgb", "binary255"])
def test_without_classes_they_are_guessed_and_training_understands_them(
    root: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    for seed in range(4):
        ids = labels(seed)
        ids[0, 0] = 0
        picture = Image.fromarray(ids)
        if kind == "palette":
            picture = Image.fromarray(ids, "P")
            picture.putpalette([*range(30, 33), 200, 0, 0, 0, 200, 0, *[5] * 759])
        elif kind == "rgb":
            picture = Image.fromarray(np.array(owndata.COLOURS, np.uint8)[ids])
        elif kind == "binary255":
            picture = Image.fromarray(((ids == 1) * 255).astype(np.uint8))
        picture.save(root / f"masks/good{seed}.png")
    before = hashes(root)
    folders = flags(root)[:4]
    assert check(folders) == 0
    out, err = capsys.readouterr()
    assert "masks looked at: 4 " in err
    words = next_words(out)
    assert words[:4] == folders
    assert words[4] == "--classes"
    assert hashes(root) == before
    assert check(words) == 0  # the same flags, with nothing left to guess
    assert next_words(capsys.readouterr().out) == words
    assert "binary255" in words or kind != "binary255"


def test_images_below_the_masks_are_not_taken_for_masks(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for mask in (root / "masks").iterdir():
        mask.rename(root / mask.name)
    assert check(["--images", str(root / "images"), "--masks", str(root)]) == 0
    assert "4 masks looked at: 4 grey" in capsys.readouterr().err


def test_masks_of_which_nothing_can_be_made(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(4):
        (root / f"masks/good{seed}.png").unlink()
        owndata.photograph(seed).save(root / f"masks/good{seed}.jpg")
    assert check(flags(root)[:4]) == 3
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert f"{root}/masks" in err


def test_a_guess_that_fails_is_a_finding_and_nothing_is_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Image.fromarray(255 * (labels(1) == 1).astype(np.uint8))
    mask.resize((300, 280), Image.Resampling.BICUBIC).save(root / "masks/good2.png")
    for seed in (0, 1, 3):
        mask.save(root / f"masks/good{seed}.png")
    assert check([*flags(root)[:4], "--json", "--html", "page.html"]) == 3
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["ok"], report["sets"], report["next"]) == (False, [], "")
    (finding,) = report["across"]
    assert (finding["severity"], finding["file"]) == ("error", f"{root}/masks/good2.png")
    assert "(1 of 4 masks is so)" in finding["message"]
    assert finding["message"].endswith("; give --classes to see every fault")
    assert err == "--html page.html: nothing is written\n"
    assert check([*flags(root)[:4], "--html", "page.html"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("--html page.html: nothing is written\nerror: ")
    assert list(Path().iterdir()) == []


def test_a_slip_is_told_beside_the_proposal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = labels(2)
    ids[7, 9] = 6
    Image.fromarray(ids).save(root / "masks/good2.png")
    assert check(flags(root)[:4]) == 0
    out, err = capsys.readouterr()
    assert (
        f"warning: value 6 is in one mask only, 1 pixel: {root}/masks/good2.png at x=9, y=7" in err
    )
    assert "class6" in next_words(out)[5]


def test_one_pair_alone_cannot_be_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = flags(owndata.write_pairs(tmp_path / "own", 1))
    assert check(words) == 3
    out = capsys.readouterr().out
    said = (
        "error: folder: has 1 pair, too few to keep some for validation; add pairs, or give --val"
    )
    assert said in out
    assert "1 error, " in out
    val = owndata.write_pairs(tmp_path / "val", 1, first=9)
    part = ["--val-images", str(val / "images"), "--val-masks", str(val / "masks")]
    assert check([*words, *part]) == 0


def test_large_photographs_are_advised_to_be_scaled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for seed, side in enumerate((1600, 1501, 90)):
        Image.new("RGB", (side + 5, side), (seed, 9, 9)).save(tmp_path / f"images/{seed}.png")
        ids = np.zeros((side, side + 5), np.uint8)
        ids[: side // 2] = 1
        ids[0, seed] = 2
        Image.fromarray(ids).save(tmp_path / f"masks/{seed}.png")
    words = flags(tmp_path, "a,b,c")
    assert check(words) == 0
    out = capsys.readouterr().out
    said = (
        "short side is 1501 pixels (median), and crops are 480x480; --short-side 768 is recommended"
    )
    assert said in out
    assert next_words(out) == [*words, "--short-side", "768"]
    assert check([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert said in report["advice"][0]
    assert "--short-side 768" in report["next"]
    for more in (["--short-side", "1024"], ["--crop-size", "1024"]):
        assert check([*words, *more]) == 0
        assert next_words(capsys.readouterr().out) == [*words, *more]
    (tmp_path / "images/1.png").unlink()
    (tmp_path / "masks/1.png").unlink()
    assert check(words) == 0
    assert "recommended" not in capsys.readouterr().out


def test_without_data_the_ways_out_are_told_once(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check([]) == 3
    out = capsys.readouterr().out
    assert (
        out.count("give --images DIR --masks DIR for pairs of your own, point --data-root at") == 1
    )
    assert "1 error, 0 warnings: correct them, and check again" in out
    assert "fcnseg train" not in out
    assert "voc/train and voc/val: could not be opened\n" in out
    assert check(["--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert (report["next"], len(report["sets"])) == ("", 2)
    assert not any(part["ok"] for part in report["sets"])


def test_classes_of_the_val_part_are_compared(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val = owndata.write_pairs(tmp_path / "val", 2, first=30)
    for seed in range(4):
        Image.fromarray((labels(seed) == 1).astype(np.uint8)).save(root / f"masks/good{seed}.png")
    words = ["--val-images", str(val / "images"), "--val-masks", str(val / "masks")]
    assert check([*flags(root), *words]) == 0
    out = capsys.readouterr().out
    assert "warning: folder: no mask shows class 'tree'" in out
    assert "warning: folder/val: masks here show class 'tree' and those of folder never do" in out
    assert "no errors, 2 warnings" in out


def report_of(name: str, classes: tuple[str, ...], count: int = 3) -> Report:
    """A report of made-up samples, in each of which every class has its id + 1 in pixels."""
    pixels = tuple(range(1, len(classes) + 1))
    records = [
        Record(str(i), (f"{i}.png",), (9, 9), pixels, 81 - sum(pixels), "", "grey")
        for i in range(count)
    ]
    palette = ((0, 0, 0),) * len(classes)
    return Report(name, classes, palette, count, records=records)


def test_other_classes_in_the_val_part_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Differences beyond the eighth name too, which the finding leaves out."""
    names = tuple(f"c{i}" for i in range(10))
    train, same = report_of("own/train", names), report_of("own/val", names)
    differ = report_of("own/val", (*names[:8], "cat", "c9", "dog"))
    said = (
        "own/val: has other classes than own/train: id 8 is 'cat', in own/train 'c8'; id 10 is "
        "'dog', in own/train no class\n"
    )
    print_reports([train, same], [])
    assert "other classes" not in capsys.readouterr().out
    print_reports([train, differ], [])
    assert said in capsys.readouterr().out
    (first, second) = to_page([train, differ], [None, None], [], "").splits
    assert first.masks == "3 grey masks"
    assert "other classes than own/train, so they are not counted above: id 8 is" in second.masks
    assert (bool(first.class_pixels), second.class_pixels) == (True, ())
    other = report_of("own/val", tuple(f"d{i}" for i in range(10)))
    print_reports([train, other], [])
    assert "id 4 is 'd4', in own/train 'c4'; and 5 more\n" in capsys.readouterr().out


def test_samples_are_added_up_once_whatever_the_number_of_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Counted(list[Record]):
        walked = 0

        def __iter__(self) -> Iterator[Record]:
            self.walked += 1
            return super().__iter__()

    def walks(classes: int) -> int:
        report = report_of("own", tuple(f"c{i}" for i in range(classes)))
        records = report.records = Counted(report.records)
        print_report(report)
        write_page(tmp_path / "page.html", [report], [None], [], "")
        return records.walked

    assert walks(2) == walks(12) < 20
    capsys.readouterr()


def test_a_page_is_written_on_request(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "images/good1.png").write_bytes(b"")
    assert check([*flags(root), "--html", "report.html"]) == 3
    out = capsys.readouterr().out
    assert "wrote report.html (" in out
    page = Path("report.html").read_text(encoding="utf-8")
    assert "good1.png" in page
    assert "ground" in page


def test_augmented_samples_are_drawn_and_drawn_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "images/good1.png").write_bytes(b"")  # passed over in the picture
    words = [*flags(root), "--show-augmented", "2", "--crop-size", "32", "--rotate", "10"]
    before = hashes(root)
    assert check(words) == 3
    assert "wrote augmented.png (2 samples as training gets them)" in capsys.readouterr().out
    assert check([*words, "--augmented", "again.png"]) == 3
    first, again = (np.asarray(Image.open(n)) for n in ("augmented.png", "again.png"))
    assert np.array_equal(first, again)
    assert check([*words, "--augmented", "other.png", "--seed", "1"]) == 3
    assert not np.array_equal(first, np.asarray(Image.open("other.png")))
    assert hashes(root) == before


def test_augmented_samples_are_those_of_training(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sheet is given what the first epoch's loader hands out."""
    from fcnseg.catalogue import describe
    from fcnseg.config import TrainConfig, load_config
    from fcnseg.data.loading import training_loader
    from fcnseg.render import augmented
    from fcnseg.sources import build_sources
    from fcnseg.training import training_transform

    drawn: list[augmented.Row] = []

    def sheet(rows: list[augmented.Row], *_: object) -> np.ndarray:
        drawn.extend(rows)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("fcnseg.cli.augmented.contact_sheet", sheet)
    assert check([*flags(root), "--show-augmented", "9", "--crop-size", "32"]) == 0
    given = {"images": str(root / "images"), "masks": str(root / "masks"), "classes": CLASSES}
    config = load_config(TrainConfig, None, {**given, "crop_size": "32"})
    training = build_sources(config)[0]
    transform = training_transform(config, describe(config.backbone).preprocessing.fill)
    batches = list(training_loader(training, transform, 1, config.seed, 0))
    assert len(batches) == len(drawn) == 3  # of four pairs one is kept for validation
    for batch, (_, _, image, label) in zip(batches, drawn, strict=True):
        assert np.array_equal(batch.images[0].permute(1, 2, 0).numpy(), image)
        assert np.array_equal(batch.labels[0].numpy(), label)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--show-augmented", "0"], 2, "--show-augmented: expected 1 to 64, got 0"),
        (["--show-augmented", "x"], 2, "--show-augmented: expected"),
        (["--show-augmented", "1", "--augmented", "a.gif"], 2, "a.gif: expected a name that ends"),
        (["--html", "page"], 2, "--html page: expected a name that ends in .html or .htm"),
        (["--html", "no/page.html"], 5, "--html no/page.html: cannot be written; check that the f"),
        (["--workers", "-1"], 2, "--workers: expected "),
        (["--workers", "many"], 2, "--workers: expected "),
        (["--flip", "2"], 2, "--flip: expected "),
        (["--batch-size", "2"], 2, "--batch-size: no such flag of fcnseg check"),
    ],
)
def test_wrong_flags_are_refused_before_anything_is_read(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    assert main(["check", *flags(root), *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_a_picture_never_replaces_an_image(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(root)
    target = str(root / "images/good0.png")
    assert check([*flags(root), "--show-augmented", "1", "--augmented", target]) == 2
    assert "good0.png: is one of the images; choose another name" in capsys.readouterr().err
    assert hashes(root) == before


def test_a_killed_worker_is_exit_5(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import os
    import signal

    from fcnseg.audit.examine import FullLook

    monkeypatch.setattr(FullLook, "_examine", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    assert main(["check", *flags(root), "--workers", "1"]) == 5
    expected = "error: --workers: a loader process was killed (out of memory?); lower --workers\n"
    assert expected in capsys.readouterr().err


def test_the_settings_of_the_augmentation_are_those_of_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcnseg.config.AUGMENTATION", ("flip",))
    assert main(["check", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--flip" in out
    assert "--rotate" not in out.replace("--rotate 10", "")


def test_generated_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert check(SHAPES) == 0
    out = capsys.readouterr().out
    assert "masks: 6 generated masks" in out
    assert "shapes/val: 6 of 6 images usable" in out
