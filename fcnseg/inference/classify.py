"""What a classifier says of a photograph as a whole: by its centre, densely, or in many crops.

*Dense* evaluation (Simonyan and Zisserman 2015, section 3.2) applies the classifier, made fully
convolutional, to the whole image instead of one crop of it. The scores of a class are averaged
over the map; softmax follows, and the posteriors of the image, its mirror image and of every
scale are averaged (section 4.2). *Multi-crop* evaluation averages the posteriors of 5x5 crops and
their mirror images at each scale: 150 in all over the paper's three scales (section 4.3). The two
see different borders (zeros around a crop, the photograph's own content in the dense pass), so
their average is offered as well.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, fx, nn

from fcnseg.checks import check_choice, check_image
from fcnseg.convolutionalize import convolutionalize
from fcnseg.devices import choose_device
from fcnseg.errors import NumericError, UsageError
from fcnseg.preprocessing import Preprocessing, centre_crop, from_array, resize
from fcnseg.sizes import scaled_size
from fcnseg.trace import trace_features

Mode = Literal["center", "dense", "multicrop", "both"]
MODES: tuple[str, ...] = get_args(Mode)

_GRID = 5  # crops along each side of the image
_BATCH = 10  # crops in memory at a time, as many again mirrored


class ImageClassifier:
    """A classifier on a device, from 8-bit photographs to class probabilities.

    It holds no state between images. It works on a copy of the classifier, in evaluation mode and
    on the device: the caller's own keeps its mode and its place, and training it further changes
    nothing here.

    Args:
        classifier: (N, 3, H, W) preprocessed -> (N, K) scores; it is copied. For ``"dense"`` and
            ``"both"`` a copy is made fully convolutional, see :func:`dense_net`.
        preprocessing: what the classifier expects.
        mode: ``"center"``: the short side is scaled to ``test_resize``, the crop of
            ``native_size`` in the middle is classified, as torchvision and timm test their
            networks. ``"dense"``: the whole image. ``"multicrop"``: 5x5 crops of ``native_size``.
            ``"both"``: the mean of the last two.
        scales: lengths in pixels that the short side is scaled to, one evaluation each; None for
            ``test_resize`` alone. ``"center"`` takes none.
        mirror: average with the image mirrored left to right; ``"center"`` never does.
        device: ``"auto"`` (CUDA, MPS, CPU) or the name of one.

    Raises:
        UsageError: no such mode or device, scales that do not go with it or are smaller than
            the classifier's window, or a classifier that cannot be made fully convolutional.
    """

    def __init__(
        self,
        classifier: nn.Module,
        preprocessing: Preprocessing,
        mode: str = "center",
        scales: Sequence[int] | None = None,
        mirror: bool = True,
        device: str = "auto",
    ) -> None:
        check_mode(mode, scales, preprocessing.native_size)
        self.preprocessing, self.mode = preprocessing, mode
        self.mirror = mirror and mode != "center"
        self.scales = tuple(scales or (preprocessing.test_resize,))
        self.device = choose_device(device)
        self.classifier = self.net = None
        if mode in ("dense", "both"):
            self.net = dense_net(classifier, preprocessing.native_size).to(self.device)
        if mode != "dense":
            self.classifier = copy.deepcopy(classifier).eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The class probabilities of one photograph.

        Args:
            image: (H, W, 3) uint8 RGB, any size from 1x1.

        Returns:
            (K,) float32 in [0, 1], of sum 1.

        Raises:
            UsageError: not an (H, W, 3) uint8 array.
            NumericError: scores that are not finite.
        """
        check_image("image", image)
        pixels = from_array(image)[None]
        pixels, side = pixels.to(self.device), self.preprocessing.native_size
        dense: list[Tensor] = []
        cropped: list[Tensor] = []
        for scale in self.scales:
            view = self._scaled(pixels, scale)
            if self.mode == "center":
                cropped.append(_posteriors(self.classifier, centre_crop(view, side)))
            if self.mode in ("dense", "both"):
                dense += [_posteriors(self.net, v) for v in self._mirrored([view])]
            if self.mode in ("multicrop", "both"):
                batches = self._mirrored(_batches(crops(view, side)))
                cropped += [_posteriors(self.classifier, batch) for batch in batches]
        means = [torch.cat(posteriors).mean(0) for posteriors in (dense, cropped) if posteriors]
        return torch.stack(means).mean(0).float().numpy()

    def _scaled(self, pixels: Tensor, scale: int) -> Tensor:
        """The preprocessed image with its short side at ``scale``, (1, 3, H, W)."""
        height, width = pixels.shape[2:]
        size = scaled_size((height, width), scale)
        return self.preprocessing(resize(pixels, size, self.preprocessing.interpolation))

    def _mirrored(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Every batch and, if so chosen, its mirror image."""
        for batch in batches:
            yield batch
            if self.mirror:
                yield batch.flip(3)


def dense_net(classifier: nn.Module, native_size: int) -> fx.GraphModule:
    """The fully convolutional form whose mean over the map is the classifier's dense score.

    Where everything after a global average pool is affine (ResNet, DenseNet, EfficientNet) the
    pool is dropped: the mean of the map is then the classifier's own score of the uncropped image.
    Elsewhere the window of training slides, as in the paper: VGG and AlexNet have no such pool,
    MobileNetV3 and ConvNeXt have a nonlinear layer after it.

    Args:
        classifier: (N, 3, H, W) -> (N, K) scores; it is copied.
        native_size: side in pixels of the images it was trained on.

    Returns:
        A network in evaluation mode, (N, 3, H, W) -> (N, K, h, w), for sides from
        ``native_size`` up.

    Raises:
        UsageError: as :func:`~fcnseg.convolutionalize.convolutionalize`.
    """
    dropped = convolutionalize(classifier, native_size, "none").eval()
    *_, scores = trace_features(dropped, (native_size, native_size)).values()
    if scores.shape[2:] == (1, 1):  # there was no pool, and a second copy may be large
        return dropped
    window = convolutionalize(classifier, native_size, "window").eval()
    pools = dict(window.named_modules()).keys() - dict(dropped.named_modules()).keys()
    return dropped if _is_affine_after(window, pools) else window


_AFFINE = (nn.AvgPool2d, nn.modules.batchnorm._BatchNorm, nn.Dropout, nn.Dropout2d, nn.Identity)


def _is_affine_after(net: fx.GraphModule, pools: Set[str]) -> bool:
    """Whether the named pools average, and nothing after them is more than affine."""
    reached: set[fx.Node] = set()
    for node in net.graph.nodes:
        if node.target not in pools and not reached.intersection(node.all_input_nodes):
            continue
        reached.add(node)
        layer = net.get_submodule(str(node.target)) if node.op == "call_module" else None
        pointwise = isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1)
        if node.op != "output" and not pointwise and not isinstance(layer, _AFFINE):
            return False
    return True


def crops(image_13HW: Tensor, side: int) -> list[Tensor]:
    """5x5 squares of ``side`` pixels on a regular grid from border to border, row by row.

    Each is a (3, side, side) view of the image; the image has ``side`` pixels or more each way.
    """
    rows, columns = (
        [round(i * (extent - side) / (_GRID - 1)) for i in range(_GRID)]
        for extent in image_13HW.shape[2:]
    )
    return [image_13HW[0, :, y : y + side, x : x + side] for y in rows for x in columns]


def _batches(images: Sequence[Tensor]) -> Iterator[Tensor]:
    for start in range(0, len(images), _BATCH):
        yield torch.stack(list(images[start : start + _BATCH]))


def _posteriors(net: nn.Module | None, image_N3HW: Tensor) -> Tensor:
    """(N, K) float64 softmax of the scores; those of a map are averaged over its cells first."""
    assert net is not None
    score = net(image_N3HW)
    if score.dim() == 4:
        score = score.mean((2, 3))
    if not bool(torch.isfinite(score).all()):
        raise NumericError("the classifier's scores are not finite; check its weights")
    posterior: Tensor = score.cpu().double().softmax(1)  # MPS has no float64
    return posterior


def check_mode(mode: str, scales: Sequence[int] | None, native_size: int) -> None:
    """Raise :class:`UsageError` unless the mode exists and the scales go with it."""
    check_choice("--mode", mode, MODES)
    if scales is None:
        return
    if mode == "center":
        raise UsageError(
            "--scales: --mode center has one scale, what the classifier was tested at; leave it "
            "out, or choose another --mode"
        )
    if not scales or min(scales) < native_size:
        got = ",".join(map(str, scales)) or "none"
        raise UsageError(
            f"--scales {got}: the classifier's window has {native_size} pixels; expected lengths "
            f"of {native_size} or more"
        )
