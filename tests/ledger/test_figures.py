"""What the timer counts is kept by the hour; what the rows say of the days before is reckoned of so many of the newest."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger import figures as module
from shared.ledger.ages import Open
from shared.ledger.figures import HOUR, asked_since, ended_since, hourly, note_figures, note_pass, taken_since
from shared.ledger.heads import Covered, covered, head_of
from shared.ledger.proof import first_fault
from shared.ledger.tables import approvals, events, figures, sides
from shared.ledger.transactions import Ledger
from shared.rules.facts import Side
from shared.rules.figures import DAY, Figure
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import NOW, Database, key
from tests.ledger.room import Room, people_decide
from tests.ledger.test_bounded import plan, statements
from tests.ledger.test_decisions import SCOPES

TODAY = NOW // DAY
OPEN = Open(unsettled=3, unsettled_since=NOW - 5000, dead=1, outbox=0, outbox_since=None)


def kept(ledger: Ledger, since: int = 0) -> dict[tuple[int, str], int]:
    """What is told of it."""
    return ledger.glance(hourly, since)


def test_the_most_of_each_hour_is_kept_for_so_long(ledger: Ledger, database: Database) -> None:
    """Of passes within one hour the most, of hours within one day, too; what is old is forgotten."""
    for at, dead in ((NOW, 2), (NOW + 1, 5), (NOW + 2, 1), (NOW + HOUR, 4), (NOW + DAY, 1)):
        ledger.write(note_figures, {Figure.DEAD: dead}, at)
    assert kept(ledger) == {(TODAY, "dead"): 5, (TODAY + 1, "dead"): 1}
    assert database.count(figures) == 3
    assert kept(ledger, (TODAY + 1) * DAY) == {(TODAY + 1, "dead"): 1}
    ledger.write(note_figures, {Figure.DEAD: 0}, NOW + 91 * DAY)
    assert kept(ledger) == {(TODAY + 91, "dead"): 0}


@pytest.fixture
def room(ledger: Ledger) -> Room:
    """A lease that was asked for, decided, made a second later and up another two later; a request that was refused."""
    apply(ledger, people_decide())
    room = Room(Gated(ledger))
    first, snapshot = room.ready()
    room.decide("owner", first, snapshot)
    room.hear()
    room.gated.now += 1000
    room.gated.visit(room.cloud, Side.GRANT)
    room.gated.now += 2000
    room.gated.visit(room.cloud, Side.ASSOCIATE)
    second, snapshot = room.ready("router-owner", vpc="vpc-2")
    room.decide("owner", second, snapshot, agrees=False)
    room.hear()
    return room


def test_a_pass_keeps_what_it_has_counted(room: Room, database: Database) -> None:
    """Drift, open requests and writes, too."""
    room.ask("requester", vpc="vpc-3")
    with database.connected() as connection:
        drift = '{"class": "prefixes-differ", "text": "x", "at": ' + str(NOW - 60_000) + "}"
        connection.execute(sides.update().where(sides.c.side == "associate").values(drift=drift))
    room.gated.ledger.write(note_pass, OPEN, None, NOW + 3000)
    found = {name: value for (_, name), value in kept(room.gated.ledger).items()}
    assert found == {
        "unsettled": 3,
        "unsettled-age": 8000,
        "dead": 1,
        "outbox": 0,
        "drift": 1,
        "drift-age": 63_000,
        "requests": 1,
        "writes": 2,
    }


SEES = {"auditor": (1, 2, 1), "owner of B": (1, 2, 1), "requester": (1, 1, 0), "stranger": (0, 0, 0)}


def test_how_long_it_took_and_what_was_asked_is_told_of_what_may_be_seen(room: Room) -> None:
    """By whoever looks, from a day on."""
    ledger = room.gated.ledger
    for who, (leases, asked, refused) in SEES.items():
        taken, cut = ledger.glance(taken_since, SCOPES[who], 0)
        assert [(one.granted, one.active) for one in taken] == [(1000, 3000)] * leases, who
        assert not cut
        assert sum(ledger.glance(asked_since, SCOPES[who], 0).found.values()) == asked
        ended = ledger.glance(ended_since, SCOPES[who], 0).found
        assert sum(many for (_, stage), many in ended.items() if stage == "refused") == refused
    late = NOW + DAY
    assert ledger.glance(taken_since, SCOPES["auditor"], late) == ([], False)
    assert ledger.glance(asked_since, SCOPES["auditor"], late).found == {}
    assert ledger.glance(ended_since, SCOPES["auditor"], late).found == {}


def test_of_a_grant_that_was_there_only_the_rest_is_told(room: Room) -> None:
    """It was not made for that lease."""
    again, snapshot = room.ready(allowed_prefixes=["10.30.0.0/16"])
    room.decide("owner", again, snapshot)
    room.gated.now += 10_000
    room.hear()
    room.visit()
    taken, _ = room.gated.ledger.glance(taken_since, SCOPES["auditor"], 0)
    assert sorted((one.granted or 0) for one in taken) == [0, 1000]


def test_more_than_is_reckoned_with_is_said(room: Room, database: Database) -> None:
    """Of copies of the lease, and of a request."""
    with database.connected() as connection:
        row = connection.execute(sql.select(approvals)).one()._asdict()
        names = ("approval_id", "request_id")
        many = [{**row, **dict.fromkeys(names, f"{number}")} for number in range(module.MOST_LEASES)]
        connection.execute(approvals.insert(), many)
    taken, cut = room.gated.ledger.glance(taken_since, SCOPES["auditor"], 0)
    assert (len(taken), cut) == (module.MOST_LEASES, True)


def test_each_goes_by_an_index_on_time(room: Room, database: Database) -> None:
    """One statement each."""
    asks: dict[str, Any] = {
        "approvals_done": (taken_since, SCOPES["owner of B"], NOW),
        "requests_asked": (asked_since, SCOPES["owner of B"], NOW),
        "requests_ended": (ended_since, SCOPES["auditor"], NOW),
        "figures_pkey" if database.kind == "postgresql" else "sqlite_autoindex_figures": (hourly, NOW),
    }
    for index, (ask, *said) in asks.items():
        with statements(room.gated.ledger) as sent:
            room.gated.ledger.glance(ask, *said)
        [(statement, parameters)] = [one for one in sent if "BEGIN" not in one[0]]
        found = plan(database, statement, parameters)
        assert index in found, found
        if ask is taken_since:
            assert "events_granted" in found, found


# -- how far a grant's record is proven ----------------------------------------------------------------------------------


def told(ledger: Ledger) -> Covered:
    """Of the grant that is up."""
    return ledger.read(covered, key().grant_id, 100)


def test_a_signed_head_covers_what_was_before_it(room: Room) -> None:
    """And nothing that came later; without one nothing is covered."""
    ledger = room.gated.ledger
    before = told(ledger)
    assert (before.covered, before.head, before.fault) == (False, None, None)
    assert before.events > 2
    end = ledger.read(head_of, NOW).seq
    assert before.end == end
    ledger.write(note_pass, OPEN, end, NOW + 5)
    after = told(ledger)
    assert (after.covered, after.head, after.head_at) == (True, end, NOW + 5)
    again, snapshot = room.ready(allowed_prefixes=["10.30.0.0/16"])
    room.decide("owner", again, snapshot)
    room.hear()
    assert not told(ledger).covered
    assert ledger.read(covered, "g-nowhere", 100).covered
    assert ledger.read(first_fault, [], None) is None


def test_an_event_that_was_edited_is_named(room: Room, database: Database) -> None:
    """By its number, the first of them."""
    mine = events.c.grant_id == key().grant_id
    first = database.rows(sql.select(sql.func.min(events.c.seq)).where(mine))[0][0]
    with database.connected() as connection:
        connection.execute(events.update().where(mine).values(body="{}"))
    assert told(room.gated.ledger).fault == first
