"""``fcnseg predict``."""

import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

HELP = "segment photographs: a mask and an overlay for each"
EXAMPLES = """\
fcnseg predict photos/ --checkpoint runs/x/best.safetensors
fcnseg predict photo.jpg --model torchvision/fcn_resnet50
fcnseg predict photo.jpg --model torchvision/fcn_resnet50 --weights fcn_resnet50_coco.pth
fcnseg predict a.jpg b.png --checkpoint runs/x/best.safetensors \\
    --out masks --scores
fcnseg predict 'photos/**/*.jpg' --checkpoint runs/x/best.safetensors --tta
fcnseg predict @list.txt --checkpoint runs/x/best.safetensors --coco masks.json
fcnseg predict map.tif --checkpoint runs/x/best.safetensors --tile 1024
fcnseg predict archive/ --checkpoint runs/x/best.safetensors \\
    --skip-existing --shard 2/8
torchrun --nproc-per-node 4 -m -- fcnseg predict archive/ \\
    --checkpoint runs/x/best.safetensors"""

_ON_GPU = 8  # images in a batch
_VOC_TEST = ("comp5", "comp6")


def add_arguments(parser: Any) -> None:
    from fcnseg.cli.inputs import IMAGES_HELP, add_max_pixels
    from fcnseg.cli.segmenter import add_segmenter

    parser.add_argument("images", nargs="+", metavar="IMAGE", help=IMAGES_HELP)
    group = parser.add_argument_group("network")
    add_segmenter(group)
    group.add_argument(
        "--device", metavar="auto|cpu|cuda|mps", default="auto", help="where to compute"
    )
    group.add_argument(
        "--precision", metavar="auto|fp32|bf16|fp16", default="auto", help="mixed precision"
    )
    group.add_argument(
        "--batch-size",
        metavar="auto|N",
        default="auto",
        help="files that are computed together, those of one size in one pass (default auto: 1 on "
        f"the CPU, {_ON_GPU} on GPUs; 1 with --tile); other sizes may differ in the last bits of "
        "the scores",
    )
    group.add_argument(
        "--tile",
        metavar="N|auto",
        help="cut larger photographs into tiles of N pixels, a multiple of the network's stride "
        "such as 1024; auto: by the memory that is free",
    )
    group.add_argument(
        "--overlap",
        metavar="M|full",
        help="pixels that tiles share; full: as many as the scores of the whole photograph take; "
        "default: the same, but half a tile at most; less is faster and less exact",
    )
    group.add_argument(
        "--tta",
        metavar="SCALES,flip",
        nargs="?",
        const="0.75,1,1.25,flip",
        help="average over scaled and mirrored views (alone: 0.75,1,1.25,flip)",
    )
    add_max_pixels(group)
    _add_results(parser.add_argument_group("results"))
    _add_archives(parser.add_argument_group("archives"))


def _add_results(group: Any) -> None:
    group.add_argument(
        "--out",
        metavar="DIR",
        default="predictions",
        help="where to write (default predictions); folders are mirrored in it",
    )
    group.add_argument("--no-overlay", action="store_true", help="write no overlays")
    group.add_argument(
        "--scores", action="store_true", help="also write the class scores, one .npz an image"
    )
    group.add_argument(
        "--coco", metavar="FILE", help="also write one COCO json: a region of each class an image"
    )
    group.add_argument(
        "--voc-test",
        metavar="|".join(_VOC_TEST),
        help="write masks alone, in the folders that the VOC 2012 test server takes",
    )
    group.add_argument("--json", action="store_true", help="print JSON in place of the table")


def _add_archives(group: Any) -> None:
    group.add_argument(
        "--skip-existing",
        action="store_true",
        help="compute only what has no results yet: goes on where a run was broken off",
    )
    group.add_argument(
        "--shard",
        metavar="i/n",
        help="compute the i-th of n shares, i from 1; torchrun's processes take one each by "
        "themselves",
    )


def run(args: Any) -> int:
    from fcnseg.cli.inputs import output_folder
    from fcnseg.cli.predict_plan import chunks_of_shard, endings, place_of_results
    from fcnseg.cli.segmenter import check_segmenter, load_segmenter
    from fcnseg.cli.shards import device_of, end_with_others, read_shard
    from fcnseg.engine.interrupt import Interruption

    check_segmenter(args)
    shard = read_shard(args.shard)
    settings, batch_size = _settings(args), _batch_size(args.batch_size)
    jobs, coco = _jobs(args, shard)
    with Interruption():
        import torch

        from fcnseg.inference.predictor import Predictor, check_tiles
        from fcnseg.segmenters import describe_segmenter

        device = device_of(args.device, shard, torch.cuda.device_count())
        if args.model is not None:  # before any download
            check_tiles(describe_segmenter(args.model), args.tile, args.overlap)
        model = load_segmenter(args)[0]
        _check_voc(args, model.info.classes)
        found = [job.photograph for job in jobs]
        output_folder(str(place_of_results(args)), found, endings(args))
        predictor = Predictor(model, device, args.precision, **settings)
        if predictor.tile is not None:
            print(_of_tiles(predictor), file=sys.stderr)
        if args.tile is not None:
            batch_size = 1  # tiles of two photographs never share a pass
        elif batch_size is None:
            batch_size = 1 if predictor.device.type == "cpu" else _ON_GPU
        chunks = chunks_of_shard(jobs, batch_size, shard)
        code = _segment(args, chunks, predictor, shard, coco)
        end_with_others(shard, code)
    return code


def _of_tiles(predictor: Any) -> str:
    """What is to be known of the tiles that a photograph is cut into."""
    tiling = predictor.tiling(predictor.tile)
    cut = f"note: tiles of {tiling.size} px overlap by {tiling.overlap}"
    if predictor.sees_all:
        return (
            f"{cut}; a layer of this network averages over the whole image (squeeze-excite), in "
            "tiles over the tile, so scores differ from those of the whole"
        )
    if tiling.exact:
        return f"{cut} and give the scores of the whole photograph"
    return (
        f"{cut}, this network sees {tiling.margin} to each side: labels near seams may differ from "
        f"those of the whole; --overlap full is exact, from --tile {tiling.least_exact} on"
    )


def _batch_size(text: str) -> int | None:
    """The count of ``--batch-size``, None for auto; raises :class:`UsageError` for others."""
    from fcnseg.cli.inputs import whole_number

    if text == "auto":
        return None
    expected = "auto, or a number of images from 1 up"
    return whole_number("--batch-size", text, expected, 10**6)


def _settings(args: Any) -> dict[str, Any]:
    """Tiles and views; raises :class:`UsageError` for flags that are wrong."""
    from fcnseg.checks import check_choice
    from fcnseg.cli.inputs import whole_number
    from fcnseg.inference.views import read_views

    if args.voc_test is not None:
        check_choice("--voc-test", args.voc_test, _VOC_TEST)
    settings: dict[str, Any] = {}
    for name, word in (("tile", "auto"), ("overlap", "full")):
        text = getattr(args, name)
        if text is not None and text != word and text != "0":
            text = whole_number(f"--{name}", text, f"a number of pixels or {word}", 10**9)
        settings[name] = 0 if text == "0" else text
    settings["views"] = None if args.tta is None else read_views(args.tta)
    return settings


def _jobs(args: Any, shard: Any) -> tuple[list[Any], Path | None]:
    """What there is to do, and the COCO json of this shard.

    Raises the errors of names and of flags.
    """
    from fcnseg.cli.finding import Photograph
    from fcnseg.cli.inputs import check_stems, photographs
    from fcnseg.cli.predict_plan import check_place, coco_path, endings, jobs_of, place_of_results

    kinds = endings(args)
    check_place(args)
    found = photographs(args.images, args.out)
    if args.voc_test is not None:  # the server wants one folder
        found = [Photograph(one.path, one.path.name) for one in found]
        check_stems(found)
    jobs = jobs_of(found, place_of_results(args), kinds)
    return jobs, coco_path(args, shard, jobs)


def _check_voc(args: Any, classes: Any) -> None:
    from fcnseg.data.voc import CLASSES
    from fcnseg.errors import UsageError

    if args.voc_test is not None and tuple(classes) != CLASSES:
        raise UsageError(
            f"--voc-test: the server scores the {len(CLASSES)} classes of PASCAL VOC in their "
            f"order, this network has {len(classes)}, from {classes[0]} to {classes[-1]}; take "
            "one trained on VOC"
        )


def _segment(
    args: Any, chunks: list[list[Any]], predictor: Any, shard: Any, coco: Path | None
) -> int:
    """Compute the chunks of this shard, and say what came of it; returns the exit code."""
    from fcnseg.cli.inputs import passed_over
    from fcnseg.cli.predict_plan import without_existing
    from fcnseg.cli.predict_results import Stages
    from fcnseg.cli.predict_summary import Summary
    from fcnseg.errors import Interrupted
    from fcnseg.files import remove_leftovers
    from fcnseg.inference.coco_results import categories_of, coco_results
    from fcnseg.inference.flow import overlapped

    classes = predictor.info.classes
    written = [path for chunk in chunks for job in chunk for path in job.results.values()]
    remove_leftovers([*written, *([coco] if coco else [])])
    if args.skip_existing:
        chunks = [without_existing(chunk) for chunk in chunks]
    count, bad = sum(map(len, chunks)), 0
    summary = Summary(classes, args.json)
    tiled = args.tile is not None
    stages = Stages(predictor, args.max_pixels, tiled, categories_of(classes) if coco else None)
    with ExitStack() as opened:
        results = opened.enter_context(coco_results(coco, classes)) if coco else None
        # Scores are large: no others than those of one chunk are in memory.
        alone: dict[str, int] = {"writers": 1, "behind": 0} if args.scores else {}
        flow = overlapped(chunks, stages.read, stages.compute, stages.write, **alone)
        opened.enter_context(closing(flow))
        try:
            for number, outcome in enumerate(flow, start=1):
                job, result = outcome.item, outcome.result
                if result is None:
                    print(f"error: {outcome.error}", file=sys.stderr)
                    bad += 1
                    continue
                if count > 1 and not job.there:
                    print(f"{number}/{count}  {job.photograph}", file=sys.stderr)
                if results is not None:
                    name = job.photograph.name
                    results.add(job.number + 1, name, result.size, result.regions)
                summary.add(job, result)
        except Interrupted as error:
            advice = "results that are there are whole; --skip-existing goes on after them"
            raise Interrupted(f"{error}; {advice}", error.exit_code) from None
    summary.tell(args, shard, coco)
    return passed_over(bad, count)
