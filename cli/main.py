"""The commands of `ecr-grants`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from shared.errors import LedgerError
from shared.ledger import Ledger, check_schema, upgrade_schema
from shared.messages import message_schemas

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Operate ECR Grants: approved, audited, reversible grants.",
)
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger's database.")
app.add_typer(ledger_app, name="ledger")

LedgerUrl = Annotated[
    str,
    typer.Option(
        envvar="LEDGER_URL", help="Database address: postgresql+psycopg://… or sqlite:///…", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")]


@app.callback()
def main() -> None:
    """Commands speak to the ledger and the deployed functions; none of them needs the cloud's console."""


@contextmanager
def _ledger(url: str) -> Iterator[Ledger]:
    """The ledger, or one line that says what is wrong and exit code 1."""
    try:
        ledger = Ledger(url)
        try:
            yield ledger
        finally:
            ledger.close()
    except LedgerError as error:
        typer.echo(f"ecr-grants: {error}", err=True)
        raise typer.Exit(1) from None


def _say(sentence: str, *, as_json: bool, **facts: object) -> None:
    typer.echo(json.dumps(facts) if as_json else sentence)


@app.command("schemas")
def schemas(
    folder: Annotated[Path, typer.Option(help="Where they are written.")] = Path("docs/schemas"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 when a file is not current.")
    ] = False,
) -> None:
    """Write the JSON Schemas of the messages that leave and enter."""
    stale = []
    for name, text in message_schemas().items():
        path = folder / name
        if check and (not path.exists() or path.read_text("utf-8") != text):
            stale.append(str(path))
        elif not check:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    if stale:
        typer.echo(f"not current: {', '.join(stale)}; run `make schemas`", err=True)
        raise typer.Exit(1)


@ledger_app.command("upgrade")
def ledger_upgrade(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """Create the tables, or bring them to what this version wants. Safe to repeat."""
    with _ledger(ledger_url) as ledger:
        revision = upgrade_schema(ledger)
        _say(f"the ledger is at revision {revision}", as_json=as_json, revision=revision)


@ledger_app.command("check")
def ledger_check(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """Say whether the tables are the ones this version wants; exit code 1 when not."""
    with _ledger(ledger_url) as ledger:
        revision = check_schema(ledger)
        _say(f"the ledger is at revision {revision}, as wanted", as_json=as_json, revision=revision)
