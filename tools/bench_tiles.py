"""Tiles against the whole image: how many labels agree, how far scores differ, what tiles cost.

The scene is a mosaic of generated shapes. Without ``--checkpoint`` the networks have random score
layers, shifted so that no class is ahead of the others over the scene: many pixels are then near a
tie, and labels agree less often than those of a trained network.

    python tools/bench_tiles.py
    python tools/bench_tiles.py --checkpoint runs/x/best.safetensors --side 3000
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch

import fcnseg
from fcnseg.data.shapes import Shapes
from fcnseg.inference.reach import reach

_CLASSES = 21
_NETWORKS = ("vgg16", "resnet18", "efficientnet_lite0")


def scene(side: int, each: int = 320) -> np.ndarray:
    """(side, side, 3) uint8: scenes of ``each`` pixels in rows, cut at the right and the bottom."""
    count = -(-side // each)
    scenes = Shapes("val", count * count, (each, each))
    rows = [
        np.concatenate([scenes[i * count + j].image for j in range(count)], 1) for i in range(count)
    ]
    return np.concatenate(rows)[:side, :side]


def random_network(name: str, variant: str, image: np.ndarray) -> fcnseg.FCN:
    """An FCN whose classes all have the same median score over the image."""
    torch.manual_seed(0)
    weights = "auto" if name == "efficientnet_lite0" else "none"
    model = fcnseg.build_fcn(name, variant, _CLASSES, weights=weights)
    with torch.no_grad():
        for layer in model.head.score.values():
            layer.weight.normal_(0, 0.1)
        score = fcnseg.Predictor(model, "cpu")(image[:640, :640]).scores
        assert score is not None
        coarsest = model.head.score[f"stride{model.head.strides[0]}"]
        coarsest.bias -= torch.from_numpy(np.median(score, (1, 2)))
    return model


def overlaps(tile: int, full: int, grid: int) -> Iterator[tuple[str, int | str | None]]:
    yield "tile / 4", tile // 4 // grid * grid
    yield "default", None
    if full + grid <= tile:
        yield "full", "full"


def compare(name: str, model: fcnseg.FCN, image: np.ndarray, tile: int, device: str) -> None:
    found = reach(model)
    assert found is not None
    start = time.perf_counter()
    whole = fcnseg.Predictor(model, device)(image)
    seconds = time.perf_counter() - start
    assert whole.scores is not None
    span = float(np.abs(whole.scores).max())
    full = -(-2 * found.pixels // found.grid) * found.grid
    print(f"{name}: reach {found.pixels} px, whole image {seconds:.1f} s, largest score {span:.3g}")
    for said, overlap in overlaps(tile, full, found.grid):
        predictor = fcnseg.Predictor(model, device, tile=tile, overlap=overlap)
        start = time.perf_counter()
        tiled = predictor(image)
        ratio = (time.perf_counter() - start) / seconds
        assert tiled.scores is not None
        same = float((tiled.labels == whole.labels).mean())
        furthest = float(np.abs(tiled.scores - whole.scores).max())
        shared = predictor.tiling(tile).overlap
        print(
            f"  overlap {said:8} {shared:5} px  labels {100 * same:8.4f} %  "
            f"scores {furthest:8.1e}  time x{ratio:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", nargs="+", default=list(_NETWORKS))
    parser.add_argument("--variant", default="8s")
    parser.add_argument("--checkpoint", help="a trained network in place of random ones")
    parser.add_argument("--side", type=int, default=1600, help="of the scene in pixels")
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    image = scene(args.side)
    if args.checkpoint:
        compare(args.checkpoint, fcnseg.load(args.checkpoint), image, args.tile, args.device)
        return
    for name in args.backbone:
        model = random_network(name, args.variant, image)
        compare(f"{name} {args.variant}", model, image, args.tile, args.device)


if __name__ == "__main__":
    main()
