"""What was found in one split of a data set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fcnseg.audit.balance import median_frequency
from fcnseg.palette import Colour

Severity = Literal["error", "warning"]

_NAMED = 5  # classes in one line


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong ("error") or doubtful ("warning").

    ``file`` is the file, folder or split that it is about; ``message`` says what was expected,
    what was got and what to do.
    """

    severity: Severity
    file: str
    message: str


@dataclass(frozen=True)
class Record:
    """One sample that could be read.

    Attributes:
        id: its name within the source.
        files: (image, mask), or () where samples are generated.
        size: (height, width) in pixels, upright.
        class_pixels: pixels of each class, K numbers; () where labels were not looked at.
        void_pixels: pixels labelled 255.
        digest: of the decoded image: equal for images that are equal pixel by pixel; "" where the
            image was not decoded.
        mask_kind: what the mask file is: "grey", "grey16", "bilevel", "palette", "rgb", the
            ending of a file that is no image ("json", "mat"), or "generated".
        mask_digest: of the labels, likewise.
    """

    id: str
    files: tuple[str, ...]
    size: tuple[int, int]
    class_pixels: tuple[int, ...]
    void_pixels: int
    digest: str
    mask_kind: str
    mask_digest: str = ""


@dataclass(frozen=True)
class _Sums:
    """Sums over samples, one a class; and how many pixels of them are void."""

    pixels: list[int]
    images: list[int]
    labelled_where_present: list[int]
    void: int


@dataclass
class Report:
    """What was found in one split.

    Attributes:
        name: the source's.
        classes: K class names.
        palette: K colours.
        images: number of samples that the source lists.
        findings: those of the layout first, then those of the samples in their order, then those
            about the split as a whole.
        records: the samples that could be read, in the order of the source.
        bounds: factor -> mean IU in [0, 1] of a perfect prediction at 1/factor of the
            resolution; empty where it was not measured.
        mask_notes: kind of mask -> how its values became class ids, in words.
        notes: what the reader found out by itself, such as a common ending of mask names.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    images: int
    findings: list[Finding] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    bounds: dict[int, float] = field(default_factory=dict)
    mask_notes: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    # The records that were summed, and their sums: adding up 100 000 takes seconds.
    _summed: tuple[list[Record], _Sums] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    @property
    def readable(self) -> int:
        """How many samples could be read."""
        return len(self.records)

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of warnings."""
        return sum(finding.severity == "warning" for finding in self.findings)

    @property
    def ok(self) -> bool:
        """Whether there are no errors; warnings may remain."""
        return self.errors == 0

    @property
    def counted(self) -> bool:
        """Whether class pixels are known of every readable sample, of which there is one."""
        return bool(self.records) and all(record.class_pixels for record in self.records)

    @property
    def class_pixels(self) -> list[int]:
        """Pixels of each class in all readable samples."""
        return list(self._sums.pixels)

    @property
    def class_images(self) -> list[int]:
        """Number of readable samples in which each class occurs."""
        return list(self._sums.images)

    @property
    def pixels_where_present(self) -> list[int]:
        """Labelled pixels of the samples in which each class occurs."""
        return list(self._sums.labelled_where_present)

    @property
    def void_pixels(self) -> int:
        """Pixels labelled 255 in all readable samples."""
        return self._sums.void

    @property
    def void_share(self) -> float:
        """Share of void among all pixels, in [0, 1]; 0 where nothing was counted."""
        pixels = self.void_pixels + sum(self.class_pixels)
        return self.void_pixels / pixels if pixels else 0.0

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """(height, width) -> number of readable samples."""
        return Counter(record.size for record in self.records)

    @property
    def mask_kinds(self) -> Counter[str]:
        """Kind of mask -> number of readable samples."""
        return Counter(record.mask_kind for record in self.records)

    @property
    def class_weights(self) -> list[float]:
        """Median-frequency weight of each class, 1 everywhere where nothing is labelled."""
        if not any(self.class_pixels):
            return [1.0] * len(self.classes)
        return median_frequency(self.class_pixels, self.pixels_where_present)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the records, in types that JSON has."""
        return {
            "name": self.name,
            "ok": self.ok,
            "images": self.images,
            "readable": self.readable,
            "errors": self.errors,
            "warnings": self.warnings,
            "findings": [dict(vars(finding)) for finding in self.findings],
            "classes": list(self.classes),
            "class_pixels": self.class_pixels,
            "class_images": self.class_images,
            "class_weights": self.class_weights,
            "void_pixels": self.void_pixels,
            "void_share": self.void_share,
            "sizes": {f"{h}x{w}": count for (h, w), count in self.sizes.most_common()},
            "notes": list(self.notes),
            "mask_kinds": dict(self.mask_kinds.most_common()),
            "upper_bounds": {str(factor): value for factor, value in self.bounds.items()},
        }

    @property
    def _sums(self) -> _Sums:
        """Sums over the records as they are now; computed again only if they have changed."""
        if self._summed is None or self._summed[0] != self.records:
            self._summed = list(self.records), _sum(self.records, len(self.classes))
        return self._summed[1]


def _sum(records: Sequence[Record], classes: int) -> _Sums:
    """Add up samples; one without class pixels adds nothing but its void."""
    sums = _Sums([0] * classes, [0] * classes, [0] * classes, sum(r.void_pixels for r in records))
    for record in records:
        labelled = int(sum(record.class_pixels))
        for class_id, number in enumerate(record.class_pixels):
            if number:
                sums.pixels[class_id] += int(number)
                sums.images[class_id] += 1
                sums.labelled_where_present[class_id] += labelled
    return sums


def other_classes(first: Report, later: Report) -> str:
    """Say in words how the class list of one split differs from that of the first.

    Returns:
        The first ids that mean something else, such as ``"id 1 is 'cat', in folder 'dog'"``; ""
        where the lists are equal, or one of the splits could not be opened.
    """
    if not first.classes or not later.classes or first.classes == later.classes:
        return ""
    differ = [
        f"id {i} is {_name(later.classes, i)}, in {first.name} {_name(first.classes, i)}"
        for i in range(max(len(first.classes), len(later.classes)))
        if first.classes[i : i + 1] != later.classes[i : i + 1]
    ]
    more = f"; and {len(differ) - _NAMED} more" if len(differ) > _NAMED else ""
    return "; ".join(differ[:_NAMED]) + more


def _name(classes: Sequence[str], class_id: int) -> str:
    return repr(classes[class_id]) if class_id < len(classes) else "no class"
