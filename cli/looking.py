"""Look at leases and grants over the desk's API, as whoever signed in: what one may see, and nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.asking import id_of, show_request
from cli.common import AsJson, formed, troubles
from cli.desk_client import DeskAddress, DeskClient, Json
from cli.lists import Format, format_of, listed
from cli.output import document, say
from shared.messages.forms import EcrId, GrantId

_LEASE = ("request_id", "issuer", "state", "grant_id", "instance_id", "ecr_id", "allowed_prefixes", "ends_at", "on_end")
_ALL_OF_LEASE = (
    *("request_id", "issuer", "state", "open", "grant_id", "instance_type", "instance_id", "instance_region"),
    *("instance_owner_uid", "ecr_id", "ecr_owner_uid", "allowed_prefixes", "approved_at", "admitted_at"),
    *("ends_at", "on_end"),
)
_EXPOSED = (
    *("instance_owner_uid", "instance_id", "association_state", "prefixes", "allowed_prefixes", "ends_at"),
    *("endless", "leases", "drift", "grant_id"),
)
_ALL_EXPOSED = (*_EXPOSED, "grant_state", "instance_type", "instance_region", "ecr_id", "ecr_owner_uid")
_HAPPENED = ("number", "at", "event", "issuer", "request_id", "code", "reason")


def leases(
    desk: DeskAddress,
    grant: Annotated[str | None, typer.Option(help="Only of this grant, g-…")] = None,
    account: Annotated[str | None, typer.Option(help="Only with this account as either side.")] = None,
    ecr: Annotated[str | None, typer.Option(help="Only on this router.")] = None,
    instance: Annotated[str | None, typer.Option(help="Only of this VPC or VBR.")] = None,
    request: Annotated[str | None, typer.Option(help="Only what this request came to.")] = None,
    ends_before: Annotated[
        str | None, typer.Option(help="Only with an end before, such as 2026-01-31T12:00:00Z.")
    ] = None,
    ends_after: Annotated[str | None, typer.Option(help="Only with an end after that.")] = None,
    open_: Annotated[
        bool | None, typer.Option("--open/--past", help="Only those that count or will, or only the others.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Only where an id or a prefix begins with this.")] = None,
    output: Format = "table",
) -> None:
    """List leases that you may see, newest first, all of them."""
    with troubles():
        form = format_of(output)
        asked = {"grant": grant, "account": account, "ecr": ecr, "instance": instance, "request": request, "text": text}
        asked |= {"ends_before": ends_before, "ends_after": ends_after}
        asked |= {"open": None if open_ is None else str(open_).lower()}
        found = list(DeskClient(desk).pages("/leases", "leases", **asked))
    listed(found, _LEASE, form, _ALL_OF_LEASE)


def exposed(
    ecr: Annotated[str, typer.Argument(help="The router, ecr-…")], desk: DeskAddress, output: Format = "table"
) -> None:
    """List what is exposed to a router: whose instances, which prefixes, until when; as far as you may see it."""
    with troubles():
        form, name = format_of(output), formed(EcrId, ecr, "the router")
        found = list(DeskClient(desk).pages(f"/exposure/{name}", "exposed"))
    listed(found, _EXPOSED, form, _ALL_EXPOSED)


def history(
    grant: Annotated[str, typer.Argument(help="The grant, g-…")], desk: DeskAddress, output: Format = "table"
) -> None:
    """List what happened to a grant, the newest first."""
    with troubles():
        form, name = format_of(output), formed(GrantId, grant, "the grant")
        found = list(DeskClient(desk).pages(f"/grants/{name}/history", "events"))
    listed(found, _HAPPENED, form, (*_HAPPENED, "association_id"))


def show_over_desk(name: str, desk: str, as_json: AsJson) -> None:
    """A request or a grant, by its id, as whoever signed in may see it."""
    with troubles():
        client = DeskClient(desk)
        grant = name.startswith("g-")
        path = f"/grants/{formed(GrantId, name, 'the grant')}" if grant else f"/requests/{id_of(name)}"
        found = client.get(path)
    if as_json:
        document(found)
    elif grant:
        _show_grant(found)
    else:
        show_request(found)


def _show_grant(found: Json) -> None:
    say(
        f"{found['grant_id']}: {found['instance_type']} {found['instance_id']} of account {found['instance_owner_uid']}"
        f" in {found['instance_region']} to {found['ecr_id']} of account {found['ecr_owner_uid']}, wanted {found['wanted']}"
    )
    for word, side in (("grant", found["grant"]), ("association", found["associate"])):
        why = "" if side["settled"] else f"; not as wanted yet: {side['why'] or 'it is looked at'}"
        since = f", since {side['since']}" if side["since"] and not side["settled"] else ""
        again = f", looked at again {side['next_look']}" if side["next_look"] else ""
        routes = f", prefixes {', '.join(side['prefixes'])}" if side["prefixes"] else ""
        say(f"    {word}: {side['state']}{routes}, read {side['read_at'] or 'never'}{why}{since}{again}")
        if side["drift_text"]:
            say(f"    drift: {side['drift_text']}")
    for hold in found["holds"]:
        say(f"    hold on the {hold['kind']} {hold['name']} by {hold['who']}: {hold['reason']}")
    for lease in found["leases"]:
        end = f"ends {lease['ends_at']} ({lease['on_end']})" if lease["ends_at"] else "without end"
        routes = ", ".join(lease["allowed_prefixes"]) or "no prefixes"
        say(f"    lease {lease['request_id']} of {lease['issuer']}: {lease['state']}, {routes}, {end}")
        people = ", ".join(lease["approved_by"])
        say(f"      asked for by {lease['requested_by']}, approved by {people}: {lease['reason']}")
