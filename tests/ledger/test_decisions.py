"""Who decided what: a row for each word that was heard, for whoever may see what it is about, and proven from its fact."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger.consent import RequestsAsked, list_requests
from shared.ledger.decisions import DecisionsAsked, list_decisions
from shared.ledger.proof import first_fault
from shared.ledger.schema import MIGRATIONS
from shared.ledger.seeing import Scope
from shared.ledger.tables import decisions, metadata, requests
from shared.ledger.transactions import Ledger
from shared.messages.consent import Strength
from shared.rules.facts import Side
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import NOW, Database, key
from tests.ledger.room import DAY, PEOPLE, Room, at, people_decide, voice
from tests.ledger.test_bounded import plan, statements

A, B = key().ecr_owner_uid, key().instance_owner_uid
SCOPES = {
    "auditor": Scope("auditor", frozenset({A, B}), everything=True),
    "owner of B": Scope("owner", frozenset({B})),
    "owner of another": Scope("another", frozenset({"3000000000000003"})),
    "requester": Scope("requester", frozenset()),
    "stranger": Scope("stranger", frozenset()),
}


@pytest.fixture
def room(ledger: Ledger) -> Room:
    """Three words about two requests, heard: a yes, another's no, and one instead of an owner; one more that nobody has heard."""
    lasts = {"of": "second-owner", "to": "deputy", "from": at(NOW).isoformat(), "until": at(NOW + DAY).isoformat()}
    apply(ledger, people_decide(people={**PEOPLE, "delegations": [lasts]}))
    room = Room(Gated(ledger))
    first, snapshot = room.ready(ends_at=None)
    relayed = voice("owner", relay="tickets", strength=Strength.RELAYED)
    room.desk.decide(relayed, first, Side.GRANT, snapshot, agrees=True)
    room.gated.now += 1000
    second, seen = room.ready("router-owner", vpc="vpc-2", ends_at=None)
    room.desk.decide(voice("deputy"), second, Side.GRANT, seen, agrees=True, reason="As agreed")
    room.hear()
    room.gated.now += 1000
    room.desk.decide(voice("router-lead"), second, Side.ASSOCIATE, seen, agrees=False, reason="Not now")
    room.hear()
    room.desk.decide(voice("router-owner"), first, Side.ASSOCIATE, snapshot, agrees=True)
    return room


def told(room: Room, who: str = "auditor", **asked: Any) -> list[str]:
    """Who said what, the newest first."""
    found = room.gated.ledger.read(list_decisions, SCOPES[who], DecisionsAsked(**asked), None, 100)
    return [f"{row.person} {'yes' if row.agrees else 'no'} {row.side}" for row in found]


DEPUTY, LEAD, OWNER = "deputy yes grant", "router-lead no associate", "owner yes grant"


def test_each_word_is_told_as_it_was_said(room: Room, database: Database) -> None:
    """What was heard, and nothing else yet."""
    assert told(room) == [LEAD, DEPUTY, OWNER]
    lead, deputy, owner = database.rows(sql.select(decisions).order_by(decisions.c.seq.desc()))
    assert (owner.relay, owner.strength, owner.instead_of, owner.reason) == ("tickets", "relayed", None, "")
    assert (deputy.instead_of, deputy.reason, deputy.requester) == ("second-owner", "As agreed", "router-owner")
    assert (lead.reason, lead.at, lead.ecr_owner_uid) == ("Not now", NOW + 2000, A)
    room.hear()
    assert told(room)[0] == "router-owner yes associate"
    assert room.gated.ledger.read(first_fault, [], None) is None


def test_a_word_with_a_null_character_is_heard(room: Room) -> None:
    """One of the databases keeps no text with it: a word that was taken with one counts all the same, and is proven."""
    request_id = without_text(room)
    (row, *_) = room.gated.ledger.read(list_decisions, SCOPES["auditor"], DecisionsAsked(), None, 1)
    assert (row.request_id, row.reason) == (request_id, "Not\ufffdnow, \\u0000")
    assert room.desk.show(request_id).standing.stage == "refused"
    assert room.gated.ledger.read(first_fault, [], None) is None


def without_text(room: Room) -> str:
    """A request that is refused with a null character, and what looks like one, in its reason."""
    request_id, snapshot = room.ready(vpc="vpc-3", ends_at=None, ticket="A\0ticket\\\0")
    room.desk.decide(voice("owner"), request_id, Side.GRANT, snapshot, agrees=False, reason="Not\0now, \\u0000")
    room.hear()
    return request_id


def test_each_sees_what_is_about_theirs(room: Room) -> None:
    """Owners all of it, whoever asked what was said of their own, and others nothing."""
    seen = {who: told(room, who) for who in SCOPES}
    assert seen["owner of B"] == seen["auditor"]
    assert seen["requester"] == [OWNER]
    assert seen["stranger"] == seen["owner of another"] == []


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"person": "deputy"}, [DEPUTY]),
    ({"person": "nobody"}, []),
    ({"side": Side.ASSOCIATE}, [LEAD]),
    ({"account": B}, [LEAD, DEPUTY, OWNER]),
    ({"account": "3000000000000003"}, []),
    ({"grant": key("vpc-2").grant_id}, [LEAD, DEPUTY]),
    ({"since": NOW + 1000}, [LEAD, DEPUTY]),
    ({"until": NOW + 1000}, [OWNER]),
    ({"since": NOW + 1, "until": NOW + 2000}, [DEPUTY]),
    ({"person": "deputy", "side": Side.ASSOCIATE}, []),
]


def test_filters_take_away(room: Room) -> None:
    """And mean what they say."""
    assert [told(room, **asked) for asked, _ in FILTERS] == [expected for _, expected in FILTERS]


def test_pages_give_each_once(room: Room) -> None:
    """In their order."""
    found: list[int] = []
    behind = None
    while page := room.gated.ledger.read(list_decisions, SCOPES["owner of B"], DecisionsAsked(), behind, 1):
        found += [row.seq for row in page]
        behind = page[-1].at, page[-1].seq
    assert found == sorted(found, reverse=True)
    assert len(found) == 3


def test_no_table_is_read_whole(room: Room, database: Database) -> None:
    """One statement, by an index that has them in order, whoever asks and for what."""
    for asked in ({}, {"person": "owner"}, {"grant": key().grant_id}, {"since": NOW}, {"until": NOW + DAY}):
        for who in ("auditor", "owner of B", "requester"):
            with statements(room.gated.ledger) as sent:
                room.gated.ledger.glance(list_decisions, SCOPES[who], DecisionsAsked(**asked), None, 25)
            [(statement, parameters)] = [one for one in sent if "BEGIN" not in one[0]]
            found = plan(database, statement, parameters)
            assert "decisions_" in found
            assert "Seq Scan" not in found
            assert not any(line.startswith("SCAN decisions") and "INDEX" not in line for line in found.splitlines())


FORGED: dict[str, tuple[sql.UpdateBase, str]] = {
    "another word": (decisions.update().values(agrees=~decisions.c.agrees), "has agrees"),
    "another person": (decisions.update().values(person="stranger"), "has person 'stranger'"),
    "another account": (decisions.update().values(ecr_owner_uid="3000000000000003"), "has ecr_owner_uid"),
    "a reason": (decisions.update().values(reason="x"), "has reason"),
    "one that is gone": (decisions.delete(), "was heard and has no row"),
    "what nobody said": (decisions.update().where(decisions.c.person == "owner").values(seq=1), "has no row"),
}


def test_verify_names_what_was_never_said(room: Room, database: Database) -> None:
    """A row is worth what its fact says."""
    rows = [row._asdict() for row in database.rows(sql.select(decisions))]
    for what, (statement, said) in FORGED.items():
        with database.connected() as connection:
            connection.execute(statement)
        fault = room.gated.ledger.read(first_fault, [], None)
        assert fault is not None, what
        assert said in fault, what
        with database.connected() as connection:
            connection.execute(decisions.delete())
            connection.execute(decisions.insert(), rows)
    assert room.gated.ledger.read(first_fault, [], None) is None


def test_a_row_too_much_is_named(room: Room, database: Database) -> None:
    """Of a word that was said and not heard, and of no word at all."""
    (row,) = database.rows(sql.select(decisions).where(decisions.c.person == "owner"))
    for seq, said in ((row.seq + 1, "which is none"), (99, "which is none")):
        with database.connected() as connection:
            connection.execute(decisions.insert().values({**row._asdict(), "seq": seq}))
        fault = room.gated.ledger.read(first_fault, [], None)
        assert fault is not None
        assert said in fault
        with database.connected() as connection:
            connection.execute(decisions.delete().where(decisions.c.seq == seq))


# -- of before ---------------------------------------------------------------------------------------------------------


def test_a_ledger_of_before_is_filled_in(room: Room, database: Database) -> None:
    """What the migration makes of the facts is what hearing would have written."""
    import importlib.util  # noqa: PLC0415  # only here

    from alembic.migration import MigrationContext  # noqa: PLC0415  # only here
    from alembic.operations import Operations  # noqa: PLC0415  # only here

    path = MIGRATIONS / "versions" / "0006_the_page.py"
    spec = importlib.util.spec_from_file_location("the_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    without_text(room)
    before = database.everything()
    with database.connected() as connection:
        connection.execute(decisions.delete())
        connection.execute(requests.update().values(instance_id=None, ecr_id=None))
        with Operations.context(MigrationContext.configure(connection)):
            module.upgrade()
    assert {name: before[name] for name in metadata.tables} == database.everything()
    assert room.gated.ledger.read(first_fault, [], None) is None


# -- the list of requests ------------------------------------------------------------------------------------------------


def test_requests_are_found_by_a_text(room: Room) -> None:
    """By how an id begins, or a whole name; nothing of others'."""
    asked: list[tuple[dict[str, Any], int]] = [
        ({"text": "vpc-2"}, 1),
        ({"text": "vpc-"}, 2),
        ({"text": "vpc_"}, 0),
        ({"text": "r-zzz"}, 0),
        ({"text": "router-owner"}, 1),
        ({"text": key("vpc-2").grant_id}, 1),
        ({"requester": "requester"}, 1),
        ({"review": True}, 0),
    ]
    for which, many in asked:
        wanted = RequestsAsked(**which)
        assert len(room.gated.ledger.read(list_requests, SCOPES["auditor"], wanted, None, 100)) == many, which
        assert room.gated.ledger.read(list_requests, SCOPES["stranger"], wanted, None, 100) == []


def test_no_request_is_looked_through_for_a_text_or_a_grant(room: Room, database: Database) -> None:
    """Each way by an index of its own."""
    for asked in (RequestsAsked(text=key().grant_id), RequestsAsked(grant_id=key().grant_id)):
        with statements(room.gated.ledger) as sent:
            room.gated.ledger.glance(list_requests, SCOPES["auditor"], asked, None, 25)
        [(statement, parameters)] = [one for one in sent if "BEGIN" not in one[0]]
        found = plan(database, statement, parameters)
        assert "requests_of_grant" in found, found


def test_an_emergency_waits_for_its_review_in_the_list(room: Room) -> None:
    """And is told with it until when."""
    urgent, snapshot = room.ready("stranger", vpc="vpc-3", emergency=True, ends_at=at(NOW) + timedelta(hours=2))
    room.decide("owner", urgent, snapshot)
    room.hear()
    (row,) = room.gated.ledger.read(list_requests, SCOPES["auditor"], RequestsAsked(review=True), None, 100)
    assert (row.request_id, row.emergency, row.instance_id) == (urgent, True, "vpc-3")
    assert row.review_at is not None
