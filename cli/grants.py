"""Grants as the ledger has them: listed, shown whole, and taken as ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from cli.common import As, AsJson, LedgerUrl, NotSo, fits, opened, operator_name
from cli.looking import show_over_desk
from cli.output import document, either, moment, rows, say
from cli.standing import operator
from shared.ledger.operating import adopt
from shared.ledger.transactions import Ledger, now_ms
from shared.ledger.views import GrantView, LeaseView, SideView, grant_ids, history_of, view_grants
from shared.messages.cells import safe
from shared.messages.forms import GrantId
from shared.rules.facts import DriftKind
from shared.rules.leases import state_of
from shared.rules.questions import Command, TargetKind

Facts = dict[str, Any]

_FIELDS = (
    "grant_id",
    "state",
    "why",
    "since",
    "instance_type",
    "instance_id",
    "instance_owner_uid",
    "instance_region",
    "ecr_id",
    "ecr_owner_uid",
    "wanted",
    "grant",
    "association",
    "association_id",
    "prefixes",
    "authorized_at",
    "grant_ours",
    "association_ours",
    "drift",
    "leases",
    "holds",
)
"""The columns of --csv."""

_STATES = ("settled", "under way", "early", "held", "overdue", "dead", *map(str, DriftKind))

Ecr = Annotated[str | None, typer.Option(help="Only grants of this ECR.")]
Account = Annotated[str | None, typer.Option(help="Only grants of this account, A or B.")]
State = Annotated[str | None, typer.Option(help="Only grants in this state, such as overdue, held, dead or settled.")]


def list_grants(
    ledger_url: LedgerUrl,
    ecr: Ecr = None,
    account: Account = None,
    state: State = None,
    history: Annotated[bool, typer.Option("--history", help="Those that are long gone, too.")] = False,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of text.")] = False,
) -> None:
    """List every grant: what is wanted, what was last seen on both sides, and why it is not as wanted."""
    if as_json and as_csv:
        raise typer.BadParameter("either --json or --csv")
    if state not in (None, *_STATES):
        raise typer.BadParameter(f"--state must be one of {', '.join(_STATES)} (found {state!r})")
    with opened(ledger_url) as ledger:
        views = ledger.read(view_grants, ledger.read(grant_ids, history=history))
        found = [facts_of(one) for one in views if _asked_for(one, ecr, account)]
    found = [one for one in found if state is None or state in (one["state"], *one["drift"])]
    if as_json:
        document(found)
    elif as_csv:
        rows(_FIELDS, [_flat(one) for one in found])
    elif not found:
        say("no such grant" if ecr or account or state else "nobody asked for a grant yet")
    else:
        for one in found:
            _tell(one)


def show(
    name: Annotated[str, typer.Argument(metavar="GRANT|REQUEST", help="The grant, g-…, or the request, r-…")],
    ledger_url: Annotated[
        str | None, typer.Option(envvar="LEDGER_URL", help="For administrators: the ledger itself.", show_default=False)
    ] = None,
    desk: Annotated[
        str | None, typer.Option(envvar="DESK_ADDRESS", help="The desk: https://grants.example.com", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show one grant or request whole: at the desk as you may see it; a grant out of the ledger where LEDGER_URL says which."""
    if desk is not None and (ledger_url is None or name.startswith("r-")):
        show_over_desk(name, desk, as_json)
    elif ledger_url is not None:
        _show_grant(ledger_url, name, as_json=as_json)
    else:
        raise typer.BadParameter("either --desk (DESK_ADDRESS) or --ledger-url (LEDGER_URL) must say where to look")


def _show_grant(ledger_url: str, grant_id: str, *, as_json: bool) -> None:
    """Both sides, every lease with its people and its end, holds, and what happened."""
    with opened(ledger_url) as ledger:
        facts = facts_of(_the_grant(ledger, grant_id))
        facts["history"] = ledger.read(history_of, grant_id)
    if as_json:
        document(facts)
        return
    _tell(facts)
    for lease in facts["leases"]:
        _tell_lease(lease)
    say("    what happened:")
    for event in facts["history"]:
        request = event.get("request")
        about = f" {request['request_id']} of {request['issuer']}" if request else ""
        reason = f": {event['reason']['text']}" if event.get("reason") else ""
        say(f"      {event['at']}  {event['event']}{about}{reason}")
        for served in event.get("served", []):
            say(f"        {served['operation']} in account {served['account']}, API request {served['api_request_id']}")


def _the_grant(ledger: Ledger, grant_id: str) -> GrantView:
    """The grant of that name. Raises NotSo where there is none."""
    views = ledger.read(view_grants, [grant_id], past=True) if fits(GrantId, grant_id) else []
    if not views:
        raise NotSo(f"{grant_id or 'an empty name'}: no grant has that name; see `ecr-grants grants`")
    return views[0]


def _asked_for(one: GrantView, ecr: str | None, account: str | None) -> bool:
    key = one.key
    return ecr in (None, key.ecr_id) and account in (None, key.ecr_owner_uid, key.instance_owner_uid)


def facts_of(one: GrantView) -> Facts:
    """What is known of a grant, for programs."""
    both = (one.grant, one.associate)
    drift = [side.row.drift for side in both if side.row.drift is not None]
    troubled = next((side for side in both if side.row.dead), None) or next((s for s in both if not s.settled), None)
    why = troubled.why if troubled is not None else None
    since = [side.since for side in both if side.since is not None and not side.settled]
    return {
        "grant_id": one.grant_id,
        "ecr_id": one.key.ecr_id,
        "ecr_owner_uid": one.key.ecr_owner_uid,
        "instance_type": str(one.key.instance_type),
        "instance_id": one.key.instance_id,
        "instance_owner_uid": one.key.instance_owner_uid,
        "instance_region": one.key.instance_region,
        "wanted": str(one.wanted.level),
        "approved_prefixes": list(one.wanted.beside(one.wanted.may_stay)),
        "grant": one.grant.row.state,
        "association": one.associate.row.state,
        "association_id": one.associate.row.association_id,
        "prefixes": list(one.associate.row.prefixes),
        # As the vendor's own page shows a grant: who is authorised, for which router, since when.
        "authorized_uid": one.key.ecr_owner_uid,
        "authorized_ecr": one.key.ecr_id,
        "authorized_at": moment(one.grant.made_at),
        "settled": all(side.settled for side in both),
        "ours": {"grant": one.grant.row.ours, "association": one.associate.row.ours},
        "dead": any(side.row.dead for side in both),
        "drift": [str(each.kind) for each in drift],
        "drift_texts": [each.text for each in drift],
        "state": _state(one, [str(each.kind) for each in drift]),
        "why": None if why is None else why.text,
        "since": moment(min(since, default=None)),
        "sides": {"grant": _side(one.grant), "associate": _side(one.associate)},
        "leases": [_lease(each) for each in one.leases],
        "holds": [each.text for each in one.holds],
    }


def _state(one: GrantView, drift: list[str]) -> str:
    """The one word for a grant, the worst that is so."""
    both = (one.grant, one.associate)
    words = (
        ("dead", any(side.row.dead for side in both)),
        (", ".join(drift), bool(drift)),
        ("held", any(side.why is not None and side.why.code == "Held" and not side.settled for side in both)),
        ("overdue", any(each.lease.overdue and not each.lease.closed and not each.lease.ended for each in one.leases)),
        ("early", bool(one.leases) and all(each.early_until is not None for each in one.leases)),
        ("under way", not all(side.settled for side in both)),
    )
    return next((word for word, so in words if so), "settled")


def _side(side: SideView) -> Facts:
    return {
        "state": side.row.state,
        "ours": side.row.ours,
        "settled": side.settled,
        "dead": side.row.dead,
        "code": None if side.why is None else side.why.code,
        "why": None if side.why is None else side.why.text,
        "since": moment(side.since),
        "until": moment(side.next_at),
        "attempts": side.row.attempts,
        "read_at": moment(side.row.seen_at),
    }


def _lease(view: LeaseView) -> Facts:
    lease, said = view.lease, view.document
    return {
        "issuer": lease.issuer,
        "request_id": lease.request_id,
        "requested_by": said.get("requested_by"),
        "approved_by": said.get("approved_by"),
        "approved_at": moment(lease.approved_at),
        "reason": said.get("reason"),
        "prefixes": list(lease.allowed_prefixes),
        "ends_at": moment(lease.ends_at),
        "on_end": str(lease.on_end),
        "state": str(state_of(lease)),
        "early_until": moment(view.early_until),
        "outcome": view.outcome,
    }


def _flat(one: Facts) -> Facts:
    return one | {
        "grant_ours": one["ours"]["grant"],
        "association_ours": one["ours"]["association"],
        "drift": " ".join(one["drift"]),
        "prefixes": " ".join(one["prefixes"]),
        "leases": " ".join(f"{lease['issuer']}/{lease['request_id']}" for lease in one["leases"]),
        "holds": "; ".join(one["holds"]),
    }


def _tell(one: Facts) -> None:
    """A grant for people: one line that names all of it, as wide as it is, and below it what was seen."""
    say(
        f"{one['grant_id']}  {one['state']}  {one['instance_type']} {one['instance_id']} of account"
        f" {one['instance_owner_uid']} in {one['instance_region']} to {one['ecr_id']} of account {one['ecr_owner_uid']}"
    )
    given = f", authorized {one['authorized_at']}" if one["authorized_at"] else ""
    say(f"    grant: {one['grant']}{_whose(one['ours']['grant'])}{given}{_waits(one['sides']['grant'])}")
    name = f" ({one['association_id']})" if one["association_id"] else ""
    routes = f", prefixes {', '.join(one['prefixes'])}" if one["prefixes"] else ""
    say(
        f"    association: {one['association']}{_whose(one['ours']['association'])}{name}{routes}"
        f"{_waits(one['sides']['associate'])}"
    )
    for text in one["drift_texts"]:
        say(f"    drift: {text}")
    for text in one["holds"]:
        say(f"    hold: {text}")
    for lease in one["leases"]:
        if lease["state"] in ("early", "overdue"):
            until = f" until {lease['early_until']}" if lease["early_until"] else f" since {lease['ends_at']}"
            say(f"    lease {lease['request_id']} of {lease['issuer']} is {lease['state']}{until}")


def _waits(side: Facts) -> str:
    """Why a side is not as wanted: since when, until when, how often tried."""
    if side["settled"] and not side["dead"]:
        return ""
    what = "dead" if side["dead"] else "not as wanted yet"
    why = f": {side['why']}" if side["why"] else ""
    since = f", since {side['since']}" if side["since"] else ""
    until = f", looked at again {side['until']}" if side["until"] else ""
    tried = f", tried {side['attempts']} times" if side["attempts"] else ""
    return f"; {what}{why}{since}{until}{tried}"


def _tell_lease(lease: Facts) -> None:
    end = f", ends {lease['ends_at']} ({lease['on_end']})" if lease["ends_at"] else ", without end"
    routes = f", prefixes {', '.join(lease['prefixes'])}" if lease["prefixes"] else ""
    say(f"    lease {lease['request_id']} of {lease['issuer']}: {lease['state']}{routes}{end}")
    people = ", ".join(lease["approved_by"] or [])
    say(
        f"      asked for by {lease['requested_by']}, approved by {people} at {lease['approved_at']}: {lease['reason']}"
    )


def _whose(ours: bool | None) -> str:
    return {True: ", ours", False: ", not ours", None: ""}[ours]


def take_as_ours(
    ledger_url: LedgerUrl,
    grant_id: Annotated[str, typer.Argument(help="The grant, as completions and `ecr-grants grants` name it.")],
    side: Annotated[
        Literal["grant", "associate", "both"], typer.Option(help="Account B's grant, account A's association, or both.")
    ] = "both",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    claimed: As = None,
    as_json: AsJson = False,
) -> None:
    """Take what was on the cloud before us as ours, so that the end of its leases takes it down.

    Writes to the ledger and touches nothing on the cloud. Where no lease is live, the next converge takes it down. Policy
    (operate) decides who may. It is an event of the record, with the name of whoever adopted it.
    """
    with opened(ledger_url) as ledger:
        who = operator_name(claimed)
        there = _the_grant(ledger, grant_id)
        found = (
            (there.grant, there.associate) if side == "both" else (there.grant if side == "grant" else there.associate,)
        )
        sides = tuple(one.row.side for one in found if not one.row.nothing_up and not one.row.ours)
        if not sides:
            raise NotSo(f"{grant_id}: nothing foreign is known there")
        operator(ledger, who).ensure(Command.ADOPT, TargetKind.GRANT, grant_id)
        if not yes:
            question = f"Adopt {grant_id} ({', '.join(sides)})? Without a live lease it is taken down next"
            typer.confirm(safe(question), abort=True, err=True)
        adopted = [one for one in sides if ledger.write(adopt, grant_id, one, who, now_ms())]
        if not adopted:
            raise NotSo(f"{grant_id}: nothing foreign is known there any more")
        either(
            f"adopted: {', '.join(adopted)} of {grant_id}", as_json=as_json, grant_id=grant_id, adopted=adopted, who=who
        )
