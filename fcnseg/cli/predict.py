"""``fcnseg predict``."""

from pathlib import Path
from typing import Any

HELP = "segment photographs: a mask and an overlay for each"
EXAMPLES = """\
fcnseg predict photos/ --checkpoint runs/x/best.safetensors
fcnseg predict photo.jpg --model torchvision/fcn_resnet50
fcnseg predict photo.jpg --model torchvision/fcn_resnet50 --weights fcn_resnet50_coco.pth
fcnseg predict a.jpg b.png --checkpoint runs/x/best.safetensors \\
    --out masks --scores"""


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.inputs import add_max_pixels
    from fcnseg.cli.segmenter import add_segmenter

    parser.add_argument("images", nargs="+", metavar="IMAGE", help="photographs, or folders")
    add_segmenter(parser)
    parser.add_argument(
        "--out", metavar="DIR", default="predictions", help="where to write (default predictions)"
    )
    parser.add_argument(
        "--scores", action="store_true", help="also write the class scores, one .npz an image"
    )
    parser.add_argument(
        "--device", metavar="auto|cpu|cuda|mps", default="auto", help="where to compute"
    )
    parser.add_argument(
        "--precision", metavar="auto|fp32|bf16|fp16", default="auto", help="mixed precision"
    )
    add_max_pixels(parser)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: Any) -> int:
    import numpy as np

    from fcnseg.cli.inputs import each_image, output_folder, photographs
    from fcnseg.cli.segmenter import check_segmenter, load_segmenter
    from fcnseg.cli.tables import print_json, print_table
    from fcnseg.inference.predictor import Predictor

    check_segmenter(args)
    paths = photographs(args.images)
    endings = [".png", ".overlay.jpg", *([".npz"] if args.scores else [])]
    folder = output_folder(args.out, paths, endings)
    predictor = Predictor(load_segmenter(args)[0], args.device, args.precision)
    info = predictor.model.info
    pixels = np.zeros(info.num_classes, dtype=np.int64)
    results: list[dict[str, Any]] = []

    def work(path: Path, image: Any) -> None:
        prediction = predictor(image, scores=args.scores, name=str(path))
        written = write(folder, path.stem, image, prediction, info)
        counts = np.bincount(prediction.labels.ravel(), minlength=info.num_classes)
        pixels[:] += counts
        shares = {
            name: float(n / counts.sum()) for name, n in zip(info.classes, counts, strict=True)
        }
        results.append(
            {"image": str(path), "shares": shares, "written": [str(file) for file in written]}
        )

    code = each_image(paths, work, args.max_pixels)
    if args.json:
        print_json(results)
        return code
    if not results:
        return code
    rows = []
    for name, count in zip(info.classes, pixels, strict=True):
        images = sum(result["shares"][name] > 0 for result in results)
        rows.append((name, f"{100 * count / max(pixels.sum(), 1):.2f}", str(images)))
    print_table("", ("class", "pixels %", "in images"), rows)
    each = "mask and overlay" + (" and scores" if args.scores else "")
    print(f"wrote {each} of {len(results)} images to {folder}")
    return code


def write(folder: Path, stem: str, image: Any, prediction: Any, info: Any) -> list[Path]:
    """Write the mask, the overlay with its legend and, where there are any, the scores."""
    import io

    import numpy as np

    from fcnseg import render
    from fcnseg.files import write_atomically

    picture = render.overlay(image, prediction.labels, info.palette)
    if picture.shape[1] >= 100:
        names, width = info.classes, picture.shape[1]
        strip = render.legend(prediction.labels, names, info.palette, width)
        picture = np.concatenate([picture, strip])
    written = [
        render.write_mask(folder / f"{stem}.png", prediction.labels, info.palette),
        render.write_image(folder / f"{stem}.overlay.jpg", picture),
    ]
    if prediction.scores is not None:
        numbers = io.BytesIO()
        np.savez_compressed(numbers, score=prediction.scores, classes=np.array(info.classes))
        written.append(write_atomically(folder / f"{stem}.npz", numbers.getvalue()))
    return written
