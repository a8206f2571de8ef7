"""PASCAL VOC in the stages of the paper: FCN-32s, then 16s, then 8s, each from the last.

Trains VGG16 with the published recipe (SBD's training list, one image a step, SGD with momentum
0.99, summed loss, padding of 100; CVPR 2015, section 4) and scores every stage on seg11valid, the
736 images of VOC's validation list that are not in SBD's training list. The steps are commands of
fcnseg, printed as they start; --dry-run prints them alone. A training that is ended by Ctrl-C or
SIGTERM saves first; --resume goes on from there.

    python tools/train_voc.py --data-root DATA --download
    python tools/train_voc.py --data-root DATA --stages 32s --run runs/fcn32s --dry-run
    python tools/train_voc.py --data-root DATA --backbone alexnet -- --iterations 200 --device cpu
"""

import argparse
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_STAGES = ("32s", "16s", "8s", "8s-atonce")


def commands(args: argparse.Namespace) -> list[list[str]]:
    """The words behind ``fcnseg`` of the training and of the scoring of each stage."""
    data = ["--data", "voc-aug", "--data-root", args.data_root, "--val-split", args.val_split]
    train = ["train", *data, "--train-split", "sbd-train", "--recipe", "paper"]
    train += ["--backbone", args.backbone, "--stages", args.stages, "--run", args.run]
    for flag in ("download", "resume"):
        train += [f"--{flag}"] if getattr(args, flag) else []
    scored = [
        ["eval", "--checkpoint", str(Path(args.run) / stage / "best.safetensors"), *data]
        for stage in args.stages.split(",")
    ]
    return [[*train, *args.more], *scored]


def run_in_turn(turns: Sequence[Sequence[str]]) -> int:
    """Run commands of fcnseg; the exit code of the first that fails, 128 + N for signal N.

    A training saves before it ends, and this process waits for it: Ctrl-C reaches both from the
    terminal, SIGTERM is handed on.
    """
    child: subprocess.Popen[bytes] | None = None
    heard = 0

    def hear(number: int, _: Any) -> None:
        nonlocal heard
        heard = number
        if number == signal.SIGTERM and child is not None:
            child.terminate()

    # Handlers, not SIG_IGN, which the child would inherit.
    before = {n: signal.signal(n, hear) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        for turn in turns:
            print(shlex.join(["fcnseg", *turn]), flush=True)
            child = subprocess.Popen([sys.executable, "-m", "fcnseg", *turn])
            if heard == signal.SIGTERM:  # while it was being started
                child.terminate()
            code = child.wait()
            if code or heard:
                return 128 - code if code < 0 else code or 128 + heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """Run the commands in turn; ends with the code of the first that fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", required=True, help="folder with VOC 2011 or 2012 and SBD")
    parser.add_argument("--download", action="store_true", help="fetch what is missing there")
    parser.add_argument("--val-split", default="seg11valid", help="default seg11valid")
    parser.add_argument("--backbone", default="vgg16", help="default vgg16")
    parser.add_argument("--run", default="runs/voc-paper", help="default runs/voc-paper")
    parser.add_argument("--stages", default="32s,16s,8s", help="default 32s,16s,8s")
    parser.add_argument("--resume", action="store_true", help="go on with the training in --run")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and end")
    parser.add_argument("more", nargs="*", metavar="-- FLAG", help="further flags of fcnseg train")
    args = parser.parse_args(words)
    unknown = [stage for stage in args.stages.split(",") if stage not in _STAGES]
    if unknown:
        parser.error(f"--stages {args.stages}: expected some of {','.join(_STAGES)}, got {unknown}")
    if not args.dry_run:
        return run_in_turn(commands(args))
    for command in commands(args):
        print(shlex.join(["fcnseg", *command]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
