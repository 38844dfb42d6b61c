"""Lists over the desk's API: as a table, as JSON or as comma-separated values, whole in each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from cli.desk_client import Json
from cli.output import document, rows, say
from shared.errors import SettingsError

Format = Annotated[str, typer.Option("-o", "--output", metavar="table|json|csv", help="How to print it.")]


def format_of(text: str) -> str:
    """The word of ``--output``. Raises SettingsError."""
    if text not in ("table", "json", "csv"):
        raise SettingsError(f"--output must be table, json or csv (found {text[:80]!r})")
    return text


def listed(found: Sequence[Json], columns: Sequence[str], form: str, every: Iterable[str] = ()) -> None:
    """Print a list. ``columns``: of the table; ``every``: all there are, for comma-separated values, where those are more.

    JSON has everything. No cell is cut, however wide the terminal is.
    """
    if form == "json":
        document(list(found))
    elif form == "csv":
        names = tuple(every) or columns
        rows(names, [{name: _flat(one.get(name)) for name in names} for one in found])
    else:
        lines = [[_text(one.get(name)) for name in columns] for one in found]
        widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
        for line in (columns, *lines):
            say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _flat(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list) else value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(_flat(value) or "-")
