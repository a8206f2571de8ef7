"""Segment photographs with a trained model."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from fcnseg.data.rasters import ArrayRaster, Raster
from fcnseg.devices import choose_device, choose_precision
from fcnseg.errors import UsageError
from fcnseg.inference.memory import auto_tile
from fcnseg.inference.pictures import Picture, as_pixels, by_size
from fcnseg.inference.prediction import Prediction
from fcnseg.inference.reach import Reach, reach
from fcnseg.inference.tiling import Band, Tiling, bands_of
from fcnseg.inference.views import Views, score_views
from fcnseg.model import Segmenter, SegmenterInfo, score_images
from fcnseg.preprocessing import from_array

_NO_GEOMETRY = Reach(pixels=0, grid=32, smallest=32, sees_all=True)


class Predictor:
    """A model on a device, from photographs to labels.

    The model is put into evaluation mode and moved to the device; the predictor itself holds no
    state and may be called from several threads.

    >>> import fcnseg, numpy as np
    >>> model = fcnseg.build_fcn("resnet18", "8s", num_classes=21)  # or fcnseg.load(...)
    >>> predictor = fcnseg.Predictor(model, device="cpu")
    >>> photo = np.zeros((375, 500, 3), np.uint8)  # or a path, a PIL image, a tensor
    >>> result = predictor(photo)
    >>> result.labels.shape, result.labels.dtype, result.scores.shape
    ((375, 500), dtype('uint8'), (21, 375, 500))

    Args:
        model: from :func:`fcnseg.load`, :func:`fcnseg.build_fcn` or
            :func:`fcnseg.segmenters.load_segmenter`.
        device: ``"auto"`` (CUDA, MPS, CPU) or the name of one.
        precision: ``"auto"``, ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        tile: side in pixels of the tiles that larger images are cut into, so that memory stays
            bounded; ``"auto"``: by the memory that is free; None: images are scored whole.
            The side is chosen once, here, and is then :attr:`tile`.
        overlap: pixels that neighbouring tiles share. ``"full"``: twice the reach of the network,
            so that tiles give the scores of the whole image. None: the same, but half a tile at
            most. Less is faster and leaves more of the edges of tiles in the result.
        views: test-time augmentation; with tiles, of each tile. Mirrored tiles give what the
            mirrored image does; scaled ones nearly so, since a scaled image is rounded to pixels.

    Raises:
        UsageError: the device or the precision is not to be had, or tiles that do not fit the
            model: too small for their overlap, or of a model that scales photographs first.
        EnvironmentFault: ``tile="auto"``, and there is not enough memory for any.
    """

    def __init__(
        self,
        model: Segmenter,
        device: str = "auto",
        precision: str = "auto",
        *,
        tile: int | str | None = None,
        overlap: int | str | None = None,
        views: Views | None = None,
    ) -> None:
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.views = views or Views()
        self._reach = reach(model) or _NO_GEOMETRY
        check_tiles(model.info, tile, overlap)
        self._overlap = overlap
        if isinstance(tile, int):
            self.tiling(tile)
        self.model = model.eval().to(self.device).to(memory_format=torch.channels_last)
        self.tile: int | None = self._auto() if isinstance(tile, str) else tile

    @property
    def info(self) -> SegmenterInfo:
        """What the model says of itself: classes, palette, preprocessing."""
        return self.model.info

    @property
    def sees_all(self) -> bool:
        """Whether each score depends on the whole image, so that tiles cannot give the same."""
        return self._reach.sees_all

    def __call__(self, image: Picture, scores: bool = True, name: str | None = None) -> Prediction:
        """Segment one image.

        Args:
            image: (H, W, 3) uint8 RGB, any size from 1x1; or a path, a PIL image, a uint8 tensor:
                see :func:`~fcnseg.inference.pictures.as_pixels`.
            scores: also give the class scores, K * H * W floats.
            name: what errors call the image.

        Raises:
            UsageError: not a picture.
            DataError: a picture that cannot be read, or a strip too long for the size at which
                the model sees photographs.
            NumericError: the model gives NaN or infinity; its labels would mean nothing.
        """
        pixels = as_pixels(image, name)
        bands = list(self.bands(ArrayRaster(pixels), scores, _named(image, name)))
        labels = _joined([band.labels for band in bands], 0)
        parts = [band.scores for band in bands if band.scores is not None]
        return self._prediction(pixels, labels, _joined(parts, 1) if scores else None)

    def batch(
        self, images: Sequence[Picture], scores: bool = True, names: Sequence[str] | None = None
    ) -> list[Prediction]:
        """Segment several images; those of one size go through the network together.

        Args:
            images: as for one call, of any sizes; cut into tiles, if so chosen, one by one.
            scores: also give the class scores.
            names: what errors call the images.

        Returns:
            One prediction an image, in their order. On most devices the scores of a batch differ
            from those of its images alone in the last bits.

        Raises:
            UsageError, DataError, NumericError: as for one call.
        """
        said = [_named(p, names[i] if names else None) for i, p in enumerate(images)]
        if self.tile is not None:
            return [self(p, scores, n) for p, n in zip(images, said, strict=True)]
        pixels = [as_pixels(p, n) for p, n in zip(images, said, strict=True)]
        found: dict[int, Prediction] = {}
        for same in by_size(pixels):
            stacked = np.stack([pixels[i] for i in same])
            score_NKHW = self._scored(stacked, ", ".join(said[i] for i in same))
            label_NHW = score_NKHW.argmax(1).to(torch.uint8).cpu().numpy()
            score = score_NKHW.cpu().numpy() if scores else [None] * len(same)
            for n, i in enumerate(same):
                found[i] = self._prediction(pixels[i], label_NHW[n], score[n])
        return [found[i] for i in range(len(pixels))]

    def bands(self, raster: Raster, scores: bool = False, name: str = "image") -> Iterator[Band]:
        """Segment an image of any size, and give its rows from the top as they are done.

        Without tiles that is all rows at once.

        Args:
            raster: the image, read by windows; see :mod:`fcnseg.data.rasters`.
            scores: also give the class scores of the rows.
            name: what errors call the image.

        Raises:
            DataError, NumericError: as for one call.
        """
        height, width = raster.size
        side = self.tile
        if side is None or (height <= side and width <= side):
            score_KHW = self._scored(raster.read(0, 0, height, width)[None], name)[0]
            labels = score_KHW.argmax(0).to(torch.uint8).cpu().numpy()
            yield Band(0, labels, score_KHW.cpu().numpy() if scores else None)
            return
        score = partial(self._score_tile, name=name)
        yield from bands_of(raster, self.tiling(side), score, scores)

    def _auto(self) -> int:
        grid, least = self._reach.grid * self.views.steps, self._reach.smallest
        if self._overlap is not None:
            least = self.tiling(1 << 30).overlap + grid
        return auto_tile(self.model, self.device, grid, least, self.views)

    def tiling(self, side: int) -> Tiling:
        """How images are cut into tiles of ``side`` pixels."""
        reach, scale = self._reach, min(self.views.scales)
        if self._overlap == "full" and reach is _NO_GEOMETRY:
            raise UsageError(
                "--overlap full: nothing is known of how far this network sees; give a number of "
                "pixels"
            )
        grid = reach.grid * self.views.steps
        margin = -int(-reach.pixels // scale)
        full = -(-2 * margin // grid) * grid
        overlap = self._overlap
        if overlap == "full":
            overlap = full
        elif overlap is None:
            overlap = min(full or side, side // 2) // grid * grid
        assert isinstance(overlap, int)
        if side % grid:
            raise UsageError(
                f"--tile {side}: expected a multiple of {grid}, the coarsest stride"
                f"{' in every view' if grid > reach.grid else ''}, such as "
                f"{max(side // grid, 1) * grid} or {(side // grid + 1) * grid}"
            )
        return Tiling(side, overlap, margin, grid, self.views.flip)

    def _score_tile(self, pixels_HW3: np.ndarray, name: str) -> Tensor:
        return self._scored(pixels_HW3[None], name)[0]

    def _scored(self, images_NHW3: np.ndarray, name: str) -> Tensor:
        """(N, H, W, 3) uint8 -> (N, K, H, W) float32 on the device."""

        def score(view_N3HW: Tensor) -> Tensor:
            return score_images(self.model, view_N3HW, self.device, self.precision, name)

        with torch.inference_mode():
            return score_views(score, from_array(images_NHW3).to(self.device), self.views).float()

    def _prediction(
        self, pixels: np.ndarray, labels: np.ndarray, scores: np.ndarray | None
    ) -> Prediction:
        info = self.model.info
        return Prediction(labels, scores, info.classes, info.palette, pixels)


def _joined(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """The parts along an axis; scores that are whole already are not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis)


def _named(image: Picture, name: str | None) -> str:
    return name or (str(image) if not hasattr(image, "size") else "image")


def check_tiles(info: SegmenterInfo, tile: int | str | None, overlap: int | str | None) -> None:
    """Raise :class:`UsageError` unless a model has a use for these settings of tiles."""
    if tile is None:
        if overlap is not None:
            raise UsageError(f"--overlap {overlap}: is of tiles; give --tile too, or leave it out")
        return
    if info.short_side is not None:
        raise UsageError(
            f"--tile {tile}: this network sees every photograph at a short side of "
            f"{info.short_side} pixels, which needs no tiles; leave it out"
        )
    if isinstance(tile, str) and tile != "auto":
        raise UsageError(f"--tile {tile}: expected a number of pixels or auto")
    if isinstance(overlap, str) and overlap != "full":
        raise UsageError(f"--overlap {overlap}: expected a number of pixels or full")
