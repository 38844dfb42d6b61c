"""Attributes and listings: what the operations on queues, topics and subscriptions read and answer alike."""

import base64
import binascii
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final

from localcloud.mns.attributes import whole_number
from localcloud.mns.context import Context, Reply
from localcloud.mns.errors import refuse
from localcloud.mns.markup import Element, branch, document, leaf
from localcloud.ordered import Names
from localcloud.refusal import not_emulated

MAX_PAGE: Final = 1_000


def given_attributes(element: Element, names: Iterable[str]) -> dict[str, str]:
    """The attributes a client sent, empty ones left out."""
    if element.value("QueueType") not in {None, "normal"}:
        raise not_emulated("A FIFO queue")
    return {name: value for name in names if (value := element.value(name)) is not None}


def page(context: Context, item: str, owned: Names[Any], entry: Callable[[str], str]) -> Reply:
    """One page of a listing by name. The marker is left out on the last page: one client cannot read an empty one."""
    headers = context.asked.headers
    limit = whole_number("x-mns-ret-number", headers.get("x-mns-ret-number") or str(MAX_PAGE), 1, MAX_PAGE)
    prefix = headers.get("x-mns-prefix", "")
    after = _read_marker(headers.get("x-mns-marker", ""))
    names = owned.page(prefix=prefix, after=after)
    shown = list(itertools.islice(names, limit))
    inner = "".join(branch(item, entry(name)) for name in shown)
    if next(names, None) is not None:
        inner += leaf("NextMarker", base64.urlsafe_b64encode(shown[-1].encode()).decode())
    return Reply(200, document(f"{item}s", inner))


def _read_marker(marker: str) -> str:
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise refuse("InvalidArgument", f"The marker {marker[:40]!r} is invalid.") from error
