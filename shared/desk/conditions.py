"""Conditional calls (RFC 9110 section 13): whoever looked names by its ETag what they saw."""

from __future__ import annotations

import hashlib
import re

from shared.errors import NotAllowed

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def tag_of(text: str) -> str:
    """The ETag of what is shown so: strong, as the answer is the same byte by byte."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def ensure_matches(header: str | None, tag: str) -> None:
    """Go on where ``If-Match`` names this tag, or is not there. Raises NotAllowed (NotAsShown)."""
    if header is not None and not _named(header, tag, weak=False):
        raise NotAllowed(
            "If-Match: it does not stand as it did there: look again, then say it again", code="NotAsShown"
        )


def unchanged(header: str | None, tag: str) -> bool:
    """Whether ``If-None-Match`` says that the caller has this already."""
    return header is not None and _named(header, tag, weak=True)


def _named(header: str, tag: str, *, weak: bool) -> bool:
    if header.strip() == "*":
        return True
    return any(known == tag and (weak or not mark) for mark, known in _TAG.findall(header))
