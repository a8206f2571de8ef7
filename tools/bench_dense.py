"""One pass of a convolutionalized classifier against the classifier on every crop.

The map of a converted network classifies a grid of windows at once; neighbouring windows share
almost all of their computation, so one pass costs far less than the classifier on each crop
(CVPR 2015, section 3.1, reports more than 5 times for AlexNet on a 10x10 grid).

    python tools/bench_dense.py --backbone vgg16 --grid 10
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from fcnseg.backbones import build_classifier, describe
from fcnseg.convolutionalize import convolutionalize
from fcnseg.trace import trace_features


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call, after one call to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Time both ways in turn and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vgg16")
    parser.add_argument("--grid", type=int, default=10, help="windows along each side")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    native = describe(args.backbone).preprocessing.native_size
    classifier = build_classifier(args.backbone).eval()
    net = convolutionalize(classifier, native, pool="window")
    *_, last = trace_features(net, (native, native)).values()
    assert last.geometry is not None
    stride = int(last.geometry.stride[0])
    side = native + stride * (args.grid - 1)
    image = torch.randn(1, 3, side, side)
    corners = [(stride * i, stride * j) for i in range(args.grid) for j in range(args.grid)]

    with torch.inference_mode():
        cells = tuple(net(image).shape[2:])
        assert cells == (args.grid, args.grid), cells
        once = seconds(lambda: net(image), args.repeats)
        crop = seconds(lambda: classifier(image[:, :, :native, :native]), args.repeats)
        crops = crop * len(corners)
    print(
        f"{args.backbone}, {args.grid}x{args.grid} windows of {native} px at stride {stride}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"one pass over {side}x{side} px   {once:8.3f} s")
    print(f"{len(corners)} crops, one at a time  {crops:8.3f} s  ({crop:.4f} s each)")
    print(f"ratio {crops / once:.1f}")


if __name__ == "__main__":
    main()
