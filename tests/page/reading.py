"""A page as somebody reads it: its text, and its tables row by row."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_BLANKS = re.compile(r"\s+")


@dataclass
class Page:
    """``text``: all of it, blanks as one; ``rows``: the text of each row of each table; ``facts``: of each term, what it is."""

    title: str = ""
    text: str = ""
    rows: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def row(self, *said: str) -> str:
        """The one row that has all of these."""
        found = [row for row in self.rows if all(one in row for one in said)]
        assert len(found) == 1, f"{len(found)} rows have {said}: {found}"
        return found[0]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._open: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.page.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in _VOID:
            self._open.append((tag, []))

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> ends nothing"
        name, texts = self._open.pop()
        assert name == tag, f"</{tag}> ends a <{name}>"
        text = _BLANKS.sub(" ", " ".join(texts)).strip()
        if tag == "tr":
            self.page.rows.append(text)
        elif tag == "title" and not self.page.title:
            self.page.title = text
        elif tag == "dt":
            self.page.facts.append((text, ""))
        elif tag == "dd":
            self.page.facts[-1] = (self.page.facts[-1][0], text)
        elif tag == "body":
            self.page.text = text


def read(html: str) -> Page:
    """What a page says. Its tags must fit together."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page
