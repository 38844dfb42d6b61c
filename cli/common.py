"""What the commands share: how they are told about the ledger, and how they say what went wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from shared.errors import GrantError, LedgerError, SettingsError
from shared.ledger.schema import check_schema
from shared.ledger.transactions import Ledger

LedgerUrl = Annotated[
    str,
    typer.Option(
        envvar="LEDGER_URL", help="Database address: postgresql+psycopg://… or sqlite:///…", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@contextmanager
def troubles() -> Iterator[None]:
    """One line that says what is wrong, and exit code 1, for everything that can be expected to go wrong."""
    try:
        yield
    except (LedgerError, GrantError, SettingsError) as error:
        typer.echo(f"ecr-grants: {error}", err=True)
        raise typer.Exit(1) from None


@contextmanager
def opened(url: str) -> Iterator[Ledger]:
    """The ledger at an address, with the schema this version wants."""
    with troubles():
        ledger = Ledger(url)
        try:
            check_schema(ledger)
            yield ledger
        finally:
            ledger.close()
