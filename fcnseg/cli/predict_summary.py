"""What ``predict`` says at its end: the share of each class, and what was written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcnseg.cli.predict_plan import OVERLAY, SCORES, Job, place_of_results
from fcnseg.cli.predict_results import Result
from fcnseg.cli.shards import Shard
from fcnseg.cli.tables import images, print_json, print_table

_WORDS = {OVERLAY: "overlay", SCORES: "scores"}


class Summary:
    """Counts of the pixels of each class, over images computed now and before alike.

    Args:
        classes: K names.
        rows: keep what JSON has of each image.
    """

    def __init__(self, classes: Sequence[str], rows: bool) -> None:
        self._classes = classes
        self._pixels = np.zeros(len(classes), np.int64)
        self._images = np.zeros(len(classes), np.int64)
        self._rows: list[dict[str, Any]] | None = [] if rows else None
        self._count = self._there = 0
        self._kinds: set[str] = set()

    def add(self, job: Job, result: Result) -> None:
        """Count one image."""
        self._pixels += result.pixels
        self._images += result.pixels > 0
        self._count += 1
        self._there += job.there
        self._kinds |= job.results.keys()
        if self._rows is None:
            return
        total = result.pixels.sum()
        shares = {
            name: float(count / total)
            for name, count in zip(self._classes, result.pixels, strict=True)
        }
        row = {"image": str(job.photograph), "shares": shares, "skipped": job.there}
        row["written"] = [str(path) for path in result.written]
        self._rows.append(row)

    def tell(self, args: Any, shard: Shard, coco: Path | None) -> None:
        """Print the table, or JSON, of what was segmented."""
        if self._rows is not None:
            print_json(self._rows)
            return
        if not self._count:
            return
        whole = max(int(self._pixels.sum()), 1)
        counts = zip(self._classes, self._pixels, self._images, strict=True)
        rows = [(name, f"{100 * count / whole:.2f}", str(seen)) for name, count, seen in counts]
        print_table("", ("class", "pixels %", "in images"), rows)
        words = ["mask", *(word for kind, word in _WORDS.items() if kind in self._kinds)]
        now = self._count - self._there
        part = f" (shard {shard})" if shard.count > 1 else ""
        print(f"wrote {' and '.join(words)} of {images(now)} to {place_of_results(args)}{part}")
        if self._there:
            print(f"left those of {images(self._there)} as they were; they count in the table")
        if coco is not None:
            print(f"wrote {coco}")
