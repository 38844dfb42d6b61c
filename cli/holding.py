"""What people say must not be done: the mode of a deployment, and holds on a router, an account or a grant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from cli.common import As, AsJson, LedgerUrl, MnsEndpoint, NotSo, formed, opened, operator_name
from cli.letters import messaging_at, wake_queue
from cli.output import document, either, moment, remark, say
from cli.standing import OF_HOLD, operator
from shared.errors import GrantError, SettingsError
from shared.ledger.operating import lift_hold, read_holds, said_mode, set_hold, set_mode, touches_anything
from shared.ledger.transactions import now_ms
from shared.messages.completion import WAKE
from shared.messages.forms import AccountId, EcrId, GrantId, Why
from shared.rules.facts import Hold, HoldKind, Mode, Side
from shared.rules.questions import Command, TargetKind

Kind = Annotated[HoldKind, typer.Argument(help="What is put on hold.")]
_NAMES = {HoldKind.ECR: EcrId, HoldKind.ACCOUNT: AccountId, HoldKind.GRANT: GrantId}
Name = Annotated[str, typer.Argument(help="The router's id, the account's uid, or the grant's id.")]


def mode(
    ledger_url: LedgerUrl,
    to: Annotated[
        Mode | None,
        typer.Argument(help="The mode to set; without it, the present one is shown."),
    ] = None,
    mns_endpoint: MnsEndpoint = None,
    claimed: As = None,
    as_json: AsJson = False,
) -> None:
    """Show or set what may act.

    observe looks and reports, pause-teardown takes nothing down and narrows nothing, pause-all only admits, full acts. It holds
    for every write that is not committed to yet. A change is an event of the record, with the name of whoever made it. What it
    releases is woken at once where --mns-endpoint is known, else by the timer. Policy (operate) decides who may set it.
    """
    with opened(ledger_url) as ledger:
        if to is not None:
            who = operator_name(claimed)
            by = operator(ledger, who)
            by.ensure(Command.MODE, TargetKind.DEPLOYMENT, by.deployment)
            released = ledger.write(set_mode, to, who, now_ms())
            _wake(released if to is not Mode.OBSERVE else (), mns_endpoint)
        present = ledger.read(said_mode)
        either(
            f"the mode is {present}" if present else "nobody set a mode: the deployment's own (MODE) holds",
            as_json=as_json,
            mode=present,
        )


def hold(
    ledger_url: LedgerUrl,
    kind: Annotated[
        HoldKind | None, typer.Argument(help="What to put on hold; without it, all holds are shown.")
    ] = None,
    name: Annotated[str | None, typer.Argument(help="The router's id, the account's uid, or the grant's id.")] = None,
    reason: Annotated[str, typer.Option(help="Why: answers and lists show it.", show_default=False)] = "",
    everything: Annotated[bool, typer.Option("--all", help="Take nothing down either.")] = False,
    claimed: As = None,
    as_json: AsJson = False,
) -> None:
    """Freeze an ECR, an account or a grant until somebody lifts it, or show what is on hold.

    Nothing is created, widened or repaired meanwhile; with --all nothing is taken down either. Closing is recorded all the same,
    and answered with the hold. What is committed to already is brought to its end. Policy (operate) decides who may set one.
    """
    with opened(ledger_url) as ledger:
        if kind is None:
            _tell(ledger.read(read_holds), as_json=as_json)
            return
        if name is None or not reason.strip():
            raise SettingsError("say what to put on hold, and --reason")
        named, why = formed(_NAMES[kind], name, f"the name of the {kind}"), formed(Why, reason, "--reason")
        who = operator_name(claimed)
        there = ledger.read(touches_anything, kind, named)
        if not there and kind is HoldKind.GRANT:
            raise NotSo(f"{named}: no grant has that name; see `ecr-grants grants`")
        operator(ledger, who).ensure(Command.HOLD, OF_HOLD[kind], named)
        now = now_ms()
        said = Hold(kind, named, everything, who, why, now)
        ledger.write(set_hold, said, now)
        if not there:
            remark(f"no grant of the {kind} {named} is known yet: it holds for what comes")
        either(said.text, as_json=as_json, kind=kind, name=named, everything=everything, who=said.who)


def lift(
    ledger_url: LedgerUrl,
    kind: Kind,
    name: Name,
    mns_endpoint: MnsEndpoint = None,
    claimed: As = None,
    as_json: AsJson = False,
) -> None:
    """Lift a hold.

    What it had stopped is woken at once where --mns-endpoint is known, else by the timer. Policy (operate) decides who may.
    """
    with opened(ledger_url) as ledger:
        who = operator_name(claimed)
        released = None
        if any((one.kind, one.name) == (kind, name) for one in ledger.read(read_holds)):
            operator(ledger, who).ensure(Command.LIFT, OF_HOLD[kind], name)
            released = ledger.write(lift_hold, kind, name, who, now_ms())
        if released is None:
            raise NotSo(f"the {kind} {name} is not on hold; see `ecr-grants hold`")
        _wake(released, mns_endpoint)
        either(f"{who} lifted the hold of the {kind} {name}", as_json=as_json, kind=kind, name=name, who=who)


def _tell(found: Sequence[Hold], *, as_json: bool) -> None:
    if as_json:
        document([vars(one) for one in found])
    elif not found:
        say("nothing is on hold")
    for one in found if not as_json else ():
        say(f"{moment(one.at)}  {one.text}")


def _wake(released: Sequence[tuple[str, Side]], endpoint: str | None) -> None:
    """Have it looked at now; where that cannot be said, the timer finds it."""
    if not released:
        return
    if endpoint is None:
        remark(f"{len(released)} waited for this: the timer wakes them, or now `ecr-grants run reconcile`")
        return
    messaging = messaging_at(endpoint)
    for grant_id, side in released:
        try:
            messaging.send(wake_queue(side), json.dumps({"schema": WAKE, "grant_id": grant_id}))
        except GrantError as error:
            remark(f"{grant_id} was not woken, so the timer finds it: {error}")
