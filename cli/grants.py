"""Grants as the ledger has them: listed, and taken as ours."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from cli.common import As, AsJson, LedgerUrl, NotSo, opened, operator_name
from cli.output import document, either, rows, safe, say
from shared.ledger.drift import read_standing
from shared.ledger.operating import adopt
from shared.ledger.transactions import Ledger, now_ms
from shared.rules.facts import Side, Standing

Facts = dict[str, Any]

_FIELDS = (
    "grant_id",
    "state",
    "instance_type",
    "instance_id",
    "instance_owner_uid",
    "instance_region",
    "ecr_id",
    "ecr_owner_uid",
    "grant",
    "association",
    "association_id",
    "grant_ours",
    "association_ours",
    "drift",
)
"""The columns of --csv."""


def list_grants(
    ledger_url: LedgerUrl,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of text.")] = False,
) -> None:
    """List every grant: what was last seen on both sides, and what is wrong."""
    if as_json and as_csv:
        raise typer.BadParameter("either --json or --csv")
    with opened(ledger_url) as ledger:
        found = [facts_of(one) for one in ledger.read(read_standing)]
    if as_json:
        document(found)
    elif as_csv:
        rows(_FIELDS, [_flat(one) for one in found])
    elif not found:
        say("nobody asked for a grant yet")
    else:
        for one in found:
            _tell(one)


def facts_of(one: Standing) -> Facts:
    """What is known of a grant, for programs."""
    drift = [json.loads(row.drift) for row in (one.grant, one.associate) if row.drift]
    dead = one.grant.dead or one.associate.dead
    kinds = [each["class"] for each in drift]
    return {
        "grant_id": one.key.grant_id,
        "ecr_id": one.key.ecr_id,
        "ecr_owner_uid": one.key.ecr_owner_uid,
        "instance_type": str(one.key.instance_type),
        "instance_id": one.key.instance_id,
        "instance_owner_uid": one.key.instance_owner_uid,
        "instance_region": one.key.instance_region,
        "grant": one.grant.state,
        "association": one.associate.state,
        "association_id": one.associate.association_id,
        "settled": one.settled,
        "ours": {"grant": one.grant.ours, "association": one.associate.ours},
        "dead": dead,
        "drift": kinds,
        "drift_texts": [str(each.get("text", each["class"])) for each in drift],
        "state": "dead" if dead else ", ".join(kinds) or ("settled" if one.settled else "under way"),
    }


def _flat(one: Facts) -> Facts:
    return one | {
        "grant_ours": one["ours"]["grant"],
        "association_ours": one["ours"]["association"],
        "drift": " ".join(one["drift"]),
    }


def _tell(one: Facts) -> None:
    """A grant for people: one line that names all of it, as wide as it is, and below it what was seen."""
    say(
        f"{one['grant_id']}  {one['state']}  {one['instance_type']} {one['instance_id']} of account"
        f" {one['instance_owner_uid']} in {one['instance_region']} to {one['ecr_id']} of account {one['ecr_owner_uid']}"
    )
    say(f"    grant: {one['grant']}{_whose(one['ours']['grant'])}")
    name = f" ({one['association_id']})" if one["association_id"] else ""
    say(f"    association: {one['association']}{_whose(one['ours']['association'])}{name}")
    for text in one["drift_texts"]:
        say(f"    drift: {text}")


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

    Writes to the ledger and touches nothing on the cloud. Where no lease is live, the next converge takes it down. It is an
    event of the record, with the name of whoever adopted it.
    """
    with opened(ledger_url) as ledger:
        who = operator_name(claimed)
        sides = tuple(Side) if side == "both" else (Side(side),)
        if not yes:
            question = f"Adopt {grant_id} ({', '.join(sides)})? Without a live lease it is taken down next"
            typer.confirm(safe(question), abort=True, err=True)
        adopted = [one for one in sides if _adopted(ledger, grant_id, one, who)]
        if not adopted:
            raise NotSo(f"{grant_id}: nothing foreign is known there")
        either(
            f"adopted: {', '.join(adopted)} of {grant_id}", as_json=as_json, grant_id=grant_id, adopted=adopted, who=who
        )


def _adopted(ledger: Ledger, grant_id: str, side: Side, who: str) -> bool:  # noqa: ARG001  # the ledger does not ask who yet
    """Whether there was something foreign on that side, and now is ours by this person's word."""
    return ledger.write(adopt, grant_id, side, now_ms())
