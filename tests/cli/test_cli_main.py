"""The frame around the commands: help, exit codes, one line for each error."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import fcnseg.cli as cli
from fcnseg.cli.faults import exit_code_and_line
from fcnseg.cli.parser import parser_of
from fcnseg.errors import (
    AlreadySaid,
    DataError,
    EnvironmentFault,
    Interrupted,
    NumericError,
    UsageError,
    WeightsError,
)


def test_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"\n  {name} " in text
    assert cli.main([]) == 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from fcnseg import __version__

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fcnseg {__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_each_command_has_worked_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: fcnseg {name}")
    assert f"examples:\n  fcnseg {name}" in text


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["train", "--print-config"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from fcnseg.cli import main\n"
        f"main({words!r})\n"
        "heavy = {'torch', 'cv2', 'albumentations', 'matplotlib', 'numpy', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_module_runs() -> None:
    done = subprocess.run([sys.executable, "-m", "fcnseg", "trian"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: trian: no such command; did you mean 'train'?\n"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "--epohcs", "3"], "--epohcs: no such flag of fcnseg train; did you mean '--ep"),
        (["train", "--epochs"], "--epochs: expected one argument"),
        (["train", "--epochs", "x"], "--epochs: expected a whole number, got 'x'"),
        (["train", "extra"], "extra: no such flag of fcnseg train"),
        (["train", "--config", "none.yaml"], "none.yaml: No such file or directory"),
        (["train", "--lr", "nan", "--variant", "4s"], "--lr: expected a finite number, got 'nan'"),
        (["eval"], "--checkpoint: missing"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {line}")
    assert error.count("\n") == 1


def flags_of(name: str) -> set[str]:
    parser = parser_of(name, import_module(f"fcnseg.cli.{name.replace('-', '_')}"))
    return {flag for flag in parser._option_string_actions if flag.startswith("--")}


def test_every_flag_that_a_text_names_is_a_flag_of_a_command() -> None:
    known = {"--version", "--help"}.union(*(flags_of(name) for name in cli.COMMANDS))
    known |= {"--nproc-per-node", "--run-path", "--master-addr", "--rdzv-endpoint"}  # torchrun's
    unknown = []
    for path in sorted(Path(cli.__file__).parents[1].rglob("*.py")):
        if path.name.endswith("_style.py"):
            continue  # a style sheet: its variables begin like flags
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", node.value))
                unknown += [f"{path}:{node.lineno}: {flag}" for flag in found - known]
    assert unknown == []


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("a\nb"), 2, "error: a b"),
        (DataError("x"), 3, "error: x"),
        (WeightsError("x"), 4, "error: x"),
        (EnvironmentFault("x"), 5, "error: x"),
        (NumericError("x"), 6, "error: x"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (Interrupted("interrupted by SIGINT; x", 130), 130, "error: interrupted by SIGINT; x"),
        (Interrupted("x"), 143, "error: x"),
        (BrokenPipeError(), 141, ""),
        (OSError(28, "No space left on device", "f"), 5, "error: f: No space left on device"),
        (OutOfMemoryError("CUDA out of memory. Tried"), 5, "out of memory (CUDA out of memory);"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 5, "can't allocate memory);"),
        (MemoryError(), 5, "out of memory (the system has no more)"),
    ],
)
def test_every_error_has_its_code_and_line(error: BaseException, code: int, line: str) -> None:
    got_code, got_line = exit_code_and_line(error)
    assert got_code == code
    assert line in got_line
    assert "\n" not in got_line


def test_what_another_process_says_is_not_said_again() -> None:
    assert exit_code_and_line(AlreadySaid("a.png: broken; mend it", 3)) == (3, "")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_out_of_memory_names_flags_of_the_command_alone(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Any) -> None:
        raise MemoryError

    fake = SimpleNamespace(HELP="x", EXAMPLES="x", add_arguments=lambda p: None, run=fail)
    known = flags_of(name)
    monkeypatch.setattr(cli, "_command", lambda name: fake)
    assert cli.main([name]) == 5
    named = set(re.findall(r"--[a-z-]+", capsys.readouterr().err))
    assert named <= known
    training = ("train", "train-classifier")
    assert bool(named) == (name in (*training, "eval", "heatmap", "predict", "classify"))


def test_bugs_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        exit_code_and_line(RuntimeError("a bug"))


def test_debug_shows_the_error_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Any) -> None:
        raise DataError("broken")

    fake = SimpleNamespace(HELP="x", EXAMPLES="x", add_arguments=lambda p: None, run=fail)
    monkeypatch.setattr(cli, "_command", lambda name: fake)
    assert cli.main(["models"]) == 3
    assert capsys.readouterr().err == "error: broken\n"
    with pytest.raises(DataError):
        cli.main(["models", "--debug"])
