"""One pass of a convolutionalized classifier against the classifier on every crop.

The map of a converted network classifies a grid of windows at once; neighbouring windows share
almost all of their computation, so one pass costs far less than the classifier on each crop
(CVPR 2015, section 3.1, reports more than 5 times for AlexNet on a 10x10 grid).

    python tools/bench_dense.py
    python tools/bench_dense.py --backbone vgg16 --grid 10
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch

from fcnseg.catalogue import describe
from fcnseg.classifiers import build_classifier
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


def bench(name: str, grid: int | None, size: int, repeats: int) -> None:
    """Time both ways for one backbone in turn and print the ratio."""
    native = describe(name).preprocessing.native_size
    classifier = build_classifier(name).eval()
    net = convolutionalize(classifier, native, pool="window")
    *_, last = trace_features(net, (native, native)).values()
    assert last.geometry is not None
    stride = int(last.geometry.stride[0])
    windows = grid or (size - native) // stride + 1
    side = native + stride * (windows - 1)
    image = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        cells = tuple(net(image).shape[2:])
        assert cells == (windows, windows), cells
        once = seconds(lambda: net(image), repeats)
        crop = seconds(lambda: classifier(image[:, :, :native, :native]), repeats)
    count = windows * windows
    crops, width = crop * count, math.ceil(math.log10(count + 1)) + 25
    print(f"{name}: {windows}x{windows} windows of {native} px at stride {stride}")
    print(f"  {f'one pass over {side}x{side} px':{width}}{once:8.3f} s")
    print(f"  {f'{count} crops, one at a time':{width}}{crops:8.3f} s  ({crop:.4f} s each)")
    print(f"  ratio {crops / once:.1f}")


def main() -> None:
    """Time both ways for each backbone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--backbone", nargs="+", default=["alexnet", "vgg16", "resnet50", "efficientnet_lite0"]
    )
    parser.add_argument("--grid", type=int, help="windows along each side (default: what fits)")
    parser.add_argument("--size", type=int, default=500, help="pixels that the windows fit in")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, median of {args.repeats}")
    for name in args.backbone:
        bench(name, args.grid, args.size, args.repeats)


if __name__ == "__main__":
    main()
