"""The ledger's database and its record: brought up to date, checked, proven."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cli.common import AsJson, LedgerUrl, addressed, command, command_line, opened
from cli.output import either
from shared.errors import SettingsError
from shared.ledger.proof import Head, first_fault, head_of
from shared.ledger.schema import check_schema, upgrade_schema
from shared.ledger.transactions import now_ms

app = command_line("ledger", "The ledger's database and its record.")


@command(app, "upgrade")
def ledger_upgrade(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """Create the tables, or bring them to what this version wants. Safe to repeat."""
    with addressed(ledger_url) as ledger:
        revision = upgrade_schema(ledger)
        either(f"the ledger is at revision {revision}", as_json=as_json, revision=revision)


@command(app, "check")
def ledger_check(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """Say whether the tables are the ones this version wants; exit code 1 when not."""
    with opened(ledger_url) as ledger:
        revision = check_schema(ledger)
        either(f"the ledger is at revision {revision}, as wanted", as_json=as_json, revision=revision)


@command(app, "verify")
def ledger_verify(
    ledger_url: LedgerUrl,
    heads: Annotated[
        Path | None,
        typer.Option(help="Signed heads, one JSON object a line, as reconcile logs them (event ledger.head)."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(envvar="HEAD_PUBLIC_KEY", help="Base64 of the Ed25519 public key that heads are signed with."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove the record: find an event that was edited, dropped, reordered, cut off or hashed anew.

    Without --heads a chain that was cut off or hashed anew as a whole cannot be told from a true one.
    """
    with opened(ledger_url) as ledger:
        signed = [] if heads is None else _read_heads(heads)
        public = None if key is None else _public_key(key)
        if signed and public is None:
            raise SettingsError("--heads needs --key: a head proves nothing without its signature")
        fault = ledger.read(first_fault, signed, public)
        if fault is not None:
            either(f"NOT INTACT: {fault}", as_json=as_json, intact=False, fault=fault)
            raise typer.Exit(1)
        last = ledger.read(head_of, now_ms()).seq
        either(
            f"intact: {last} events, {len(signed)} signed heads agree",
            as_json=as_json,
            intact=True,
            events=last,
            heads=len(signed),
        )


def _read_heads(path: Path) -> list[Head]:
    """The heads in a file; log lines that are none are passed over. Raises SettingsError naming the line."""
    found = []
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise SettingsError(f"--heads {path}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        try:
            fact = json.loads(line)
            if isinstance(fact, dict) and fact.get("event", "ledger.head") == "ledger.head":
                found.append(Head(int(fact["seq"]), str(fact["hash"]), int(fact["at"]), str(fact["signature"])))
        except (ValueError, KeyError, TypeError):
            raise SettingsError(f"--heads {path}: line {number} is not a head") from None
    return found


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise SettingsError("--key must be the Base64 of a 32-byte Ed25519 public key") from None
