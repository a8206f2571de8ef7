"""The settings that a run keeps in its folder, from which ``--resume`` starts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fcnseg.config import Config, Settings, load_config
from fcnseg.errors import UsageError


def add_config_flags(parser: Any) -> None:
    """Add ``--config`` and ``--print-config``."""
    parser.add_argument("--config", metavar="FILE", help="YAML settings; flags win over them")
    parser.add_argument(
        "--print-config", action="store_true", help="print the complete settings and stop"
    )


def chosen_settings(args: Any, kind: type[Config], names: Iterable[str]) -> Config:
    """The settings of the command line; a resumed run starts from those in its folder.

    ``names`` are as in :func:`stored_settings`. Raises :class:`UsageError` for wrong settings,
    and where there is nothing to resume.
    """
    from fcnseg.cli.parser import given

    flags = given(args, kind)
    file = args.config
    if file is None and flags.get("resume"):
        file, flags = stored_settings(kind, flags, names)
    return load_config(kind, file, flags)


def stored_settings(
    kind: type[Settings], flags: Mapping[str, Any], names: Iterable[str]
) -> tuple[Path, dict[str, Any]]:
    """The file of settings in the folder of the run to resume, and the flags that win over it.

    Args:
        kind: the data class of the settings.
        flags: those that were given, by the names of their settings.
        names: the settings that a run folder is named after, and ``run``.

    Raises :class:`UsageError` where there is no such file.
    """
    known: Any = kind
    folder: Path = known(**{name: flags[name] for name in names if name in flags}).run_folder
    file = folder / "config.yaml"
    if not file.is_file():
        which = "" if "run" in flags else ", or give its folder with --run"
        raise UsageError(
            f"{folder}: nothing to resume, no state was saved here; start it without --resume"
            f"{which}"
        )
    return file, {"overwrite": False, **flags}
