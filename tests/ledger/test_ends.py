"""Never beyond the approval: past its end a lease creates nothing, whichever road leads there, and what stands is kept or comes
down as was approved."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import NotAllowed
from shared.ledger.admission import Judged, admit
from shared.ledger.intents import intend, saw
from shared.ledger.operating import redrive
from shared.ledger.outcomes import mark_dead, settle
from shared.ledger.passing import let_time_pass
from shared.ledger.record import name_of
from shared.ledger.tables import approvals, events
from shared.ledger.transactions import Ledger
from shared.ledger.work import unsettled
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Operation, Side
from shared.rules.leases import Level, Timing, Wanted, Window
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, grant_id, opening, outcomes, read, settle_side
from tests.ledger.lives import ROUTES, SEEN, come_up, open_one

ID = grant_id()
END = NOW + HOUR
DAY = 24 * HOUR
TROUBLE = Reason(code="CloudTrouble", text="the platform failed")
KEPT = Wanted(Level.KEEP, may_stay=ROUTES)
DOWN = Wanted(Level.DOWN)


def stand(ledger: Ledger, *leases: dict[str, Any]) -> None:
    """Some leases on one grant, all of them done."""
    for number, lease in enumerate(leases, 1):
        open_one(ledger, f"REQ-{number}", "vpc-1", **lease)
    come_up(ledger, "vpc-1")


# -- what a lease past its end does ------------------------------------------------------------------------------------


def test_a_report_lease_past_its_end_only_keeps(ledger: Ledger, database: Database) -> None:
    """What stands is left and reported; both sides look again, and nothing may be made."""
    stand(ledger, {"ends_at": END})

    assert let_time_pass(ledger, END) == [ID]
    for side in Side:
        assert read(ledger, side, END).wanted == KEPT
    assert {side for _, side in ledger.read(unsettled, END, 10)} == set(Side)
    assert database.kinds()[-1] == "overdue"
    check_order(ledger, database)


def test_the_prefixes_of_a_past_lease_stay_only_where_they_stand(ledger: Ledger) -> None:
    """Another lease keeps the grant up with its own; those of the past one are left where they are seen, and never added."""
    stand(ledger, {"ends_at": END, "prefixes": ("10.1.0.0/16",)}, {"prefixes": ("10.2.0.0/16",)})
    wanted = read(ledger, Side.ASSOCIATE, END).wanted

    assert wanted == Wanted(Level.UP, ("10.2.0.0/16",), may_stay=("10.1.0.0/16",))
    assert wanted.beside(("10.1.0.0/16", "10.9.0.0/16")) == ("10.1.0.0/16", "10.2.0.0/16")
    assert wanted.beside(()) == ("10.2.0.0/16",)
    work = read(ledger, Side.ASSOCIATE, END)
    intent = ledger.write(intend, work, Operation.ASSOCIATE, END, ledger.timing)
    assert intent is not None
    assert intent.prefixes == ("10.2.0.0/16",), "what is made anew gets what is approved now"


@pytest.mark.parametrize(
    ("leases", "level"),
    [
        pytest.param([{}], Level.UP, id="without an end: up"),
        pytest.param([{"ends_at": END, "on_end": "teardown"}], Level.DOWN, id="teardown: down"),
        pytest.param([{"ends_at": END, "on_end": "report"}], Level.KEEP, id="report: kept"),
        pytest.param(
            [{"ends_at": END - 1, "on_end": "report"}, {"ends_at": END, "on_end": "teardown"}],
            Level.DOWN,
            id="a report lease extended by a teardown one: the last decides, for both (r35)",
        ),
        pytest.param(
            [{"ends_at": END - 1, "on_end": "teardown"}, {"ends_at": END, "on_end": "report"}],
            Level.KEEP,
            id="a teardown lease extended by a report one: the last decides",
        ),
        pytest.param(
            [{"ends_at": END, "on_end": "report"}, {"ends_at": END, "on_end": "teardown"}],
            Level.DOWN,
            id="two end together: teardown decides",
        ),
        pytest.param(
            [{"ends_at": END, "on_end": "teardown"}, {}], Level.UP, id="a lease without end beside it keeps it up"
        ),
        pytest.param([{"ends_at": END, "on_end": "report"}, {}], Level.UP, id="also beside one that is only reported"),
    ],
)
@pytest.mark.parametrize(
    "looks", [pytest.param([END], id="looked at once"), pytest.param([END - 1, END, END + DAY], id="looked at often")]
)
def test_past_all_ends_the_last_one_decides(
    ledger: Ledger, database: Database, leases: list[dict[str, Any]], level: Level, looks: list[int]
) -> None:
    """Whatever ended before it, and however often somebody looked meanwhile."""
    stand(ledger, *leases)
    for now in looks:
        let_time_pass(ledger, now)

    assert read(ledger, now=looks[-1]).wanted.level is level
    check_order(ledger, database)


def test_an_end_outside_the_window_keeps_and_creates_nothing(ledger: Ledger, database: Database) -> None:
    """Until the change window opens the grant is kept: what somebody takes down meanwhile is not put up again."""
    minutes = NOW // 60_000 % (24 * 60)
    later = (minutes + 120) % (24 * 60)
    window = f"{later // 60:02d}:{later % 60:02d}-{(later + 10) % (24 * 60) // 60:02d}:{(later + 10) % 60:02d}"
    ledger.timing = Timing(window=Window.parse(window))
    stand(ledger, {"ends_at": END, "on_end": "teardown"})

    assert let_time_pass(ledger, END) == [ID]
    work = read(ledger, now=END)
    assert work.wanted == KEPT
    assert ledger.write(intend, work, Operation.GRANT, END, ledger.timing) is None
    assert let_time_pass(ledger, END + 60_000) == []
    opens = NOW - NOW % 60_000 + 120 * 60_000
    assert let_time_pass(ledger, opens) == [ID]
    assert read(ledger, now=opens).wanted == DOWN
    assert database.kinds()[-2:] == ["overdue", "ended"]
    check_order(ledger, database)


# -- what never came up in time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_end", ["report", "teardown"])
def test_a_request_that_was_never_done_is_rejected_at_its_end(ledger: Ledger, database: Database, on_end: str) -> None:
    """And what it made comes down: access that nobody saw take effect is no access that somebody relies on."""
    open_one(ledger, "REQ-1", "vpc-1", ends_at=END, on_end=on_end)
    ledger.write(saw, read(ledger), SEEN[Side.GRANT], NOW)

    assert let_time_pass(ledger, END) == [ID]
    assert read(ledger, now=END).wanted == DOWN
    assert outcomes(database) == [("REQ-1", "rejected")]
    body = json.loads(database.rows(sql.select(events.c.body).where(events.c.kind == "rejected"))[0].body)
    assert body["reason"]["code"] == "Ended"
    assert let_time_pass(ledger, END + DAY) == []
    check_order(ledger, database)


def test_a_dead_request_is_rejected_at_its_end_and_not_redriven_past_it(ledger: Ledger, database: Database) -> None:
    """A redrive is a road like any other."""
    open_one(ledger, "REQ-1", "vpc-1", ends_at=END)
    ledger.write(mark_dead, read(ledger), TROUBLE, NOW)
    ledger.write(redrive, ID, Side.GRANT, "operator", END + 1)

    work = read(ledger, now=END + 1)
    assert work.wanted == DOWN
    assert ledger.write(intend, work, Operation.GRANT, END + 1, ledger.timing) is None
    assert outcomes(database) == [("REQ-1", "dead"), ("REQ-1", "rejected")]
    check_order(ledger, database)


def test_one_request_lapses_without_the_others(ledger: Ledger, database: Database) -> None:
    """A lease that was done keeps the grant; what was never done beside it leaves no trace in what is wanted."""
    stand(ledger, {})
    open_one(ledger, "REQ-2", "vpc-1", ends_at=END, prefixes=("10.9.0.0/16",))

    assert read(ledger, now=END).wanted == Wanted(Level.UP, ROUTES)
    assert outcomes(database)[-1] == ("REQ-2", "rejected")


@pytest.mark.parametrize("ends_at", [pytest.param(NOW, id="at its very end"), pytest.param(NOW - 1, id="past it")])
@pytest.mark.parametrize("on_end", ["report", "teardown"])
def test_an_approval_that_comes_past_its_end_is_rejected(
    ledger: Ledger, database: Database, ends_at: int, on_end: str
) -> None:
    """R03: late or redriven, it opens nothing, and is told why."""
    admission = ledger.write(admit, opening(ends_at=ends_at, on_end=on_end), "message-1", NOW, ledger.timing)

    assert (admission.touched, admission.new) == ((), True)
    assert (read(ledger).wanted, read(ledger).generation) == (DOWN, 0)
    assert outcomes(database) == [("REQ-1", "rejected")]
    assert database.count(approvals, approvals.c.live) == 0
    check_order(ledger, database)


def test_an_early_lease_is_rejected_where_its_end_came_first(ledger: Ledger, database: Database) -> None:
    """The timer may come late."""
    open_one(ledger, "REQ-1", "vpc-1", approved_at=NOW + DAY, ends_at=NOW + DAY + HOUR)

    assert let_time_pass(ledger, NOW + DAY + HOUR) == []
    assert read(ledger, now=NOW + DAY + HOUR).wanted == DOWN
    assert outcomes(database) == [("REQ-1", "rejected")]
    check_order(ledger, database)


def test_an_early_lease_meets_inventory_and_policy_again(ledger: Ledger, database: Database) -> None:
    """What was allowed when it came may not be when its date comes: then it is rejected, and says why."""
    open_one(ledger, "REQ-1", "vpc-1", approved_at=NOW + DAY)
    open_one(ledger, "REQ-2", "vpc-2", approved_at=NOW + DAY)

    refused = name_of("approval", "tests", "REQ-1", opening("REQ-1", approved_at=NOW + DAY).digest)

    def allowed(approval_id: str, seal: str) -> Judged:
        return Judged(seal, refused=NotAllowed("ecr.id: is not listed any more") if approval_id == refused else None)

    assert let_time_pass(ledger, NOW + DAY, allowed) == [grant_id("vpc-2")]
    assert read(ledger, now=NOW + DAY).wanted == DOWN
    body = json.loads(database.rows(sql.select(events.c.body).where(events.c.kind == "rejected"))[0].body)
    assert (body["request"]["request_id"], body["reason"]["code"]) == ("REQ-1", "NotAllowed")
    check_order(ledger, database)


# -- the transaction that commits an intent ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lease", "done"),
    [
        pytest.param({"on_end": "report"}, True, id="a report lease that stood"),
        pytest.param({"on_end": "teardown"}, True, id="a teardown lease that stood"),
        pytest.param({"on_end": "report"}, False, id="a report lease on its way up"),
    ],
)
@pytest.mark.parametrize(
    ("at", "made"),
    [pytest.param(END - 1, True, id="a moment before the end"), pytest.param(END, False, id="at the end")],
)
def test_an_intent_to_create_is_refused_from_the_end_on(
    ledger: Ledger, lease: dict[str, Any], at: int, *, done: bool, made: bool
) -> None:
    """The work was read before the end, and nobody else has looked since: the transaction itself looks at the time."""
    open_one(ledger, "REQ-1", "vpc-1", ends_at=END, **lease)
    if done:
        come_up(ledger, "vpc-1")
    work = read(ledger, now=END - 1)
    assert work.wanted.up

    assert (ledger.write(intend, work, Operation.GRANT, at, ledger.timing) is not None) is made


@pytest.mark.parametrize("operation", [one for one in Operation if one.creates])
def test_nothing_is_created_for_a_grant_that_is_only_kept(ledger: Ledger, operation: Operation) -> None:
    """Not even where the work was read past the end: repair, redrive and the timer all come through here."""
    stand(ledger, {"ends_at": END})
    work = read(ledger, now=END)
    assert work.wanted == KEPT

    assert ledger.write(intend, work, operation, END, ledger.timing) is None


def test_what_was_intended_before_the_end_may_land(ledger: Ledger, database: Database) -> None:
    """A call is not taken back; the look after it sees it, and it comes down with its lease."""
    open_one(ledger, "REQ-1", "vpc-1", ends_at=END)
    intent = ledger.write(intend, read(ledger, now=END - 1), Operation.GRANT, END - 1, ledger.timing)
    assert intent is not None
    work = read(ledger, now=END)
    assert (work.wanted, work.my_intents) == (DOWN, (intent,))

    work = ledger.write(saw, work, SEEN[Side.GRANT], END + 1, landed=[intent])
    assert (work.mine.state, work.mine.ours, work.my_intents) == ("present", True, ())
    check_order(ledger, database)


def test_what_is_reached_past_the_end_is_not_done(ledger: Ledger, database: Database) -> None:
    """The visit began before the end and came to rest after it: the request lapses, and is never told as done."""
    open_one(ledger, "REQ-1", "vpc-1", ends_at=END)
    assert settle_side(ledger, Side.GRANT, EventKind.GRANTED, now=END - 1)
    work = read(ledger, Side.ASSOCIATE, END - 1)
    told: dict[str, Any] = {"association_id": None, "served": [], "both_sides": True, "timing": ledger.timing}

    assert not ledger.write(settle, work, EventKind.ASSOCIATED, END, **told)
    assert read(ledger, Side.ASSOCIATE, END).wanted == DOWN
    assert outcomes(database) == [("REQ-1", "rejected")]
    check_order(ledger, database)


def test_a_past_lease_is_closed_like_any_other(ledger: Ledger, database: Database) -> None:
    """What is only kept comes down when somebody closes it."""
    stand(ledger, {"ends_at": END})
    let_time_pass(ledger, END)
    ledger.write(admit, closing(["REQ-1"]), "message-2", END + 1, ledger.timing)

    assert read(ledger, now=END + 1).wanted == DOWN
    check_order(ledger, database)
