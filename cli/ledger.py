"""The ledger's database and its record: brought up to date, checked, proven."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cli.common import AsJson, LedgerUrl, NotSo, addressed, command, command_line, opened
from cli.output import either
from shared.errors import SettingsError
from shared.ledger.heads import Head, head_of, heads_in
from shared.ledger.proof import first_fault
from shared.ledger.revision import CODE
from shared.ledger.roles import limit_desk
from shared.ledger.schema import Half, Schema, check_schema, upgrade_schema
from shared.ledger.transactions import now_ms

app = command_line("ledger", "The ledger's database and its record.")


@command(app, "upgrade")
def ledger_upgrade(
    ledger_url: LedgerUrl,
    before: Annotated[bool, typer.Option("--before", help="What the version that runs now can live with.")] = False,
    after: Annotated[bool, typer.Option("--after", help="What is left, when nothing older than this runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create the tables; bring those of a ledger in use to what this version wants, one half --before it and one --after it.

    Safe to repeat. Without either option a ledger in use is not changed: what to do is said.
    """
    if before and after:
        raise typer.BadParameter("--before and --after have a deployment between them: say one")
    half = Half.BEFORE if before else Half.AFTER if after else None
    with addressed(ledger_url) as ledger:
        _tell(upgrade_schema(ledger, half), as_json)


@command(app, "check")
def ledger_check(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """Say whether the ledger accepts this version, and which others; exit code 1 when not."""
    with addressed(ledger_url) as ledger:
        _tell(check_schema(ledger), as_json)


@command(app, "desk-role")
def ledger_desk_role(
    role: Annotated[str, typer.Argument(help="A role of the database that can sign in; it is not made here.")],
    ledger_url: LedgerUrl,
    as_json: AsJson = False,
) -> None:
    """Let a role do in the ledger what the desk does, and take every other right there from it. Once, and after each upgrade.

    The address must be of whoever owns the tables and may alter the role.
    """
    with opened(ledger_url) as ledger:
        schema = limit_desk(ledger, role)
        text = (
            f"{role} can read, ask, decide, withdraw and say operating words in the schema {schema}, and nothing else"
        )
        either(text, as_json=as_json, role=role, schema=schema)


def _tell(found: Schema, as_json: bool) -> None:
    either(
        f"the ledger is at revision {found.revision}, and accepts code of revision {found.oldest} to {found.newest}"
        f" (this is {CODE})",
        as_json=as_json,
        revision=found.revision,
        oldest=found.oldest,
        newest=found.newest,
        code=CODE,
    )


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
    empty: Annotated[bool, typer.Option("--empty", help="A record without any event is what I expect.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove the record: find an event that was edited, dropped, reordered, cut off or hashed anew, and any row that decides
    something and is not what follows from the events: leases, closes, marks, whose a side is, mode and holds.

    Without --heads a chain that was cut off or hashed anew as a whole cannot be told from a true one. Nobody waits for it.
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
        if not last and not empty:
            raise NotSo("the record is empty, which proves nothing: say --empty where that is right")
        either(
            f"intact: {last} events, {len(signed)} signed heads agree",
            as_json=as_json,
            intact=True,
            events=last,
            heads=len(signed),
        )


def _read_heads(path: Path) -> list[Head]:
    """The heads in log lines as they come. Raises SettingsError, naming the line, also where there are none at all."""
    try:
        found = list(heads_in(path.read_text("utf-8", "replace").splitlines()))
    except OSError as error:
        raise SettingsError(f"--heads {path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise SettingsError(f"--heads {path}: {error}") from None
    if not found:
        raise SettingsError(f"--heads {path}: holds no head (lines with the event ledger.head)")
    return found


def _public_key(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except ValueError:
        raise SettingsError("--key must be the Base64 of a 32-byte Ed25519 public key") from None
