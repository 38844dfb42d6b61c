"""The commands of `ecr-grants`."""

from __future__ import annotations

import base64
import getpass
import json
import logging
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rich.console import Console
from rich.table import Table

from cli import dead
from cli.common import AsJson, LedgerUrl, opened, troubles
from shared.errors import SettingsError
from shared.ledger.drift import read_standing
from shared.ledger.heads import Head, head_of
from shared.ledger.operating import adopt, said_mode, set_mode
from shared.ledger.proof import first_fault
from shared.ledger.schema import check_schema, upgrade_schema
from shared.ledger.transactions import Ledger, now_ms
from shared.log import configure
from shared.messages import catalogue
from shared.messages.envelope import message_schemas
from shared.rules.facts import Mode, Side

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Operate ECR Grants: approved, audited, time-bound, reversible grants.",
)
ledger_app = typer.Typer(no_args_is_help=True, help="The ledger's database and its record.")
run_app = typer.Typer(no_args_is_help=True, help="Run a deployed function now.")
app.add_typer(ledger_app, name="ledger")
app.add_typer(run_app, name="run")
app.add_typer(dead.app, name="dead")


@app.callback()
def main() -> None:
    """Commands speak to the ledger and the deployed functions; none of them changes anything on the cloud itself."""
    configure("stderr", logging.WARNING)  # standard output is the command's own


def _say(sentence: str, *, as_json: bool, **facts: Any) -> None:
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
        typer.echo(f"not current: {', '.join(stale)}; run `make documents`", err=True)
        raise typer.Exit(1)


@app.command("errors")
def errors(
    code: Annotated[str | None, typer.Argument(help="A code, as a completion or a log line shows it.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write the whole catalogue to docs/errors.md.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 when docs/errors.md is not current.")] = False,
) -> None:
    """Say what an error code means, who must act, and what happens next."""
    path = Path("docs/errors.md")
    if write:
        path.write_text(catalogue.table(), "utf-8")
    elif check:
        if not path.exists() or path.read_text("utf-8") != catalogue.table():
            typer.echo(f"not current: {path}; run `make documents`", err=True)
            raise typer.Exit(1)
    elif code is None:
        typer.echo(catalogue.table())
    else:
        entry = catalogue.find(code)
        if entry is None:
            typer.echo(f"{code}: unknown; it is treated by its HTTP class, see docs/errors.md", err=True)
            raise typer.Exit(1)
        may_pass = "may pass by itself" if entry.may_pass else "does not pass by itself"
        typer.echo(f"{code}: {entry.en}\n{entry.zh}\nwho must act: {entry.who}; {may_pass}; next: {entry.next}")


@ledger_app.command("upgrade")
def ledger_upgrade(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """Create the tables, or bring them to what this version wants. Safe to repeat."""
    with troubles():
        ledger = Ledger(ledger_url)
        try:
            revision = upgrade_schema(ledger)
        finally:
            ledger.close()
        _say(f"the ledger is at revision {revision}", as_json=as_json, revision=revision)


@ledger_app.command("check")
def ledger_check(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """Say whether the tables are the ones this version wants; exit code 1 when not."""
    with opened(ledger_url) as ledger:
        revision = check_schema(ledger)
        _say(f"the ledger is at revision {revision}, as wanted", as_json=as_json, revision=revision)


@ledger_app.command("verify")
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
            _say(f"NOT INTACT: {fault}", as_json=as_json, intact=False, fault=fault)
            raise typer.Exit(1)
        last = ledger.read(head_of, now_ms()).seq
        _say(
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


@app.command("mode")
def mode(
    ledger_url: LedgerUrl,
    to: Annotated[
        Mode | None,
        typer.Argument(help="The mode to set; without it, the present one is shown."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what may act: observe looks and reports, pause-teardown takes nothing down, pause-all only admits, full acts."""
    with opened(ledger_url) as ledger:
        if to is not None:
            ledger.write(set_mode, to, getpass.getuser(), now_ms())
        present = ledger.read(said_mode)
        _say(
            f"the mode is {present}" if present else "nobody set a mode: the deployment's own (MODE) holds",
            as_json=as_json,
            mode=present,
        )


@app.command("adopt")
def take_as_ours(
    ledger_url: LedgerUrl,
    grant_id: Annotated[str, typer.Argument(help="The grant, as completions and `ecr-grants grants` name it.")],
    side: Annotated[
        Literal["grant", "associate", "both"], typer.Option(help="Account B's grant, account A's association, or both.")
    ] = "both",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take what was on the cloud before us as ours, so that the end of its leases takes it down.

    Writes to the ledger and touches nothing on the cloud. Where no lease is live, the next converge takes it down.
    """
    with opened(ledger_url) as ledger:
        sides = tuple(Side) if side == "both" else (Side(side),)
        if not yes:
            typer.confirm(
                f"Adopt {grant_id} ({', '.join(sides)})? Without a live lease it is taken down next", abort=True
            )
        adopted = [one for one in sides if ledger.write(adopt, grant_id, one, getpass.getuser(), now_ms())]
        if not adopted:
            raise SettingsError(f"{grant_id}: nothing foreign is known there")
        _say(f"adopted: {', '.join(adopted)} of {grant_id}", as_json=as_json, grant_id=grant_id, adopted=adopted)


@app.command("grants")
def grants(ledger_url: LedgerUrl, as_json: AsJson = False) -> None:
    """List every grant: what is wanted, what was last seen on both sides, and what is wrong."""
    with opened(ledger_url) as ledger:
        rows = [
            {
                "grant_id": one.key.grant_id,
                "ecr_id": one.key.ecr_id,
                "instance_id": one.key.instance_id,
                "instance_owner_uid": one.key.instance_owner_uid,
                "instance_region": one.key.instance_region,
                "grant": one.grant.state,
                "association": one.associate.state,
                "settled": one.settled,
                "ours": {"grant": one.grant.ours, "association": one.associate.ours},
                "dead": one.grant.dead or one.associate.dead,
                "drift": [json.loads(row.drift)["class"] for row in (one.grant, one.associate) if row.drift],
            }
            for one in list(read_standing(ledger))
        ]
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table("grant", "instance", "ECR", "granted", "association", "state")
    for row in rows:
        drift = ", ".join(str(kind) for kind in row["drift"])  # type: ignore[attr-defined]
        state = "dead" if row["dead"] else drift or ("settled" if row["settled"] else "under way")
        instance = f"{row['instance_id']} ({row['instance_owner_uid']})"
        table.add_row(
            str(row["grant_id"]), instance, str(row["ecr_id"]), str(row["grant"]), str(row["association"]), state
        )
    Console().print(table)


@run_app.command("reconcile")
def run_reconcile(
    endpoint: Annotated[
        str,
        typer.Option(
            envvar="FC_ENDPOINT", help="Function Compute: https://{uid}.{region}.fc.aliyuncs.com", show_default=False
        ),
    ],
    region: Annotated[str, typer.Option(envvar="REGION", help="The functions' region.")] = "cn-hangzhou",
    function: Annotated[str, typer.Option(help="The function's name.")] = "ecr-grants-reconcile",
    service: Annotated[
        str | None, typer.Option(help="The FC 2.0 service it is in; FC 3.0 functions have none.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare ledger and cloud now, and wake what is not as wanted. Exit code 1 when an account could not be read.

    Credentials come from ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and ALIBABA_CLOUD_SECURITY_TOKEN.
    """
    address = endpoint if "://" in endpoint else f"https://{endpoint}"
    # The vendor's SDK takes a second to import, and no other command needs it.
    from shared.cloud.functions import Functions  # noqa: PLC0415
    from shared.cloud.keys import home_keys  # noqa: PLC0415

    with troubles(), Console(stderr=True).status("reconciling"):
        answer = Functions(address, region, home_keys(None)).run(function, b"{}", service)
    report = answer.result
    if as_json:
        typer.echo(json.dumps(report))
    else:
        drift = ", ".join(f"{kind}: {count}" for kind, count in report["drift"].items()) or "none"
        typer.echo(
            f"compared {report['grants']} grants with the cloud in {report['calls']} calls, {report['seconds']} s"
        )
        typer.echo(f"  new drift: {drift}; earlier drift gone: {report['gone']}")
        typer.echo(f"  leases changed by time: {report['due']}; woken: {report['woken']}; last event: {report['head']}")
        for line in report["trouble"]:
            typer.echo(f"  not read: {line}")
    if report["trouble"]:
        raise typer.Exit(1)
