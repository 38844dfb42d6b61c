"""The one way to standard output and standard error: what is printed is safe for a terminal, and whole.

Texts that came from the cloud, a queue or a message may hold anything: escape sequences that rewrite the screen, line breaks
that forge a line, marks that turn the reading direction, characters that nobody sees. So each line goes through ``safe``. Lines
are never cut and never wrapped here: a terminal wraps by itself, and in a file or a pipe an id stays an id.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import typer

from shared.messages.cells import cell, safe


def prepare() -> None:
    """Let no letter stop a command: where a stream cannot write it, it stands there escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _answer(text: str, *, nl: bool = True) -> None:
    """Part of the answer. A full disk is said in one line; who stops reading, as ``head`` does, is told nothing."""
    try:
        typer.echo(text, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.stdout = io.StringIO()  # what is left of the answer must not be tried once more at the very end
        complain(f"the answer cannot be written: {error.strerror}")
        raise typer.Exit(1) from None


def say(line: object = "") -> None:
    """One line of the answer."""
    _answer(safe(line))


def remark(line: object) -> None:
    """One line beside the answer, on standard error."""
    typer.echo(safe(line), err=True)


def complain(text: object) -> None:
    """What is wrong, in one line on standard error."""
    remark(f"ecr-grants: {text}")


def document(facts: object) -> None:
    """The answer for programs: one JSON document in ASCII, in one line."""
    _answer(json.dumps(facts))


def either(sentence: str, *, as_json: bool, **facts: Any) -> None:
    """A sentence for people, or its facts for programs."""
    if as_json:
        document(facts)
    else:
        say(sentence)


def rows(fields: Sequence[str], found: Iterable[Mapping[str, object]]) -> None:
    """The answer for spreadsheets: comma-separated values with a line of names. No cell becomes a formula."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(fields)
    for row in found:
        table.writerow([cell(row.get(field)) for field in fields])
    _answer(written.getvalue(), nl=False)


def moment(milliseconds: int | None) -> str | None:
    """A time of the ledger as people and programs read it, in UTC."""
    if milliseconds is None:
        return None
    text = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")


def texts(document_: str) -> None:
    """A document of ours of many lines."""
    for line in document_.rstrip("\n").split("\n"):
        say(line)
