"""A network as a file for other runtimes: ONNX, or a program of ``torch.export``.

``deployed.py`` says what is exported, ``formats.py`` writes and opens the files,
``comparison.py`` holds them against PyTorch, and ``card.py`` writes the model card.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnseg.checks import check_choice
from fcnseg.errors import NumericError, UsageError
from fcnseg.export.card import Card, model_card
from fcnseg.export.comparison import Compared, compare
from fcnseg.export.deployed import Deployed, recorded
from fcnseg.export.formats import FEWEST_OPSET, FORMATS, check_installed, described
from fcnseg.files import replacing, sha256_of, write_atomically
from fcnseg.model import Segmenter


@dataclass(frozen=True)
class Exported:
    """What :func:`export` wrote.

    Attributes:
        path: the file.
        card: the model card beside it, Markdown.
        sha256: of the file, in hex.
        compared: the file beside PyTorch, size by size.
    """

    path: Path
    card: Path
    sha256: str
    compared: tuple[Compared, ...]


def export(
    model: Segmenter,
    path: str | Path,
    format: str = "onnx",
    *,
    preprocess: bool = False,
    argmax: bool = False,
    opset: int | None = None,
    settings: Mapping[str, Any] | None = None,
    said: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write a network to a file for other runtimes, compare it with PyTorch, and write its card.

    The file takes (N, 3, H, W) RGB images, any N, H and W from 1 up: float32, preprocessed, or
    with ``preprocess`` uint8. It gives (N, K, H, W) float32 scores before any softmax, or with
    ``argmax`` (N, H, W) uint8 class ids.

    Args:
        model: an FCN or another segmenter; moved to the CPU and into evaluation mode.
        path: ends in ``.onnx`` or ``.pt2``, as the format has it.
        format: ``"onnx"`` or ``"torch"``.
        preprocess: the normalisation is part of the program.
        argmax: so is the choice of the best class.
        opset: the ONNX operator set, 18 or later; None: what torch prefers.
        settings: of the training, for the card.
        said: told what is being done, a line at a time.

    Raises:
        UsageError: a format, a name or an operator set that does not fit, or a network that
            cannot be written so.
        EnvironmentFault: packages are missing, or the disk refuses.
        NumericError: the file differs from PyTorch by more than 1e-4, or where scores reach more
            than 10, by more than 1e-5 of the largest; no file is left.
    """
    path = check_target(path, format, opset)
    deployed = Deployed(model.to("cpu").eval(), preprocess, argmax).eval()
    kind, info = FORMATS[format], model.info
    said(f"recording the network with torch.export for {path}")
    program = recorded(deployed, str(path))
    with replacing(path) as temporary:
        said(f"writing it as {kind.title}")
        written = kind.write(program, temporary, deployed.output, described(info), opset)
        del program
        said("comparing the file with PyTorch")
        compared = compare(deployed, kind.run(temporary))
        for one in compared:
            if not one.close:
                n, height, width = one.size
                raise NumericError(
                    f"{path}: not written, because at {n}x{height}x{width} px it differs from "
                    f"PyTorch by {one.difference:.1e} (expected up to {one.most:.1e}, as scores "
                    f"reach {one.largest:.3g}); choose another --format or --opset"
                )
        digest, size = sha256_of(temporary), temporary.stat().st_size
        facts = Card(path, format, written, digest, size, deployed, tuple(compared), settings or {})
        # The card first: nobody finds a file without it.
        card = write_atomically(path.with_name(f"{path.name}.md"), model_card(facts).encode())
    return Exported(path, card, digest, tuple(compared))


def check_target(path: str | Path, format: str, opset: int | None) -> Path:
    """The path to write to, once name, format and operator set go together.

    Raises:
        UsageError: they do not.
        EnvironmentFault: packages that the format needs are missing.
    """
    check_choice("--format", format, list(FORMATS))
    path, ending = Path(path), FORMATS[format].ending
    if path.suffix.lower() != ending:
        raise UsageError(
            f"--out {path}: expected a name that ends in {ending} for --format {format}"
        )
    if path.is_dir():
        raise UsageError(f"--out {path}: expected a name for a file, got a folder")
    if opset is not None and format != "onnx":
        raise UsageError("--opset: is for --format onnx; leave it out")
    if opset is not None and opset < FEWEST_OPSET:
        raise UsageError(f"--opset: expected {FEWEST_OPSET} or later, got {opset}")
    check_installed(format)
    return path
