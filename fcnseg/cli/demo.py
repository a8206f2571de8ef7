"""``fcnseg demo``."""

from pathlib import Path
from typing import Any

HELP = "everything once, on data that needs no download"
EXAMPLES = """\
fcnseg demo
fcnseg demo --out somewhere --seed 1"""

_SHOWN = 4


def add_arguments(parser: Any) -> None:
    parser.add_argument(
        "--out", metavar="DIR", default="demo", help="where to write (default demo)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a demo that is there")
    parser.add_argument(
        "--seed", type=int, metavar="N", default=0, help="seed of everything random (default 0)"
    )
    parser.add_argument(
        "--device", metavar="auto|cpu|cuda", default="auto", help="where to compute"
    )


def run(args: Any) -> None:
    import time

    from fcnseg.errors import UsageError

    start = time.monotonic()
    folder = Path(args.out)
    if (folder / "shapes").exists() and not args.overwrite:
        raise UsageError(f"--out {folder}: holds a demo already; give --overwrite or another --out")
    print("1. A classifier, made fully convolutional, looks at a photograph.")
    _heatmap(folder, args.device)
    print("\n2. FCN-8s is trained from the same ImageNet weights on generated shapes.")
    checkpoint, mean_iu = _train(folder, args)
    print("\n3. The trained network segments shapes that it has never seen.")
    _predict(folder, checkpoint, args)
    print(f"\nmean IU on unseen shapes: {mean_iu:.3f}")
    print(f"time: {time.monotonic() - start:.0f} s; everything was written to {folder}/")
    print("next: fcnseg heatmap YOUR_PHOTO.jpg, or fcnseg train --help for your own masks")


def _heatmap(folder: Path, device: str) -> None:
    from fcnseg.catalogue import LITE0
    from fcnseg.cli import heatmap
    from fcnseg.cli.parser import parse

    photograph = _grace_hopper()
    words = [str(photograph), "--backbone", LITE0, "--out", str(folder), "--device", device]
    heatmap.run(parse("heatmap", heatmap, words))


def _grace_hopper() -> Path:
    """The photograph that comes with matplotlib."""
    from matplotlib.cbook import get_sample_data

    return Path(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


def _train(folder: Path, args: Any) -> tuple[Path, float]:
    from fcnseg.cli.progress import Progress
    from fcnseg.cli.tables import print_scores
    from fcnseg.training import train

    with Progress() as progress:
        result = train(demo_config(folder, args.seed, args.device), progress)
    print_scores(result.evaluation.scores, result.evaluation.classes)
    print(f"wrote {result.folder}/ (checkpoint, log, curves, samples)")
    return result.best, result.best_score


def demo_config(folder: Path, seed: int, device: str) -> Any:
    """The settings of the demo's training."""
    from fcnseg.config import Size, TrainConfig

    return TrainConfig(
        data="shapes",
        train_length=960,
        val_length=60,
        image_size=Size(128, 128),
        seed=seed,
        backbone="efficientnet_lite0",
        variant="8s",
        epochs=4,
        batch_size=16,
        scale_min=0.8,
        scale_max=1.25,
        lr=1e-3,
        device=device,
        workers=1,
        run=str(folder / "shapes"),
        overwrite=True,
    )


def _predict(folder: Path, checkpoint: Path, args: Any) -> None:
    """Segment unseen shapes and show where the network sees them."""
    import numpy as np

    from fcnseg import render
    from fcnseg.build import load
    from fcnseg.cli import heatmap, predict_results
    from fcnseg.data.shapes import Shapes
    from fcnseg.inference.heatmap import prediction_maps
    from fcnseg.inference.heatmap_result import Heatmap
    from fcnseg.inference.predictor import Predictor

    predictor = Predictor(load(checkpoint), args.device)
    info = predictor.model.info
    # Seeds from another range than those of training and validation.
    source = Shapes("val", _SHOWN, size=(192, 256), seed=args.seed + 1)
    out = folder / "predictions"
    out.mkdir(parents=True, exist_ok=True)
    panels = []
    for index in range(len(source)):
        sample = source[index]
        prediction = predictor(sample.image)
        maps = prediction_maps(predictor, prediction)
        predict_results.write(
            prediction,
            {e: out / f"shapes-{index}{e}" for e in (".png", ".overlay.jpg", ".npz")},
        )
        seen = Heatmap(sample.image, maps, tuple(maps.top(4)), info.palette)
        heatmap.write(out, f"shapes-{index}", seen)
        panels.append(
            render.comparison(sample.image, sample.label, prediction.labels, info.palette)
        )
    sheet = render.write_image(folder / "predictions.png", np.concatenate(panels))
    print(f"wrote {sheet} (image, truth, prediction, difference)")
    print(f"wrote masks, overlays, scores and heatmaps of {_SHOWN} images to {out}")
