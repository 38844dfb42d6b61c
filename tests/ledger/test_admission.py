"""Admission: every approval becomes one row, once, whoever brings it, however often and whatever else happens then."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import LedgerError, NotAllowed
from shared.ledger.admission import Admission, Asked, Judged, admit, admit_all, reject_message
from shared.ledger.operating import set_mode
from shared.ledger.outbox import waiting_entries
from shared.ledger.proof import first_fault
from shared.ledger.tables import approvals, closes, events, grants, outbox, sides
from shared.ledger.transactions import Ledger, locked
from shared.ledger.work import read_work
from shared.messages.completion import Reason
from shared.rules.facts import Mode, Side
from tests.ledger.crowd import Crowd
from tests.ledger.kit import NOW, Database, check_order, closing, grant_id, opening

# -- one at a time -----------------------------------------------------------------------------------------------------


def test_an_approval_opens_a_lease_and_says_so(ledger: Ledger, database: Database) -> None:
    """Admitting makes the grant's row, its two sides, the approval, one event and one outbox entry, and wants the grant up."""
    admission = ledger.write(admit, opening(), "message-1", NOW, ledger.timing)

    assert (admission.touched, admission.new, admission.early_until) == ((grant_id(),), True, None)
    assert database.kinds() == ["admitted"]
    assert [entry.tag for entry in ledger.read(waiting_entries, 10)] == ["admitted"]
    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert (work.generation, work.wanted.up, work.wanted.prefixes) == (1, True, ("10.20.0.0/16",))
    assert not work.settled
    assert database.count(sides) == 2
    check_order(ledger, database)


def test_what_is_refused_leaves_no_grant_behind(ledger: Ledger, database: Database) -> None:
    """Alone or beside others: its grant is in no event, so a row of it would be one that somebody made up."""

    refused = Judged(refused=NotAllowed("instance.id: not that one"))
    asked = [Asked(opening("REQ-1"), "message-1"), Asked(opening("REQ-2", vpc="vpc-2"), "message-2", refused)]
    good, bad = ledger.write(admit_all, asked, NOW, ledger.timing)
    assert isinstance(good, Admission)
    assert isinstance(bad, NotAllowed)
    assert database.count(grants) == 1
    assert ledger.read(first_fault, [], None) is None


def test_who_admits_for_a_new_grant_waits_for_who_says(ledger: Ledger, database: Database) -> None:
    """Also where no row is there to be locked: what people say does not change while an approval is admitted."""
    if database.kind == "sqlite":
        pytest.skip("SQLite's writers are alone anyway")
    with ledger.writing() as run:
        run(locked, grant_id("vpc-unknown"))
        with pytest.raises(LedgerError):  # it waits, and here not for long
            ledger.write(_say_impatiently)


def _say_impatiently(connection: sql.Connection) -> None:
    connection.execute(sql.text("SET LOCAL lock_timeout = '200ms'"))
    set_mode(connection, Mode.OBSERVE, "somebody", NOW)


def test_the_same_approval_again_changes_nothing(ledger: Ledger, database: Database) -> None:
    """The platform delivers at least once: the second delivery finds the row."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    before = database.everything()

    again = ledger.write(admit, opening(), "message-1", NOW + 5, ledger.timing)

    assert (again.touched, again.new) == ((grant_id(),), False)
    assert database.everything() == before


def test_other_content_under_the_same_name_is_reported(ledger: Ledger, database: Database) -> None:
    """An issuer that approves two contents under one request id opens two leases, and everybody is told."""
    ledger.write(admit, opening(prefixes=("10.20.0.0/16",)), "message-1", NOW, ledger.timing)
    ledger.write(admit, opening(prefixes=("10.21.0.0/16",)), "message-2", NOW, ledger.timing)

    work = ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing)
    assert work is not None
    assert work.wanted.prefixes == ("10.20.0.0/16", "10.21.0.0/16")
    assert database.kinds() == ["admitted", "admitted", "second-digest"]


def test_a_refused_message_is_recorded_once(ledger: Ledger, database: Database) -> None:
    """What cannot be admitted is answered all the same, and its redelivery is no second answer."""
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
    assert database.count(outbox) == crowd.size * 4
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
    """Half of the crowd opens leases, the other half closes the very same ones."""
    for each in range(rounds):
        name, vpc = f"REQ-{number // 2}-{each}", f"vpc-{each % 3}"
        if number % 2:
            ledger.write(admit, closing([name], f"END-{number}-{each}", vpc), "m", NOW, ledger.timing)
        else:
            ledger.write(admit, opening(name, vpc), "m", NOW, ledger.timing)


def test_an_open_and_its_close_at_once_end_closed(crowd: Crowd, ledger: Ledger, database: Database) -> None:
    """However a close meets its open: no lease stays live, and no side takes itself for settled
    with the grant up."""
    crowd.at_once(database.url, open_or_close, 6)

    assert database.count(closes) == crowd.size // 2 * 6
    for number in range(3):
        work = ledger.write(read_work, grant_id(f"vpc-{number}"), Side.GRANT, NOW, ledger.timing)
        assert work is not None
        assert not work.wanted.up
        assert not work.settled
    check_order(ledger, database)
