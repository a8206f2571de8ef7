"""Flags: the parser of a command, and the settings of a configuration as flags."""

import re
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from types import ModuleType
from typing import Any, get_args

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from fcnseg.checks import nearest
from fcnseg.config import DataConfig, TrainConfig
from fcnseg.errors import UsageError
from fcnseg.settings import Size, flag_name

DATA_SETTINGS = tuple(item.name for item in fields(DataConfig))


def parser_of(name: str, command: ModuleType) -> ArgumentParser:
    """The parser of the command ``name``, which is the file ``command``."""
    parser = ArgumentParser(
        prog=f"fcnseg {name}",
        description=command.HELP[0].upper() + command.HELP[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in command.EXAMPLES.splitlines()),
        formatter_class=RawDescriptionHelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def parse(name: str, command: ModuleType, words: Sequence[str]) -> Namespace | None:
    """Parse the words after the command's name; ``None`` if only help was wanted.

    Raises :class:`UsageError` in one line, with the nearest flag for an unknown one.
    """
    parser = parser_of(name, command)
    if "-h" in words or "--help" in words:
        parser.print_help()
        return None
    try:
        return parser.parse_args(list(words))
    except ArgumentError as error:
        raise UsageError(_explain(str(error), name, parser)) from None


def add_settings(
    parser: Any,
    title: str,
    names: Iterable[str],
    changed_help: dict[str, str] | None = None,
    kind: type[Any] = TrainConfig,
) -> None:
    """Add settings of a configuration, the data class ``kind``, as flags under a heading.

    A flag that is not given leaves no value behind; :func:`given` collects the others, as text,
    so that flags and YAML are read and refused by the same code.
    """
    group = parser.add_argument_group(title)
    known = {item.name: item for item in fields(kind)}
    for name in names:
        item = known[name]
        text = (changed_help or {}).get(name, item.metadata["help"])
        if item.type is bool:
            group.add_argument(flag_name(name), action="store_true", default=SUPPRESS, help=text)
            continue
        default = "" if item.default is None else f" (default {item.default})"
        group.add_argument(
            flag_name(name),
            type=str,
            default=SUPPRESS,
            metavar=_placeholder(name, item.type, item.metadata.get("choices")),
            help=f"{text}{default}".replace("%", "%%"),
        )


def given(args: Namespace, kind: type[Any] = TrainConfig) -> dict[str, Any]:
    """The settings of a configuration, the data class ``kind``, that were given as flags."""
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in vars(args).items() if name in names}


def _placeholder(name: str, declared: Any, choices: Sequence[str] | None) -> str:
    if choices:
        return "|".join(map(str, choices))
    types = get_args(declared) or (declared,)
    if Size in types:
        return "HxW|N"
    if int in types:
        return "N"
    if float in types:
        return "X"
    words = {"data_root": "DIR", "init_from": "CKPT", "backbone": "NAME", "classes": "a,b|FILE"}
    words |= {"weights": "auto|none|FILE", "device": "auto|cpu|cuda"}
    words |= {"class_weights": "none|auto|FILE", "data": "NAME|FILE.py"}
    words |= {
        "train_split": "NAME",
        "val_split": "NAME",
        "mask_suffix": "TEXT",
        "save_every": "N|Nm|none",
        "stages": "32s,16s,8s",
        "mask_void": "N|#rrggbb",
    }
    if name.endswith(("images", "masks")) or name in ("run", "cache"):
        return "DIR"
    if name.endswith("annotations"):
        return "FILE"
    return words.get(name, name.upper())


def _explain(text: str, name: str, parser: Any) -> str:
    flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
    unknown = re.match(r"unrecognized arguments: (.*)", text, re.DOTALL)
    if unknown:
        words = unknown[1].split()
        first = next((word for word in words if word.startswith("-")), words[0])
        return f"{first}: no such flag of fcnseg {name}{nearest(first.split('=')[0], flags)}"
    typed = re.match(r'Parser key "(\w+)":\s*(.*)', text, re.DOTALL)
    if typed:
        kinds = {"int": "a whole number", "float": "a number", "str": "text"}
        reason = re.sub(r"<class '(\w+)'>", lambda m: kinds.get(m[1], m[1]), typed[2])
        reason = re.sub(r"\. Got value:", ", got", reason).replace("Expected a ", "expected ")
        reason = reason.replace("expected a a ", "expected a ")
        return f"{flag_name(typed[1])}: {' '.join(reason.split())}"
    required = re.match(r"the following arguments are required: (.*)", text, re.DOTALL)
    if required:
        names = [flag_name(n) if flag_name(n) in flags else n for n in required[1].split(", ")]
        return f"{', '.join(names)}: missing; see fcnseg {name} --help"
    return re.sub(r"^argument (\S+):", r"\1:", " ".join(text.split()))
