"""What a page's bytes become by the HTML standard's own rules of parsing, and whether anything of a stored text became markup."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from justhtml import JustHTML

from tests.page.hostile import MARK, plain, without

_NEVER = frozenset({"base", "embed", "frame", "iframe", "img", "math", "object", "plaintext", "style", "template"})
"""Elements that no page of ours has: each loads, runs or hides something."""
_ADDRESSES = frozenset({"action", "formaction", "href", "hx-get", "hx-post", "src", "xlink:href"})
_WORDS = frozenset({"aria-label", "content", "placeholder", "title", "value"})
"""Attributes that are texts for people, or what a form sends back."""
_DEEP = 4
_ENTITY = re.compile(r"&(#\d+|#x[0-9a-f]+|lt|gt|amp|quot);", re.IGNORECASE)


def wrong_with(html: str, *, whole: bool = True) -> list[str]:
    """Everything about a page that a text may not do to it; nothing where it is only shown.

    ``whole``: also where a stored text is told otherwise than it is, cut in the middle or escaped twice.
    """
    # Scripts run where people look, so what stands in <noscript> is no markup there; nothing is to be left out of the tree.
    document = JustHTML(html, sanitize=False, collect_errors=True, fragment=not html.startswith("<!doctype html>"))
    found = [f"line {one.line}: {one.code}" for one in document.errors if one.category != "security"]
    for node in _nodes(document.root):
        if node.name == "#text":
            found += _of_text(node.data, "a text", whole=whole)
        elif node.name == "#comment":
            found += [f"a comment: {node.data}"] if MARK in node.data else []
        elif not node.name.startswith(("#", "!")):
            found += _of_element(node, whole=whole)
    return found


def _nodes(node: Any) -> Iterator[Any]:
    for child in node.children or ():
        yield child
        yield from _nodes(child)


def _of_element(node: Any, *, whole: bool) -> Iterator[str]:
    name, attributes = node.name, {key.lower(): value or "" for key, value in node.attrs.items()}
    if MARK in name or name in _NEVER:
        yield f"<{name}> is an element"
    if name == "script" and (not attributes.get("src", "").startswith("/static/") or node.children):
        yield "a script that is not a file of ours"
    if name == "meta" and "http-equiv" in attributes:
        yield "a meta element that acts"
    for key, value in attributes.items():
        where = f"{key} of <{name}>"
        if MARK in key or key.startswith(("on", "hx-on")) or key in ("style", "srcdoc"):
            yield f"{where} is an attribute"
        if key in _ADDRESSES:
            yield from _of_address(value, where, whole=whole)
        elif key in _WORDS:
            yield from _of_text(value, where, whole=whole)
        elif MARK in value:
            yield f"{where} has a stored text: {value}"


def _of_address(value: str, where: str, *, whole: bool) -> Iterator[str]:
    parts = urlsplit(value)
    own = value.startswith(("/", "#", "?")) and not value.startswith(("//", "/\\"))
    if not own or parts.scheme or parts.netloc:
        yield f"{where} leads elsewhere: {value}"
    said = [value]
    while "%" in said[-1] and len(said) < _DEEP:  # an address may have another in it
        said.append(unquote_plus(said[-1]))
    if all(MARK in without(plain(one)) for one in said):
        yield from _of_text(said[-1], where, whole=whole)


def _of_text(text: str, where: str, *, whole: bool) -> Iterator[str]:
    if not whole or MARK not in text:
        return
    rest = without(plain(text))
    if MARK in rest:
        kind = (
            "is escaped twice" if _ENTITY.search(rest) and MARK not in without(plain(unescape(text))) else "is not it"
        )
        yield f"{where} {kind}: {rest[:200]}"


def said_by(html: str) -> str:
    """Everything that a page says, its blanks as one: its texts, and what its form fields begin with."""
    document = JustHTML(html, sanitize=False, fragment=not html.startswith("<!doctype html>"))
    found = []
    for node in _nodes(document.root):
        if node.name == "#text":
            found.append(node.data)
        elif not node.name.startswith(("#", "!")):
            found.append(node.attrs.get("value") or "")
    return plain(" ".join(found))
