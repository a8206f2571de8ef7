"""A training run as one self-contained HTML page."""

from collections.abc import Sequence

from fcnseg.render.document import command_box, document
from fcnseg.render.explain_style import STYLE as BASE
from fcnseg.render.gallery import fitted_image, jpeg_uri
from fcnseg.render.markup import PERCENT, count, table, verbatim
from fcnseg.render.page_style import STYLE as SHARED
from fcnseg.render.report_classes import classes, worst_first
from fcnseg.render.report_confusion import confusions, shares_of
from fcnseg.render.report_curves import curves
from fcnseg.render.report_facts import Panel, Trained
from fcnseg.render.report_style import SCRIPT, STYLE
from fcnseg.render.report_trend import trend
from fcnseg.render.series import column, in_words, of_kind

_SECTIONS = (
    ("curves", "Curves"),
    ("classes", "Classes"),
    ("confusions", "Confusions"),
    ("images", "Worst and best images"),
    ("again", "The same run again"),
)
_BOX = 1400, 1000
_WEAKEST = 3


def report_page(trained: Trained) -> str:
    """The page, complete in itself: nothing on it is loaded from elsewhere.

    Its only script reads cells of a large confusion matrix; without scripts everything else is
    there. The same facts give the same bytes.
    """
    bodies = {
        "curves": curves(trained),
        "classes": classes(trained),
        "confusions": confusions(trained),
        "images": _images(trained.panels, trained.unit),
        "again": _again(trained),
    }
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title in _SECTIONS)
    sections = "".join(
        f'<section id="{key}"><h2>{title}</h2>{bodies[key]}</section>' for key, title in _SECTIONS
    )
    body = (
        f"<h1>{verbatim(trained.title)}</h1>{_verdict(trained)}{_facts(trained)}"
        f'<nav aria-label="Sections">{links}</nav>{sections}'
    )
    return document(trained.title, body, (BASE, SHARED, STYLE), SCRIPT)


def _verdict(trained: Trained) -> str:
    """How good it is, whether it still improves, and where it fails."""
    judged = trend(trained.rows, trained.score)
    collapsed = _collapsed(trained)
    level = "error" if collapsed else judged.level
    parts = [f"<p>{_how_good(trained)}</p>"]
    if collapsed:
        parts.append(f"<p>{collapsed}</p>")
    parts.append(f"<p><strong>{judged.short}</strong>: {verbatim(judged.why)}</p>")
    if weakest := _weakest(trained):
        parts.append(f"<p>{weakest}</p>")
    return f'<div class="verdict {level}">{"".join(parts)}</div>'


def _how_good(trained: Trained) -> str:
    evaluations = of_kind(trained.rows, "eval")
    name = verbatim(in_words(trained.score))
    values = {row.get("epoch"): column([row], trained.score)[0] for row in evaluations}
    last = evaluations[-1].get("epoch") if evaluations else None
    best = values.get(trained.best_epoch)
    if best is None or best != best:
        return "No evaluation was logged."
    said = f"<b>{name} {100 * best:.1f}{PERCENT}</b> in epoch {trained.best_epoch}"
    if last == trained.best_epoch:
        return f"{said}, the last and the best so far; <code>best.safetensors</code> holds it."
    return (
        f"{said} of {last}; <code>best.safetensors</code> holds it. All below is of epoch {last}, "
        f"the last: {100 * values[last]:.1f}{PERCENT}."
    )


def _collapsed(trained: Trained) -> str:
    """A sentence where every prediction is one class, although the truth has several."""
    predicted, truth = trained.confusion.sum(axis=0) > 0, trained.confusion.sum(axis=1) > 0
    if predicted.sum() != 1 or truth.sum() < 2:
        return ""
    name = verbatim(trained.classes[int(predicted.argmax())])
    return (
        f"<strong>Every prediction is {name}</strong>, although the truth has {truth.sum()} "
        "classes."
    )


def _weakest(trained: Trained) -> str:
    """The worst classes, each with what it is most often taken for."""
    values, shares = trained.class_values, shares_of(trained.confusion)
    known = [value for value in values if value is not None]
    below = [i for i in worst_first(values) if (values[i] or 0) < sum(known) / max(len(known), 1)]
    below = [i for i in below if values[i] is not None]
    if not below:
        return ""
    said = []
    for i in below[:_WEAKEST]:
        text = f"{verbatim(trained.classes[i])} {100 * (values[i] or 0):.1f}{PERCENT}"
        row = shares[i].copy()
        row[i] = 0
        j = int(row.argmax())
        if row[j] >= 0.1:
            text += (
                f" ({100 * row[j]:.0f}{PERCENT} of it is taken for {verbatim(trained.classes[j])})"
            )
        said.append(text)
    measure = verbatim(trained.class_measure)
    return f"<strong>Weakest classes</strong>, by {measure}: {', '.join(said)}."


def _facts(trained: Trained) -> str:
    evaluations, steps = of_kind(trained.rows, "eval"), of_kind(trained.rows, "step")
    facts = [(verbatim(n), f"{100 * v:.1f}{PERCENT}", "") for n, v in trained.summary]
    if evaluations:
        loss = column(evaluations[-1:], "train_loss")[0]
        if loss == loss:
            facts.append(("training loss", f"{loss:.4g}", "mean of the last epoch"))
    if steps:
        epochs = str(steps[-1].get("epoch"))
        facts.append(("epochs", verbatim(epochs), f"{count(int(steps[-1]['step']))} steps"))
    cards = "".join(
        f"<div><dt>{n}</dt><dd>{v}{f'<small>{s}</small>' if s else ''}</dd></div>"
        for n, v, s in facts
    )
    return f'<dl class="facts">{cards}</dl>'


def _images(panels: Sequence[Panel], unit: str) -> str:
    if not panels:
        return "<p>There is nothing to show.</p>"
    parts = []
    for kind in dict.fromkeys(("worst", "best", *(panel.kind for panel in panels))):
        shown = "".join(_panel(panel) for panel in panels if panel.kind == kind)
        if shown:
            title = verbatim(kind.capitalize())
            parts.append(f'<h3>{title}</h3><div class="gallery wide">{shown}</div>')
    how = (
        "The score of an image is its own mean IU, over the classes that occur in it."
        if unit == "pixels"
        else "The score of an image is the probability that the network gives its true class."
    )
    return f"<p>{how}</p>{''.join(parts)}"


def _panel(panel: Panel) -> str:
    score = "" if panel.score is None else f"<b>{100 * panel.score:.1f}{PERCENT}</b>"
    caption = f"<span>{verbatim(panel.caption)}</span>" if panel.caption else ""
    picture = jpeg_uri(fitted_image(panel.picture, _BOX))
    name = verbatim(panel.id)
    return (
        f'<figure><img src="{picture}" alt="{verbatim(panel.kind)}: {name}" loading="lazy">'
        f"<figcaption><span>{score} <code>{name}</code></span>{caption}</figcaption></figure>"
    )


def _again(trained: Trained) -> str:
    boxes = []
    for title, pairs in (("Settings", trained.settings), ("Environment", trained.environment)):
        rows = [[verbatim(name), f"<code>{verbatim(value)}</code>"] for name, value in pairs]
        if rows:
            body = table(("", ""), rows, texts=2, kind="pairs")
            boxes.append(f"<details><summary>{title}</summary>{body}</details>")
    return (
        "<p>The same command with the same data, versions and threads gives the same numbers; on "
        f"a GPU, as far as its algorithms are deterministic.</p>{command_box(trained.command)}"
        f'<div class="halves">{"".join(boxes)}</div>'
    )
