"""The findings of a data check as HTML: one box a kind, closed, and a filter over all of them."""

import re
from collections.abc import Sequence

from fcnseg.render.check_facts import Kind
from fcnseg.render.markup import count, verbatim

# What is written at most: a page with more cannot be scrolled through, and must stay small.
_ROWS = 4000
_BYTES = 1_400_000
_KINDS = 300
_TITLE, _FILE, _MESSAGE = 180, 300, 700


def findings(kinds: Sequence[Kind]) -> str:
    """All findings by kind, errors first; long lists are cut, and say so."""
    if not kinds:
        return "<p>Nothing was found to be wrong or doubtful.</p>"
    kept = kinds[:_KINDS]
    most = _rows_of_a_kind(kept)
    left_out = sum(len(kind.findings) for kind in kinds[_KINDS:])
    note = (
        f"<p>{count(left_out)} more findings of {count(len(kinds) - _KINDS)} other kinds are left "
        "out here; <code>fcnseg check --json</code> lists all.</p>"
        if left_out
        else ""
    )
    boxes = "".join(_box(kind, most) for kind in kept)
    return (
        '<div class="filter" id="filter" hidden>'
        '<label>File or text<input type="search" id="find" autocomplete="off" spellcheck="false">'
        '</label><label class="short">Severity<select id="level"><option value="">all</option>'
        '<option value="error">errors</option><option value="warning">warnings</option></select>'
        f'</label><output id="found" for="find level"></output></div>{boxes}{note}'
    )


def _box(kind: Kind, most: int) -> str:
    file, message = kind.findings[0]
    many = len(kind.findings)
    about = message if many > 1 else f"{file}: {message}"
    also = f" (and {count(many - 1)} more like it)" if many > 1 else ""
    rows = "".join(_row(file, message) for file, message in kind.findings[:most])
    rest = (
        f"<p>{count(many - most)} more are left out here; <code>fcnseg check --json</code> lists "
        "all.</p>"
        if many > most
        else ""
    )
    return (
        f'<details class="kind" data-severity="{verbatim(kind.severity)}"><summary>'
        f'<span class="level {verbatim(kind.severity)}">{verbatim(kind.severity)}</span> '
        f"{count(many)} in {verbatim(kind.where)}"
        f"<span>{verbatim(shortened(about, _TITLE))}{also}</span></summary>"
        '<div class="scroll" tabindex="0"><table><thead><tr><th scope="col" class="t">file</th>'
        f'<th scope="col" class="t">what is wrong</th></tr></thead><tbody>{rows}</tbody></table>'
        f"{rest}</div></details>"
    )


def _row(file: str, message: str) -> str:
    return (
        f'<tr><td class="t"><code>{verbatim(shortened(file, _FILE))}</code></td>'
        f'<td class="t">{verbatim(shortened(message, _MESSAGE))}</td></tr>'
    )


def _rows_of_a_kind(kinds: Sequence[Kind]) -> int:
    """As many rows of every kind as keep the page within its limits."""
    most = _ROWS
    while most > 1:
        shown = [pair for kind in kinds for pair in kind.findings[:most]]
        if len(shown) <= _ROWS and sum(map(_bytes, shown)) <= _BYTES:
            break
        most //= 2
    return most


def _bytes(finding: tuple[str, str]) -> int:
    return len(_row(*finding).encode("utf-8", "replace"))


def shortened(text: str, longest: int) -> str:
    """``text`` without line breaks, its middle left out where it is longer than ``longest``."""
    text = re.sub(r"\s", " ", text)
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 1]}…{text[-end:]}"
