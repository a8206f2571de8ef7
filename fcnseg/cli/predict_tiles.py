"""A photograph of any size, segmented in tiles: its rows are written as they are done."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from fcnseg import render
from fcnseg.cli.predict_plan import MASK, OVERLAY, SCORES, Job
from fcnseg.data.rasters import open_raster
from fcnseg.errors import EnvironmentFault
from fcnseg.files import replacing, scratch_beside
from fcnseg.inference.predictor import Predictor
from fcnseg.inference.tiling import Band
from fcnseg.render.png import MaskWriter
from fcnseg.render.shrunk import ShrunkOverlay

_COPIED = 1 << 20  # bytes at a time
_FIRST_S, _NEXT_S = 2.0, 10.0  # to the first line of how far it is, and between lines


def segment_in_tiles(
    predictor: Predictor, job: Job, max_pixels: int
) -> tuple[np.ndarray, tuple[int, int]]:
    """Segment a photograph and write what is wanted of it.

    No more is in memory than the rows of one row of tiles. The scores of the whole image go
    through a file beside their result, of four bytes for each pixel and class. The overlay is
    drawn at 4096 pixels on its longer side at most.

    Returns:
        (K,) pixels of each class, and the (H, W) of the photograph.

    Raises:
        DataError: the photograph cannot be read.
        EnvironmentFault: a result cannot be written.
        NumericError: the network's scores are not finite.
    """
    info = predictor.info
    pixels = np.zeros(len(info.classes), np.int64)
    say = _Said(str(job.photograph))
    with ExitStack() as opened:
        raster = opened.enter_context(open_raster(job.photograph.path, max_pixels))
        height, width = raster.size
        mask = small = keep = None
        if MASK in job.wanted:
            mask = opened.enter_context(MaskWriter(job.mask, raster.size, info.palette))
        if SCORES in job.wanted:
            shape = (len(info.classes), height, width)
            keep = opened.enter_context(_scores(job.results[SCORES], shape, info.classes))
        if OVERLAY in job.wanted:
            small = ShrunkOverlay(raster.size)
        for band in predictor.bands(raster, keep is not None, str(job.photograph)):
            pixels += np.bincount(band.labels.ravel(), minlength=len(pixels))
            if mask is not None:
                mask.write(band.labels)
            if keep is not None:
                keep(band)
            if small is not None:
                for start in range(0, len(band.labels), small.rows):
                    rows = band.labels[start : start + small.rows]
                    small.add(raster.read(band.top + start, 0, len(rows), width), rows)
            say(band.top + len(band.labels), height)
        if small is not None:
            picture = small.picture(info.classes, info.palette, pixels.tolist())
            render.write_image(job.results[OVERLAY], picture)
    return pixels, raster.size


class _Said:
    """Says on stderr how far an image is, if it takes long."""

    def __init__(self, name: str) -> None:
        self._name, self._due = name, time.monotonic() + _FIRST_S

    def __call__(self, rows: int, of: int) -> None:
        if rows < of and time.monotonic() >= self._due:
            print(f"{self._name}: rows {rows} of {of}", file=sys.stderr, flush=True)
            self._due = time.monotonic() + _NEXT_S


@contextmanager
def _scores(
    path: Path, shape: tuple[int, int, int], classes: tuple[str, ...]
) -> Iterator[Callable[[Band], None]]:
    """Take the scores of bands; of all, (K, H, W) float32, make the .npz ``path`` at the end."""
    _, height, width = shape
    with scratch_beside(path) as scratch, ExitStack() as opened:
        try:
            file = opened.enter_context(open(scratch, "x+b"))
            if hasattr(os, "posix_fallocate"):
                # Better known now than when the last rows are written.
                os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape, dtype=np.int64)))
        except OSError as error:
            raise _no_room(path, error) from None

        def keep(band: Band) -> None:
            assert band.scores is not None
            try:
                for number, rows in enumerate(band.scores):
                    file.seek(4 * width * (number * height + band.top))
                    file.write(rows.astype("<f4").tobytes())
            except OSError as error:
                raise _no_room(path, error) from None

        yield keep
        with replacing(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
            with archive.open("score.npy", "w", force_zip64=True) as member:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                file.seek(0)
                shutil.copyfileobj(file, member, _COPIED)
            with archive.open("classes.npy", "w") as member:
                np.lib.format.write_array(member, np.array(classes), allow_pickle=False)


def _no_room(path: Path, error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"{path}: no room for the scores of the whole image ({error.strerror or error}); leave "
        "--scores out, or write to another disk"
    )
