"""The findings of a data check as one self-contained HTML page."""

from fcnseg.render.check_classes import class_table, percent, short_name
from fcnseg.render.check_facts import Checked, Picture, Split
from fcnseg.render.check_findings import findings, shortened
from fcnseg.render.check_sizes import sizes
from fcnseg.render.check_style import SCRIPT, STYLE
from fcnseg.render.document import command_box, document
from fcnseg.render.explain_style import STYLE as BASE
from fcnseg.render.gallery import jpeg_uri
from fcnseg.render.markup import by, count, table, verbatim
from fcnseg.render.page_style import STYLE as SHARED

_SECTIONS = (
    ("findings", "Findings"),
    ("classes", "Classes"),
    ("sizes", "Sizes"),
    ("splits", "Splits and void"),
    ("bounds", "Upper bounds"),
    ("gallery", "Gallery"),
)
_NAMED = 6
_REASON = 400


def check_page(checked: Checked) -> str:
    """The page, complete in itself: nothing on it is loaded from elsewhere.

    Its only script filters the list of findings; without scripts everything can be read.
    """
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title in _SECTIONS)
    bodies = {
        "findings": findings(checked.kinds),
        "classes": class_table(checked),
        "sizes": sizes(checked.splits),
        "splits": _splits(checked),
        "bounds": _bounds(checked),
        "gallery": _gallery(checked),
    }
    sections = "".join(
        f'<section id="{key}"><h2>{title}</h2>{bodies[key]}</section>' for key, title in _SECTIONS
    )
    title = f"Data check of {checked.name}"
    body = (
        f"<h1>{verbatim(title)}</h1>{_verdict(checked)}{_facts(checked)}"
        f'<nav aria-label="Sections">{links}</nav>{sections}'
    )
    return document(title, body, (BASE, SHARED, STYLE), SCRIPT)


def _verdict(checked: Checked) -> str:
    errors, warnings = checked.errors, checked.warnings
    doubts = "" if not warnings else f", {_counted(warnings, 'warning')} to look at"
    if errors:
        kind, mark, short = "error", "✕", "Not ready to train"
        words = f"{_counted(errors, 'error')}{doubts}. Training would stop at the errors."
        then = "Correct them, check again, then:"
    elif warnings:
        kind, mark, short = "warning", "!", "Ready to train"
        words, then = f"no errors{doubts}.", "Next:"
    else:
        kind, mark, short = "fine", "✓", "Ready to train"
        words, then = "no errors, no warnings.", "Next:"
    command = f"<p>{then}{command_box(checked.command)}</p>" if checked.command else ""
    return f'<div class="verdict {kind}"><p><b>{mark} {short}</b>: {words}</p>{command}</div>'


def _facts(checked: Checked) -> str:
    facts = []
    for split in checked.splits:
        share = f"{count(split.readable)} of {count(split.images)} can be used"
        if split.readable == split.images:
            share = "all can be used" if split.images else "none"
        facts.append((f"images of {verbatim(split.name)}", count(split.images), share))
    facts.append(("errors", count(checked.errors), "training stops at them"))
    facts.append(("warnings", count(checked.warnings), "worth a look"))
    if checked.classes:
        counts = [split.class_images for split in checked.splits if split.class_images]
        seen = sum(any(images) for images in zip(*counts, strict=True))
        said = f"{seen} of them occur" if counts else "not counted"
        facts.append(("classes", str(len(checked.classes)), said))
    pixels = sum(split.pixels for split in checked.splits)
    if pixels:
        void = sum(split.void_pixels for split in checked.splits)
        facts.append(("void", f"{percent(void / pixels)}&thinsp;%", "of pixels, not scored"))
    cards = "".join(f"<div><dt>{n}</dt><dd>{v}<small>{s}</small></dd></div>" for n, v, s in facts)
    return f'<dl class="facts">{cards}</dl>'


def _splits(checked: Checked) -> str:
    rows = []
    for split in checked.splits:
        void = percent(split.void_pixels / split.pixels) if split.pixels else ""
        rows.append(
            [
                verbatim(split.name),
                verbatim(split.masks),
                count(split.images),
                count(split.readable),
                count(split.errors),
                count(split.warnings),
                _common_size(split),
                void,
            ]
        )
    columns = ("split", "masks", "images", "usable", "errors", "warnings", "most frequent size",
               "void %")  # fmt: skip
    return (
        "<p>Void is what has no label: it is neither trained on nor scored.</p>"
        f"{table(columns, rows, texts=2, kind='splits')}"
    )


def _common_size(split: Split) -> str:
    if not split.sizes:
        return ""
    size, images = max(split.sizes.items(), key=lambda item: item[1])
    return f"{by(size)} ({count(images)})" if len(split.sizes) > 1 else by(size)


def _bounds(checked: Checked) -> str:
    splits = [split for split in checked.splits if split.bounds]
    if not splits:
        return "<p>Not measured.</p>"
    factors = sorted({f for split in splits for f in split.bounds or ()}, reverse=True)
    rows = [
        [
            f"FCN-{factor}s",
            f"1/{factor}",
            *(_share((split.bounds or {}).get(factor)) for split in splits),
        ]
        for factor in factors
    ]
    columns = (
        "variant",
        "resolution",
        *(f"mean IU %, {short_name(split, splits)}" for split in splits),
    )
    return (
        "<p>What the masks themselves would score if every square of 32, 16 or 8 pixels had one "
        "class, the one that most of it has: the cost of thin things at the resolution of each "
        "variant. A network that interpolates its scores can do a little better.</p>"
        f"{table(columns, rows, texts=2, kind='bounds')}"
    )


def _gallery(checked: Checked) -> str:
    if not checked.pictures:
        return "<p>There is nothing to show.</p>"
    shown = "".join(_picture(picture) for picture in checked.pictures)
    return (
        "<p>Worst first: samples with errors, with warnings, with much void, examples of the "
        "rarest classes, and others. Photographs are grey below the colours of their classes; "
        '<span class="swatch void"></span>void is hatched. Of a sample whose files do not fit '
        f'together, what can be read is shown as it is.</p><div class="gallery">{shown}</div>'
    )


def _picture(picture: Picture) -> str:
    level = (
        f'<span class="level {picture.severity}">{picture.severity}</span>'
        if picture.severity in ("error", "warning")
        else ""
    )
    listed = ", ".join(
        f"{verbatim(name)} {percent(share)}&thinsp;%" for name, share in picture.contents[:_NAMED]
    )
    more = len(picture.contents) - _NAMED
    listed += f" and {more} more" if more > 0 else ""
    alt = verbatim(f"{picture.id}: {shortened(picture.reason, 120)}")
    return (
        f'<figure><img src="{jpeg_uri(picture.thumbnail)}" alt="{alt}" loading="lazy">'
        f"<figcaption><code>{verbatim(shortened(picture.id, 200))}</code>"
        f"<span>{verbatim(picture.split)}, {verbatim(picture.size)}</span>"
        f'<span class="why">{level}{verbatim(shortened(picture.reason, _REASON))}</span>'
        f"<span>{listed}</span></figcaption></figure>"
    )


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _counted(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
