"""How a setting is declared, and how text or YAML becomes its value."""

import math
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, NamedTuple, get_args

from fcnseg.checks import nearest
from fcnseg.errors import UsageError


class Size(NamedTuple):
    """Height and width in pixels, written ``HEIGHTxWIDTH``."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}x{self.width}"


def setting(default: Any, help: str, **limits: Any) -> Any:
    """Declare a field. Limits: ``choices``, ``above``, ``at_least``, ``below``, ``at_most``."""
    return field(default=default, metadata={"help": help, **limits})


def seed_setting() -> Any:
    """Declare the seed, the same for every configuration that has one."""
    return setting(0, "seed of everything random", at_least=0)


def flag_name(name: str) -> str:
    """The flag of a setting: ``batch_size`` -> ``--batch-size``."""
    return "--" + name.replace("_", "-")


def read_yaml(file: str | Path) -> dict[str, Any]:
    """The lines ``name: value`` of a YAML file. Raises :class:`UsageError` for another file."""
    import yaml

    try:
        text = Path(file).read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{file}: {reason}; give a YAML file of settings") from None
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{file}: expected lines `name: value`, got {type(content).__name__}")
    return content


def typed(
    kind: type[Any], given: Mapping[Any, Any], label: Callable[[str], str]
) -> tuple[dict[str, Any], list[str]]:
    """The settings of ``given`` that the data class ``kind`` has, in their types, and the faults.

    ``label`` turns a name into what a fault calls it.
    """
    known = {item.name: item for item in fields(kind)}
    values: dict[str, Any] = {}
    faults = []
    for name, raw in given.items():
        if name not in known:
            hint = nearest(name, known) if isinstance(name, str) else ""
            faults.append(f"{label(str(name))}: no such setting{hint}")
            continue
        item = known[name]
        try:
            value = _convert(item.type, item.default, raw)
            _check_limits(value, item.metadata)
        except ValueError as error:
            faults.append(f"{label(name)}: {error}")
        else:
            values[name] = value
    return values, faults


def _convert(declared: Any, default: Any, raw: Any) -> Any:
    if raw is None:
        if default is None:
            return None
        raise ValueError(f"expected a value, got nothing (default {default})")
    types = get_args(declared) or (declared,)
    if Size in types:
        return _size(raw)
    if bool in types:
        if isinstance(raw, bool):
            return raw
        raise ValueError(f"expected true or false, got {raw!r}")
    if int in types:
        return _number(int, "a whole number", raw)
    if float in types:
        return _number(float, "a number", raw)
    if isinstance(raw, list) and raw and all(isinstance(part, str) for part in raw):
        return ",".join(raw)
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"expected text, got {raw!r}")
    return raw


def _number(kind: Callable[[Any], Any], expected: str, raw: Any) -> Any:
    # YAML 1.1 reads 1e-3 as text, so text that is a number counts as one.
    whole = isinstance(raw, float) and kind is int
    if not isinstance(raw, (int, float, str)) or isinstance(raw, bool) or whole:
        raise ValueError(f"expected {expected}, got {raw!r}")
    try:
        value = kind(raw)
    except (ValueError, OverflowError):
        raise ValueError(f"expected {expected}, got {raw!r}") from None
    if not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {raw!r}")
    return value


def _size(raw: Any) -> Size:
    parts = raw.lower().split("x") if isinstance(raw, str) else raw
    parts = [parts] if isinstance(parts, int) else parts
    try:
        if isinstance(parts, (list, tuple)) and len(parts) in (1, 2):
            numbers = [_number(int, "", part) for part in parts]
            return Size(numbers[0], numbers[-1])
    except ValueError:
        pass
    raise ValueError(f"expected HEIGHTxWIDTH in pixels such as 320x416, got {raw!r}")


def _check_limits(value: Any, limits: Mapping[str, Any]) -> None:
    choices = limits.get("choices")
    if choices and value not in choices:
        hint = nearest(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"expected one of {', '.join(map(str, choices))}, got {value!r}{hint}")
    numbers = value if isinstance(value, Size) else (value,)
    comparisons: dict[str, Callable[[Any, Any], bool]] = {
        "above": lambda x, limit: x > limit,
        "at_least": lambda x, limit: x >= limit,
        "below": lambda x, limit: x < limit,
        "at_most": lambda x, limit: x <= limit,
    }
    for key, holds in comparisons.items():
        if key in limits and value is not None and not all(holds(x, limits[key]) for x in numbers):
            wanted = f"{key.replace('_', ' ')} {limits[key]}"
            raise ValueError(f"expected a value {wanted}, got {value}")
