"""The measure of each class, worst first, and what each class is confused with."""

from collections.abc import Sequence

import numpy as np

from fcnseg.render.chart import sparkline
from fcnseg.render.check_classes import percent
from fcnseg.render.markup import PERCENT, verbatim
from fcnseg.render.report_confusion import class_title, shares_of
from fcnseg.render.report_facts import Trained
from fcnseg.render.series import class_values, of_kind

# A table of more classes is cut, and the whole of it is behind a click.
_OPEN = 30
_NAMED = 2
_LEAST = 0.01
_SPARKS = 60


def classes(trained: Trained) -> str:
    """Bars, shares and confusions of every class as HTML."""
    order = worst_first(trained.class_values)
    rows = _rows(trained)
    shown = order if len(order) <= _OPEN + 5 else order[:_OPEN]
    parts = [_explained(trained), _table(trained, [rows[i] for i in shown])]
    if len(shown) < len(order):
        everything = _table(trained, rows)
        parts.append(
            f"<details><summary>All {len(order)} classes, in their order</summary>{everything}"
            "</details>"
        )
    return "".join(parts)


def worst_first(values: Sequence[float | None]) -> list[int]:
    """Class ids by their value, lowest first; those without one last."""
    return sorted(range(len(values)), key=lambda i: (values[i] is None, values[i] or 0.0, i))


def _explained(trained: Trained) -> str:
    unit, measure = trained.unit, trained.class_measure
    found = (
        f"<b>Found</b> is the share of the {unit} of a class that are predicted as it. "
        if measure != "accuracy"
        else ""
    )
    best = (
        f" The mark <i class='tick'></i> is epoch {trained.best_epoch}, the best checkpoint."
        if _best_values(trained)
        else ""
    )
    course = (
        f" The curve is its course over the evaluations, from 0 to 100{PERCENT}."
        if len(of_kind(trained.rows, "eval")) > 1
        else ""
    )
    return (
        f"<p>Worst first, by {verbatim(measure)}.{best}{course}</p><p>{found}<b>Right</b> is the "
        f"share of the {unit} predicted as a class that are of it. <b>Share</b> is its part in all "
        f"labelled {unit} of the truth. <b>Taken for</b> says what its other {unit} are predicted "
        f"as, <b>found in place of</b> what the {unit} are that are wrongly predicted as it.</p>"
    )


def _table(trained: Trained, rows: Sequence[str]) -> str:
    measure = verbatim(trained.class_measure)
    found = "" if trained.class_measure == "accuracy" else '<th scope="col" class="n">found %</th>'
    course = '<th scope="col" class="t">course</th>' if _has_course(trained) else ""
    return (
        '<div class="scroll" tabindex="0"><table class="ious"><thead><tr>'
        '<th scope="col" class="t">class</th>'
        f'<th scope="col" class="n">{measure} %</th><th scope="col" class="t bar">0 to 100</th>'
        f'{course}{found}<th scope="col" class="n">right %</th><th scope="col" class="n">share %'
        '</th><th scope="col" class="t">taken for</th>'
        '<th scope="col" class="t">found in place of</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _rows(trained: Trained) -> list[str]:
    """One row a class, in the order of the classes."""
    counts = trained.confusion
    of_truth, of_predicted = shares_of(counts), shares_of(counts.T)
    total = max(int(counts.sum()), 1)
    best = _best_values(trained)
    course = _course(trained)
    rows = []
    for i, value in enumerate(trained.class_values):
        cells = [f'<td class="t name">{class_title(trained, i)}</td>']
        shown = "n/a" if value is None else f"{100 * value:.1f}"
        cells.append(f'<td class="n value">{shown}</td>')
        cells.append(f'<td class="bar">{_bar(value, best.get(trained.classes[i]))}</td>')
        if course is not None:
            cells.append(f'<td class="course">{sparkline(course[i])}</td>')
        if trained.class_measure != "accuracy":
            cells.append(_number("found", of_truth[i, i], counts[i].sum()))
        cells.append(_number("right", of_predicted[i, i], counts[:, i].sum()))
        share = percent(counts[i].sum() / total)
        cells.append(f'<td class="n" data-of="share %">{share}</td>')
        cells.append(_confused("taken for", trained.classes, of_truth[i], i))
        cells.append(_confused("found in place of", trained.classes, of_predicted[i], i))
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return rows


def _bar(value: float | None, best: float | None) -> str:
    if value is None:
        return '<span class="track none">in neither truth nor prediction</span>'
    mark = "" if best is None else f'<i class="tick" style="left:{100 * best:.1f}%"></i>'
    return (
        '<span class="track" aria-hidden="true">'
        f'<i class="fill" style="width:{100 * value:.1f}%"></i>{mark}</span>'
    )


def _number(of: str, share: float, known: int) -> str:
    text = f"{100 * share:.1f}" if known else "n/a"
    return f'<td class="n" data-of="{of} %">{text}</td>'


def _confused(of: str, names: Sequence[str], shares: np.ndarray, own: int) -> str:
    """The largest other shares, by name."""
    others = [i for i in np.argsort(-shares, kind="stable") if i != own and shares[i] >= _LEAST]
    listed = ", ".join(
        f'{verbatim(names[i])} <span class="much">{100 * shares[i]:.0f}{PERCENT}</span>'
        for i in others[:_NAMED]
    )
    return f'<td class="t wrong" data-of="{of}">{listed}</td>'


def _best_values(trained: Trained) -> dict[str, float]:
    """The values of the best epoch by class, {} where the last epoch is the best."""
    evaluations = of_kind(trained.rows, "eval")
    if not evaluations or evaluations[-1].get("epoch") == trained.best_epoch:
        return {}
    for row in evaluations:
        if row.get("epoch") == trained.best_epoch:
            return {name: v for name, v in class_values(row).items() if v is not None}
    return {}


def _has_course(trained: Trained) -> bool:
    return len([r for r in of_kind(trained.rows, "eval") if class_values(r)]) > 1


def _course(trained: Trained) -> np.ndarray | None:
    """(K, n) values of every class over the evaluations, at most so many of them."""
    if not _has_course(trained):
        return None
    rows = [class_values(row) for row in of_kind(trained.rows, "eval") if class_values(row)]
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _SPARKS)).round().astype(int))
    values = [[rows[i].get(name) for i in places] for name in trained.classes]
    return np.array([[np.nan if v is None else v for v in line] for line in values], np.float64)
