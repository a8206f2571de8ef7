"""Out of memory: one line that says what to lower, and no second try with another batch."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from fcnseg.cli import faults, main
from fcnseg.cli.faults import exit_code_and_line
from fcnseg.cli.parser import parse
from fcnseg.engine import segmentation

CUDA = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 78.00 GiB of "
    "which 1.00 GiB is free. Process 1 has 77.00 GiB memory in use. See documentation."
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 1099511627776 bytes. Error code 12 (Cannot allocate memory)"
)
SHORT = ["--data", "shapes", "--train-length", "4", "--val-length", "2", "--image-size", "64"]


@pytest.mark.parametrize("command", sorted(faults._LESS_MEMORY))
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(CUDA),
        RuntimeError(CPU),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "cublas", "python"],
)
def test_every_kind_is_one_line_with_flags_of_the_command(
    command: str, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = exit_code_and_line(error, command)
    assert code == 5
    assert re.fullmatch(r"error: out of memory \([^;\n]+\); [^\n]+", line)
    flags = re.findall(r"--[a-z-]+", line.partition(";")[2])
    parse(command, import_module(f"fcnseg.cli.{command.replace('-', '_')}"), ["--help"])
    shown = capsys.readouterr().out
    assert flags
    assert [flag for flag in flags if flag not in shown] == []


def test_it_says_how_much_was_wanted() -> None:
    _, line = exit_code_and_line(torch.OutOfMemoryError(CUDA), "train")
    assert line == (
        "error: out of memory (CUDA out of memory. Tried to allocate 2.00 GiB); lower --batch-size "
        "(and raise --accumulate as much) or --crop-size, or choose a smaller --backbone"
    )


def test_a_training_ends_and_keeps_its_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[int] = []

    def full(score: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        tried.append(len(score))
        raise torch.OutOfMemoryError(CUDA)

    monkeypatch.setattr(segmentation, "cross_entropy", full)
    run = ["--run", str(tmp_path / "run"), "--workers", "0", "--device", "cpu"]
    network = ["--backbone", "small_cnn", "--weights", "none", "--crop-size", "64"]
    code = main(["train", *SHORT, *run, *network, "--batch-size", "3"])
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert code == 5
    assert tried == [3]
    assert len(errors) == 1
    assert re.match(r"error: out of memory \(CUDA.*2\.00 GiB\); lower --batch-size", errors[0])
