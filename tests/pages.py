"""HTML pages read back by the parser of the standard library."""

import re
from html.parser import HTMLParser

EMPTY = {"meta", "link", "br", "img", "hr", "input", "source"}


class Page(HTMLParser):
    """A page whose tags are all closed in their order.

    Attributes:
        tags: every tag with its attributes, in order.
        text: what is shown, with single spaces.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._shown: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self._shown).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not set(self._open) & {"style", "script"}:
            self._shown.append(data)

    def named(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def check_self_contained(page: str) -> Page:
    """Assert that nothing on the page is loaded from elsewhere, and that no text became code."""
    found = Page(page)
    without_pictures = re.sub(r"data:image/[a-z]+;base64,[\w+/=]+", "", page)
    assert not re.search(r"https?:|//\w", without_pictures)
    assert "url(" not in without_pictures
    assert "@import" not in page
    assert not {"iframe", "link", "object", "embed", "form", "base"} & {t for t, _ in found.tags}
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            target = attributes.get(name, "#")
            here = ("#", "data:image/jpeg;base64,", "data:image/png;base64,")
            assert target.startswith(here), target
    identifiers = [a["id"] for _, a in found.tags if "id" in a]
    assert len(set(identifiers)) == len(identifiers)
    assert {a["href"][1:] for a in found.named("a")} <= set(identifiers)
    return found
