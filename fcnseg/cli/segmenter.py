"""Which segmentation network: a checkpoint of ours, or one of torchvision by its name."""

from collections.abc import Sequence
from typing import Any

from fcnseg.errors import UsageError


def add_segmenter(parser: Any, weighed: str = "--model") -> None:
    """The flags ``--checkpoint``, ``--model`` and ``--weights``.

    ``weighed`` is what ``--weights`` belongs to.
    """
    parser.add_argument("--checkpoint", metavar="CKPT", help="a network of fcnseg train")
    parser.add_argument(
        "--model",
        metavar="torchvision/NAME",
        help="a segmentation network of torchvision in place of a checkpoint: VOC's classes, "
        "nothing to train; sees photographs at a short side of 520 pixels, gives masks of their "
        "own size (fcn_resnet50, fcn_resnet101, deeplabv3_resnet50, ...)",
    )
    parser.add_argument(
        "--weights",
        metavar="auto|FILE",
        help=f"weights of {weighed}: auto downloads the published ones once (default), or a file",
    )


def check_segmenter(args: Any, others: Sequence[str] = (), required: bool = True) -> None:
    """Refuse flags of the network that do not go together.

    Args:
        args: the flags of :func:`add_segmenter`, and ``others``.
        others: names of flags that neither kind of network has a use for.
        required: there must be one of the two kinds.

    Raises:
        UsageError: they do not go together.
    """
    if args.weights == "none":
        raise UsageError("--weights none: a network without weights sees nothing; give a FILE")
    if args.checkpoint is None and args.model is None:
        if required:
            raise UsageError(
                "--checkpoint: missing; give the file of a network of fcnseg train, or --model "
                "torchvision/fcn_resnet50 for one with nothing to train"
            )
        return
    if args.checkpoint is not None and args.model is not None:
        raise UsageError("--checkpoint, --model: name two networks; give one of them")
    chosen = "model" if args.checkpoint is None else "checkpoint"
    for name in others if chosen == "model" else ("weights", *others):
        if getattr(args, name) is not None:
            raise UsageError(
                f"--{name}: the network of --{chosen} has its own; leave one of the two out"
            )


def load_segmenter(args: Any) -> tuple[Any, str]:
    """The network that the flags name, and what messages call it.

    Returns:
        (a :class:`fcnseg.model.Segmenter` in evaluation mode on the CPU, its file or name).

    Raises:
        UsageError: no network of that name.
        WeightsError: the file or the weights cannot be had or do not fit.
    """
    from fcnseg import segmenters
    from fcnseg.build import load
    from fcnseg.cli.progress import Progress
    from fcnseg.engine.events import Notice, downloading

    if args.model is None:
        return load(args.checkpoint), args.checkpoint
    with Progress() as progress:
        model = segmenters.load_segmenter(args.model, args.weights or "auto", downloading(progress))
        seen = f"sees photographs at a short side of {model.info.short_side} pixels"
        progress(Notice(f"{args.model}: loaded, {seen}"))
    return model, args.model
