"""The confusion matrix: the largest confusions, and all of it as a table or a picture."""

import base64
import io

import numpy as np
from PIL import Image

from fcnseg.render.check_classes import percent
from fcnseg.render.markup import PERCENT, count, swatch, table, verbatim
from fcnseg.render.report_facts import Trained

# More classes are drawn as a picture, with names along it where its cells have room for them.
_TABLE = 24
_WIDE, _LARGEST, _SMALLEST, _NAMED = 1080, 18, 4, 12
_LISTED = 12
_READ = 20_000
_RIGHT, _WRONG = (0, 114, 178), (213, 94, 0)


def shares_of(counts: np.ndarray) -> np.ndarray:
    """(K, K) counts as shares of their rows, float64; rows without any are 0."""
    sums = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(sums, 1)


def confusions(trained: Trained) -> str:
    """The confusion matrix as HTML, the largest confusions first."""
    counts = trained.confusion
    if len(counts) == 1:
        return "<p>One class cannot be confused with another.</p>"
    if not counts.any():
        return "<p>Nothing was counted.</p>"
    matrix = _matrix(trained) if len(counts) <= _TABLE else _picture(trained)
    return f"{_largest(trained)}{matrix}"


def _largest(trained: Trained) -> str:
    counts = trained.confusion
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    mistakes, total = int(wrong.sum()), int(counts.sum())
    if not mistakes:
        return f"<p>All {count(total)} {trained.unit} are right.</p>"
    shares = shares_of(counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]
    rows, sum_shown = [], 0
    for truth, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if not wrong[truth, predicted]:
            break
        part = float(wrong[truth, predicted] / mistakes)
        sum_shown += int(wrong[truth, predicted])
        wide = 100 * part * mistakes / int(wrong.max())
        bar = f'<span class="track"><i class="fill two" style="width:{wide:.1f}%"></i></span>'
        rows.append(
            [
                class_title(trained, int(truth)),
                class_title(trained, int(predicted)),
                f'<span class="bar">{bar}</span>',
                percent(part),
                percent(float(shares[truth, predicted])),
            ]
        )
    columns = ("truth", "predicted as", "", "of all mistakes %", "of the class %")
    kinds = int((wrong > 0).sum())
    said = f"{percent(mistakes / total)}{PERCENT} of {count(total)} {trained.unit} are wrong."
    if len(rows) < kinds:
        said += (
            f" These {len(rows)} of {count(kinds)} kinds of mistake make up "
            f"{percent(sum_shown / mistakes)}{PERCENT} of them."
        )
    return (
        f"<h3>Largest confusions</h3><p>{said}</p>{table(columns, rows, texts=3, kind='largest')}"
    )


def class_title(trained: Trained, index: int) -> str:
    """The name of a class as HTML, beside its colour where it has one."""
    colour = swatch(trained.palette[index]) if trained.palette else ""
    return f"{colour}{verbatim(trained.classes[index])}"


def _matrix(trained: Trained) -> str:
    """A table with a number in every cell: the share of the true class, in percent."""
    shares, there = shares_of(trained.confusion), trained.confusion.sum(axis=1) > 0
    names = [verbatim(name) for name in trained.classes]
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    rows = []
    for i, name in enumerate(names):
        cells = [_cell(float(s), i == j) for j, s in enumerate(shares[i])]
        if not there[i]:
            cells = [f'<td colspan="{len(names)}" class="none">not in the truth</td>']
        rows.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    return (
        f"<h3>All of them</h3><p>{_how(trained)} Numbers are percent; below 0.5 they are left "
        'out.</p><div class="scroll" tabindex="0"><table class="matrix"><thead><tr>'
        f'<td class="corner">truth ↓ predicted →</td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _how(trained: Trained) -> str:
    return (
        f"A row holds the {trained.unit} of one true class, shared out over what they are "
        "predicted as: <b class='right'>blue</b> is right, <b class='wrong'>orange</b> is wrong."
    )


def _cell(share: float, right: bool) -> str:
    kind = "right" if right else "wrong"
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    if not share:
        return "<td></td>"
    return f'<td class="{kind}" style="--A:{share**0.6:.2f}">{text}</td>'


def _picture(trained: Trained) -> str:
    """A drawing with one square a cell, read with the pointer where scripts may run."""
    shares, names = shares_of(trained.confusion), trained.classes
    number = len(names)
    cell = min(_LARGEST, max(_SMALLEST, _WIDE // number))
    named = cell >= _NAMED
    left = 14 + 7 * max(len(_cut(name)) for name in names) if named else 40
    side = left + number * cell + 10
    parts = [
        f'<image x="{left}" y="{left}" width="{number * cell}" height="{number * cell}" '
        f'preserveAspectRatio="none" href="{_png(shares)}"/>'
    ]
    for i in range(0, number, 1 if named else 10):
        at = left + (i + 0.5) * cell
        text = verbatim(_cut(names[i])) if named else str(i)
        parts.append(f'<text x="{left - 5}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
        turned = f'transform="translate({at + 4:.1f} {left - 5}) rotate(-90)"'
        parts.append(f"<text {turned}>{text}</text>")
    numbered = "" if named else " Along the edges stand class ids."
    label = verbatim(f"Confusion matrix of {number} classes")
    drawing = (
        f'<svg viewBox="0 0 {side} {side}" style="width:{side}px" role="img" aria-label="{label}" '
        f'id="matrix" data-left="{left}" data-cell="{cell}" data-side="{side}" '
        f'data-names="{verbatim(_joined(names))}" data-shares="{_sparse(shares)}">'
        f"{''.join(parts)}</svg>"
    )
    return (
        f"<h3>All of them</h3><p>{_how(trained)} The stronger, the larger the share.{numbered}</p>"
        '<p class="reading"><output id="reading" hidden>Point at a cell, or tap it, to read it.'
        f'</output></p><div class="scroll matrix" tabindex="0">{drawing}</div>'
    )


def _png(shares: np.ndarray) -> str:
    """Shares (K, K) as colours with opacity, so that the page shows through."""
    right = np.eye(len(shares), dtype=bool)[..., None]
    pixels = np.empty((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where(right, np.array(_RIGHT), np.array(_WRONG))
    pixels[..., 3] = np.rint(255 * shares**0.5)
    picture = Image.fromarray(pixels.repeat(8, 0).repeat(8, 1))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _sparse(shares: np.ndarray) -> str:
    """The largest shares from 0.05 percent on: "row,column,permyriad" with spaces between."""
    order = np.argsort(-shares, axis=None, kind="stable")[:_READ]
    order = np.sort(order[shares.ravel()[order] >= 0.0005])
    rows, columns = np.unravel_index(order, shares.shape)
    return " ".join(
        f"{i},{j},{round(10_000 * shares[i, j])}" for i, j in zip(rows, columns, strict=True)
    )


def _joined(names: tuple[str, ...]) -> str:
    """Names with line breaks between; those within a name become spaces."""
    return "\n".join(name.replace("\n", " ") for name in names)


def _cut(name: str, longest: int = 18) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
