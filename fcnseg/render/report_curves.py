"""Loss, measures and learning rate of a run: drawings over one axis, and a table."""

from collections.abc import Sequence

import numpy as np

from fcnseg.render.chart import Band, Line, chart
from fcnseg.render.markup import count, table, verbatim
from fcnseg.render.report_facts import Trained
from fcnseg.render.series import Row, column, in_words, losses, measures, of_kind, thinned

_KINDS = ("one", "two", "three", "four")

# A loss that falls by more than this is drawn on a logarithmic axis.
_WIDE = 12.0
_MARKED = 200


def curves(trained: Trained) -> str:
    """The drawings and the table as HTML, or a sentence where nothing was logged yet."""
    steps, evaluations = of_kind(trained.rows, "step"), of_kind(trained.rows, "eval")
    best = next((e for e in evaluations if e.get("epoch") == trained.best_epoch), None)
    marked = None if best is None else float(column([best], "step")[0])
    marked = marked if marked is not None and np.isfinite(marked) else None
    across = _across(evaluations)
    drawn = [
        _loss(steps, evaluations, across, marked),
        _scores(evaluations, trained.score, across, marked),
        _rate(steps, across, marked),
    ]
    figures = "".join(f'<figure class="card">{part}</figure>' for part in drawn if part)
    if not figures:
        return "<p>Nothing was logged yet.</p>"
    line = (
        f'<p class="legend"><span><i class="stroke best"></i>epoch {trained.best_epoch}, the best '
        "checkpoint</span></p>"
        if marked is not None
        else ""
    )
    return f'{line}<div class="plots wide">{figures}</div>{_table(evaluations)}'


def _across(evaluations: Sequence[Row]) -> str:
    """What the horizontal axes count: steps, and how many of them an epoch has."""
    step, epoch = column(evaluations, "step"), column(evaluations, "epoch")
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.unique(step / epoch)
    if len(each) == 1 and each[0] > 1:
        return f"step, {count(round(float(each[0])))} to an epoch"
    return "step"


def _loss(
    steps: Sequence[Row], evaluations: Sequence[Row], across: str, marked: float | None
) -> str:
    step, loss = column(steps, "step"), column(steps, "loss")
    lines, band, note, within = [], None, "", (-np.inf, np.inf)
    known = loss[np.isfinite(loss)]
    if len(known):
        thin = thinned(step, loss)
        # A few wild steps may leave the drawing, so that they do not flatten the rest.
        most = max(float(np.quantile(known, 0.99)), float(np.nanmax(thin.trend)))
        beyond = int((known > most).sum())
        if beyond and known.max() > 1.5 * most:
            note = f"{count(beyond)} steps lie above the drawing, at most {known.max():.4g}."
        else:
            most = float(known.max())
        lowest = float(np.quantile(known, 0.005)) if len(known) > 200 else -np.inf
        within = min(lowest, float(np.nanmin(thin.trend))), most
        if len(thin.x) < len(step):
            band = Band(thin.x, thin.low, thin.high)
        else:
            lines.append(Line("each step", "raw", step, loss))
        lines.append(Line("running median", "one", thin.trend_x, thin.trend))
    at = column(evaluations, "step")
    known_by_step = ("train_loss",) if lines else ()
    names = [name for name in losses(evaluations) if name not in known_by_step]
    for name, kind in zip(names, ("two", "three", "four"), strict=False):
        lines.append(_by_epoch(name, kind, evaluations, at, percent=False))
        within = within[0], max(within[1], float(np.nanmax(lines[-1].y)))
    if not lines:
        return ""
    scale = "log" if _is_wide(lines) else "linear"
    how = "The axis is logarithmic." if scale == "log" else ""
    area = '<span><i class="area"></i>all steps, least to largest</span>' if band else ""
    drawing = chart("loss", across, lines, band, scale, within, marked)
    return f"{drawing}{_legend(lines, area)}{_note(how, note)}"


def _scores(evaluations: Sequence[Row], score: str, across: str, marked: float | None) -> str:
    at = column(evaluations, "step")
    names = sorted(measures(evaluations), key=lambda name: name != score)[: len(_KINDS)]
    if not names or not np.isfinite(at).any():
        return ""
    lines = [
        _by_epoch(name, kind, evaluations, at, percent=True)
        for name, kind in zip(names, _KINDS, strict=False)
    ]
    low = min(float(np.nanmin(line.y)) for line in lines)
    note = "The axis does not begin at 0." if low > 0.02 else ""
    drawing = chart("validation", across, lines, scale="percent", marked=marked)
    return f"{drawing}{_legend(lines)}{_note(note)}"


def _rate(steps: Sequence[Row], across: str, marked: float | None) -> str:
    step, rate = column(steps, "step"), column(steps, "lr")
    if not np.isfinite(rate).any():
        return ""
    places = np.unique(np.linspace(0, len(rate) - 1, min(len(rate), 300)).round().astype(int))
    line = Line("learning rate", "one", step[places], rate[places])
    drawing = chart("learning rate", across, [line], marked=marked)
    return f"{drawing}{_note(f'Highest {np.nanmax(rate):.3g}, last {rate[-1]:.3g}.')}"


def _by_epoch(
    name: str, kind: str, evaluations: Sequence[Row], at: np.ndarray, percent: bool
) -> Line:
    """A number of the evaluations, its points marked where there are not too many."""
    values, words = column(evaluations, name), in_words(name)
    titles: tuple[str, ...] = ()
    if len(evaluations) <= _MARKED:
        shown = [f"{100 * v:.1f} %" if percent else f"{v:.4g}" for v in values]
        epochs = [row.get("epoch") for row in evaluations]
        titles = tuple(
            f"epoch {epoch}: {words} {value}" for epoch, value in zip(epochs, shown, strict=True)
        )
    return Line(words, kind, at, values, titles)


def _is_wide(lines: Sequence[Line]) -> bool:
    values = np.concatenate([line.y for line in lines])
    values = values[np.isfinite(values)]
    return bool(len(values)) and values.min() > 0 and values.max() > _WIDE * values.min()


def _legend(lines: Sequence[Line], more: str = "") -> str:
    keys = "".join(
        f'<span><i class="stroke {line.kind}"></i>{verbatim(line.name)}</span>' for line in lines
    )
    return f'<p class="legend">{keys}{more}</p>'


def _note(*sentences: str) -> str:
    said = " ".join(sentence for sentence in sentences if sentence)
    return f"<figcaption>{verbatim(said)}</figcaption>" if said else ""


def _table(evaluations: Sequence[Row]) -> str:
    if not evaluations:
        return ""
    shown = losses(evaluations), measures(evaluations)
    rows = []
    for row in evaluations:
        numbers = [f"{column([row], name)[0]:.4g}" for name in shown[0]]
        numbers += [f"{100 * column([row], name)[0]:.1f}" for name in shown[1]]
        cells = [str(row.get("epoch")), _steps(row), *numbers]
        rows.append([verbatim("" if cell == "nan" else cell) for cell in cells])
    columns = ["epoch", "step", *map(in_words, shown[0]), *(f"{in_words(n)} %" for n in shown[1])]
    body = table(columns, rows, texts=0)
    return f"<details><summary>The evaluations as a table</summary>{body}</details>"


def _steps(row: Row) -> str:
    step = row.get("step")
    return count(step) if isinstance(step, int) else ""
