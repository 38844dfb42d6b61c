"""What somebody pasted who asks for one instance or for many: a line each, or comma-separated values with a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COLUMNS = ("instance", "prefixes", "end", "reason")
"""In this order where no header says otherwise."""
_ALIASES = {
    "instance": "instance",
    "instance_id": "instance",
    "id": "instance",
    "vpc": "instance",
    "vbr": "instance",
} | {
    "prefixes": "prefixes",
    "prefix": "prefixes",
    "allowed_prefixes": "prefixes",
    "cidr": "prefixes",
    "cidrs": "prefixes",
    "end": "end",
    "ends_at": "end",
    "until": "end",
    "reason": "reason",
}
_APART = re.compile(r"[\s;,|]+")


@dataclass(frozen=True)
class Line:
    """One instance that is asked for. ``number``: of the line, from 1; what is empty is as the form says for all."""

    number: int
    instance: str
    prefixes: tuple[str, ...] = ()
    end: str = ""
    reason: str = ""
    fault: str = ""


def lines_of(text: str) -> list[Line]:
    """The lines that say something. A line that cannot be understood has a fault, and stands in its place all the same."""
    rows = [(number, row) for number, row in _rows(text) if any(cell.strip() for cell in row)]
    if not rows:
        return []
    header = [_ALIASES.get(cell.strip().lower()) for cell in rows[0][1]]
    named: Sequence[str | None] = COLUMNS
    if header[0] is not None:
        named, rows = header, rows[1:]
    return [_line(number, row, named) for number, row in rows]


def prefixes_of(text: str) -> tuple[str, ...]:
    """Prefixes that are written with blanks, commas, semicolons or on lines of their own between them."""
    return tuple(dict.fromkeys(one for one in _APART.split(text.strip()) if one))


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """A line at a time, so that one with a quote that never ends takes no other with it."""
    for number, line in enumerate(text.splitlines(), start=1):
        cells = line.replace("\t", ",")
        yield number, next(iter(csv.reader([cells], skipinitialspace=True)), [])


def _line(number: int, row: Sequence[str], named: Sequence[str | None]) -> Line:
    cells = [cell.strip() for cell in row]
    if len(cells) > len(named):
        many = f"has {len(cells)} columns, at most {len(named)} are taken: put blanks between several prefixes"
        return Line(number, cells[0][:100], fault=many)
    said = {name: cell for name, cell in zip(named, cells, strict=False) if name is not None}
    return Line(
        number,
        said.get("instance", ""),
        prefixes_of(said.get("prefixes", "")),
        said.get("end", ""),
        said.get("reason", ""),
    )
