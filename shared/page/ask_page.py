"""Asking on the page: one instance or many, checked before it is sent, with who will decide."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.desk.api import count_unseen, visible
from shared.desk.checking_api import WishChecked, wishes_checked
from shared.errors import BadInput, NotAllowed
from shared.ledger.looking import seen_grant
from shared.loop.asking import MOST_AT_ONCE
from shared.messages.approval import Every, OnEnd
from shared.messages.consent import RequestKind, Wish
from shared.messages.forms import GrantId, GrantKey, InstanceType, RequestId
from shared.messages.texts import faults
from shared.page.lines import Line, lines_of, prefixes_of
from shared.page.viewer import Looking, Viewer, on_to
from shared.rules.inventory import Template

routes = APIRouter()

DAYS = (1, 7, 30, 90)
"""How long a lease may be asked for with one click."""
_LASTS = timedelta(hours=1)
"""How long the days of a form count from when it was made."""
NO_END, A_DATE = "none", "date"
_TEXT = Field(default="", max_length=200)
_TEMPLATE = 121
"""A uid, a colon and the longest name of a template."""


class AskForm(BaseModel):
    """The form, as it is typed: nothing in it is believed. ``name``: of this form, so that sent twice it is asked once;
    ``begun``: since when it is shown, from where its days count, so that it says the same then.
    """

    model_config = ConfigDict(extra="ignore")
    kind: str = _TEXT
    account: str = _TEXT
    region: str = _TEXT
    router: str = _TEXT
    instances: str = Field(default="", max_length=100_000)
    prefixes: str = Field(default="", max_length=4_000)
    end: str = "30"
    until: str = _TEXT
    on_end: str = str(OnEnd.TEARDOWN)
    reason: str = Field(default="", max_length=1_000)
    ticket: str = _TEXT
    emergency: bool = False
    replaces: str = Field(default="", max_length=20_000)
    closes: str = Field(default="", max_length=20_000)
    partly: bool = False
    name: str = Field(default="", max_length=64, pattern=r"^[0-9a-f-]*$")
    begun: str = _TEXT
    do: str = "check"


@dataclass(frozen=True)
class Asking:
    """A line of the form as a wish, or why it is none. ``told``: what asking for it would be answered."""

    line: Line
    wish: Wish | None
    faults: tuple[str, ...] = ()
    told: WishChecked | None = None

    @property
    def good(self) -> bool:
        """Whether it can be sent."""
        return self.told is not None and self.told.problem is None


@routes.get("/ask")
def ask(
    viewer: Looking,
    template: Annotated[str | None, Query(max_length=_TEMPLATE)] = None,
    again: RequestId | None = None,
    change: RequestId | None = None,
    revoke: Annotated[RequestId | GrantId | None, Query()] = None,
) -> Response:
    """The form: empty, as a template has it, or about what was asked before or stands."""
    form = AskForm(kind=str(RequestKind.GRANT))
    mine = templates(viewer)
    if template is not None and template in mine:
        uid, _, begun = mine[template]
        form = _of_template(uid, begun)
    elif again is not None:
        form = _of_wish(_wish_of(viewer, again))
    elif change is not None:
        form = _of_wish(_wish_of(viewer, change)).model_copy(
            update={"kind": str(RequestKind.CHANGE), "replaces": change, "closes": "", "emergency": False}
        )
    elif revoke is not None:
        form = _revoking(viewer, revoke)
    return _page(viewer, form)


@routes.post("/ask/check")
def check(viewer: Looking, said: Annotated[AskForm, Form()]) -> Response:
    """What the form comes to, as the part of the page that says so."""
    return viewer.page("ask_found.html", **_found(viewer, said))


@routes.post("/ask")
def send(viewer: Looking, said: Annotated[AskForm, Form()]) -> Response:
    """Ask, where all of it can be asked; else the form again, with what was typed and what is wrong."""
    asked = asking(viewer, said)
    good = [one.wish for one in asked if one.good and one.wish is not None]
    whole = len(good) == len(asked)
    if said.do != "send" or not good or not (whole or said.partly):
        return _page(viewer, said, asked, status=200 if said.do != "send" else 422)
    count_unseen(viewer.parts, viewer.by, [wish.instance.owner_uid for wish in good])
    try:
        answers = viewer.parts.desk().ask(viewer.by, good, name=said.name or None)
    except (BadInput, NotAllowed) as error:
        return _page(viewer, said, asked, status=422, fault=str(error))
    if answers[0].said:
        viewer.parts.wake()
    first = answers[0].standing
    return on_to(f"/batches/{first.asked.batch}" if first.asked.batch else f"/requests/{first.request_id}")


def asking(viewer: Viewer, said: AskForm) -> list[Asking]:
    """Each line of a form, and what asking for it would be answered; as many as can be asked at once."""
    lines = lines_of(said.instances)[:MOST_AT_ONCE]
    read = [_read(viewer, said, line) for line in lines]
    wishes = [one.wish for one in read if one.wish is not None]
    told = iter(wishes_checked(viewer.parts, viewer.by, wishes) if wishes else ())
    return [one if one.wish is None else Asking(one.line, one.wish, told=next(told)) for one in read]


def templates(viewer: Viewer) -> dict[str, tuple[str, str, Template]]:
    """What whoever looks may begin with: those of the accounts that they are an owner of, with account and name. Under the
    account's uid and the name: two accounts may be called the same.
    """
    inventory, people = viewer.configuration.inventory, viewer.configuration.people
    return {
        f"{uid}:{name}": (uid, name, one)
        for uid, account in inventory.accounts.items()
        if viewer.person in people.members(account.owner)
        for name, one in account.templates.items()
    }


def _read(viewer: Viewer, said: AskForm, line: Line) -> Asking:
    """A line as a wish. What is wrong is told by the form's own fields."""
    if line.fault:
        return Asking(line, None, (line.fault,))
    kind = said.kind or str(RequestKind.GRANT)
    opens = kind != RequestKind.REVOKE
    try:
        ends_at = _end(said, line, _since(said, viewer.parts.now())) if opens else None
    except ValueError as error:
        return Asking(line, None, (str(error),))
    owners = [
        uid for uid, account in viewer.configuration.inventory.accounts.items() if said.router.strip() in account.ecrs
    ]
    if not owners:
        named = said.router.strip() or "nothing"
        return Asking(line, None, (f"router: must be one that the configuration lists (found {named})",))
    document: dict[str, Any] = {
        "kind": kind,
        "ecr": {"id": said.router.strip(), "owner_uid": owners[0]},
        "instance": {
            "type": InstanceType.VBR if line.instance.startswith("vbr-") else InstanceType.VPC,
            "id": line.instance,
            "region": said.region.strip(),
            "owner_uid": said.account.strip(),
        },
        "reason": line.reason or said.reason,
        "ticket": said.ticket.strip(),
    }
    if opens:
        prefixes = line.prefixes or prefixes_of(said.prefixes)
        document |= {"allowed_prefixes": list(prefixes), "ends_at": ends_at, "on_end": said.on_end}
        document |= {"replaces": list(prefixes_of(said.replaces)), "emergency": said.emergency}
    else:
        closes = said.closes.strip()
        document["closes"] = closes if closes in tuple(Every) else list(prefixes_of(closes))
    try:
        return Asking(line, Wish.model_validate(document))
    except ValidationError as error:
        return Asking(line, None, tuple(one.strip() for one in faults(error).split(";")))


def _since(said: AskForm, now: datetime) -> datetime:
    """From where days count: when the form was made, unless that is long ago, or no such time."""
    try:
        begun = datetime.fromisoformat(said.begun)
        return begun if now - _LASTS <= begun <= now else now
    except (ValueError, TypeError):  # TypeError: a time without its zone
        return now


def _end(said: AskForm, line: Line, since: datetime) -> str | None:
    """When it ends, as a wish says it. Raises ValueError that names the field."""
    text = line.end or (said.until.strip() if said.end == A_DATE else said.end)
    if text in ("", NO_END):
        if text == "" and said.end == A_DATE:
            raise ValueError("end: must be a day or a time, such as 2027-01-31 or 2027-01-31T18:00 (UTC)")
        return None
    if text.isascii() and text.isdigit() and len(text) <= 4:
        at = since + timedelta(days=int(text))
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"end: must be a day, a time or a number of days, such as 2027-01-31 (found {text[:40]})"
            ) from None
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


# -- what the form begins with ----------------------------------------------------------------------------------------


def _of_template(uid: str, one: Template) -> AskForm:
    return AskForm(
        kind=str(RequestKind.GRANT),
        account=uid,
        region=one.region or "",
        router=one.ecr,
        prefixes=" ".join(one.prefixes),
        end=NO_END if one.days is None else str(one.days),
        on_end=str(one.on_end),
        reason=one.reason,
    )


def _of_wish(wish: Wish) -> AskForm:
    """The same once more. An end that has come is no end to ask for: then it is as a new form has it."""
    ahead = wish.ends_at is not None and wish.ends_at > datetime.now(UTC)
    return AskForm(
        kind=str(wish.kind),
        account=wish.instance.owner_uid,
        region=wish.instance.region,
        router=wish.ecr.id,
        instances=wish.instance.id,
        prefixes=" ".join(wish.allowed_prefixes),
        end=A_DATE if ahead else NO_END if wish.ends_at is None else "30",
        until=wish.ends_at.strftime("%Y-%m-%dT%H:%M") if ahead and wish.ends_at is not None else "",
        on_end=str(wish.on_end),
        reason=wish.reason,
        ticket=wish.ticket,
        emergency=wish.emergency,
        replaces=" ".join(wish.replaces),
        closes=" ".join(wish.closes) if isinstance(wish.closes, list) else str(wish.closes or ""),
    )


def _revoking(viewer: Viewer, what: str) -> AskForm:
    """To end what a request opened, or everything on a grant."""
    if not what.startswith("g-"):
        return _of_wish(_wish_of(viewer, what)).model_copy(
            update={"kind": str(RequestKind.REVOKE), "closes": what, "reason": "", "replaces": ""}
        )
    found = viewer.parts.ledger.read(seen_grant, viewer.scope, what)
    if found is None:
        raise BadInput(f"grant_id: there is no grant {what} that you may see", code="NoSuchGrant")
    key: GrantKey = found.key
    return AskForm(
        kind=str(RequestKind.REVOKE),
        account=key.instance_owner_uid,
        region=key.instance_region,
        router=key.ecr_id,
        instances=key.instance_id,
        closes=str(Every.EVERYONE),
    )


def _wish_of(viewer: Viewer, request_id: str) -> Wish:
    return visible(viewer.parts, viewer.scope, request_id).asked.wish


# -- the page ----------------------------------------------------------------------------------------------------------


def _found(viewer: Viewer, said: AskForm, asked: Sequence[Asking] | None = None) -> dict[str, Any]:
    many = lines_of(said.instances)
    return {
        "form": said,
        "asked": asking(viewer, said) if asked is None else asked,
        "beyond": max(0, len(many) - MOST_AT_ONCE),
    }


def _page(
    viewer: Viewer,
    said: AskForm,
    asked: Sequence[Asking] | None = None,
    *,
    status: int = 200,
    fault: str = "",
) -> Response:
    inventory = viewer.configuration.inventory
    accounts = [uid for uid in inventory.accounts if viewer.scope.sees(uid)]
    routers = [
        (ecr, uid) for uid, account in inventory.accounts.items() for ecr in account.ecrs if viewer.scope.sees(uid)
    ]
    begun = viewer.parts.now().isoformat(timespec="seconds")
    form = said if said.name else said.model_copy(update={"name": str(uuid.uuid4()), "begun": begun})
    regions = inventory.regions or sorted(
        {region for account in inventory.accounts.values() for region in account.regions or ()}
    )
    return viewer.page(
        "ask.html",
        status=status,
        **_found(viewer, form, asked if asked is not None else ()),
        shown=asked is not None,
        fault=fault,
        accounts=accounts,
        routers=routers,
        regions=regions,
        templates=templates(viewer),
        days=DAYS,
        no_end=NO_END,
        a_date=A_DATE,
    )
