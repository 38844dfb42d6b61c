"""The work on a grant: intents before writes, settling, answers, adoption and the mode. One worker at a time here; what others
may do between two statements is in ``test_interleaving.py``, and what waits is in ``test_waiting.py``."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.intents import carried_out, intend, resolve, saw
from shared.ledger.operating import adopt, said_mode, set_mode
from shared.ledger.outbox import give_back, mark_published, take_entries
from shared.ledger.outcomes import put_off, settle
from shared.ledger.passing import let_time_pass
from shared.ledger.tables import approvals, events, intents, sides
from shared.ledger.transactions import Ledger
from shared.ledger.work import claim, unsettled
from shared.messages.completion import EventKind, Served
from shared.rules.facts import Mode, Operation, Seen, Side
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
SERVED = Served(operation="Grant…", account="2000000000000002", session="ecr-grants-1", api_request_id="R-1")


# -- intents -----------------------------------------------------------------------------------------------------------


def test_an_intent_is_committed_before_its_write(admitted: Ledger, database: Database) -> None:
    """It names the grant, side, operation and generation, is open until resolved, and its id is a client token of its own."""
    first = admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing)
    assert first is not None
    row = database.rows(sql.select(intents))[0]
    assert (row.intent_id, row.grant_id, row.side, row.operation, row.generation, row.result) == (
        first.intent_id, ID, Side.GRANT, "grant", 1, None,
    )  # fmt: skip
    assert read(admitted).my_intents == (first,)
    assert read(admitted, Side.ASSOCIATE).other_pending

    admitted.write(resolve, [first], [], NOW + 1)
    second = admitted.write(intend, read(admitted), Operation.GRANT, NOW + 2, admitted.timing)
    assert second is not None
    assert second.intent_id != first.intent_id


def test_no_intent_beside_an_open_one(admitted: Ledger) -> None:
    """While a write of this side, or of the other, may still land, nobody begins another."""
    ours, theirs = read(admitted), read(admitted, Side.ASSOCIATE)
    assert admitted.write(intend, ours, Operation.GRANT, NOW, admitted.timing) is not None

    assert admitted.write(intend, ours, Operation.GRANT, NOW, admitted.timing) is None
    assert admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing) is None
    assert admitted.write(intend, theirs, Operation.ASSOCIATE, NOW, admitted.timing) is None


@pytest.mark.parametrize(
    "change", [opening("REQ-2"), closing(["REQ-1"]), closing("all")], ids=["another lease", "a close", "a revoke"]
)
def test_no_intent_for_leases_that_changed(admitted: Ledger, change: Any) -> None:
    """What was decided for other leases than those of now is not begun."""
    before = read(admitted)
    admitted.write(admit, change, "message-2", NOW, admitted.timing)

    assert admitted.write(intend, before, Operation.GRANT, NOW, admitted.timing) is None
    fresh = read(admitted)
    operation = Operation.GRANT if fresh.wanted.up else Operation.REVOKE
    assert admitted.write(intend, fresh, operation, NOW, admitted.timing) is not None


def test_no_intent_for_a_lease_that_ended_meanwhile(ledger: Ledger) -> None:
    """Ends pass without a message: once an end is recorded, what was decided before it is not begun."""
    ledger.write(admit, opening(ends_at=NOW + HOUR, on_end="teardown"), "message-1", NOW, ledger.timing)
    before = read(ledger)
    assert let_time_pass(ledger, NOW + HOUR) == [ID]

    assert ledger.write(intend, before, Operation.GRANT, NOW + HOUR, ledger.timing) is None


def test_a_refused_write_is_no_longer_open(admitted: Ledger) -> None:
    """What the platform certainly did not execute can neither land nor count as made."""
    intent = admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing)
    assert intent is not None
    admitted.write(carried_out, intent, [SERVED], NOW + 5, refused=True)

    work = read(admitted)
    assert (work.my_intents, work.writes) == ((), ())
    assert admitted.write(intend, work, Operation.GRANT, NOW + 6, admitted.timing) is not None


def test_a_write_counts_from_when_it_was_carried_out(admitted: Ledger) -> None:
    """The time that looks are compared with is the call's; while the call may still be made, the latest that it can be: until
    the worker's claim is over."""
    assert admitted.write(claim, ID, Side.GRANT, "one", NOW, NOW + HOUR)
    intent = admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing)
    assert intent is not None
    assert [write.made_at for write in read(admitted).writes] == [NOW + HOUR]

    admitted.write(carried_out, intent, [SERVED], NOW + 700, refused=False)
    assert [write.made_at for write in read(admitted).writes] == [NOW + 700]


def test_a_lost_write_is_remembered(admitted: Ledger) -> None:
    """What was given up as lost is nobody's reason to wait any more, and is still known to have been asked for."""
    intent = admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing)
    assert intent is not None
    admitted.write(saw, read(admitted), Seen("absent", None), NOW + 1, lost=[intent])

    work = read(admitted)
    assert (work.my_intents, [write.intent_id for write in work.writes]) == ((), [intent.intent_id])
    assert not read(admitted, Side.ASSOCIATE).other_pending


def test_what_was_seen_and_what_it_proves_are_one_fact(admitted: Ledger, database: Database) -> None:
    """The look that shows a write landed is kept together with that."""
    intent = admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing)
    assert intent is not None
    admitted.write(saw, read(admitted), Seen("present", True), NOW + 1, landed=[intent])

    work = read(admitted)
    assert (work.mine.state, work.mine.ours, work.my_intents) == ("present", True, ())
    assert [row.result for row in database.rows(sql.select(intents))] == ["landed"]


def test_what_is_ours_stays_ours(admitted: Ledger) -> None:
    """A look that found nothing new about its origin does not disown what we made or adopted; once gone, it is nobody's."""
    admitted.write(saw, read(admitted), Seen("present", True), NOW)
    admitted.write(saw, read(admitted), Seen("present", False), NOW + 1)
    assert read(admitted).mine.ours is True

    admitted.write(saw, read(admitted), Seen("absent", None), NOW + 2)
    admitted.write(saw, read(admitted), Seen("present", False), NOW + 3)
    assert read(admitted).mine.ours is False


def test_an_intent_is_resolved_once(admitted: Ledger, database: Database) -> None:
    """The first look that knows decides; a later one changes nothing."""
    intent = admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing)
    assert intent is not None
    admitted.write(resolve, [intent], [], NOW + 1)
    admitted.write(resolve, [], [intent], NOW + 2)

    assert [(row.result, row.resolved_at) for row in database.rows(sql.select(intents))] == [("landed", NOW + 1)]


# -- settling and answering ---------------------------------------------------------------------------------------------


def test_a_request_is_answered_when_both_sides_are_as_wanted(admitted: Ledger, database: Database) -> None:
    """Each side's transition is an event; the answer comes with the second, once, and names its request."""
    assert settle_side(admitted, Side.GRANT, EventKind.GRANTED)
    assert outcomes(database) == []
    assert settle_side(admitted, Side.ASSOCIATE, EventKind.ASSOCIATED)

    assert database.kinds() == ["admitted", "granted", "associated", "done"]
    assert outcomes(database) == [("REQ-1", "done")]
    assert settle_side(admitted, Side.ASSOCIATE, EventKind.ASSOCIATED)
    assert database.kinds() == ["admitted", "granted", "associated", "done"]
    check_order(admitted, database)


def test_where_the_association_is_theirs_the_grant_is_the_answer(admitted: Ledger, database: Database) -> None:
    """An account A with automation of its own is not waited for."""
    assert settle_side(admitted, Side.GRANT, EventKind.GRANTED, both_sides=False)
    assert outcomes(database) == [("REQ-1", "done")]


def test_leases_that_changed_are_not_settled(admitted: Ledger, database: Database) -> None:
    """What was reached for other leases than those of now is not recorded as reached."""
    before = read(admitted)
    admitted.write(admit, closing(["REQ-1"]), "message-2", NOW, admitted.timing)

    assert not admitted.write(settle, before, EventKind.GRANTED, NOW, association_id=None, served=[], both_sides=True)
    assert "granted" not in database.kinds()
    assert not read(admitted).settled


def test_a_lease_that_ended_is_not_settled_by_what_was_reached_before(ledger: Ledger) -> None:
    """An end that was recorded in between is a change of the leases like any other."""
    ledger.write(admit, opening(ends_at=NOW + HOUR, on_end="teardown"), "message-1", NOW, ledger.timing)
    before = read(ledger)
    assert let_time_pass(ledger, NOW + HOUR) == [ID]

    assert not ledger.write(
        settle, before, EventKind.GRANTED, NOW + HOUR, association_id=None, served=[], both_sides=False
    )


def test_settled_means_what_is_wanted_now(standing: Ledger) -> None:
    """A side that settled is unsettled by the next lease, and by an open write of its own."""
    assert read(standing).settled
    assert standing.read(unsettled, NOW, 10) == []

    standing.write(admit, opening("REQ-2"), "message-2", NOW, standing.timing)
    assert not read(standing).settled
    assert set(standing.read(unsettled, NOW, 10)) == {(ID, Side.ASSOCIATE), (ID, Side.GRANT)}


def test_two_leases_are_answered_by_one_transition(standing: Ledger, database: Database) -> None:
    """A second lease on a standing grant is done when both sides have seen it; nothing is granted twice."""
    standing.write(admit, opening("REQ-2"), "message-2", NOW, standing.timing)
    assert settle_side(standing, Side.GRANT, EventKind.GRANTED)
    assert settle_side(standing, Side.ASSOCIATE, EventKind.ASSOCIATED)

    assert outcomes(database) == [("REQ-1", "done"), ("REQ-2", "done")]
    check_order(standing, database)


def test_what_was_closed_on_its_way_is_rejected_and_its_close_done(admitted: Ledger, database: Database) -> None:
    """A lease that never came up because it was closed first was overtaken; the close itself succeeded."""
    admitted.write(admit, closing(["REQ-1"]), "message-2", NOW, admitted.timing)
    assert settle_side(admitted, Side.GRANT, None)

    assert sorted(outcomes(database)) == [("REQ-1", "rejected"), ("REQ-END", "done")]
    check_order(admitted, database)


def test_where_nothing_is_up_the_other_side_need_not_be_asked(admitted: Ledger) -> None:
    """When nothing is wanted, and nothing is or may still come up on the other side, both are settled at once."""
    admitted.write(admit, closing(["REQ-1"]), "message-2", NOW, admitted.timing)
    assert settle_side(admitted, Side.GRANT, None)

    assert read(admitted, Side.ASSOCIATE).settled
    assert admitted.read(unsettled, NOW, 10) == []


def test_where_something_may_still_come_up_the_other_side_is_asked(admitted: Ledger, database: Database) -> None:
    """An open write of the other side keeps the close's answer back."""
    assert settle_side(admitted, Side.GRANT, EventKind.GRANTED)
    intent = admitted.write(intend, read(admitted, Side.ASSOCIATE), Operation.ASSOCIATE, NOW, admitted.timing)
    assert intent is not None
    admitted.write(admit, closing(["REQ-1"]), "message-2", NOW, admitted.timing)
    assert settle_side(admitted, Side.GRANT, None)

    assert not read(admitted, Side.ASSOCIATE).settled
    assert outcomes(database) == [("REQ-1", "rejected")]


def test_an_event_names_the_calls_that_made_it(admitted: Ledger, database: Database) -> None:
    """From the transition's event one finds the call in the other account's audit log."""
    intent = admitted.write(intend, read(admitted), Operation.GRANT, NOW, admitted.timing)
    assert intent is not None
    admitted.write(carried_out, intent, [SERVED], NOW, refused=False)
    admitted.write(resolve, [intent], [], NOW)
    assert settle_side(admitted, Side.GRANT, EventKind.GRANTED)

    body = database.rows(sql.select(events.c.body).where(events.c.kind == "granted"))[0].body
    assert json.loads(body)["served"] == [SERVED.model_dump()]


# -- adoption, drift and the mode ---------------------------------------------------------------------------------------


def test_only_what_is_foreign_is_adopted(standing: Ledger, database: Database) -> None:
    """Adopting what is ours, absent or unknown is no event; adopting what was there before us is one, and a change of the
    leases, so both sides look again."""
    assert not standing.write(adopt, ID, Side.GRANT, "operator", NOW)
    assert not standing.write(adopt, "g-nobody", Side.GRANT, "operator", NOW)
    standing.write(saw, read(standing), Seen("absent", None), NOW)
    standing.write(saw, read(standing), Seen("present", False), NOW)

    assert standing.write(adopt, ID, Side.GRANT, "operator", NOW)
    assert not standing.write(adopt, ID, Side.GRANT, "operator", NOW + 1)
    work = read(standing)
    assert (work.mine.ours, work.generation, work.settled) == (True, 2, False)
    assert database.kinds()[-2:] == ["adopted", "ownership"]
    (told,) = database.rows(sql.select(events.c.body).where(events.c.kind == "adopted"))
    assert json.loads(told.body)["reason"]["text"].startswith("operator adopted"), "who did it is on record"
    check_order(standing, database)


def test_the_mode_is_what_was_said_last(ledger: Ledger, database: Database) -> None:
    """Nobody said anything: none. Every change is an event of its own."""
    assert ledger.read(said_mode) is None
    ledger.write(set_mode, Mode.PAUSE_ALL, "operator", NOW)
    ledger.write(set_mode, Mode.FULL, "operator", NOW + 1)
    ledger.write(set_mode, Mode.FULL, "operator", NOW + 2)

    assert ledger.read(said_mode) == "full"
    assert database.kinds() == ["mode-changed"] * 3
    check_order(ledger, database)


def test_letters_are_published_oldest_first_and_once(ledger: Ledger) -> None:
    """The outbox gives what waits in order; what is out does not come again; what was given back does."""
    for number in range(5):
        ledger.write(admit, opening(f"REQ-{number}"), "m", NOW, ledger.timing)
    first = ledger.write(take_entries, 2, NOW, NOW + 1000)
    assert [letter.seq for letter in first] == [1, 2]
    assert [letter.seq for letter in ledger.write(take_entries, 10, NOW, NOW + 1000)] == [3, 4, 5], (
        "taken ones are somebody's"
    )

    ledger.write(mark_published, [1])
    ledger.write(give_back, [2])
    assert [letter.seq for letter in ledger.write(take_entries, 10, NOW, NOW + 1000)] == [2]
    assert [letter.seq for letter in ledger.write(take_entries, 10, NOW + 1000, NOW + 2000)] == [2, 3, 4, 5], (
        "taken, and lost"
    )


def test_an_open_write_is_work_even_where_all_else_is_settled(standing: Ledger) -> None:
    """A write whose fate nobody knows is found by the timer."""
    intent = standing.write(intend, read(standing), Operation.GRANT, NOW, standing.timing)
    assert intent is not None

    assert standing.read(unsettled, NOW, 10) == [(ID, Side.GRANT)]


def test_the_timer_gets_the_longest_waiting_first(ledger: Ledger) -> None:
    """And no more than it asked for."""
    for number in range(3):
        ledger.write(admit, opening(f"REQ-{number}", f"vpc-{number}"), "m", NOW, ledger.timing)
        for side in (Side.GRANT, Side.ASSOCIATE):
            ledger.write(
                put_off,
                read(ledger, side, vpc=f"vpc-{number}"),
                NOW + 1,
                WAITING,
                NOW - number,
                ledger.timing,
                attempt=False,
            )

    found = ledger.read(unsettled, NOW + 1, 4)
    assert [one for one, _ in found] == [grant_id("vpc-2")] * 2 + [grant_id("vpc-1")] * 2


def test_nothing_is_left_behind_by_a_life(standing: Ledger, database: Database) -> None:
    """At the end of a life every approval is answered, both sides are settled and nothing is open."""
    standing.write(admit, closing("all"), "message-2", NOW, standing.timing)
    standing.write(saw, read(standing, Side.ASSOCIATE), Seen("absent", None), NOW)
    assert settle_side(standing, Side.ASSOCIATE, EventKind.DISSOCIATED)
    standing.write(saw, read(standing), Seen("absent", None), NOW)
    assert settle_side(standing, Side.GRANT, EventKind.REVOKED)

    assert database.count(approvals, approvals.c.outcome.is_(None)) == 0
    assert database.count(intents, intents.c.result.is_(None)) == 0
    assert database.count(sides, sides.c.dead_at.is_not(None)) == 0
    assert standing.read(unsettled, NOW + HOUR, 10) == []
    check_order(standing, database)
