"""Admission: every approval becomes one row, once, whoever brings it, however often and whatever else happens then."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sql

from shared.ledger.admission import admit, reject_message
from shared.ledger.outbox import mark_published, waiting_entries
from shared.ledger.outcomes import settle
from shared.ledger.passing import let_time_pass
from shared.ledger.tables import approvals, closes, events, grants, outbox, sides
from shared.ledger.transactions import Ledger
from shared.ledger.work import read_work
from shared.rules.facts import Side
from tests.ledger.crowd import Crowd
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, grant_id, opening

SKEW = 300_000


def published(ledger: Ledger) -> list[str]:
    """Publish what waits, as every function does at its end; returns the kinds."""
    kinds = []
    for letter in ledger.read(waiting_entries, 1000):
        ledger.write(mark_published, [letter.seq])
        kinds.append(letter.tag)
    return kinds


# -- one at a time -----------------------------------------------------------------------------------------------------


def test_an_approval_opens_a_lease_and_says_so(ledger: Ledger, database: Database) -> None:
    """Admitting makes the grant's row, its two sides, the approval, one event and one letter, and wants the grant up."""
    admission = ledger.write(admit, opening(), "message-1", NOW, ledger.timing)

    assert (admission.touched, admission.new, admission.early_until) == ((grant_id(),), True, None)
    assert database.kinds() == ["admitted"]
    assert [letter.tag for letter in ledger.read(waiting_entries, 10)] == ["admitted"]
    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert (work.generation, work.wanted.up, work.wanted.prefixes) == (1, True, ("10.20.0.0/16",))
    assert not work.settled
    assert database.count(sides) == 2
    check_order(ledger, database)


def test_the_same_approval_again_changes_nothing(ledger: Ledger, database: Database) -> None:
    """The platform delivers at least once: the second delivery finds the row."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    before = database.everything()

    again = ledger.write(admit, opening(), "message-1", NOW + 5, ledger.timing)

    assert (again.touched, again.new) == ((grant_id(),), False)
    assert database.everything() == before


def test_whoever_asks_again_gets_the_recorded_answer(ledger: Ledger, database: Database) -> None:
    """A message of its own with a known approval puts the recorded outcome out once more, under its old id; a redelivery of
    the first message does not."""
    ledger.write(admit, closing("all"), "message-1", NOW, ledger.timing)
    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert ledger.write(settle, work, None, NOW, association_id=None, served=[], both_sides=True)
    assert published(ledger) == ["admitted", "done"]
    record = database.kinds()

    ledger.write(admit, closing("all"), "message-1", NOW, ledger.timing)
    assert ledger.read(waiting_entries, 10) == []
    ledger.write(admit, closing("all"), "message-2", NOW, ledger.timing)

    assert [letter.tag for letter in ledger.read(waiting_entries, 10)] == ["done"]
    assert database.kinds() == record


def test_other_content_under_the_same_name_is_reported(ledger: Ledger, database: Database) -> None:
    """An issuer that approves two contents under one request id opens two leases, and everybody is told."""
    ledger.write(admit, opening(prefixes=("10.20.0.0/16",)), "message-1", NOW, ledger.timing)
    ledger.write(admit, opening(prefixes=("10.21.0.0/16",)), "message-2", NOW, ledger.timing)

    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert work.wanted.prefixes == ("10.20.0.0/16", "10.21.0.0/16")
    assert database.kinds() == ["admitted", "admitted", "second-digest"]


def test_a_name_belongs_to_its_issuer(ledger: Ledger) -> None:
    """One issuer's close does not touch another's lease of the same request id."""
    ledger.write(admit, opening("REQ-1", issuer="one"), "message-1", NOW, ledger.timing)
    ledger.write(admit, closing(["REQ-1"], issuer="two"), "message-2", NOW, ledger.timing)

    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert work.wanted.up


@pytest.mark.parametrize(
    "close_first",
    [
        pytest.param(False, id="the open first: it is closed"),
        pytest.param(True, id="the close first: its tombstone waits for the open"),
    ],
)
def test_a_close_reaches_its_lease_whichever_comes_first(ledger: Ledger, *, close_first: bool) -> None:
    """A close that arrives before its open leaves a tombstone, and the open finds it."""
    if close_first:
        ledger.write(admit, closing(["REQ-1"]), "message-1", NOW, ledger.timing)
    ledger.write(admit, opening("REQ-1"), "message-2", NOW, ledger.timing)
    if not close_first:
        ledger.write(admit, closing(["REQ-1"]), "message-1", NOW, ledger.timing)

    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert not work.wanted.up


def test_a_close_reaches_every_content_of_its_name_on_every_grant(ledger: Ledger) -> None:
    """Closing a request id closes all its digests, also those on another grant, and touches all of their grants."""
    ledger.write(admit, opening("REQ-1", "vpc-1"), "message-1", NOW, ledger.timing)
    ledger.write(admit, opening("REQ-1", "vpc-2"), "message-2", NOW, ledger.timing)

    admission = ledger.write(admit, closing(["REQ-1"], vpc="vpc-1"), "message-3", NOW, ledger.timing)

    assert set(admission.touched) == {grant_id("vpc-1"), grant_id("vpc-2")}
    for vpc in ("vpc-1", "vpc-2"):
        work = ledger.write(read_work, grant_id(vpc), Side.GRANT, NOW, ledger.timing)
        assert work is not None
        assert (work.wanted.up, work.generation) == (False, 2)


def test_revoking_all_kills_what_was_approved_before_it(ledger: Ledger, database: Database) -> None:
    """The watermark is the revoke's own approval time plus the skew: older approvals are dead, those still on their way
    included, and are rejected; what was approved later lives."""
    at = NOW - HOUR
    ledger.write(admit, opening("REQ-1", approved_at=at), "message-1", NOW, ledger.timing)
    ledger.write(admit, closing("all", approved_at=at + 1000), "message-2", NOW, ledger.timing)

    late = ledger.write(admit, opening("REQ-2", approved_at=at + 1000 + SKEW), "message-3", NOW, ledger.timing)
    assert (late.touched, late.new) == ((), True)
    assert database.kinds()[-1] == "rejected"
    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert not work.wanted.up

    younger = ledger.write(admit, opening("REQ-3", approved_at=at + 1001 + SKEW), "message-4", NOW, ledger.timing)
    assert younger.touched == (grant_id(),)
    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert work.wanted.up


def test_a_watermark_never_sinks(ledger: Ledger, database: Database) -> None:
    """An older revoke that arrives late leaves the younger one's watermark as it is."""
    ledger.write(admit, closing("all", "REQ-1", approved_at=NOW - HOUR), "message-1", NOW, ledger.timing)
    ledger.write(admit, closing("all", "REQ-2", approved_at=NOW - 2 * HOUR), "message-2", NOW, ledger.timing)

    assert [row.watermark for row in database.rows(sql.select(grants.c.watermark))] == [NOW - HOUR + SKEW]


def test_what_is_dated_too_far_ahead_is_held_until_its_time(ledger: Ledger, database: Database) -> None:
    """A message dated further ahead than clocks may differ is recorded and has no effect before its time."""
    held_until = NOW + 60_000
    admission = ledger.write(admit, opening(approved_at=held_until + SKEW), "message-1", NOW, ledger.timing)
    assert (admission.touched, admission.early_until) == ((), held_until)

    assert let_time_pass(ledger, held_until - 1) == []
    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert (work.generation, work.wanted.up) == (0, False)

    assert let_time_pass(ledger, held_until) == [grant_id()]
    assert let_time_pass(ledger, held_until) == []
    work = ledger.write(read_work, grant_id(), Side.GRANT, held_until, ledger.timing)
    assert work is not None
    assert (work.generation, work.wanted.up) == (1, True)
    assert database.kinds() == ["held"]


def test_a_held_revoke_closes_nothing_before_its_time(ledger: Ledger) -> None:
    """Neither a close of names nor a close of all is believed early."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    ledger.write(admit, closing("all", "REQ-2", approved_at=NOW + HOUR), "message-2", NOW, ledger.timing)
    ledger.write(admit, closing(["REQ-1"], "REQ-3", approved_at=NOW + HOUR), "message-3", NOW, ledger.timing)

    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert work.wanted.up
    assert let_time_pass(ledger, NOW + HOUR) == [grant_id()]
    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW + HOUR, ledger.timing)
    assert work is not None
    assert not work.wanted.up


def test_a_refused_message_is_recorded_once(ledger: Ledger, database: Database) -> None:
    """What cannot be admitted is answered all the same, and its redelivery is no second answer."""
    from shared.messages.completion import Reason  # noqa: PLC0415  # the only test that writes one

    reason = Reason(code="BadInput", text="schema: is missing")
    for _ in range(2):
        ledger.write(reject_message, "message-1", {"half": "a message"}, reason, NOW)
    ledger.write(reject_message, "message-2", {"half": "a message"}, reason, NOW)

    found = database.rows(sql.select(events).order_by(events.c.seq))
    assert [(row.kind, row.grant_id, json.loads(row.body)["message_id"]) for row in found] == [
        ("rejected", None, "message-1"),
        ("rejected", None, "message-2"),
    ]


# -- many at once ------------------------------------------------------------------------------------------------------


def admit_the_same(ledger: Ledger, number: int, rounds: int) -> list[str]:
    """Bring the same approvals as everybody else; which of them were news."""
    offset = number % rounds
    order = [*range(offset, rounds), *range(offset)]
    news = [
        each
        for each in order
        if ledger.write(admit, opening(f"REQ-{each}", f"vpc-{each % 3}"), f"m-{each}", NOW, ledger.timing).new
    ]
    return [f"REQ-{each}" for each in news]


def test_of_all_who_bring_an_approval_one_brings_news(crowd: Crowd, ledger: Ledger, database: Database) -> None:
    """Eight processes bring the same six approvals for three grants: each is admitted once, and somebody is told so."""
    news = [name for part in crowd.at_once(database.url, admit_the_same, 6) for name in part]

    assert sorted(news) == sorted(f"REQ-{each}" for each in range(6))
    assert database.count(approvals) == 6
    assert database.kinds() == ["admitted"] * 6
    assert [row.generation for row in database.rows(sql.select(grants).order_by(grants.c.instance_id))] == [2, 2, 2]
    check_order(ledger, database)


def admit_another(ledger: Ledger, number: int, rounds: int) -> int:
    """Bring approvals that nobody else brings, for grants that everybody meets at the same moment."""
    return sum(
        ledger.write(admit, opening(f"REQ-{number}-{each}", f"vpc-{each}"), "m", NOW, ledger.timing).new
        for each in range(rounds)
    )


def test_a_grants_row_is_made_once_by_all_who_meet_it(crowd: Crowd, ledger: Ledger, database: Database) -> None:
    """The first approvals of a grant may come from everywhere at once: one row, both sides, every lease, every number."""
    assert crowd.at_once(database.url, admit_another, 4) == [4] * crowd.size

    assert [row.generation for row in database.rows(sql.select(grants))] == [crowd.size] * 4
    assert database.count(outbox, outbox.c.published_at.is_(None)) == crowd.size * 4
    check_order(ledger, database)


def admit_other_content(ledger: Ledger, number: int, rounds: int, *, same_grant: bool) -> None:
    """Approve another content under the names that everybody uses."""
    for each in range(rounds):
        vpc = "vpc-1" if same_grant else f"vpc-{number}"
        ledger.write(admit, opening(f"REQ-{each}", vpc, prefixes=(f"10.{number}.0.0/16",)), "m", NOW, ledger.timing)


def admit_other_content_here(ledger: Ledger, number: int, rounds: int) -> None:
    """On one grant."""
    admit_other_content(ledger, number, rounds, same_grant=True)


def admit_other_content_elsewhere(ledger: Ledger, number: int, rounds: int) -> None:
    """Each on a grant of its own."""
    admit_other_content(ledger, number, rounds, same_grant=False)


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(admit_other_content_here, id="all about one grant"),
        pytest.param(admit_other_content_elsewhere, id="each about a grant of its own"),
    ],
)
def test_no_second_content_slips_in_beside_the_first(
    crowd: Crowd, ledger: Ledger, database: Database, task: Any
) -> None:
    """Of eight contents approved under one name at one moment, all but the first are reported, wherever they belong."""
    crowd.at_once(database.url, task, 3)

    kinds = database.kinds()
    assert (kinds.count("admitted"), kinds.count("second-digest")) == (crowd.size * 3, (crowd.size - 1) * 3)
    check_order(ledger, database)


def open_or_close(ledger: Ledger, number: int, rounds: int) -> None:
    """Half of the crowd opens leases, the other half closes the very same ones, from another grant's message."""
    for each in range(rounds):
        name = f"REQ-{number // 2}-{each}"
        if number % 2:
            ledger.write(
                admit, closing([name], f"END-{number}-{each}", f"vpc-{(each + 1) % 3}"), "m", NOW, ledger.timing
            )
        else:
            ledger.write(admit, opening(name, f"vpc-{each % 3}"), "m", NOW, ledger.timing)


def test_an_open_and_its_close_at_once_end_closed(crowd: Crowd, ledger: Ledger, database: Database) -> None:
    """Wherever a close comes from and however it meets its open: no lease stays live, and no side takes itself for settled
    with the grant up."""
    crowd.at_once(database.url, open_or_close, 6)

    assert database.count(closes) == crowd.size // 2 * 6
    for number in range(3):
        work = ledger.write(read_work, grant_id(f"vpc-{number}"), Side.GRANT, NOW, ledger.timing)
        assert work is not None
        assert not work.wanted.up
        assert not work.settled
    check_order(ledger, database)
