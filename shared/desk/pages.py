"""Lists over HTTP: a page at a time with the place of the next one, or the whole as comma-separated values."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from shared.desk.problems import NotSignedIn
from shared.desk.tokens import Seals, Use
from shared.errors import BadInput
from shared.messages.cells import cell
from shared.messages.texts import canonical

PAGE = 100
_EXPORT = 1_000
"""Rows of a page that nobody sees, on the way to the whole."""
_LIFE = timedelta(hours=24)
Place = tuple[Any, ...]


class Format(StrEnum):
    """How a list is answered."""

    JSON = "json"
    CSV = "csv"


async def _format(request: Request, said: Annotated[Format | None, Query(alias="format")] = None) -> Format:
    """As ``format`` says, else as the caller accepts. Comma-separated values are the whole list, from its beginning."""
    if said is not None:
        return said
    accepted = request.headers.get("accept", "")
    return Format.CSV if "text/csv" in accepted and "application/json" not in accepted else Format.JSON


HowAnswered = Annotated[Format, Depends(_format)]
After = Annotated[str | None, Query(max_length=2000, description="`next` of the page before, of the same list")]
TABLE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "a page, or the whole as CSV"}
}


@dataclass(frozen=True)
class Listing:
    """One list for one caller. ``of``: what it is a list of, whose, and with which filters: a place is good for no other.

    ``fetch``: so many rows behind a place, in order; ``place``: of a row; ``line``: a row as it is answered.
    """

    of: Mapping[str, Any]
    fetch: Callable[[Place | None, int], Sequence[Any]]
    place: Callable[[Any], Place]
    line: Callable[[Any], BaseModel]


def answered(listing: Listing, page: type[BaseModel], seals: Seals, after: str | None, how: Format) -> Response:
    """A page, or the whole. Raises BadInput for a place of another list, or one that was not answered by us."""
    [member] = [name for name in page.model_fields if name != "next"]
    if how is Format.CSV:
        lines = page.model_fields[member].annotation.__args__[0]  # type: ignore[union-attr]  # a list of them
        first = listing.fetch(_behind(listing, seals, after), _EXPORT)  # before anything is answered: it may raise
        return StreamingResponse(
            _table(listing, list(lines.model_fields), first),
            media_type="text/csv",
            headers={"Content-Disposition": f'attachment; filename="{member}.csv"'},
        )
    lines, further = some(listing, seals, after)
    found = page(**{member: lines, "next": further})
    return Response(found.model_dump_json(), media_type="application/json")


def some(listing: Listing, seals: Seals, after: str | None, limit: int = PAGE) -> tuple[list[Any], str | None]:
    """The lines of a page, and the place of the next one, if there is one. Raises BadInput as ``answered`` does."""
    rows = listing.fetch(_behind(listing, seals, after), limit + 1)
    further = _made(seals, listing, rows[limit - 1]) if len(rows) > limit else None
    return [listing.line(row) for row in rows[:limit]], further


def _behind(listing: Listing, seals: Seals, after: str | None) -> Place | None:
    return None if after is None else _read(seals, listing, after)


def _table(listing: Listing, names: Sequence[str], rows: Sequence[Any]) -> Iterator[str]:
    """Whoever reads it sees whether it came to its end: where it does not, the connection breaks."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\r\n")
    table.writerow(names)
    while True:
        for row in rows:
            line = listing.line(row).model_dump(mode="json")
            table.writerow([cell(_flat(line[name])) for name in names])
        yield written.getvalue()
        written.seek(0)
        written.truncate()
        if len(rows) < _EXPORT:
            return
        rows = listing.fetch(listing.place(rows[-1]), _EXPORT)


def _flat(value: Any) -> Any:
    """A value in one cell."""
    if isinstance(value, list):
        return " ".join(str(_flat(one)) for one in value)
    return canonical(value).decode() if isinstance(value, dict) else value


def _named(listing: Listing) -> str:
    return hashlib.sha256(canonical(dict(listing.of))).hexdigest()[:32]


def _made(seals: Seals, listing: Listing, row: Any) -> str:
    return seals.make(Use.PLACE, {"of": _named(listing), "at": list(listing.place(row))}, _LIFE)


def _read(seals: Seals, listing: Listing, after: str) -> Place:
    try:
        said = seals.read(Use.PLACE, after)
    except NotSignedIn:
        raise BadInput("after: is no `next` of ours, or one of a day ago: begin anew") from None
    if said["of"] != _named(listing):
        raise BadInput("after: is the `next` of another list, or of this one with other filters")
    return tuple(said["at"])
