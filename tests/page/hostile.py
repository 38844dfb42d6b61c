"""Texts that want to be more than texts, and a ledger that has one in every field that takes one.

Whatever the product's own forms let through is in them, and what people, systems, operators, policy and the platform say is
written through the same functions as theirs; how a side was read, as the outcome of a look would be.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sql
from pydantic import JsonValue

from shared.ledger.admission import Judged, admit
from shared.ledger.configuration import newest_number
from shared.ledger.consent import add_facts
from shared.ledger.operating import set_hold
from shared.ledger.operating_seen import say_found
from shared.ledger.operations import say_operation
from shared.ledger.record import About, Event, append, name_of
from shared.ledger.tables import operations, sides
from shared.messages.completion import EventKind, Reason, Served
from shared.messages.consent import Asked, Decided, Looked, Operated, Strength, Voice, Wish, Withdrawn, snapshot_of
from shared.messages.forms import GrantKey
from shared.messages.seal import approval_from
from shared.rules.facts import DriftKind, Hold, HoldKind, Side
from shared.rules.shipped import POLICY
from tests.functional.approvals import approval
from tests.functional.desked import Desked, decided, wish
from tests.functional.world import HUB, REGION, SPOKE

Json = dict[str, Any]
MARK = "zqx"
"""In all of them, early, and nowhere else: where it is found it came from one of them."""
TEXTS = {
    "elements": '<zqx-a><img src="x" onerror="zqx()"><svg onload=zqx()><iframe src="//zqx.example.com"><math><mi zqx>',
    "scripts": (
        "<script>zqx()</script><script src=//zqx.example.com></script><style>*{color:zqx}</style><noscript><b zqx>"
    ),
    "ends of elements": (
        "zqx</td></tr></table></div></dd></dl></li></ul></a></form></section></main></svg>"
        "</textarea></title></option></select></button></label></summary></details></script><b zqx>"
    ),
    "attributes": '" zqx="1" onmouseover="zqx()" autofocus="" \' zqx=\'2\' onfocus=\'zqx()\' ` x=` <b zqx',
    "elements that act": (
        '<base href="//zqx"><meta http-equiv="refresh" content="0;url=//zqx"><form action="//zqx"><button hx-post=/zqx>'
    ),
    "entities and addresses": (
        "&lt;zqx&gt; &amp;lt;zqx&amp;gt; &#60;b zqx&#62; &quot;zqx &zqx; &notit; %3Cb+zqx%3E%22 \\u003cb zqx\\x3e "
        "javascript:zqx() //zqx.example.com ?zqx=1&zqx=2#zqx"
    ),
    "a formula and comments": (
        '=HYPERLINK("https://zqx.example.com","zqx") --><b zqx><!--><b zqx> <![CDATA[ ]]> --!><b zqx><?zqx ?>]]><b zqx>'
    ),
    "another formula and templates": (
        "@SUM(zqx) {{ zqx }}{% zqx %}{zqx}{0.__class__}{n}%(zqx)s%s${zqx}<%= zqx %> onclick=zqx() hx-get=/zqx style=color:zqx"
    ),
    "other scripts": 'ש zqx נסיון "<b zqx>" لأن الخط معطل &amp; 测试：订单 <zqx>系统</zqx> \uff1cb zqx\uff1e',
    "several lines": "zqx\r\nSet-Cookie: zqx=1\r\n\r\n<b zqx>\t=1+zqx\n-zqx",
    "a long one": MARK + "W" * 197,
}
CUTS = (100, 64, 32)
"""What shorter fields have of them: their beginning."""
_ALL = tuple(TEXTS.values())


def plain(text: str) -> str:
    """A text with its blanks as one, as a page shows them."""
    return " ".join(text.split())


def one_line(text: str) -> str:
    """A text where no line may end."""
    return plain(text)[:200]


def without(text: str) -> str:
    """What is left of a text when every one of these is taken out of it, whole or its beginning, also as JSON has it."""
    for one in _FORMS:
        text = text.replace(one, "")
    return text


def _forms() -> list[str]:
    said = {plain(cut) for one in _ALL for cut in (one, *(one[:length] for length in CUTS))}
    said |= {plain(json.dumps(one, ensure_ascii=False)[1:-1]) for one in [*said, *_ALL]}
    return sorted(said, key=len, reverse=True)


_FORMS = _forms()


@dataclass(frozen=True)
class Told:
    """Where one of the texts was put: all that can be asked for by an id. ``request``: an open one of a batch."""

    text: str
    account: str
    ecr: str
    grant: str
    lease: str
    request: str
    batch: str
    refused: str
    withdrawn: str

    @property
    def named(self) -> dict[str, str]:
        """By the names that paths have for them."""
        ended = {"refused": self.refused, "withdrawn": self.withdrawn}
        return {"ecr_id": self.ecr, "grant_id": self.grant, "request_id": self.request, "batch": self.batch, **ended}


def hostile(desk: Desked) -> dict[str, Told]:
    """Put all of them everywhere, and say where, by their names: each has an account A with a router, an account B, a grant and
    requests of its own.
    """
    listed = desk.stage.listed
    for number, text in enumerate(_ALL):
        listed[_hub(number)] = {**listed[HUB], "name": text, "environment": text, "ecrs": {_ecr(number): {}}}
        template = {"ecr": _ecr(number), "region": REGION, "prefixes": ["10.20.0.0/16"], "reason": text}
        listed[_spoke(number)] = {
            **listed[SPOKE],
            "name": text,
            "environment": text,
            "templates": {text[:100]: template},
        }
        listed[_hub(number)]["owner"] = listed[_spoke(number)]["owner"] = "everything"
    comments = "\n".join(f"// {one_line(text)}" for text in _ALL)
    advice = json.dumps(one_line(TEXTS["elements"]))
    rule = f'@id("a-rule") @advice({advice})\nforbid (principal, action == Action::"ask", resource) when {{ context.emergency }};'
    decided(
        desk.ledger,
        desk.stage,
        policy=f"{POLICY}\n{rule}\n{comments}\n",
        groups={"everything": ["owner"], "operators": ["owner"], "auditors": ["owner", "auditor"]},
    )
    found = {name: _told(desk, number, text) for number, (name, text) in enumerate(TEXTS.items())}
    looks = [{"check": one[:64], "about": one, "verdict": "wrong", "text": one, "do": one} for one in _ALL]
    now = _now()
    desk.ledger.write(say_found, "doctor", {"findings": looks, "counts": {"wrong": len(looks)}}, now)
    desk.ledger.write(say_found, "reconcile", {"trouble": list(_ALL), "left": list(_ALL), "grants": 1}, now)
    return found


def _hub(number: int) -> str:
    return f"44{number:014d}"


def _spoke(number: int) -> str:
    return f"55{number:014d}"


def _ecr(number: int) -> str:
    return f"ecr-hostile{number:04d}"


def _now() -> int:
    return int(time.time() * 1000)


def _told(desk: Desked, number: int, text: str) -> Told:
    name, vpc = f"H{number:04d}", f"vpc-hostile{number}"
    ecr = {"id": _ecr(number), "owner_uid": _hub(number)}
    document = approval(
        _spoke(number),
        vpc,
        ecr=ecr,
        request_id=name,
        requested_by=one_line(text),
        approved_by=[one_line(text)],
        reason=text,
        ends_at=(datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    opened = approval_from(document)
    judged = Judged(configuration=desk.ledger.read(newest_number))
    desk.ledger.write(admit, opened, f"message-{name}", _now(), desk.ledger.timing, judged)
    grant_id = opened.grant.grant_id
    with desk.ledger.engine.begin() as connection:
        _as_read(connection, grant_id, text)
    desk.ledger.write(append, _now(), _event(opened.grant, text, name))
    said = Hold(HoldKind.GRANT, grant_id, False, one_line(text), text, _now())
    desk.ledger.write(set_hold, said, _now())
    _operated(desk, number, grant_id, text)
    requests = [_asked(desk, number, each, ecr, text) for each in range(4)]
    _decided(desk, requests[0], text, agrees=True)
    _decided(desk, requests[2], text, agrees=False)
    _said(desk, Withdrawn(request_id=requests[3], at=datetime.now(UTC), by=_voice(text), reason=text))
    return Told(text, _spoke(number), ecr["id"], grant_id, name, requests[0], _batch(number), *requests[2:])


def _as_read(connection: sql.Connection, grant_id: str, text: str) -> None:
    """Both sides, as the platform may have told them: what it calls things is kept as it comes."""
    now = _now()
    for side in Side:
        trouble = Reason(code=text[:64], text=text).model_dump_json()
        values = {
            "state": text[:32],
            "association_id": text[:64],
            "unsettled": True,
            "trouble": trouble,
            "dead_at": now if side is Side.GRANT else None,
            "waiting_since": now - 3_600_000,
            "seen_at": now,
            "drift": json.dumps({"class": DriftKind.PREFIXES_DIFFER, "text": text, "at": now}),
            "prefixes": json.dumps([text]) if side is Side.ASSOCIATE else None,
        }
        connection.execute(sides.update().where(sides.c.grant_id == grant_id, sides.c.side == side).values(values))


def _event(key: GrantKey, text: str, name: str) -> Event:
    served = Served(operation=text, account=text, session=text, api_request_id=text)
    return Event(
        name_of("hostile", name),
        EventKind.DEAD,
        About(key.grant_id, key, 1, ()),
        reason=Reason(code=text[:64], text=text, text_zh=text),
        association_id=one_line(text),
        served=[served],
    )


def _operated(desk: Desked, number: int, grant_id: str, text: str) -> None:
    """Two words of an operator, of which one was carried out."""
    for each in range(2):
        said = {"word": "redrive", "name": grant_id, "side": "grant", "reason": text}
        fact = Operated.model_validate(
            {
                "operation_id": f"o-{number:010d}{each:010d}",
                "at": datetime.now(UTC),
                "operation": said,
                "by": _voice(text),
                "accounts": [_hub(number), _spoke(number)],
                "configuration": 1,
            }
        )
        desk.ledger.write(say_operation, fact)
        if each:
            outcome = {"carried_out_at": _now(), "outcome": "refused", "code": text[:64], "text": text}
            with desk.ledger.engine.begin() as connection:
                here = operations.c.operation_id == fact.operation_id
                connection.execute(operations.update().where(here).values(outcome))


def _batch(number: int) -> str:
    return f"b-{number:020d}"


def _voice(text: str) -> Voice:
    return Voice(person=one_line(text), subject=one_line(text), strength=Strength.FRESH)


def _asked(desk: Desked, number: int, each: int, ecr: Json, text: str) -> str:
    """A request that preflight has looked at; the first two are a batch."""
    request_id, now = f"r-{number:010d}{each:010d}", datetime.now(UTC)
    instance = {"type": "VPC", "id": f"vpc-asked{number}x{each}", "region": REGION, "owner_uid": _spoke(number)}
    asked = Wish.model_validate(wish(0, ecr=ecr, instance=instance, reason=text, ticket=text))
    _said(
        desk,
        Asked(
            request_id=request_id,
            at=now,
            wish=asked,
            by=_voice(text),
            batch=_batch(number) if each < 2 else None,
            lapses_at=now + timedelta(days=7),
            configuration=desk.ledger.read(newest_number),
        ),
    )
    content: Json = {"request": request_id, "seen": {"cidrs": [text]}}
    checks: list[JsonValue] = [
        {"check": "overlap" if result == "pass" else text, "result": result, "found": text, "advice": text}
        for result in ("pass", "fail", "unknown")
    ]
    _said(
        desk,
        Looked(
            request_id=request_id,
            at=now,
            snapshot=snapshot_of(content),
            content=content,
            checks=checks,
            failed=1,
            unknown=1,
        ),
    )
    return request_id


def _decided(desk: Desked, request_id: str, text: str, *, agrees: bool) -> None:
    _said(
        desk,
        Decided(
            request_id=request_id,
            at=datetime.now(UTC),
            side="grant",
            agrees=agrees,
            by=_voice(text),
            instead_of=one_line(text),
            reason=text,
            snapshot=snapshot_of({"request": request_id, "seen": {"cidrs": [text]}}),
            configuration=1,
        ),
    )


def _said(desk: Desked, fact: Asked | Looked | Decided | Withdrawn) -> None:
    desk.ledger.write(add_facts, fact.request_id, lambda _: [fact])
