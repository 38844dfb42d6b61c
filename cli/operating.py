"""Operate over the desk's API, as whoever signed in: each command says a word, and the grant function carries it out."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cli.common import AsJson, NotSo, command, command_line, formed, troubles
from cli.desk_client import DeskAddress, DeskClient, Json
from cli.lists import Format, format_of, listed
from cli.output import document, remark, say
from shared.errors import SettingsError
from shared.ledger.operating_seen import WorkState
from shared.messages.forms import AccountId, EcrId, GrantId, OperationId, Why
from shared.rules.facts import HoldKind, Mode, Side

app = command_line(
    "operate", "Operate over the desk, as whoever signed in: hold, lift, redrive, adopt, repair, set the mode."
)

_EVERY_SECONDS = 1.0
_NAMES = {HoldKind.ECR: EcrId, HoldKind.ACCOUNT: AccountId, HoldKind.GRANT: GrantId}
_OPERATION = ("operation_id", "word", "kind", "name", "side", "mode", "who", "said_at", "outcome", "code", "text")
_ALL_OF_OPERATION = (*_OPERATION, "everything", "reason", "carried_out_at")
_HOLD = ("kind", "name", "everything", "who", "reason", "at")
_GRANT = ("grant_id", "instance_id", "instance_owner_uid", "ecr_id", "ecr_owner_uid")
_ALL_OF_GRANT = (*_GRANT, "instance_type", "instance_region")
_WORK = ("side", "state", "dead", "since", "code", "why", "attempts", "next_look", "waiting")
_DRIFT = ("side", "drift", "text", "ours", "since", "settled", "next_look")

Reason = Annotated[str, typer.Option(help="Why: answers, lists and the record show it.", show_default=False)]
Kind = Annotated[HoldKind, typer.Argument(help="What kind of thing.")]
Name = Annotated[str, typer.Argument(help="The router's id, the account's uid, or the grant's id.")]
Grant = Annotated[str, typer.Argument(help="The grant, g-…")]
Wait = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="How long to wait until it is carried out; 0: do not wait.")
]


@command(app, "hold")
def hold(
    kind: Kind,
    name: Name,
    desk: DeskAddress,
    reason: Reason,
    everything: Annotated[bool, typer.Option("--all", help="Take nothing down either.")] = False,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Freeze an ECR, an account or a grant until somebody lifts it."""
    said = {"word": "hold", "kind": kind, "everything": everything}
    _operate(desk, said, reason, wait, as_json, named=(_NAMES[kind], name, f"the name of the {kind}"))


@command(app, "lift")
def lift(kind: Kind, name: Name, desk: DeskAddress, reason: Reason, wait: Wait = 30, as_json: AsJson = False) -> None:
    """Lift a hold. What it had stopped goes on."""
    said = {"word": "lift", "kind": kind}
    _operate(desk, said, reason, wait, as_json, named=(_NAMES[kind], name, f"the name of the {kind}"))


@command(app, "redrive")
def redrive(
    grant: Grant,
    side: Annotated[Side, typer.Argument(help="The side that is dead.")],
    desk: DeskAddress,
    reason: Reason,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Try dead work again, once what it died of is mended."""
    _operate(desk, {"word": "redrive", "side": side}, reason, wait, as_json, named=(GrantId, grant, "the grant"))


@command(app, "adopt")
def adopt(
    grant: Grant,
    desk: DeskAddress,
    reason: Reason,
    side: Annotated[Side | None, typer.Option(help="Only this side; else both.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Take what was there before us as ours. Where no lease is live, it is taken down next."""
    if not yes:
        typer.confirm("Adopt it? Without a live lease it is taken down next", abort=True, err=True)
    said = {"word": "adopt"} | ({} if side is None else {"side": side})
    _operate(desk, said, reason, wait, as_json, named=(GrantId, grant, "the grant"))


@command(app, "repair")
def repair(grant: Grant, desk: DeskAddress, reason: Reason, wait: Wait = 30, as_json: AsJson = False) -> None:
    """Look at a grant that drifted now, and put right what is ours and still wanted."""
    _operate(desk, {"word": "repair"}, reason, wait, as_json, named=(GrantId, grant, "the grant"))


@command(app, "mode")
def mode(
    to: Annotated[Mode, typer.Argument(help="What may act.")],
    desk: DeskAddress,
    reason: Reason,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Set what may act, for the whole deployment."""
    _operate(desk, {"word": "mode", "mode": to}, reason, wait, as_json)


@command(app, "holds")
def holds(desk: DeskAddress, output: Format = "table") -> None:
    """List what is on hold, the oldest first."""
    _list(desk, "/holds", "holds", output, _HOLD)


@command(app, "work")
def work(
    desk: DeskAddress,
    state: Annotated[WorkState, typer.Option(help="Dead, or still tried or waiting.")] = WorkState.DEAD,
    output: Format = "table",
) -> None:
    """List work that is dead, or not done yet, the longest first, with why."""
    _list(desk, "/work", "work", output, (*_GRANT, *_WORK), (*_ALL_OF_GRANT, *_WORK, "read_at"), state=state)


@command(app, "drift")
def drift(desk: DeskAddress, output: Format = "table") -> None:
    """List where the cloud was found to be otherwise than had settled."""
    _list(desk, "/drift", "drift", output, (*_GRANT, *_DRIFT), (*_ALL_OF_GRANT, *_DRIFT, "state", "read_at"))


def operations(
    desk: DeskAddress,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that are not carried out yet.")] = False,
    output: Format = "table",
) -> None:
    """List what operators said at the desk, the newest first, and what became of it."""
    only = "true" if waiting else None
    _list(desk, "/operations", "operations", output, _OPERATION, _ALL_OF_OPERATION, waiting=only)


def _list(
    desk: str, path: str, member: str, output: str, columns: tuple[str, ...], every: tuple[str, ...] = (), **asked: Any
) -> None:
    with troubles():
        form = format_of(output)
        found = list(DeskClient(desk).pages(path, member, **asked))
    listed(found, columns, form, every)


def _operate(
    desk: str, said: Json, reason: str, wait: float, as_json: bool, *, named: tuple[Any, str, str] | None = None
) -> None:
    with troubles():
        if not reason.strip():
            raise SettingsError("--reason must say why")
        body = {**said, "reason": formed(Why, reason, "--reason")}
        if named is not None:
            body["name"] = formed(*named)
        client = DeskClient(desk)
        found = _carried_out(client, client.post("/operations", body), wait)
        if as_json:
            document(found)
        outcome = found["outcome"]
        if outcome is None and not as_json:
            remark(f"it is not carried out yet: see `ecr-grants operations` for {found['operation_id']}")
        if outcome == "done" and not as_json:
            say(f"{found['operation_id']}: {found['text']}")
        if outcome not in ("done", None):
            raise NotSo(f"{found['operation_id']}: {found['text']} ({found['code']})")


def _carried_out(client: DeskClient, said: Json, seconds: float) -> Json:
    """The operation once it is carried out, or as it stands when the time is over."""
    until, path = (
        time.monotonic() + seconds,
        f"/operations/{formed(OperationId, said['operation_id'], 'the operation')}",
    )
    while said["outcome"] is None and time.monotonic() < until:
        time.sleep(_EVERY_SECONDS)
        said = client.get(path)
    return said
