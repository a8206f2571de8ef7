"""Results on stdout: rich tables, or JSON."""

import json
from collections.abc import Sequence
from typing import Any

from fcnseg.metrics import Scores


def print_json(values: Any) -> None:
    """Print JSON that other programs can read; NaN never appears in it."""
    print(json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    console.print(table)


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
