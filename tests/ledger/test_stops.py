"""What people say must not be done: the mode and holds, read in the transaction that commits an intent, and lifted at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.intents import intend
from shared.ledger.operating import lift_hold, read_holds, said_mode, set_hold, set_mode
from shared.ledger.outcomes import put_off
from shared.ledger.tables import events, sides
from shared.ledger.transactions import Ledger
from shared.ledger.work import read_work, unsettled
from shared.messages.completion import Reason, ReasonCode
from shared.rules.facts import Hold, HoldKind, Mode, Operation, Side, Stops
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, grant_id, key, opening, read
from tests.ledger.lives import come_up, open_one

ID = grant_id()
KEY = key()
HOLD = Hold(HoldKind.GRANT, ID, everything=False, who="mei", reason="change freeze", at=NOW)
ALL = replace(HOLD, everything=True)

HELD = Reason(code=ReasonCode.HELD, text="mei said so")


# -- what stops what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(HOLD, id="this grant"),
        pytest.param(replace(HOLD, kind=HoldKind.ECR, name=KEY.ecr_id), id="its ECR"),
        pytest.param(replace(HOLD, kind=HoldKind.ACCOUNT, name=KEY.ecr_owner_uid), id="account A"),
        pytest.param(replace(HOLD, kind=HoldKind.ACCOUNT, name=KEY.instance_owner_uid), id="account B"),
    ],
)
@pytest.mark.parametrize("everything", [False, True], ids=["creating", "everything"])
def test_a_hold_reaches_its_grants(ledger: Ledger, hold: Hold, everything: bool) -> None:
    """By ECR, by either account, by grant; and names who, and why."""
    open_one(ledger, "REQ-1", "vpc-1")
    hold = replace(hold, everything=everything)
    ledger.write(set_hold, hold, NOW)

    for side in Side:
        assert read(ledger, side).stops == Stops(hold.text, hold.text if everything else None)
    assert "mei" in hold.text
    assert "change freeze" in hold.text


@pytest.mark.parametrize(
    "hold",
    [
        pytest.param(replace(HOLD, name=grant_id("vpc-2")), id="another grant"),
        pytest.param(replace(HOLD, kind=HoldKind.ECR, name="ecr-another"), id="another ECR"),
        pytest.param(replace(HOLD, kind=HoldKind.ACCOUNT, name="9999999999999999"), id="another account"),
        pytest.param(replace(HOLD, kind=HoldKind.ECR, name=ID), id="an ECR that has the grant's name"),
    ],
)
def test_a_hold_reaches_no_other(ledger: Ledger, hold: Hold) -> None:
    """It is confined to what it names."""
    open_one(ledger, "REQ-1", "vpc-1")
    ledger.write(set_hold, hold, NOW)

    assert read(ledger).stops == Stops()


def test_the_deployments_mode_holds_while_nobody_said_any(ledger: Ledger) -> None:
    """Then the operator's word does."""
    open_one(ledger, "REQ-1", "vpc-1")

    def found() -> Stops:
        work = ledger.write(read_work, ID, Side.GRANT, NOW, ledger.timing, Mode.OBSERVE)
        assert work is not None
        return work.stops

    assert found() == Stops("the mode is observe", "the mode is observe")
    ledger.write(set_mode, Mode.PAUSE_TEARDOWN, "operator", NOW)
    assert found() == Stops(remove="the mode is pause-teardown")
    ledger.write(set_mode, Mode.FULL, "operator", NOW)
    assert found() == Stops()


# -- in the transaction that commits an intent -------------------------------------------------------------------------

Said = Callable[[Ledger], object]


@pytest.mark.parametrize(
    "say",
    [
        pytest.param(lambda ledger: ledger.write(set_mode, Mode.PAUSE_ALL, "operator", NOW), id="pause-all (r39)"),
        pytest.param(lambda ledger: ledger.write(set_mode, Mode.OBSERVE, "operator", NOW), id="observe"),
        pytest.param(lambda ledger: ledger.write(set_hold, HOLD, NOW), id="a hold"),
        pytest.param(lambda ledger: ledger.write(set_hold, ALL, NOW), id="a hold of everything"),
    ],
)
def test_what_was_said_since_the_look_stops_the_write(ledger: Ledger, database: Database, say: Said) -> None:
    """The work was read before, the step decided: the intent is not committed."""
    open_one(ledger, "REQ-1", "vpc-1")
    work = read(ledger)
    say(ledger)

    assert ledger.write(intend, work, Operation.GRANT, NOW, ledger.timing) is None
    check_order(ledger, database)


@pytest.mark.parametrize(
    ("say", "made"),
    [
        pytest.param(lambda _: None, True, id="nobody said anything"),
        pytest.param(
            lambda ledger: ledger.write(set_mode, Mode.PAUSE_TEARDOWN, "operator", NOW), False, id="pause-teardown"
        ),
        pytest.param(lambda ledger: ledger.write(set_hold, ALL, NOW), False, id="a hold of everything"),
    ],
)
def test_what_was_said_since_the_look_stops_a_removal(ledger: Ledger, say: Said, *, made: bool) -> None:
    """Of a grant that was closed."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    ledger.write(admit, closing(["REQ-1"]), "message-2", NOW, ledger.timing)
    work = read(ledger)
    say(ledger)

    assert (ledger.write(intend, work, Operation.REVOKE, NOW, ledger.timing) is not None) is made


def test_the_deployments_mode_counts_in_that_transaction_too(ledger: Ledger) -> None:
    """The same mode, read the same way: nothing changed, so the write is committed."""
    open_one(ledger, "REQ-1", "vpc-1")
    work = ledger.write(read_work, ID, Side.GRANT, NOW, ledger.timing, Mode.PAUSE_TEARDOWN)
    assert work is not None

    assert ledger.write(intend, work, Operation.GRANT, NOW, ledger.timing) is None, "read under another mode"
    assert ledger.write(intend, work, Operation.GRANT, NOW, ledger.timing, Mode.PAUSE_TEARDOWN) is not None


def test_open_writes_are_still_told_apart_under_any_hold(ledger: Ledger) -> None:
    """What was committed before may land: the row stays with the work, to be looked at."""
    open_one(ledger, "REQ-1", "vpc-1")
    intent = ledger.write(intend, read(ledger), Operation.GRANT, NOW, ledger.timing)
    ledger.write(set_hold, ALL, NOW)
    ledger.write(set_mode, Mode.PAUSE_ALL, "operator", NOW)

    assert read(ledger).my_intents == (intent,)
    assert read(ledger, Side.ASSOCIATE).other_pending is not None


@pytest.mark.parametrize("closes", [["REQ-1"], "all", "everyone"], ids=["by name", "all", "everyone"])
def test_closes_are_recorded_under_every_hold(ledger: Ledger, database: Database, closes: str | list[str]) -> None:
    """What is wanted changes at once; only the doing waits."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    ledger.write(set_hold, ALL, NOW)
    ledger.write(set_mode, Mode.PAUSE_ALL, "operator", NOW)

    admission = ledger.write(admit, closing(closes), "message-2", NOW, ledger.timing)
    assert (admission.touched, read(ledger).wanted.down) == ((ID,), True)
    check_order(ledger, database)


def test_a_close_that_is_held_is_told_so_once_with_the_name(ledger: Ledger, database: Database) -> None:
    """Its answer names the hold and who set it; another hold is told anew."""
    open_one(ledger, "REQ-1", "vpc-1")
    come_up(ledger, "vpc-1")
    ledger.write(admit, closing(["REQ-1"]), "message-2", NOW, ledger.timing)
    for at, text in enumerate((ALL.text, ALL.text, "another hold")):
        reason = Reason(code=ReasonCode.HELD, text=text)
        ledger.write(put_off, read(ledger), NOW + HOUR, reason, NOW + at, ledger.timing, attempt=False)

    bodies = [json.loads(row.body) for row in database.rows(sql.select(events.c.body).where(events.c.kind == "held"))]
    assert [(one["request"]["request_id"], one["reason"]["text"]) for one in bodies] == [
        ("REQ-END", ALL.text),
        ("REQ-END", "another hold"),
    ]
    check_order(ledger, database)


# -- and lifted --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "release",
    [
        pytest.param(lambda ledger: ledger.write(set_mode, Mode.FULL, "operator", NOW), id="mode full"),
        pytest.param(lambda ledger: ledger.write(lift_hold, HOLD.kind, HOLD.name, "operator", NOW), id="lift"),
    ],
)
def test_what_was_held_is_released_at_once(
    ledger: Ledger, database: Database, release: Callable[[Ledger], list[tuple[str, Side]]]
) -> None:
    """Named to whoever speaks the word, so that it is woken, and found by the next tick; what waits otherwise still waits."""
    for vpc in ("vpc-1", "vpc-2"):
        open_one(ledger, "REQ-1", vpc)
    ledger.write(set_hold, HOLD, NOW)
    for side, vpc, reason in (
        (Side.GRANT, "vpc-1", HELD),
        (Side.ASSOCIATE, "vpc-1", Reason(code=ReasonCode.OTHERS_TURN, text="…")),
        (Side.GRANT, "vpc-2", Reason(code="CloudTrouble", text='it said "code":"Held"')),
        (Side.ASSOCIATE, "vpc-2", HELD),
    ):
        ledger.write(put_off, read(ledger, side, vpc=vpc), NOW + HOUR, reason, NOW, ledger.timing, attempt=False)
    assert ledger.read(unsettled, NOW, 10) == []

    expected = {(ID, Side.GRANT), (grant_id("vpc-2"), Side.ASSOCIATE)}
    assert set(release(ledger)) == expected
    assert set(ledger.read(unsettled, NOW, 10)) == expected
    assert database.count(sides, sides.c.next_at.is_(None)) == 2
    check_order(ledger, database)


def test_a_hold_is_said_anew_and_lifted_once(ledger: Ledger, database: Database) -> None:
    """Each word is an event that names the person; a hold that is not there cannot be lifted."""
    ledger.write(set_hold, HOLD, NOW)
    ledger.write(set_hold, replace(ALL, who="lin"), NOW)
    assert ledger.read(read_holds) == [replace(ALL, who="lin")]
    assert ledger.write(lift_hold, HOLD.kind, HOLD.name, "bo", NOW) == []
    assert ledger.write(lift_hold, HOLD.kind, HOLD.name, "bo", NOW) is None
    assert ledger.read(read_holds) == []

    assert database.kinds() == ["hold-set", "hold-set", "hold-lifted"]
    bodies = [json.loads(row.body) for row in database.rows(sql.select(events.c.body).order_by(events.c.seq))]
    for one, who in zip(bodies, ("mei", "lin", "bo"), strict=True):
        assert one["reason"]["text"].startswith(who)
    check_order(ledger, database)


def test_words_within_one_millisecond_are_all_on_record(ledger: Ledger, database: Database) -> None:
    """Whoever flips a switch quickly is not misquoted: the record comes to what holds."""
    for mode in (Mode.FULL, Mode.PAUSE_ALL, Mode.FULL, Mode.PAUSE_ALL):
        ledger.write(set_mode, mode, "operator", NOW)
    for _ in range(2):
        ledger.write(set_hold, HOLD, NOW)
        ledger.write(lift_hold, HOLD.kind, HOLD.name, "operator", NOW)
    ledger.write(set_hold, HOLD, NOW)

    assert ledger.read(said_mode) is Mode.PAUSE_ALL
    assert len(database.kinds()) == 9
    check_order(ledger, database)


def test_a_new_lease_under_a_hold_is_admitted(ledger: Ledger) -> None:
    """Nothing is lost: it waits for the lift."""
    ledger.write(set_hold, ALL, NOW)
    admission = ledger.write(admit, opening(), "message-1", NOW, ledger.timing)

    assert (admission.touched, admission.new) == ((ID,), True)
    assert read(ledger).wanted.up
