"""What ``predict`` has to do: which photographs in which chunk, and what their results are called.

The list of photographs is cut into chunks, and a chunk is computed as a whole or not at all. So the
batches that images go through the network in depend on the list alone, not on which process
computes it or on what was there before.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fcnseg.cli.finding import Photograph
from fcnseg.cli.inputs import Places
from fcnseg.cli.shards import Shard
from fcnseg.errors import UsageError

VOC_TEST = "results/VOC2012/Segmentation"
MASK, OVERLAY, SCORES = ".png", ".overlay.jpg", ".npz"


@dataclass(frozen=True)
class Job:
    """One photograph to segment.

    Attributes:
        number: its place in the whole list, from 0.
        photograph: the file.
        results: the file for each kind of result, by its ending; the mask is always among them.
        wanted: the endings of the results to write; those that are left out are there.
        there: nothing of its whole chunk is to be written; the mask is only read.
    """

    number: int
    photograph: Photograph
    results: Mapping[str, Path]
    wanted: frozenset[str]
    there: bool = False

    @property
    def mask(self) -> Path:
        """Where the mask is, or will be."""
        return self.results[MASK]


def endings(args: Any) -> tuple[str, ...]:
    """The endings of the results that the flags ask for, the mask's first.

    Raises:
        UsageError: more than masks for VOC's server.
    """
    if args.voc_test is not None:
        if args.scores:
            raise UsageError("--scores: --voc-test writes masks alone; leave one of the two out")
        return (MASK,)
    overlay = () if args.no_overlay else (OVERLAY,)
    return (MASK, *overlay, *((SCORES,) if args.scores else ()))


def place_of_results(args: Any) -> Path:
    """The folder that results mirror the photographs in."""
    out = Path(args.out)
    return out if args.voc_test is None else out / VOC_TEST / f"{args.voc_test}_test_cls"


def check_place(args: Any) -> None:
    """Raise :class:`UsageError` where a later run would take masks for photographs."""
    if OVERLAY in endings(args):
        return
    out = os.path.realpath(args.out)
    for name in args.images:
        if os.path.isdir(name) and os.path.realpath(name) == out:
            flag = "--no-overlay" if args.voc_test is None else "--voc-test"
            raise UsageError(
                f"--out {args.out}: is the folder of the photographs; with {flag} masks have no "
                "overlay beside them that tells them from photographs; choose another folder, "
                "which may be one in it"
            )


def coco_path(args: Any, shard: Shard, jobs: Sequence[Job]) -> Path | None:
    """Where the COCO json of this shard goes, None where none is asked for.

    Raises:
        UsageError: no name of a json, or that of a file which is read, or of another result.
    """
    if args.coco is None:
        return None
    path = shard.path(Path(args.coco))
    if path.is_dir():
        raise UsageError(f"--coco {args.coco}: is a folder, expected the name of a file")
    if path.suffix.lower() != ".json":
        raise UsageError(f"--coco {args.coco}: expected a name that ends in .json")
    places = Places()
    texts = [args.checkpoint, args.weights, *(name.removeprefix("@") for name in args.images)]
    read = {places.of(Path(text)) for text in (*texts, *args.images) if text}
    read |= {places.of(job.photograph.path) for job in jobs}
    for what, found in (
        ("a file that is read", read),
        ("a result", {places.of(result) for job in jobs for result in job.results.values()}),
    ):
        if places.of(path) in found:
            raise UsageError(
                f"--coco {args.coco}: {path} is {what} and would be replaced; choose another name"
            )
    return path


def jobs_of(found: Sequence[Photograph], folder: Path, kinds: Sequence[str]) -> list[Job]:
    """A job for each photograph, in order."""
    return [
        Job(
            number,
            photograph,
            {kind: folder / f"{photograph.stem}{kind}" for kind in kinds},
            frozenset(kinds),
        )
        for number, photograph in enumerate(found)
    ]


def chunks_of_shard(jobs: Sequence[Job], size: int, shard: Shard) -> list[list[Job]]:
    """The chunks, ``size`` jobs each but for the last, that are this shard's."""
    chunks = [list(jobs[start : start + size]) for start in range(0, len(jobs), size)]
    return chunks[shard.number - 1 :: shard.count]


def without_existing(chunk: Sequence[Job]) -> list[Job]:
    """The same chunk, in which only results that are not there are wanted."""
    left = [
        replace(job, wanted=frozenset(e for e in job.wanted if not os.path.exists(job.results[e])))
        for job in chunk
    ]
    there = not any(job.wanted for job in left)
    return [replace(job, there=there) for job in left]
