"""What waits: for a better time, for somebody who mends what is dead, and for the end of a lease."""

from __future__ import annotations

from typing import Any

import pytest

from shared.ledger.admission import admit
from shared.ledger.intents import saw
from shared.ledger.operating import dead_rows, redrive
from shared.ledger.outcomes import mark_dead, put_off, refuse, tell_unwanted
from shared.ledger.passing import let_time_pass
from shared.ledger.transactions import Ledger
from shared.ledger.work import unsettled
from shared.messages.completion import EventKind, Reason, ReasonCode
from shared.rules.facts import Seen, Side
from shared.rules.leases import Level, Wanted
from tests.ledger.kit import (
    HOUR,
    NOW,
    WAITING,
    Database,
    check_order,
    closing,
    grant_id,
    opening,
    outcomes,
    read,
    settle_side,
)

ID = grant_id()
TROUBLE = Reason(code="CloudTrouble", text="the platform failed")


# -- later, stuck, refused, dead, redriven ------------------------------------------------------------------------------


def test_later_is_a_time_in_the_row(admitted: Ledger) -> None:
    """What waits is found by the timer at its time, and failed tries are counted where no copy of a message forks them."""
    admitted.write(put_off, read(admitted), NOW + 5000, TROUBLE, NOW, admitted.timing, attempt=True)
    admitted.write(put_off, read(admitted), NOW + 9000, WAITING, NOW, admitted.timing, attempt=False)

    row = read(admitted).mine
    assert (row.attempts, row.next_at, row.waiting_since) == (1, NOW + 9000, NOW)
    assert (ID, Side.GRANT) not in admitted.read(unsettled, NOW + 8999, 10)
    assert (ID, Side.GRANT) in admitted.read(unsettled, NOW + 9000, 10)


def test_changed_leases_are_tried_at_once(admitted: Ledger) -> None:
    """Earlier trouble is no reason not to look at new leases now."""
    admitted.write(put_off, read(admitted), NOW + HOUR, TROUBLE, NOW, admitted.timing, attempt=True)
    admitted.write(admit, opening("REQ-2"), "message-2", NOW + 1, admitted.timing)

    row = read(admitted).mine
    assert (row.attempts, row.next_at, row.waiting_since) == (0, None, None)


def test_what_waits_too_long_is_reported_as_stuck_once(admitted: Ledger, database: Database) -> None:
    """With what was last seen, once for these leases, and not while the mode keeps it waiting."""
    limit = admitted.timing.stuck
    admitted.write(put_off, read(admitted), NOW + 1, WAITING, NOW, admitted.timing, attempt=False)
    paused = Reason(code=ReasonCode.HELD, text="the mode is pause-all")
    admitted.write(put_off, read(admitted), NOW + 1, paused, NOW + limit, admitted.timing, attempt=False)
    assert "stuck" not in database.kinds()

    for more in range(3):
        admitted.write(put_off, read(admitted), NOW + 1, WAITING, NOW + limit + more, admitted.timing, attempt=False)
    assert database.kinds() == ["admitted", "held", "stuck"]
    check_order(admitted, database)


def test_refusing_rejects_the_grants_that_wait(admitted: Ledger, database: Database) -> None:
    """An impossible grant is rejected for all who asked for it; who asked to close is not; what was answered stays so."""
    admitted.write(admit, opening("REQ-2"), "message-2", NOW, admitted.timing)
    admitted.write(admit, closing(["REQ-7"]), "message-3", NOW, admitted.timing)

    assert admitted.write(refuse, read(admitted), Reason(code="InstanceNotFound", text="not found"), NOW)
    assert not admitted.write(refuse, read(admitted), Reason(code="InstanceNotFound", text="not found"), NOW)

    assert outcomes(database) == [("REQ-1", "rejected"), ("REQ-2", "rejected")]
    assert not read(admitted).wanted.up
    check_order(admitted, database)


def test_dead_work_is_found_by_people_only(admitted: Ledger, database: Database) -> None:
    """It is answered, listed with its reason, and left alone by the timer."""
    admitted.write(mark_dead, read(admitted), TROUBLE, NOW)

    assert outcomes(database) == [("REQ-1", "dead")]
    (row,) = admitted.read(dead_rows)
    assert (row.name, row.since, row.reason, row.waiting) == (f"{ID}/grant", NOW, TROUBLE, 1)
    assert admitted.read(unsettled, NOW + HOUR, 10) == [(ID, Side.ASSOCIATE)]


def test_redriven_work_is_tried_again_and_answered_again(admitted: Ledger, database: Database) -> None:
    """Redriving is an event, safe to repeat, and the request gets the answer that it then earns."""
    admitted.write(mark_dead, read(admitted), TROUBLE, NOW)
    assert admitted.write(redrive, ID, Side.GRANT, "operator", NOW + 1)
    assert not admitted.write(redrive, ID, Side.GRANT, "operator", NOW + 2)
    assert not admitted.write(redrive, "g-nobody", Side.GRANT, "operator", NOW + 2)
    assert (ID, Side.GRANT) in admitted.read(unsettled, NOW + 2, 10)

    assert settle_side(admitted, Side.GRANT, EventKind.GRANTED)
    assert settle_side(admitted, Side.ASSOCIATE, EventKind.ASSOCIATED)
    assert outcomes(database) == [("REQ-1", "dead"), ("REQ-1", "done")]
    check_order(admitted, database)


def test_dying_again_is_another_death(admitted: Ledger, database: Database) -> None:
    """What was redriven and dies again can be redriven again, and each is on record."""
    for round_ in range(2):
        admitted.write(mark_dead, read(admitted), TROUBLE, NOW + 10 * round_)
        assert admitted.write(redrive, ID, Side.GRANT, "operator", NOW + 10 * round_ + 1)

    assert database.kinds().count("redriven") == 2


def test_new_leases_revive_what_was_dead(admitted: Ledger) -> None:
    """The leases changed, so there is reason to try again."""
    admitted.write(mark_dead, read(admitted), TROUBLE, NOW)
    admitted.write(admit, opening("REQ-2"), "message-2", NOW, admitted.timing)

    assert not read(admitted).mine.dead
    assert admitted.read(dead_rows) == []


# -- the passing of time -------------------------------------------------------------------------------------------------

UP = ["admitted", "granted", "associated", "done"]
"""What is on record when a lease has come up."""


def come_up(ledger: Ledger, **lease: Any) -> None:
    """Open a lease and bring both sides to rest for it."""
    ledger.write(admit, opening(**lease), "message-1", NOW, ledger.timing)
    assert settle_side(ledger, Side.GRANT, EventKind.GRANTED)
    assert settle_side(ledger, Side.ASSOCIATE, EventKind.ASSOCIATED)


def test_an_end_is_announced_then_reported_and_the_lease_stays(ledger: Ledger, database: Database) -> None:
    """By default an end is a report: a warning before it, overdue at it, each once, and what stands is kept."""
    end = NOW + 2 * ledger.timing.warn
    come_up(ledger, ends_at=end)

    for now in (end - ledger.timing.warn - 1, end - ledger.timing.warn, end - 1, end, end + HOUR):
        let_time_pass(ledger, now)
        let_time_pass(ledger, now)
    assert database.kinds() == [*UP, "ending", "overdue"]
    work = read(ledger, now=end + HOUR)
    assert (work.wanted, work.generation) == (Wanted(Level.KEEP, may_stay=("10.20.0.0/16",)), 2)


def test_an_end_that_tears_down_changes_the_leases(ledger: Ledger, database: Database) -> None:
    """An approved teardown ends the lease at its time: what is wanted changes, and the timer says which grant to look at."""
    end = NOW + HOUR
    come_up(ledger, ends_at=end, on_end="teardown")

    assert let_time_pass(ledger, end - 1) == []
    assert let_time_pass(ledger, end) == [ID]
    assert let_time_pass(ledger, end + 1) == []
    work = read(ledger, now=end)
    assert (work.wanted.up, work.generation) == (False, 2)
    assert sorted(database.kinds()) == sorted([*UP, "ending", "ended"])
    check_order(ledger, database)


def test_whoever_reads_after_an_end_sees_it(ledger: Ledger) -> None:
    """No timer is needed: what is wanted is what is wanted now."""
    ledger.write(admit, opening(ends_at=NOW + HOUR, on_end="teardown"), "message-1", NOW, ledger.timing)

    assert read(ledger, now=NOW + HOUR - 1).wanted.up
    assert not read(ledger, now=NOW + HOUR).wanted.up


def test_unwanted_is_said_once_for_these_leases(admitted: Ledger, database: Database) -> None:
    """Account A's side is told to let go, once."""
    admitted.write(admit, closing("all"), "message-2", NOW, admitted.timing)
    for _ in range(2):
        admitted.write(tell_unwanted, read(admitted), NOW, let_go=False)

    assert database.kinds() == ["admitted", "admitted", "rejected", "unwanted"]


@pytest.mark.parametrize(
    ("let_go", "foreign"),
    [
        pytest.param(True, True, id="somebody else's, and no longer hangs on: account A's side looks"),
        pytest.param(True, False, id="ours: account A's side has nothing left to look at"),
        pytest.param(False, True, id="somebody else's, and still hangs on: nothing has changed"),
    ],
)
def test_what_somebody_else_let_go_of_is_looked_at_again(admitted: Ledger, let_go: bool, foreign: bool) -> None:
    """A grant of ours under an association of somebody else's: when the instance no longer hangs on the ECR, account A's side,
    which had settled with what was not ours, has to look; otherwise it stays settled."""
    admitted.write(saw, read(admitted, Side.ASSOCIATE), Seen("ACTIVE", not foreign, "assoc-theirs"), NOW)
    admitted.write(admit, closing("all"), "message-2", NOW, admitted.timing)
    settle_side(admitted, Side.ASSOCIATE, None)

    admitted.write(tell_unwanted, read(admitted), NOW, let_go=let_go)

    assert read(admitted, Side.ASSOCIATE).settled is not (let_go and foreign)
