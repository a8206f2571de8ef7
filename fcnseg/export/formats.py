"""The two kinds of files: written, and opened again to be run."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fcnseg.errors import EnvironmentFault, UsageError
from fcnseg.export.deployed import AXES, INPUT, refusing

FEWEST_OPSET = 18
"""The oldest operator set that torch writes ONNX for without a conversion that may fail."""

_DESCRIBED = "fcnseg.json"
_NEEDED = ("onnx", "onnxscript", "onnxruntime")

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        ending: of the file's name.
        title: what people call it.
        write: program, file, name of the output, facts as text, operator set or None -> what was
            written, for the card.
        run: file -> a function from images to what the program gives for them.
    """

    ending: str
    title: str
    write: Callable[[ExportedProgram, Path, str, Mapping[str, str], int | None], str]
    run: Callable[[Path], Run]


def check_installed(name: str) -> None:
    """Raise :class:`EnvironmentFault` unless the packages that a format needs are installed."""
    missing = [package for package in _NEEDED if find_spec(package) is None]
    if name == "onnx" and missing:
        raise EnvironmentFault(
            f"--format onnx: needs {', '.join(_NEEDED)}, missing {', '.join(missing)}; run "
            "pip install 'fcnseg[export]', or choose --format torch"
        )


def _write_torch(
    program: ExportedProgram, path: Path, output: str, facts: Mapping[str, str], opset: int | None
) -> str:
    del output, opset
    # An open file: torch wants a path to end in .pt2, and this one is renamed to that later.
    with open(path, "wb") as file, _quiet():
        torch.export.save(program, file, extra_files={_DESCRIBED: _as_json(facts)})
    return f"torch {torch.__version__.split('+')[0]}"


def _run_torch(path: Path) -> Run:
    module = torch.export.load(io.BytesIO(path.read_bytes())).module()

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            given: Tensor = module(images)
        return given

    return run


def _write_onnx(
    program: ExportedProgram, path: Path, output: str, facts: Mapping[str, str], opset: int | None
) -> str:
    refused = "--format onnx: this network cannot be written so"
    with refusing(refused, "choose --format torch"), _quiet():
        made = torch.onnx.export(
            program,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes=(AXES,),
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
        assert made is not None
        made.model.metadata_props.update(facts)
        made.save(path, external_data=False)
    found = made.model.opset_imports.get("", 0)
    if opset is not None and found != opset:
        raise UsageError(
            f"--opset {opset}: the network was written with operator set {found}, which could not "
            "be converted; leave the flag out"
        )
    return f"ONNX operator set {found}, by torch {torch.__version__.split('+')[0]}"


def _run_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    refused = f"--format onnx: onnxruntime {onnxruntime.__version__} does not load the file"
    with refusing(refused, "give a lower --opset"):
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {INPUT: images.numpy()})[0])

    return run


def _as_json(facts: Mapping[str, str]) -> str:
    import json

    return json.dumps(dict(facts), indent=1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch and onnxscript have to say of their own insides off stderr."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", "ONNX", _write_onnx, _run_onnx),
    "torch": Format(".pt2", "torch.export", _write_torch, _run_torch),
}


def described(info: Any) -> dict[str, str]:
    """What a file says of its network in itself, as texts in JSON: classes, colours, input."""
    import json
    from dataclasses import asdict

    return {
        "classes": json.dumps(list(info.classes)),
        "palette": json.dumps([list(colour) for colour in info.palette]),
        "preprocessing": json.dumps(asdict(info.preprocessing)),
        "short_side": json.dumps(info.short_side),
    }
