"""What is asked beside the usual way: emergencies and their reviews, fallback groups, and looking again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import NotAllowed
from shared.ledger.consent import add_facts
from shared.ledger.proof import first_fault
from shared.ledger.tables import approvals, events
from shared.ledger.transactions import Ledger
from shared.messages.consent import Reviewed
from shared.rules.consent import Stage
from shared.rules.facts import Side
from shared.rules.shipped import POLICY
from tests.ledger.gated import ACCOUNTS, Gated, apply, content
from tests.ledger.kit import NOW, Database, key
from tests.ledger.room import DAY, PEOPLE, Room, at, people_decide, voice, wish


@pytest.fixture
def room(ledger: Ledger) -> Room:
    """The shipped policy, and owners for both accounts."""
    apply(ledger, people_decide())
    return Room(Gated(ledger))


def test_one_emergency_at_a_time(room: Room) -> None:
    """One approver of either side, a day at most; a second one on the grant by the same person waits for the first."""
    urgent: dict[str, Any] = {"emergency": True, "ends_at": at(NOW + DAY // 2)}
    request_id, snapshot = room.ready(**urgent)
    with pytest.raises(NotAllowed, match="is open on this grant"):
        room.ask(**urgent)
    room.decide("router-owner", request_id, snapshot, Side.ASSOCIATE)
    assert room.hear() == [key().grant_id]
    with pytest.raises(NotAllowed, match="24 hours at most"):
        room.ask(instance=wish("vpc-2").instance, **urgent | {"ends_at": at(NOW + 2 * DAY)})


def test_an_emergency_is_reviewed_before_the_next(room: Room, database: Database) -> None:
    """By somebody who took no part; until then nobody opens another one there, and once it is overdue whoever asked opens none
    anywhere. Everybody who was not asked is told why.
    """
    urgent: dict[str, Any] = {"emergency": True, "ends_at": at(NOW + DAY // 2)}
    request_id, snapshot = room.ready(**urgent)
    room.decide("router-owner", request_id, snapshot, Side.ASSOCIATE)
    room.hear()
    room.hear()
    (told,) = [json.loads(row.body) for row in database.rows(sql.select(events)) if row.kind == "approved"]
    assert "by router-owner for the associate side; nobody was asked for the grant side" in told["reason"]["text"]
    assert set(told["people"]) >= {"requester", "router-owner", "owner", "second-owner", "lead", "router-lead"}

    for person in ("requester", "second-owner"):
        with pytest.raises(NotAllowed, match="is to be reviewed first"):
            room.ask(person, **urgent)
    room.ask(vpc="vpc-2", instance=wish("vpc-2").instance, **urgent)
    room.gated.now += 4 * DAY
    urgent["ends_at"] = at(room.gated.now + DAY // 2)
    with pytest.raises(NotAllowed, match="is to be reviewed first"):
        room.ask(instance=wish("vpc-3").instance, **urgent)
    for person in ("requester", "router-owner", "stranger"):
        with pytest.raises(NotAllowed, match="does not review it; who may: "):
            room.desk.review(voice(person), request_id, in_order=True, reason="all was well")

    later = room.ask(ends_at=urgent["ends_at"]).standing.request_id
    with pytest.raises(NotAllowed, match="waits for no review"):
        room.desk.review(voice("owner"), later, in_order=True, reason="all was well")
    said = [
        room.desk.review(voice("owner"), request_id, in_order=False, reason="it could have waited") for _ in range(2)
    ]
    assert [one.said for one in said] == [True, False]
    room.hear()
    assert "reviewed" in database.kinds()
    assert room.gated.ledger.read(first_fault, [], None) is None
    room.ask(**urgent)


def test_a_forged_review_of_whoever_took_part_reviews_nothing(room: Room) -> None:
    """Whatever a desk writes: the same person's word does not close it."""
    urgent: dict[str, Any] = {"emergency": True, "ends_at": at(NOW + DAY // 2)}
    request_id, snapshot = room.ready(**urgent)
    room.decide("router-owner", request_id, snapshot, Side.ASSOCIATE)
    room.hear()
    forged = Reviewed(request_id=request_id, at=at(NOW + 1), by=voice("router-owner"), in_order=True, reason="fine")
    room.gated.ledger.write(add_facts, request_id, lambda _: [forged])
    room.hear()
    with pytest.raises(NotAllowed, match="is to be reviewed first"):
        room.ask(**urgent)


def test_two_emergencies_of_one_person_that_were_asked_at_once_are_one(room: Room, database: Database) -> None:
    """The desk saw neither of the other: the grant function refuses the later one."""
    urgent: dict[str, Any] = {"emergency": True, "ends_at": at(NOW + DAY // 2)}
    first, snapshot = room.ready(**urgent)
    asked = room.desk.show(first).standing.asked
    later = asked.model_copy(update={"request_id": "r-later", "at": asked.at + timedelta(seconds=1)})
    room.gated.ledger.write(add_facts, "r-later", lambda _: [later])
    room.decide("router-owner", "r-later", room.look("r-later"), Side.ASSOCIATE)
    room.decide("router-owner", first, snapshot, Side.ASSOCIATE)
    room.hear()
    assert [row.request_id for row in database.rows(sql.select(approvals))] == [first]
    assert room.desk.show("r-later").standing.stage is Stage.REFUSED


def test_a_fallback_group_decides_where_the_owners_have_nobody(room: Room, ledger: Ledger) -> None:
    """The only owner asks: the fallback group decides. Where an owner can, it does not."""
    grant = key()
    accounts = {
        grant.ecr_owner_uid: {**ACCOUNTS[grant.ecr_owner_uid], "owner": "router-owners"},
        grant.instance_owner_uid: {
            **ACCOUNTS[grant.instance_owner_uid],
            "owner": "alone",
            "fallback": "leads",
            "supernets": ["10.0.0.0/8"],
        },
    }
    people = {**PEOPLE, "groups": {**PEOPLE["groups"], "alone": ["owner"]}}
    apply(ledger, content(accounts, people=people, policy=POLICY))
    request_id, snapshot = room.ready("owner")
    room.decide("lead", request_id, snapshot)
    assert room.hear() == [grant.grant_id]
    with pytest.raises(NotAllowed):
        room.decide("lead", *room.ready("requester"))


def test_preflight_is_told_again(room: Room, database: Database) -> None:
    """By whoever may see it; and by time, where it has not looked after a quarter of an hour."""
    request_id = room.ask().standing.request_id
    room.hear()
    assert database.kinds().count("asked") == 1
    room.gated.now += 16 * 60_000
    room.hear()
    room.hear()
    assert database.kinds().count("asked") == 2
    room.look(request_id)
    assert room.desk.look_again(voice("owner"), request_id).said
    room.hear()
    assert database.kinds().count("asked") == 3
    room.gated.now += 8 * DAY
    with pytest.raises(NotAllowed, match="lapsed"):
        room.desk.look_again(voice("owner"), request_id)
