"""A classifier on sliding crops beside one pass of its fully convolutional form.

Both give a class score for every window of the image, in steps of the map's stride. At the
classifier's own size there is one window and the two agree. On a larger image they agree
everywhere only if two things hold. The network pads nothing inside: a crop that is padded sees
zeros beyond its border, where the one pass sees what the photograph has there. And no layer looks
at its whole map (squeeze-excite, group norm): in a crop that is the crop, in the one pass the
whole photograph.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, fx, nn

from fcnseg.checks import check_image
from fcnseg.devices import choose_device
from fcnseg.errors import NumericError, UsageError
from fcnseg.preprocessing import Preprocessing, from_array, resize
from fcnseg.trace import evaluating, trace_features

T = TypeVar("T")

_BATCH = 16


@dataclass(frozen=True)
class CropComparison:
    """What sliding crops and one pass gave; grids are (h, w), windows row by row.

    Attributes:
        image: (H, W, 3) uint8, the photograph as both saw it: scaled, and cut to whole steps.
        window: side of a crop in pixels.
        stride: pixels from crop to crop.
        class_id: the class with the highest mean probability over the crops.
        crops: (h, w) float32 in [0, 1], its probability in each crop.
        dense: (h, w) float32 in [0, 1], the same from the one pass.
        distance: (h, w) float32 in [0, 1], the total variation distance between the two
            distributions over all classes: the share of probability that lies on other classes.
        same_class: (h, w) bool, whether both have the same best class.
        score_difference: the largest difference of two scores, over the largest score.
        native_difference: the same where there is one window, on the first crop.
        seconds_crops: wall time of the classifier on one crop at a time.
        seconds_batches: wall time of the same crops in batches.
        batch: crops in such a batch.
        seconds_dense: wall time of the one pass, the median of three.
    """

    image: np.ndarray
    window: int
    stride: int
    class_id: int
    crops: np.ndarray
    dense: np.ndarray
    distance: np.ndarray
    same_class: np.ndarray
    score_difference: float
    native_difference: float
    seconds_crops: float
    seconds_batches: float
    batch: int
    seconds_dense: float


@torch.inference_mode()
def compare_crops(
    classifier: nn.Module,
    net: fx.GraphModule,
    preprocessing: Preprocessing,
    image: np.ndarray,
    most: int = 8,
    device: str = "auto",
    done: Callable[[int, int], None] | None = None,
) -> CropComparison:
    """Run both ways on one photograph and time them.

    Both networks are moved to the device and stay there; each layer keeps its mode.

    Args:
        classifier: (N, 3, H, W) -> (N, K) scores.
        net: its fully convolutional form,
            ``convolutionalize(classifier, native_size, pool="window")``.
        preprocessing: what the classifier expects.
        image: (H, W, 3) uint8 RGB. It is scaled, keeping its shape, until ``most`` windows fit
            along its longer side, or further until one fits along the shorter; what is left over
            is cut off around it.
        most: windows along the longer side, 1 to 32.
        device: ``"auto"`` or the name of one.
        done: called with (crops done, crops in all).

    Raises:
        UsageError: not an image, or a network whose map at its native size is not one cell.
        NumericError: scores that are not finite.
    """
    check_image("image", image)
    if not 1 <= most <= 32:
        raise UsageError(f"compare_crops: expected 1 to 32 windows along a side, got {most}")
    on = choose_device(device)
    classifier.to(on)
    net.to(on)
    with evaluating(classifier), evaluating(net):
        return _compare(classifier, net, preprocessing, image, most, on, done)


def _compare(
    classifier: nn.Module,
    net: fx.GraphModule,
    preprocessing: Preprocessing,
    image: np.ndarray,
    most: int,
    on: torch.device,
    done: Callable[[int, int], None] | None,
) -> CropComparison:
    window = preprocessing.native_size
    stride = _stride(net, window)
    pixels = from_array(image)[None].to(on)
    pixels = _framed(pixels, window, stride, most)
    whole = preprocessing(pixels)
    corners = [
        (y, x)
        for y in range(0, whole.shape[2] - window + 1, stride)
        for x in range(0, whole.shape[3] - window + 1, stride)
    ]
    cut = [whole[:, :, y : y + window, x : x + window].contiguous() for y, x in corners]
    batches = [torch.cat(cut[i : i + _BATCH]) for i in range(0, len(cut), _BATCH)]

    dense_NKhw, seconds_dense = _median(lambda: net(whole), on)
    native = net(cut[0])[0, :, 0, 0]
    classifier(batches[0])  # the first call of a shape also chooses kernels and takes memory
    singles, seconds_crops = _timed(lambda: _one_by_one(classifier, cut, done), on)
    _, seconds_batches = _timed(lambda: [classifier(batch) for batch in batches], on)

    scores_KN = torch.cat(singles).float().T
    return CropComparison(
        image=pixels[0].permute(1, 2, 0).contiguous().cpu().numpy(),
        window=window,
        stride=stride,
        **_compared(scores_KN, dense_NKhw[0].float()),
        native_difference=_relative(native.float(), scores_KN[:, 0]),
        seconds_crops=seconds_crops,
        seconds_batches=seconds_batches,
        batch=min(_BATCH, len(cut)),
        seconds_dense=seconds_dense,
    )


def _compared(crops_KN: Tensor, dense_Khw: Tensor) -> dict[str, Any]:
    """The scores of both ways, window by window."""
    rows, columns = dense_Khw.shape[1:]
    if rows * columns != crops_KN.shape[1]:
        raise UsageError(
            f"compare_crops: the map has {rows}x{columns} cells for {crops_KN.shape[1]} crops; "
            'pass a network of convolutionalize(classifier, native_size, pool="window")'
        )
    dense_KN = dense_Khw.flatten(1)
    if not bool(torch.isfinite(crops_KN).all() and torch.isfinite(dense_KN).all()):
        raise NumericError("the classifier's scores are not finite; check its weights")
    p, q = crops_KN.softmax(0), dense_KN.softmax(0)
    best = int(p.mean(1).argmax())
    grids = {
        "crops": p[best],
        "dense": q[best],
        "distance": (p - q).abs().sum(0) / 2,
        "same_class": crops_KN.argmax(0) == dense_KN.argmax(0),
    }
    shaped = {name: values.view(rows, columns).cpu().numpy() for name, values in grids.items()}
    return {
        "class_id": best,
        **shaped,
        "score_difference": _relative(dense_KN, crops_KN),
    }


def _stride(net: fx.GraphModule, window: int) -> int:
    """The stride of the last map; the network must give one cell for one window."""
    (output,) = [node for node in net.graph.nodes if node.op == "output"]
    feature = trace_features(net, (window, window))[output.all_input_nodes[0].name]
    if feature.geometry is None or feature.geometry.size != (1, 1):
        raise UsageError(
            "compare_crops: expected a network that gives one cell at its native size; pass that "
            'of convolutionalize(classifier, native_size, pool="window")'
        )
    return int(feature.geometry.stride[0])


def _framed(pixels: Tensor, window: int, stride: int, most: int) -> Tensor:
    """Scaled so that whole windows fit, and cut to them, evenly on both sides."""
    height, width = pixels.shape[2:]
    factor = max((window + stride * (most - 1)) / max(height, width), window / min(height, width))
    scaled = [max(round(side * factor), window) for side in (height, width)]
    kept = [window + stride * min((side - window) // stride, most - 1) for side in scaled]
    top, left = ((side - keep) // 2 for side, keep in zip(scaled, kept, strict=True))
    # Only what is kept is scaled: a long strip would become very long.
    y0, x0 = int(top / factor), int(left / factor)
    y1 = min(height, -int(-(top + kept[0]) / factor // 1))
    x1 = min(width, -int(-(left + kept[1]) / factor // 1))
    return resize(pixels[:, :, y0:y1, x0:x1], (kept[0], kept[1]))


def _one_by_one(
    classifier: nn.Module, cut: list[Tensor], done: Callable[[int, int], None] | None
) -> list[Tensor]:
    scores = []
    for i, crop in enumerate(cut, start=1):
        scores.append(classifier(crop))
        if done is not None:
            done(i, len(cut))
    return scores


def _median(work: Callable[[], T], on: torch.device) -> tuple[T, float]:
    work()
    runs = [_timed(work, on) for _ in range(3)]
    return runs[0][0], sorted(seconds for _, seconds in runs)[1]


def _timed(work: Callable[[], T], on: torch.device) -> tuple[T, float]:
    """The result of a call and its wall time, all work on the device included."""
    _wait(on)
    start = time.perf_counter()
    result = work()
    _wait(on)
    return result, time.perf_counter() - start


def _wait(on: torch.device) -> None:
    if on.type != "cpu":
        torch.get_device_module(on).synchronize()


def _relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).abs().max() / expected.abs().max())
