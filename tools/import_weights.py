"""Published segmentation networks as files of fcnseg.

    python tools/import_weights.py caffe fcn8s-heavy-pascal.caffemodel --variant 8s -o fcn8s.safetensors
    python tools/import_weights.py torchfcn model_best.pth.tar --variant 32s -o fcn32s.safetensors
    python tools/import_weights.py torchvision fcn_resnet50.pth -o fcn_resnet50.safetensors

caffe: a .caffemodel of Berkeley's FCNs on VGG16. torchfcn: a state dict or a checkpoint of
pytorch-fcn. Both become a checkpoint, as fcnseg train writes them. torchvision: a state dict of
one of its segmentation networks, checked and rewritten for --model torchvision/NAME --weights.

Nothing in the file is executed. Every tensor is accounted for, or the file is refused.
"""  # noqa: E501

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from fcnseg.checks import check_choice
from fcnseg.cli.faults import exit_code_and_line
from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.heads import VARIANTS
from fcnseg.weights.published import SOURCES


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see --help")


def main(words: Sequence[str] | None = None) -> int:
    """Import what the command line says and return the exit code."""
    try:
        run(words)
    except (Exception, KeyboardInterrupt) as error:
        code, line = exit_code_and_line(error)
        print(line, file=sys.stderr)
        return code
    return 0


def run(words: Sequence[str] | None) -> None:
    """Parse, import, write, and say what to do next."""
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE", help="torchfcn, caffe or torchvision")
    parser.add_argument("file", metavar="FILE", help="the published weights")
    parser.add_argument(
        "--variant", metavar="|".join(VARIANTS), help="which FCN it is (torchfcn and caffe)"
    )
    parser.add_argument("-o", "--out", required=True, metavar="OUT", help="a .safetensors file")
    parser.add_argument(
        "--classes",
        metavar="a,b,c|FILE",
        help="names of the classes (default: PASCAL VOC's where there are 21, numbers otherwise)",
    )
    args = parser.parse_args(words)
    check_choice("SOURCE", args.source, [*SOURCES, "torchvision"])
    out = Path(args.out)
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: expected a name that ends in .safetensors")
    if not out.parent.is_dir():
        raise EnvironmentFault(f"--out {out}: there is no folder {out.parent}; make it first")
    next_step = torchvision(args, out) if args.source == "torchvision" else fcn(args, out)
    print(f"wrote {out}; next: {next_step}")


def fcn(args: argparse.Namespace, out: Path) -> str:
    """Write a published FCN as a checkpoint; returns the command that uses it."""
    from fcnseg.engine.checkpoint import save_model
    from fcnseg.imports import import_fcn
    from fcnseg.sources import read_classes

    if args.variant is None:
        raise UsageError(f"--variant: missing; expected one of {', '.join(VARIANTS)}")
    classes, palette = read_classes(args.classes) if args.classes else (None, None)
    model = import_fcn(args.source, args.file, args.variant, classes, palette, report=say)
    save_model(out, model)
    return f"fcnseg predict photo.jpg --checkpoint {out}"


def torchvision(args: argparse.Namespace, out: Path) -> str:
    """Write the tensors of torchvision's network; returns the command that uses them."""
    from fcnseg.engine.tensors import write_tensors
    from fcnseg.imports import import_segmenter

    for flag in ("variant", "classes"):
        if getattr(args, flag) is not None:
            raise UsageError(f"--{flag}: torchvision's networks have their own; leave it out")
    model = import_segmenter(args.file, report=say)
    write_tensors(out, model.state_dict(), {"kind": "segmenter", "name": model.info.name})
    return f"fcnseg predict photo.jpg --model {model.info.name} --weights {out}"


def say(line: str) -> None:
    """Print a message at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
