"""Results on stdout: rich tables, or JSON."""

import json
import os
from collections.abc import Sequence
from typing import Any, Literal

from fcnseg.metrics import Scores

_PIPED = 160
_WORD, _NAME = 14, 16  # cells of a longer word, or of a name, may be folded


def images(count: int) -> str:
    """``1 image``, ``2 images``."""
    return f"{count} image{'' if count == 1 else 's'}"


def print_json(values: Any) -> None:
    """Print JSON that other programs can read; NaN never appears in it."""
    print(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    texts: int = 1,
    spare: Sequence[str] = (),
) -> tuple[str, ...]:
    """Print a table as wide as the terminal takes; a number is never cut.

    Args:
        title: printed above; may be empty.
        columns: their headings.
        rows: a cell for each column.
        texts: how many of the first columns are text; the others are numbers.
        spare: headings of columns to leave out where the table is too wide, the first one first.

    Returns:
        The headings that were left out.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    width = _room()
    shown = list(range(len(columns)))
    natural, least = _widths(columns, rows, texts)
    tight = sum(natural) + 3 * len(shown) + 1 > width
    gone: list[str] = []
    if tight:
        for name in spare:
            if sum(least[i] for i in shown) + 2 * len(shown) + 1 <= width:
                break
            shown.remove(columns.index(name))
            gone.append(name)
    room = width - (2 if tight else 3) * len(shown) - 1
    widths = _fit([natural[i] for i in shown], [least[i] for i in shown], room)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1) if tight else (0, 1))
    for i, wide in zip(shown, widths, strict=True):
        justify: Literal["left", "right"] = "left" if i < texts else "right"
        table.add_column(columns[i], justify=justify, width=wide, overflow="fold")
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    if title:
        print(title)  # rich would break it at the width of the table
    # A table that cannot be narrower is left to the terminal to wrap.
    whole = sum(widths) + 3 * len(shown) + 1
    try:
        Console(highlight=False, width=max(width, whole)).print(table)
    except SystemExit:  # rich's way to end where nobody reads any more
        raise BrokenPipeError from None
    return tuple(gone)


def _room() -> int:
    """Columns of the terminal, or what ``COLUMNS`` says; 160 where the output is piped."""
    from rich.console import Console

    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    console = Console()
    return console.width if console.is_terminal else _PIPED


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int
) -> tuple[list[int], list[int]]:
    """What each column would take, and the least it can do with."""
    from rich.cells import cell_len

    natural, least = [], []
    for i, column in enumerate(columns):
        cells = [row[i] for row in rows]
        whole = max(map(cell_len, [column, *cells]))
        head = max(map(cell_len, column.split()), default=0)
        broken = [word for cell in cells for word in cell.split()] if i < texts else cells
        need = max(map(cell_len, broken), default=0)
        natural.append(whole)
        least.append(max(head, min(need, _WORD) if 0 < i < texts else need))
    return natural, least


def _fit(natural: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths that fill the room: names first, then where most is missing."""
    widths = list(least)
    over = sum(widths) - room
    if over > 0:
        widths[0] = max(min(widths[0], _NAME), widths[0] - over)
    for _ in range(room - sum(widths)):
        i = max(range(len(widths)), key=lambda i: natural[i] - widths[i])
        i = 0 if widths[0] < natural[0] else i
        if widths[i] >= natural[i]:
            break
        widths[i] += 1
    return widths


def print_scores(scores: Scores, classes: Sequence[str]) -> None:
    """Print the four measures and the IU of each class, in percent; absent classes as n/a."""
    rows = [
        (name, "n/a" if iu is None else f"{100 * iu:.1f}")
        for name, iu in zip(classes, scores.class_iu, strict=True)
    ]
    print_table("", ("class", "IU %"), rows)
    measures = (
        ("pixel accuracy", scores.pixel_accuracy),
        ("mean accuracy", scores.mean_accuracy),
        ("mean IU", scores.mean_iu),
        ("frequency-weighted IU", scores.frequency_weighted_iu),
    )
    print_table("", ("measure", "%"), [(name, f"{100 * value:.1f}") for name, value in measures])
