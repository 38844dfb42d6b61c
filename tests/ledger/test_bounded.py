"""History costs nothing: a visit, a tick and the outbox ask of what is open, and grants that are gone leave the lists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.ages import read_open
from shared.ledger.consent import due_requests, facts_of, in_the_way, overdue_reviews, unheard
from shared.ledger.drift import note_drift, note_drift_gone, read_standing
from shared.ledger.intents import saw
from shared.ledger.operating import dead_rows, lift_hold, set_hold
from shared.ledger.outbox import mark_published, take_entries, waiting_entries
from shared.ledger.outcomes import refuse
from shared.ledger.passing import due_leases, let_time_pass
from shared.ledger.tables import approvals, grants, outbox
from shared.ledger.transactions import Ledger
from shared.ledger.waiting import dead_requests
from shared.ledger.work import claim, release, unsettled, unsettled_page
from shared.messages.completion import EventKind, Reason
from shared.messages.consent import Asked
from shared.rules.facts import Drift, DriftKind, Hold, HoldKind, Seen, Side
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, grant_id, key, opening, read, settle_side
from tests.ledger.lives import come_up, live_everything, open_one
from tests.ledger.room import voice, wish

ID = grant_id()
MANY = 200


def asked_in_emergency() -> Asked:
    """An emergency on this grant."""
    at = datetime.fromtimestamp(NOW / 1000, UTC)
    urgent = wish(emergency=True, ends_at=at + timedelta(hours=1))
    lapses = at + timedelta(days=7)
    return Asked(request_id="r-1", at=at, wish=urgent, by=voice("requester"), lapses_at=lapses, configuration=1)


# -- which index a question uses ---------------------------------------------------------------------------------------


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database meanwhile."""
    found: list[tuple[str, Any]] = []

    def note(_c: object, _k: object, statement: str, parameters: Any, *_: object) -> None:
        found.append((statement, parameters))

    sql.event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sql.event.remove(ledger.engine, "before_cursor_execute", note)


def plan(database: Database, statement: str, parameters: Any) -> str:
    """How the database would find what a statement asks for. PostgreSQL is told that the table is worth an index, and so is an
    order: of a handful of rows it would sort them.
    """
    with database.connected() as connection:
        if database.kind == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            return "\n".join(str(row.detail) for row in rows)
        for way in ("seqscan", "bitmapscan", "mergejoin", "hashjoin", "sort"):
            connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        return "\n".join(str(row[0]) for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters))


QUESTIONS: dict[str, tuple[Callable[[Ledger], object], str, str]] = {
    "the leases of a grant": (read, "FROM approvals", "approvals_open"),
    "the writes of a grant": (read, "FROM intents", "intents_matter"),
    "who waits for an answer": (
        lambda ledger: ledger.write(refuse, read(ledger), Reason(code="No", text="no"), NOW),
        r"AND approvals\.waits",
        "approvals_waiting",
    ),
    "what is unsettled": (
        lambda ledger: ledger.read(unsettled_page, NOW, 10, (-1, "", "")),
        "FROM sides",
        "sides_unsettled",
    ),
    "what time does something to": (
        lambda ledger: ledger.read(due_leases, NOW + 365 * 24 * HOUR, (-1, "")),
        "FROM approvals",
        "approvals_due",
    ),
    "what stands": (lambda ledger: list(read_standing(ledger)), "FROM grants", "grants_shown"),
    "how old what is unsettled is": (lambda ledger: ledger.read(read_open), "FROM outbox", "sides_unsettled"),
    "how much is dead": (lambda ledger: ledger.read(read_open), "FROM outbox", "sides_dead"),
    "what is dead": (lambda ledger: ledger.read(dead_rows), "FROM sides", "sides_dead"),
    "who waits for what is dead": (lambda ledger: ledger.read(dead_requests), "FROM approvals", "approvals_waiting"),
    "what a revoke can close": (
        lambda ledger: ledger.write(admit, closing("all", "REQ-X"), "message-x", NOW, ledger.timing),
        r"UPDATE approvals SET .*closed_by=",
        "approvals_open",
    ),
    "what time does something to of what people ask": (
        lambda ledger: ledger.read(due_requests, NOW, (-1, ""), 10),
        "FROM requests",
        "requests_due",
    ),
    "which emergencies are in the way": (
        lambda ledger: ledger.read(in_the_way, asked_in_emergency(), NOW),
        "FROM requests",
        "requests_",
    ),
    "which reviews are overdue": (
        lambda ledger: ledger.read(overdue_reviews, NOW, 10),
        "FROM requests",
        "requests_reviewed",
    ),
    "what was said of a request": (
        lambda ledger: ledger.read(facts_of, "r-1"),
        "FROM consent",
        "consent_request",
    ),
    "what was not heard yet": (
        lambda ledger: ledger.read(unheard, 1_000, 10),
        "FROM consent",
        r"consent_pkey|PRIMARY KEY",
    ),
    "what a hold had stopped": (
        lambda ledger: (
            ledger.write(set_hold, Hold(HoldKind.GRANT, ID, everything=False, who="a", reason="b", at=NOW), NOW),
            ledger.write(lift_hold, HoldKind.GRANT, ID, "a", NOW),
        ),
        r"UPDATE sides SET next_at",
        "sides_unsettled",
    ),
}


@pytest.mark.parametrize(("ask", "words", "index"), QUESTIONS.values(), ids=QUESTIONS)
def test_what_is_asked_again_and_again_is_asked_of_what_is_open(
    ledger: Ledger, database: Database, ask: Callable[[Ledger], object], words: str, index: str
) -> None:
    """Each of these questions has an index that holds the open rows and no past ones, and both databases use it."""
    live_everything(ledger)
    leave_a_past(ledger, database, "vpc-8")
    with database.connected() as connection:  # a server does it from time to time; of a file, whoever has it may
        connection.exec_driver_sql("ANALYZE")
    with statements(ledger) as asked:
        ask(ledger)

    mine = [one for one in asked if re.search(words, " ".join(one[0].split()))]
    assert mine, [one for one, _ in asked]
    for statement, parameters in mine:
        found = plan(database, statement, parameters)
        assert re.search(index, found), f"{statement}\n{found}"


def test_how_old_what_waits_is_walks_over_no_past(ledger: Ledger, database: Database) -> None:
    """Also where statistics were made while the outbox was empty: then a planner may take it for the larger table."""
    live_everything(ledger)
    ledger.write(mark_published, [entry.seq for entry in ledger.read(waiting_entries, 1_000)])
    with database.connected() as connection:
        connection.exec_driver_sql("ANALYZE")
    with statements(ledger) as found:
        ledger.read(read_open)
    asked = [(text, given) for text, given in found if "FROM outbox" in text]
    assert asked
    for text, given in asked:
        assert not re.search(r"(SCAN|Seq Scan on) events", plan(database, text, given)), plan(database, text, given)


def test_what_a_revoke_closed_is_found_by_an_index(ledger: Ledger, database: Database) -> None:
    """For its answer, also where a thousand past leases are on the same grant."""
    open_one(ledger, "REQ-1", "vpc-1")
    ledger.write(admit, closing(["REQ-1"]), "message-2", NOW, ledger.timing)
    with statements(ledger) as asked:
        assert settle_side(ledger, Side.GRANT, None)

    (mine,) = [one for one in asked if "approvals.closed_by =" in one[0]]
    assert "approvals_closed" in plan(database, *mine)


# -- the same statements over the same rows ----------------------------------------------------------------------------


def leave_a_past(ledger: Ledger, database: Database, vpc: str) -> None:
    """A past of so many leases that came up and were closed: one is lived, its rows are copied."""
    open_one(ledger, "OLD", vpc)
    come_up(ledger, vpc)
    ledger.write(admit, closing(["OLD"], "OLD-END", vpc), "message-old", NOW, ledger.timing)
    for side, kind in ((Side.ASSOCIATE, EventKind.DISSOCIATED), (Side.GRANT, EventKind.REVOKED)):
        ledger.write(saw, read(ledger, side, vpc=vpc), Seen("absent"), NOW)
        assert settle_side(ledger, side, kind, vpc=vpc)
    ledger.write(mark_published, [entry.seq for entry in ledger.read(waiting_entries, 1000)])
    with database.connected() as connection:
        lived = connection.execute(sql.select(approvals).where(approvals.c.grant_id == grant_id(vpc)))
        every = [dict(row._mapping) for row in lived]
        copies = [
            row | {"approval_id": f"{row['approval_id'][:50]}-{number}", "request_id": f"{row['request_id']}-{number}"}
            for row in every
            for number in range(MANY)
        ]
        connection.execute(approvals.insert(), copies)


def visit_and_tick(ledger: Ledger, vpc: str) -> None:
    """What the timer asks, what two workers do about one new lease, and what is published then."""
    ledger.write(admit, opening("NEW", vpc), f"message-{vpc}", NOW, ledger.timing)
    ledger.read(unsettled, NOW, 10)
    ledger.read(due_leases, NOW, (-1, ""))
    list(read_standing(ledger))
    ledger.write(claim, grant_id(vpc), Side.GRANT, "one", NOW, NOW + HOUR)
    come_up(ledger, vpc)
    ledger.write(release, grant_id(vpc), Side.GRANT, "one", 0)
    taken = ledger.write(take_entries, 10, NOW, NOW + HOUR)
    ledger.write(mark_published, [entry.seq for entry in taken])
    ledger.write(admit, closing(["NEW"], "NEW-END", vpc), f"message-end-{vpc}", NOW, ledger.timing)
    gone(ledger, vpc)
    ledger.write(mark_published, [entry.seq for entry in ledger.write(take_entries, 10, NOW, NOW + HOUR)])


def cost(database: Database, vpc: str) -> tuple[int, int]:
    """(statements, steps of SQLite's machine) of one life of a lease."""
    ledger, steps = Ledger(database.url), 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    if database.kind == "sqlite":
        sql.event.listen(ledger.engine, "connect", lambda raw, _: raw.set_progress_handler(step, 1))
    try:
        with statements(ledger) as asked:
            visit_and_tick(ledger, vpc)
        return len(asked), steps
    finally:
        ledger.close()


@pytest.mark.parametrize(
    "there", [pytest.param("vpc-1", id="all of it on this very grant"), pytest.param("vpc-2", id="all of it elsewhere")]
)
def test_a_past_costs_a_visit_and_a_tick_nothing(ledger: Ledger, database: Database, there: str) -> None:
    """The same life of a lease, without and with four hundred past approvals: the same statements, the same steps."""
    visit_and_tick(ledger, "vpc-0")
    statements_before, steps_before = cost(database, "vpc-9")
    leave_a_past(ledger, database, there)
    visit_and_tick(ledger, "vpc-1")
    statements_after, steps_after = cost(database, "vpc-8")
    ledger.write(admit, opening("NEW-2", there), "message-2", NOW, ledger.timing)
    gone_by_then = read(ledger, vpc=there)
    assert gone_by_then.wanted.up

    assert statements_after == statements_before
    assert steps_after <= 1.2 * steps_before


# -- the outbox and the lists ------------------------------------------------------------------------------------------


def test_what_is_out_leaves_the_outbox(ledger: Ledger, database: Database) -> None:
    """It holds what waits, and nothing else."""
    for number in range(5):
        open_one(ledger, f"REQ-{number}", "vpc-1")
    ledger.write(mark_published, [1, 2, 4])

    assert [row.seq for row in database.rows(sql.select(outbox.c.seq).order_by(outbox.c.seq))] == [3, 5]
    assert [entry.seq for entry in ledger.write(take_entries, 10, NOW, NOW + HOUR)] == [3, 5]
    check_order(ledger, database)


def listed(ledger: Ledger) -> list[str]:
    """The VPCs of the grants that are listed."""
    return [one.key.instance_id for one in read_standing(ledger)]


def gone(ledger: Ledger, vpc: str) -> None:
    """Bring both sides to rest with nothing up."""
    for side in (Side.ASSOCIATE, Side.GRANT):
        ledger.write(saw, read(ledger, side, vpc=vpc), Seen("absent"), NOW)
        assert settle_side(ledger, side, None, vpc=vpc)


Step = Callable[[Ledger], object]


def _open(**lease: Any) -> Step:
    return lambda ledger: open_one(ledger, "REQ-1", "vpc-1", **lease)


def _up(*, ours: bool = True) -> Step:
    return lambda ledger: come_up(ledger, "vpc-1", ours=ours)


def _revoke(ledger: Ledger) -> None:
    ledger.write(admit, closing("all"), "message-end", NOW, ledger.timing)


def _refuse(ledger: Ledger) -> None:
    assert ledger.write(refuse, read(ledger), Reason(code="InstanceNotFound", text="no"), NOW)


def _gone(ledger: Ledger) -> None:
    gone(ledger, "vpc-1")


def _left(ledger: Ledger) -> None:
    for side in (Side.ASSOCIATE, Side.GRANT):
        assert settle_side(ledger, side, None)


def _stranger(ledger: Ledger) -> None:
    drift = Drift(key(), Side.GRANT, DriftKind.FOREIGN_GRANT, "nobody asked us for it")
    assert ledger.write(note_drift, [drift], NOW, generation=0, quiet_since=NOW, repair=frozenset())


def _stranger_gone(ledger: Ledger) -> None:
    assert ledger.write(note_drift_gone, ID, Side.GRANT, NOW + HOUR)


DAY = 24 * HOUR

LIVES: dict[str, tuple[list[Step], bool]] = {
    "a revoke of what nobody opened": ([_revoke, _gone], False),
    "a request that came past its end": ([_open(ends_at=NOW)], False),
    "a request that was refused": ([_open(), _refuse, _gone], False),
    "a lease that came and went": ([_open(), _up(), _revoke, _gone], False),
    "a lease that is up": ([_open(), _up()], True),
    "a request on its way": ([_open()], True),
    "a revoke on its way": ([_revoke], True),
    "an early one": ([_open(approved_at=NOW + DAY)], True),
    "an early one whose end came first": (
        [_open(approved_at=NOW + DAY, ends_at=NOW + DAY + HOUR), lambda ledger: let_time_pass(ledger, NOW + 2 * DAY)],
        False,
    ),
    "what was there before us and stays": ([_open(), _up(ours=False), _revoke, _left], True),
    "a stranger": ([_stranger], True),
    "a stranger that went away": ([_stranger, _stranger_gone], False),
}


@pytest.mark.parametrize(("steps", "shown"), LIVES.values(), ids=LIVES)
def test_lists_show_what_is_wanted_up_under_way_or_found(
    ledger: Ledger, database: Database, steps: list[Step], *, shown: bool
) -> None:
    """And nothing that was never opened, or is gone (r34). The record keeps it."""
    for step in steps:
        step(ledger)

    assert listed(ledger) == (["vpc-1"] if shown else [])
    assert database.count(grants) == 1
    check_order(ledger, database)


def test_a_grant_that_is_wanted_again_is_listed_again(ledger: Ledger) -> None:
    """History is no grave."""
    open_one(ledger, "REQ-1", "vpc-1")
    ledger.write(admit, closing(["REQ-1"]), "m", NOW, ledger.timing)
    gone(ledger, "vpc-1")
    assert listed(ledger) == []

    open_one(ledger, "REQ-2", "vpc-1")
    assert listed(ledger) == ["vpc-1"]


def test_no_limit_hides_what_comes_behind_it(ledger: Ledger) -> None:
    """R07: pages follow one another to the end, whatever stands first."""
    for number in range(7):
        open_one(ledger, "REQ-1", f"vpc-{number}")
    found, behind = [], (-1, "", "")
    while page := ledger.read(unsettled_page, NOW, 3, behind):
        found += [(one, side) for one, side, _ in page]
        behind = page[-1][2]

    assert len(found) == len(set(found)) == 14
    assert json.dumps(sorted(found)) == json.dumps(sorted(ledger.read(unsettled, NOW, 100)))
