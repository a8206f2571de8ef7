"""Pieces of HTML: text escaped and typeset, tables, figures."""

import html
import re
from collections.abc import Iterable, Sequence

TIMES, MINUS = "\u00d7", "\u2212"
PERCENT = "\u202f%"  # never at the beginning of a line


def verbatim(name: object) -> str:
    """A name (of a backbone, a layer, a file) as HTML: escaped, every letter kept."""
    return html.escape(str(name), quote=True)


def typeset(text: object) -> str:
    """Prose and formulas as HTML: escaped, with arrows, times and minus signs in place of their
    stand-ins. Not for names: see :func:`verbatim`."""
    escaped = verbatim(text).replace("-&gt;", "→").replace(" * ", " · ")
    escaped = re.sub(r"(?<=\d)x(?=\d)", TIMES, escaped)
    return re.sub(r"(?<![\w)])-(?=\d)|(?<= )-(?= )", MINUS, escaped)


def by(sizes: Sequence[float] | None) -> str:
    """Sizes with times signs between them; empty for None."""
    return TIMES.join(f"{size:g}" for size in sizes or ())


def once(pair: Sequence[float]) -> str:
    """A (vertical, horizontal) pair, once if both are alike."""
    text = f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g}{TIMES}{pair[1]:g}"
    return text.replace("-", MINUS)


def count(number: int) -> str:
    """A count with thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u2009")


def short(number: float) -> str:
    """A count of operations or numbers to three digits: ``15.5 G``."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            value = number / unit
            return f"{value:.{max(0, 2 - len(str(int(value))) + 1)}f}\u2009{name}"
    return f"{number:g}" if number else ""


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1, kind: str = ""
) -> str:
    """A table in a box of its own that scrolls where the page is narrow.

    Args:
        columns: headings, plain text.
        rows: cells as HTML, already escaped; a row of one cell spans all columns.
        texts: how many columns from the first on are text; the others are numbers.
        kind: a class of the style sheet.
    """
    side = ['class="t"' if i < texts else 'class="n"' for i in range(len(columns))]
    head = "".join(
        f'<th scope="col" {s}>{typeset(c)}</th>' for s, c in zip(side, columns, strict=True)
    )
    body = []
    for row in rows:
        if len(row) == 1:
            body.append(f'<tr class="over"><th colspan="{len(columns)}">{row[0]}</th></tr>')
            continue
        cells = "".join(f"<td {s}>{cell}</td>" for s, cell in zip(side, row, strict=True))
        body.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def swatch(colour: Sequence[int]) -> str:
    """A small square in the colour (r, g, b) of a class."""
    style = "background:rgb({},{},{})".format(*map(int, colour))
    return f'<span class="swatch" style="{style}"></span>'


def figure(content: str, caption: str, kind: str = "") -> str:
    """A drawing in a box that scrolls where the page is narrow, and its caption as HTML."""
    return (
        f'<figure class="{kind}"><div class="scroll" tabindex="0">{content}</div>'
        f"<figcaption>{caption}</figcaption></figure>"
    )
