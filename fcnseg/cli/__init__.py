"""The ``fcnseg`` command: finds the chosen command, and turns errors into one line and a code.

Each command is a file here with ``HELP``, ``EXAMPLES``, ``add_arguments(parser)`` and
``run(args) -> int | None``; its name in :data:`COMMANDS` is all the registration there is.
Command files import torch and the like only inside ``run``.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from fcnseg import __version__
from fcnseg.checks import nearest
from fcnseg.cli.faults import exit_code_and_line
from fcnseg.errors import UsageError

COMMANDS = (
    *("demo", "heatmap", "classify", "train", "train-classifier", "eval", "predict"),
    *("check", "upper-bound", "explain", "export", "models"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        return _dispatch(words)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        code, line = exit_code_and_line(error, words[0] if words else "")
        if line:
            print(line, file=sys.stderr)
        return code


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"fcnseg {__version__}")
        return 0
    name = words[0]
    if name not in COMMANDS:
        hint = nearest(name, COMMANDS) or f"; the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"{name}: no such command{hint}")
    from fcnseg.cli.parser import parse

    command = _command(name)
    args = parse(name, command, words[1:])
    if args is None:
        return 0
    return command.run(args) or 0


def _command(name: str) -> ModuleType:
    return import_module(f"fcnseg.cli.{name.replace('-', '_')}")


def _overview() -> str:
    width = max(map(len, (*COMMANDS, "--debug"))) + 2
    rows = [f"  {name:<{width}}{_command(name).HELP}" for name in COMMANDS]
    return "\n".join(
        [
            "usage: fcnseg COMMAND [flags]",
            "",
            "Fully convolutional networks: classifiers in, heatmaps and segmentations out.",
            "",
            "commands:",
            *rows,
            "",
            "flags of every command:",
            f"  {'--help':<{width}}explain the command, with examples",
            f"  {'--debug':<{width}}show the traceback of an error",
            "",
            "fcnseg --version prints the version.",
        ]
    )
