"""Find things over the desk's API, as whoever signed in: by a text, by when they end, by who decided and who may."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.common import troubles
from cli.desk_client import DeskAddress, DeskClient
from cli.lists import Format, format_of, listed
from cli.output import remark

_FOUND = ("kind", "id", "title", "detail", "where")
_ENDS = ("ends_at", "state", "instance_id", "ecr_id", "request_id", "issuer", "allowed_prefixes", "on_end", "grant_id")
_ROUTERS = ("ecr_id", "ecr_owner_uid", "grants", "up", "next_end", "drifted")
_DECIDED = ("at", "person", "instead_of", "agrees", "side", "request_id", "requester", "reason", "strength", "relay")
_ALL_DECIDED = (*_DECIDED, "grant_id", "ecr_owner_uid", "instance_owner_uid")
_RIGHTS = ("account", "account_name", "person", "sees", "asks", "decides", "instead_of", "leads", "operates")


def search(
    text: Annotated[
        str, typer.Argument(help="How an id begins, a part of a name, or a range: 10.20. or 10.20.0.0/16.")
    ],
    desk: DeskAddress,
    output: Format = "table",
) -> None:
    """Find grants, routers, requests, leases, accounts, people and address ranges by one text."""
    with troubles():
        form = format_of(output)
        found = DeskClient(desk).get("/search", text=text)
    listed(found["found"], _FOUND, form)
    for kind in found["more"]:
        remark(f"there is more of: {kind}")
    for passed in found["passed"]:
        remark(passed)


def ends(
    desk: DeskAddress,
    days: Annotated[int, typer.Option(help="So many days ahead.", min=1, max=366)] = 30,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Instead, those whose end has come and that stand.")
    ] = False,
    output: Format = "table",
) -> None:
    """List open leases by their end, the one that ends first before the others."""
    with troubles():
        form = format_of(output)
        asked = {"overdue": "true"} if overdue else {"days": str(days)}
        found = list(DeskClient(desk).pages("/ends", "leases", **asked))
    listed(found, _ENDS, form)


def routers(desk: DeskAddress, output: Format = "table") -> None:
    """List the routers that something is or was wanted on, with what is up there and what ends first."""
    with troubles():
        form = format_of(output)
        found = list(DeskClient(desk).pages("/routers", "routers"))
    listed(found, _ROUTERS, form)


def decisions(
    desk: DeskAddress,
    person: Annotated[str | None, typer.Option(help="Only what this person said.")] = None,
    account: Annotated[str | None, typer.Option(help="Only about this account, as either side.")] = None,
    grant: Annotated[str | None, typer.Option(help="Only about this grant, g-…")] = None,
    request: Annotated[str | None, typer.Option(help="Only about this request, r-…")] = None,
    side: Annotated[str | None, typer.Option(help="Only for this side: grant or associate.")] = None,
    since: Annotated[str | None, typer.Option(help="From then on, such as 2026-01-31T12:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Before then.")] = None,
    output: Format = "table",
) -> None:
    """List who decided what, the newest first, all of it."""
    with troubles():
        form = format_of(output)
        asked = {"person": person, "account": account, "grant": grant, "request": request, "side": side}
        found = list(DeskClient(desk).pages("/decisions", "decisions", **asked, since=since, until=until))
    listed(found, _DECIDED, form, _ALL_DECIDED)


def rights(
    desk: DeskAddress,
    person: Annotated[str | None, typer.Option(help="What this person may.")] = None,
    account: Annotated[str | None, typer.Option(help="Who may what on this account.")] = None,
    output: Format = "table",
) -> None:
    """List who may what, on accounts that you may see; without a person and an account, what you may yourself."""
    with troubles():
        form = format_of(output)
        found = list(DeskClient(desk).pages("/rights", "rights", person=person, account=account))
    listed(found, _RIGHTS, form, (*_RIGHTS, "environment", "owner"))
