"""The values of many classes as lines of text, side by side as far as the line reaches."""

from collections.abc import Mapping

_BETWEEN = 3
_LONGEST = 24
_MOST = 48
_WEAKEST = 24


def class_columns(
    values: Mapping[str, float | None], before: Mapping[str, float | None], width: int
) -> list[str]:
    """Return lines of at most ``width`` cells: each class with its value and its change.

    Classes run down the columns in their order. Of more than 48 only the weakest are shown, and
    the last line says so.

    Args:
        values: name -> value in [0, 1], None where it is not defined.
        before: the same at the evaluation before; {} where there is none.
        width: of the terminal; at least one column is printed.
    """
    shown = list(values)
    rest = ""
    if len(shown) > _MOST:
        shown.sort(key=lambda name: (values[name] is None, values[name] or 0.0))
        rest = f"the {_WEAKEST} weakest of {len(shown)} classes; metrics.json has all"
        shown = shown[:_WEAKEST]
    names = [_cut(name) for name in shown]
    longest = max(map(_cells, names), default=0)
    numbers = [_number(values[name], before.get(name)) for name in shown]
    widest = max(map(len, numbers), default=0)
    cells = [
        f"{name}{' ' * (longest - _cells(name))} {number:<{widest}}"
        for name, number in zip(names, numbers, strict=True)
    ]
    across = max(1, (width + _BETWEEN - 2) // (longest + 1 + widest + _BETWEEN))
    down = -(-len(cells) // across)
    lines = [(" " * _BETWEEN).join(cells[i::down]).rstrip() for i in range(down)]
    return [f"  {line}" for line in [*lines, *([rest] if rest else [])]]


def _number(value: float | None, before: float | None) -> str:
    """Percent, and the change in points: "66.3 +1.2"."""
    if value is None:
        return "  n/a"
    change = "" if before is None else f" {100 * (value - before):+.1f}"
    change = change.replace("+0.0", "=").replace("-0.0", "=")
    return f"{100 * value:5.1f}{change}"


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _cut(name: str) -> str:
    """A name on one line, not too long for it."""
    from rich.cells import set_cell_size

    name = " ".join(name.split())
    return name if _cells(name) <= _LONGEST else f"{set_cell_size(name, _LONGEST - 1).rstrip()}…"
