"""A look at every sample of a source before training: all its faults, and what it holds."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from fcnseg.data.faults import faults_of
from fcnseg.data.sample import VOID, Sample, Source
from fcnseg.errors import DataError

Progress = Callable[[int, int], None]
"""Called with (samples done, samples in all)."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong ("error") or doubtful ("warning") with a file or a sample."""

    severity: Literal["error", "warning"]
    file: str
    message: str


@dataclass
class Report:
    """What a check found.

    Attributes:
        name: the source's.
        classes: class names.
        images: number of samples.
        readable: how many of them could be decoded; what follows is counted over these.
        errors: number of errors.
        warnings: number of warnings.
        findings: the findings in order of the samples.
        class_pixels: pixels of each class.
        class_images: images in which each class occurs.
        void_pixels: pixels labelled 255.
        sizes: (height, width) -> number of images.
        digests: content of an image -> ids of the samples that have it.
    """

    name: str
    classes: tuple[str, ...]
    images: int
    readable: int = 0
    errors: int = 0
    warnings: int = 0
    findings: list[Finding] = field(default_factory=list)
    class_pixels: list[int] = field(default_factory=list)
    class_images: list[int] = field(default_factory=list)
    void_pixels: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    digests: dict[str, list[str]] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there are no errors; warnings may remain."""
        return self.errors == 0

    @property
    def void_share(self) -> float:
        """Share of void among all pixels, 0 to 1; 0 where nothing could be read."""
        pixels = self.void_pixels + sum(self.class_pixels)
        return self.void_pixels / pixels if pixels else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the digests, in types that JSON has."""
        result = asdict(self)
        del result["digests"]
        result["sizes"] = {f"{h}x{w}": count for (h, w), count in self.sizes.most_common()}
        result["classes"] = list(self.classes)
        return {**result, "ok": self.ok, "void_share": self.void_share}


def check(source: Source, progress: Progress | None = None) -> Report:
    """Decode every sample of ``source`` in full and report all faults, not the first.

    Errors are samples that cannot be used. Warnings are masks that are all void, images that are
    there twice, and classes that never occur.
    """
    report = Report(source.name, tuple(source.classes), len(source))
    pixels = np.zeros(256, np.int64)
    images = np.zeros(256, np.int64)
    for index in range(len(source)):
        try:
            sample = source[index]
        except DataError as error:
            for fault in faults_of(error):
                _add(report, _finding(source, index, fault))
        else:
            counts = np.bincount(sample.label.ravel(), minlength=256)
            pixels += counts
            images += counts > 0
            for finding in _look_at(report, source, index, sample, counts):
                _add(report, finding)
        if progress is not None:
            progress(index + 1, len(source))
    count = len(source.classes)
    report.class_pixels = pixels[:count].tolist()
    report.class_images = images[:count].tolist()
    report.void_pixels = int(pixels[VOID])
    if report.readable:
        for name, seen in zip(source.classes, report.class_images, strict=True):
            if not seen:
                message = f"class {name!r} occurs in no mask; its score cannot be measured"
                _add(report, Finding("warning", source.name, message))
    return report


def overlap(first: Report, second: Report) -> list[tuple[str, str]]:
    """Return (id in first, id in second) of all images that are equal pixel by pixel."""
    return [
        (mine, theirs)
        for digest, ids in second.digests.items()
        for mine in first.digests.get(digest, ())
        for theirs in ids
    ]


def _look_at(
    report: Report, source: Source, index: int, sample: Sample, counts: np.ndarray
) -> list[Finding]:
    """Count one readable sample and return its warnings."""
    report.readable += 1
    report.sizes[(int(sample.label.shape[0]), int(sample.label.shape[1]))] += 1
    files = [str(file) for file in source.files(index)] or [sample.id] * 2
    found = []
    if counts[VOID] == sample.label.size:
        message = "the mask is void everywhere (255); nothing is learned from this image"
        found.append(Finding("warning", files[1], message))
    same = report.digests.setdefault(_digest(sample.image), [])
    if same:
        message = f"is the same image as {same[0]!r}, pixel by pixel"
        found.append(Finding("warning", files[0], message))
    same.append(sample.id)
    return found


def _finding(source: Source, index: int, fault: str) -> Finding:
    for file in source.files(index):
        if fault.startswith(f"{file}: "):
            return Finding("error", str(file), fault[len(f"{file}: ") :])
    return Finding("error", source.id(index), fault)


def _add(report: Report, finding: Finding) -> None:
    if finding.severity == "error":
        report.errors += 1
    else:
        report.warnings += 1
    report.findings.append(finding)


def _digest(image: np.ndarray) -> str:
    shape = f"{image.shape[0]}x{image.shape[1]} ".encode()
    return hashlib.sha256(shape + image.tobytes()).hexdigest()
