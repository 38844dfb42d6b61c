"""Two hundred decisions on twenty requests, at once, from four processes: one outcome each, and everybody is told the truth."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import NotAllowed
from shared.ledger.consent import standings
from shared.ledger.proof import first_fault
from shared.ledger.tables import approvals, consent, events, requests
from shared.ledger.transactions import Ledger
from shared.loop.asking import Desk
from shared.loop.consent import Consent
from shared.messages.approval import OnEnd
from shared.messages.consent import FACTS, Amounted, AnyFact, Decided, Operated, Strength, Voice
from shared.rules.consent import Stage, Standing, fold, how_it_ended
from shared.rules.facts import Side
from tests.ledger.crowd import Crowd
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import HOUR, NOW, Database
from tests.ledger.room import LAPSE, PEOPLE, Room, at, people_decide, voice, wish

LATER = NOW + 2 * HOUR
ENDLESS: dict[str, Any] = {"ends_at": None, "on_end": OnEnd.REPORT}
OTHERS = {"owner": ("oidc:owner", "ram:owner"), "router-owner": ("oidc:router-owner", "ram:router-owner")}
"""Persons who have signed in in two ways: two subjects, one person."""


@dataclass(frozen=True)
class Act:
    """What one person does at one moment: decides, or, where there is no side, withdraws."""

    request_id: str
    person: str
    subject: str
    side: Side | None
    agrees: bool
    snapshot: str
    now: int = NOW


@dataclass(frozen=True)
class Told:
    """What they were told: whether it was said just now, or why not."""

    act: Act
    said: bool = False
    code: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Cast:
    """A request, the words that are about to be said of it, and from when on."""

    request_id: str
    snapshot: str
    words: tuple[tuple[str, Side, bool], ...]
    late: frozenset[int] = frozenset()  # which of the words come after its lapse
    old: str | None = None  # the snapshot of an earlier round, which every third word is about

    def acts(self) -> list[Act]:
        """Ten of them: each word as often as it takes, by whichever subject."""
        found = []
        for number in range(10):
            person, side, agrees = self.words[number % len(self.words)]
            subjects = OTHERS.get(person, (f"oidc:{person}",))
            shown = self.old if self.old is not None and number % 3 == 0 else self.snapshot
            now = LATER if number in self.late else NOW
            found.append(Act(self.request_id, person, subjects[number % len(subjects)], side, agrees, shown, now))
        return found


B, A = Side.GRANT, Side.ASSOCIATE
YES = (("owner", B, True), ("second-owner", B, True), ("lead", B, True))
MIXED = (*YES, ("second-owner", B, False), ("router-owner", A, False), ("router-lead", A, True))
BOTH = (*YES, ("router-owner", A, True), ("router-lead", A, True))


def cast(room: Room) -> list[Cast]:
    """Twenty requests: what suffices, what does not, yes and no, and whatever ends one meanwhile or has ended it before."""
    found = [Cast(*room.ready(), YES) for _ in range(4)]
    found += [Cast(*room.ready(), MIXED) for _ in range(4)]
    found += [Cast(*room.ready(**ENDLESS), BOTH) for _ in range(3)]
    found += [Cast(*room.ready(**ENDLESS), YES) for _ in range(2)]  # which is not enough
    found += [Cast(*room.ready(), YES) for _ in range(2)]  # both are withdrawn meanwhile
    found.append(Cast(*room.ready(), MIXED))  # was withdrawn before
    room.desk.withdraw(voice("requester"), found[-1].request_id)
    found.append(Cast(*_soon_over(room), YES, late=frozenset(range(4, 10))))
    found.append(Cast(*_soon_over(room), MIXED, late=frozenset(range(10))))
    request_id, old = room.ready(**ENDLESS)
    found.append(Cast(request_id, room.look(request_id, seen={"cidrs": ["10.30.0.0/16"]}), BOTH, old=old))
    found.append(Cast(*room.ready("owner"), (("owner", B, True), ("deputy", B, True), ("second-owner", B, True))))
    assert len(found) == 20
    return found


def _soon_over(room: Room) -> tuple[str, str]:
    """A request that lapses in an hour."""
    brief = Desk(room.gated.ledger, room.gated.opened(), lambda: NOW, lapse=timedelta(hours=1))
    (answer,) = brief.ask(voice("requester"), [wish()])
    request_id = answer.standing.request_id
    return request_id, room.look(request_id)


def act(ledger: Ledger, number: int, parts: list[list[Act]]) -> list[Told]:
    """One process: its acts, one after the other, each told."""
    gated, found = Gated(ledger), list[Told]()
    for one in parts[number]:
        desk = Desk(ledger, gated.gate, lambda now=one.now: now, lapse=LAPSE)  # type: ignore[misc]  # bound early
        by = Voice(person=one.person, subject=one.subject, strength=Strength.SIGNED_IN)
        try:
            if one.side is None:
                answer = desk.withdraw(by, one.request_id)
            else:
                answer = desk.decide(by, one.request_id, one.side, one.snapshot, agrees=one.agrees)
        except NotAllowed as error:
            found.append(Told(one, code=error.code, text=str(error)))
        else:
            found.append(Told(one, answer.said))
    return found


def hear(ledger: Ledger, _number: int) -> list[str]:
    """One process of the grant function, that hears what was said."""
    return Consent(ledger, Gated(ledger).gate, lambda: LATER).hear()


@pytest.fixture(scope="module")
def four() -> Iterator[Crowd]:
    """Four processes."""
    made = Crowd(4)
    yield made
    made.close()


def test_one_outcome_each_and_every_answer_is_true(ledger: Ledger, database: Database, four: Crowd) -> None:
    """Also after a withdrawal, after the lapse, in an older round, twice, and by two subjects of one person."""
    of = {"of": "owner", "to": "deputy", "from": at(NOW).isoformat(), "until": at(LATER).isoformat()}
    apply(ledger, people_decide(people={**PEOPLE, "delegations": [of]}))
    room = Room(Gated(ledger))
    requests_ = cast(room)
    acts = [one for each in requests_ for one in each.acts()]
    assert len(acts) == 200
    for each in requests_[13:15]:
        acts.insert(acts.index(each.acts()[3]), Act(each.request_id, "requester", "oidc:requester", None, False, ""))
    random.Random(1).shuffle(acts)  # noqa: S311  # a test's choices, not a secret
    acts.sort(key=lambda one: one.request_id)  # so that all four are at the same request
    told = [one for each in four.at_once(database.url, act, [acts[n::4] for n in range(4)]) for one in each]
    assert len(told) == 202

    facts = facts_by_request(database)
    then = {request_id: fold(each) for request_id, each in facts.items()}
    for one in told:
        assert is_true(one, facts[one.act.request_id], then[one.act.request_id]), one
    said = Counter((one.act.request_id, one.act.person, one.act.subject, one.act.side) for one in told if one.said)
    words = [fact for each in facts.values() for fact in each if isinstance(fact, Decided)]
    kept = Counter((one.request_id, one.by.person, one.by.subject, Side(one.side)) for one in words)
    assert kept == Counter({name: often for name, often in said.items() if name[3] is not None})
    once = Counter((one.request_id, one.by.person, one.side, one.agrees, one.snapshot) for one in words)
    assert set(once.values()) == {1}, "nobody says the same twice"
    for each in requests_:
        ended = then[each.request_id].ended
        assert ended is None or facts[each.request_id][-1] == ended, "nothing is said of what has ended"
    assert {one.code for one in told} == {None, "RequestEnded", "SnapshotChanged", "PolicyForbids"}

    four.at_once(database.url, hear)
    outcomes_are_right(ledger, database, requests_, then)


def facts_by_request(database: Database) -> dict[str, list[AnyFact]]:
    """The chain, request by request."""
    found: dict[str, list[AnyFact]] = {}
    for row in database.rows(sql.select(consent).order_by(consent.c.seq)):
        fact = FACTS.validate_json(row.body)
        assert not isinstance(fact, Operated)
        found.setdefault(row.request_id, []).append(fact)
    return found


def is_true(told: Told, facts: list[AnyFact], then: Standing) -> bool:
    """Whether an answer is what the chain says."""
    act = told.act
    words = [one for one in facts if isinstance(one, Decided)]
    mine = [one for one in words if (one.by.person, one.side, one.agrees) == (act.person, act.side, act.agrees)]
    match told.code:
        case None if act.side is None:
            return then.stage is Stage.WITHDRAWN
        case None if told.said:
            return any(one.by.subject == act.subject and one.snapshot == act.snapshot for one in mine)
        case None:  # it was said before: by the same person, about the same thing
            return any(one.snapshot == act.snapshot for one in mine)
        case "RequestEnded" if then.ended is None:
            return act.now >= _lapse(then) and told.text.startswith(f"{act.request_id} lapsed at ")
        case "RequestEnded":
            told_of_lapse = act.now >= _lapse(then) and " lapsed at " in told.text
            return told_of_lapse or told.text == f"{act.request_id} {how_it_ended(then)}"
        case "SnapshotChanged":
            return then.looked is not None and act.snapshot != then.looked.snapshot and "round 2" in told.text
        case "PolicyForbids":
            return then.asked.by.person == "owner" and act.person in ("owner", "deputy")
    return False


def _lapse(then: Standing) -> int:
    return round(then.asked.lapses_at.timestamp() * 1000)


def outcomes_are_right(ledger: Ledger, database: Database, cast: list[Cast], then: dict[str, Standing]) -> None:
    """What suffices was admitted once, and nothing else; the record and the rows agree."""
    suffices = set[str]()
    for each in cast:
        before = then[each.request_id]
        needed = set(Side) if before.asked.wish.ends_at is None else {Side.GRANT}
        open_still = before.stage is Stage.OPEN and _lapse(before) > LATER
        if open_still and needed <= {Side(one.side) for one in before.yes}:
            suffices.add(each.request_id)
    assert 0 < len(suffices) < 20
    rows = database.rows(sql.select(approvals))
    assert sorted(row.request_id for row in rows) == sorted(suffices)
    after = facts_by_request(database)
    amounted = Counter(one.request_id for each in after.values() for one in each if isinstance(one, Amounted))
    assert amounted == Counter(suffices)
    stood = ledger.read(standings, [each.request_id for each in cast])
    assert {row.request_id: row.stage for row in database.rows(sql.select(requests))} == {
        request_id: str(one.stage) for request_id, one in stood.items()
    }
    approved = [
        json.loads(row.body)["request"]["request_id"]
        for row in database.rows(sql.select(events))
        if row.kind == "approved"
    ]
    assert sorted(approved) == sorted(suffices)
    assert ledger.read(first_fault, [], None) is None
