"""The command that runs a training again, from its settings."""

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from fcnseg.config import Settings
from fcnseg.run_config import PLACE
from fcnseg.settings import flag_name


def command_line(program: str, config: Settings, processes: int = 1) -> str:
    """Return ``program`` with a flag for every setting that needs one.

    Args:
        program: such as "fcnseg train".
        config: the settings.
        processes: that trained together; torchrun starts them where there are several.
    """
    words = started_by(program, processes).split()
    for name, value in _needed(config).items():
        words.append(flag_name(name))
        if not isinstance(value, bool):
            words.append(f"{value:.10g}" if isinstance(value, float) else str(value))
    return shlex.join(words)


def started_by(program: str, processes: int = 1) -> str:
    """Return what starts ``program`` in so many processes."""
    # without "--" torchrun takes --run for its own --run-path
    how = "" if processes == 1 else f"torchrun --nproc-per-node {processes} -m -- "
    return how + program


def resuming(program: str, folder: Path, processes: int = 1) -> str:
    """Return the command that continues what ``program`` trains in ``folder``."""
    return f"{started_by(program, processes)} --run {shlex.quote(str(folder))} --resume"


def _needed(config: Settings) -> dict[str, Any]:
    """The settings that neither defaults nor the others imply."""
    known = [item for item in fields(config) if item.name not in PLACE]
    values = {item.name: getattr(config, item.name) for item in known}
    given = {item.name for item in known if values[item.name] != item.default}
    for name, value in config.implied({name: values[name] for name in given}).items():
        if values[name] == value:
            given.discard(name)
        else:
            # Nothing says on the command line that a number of steps is not set, but epochs do.
            given.add("epochs" if name == "iterations" and values[name] is None else name)
    return {name: value for name, value in values.items() if name in given and value is not None}
