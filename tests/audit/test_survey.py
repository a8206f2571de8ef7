"""The survey of a split: counts, weights, bounds, findings; the same for any number of workers."""

import json
import os
import pickle
import signal
import statistics
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import coco_samples
import numpy as np
import owndata
import pytest
import voc_layout
from PIL import Image

from fcnseg.audit.balance import median_frequency
from fcnseg.audit.doubts import across, too_few
from fcnseg.audit.examine import FullLook, QuickLook
from fcnseg.audit.report import Finding, Record, Report
from fcnseg.audit.survey import finding_of, quick, survey, unopened
from fcnseg.data.camvid import camvid
from fcnseg.data.coco import coco
from fcnseg.data.faults import DataFaults
from fcnseg.data.folder import folder
from fcnseg.data.pairs import ImagePairs
from fcnseg.data.sample import Sample, Source
from fcnseg.data.shapes import Shapes
from fcnseg.data.subset import Subset
from fcnseg.data.voc_aug import voc_aug
from fcnseg.engine.upper_bound import upper_bounds
from fcnseg.errors import DataError, EnvironmentFault, UsageError

CLASSES = ("ground", "house", "tree")


def opened(root: Path, classes: tuple[str, ...] = CLASSES) -> ImagePairs:
    return folder(root / "images", root / "masks", classes, strict=False)


def warnings(report: Report) -> list[tuple[str, str]]:
    return [(Path(f.file).name, f.message) for f in report.findings if f.severity == "warning"]


@pytest.fixture
def faulty(tmp_path: Path) -> ImagePairs:
    """Six pairs, of which 1, 2 and 4 have faults, and an image without a mask."""
    root = owndata.write_pairs(tmp_path / "faulty", 6)
    (root / "images/good1.png").write_bytes(b"")
    owndata.cut_short(root / "images/good2.png")
    Image.new("L", owndata.SIZE[::-1], 7).save(root / "masks/good2.png")
    Image.new("L", (30, 40)).save(root / "masks/good4.png")
    owndata.photograph(9).save(root / "images/alone.png")
    return opened(root)


def test_all_faults_are_listed_in_order_layout_first(faulty: ImagePairs) -> None:
    calls: list[tuple[int, int]] = []
    report = survey(faulty, faulty.faults, progress=lambda *now: calls.append(now))
    assert calls == [(done, 6) for done in range(1, 7)]
    found = [(Path(f.file).name, f.message) for f in report.findings if f.severity == "error"]
    expected = [
        ("alone.png", "there is no mask of the same name with any ending in "),
        ("good1.png", "the file is empty"),
        ("good2.png", "cannot be decoded"),
        ("good2.png", "pixel value 7 (1920 pixels)"),
        ("good4.png", "the mask is 40x30 (height x width) but its image"),
    ]
    assert [name for name, _ in found] == [name for name, _ in expected]
    for (_, message), (_, start) in zip(found, expected, strict=True):
        assert message.startswith(start)
    assert (report.errors, report.images, report.readable, report.ok) == (5, 6, 3, False)
    assert [record.id for record in report.records] == ["good0", "good3", "good5"]


def test_any_number_of_workers_gives_the_same_report(faulty: ImagePairs) -> None:
    assert survey(faulty, faulty.faults, 2) == survey(faulty, faulty.faults, 0)
    assert quick(faulty, 2) == quick(faulty, 0)


def test_looks_can_be_sent_to_spawned_workers(faulty: ImagePairs) -> None:
    for look in (FullLook(faulty, (8,)), QuickLook(faulty, counts=True)):
        sent = pickle.loads(pickle.dumps(look))
        assert sent[0].record == look[0].record
        assert sent[1].faults == look[1].faults != ()


def test_counts_equal_a_plain_count(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 5)
    Image.fromarray(owndata.labels(1) % 2).save(root / "masks/good1.png")  # no tree, no void
    report = survey(opened(root))
    expected = plain_counts([np.asarray(Image.open(p)) for p in (root / "masks").iterdir()], 3, 255)
    assert (report.class_pixels, report.class_images, report.void_pixels) == expected[:3]
    assert report.void_share == pytest.approx(expected[2] / (5 * 40 * 48))
    assert report.class_weights == pytest.approx(plain_weights(expected[0], expected[3]))
    assert report.sizes == {(40, 48): 5}
    assert report.mask_kinds == {"grey": 5}
    assert report.mask_notes == {"grey": "values are class ids"}
    assert (report.ok, report.findings) == (True, [])


def test_sums_follow_the_records() -> None:
    """They are kept, and yet right when a record is added or exchanged for another."""
    one = Record("a", (), (2, 5), (4, 0, 5), 1, "", "grey")
    other = Record("b", (), (2, 5), (2, 3, 1), 4, "", "grey")
    report = Report("own", CLASSES, ((0, 0, 0),) * 3, 2)
    assert (report.class_pixels, report.void_pixels) == ([0, 0, 0], 0)
    report.records.append(one)
    assert (report.class_pixels, report.void_pixels) == ([4, 0, 5], 1)
    report.class_pixels.clear()  # what is handed out is a copy
    report.records.append(other)
    assert (report.class_pixels, report.class_images) == ([6, 3, 6], [2, 1, 2])
    assert (report.pixels_where_present, report.void_pixels) == ([15, 6, 15], 5)
    report.records[0] = other
    assert (report.class_pixels, report.void_pixels) == ([4, 6, 2], 8)


def plain_counts(
    masks: list[np.ndarray], count: int, void: int
) -> tuple[list[int], list[int], int, list[int]]:
    """Pixels and images of each class, void pixels, labelled pixels where present, one by one."""
    pixels, images, voids = Counter[int](), Counter[int](), 0
    present = Counter[int]()
    for mask in masks:
        here = Counter(mask.ravel().tolist())
        voids += here.pop(void, 0)
        for class_id, number in here.items():
            pixels[class_id] += number
            images[class_id] += 1
            present[class_id] += sum(here.values())
    ids = range(count)
    return (
        [pixels[c] for c in ids], [images[c] for c in ids], voids, [present[c] for c in ids]
    )  # fmt: skip


def plain_weights(pixels: list[int], present: list[int]) -> list[float]:
    frequency = {c: Fraction(n, present[c]) for c, n in enumerate(pixels) if n}
    middle = statistics.median(frequency.values())
    return [float(middle / frequency[c]) if c in frequency else 1.0 for c in range(len(pixels))]


@pytest.mark.slow
@pytest.mark.parametrize(("split", "images"), [("train", 367), ("val", 101)])
def test_camvid_equals_a_plain_count(shared_data: Path, split: str, images: int) -> None:
    report = survey(camvid(shared_data / "camvid", split), workers=2)
    folder = shared_data / f"camvid/{split}annot"
    expected = plain_counts([np.asarray(Image.open(p)) for p in folder.iterdir()], 11, 11)
    assert (report.class_pixels, report.class_images, report.void_pixels) == expected[:3]
    assert report.class_weights == pytest.approx(plain_weights(expected[0], expected[3]))
    assert (report.readable, report.findings) == (images, [])
    assert report.mask_notes == {"grey": "values are class ids, 11 is void"}


def test_median_frequency_by_hand() -> None:
    # Frequencies 1/2, 1/10, 1/4; their median is 1/4.
    assert median_frequency([50, 10, 5], [100, 100, 20]) == pytest.approx([0.5, 2.5, 1.0])
    assert median_frequency([50, 0, 10], [100, 0, 100]) == pytest.approx([0.6, 1.0, 3.0])
    numbers = np.random.default_rng(0)
    for _ in range(20):
        present = numbers.integers(1, 10**9, 9)
        pixels = [int(n * share) for n, share in zip(present, numbers.random(9), strict=True)]
        expected = plain_weights(pixels, present.tolist())
        assert median_frequency(pixels, present.tolist()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pixels", "present", "error", "message"),
    [
        ([1, 2], [3], UsageError, "got 2 pixel counts of classes and 1"),
        ([4, 2], [3, 3], DataError, "more pixels than the images it occurs in"),
        ([0, 0], [0, 0], DataError, "no labelled pixel was found; check that masks"),
    ],
)
def test_median_frequency_refuses(
    pixels: list[int], present: list[int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        median_frequency(pixels, present)


def test_upper_bounds_equal_those_of_the_engine() -> None:
    source = Shapes("train", 4, (64, 80))
    expected = {f: m.scores().mean_iu for f, m in upper_bounds(source, (32, 16, 8)).items()}
    assert survey(source, workers=2).bounds == expected
    assert survey(source, bounds=()).bounds == {}


def test_void_masks_repeated_images_and_small_ones_are_warnings(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 4)
    Image.new("L", owndata.SIZE[::-1], 255).save(root / "masks/good0.png")
    owndata.photograph(0).save(root / "images/good2.bmp")
    (root / "images/good2.png").unlink()
    owndata.photograph(3, (20, 48)).save(root / "images/good3.png")
    Image.fromarray(owndata.labels(3, (20, 48))).save(root / "masks/good3.png")
    report = survey(opened(root))
    expected = [
        ("good0.png", "the mask is void everywhere (255): nothing is learned"),
        ("good3.png", "is 20x48 (height x width): below 32 pixels the coarsest score map"),
        ("good2.bmp", f"is the same image as {root}/images/good0.png, pixel by pixel, with anothe"),
    ]
    assert report.ok
    for (name, message), (file, start) in zip(warnings(report), expected, strict=True):
        assert (name, message[: len(start)]) == (file, start)


def test_warnings_about_a_split_as_a_whole(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 3)
    odd = Image.fromarray(np.full(owndata.SIZE, 255, np.uint8), "P")
    odd.putpalette(bytes(range(256)) * 3)
    odd.save(root / "masks/good1.png")
    mostly = owndata.labels(2)
    mostly[12:] = 255
    Image.fromarray(mostly).save(root / "masks/good2.png")
    report = survey(opened(root, (*CLASSES, "water")))
    messages = [message for name, message in warnings(report) if name == "folder"]
    assert messages[0].startswith("no mask shows class 'water': what is never seen is neither")
    assert messages[1].startswith(
        f"masks are of several kinds: 2 grey masks, 1 palette mask (first palette mask: {root}"
    )
    share = 100 * report.void_share
    assert messages[2].startswith(f"{share:.1f} % of all pixels are void (255): they are neither")
    assert len(messages) == 3


def test_one_mask_for_many_images_is_doubted(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 6)
    for seed in range(1, 4):
        Image.fromarray(owndata.labels(0)).save(root / f"masks/good{seed}.png")
    assert survey(opened(root)).findings == []  # four may be chance
    Image.fromarray(owndata.labels(0)).save(root / "masks/good4.png")
    ((name, message),) = warnings(survey(opened(root)))
    assert name == "folder"
    assert message.startswith("5 masks are equal to the mask of a different image, first ")
    for seed in range(6):  # of one class only, as where nothing is to be seen
        Image.new("L", owndata.SIZE[::-1], seed % 3).save(root / f"masks/good{seed}.png")
    assert survey(opened(root)).findings == []


def test_two_classes_of_which_one_hardly_occurs(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 1)
    ids = np.zeros(owndata.SIZE, np.uint8)
    ids[5, 5] = 1
    Image.fromarray(ids).save(root / "masks/good0.png")
    ((_, message),) = warnings(survey(opened(root, ("no", "yes"))))
    assert message.startswith("of two classes 'yes' has 0.052 % of the labelled pixels")
    ids[5:7] = 255
    Image.fromarray(ids).save(root / "masks/good0.png")
    source = folder(root / "images", root / "masks", ("no", "yes"), "index")
    found = [message for _, message in warnings(survey(source))]
    assert "masks hold 'no' and void (255) and no 'yes'; if 255 is a class, give --mask" in found[1]


def test_nothing_readable(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 1)
    (root / "images/good0.png").write_bytes(b"")
    report = survey(opened(root))
    assert (report.readable, report.void_share, report.warnings) == (0, 0.0, 0)
    assert (report.bounds, report.class_weights, report.counted) == ({}, [1.0] * 3, False)


def test_overlap_of_splits_is_found_by_content(tmp_path: Path) -> None:
    train = owndata.write_pairs(tmp_path / "train", 4)
    val = owndata.write_pairs(tmp_path / "val", 3, first=10)
    reports = [survey(opened(train)), replace(survey(opened(val)), name="val")]
    assert across(reports) == []
    (val / "images/good10.png").unlink()
    owndata.photograph(2).save(val / "images/good10.bmp")
    (val / "images/good11.png").write_bytes(b"")
    reports[1] = replace(survey(opened(val)), name="val")
    (found,) = across(reports)
    assert (found.severity, found.file) == ("error", f"{val}/images/good10.bmp")
    assert f"is the same image as {train}/images/good2.png of folder" in found.message
    assert "remove it from val or from folder" in found.message


def test_a_class_that_is_scored_and_never_trained(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path / "train", 2)
    for seed in range(2):
        Image.fromarray(owndata.labels(seed) % 2 * (owndata.labels(seed) < 3)).save(
            root / f"masks/good{seed}.png"
        )
    val = owndata.write_pairs(tmp_path / "val", 3, first=10)
    reports = [survey(opened(root)), replace(survey(opened(val)), name="val")]
    (found,) = across(reports)
    message = (
        "masks here show class 'tree' and those of folder never do: the IU will be 0; add such"
    )
    assert (found.severity, found.file) == ("warning", "val")
    assert found.message.startswith(message)
    assert across([reports[0], unopened("val", DataError("x: y"))]) == []


def test_quick_counts_without_decoding_images(faulty: ImagePairs, tmp_path: Path) -> None:
    report = quick(faulty, faults=faulty.faults)
    found = [(Path(f.file).name, f.message) for f in report.findings]
    # The header of good2.png is whole; only decoding shows that its pixels are not.
    starts = ("there is no mask", "the file is empty", "pixel value 7", "the mask is 40x30")
    assert [name for name, _ in found] == ["alone.png", "good1.png", "good2.png", "good4.png"]
    assert all(m.startswith(start) for (_, m), start in zip(found, starts, strict=True))
    whole = survey(faulty, faulty.faults)
    assert report.class_pixels == whole.class_pixels
    assert report.class_weights == whole.class_weights
    assert [r.digest for r in report.records] == [""] * 3
    assert report.bounds == {}

    owndata.turned(tmp_path / "faulty/images/good0.jpg", 0)
    (tmp_path / "faulty/images/good0.png").unlink()
    assert quick(opened(tmp_path / "faulty")).records[0].size == owndata.SIZE


def test_quick_paints_only_if_asked(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 2)
    source = Painted(opened(root), root / "annotations.json")
    report = quick(source)
    assert [(r.class_pixels, r.size, r.mask_kind) for r in report.records] == [
        ((), owndata.SIZE, "json")
    ] * 2
    assert (report.counted, report.findings) == (False, [])
    assert quick(source, counts=True).class_pixels == quick(opened(root)).class_pixels


@pytest.mark.parametrize("counts", [False, True])
def test_quick_compares_the_sizes_that_a_json_states(tmp_path: Path, counts: bool) -> None:
    entries = []
    for number in range(4):
        coco_samples.photograph(tmp_path / f"images/{number}.png", 40, 48)
        height = 50 if number == 3 else 40
        entries.append({"id": 70 + number, "file_name": f"{number}.png", "height": height})
        entries[-1]["width"] = 48
    objects = [coco_samples.annotation(n, n, 1, [coco_samples.SQUARE]) for n in range(70, 74)]
    file = coco_samples.write(tmp_path / "a.json", entries, objects)
    source = coco(file, tmp_path / "images")
    message = (
        f"image 73 is said to be 50x48 (height x width) but {tmp_path}/images/3.png is 40x48; "
        "they must be equal"
    )
    part = Subset(Subset(source, [1, 3, 2], "x"), [0, 1], "y")
    for looked_at, readable in ((source, 3), (part, 1)):
        report = quick(looked_at, counts=counts)
        assert report.findings == [Finding("error", str(file), message)]
        assert (report.readable, report.counted) == (readable, counts)
        assert survey(looked_at).errors == 1
        assert survey(looked_at).findings[0] == report.findings[0]


def test_quick_decodes_the_mat_files_of_sbd(tmp_path: Path) -> None:
    voc_layout.make_voc(tmp_path / "VOCdevkit/VOC2012", {"train": ["t1"], "val": ["v1"]})
    sbd = voc_layout.make_sbd(tmp_path / "dataset", {"train": ["s1", "s2", "s3"], "val": ["s4"]})
    assert quick(voc_aug(tmp_path, "train")).counted
    voc_layout.write_sbd_mask(sbd / "cls/s2.mat", np.full((4, 6), 77, np.uint8))
    voc_layout.write_sbd_mask(sbd / "cls/s3.mat", np.zeros((4, 7), np.uint8))
    report = quick(voc_aug(tmp_path, "train"))
    found = [(f.file, f.message[:25]) for f in report.findings]
    assert found == [
        (f"{sbd}/cls/s2.mat", "pixel value 77 (24 pixels"),
        (f"{sbd}/cls/s3.mat", "the mask is 4x7 (height x"),
    ]
    assert (report.readable, report.images) == (3, 5)


class Painted:
    """The labels come from one file that is no image; counts how many were asked for."""

    def __init__(self, source: Source, file: Path) -> None:
        self._source, self._file = source, file
        self.name, self.classes, self.palette = source.name, source.classes, source.palette

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Sample:
        return self._source[index]

    def label(self, index: int) -> np.ndarray:
        return self._source.label(index)

    def id(self, index: int) -> str:
        return self._source.id(index)

    def files(self, index: int) -> tuple[Path, ...]:
        return self._source.files(index)[0], self._file


class OwnReader(Painted):
    """A reader of a person's own that hands out something else than class ids."""

    def __getitem__(self, index: int) -> Sample:
        sample = self._source[index]
        wrong = [sample.label.astype(np.int64), sample.label[1:], sample.label + 5][index]
        return Sample(sample.image, wrong, sample.id)


def test_a_reader_of_ones_own_is_checked(tmp_path: Path) -> None:
    root = owndata.write_pairs(tmp_path, 3)
    report = survey(OwnReader(opened(root), root / "labels.dat"))
    assert [f.file for f in report.findings] == [f"{root}/labels.dat"] * 3
    starts = (
        "the labels are int64 (40, 48), expected uint8 (40, 48)",
        "the labels are uint8 (39, 48), expected uint8 (40, 48)",
        "label 4 at x=0, y=0",
    )
    for finding, start in zip(report.findings, starts, strict=True):
        assert finding.message.startswith(start)


class Deadly(Painted):
    """Kills the process that reads it."""

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


class NoMemory(Painted):
    def __getitem__(self, index: int) -> Sample:
        raise EnvironmentFault(f"sample {index}: too large for this machine's memory")


@pytest.mark.parametrize(
    ("kind", "message"), [(Deadly, "--workers: a loader process was killed"), (NoMemory, "too lar")]
)
def test_a_failure_of_the_machine_is_no_finding(
    tmp_path: Path, kind: type[Painted], message: str
) -> None:
    source = kind(opened(owndata.write_pairs(tmp_path, 4)), tmp_path)
    with pytest.raises(EnvironmentFault, match=message):
        survey(source, workers=2)


def test_workers_below_zero_and_an_empty_source(tmp_path: Path) -> None:
    source = opened(owndata.write_pairs(tmp_path, 2))
    with pytest.raises(UsageError, match="--workers: expected 0 or more, got -1"):
        survey(source, workers=-1)
    empty = ImagePairs("nothing", CLASSES, source.palette, (), lambda *_: np.zeros((1, 1)))
    assert survey(empty, workers=2).images == 0


def test_the_file_of_a_message(tmp_path: Path) -> None:
    image = tmp_path / "a: b.png"
    assert finding_of("x", (image,), f"{image}: is bad; go").file == str(image)
    assert finding_of("x", (), "--images /x: no folder; check") == Finding(
        "error", "--images /x", "no folder; check"
    )
    assert finding_of("x", (), "annotation 7: bad").file == "x"
    report = unopened("voc/train", DataFaults(["a/b: one", "c.txt: two"]))
    assert [f.file for f in report.findings] == ["a/b", "c.txt"]
    assert (report.ok, report.images, report.class_weights) == (False, 0, [])


def test_report_as_json(faulty: ImagePairs) -> None:
    result = json.loads(json.dumps(survey(faulty).to_dict(), allow_nan=False))
    assert result["sizes"] == {"40x48": 3}
    assert result["mask_kinds"] == {"grey": 3}
    assert result["classes"] == list(CLASSES)
    assert len(result["class_weights"]) == 3
    assert set(result["upper_bounds"]) == {"32", "16", "8"}
    assert (result["ok"], result["errors"], len(result["findings"])) == (False, 4, 4)


@pytest.mark.parametrize(("images", "said"), [(0, "has no pairs, too few"), (1, "has 1 pair, too")])
def test_fewer_than_two_pairs_cannot_be_split(images: int, said: str) -> None:
    (finding,) = too_few(Report("own", CLASSES, (), images), "--val-images")
    assert (finding.severity, finding.file) == ("error", "own")
    assert said in finding.message
    assert too_few(Report("own", CLASSES, (), 2), "--val-images") == []
