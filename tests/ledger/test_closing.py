"""Closing is the safe direction: believed at once, confined to the issuer and the grant that it names, and final in any order."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from shared.ledger.admission import admit
from shared.ledger.passing import let_time_pass
from shared.ledger.tables import approvals, closes, events, marks
from shared.ledger.transactions import Ledger
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.rules.facts import Side
from tests.ledger.kit import (
    HOUR,
    NOW,
    Database,
    check_order,
    closing,
    grant_id,
    moment,
    opening,
    outcomes,
    read,
    settle_side,
)

SKEW = 300_000
MONTH = 30 * 24 * HOUR

Approval = GrantApproval | RevokeApproval
_numbers = itertools.count()


def bring(ledger: Ledger, *documents: Approval, now: int = NOW) -> None:
    """Each in a message of its own, in this order."""
    for one in documents:
        ledger.write(admit, one, f"message-{next(_numbers)}", now, ledger.timing)


def told(database: Database, request_id: str, kind: str) -> str:
    """The text with which a request was told what became of it."""
    bodies = [json.loads(row.body) for row in database.rows(sql.select(events.c.body).where(events.c.kind == kind))]
    (text,) = [one["reason"]["text"] for one in bodies if one["request"]["request_id"] == request_id]
    return str(text)


# -- closing by name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "close_first",
    [
        pytest.param(False, id="the open first: it is closed"),
        pytest.param(True, id="the close first: it waits for the open"),
    ],
)
def test_a_close_reaches_its_lease_whichever_comes_first(
    ledger: Ledger, database: Database, *, close_first: bool
) -> None:
    """What is wanted is the same; the lease is rejected either way, and told by what."""
    documents = [closing(["REQ-1"]), opening("REQ-1")]
    bring(ledger, *(documents if close_first else reversed(documents)))

    assert read(ledger).wanted.down
    assert outcomes(database) == [("REQ-1", "rejected")]
    assert "closed by the revoke REQ-END of tests" in told(database, "REQ-1", "rejected")
    check_order(ledger, database)


def test_a_close_reaches_every_content_of_its_name(ledger: Ledger, database: Database) -> None:
    """Two contents under one request id are closed together, also one that comes later."""
    first, second, third = (opening("REQ-1", prefixes=(f"10.{each}.0.0/16",)) for each in range(3))
    bring(ledger, first, second, closing(["REQ-1"]), third)

    assert read(ledger).wanted.down
    assert database.count(approvals, approvals.c.closed_by.is_not(None)) == 3


@pytest.mark.parametrize("order", [pytest.param(1, id="the open first"), pytest.param(-1, id="the close first")])
@pytest.mark.parametrize(
    ("close", "whose"),
    [
        pytest.param(closing(["REQ-1"], issuer="two"), ("vpc-1", "two"), id="of another issuer: a name belongs to it"),
        pytest.param(closing(["REQ-1"], issuer="one", vpc="vpc-2"), ("vpc-2", "one"), id="about another grant (r04)"),
        pytest.param(closing(["REQ-2"], issuer="one"), None, id="of another request id"),
    ],
)
def test_a_close_that_matches_nothing_touches_nothing_and_stands(
    ledger: Ledger, database: Database, close: RevokeApproval, whose: tuple[str, str] | None, order: int
) -> None:
    """It is recorded on its own grant, admitted and not rejected, and closes what it names when that comes."""
    documents: list[Approval] = [opening("REQ-1", issuer="one"), close]
    bring(ledger, *documents[::order])

    assert read(ledger).wanted.up
    assert outcomes(database) == []
    (row,) = database.rows(sql.select(closes))
    assert (row.grant_id, row.issuer, row.request_id) == (
        grant_id(close.instance.id),
        close.issuer,
        "REQ-1" if whose else "REQ-2",
    )
    if whose is not None:
        bring(ledger, opening("REQ-1", whose[0], issuer=whose[1], prefixes=("10.99.0.0/16",)))
        assert outcomes(database)[-1] == ("REQ-1", "rejected"), "and what it names is closed when it comes"
    assert read(ledger).wanted.prefixes == ("10.20.0.0/16",)
    check_order(ledger, database)


# -- marks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approved_at", "mark"),
    [
        pytest.param(NOW - HOUR, NOW - HOUR, id="approved an hour ago: its own time"),
        pytest.param(NOW + SKEW, NOW + SKEW, id="as far ahead as clocks may differ: its own time"),
        pytest.param(NOW + SKEW + 1, NOW + SKEW, id="further ahead: no further than clocks may differ"),
        pytest.param(NOW + MONTH, NOW + SKEW, id="a month ahead: it is believed at once all the same"),
    ],
)
@pytest.mark.parametrize(
    ("word", "more"),
    [
        pytest.param("all", 0, id="all: one clock, so nothing is added"),
        pytest.param("everyone", SKEW, id="everyone: clocks differ"),
    ],
)
def test_a_mark_is_fixed_when_the_revoke_comes_first(
    ledger: Ledger, database: Database, approved_at: int, mark: int, word: str, more: int
) -> None:
    """The smaller of its approval time and its first admission plus the skew; a repetition, much later, changes nothing."""
    revoke = closing(word, approved_at=approved_at)
    bring(ledger, revoke)
    before = [tuple(row) for row in database.rows(sql.select(marks))]
    bring(ledger, revoke, now=NOW + 2 * MONTH)

    assert [(row[1], row[2]) for row in before] == [("tests" if word == "all" else "*", mark + more)]
    assert [tuple(row) for row in database.rows(sql.select(marks))] == before
    (event,) = database.rows(sql.select(events.c.facts).where(events.c.kind == "admitted"))
    assert json.loads(event.facts)["mark"] == mark, "the revoke's own event keeps it"
    check_order(ledger, database)


def test_a_mark_never_sinks(ledger: Ledger, database: Database) -> None:
    """An older revoke that arrives late leaves the younger one's mark as it is."""
    bring(ledger, closing("all", "END-1", approved_at=NOW - HOUR), closing("all", "END-2", approved_at=NOW - 2 * HOUR))

    assert [row.mark for row in database.rows(sql.select(marks.c.mark))] == [NOW - HOUR]


@pytest.mark.parametrize("order", [pytest.param(1, id="the lease first"), pytest.param(-1, id="the revoke first")])
@pytest.mark.parametrize(
    ("word", "issuer", "after", "lives"),
    [
        pytest.param("all", "tests", -HOUR, False, id="all: an older lease of this issuer is closed"),
        pytest.param("all", "tests", 0, False, id="all: approved at the very mark is closed with it"),
        pytest.param(
            "all", "tests", 1, True, id="all: approved a moment later lives, since one clock has no skew (r32)"
        ),
        pytest.param("all", "another", -HOUR, True, id="all: another issuer's lease is none of its business"),
        pytest.param("everyone", "tests", SKEW, False, id="everyone: up to the mark plus skew is closed"),
        pytest.param("everyone", "another", SKEW, False, id="everyone: also of every other issuer"),
        pytest.param("everyone", "another", SKEW + 1, True, id="everyone: approved behind the skew lives"),
    ],
)
def test_a_mark_closes_what_was_approved_up_to_it(
    ledger: Ledger, database: Database, word: str, issuer: str, after: int, lives: bool, order: int
) -> None:
    """Whichever comes first."""
    at = NOW - 2 * HOUR
    lease, revoke = opening(issuer=issuer, approved_at=at + after), closing(word, approved_at=at)
    documents: list[Approval] = [lease, revoke]
    bring(ledger, *documents[::order])

    assert read(ledger).wanted.up is lives
    assert outcomes(database) == ([] if lives else [("REQ-1", "rejected")])
    check_order(ledger, database)


@pytest.mark.parametrize(
    ("word", "until"),
    [pytest.param("all", NOW - HOUR, id="all"), pytest.param("everyone", NOW - HOUR + SKEW, id="everyone, with skew")],
)
def test_whoever_is_closed_by_a_mark_hears_from_when_approvals_count(
    ledger: Ledger, database: Database, word: str, until: int
) -> None:
    """The rejected lease, and the answer of a revoke that closes everybody's: both name the same moment."""
    bring(ledger, opening(approved_at=NOW - 2 * HOUR), closing(word, approved_at=NOW - HOUR))
    assert settle_side(ledger, Side.GRANT, None)

    says = f"until {moment(until).replace('+00:00', 'Z')}: a later approval counts"
    assert says in told(database, "REQ-1", "rejected")
    assert (says in told(database, "REQ-END", "done")) == (word == "everyone")


# -- dates ahead -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closes_what", ["all", "everyone", ["REQ-1"]], ids=["all", "everyone", "by name"])
def test_a_revoke_dated_ahead_is_believed_at_once(
    ledger: Ledger, database: Database, closes_what: str | list[str]
) -> None:
    """Closing waits for no date: the grant is unwanted now, and the revoke is admitted, not early."""
    bring(ledger, opening(), closing(closes_what, approved_at=NOW + MONTH))

    assert read(ledger).wanted.down
    assert "early" not in database.kinds()
    check_order(ledger, database)


@pytest.mark.parametrize("closes_what", ["all", "everyone", ["REQ-1"]], ids=["all", "everyone", "by name"])
def test_an_early_lease_that_is_known_is_closed_too(
    ledger: Ledger, database: Database, closes_what: str | list[str]
) -> None:
    """R12: what waits for its date does not outlive a revoke, and does not come up a month later."""
    bring(ledger, opening(approved_at=NOW + MONTH), closing(closes_what, approved_at=NOW))
    assert outcomes(database) == [("REQ-1", "rejected")]

    assert let_time_pass(ledger, NOW + 2 * MONTH) == []
    assert read(ledger, now=NOW + 2 * MONTH).wanted.down
    check_order(ledger, database)


def test_another_issuers_early_lease_outlives_all(ledger: Ledger) -> None:
    """``all`` means its own issuer's, also of those that wait."""
    bring(ledger, opening(approved_at=NOW + MONTH, issuer="another"), closing("all", approved_at=NOW))

    assert let_time_pass(ledger, NOW + MONTH) == [grant_id()]
    assert read(ledger, now=NOW + MONTH).wanted.up


def test_what_is_dated_too_far_ahead_waits_for_its_time_and_says_until_when(ledger: Ledger, database: Database) -> None:
    """A lease dated further ahead than clocks may differ is recorded, told as early with its date, and has no effect before."""
    until = NOW + 60_000
    early = opening(approved_at=until + SKEW)
    admission = ledger.write(admit, early, "message-1", NOW, ledger.timing)
    assert (admission.touched, admission.early_until) == ((), until)
    assert moment(until + SKEW) in told(database, "REQ-1", "early")

    assert let_time_pass(ledger, until - 1) == []
    assert (read(ledger).generation, read(ledger).wanted.down) == (0, True)
    assert let_time_pass(ledger, until) == [grant_id()]
    assert let_time_pass(ledger, until) == []
    work = read(ledger, now=until)
    assert (work.generation, work.wanted.up) == (1, True)
    assert database.kinds() == ["early", "took-effect"]
    check_order(ledger, database)


def test_no_more_than_clocks_may_differ_is_not_early(ledger: Ledger, database: Database) -> None:
    """Dated ahead by exactly the skew it counts at once."""
    bring(ledger, opening(approved_at=NOW + SKEW))
    assert database.kinds() == ["admitted"]
    assert read(ledger).wanted.up


# -- any order ---------------------------------------------------------------------------------------------------------

Made = Callable[[str], Approval]
"""A document about the VPC that it is told."""

_issuers = some.sampled_from(["one", "two"])
_names = some.sampled_from(["REQ-1", "REQ-2", "REQ-3"])
_times = some.sampled_from([NOW - HOUR, NOW - SKEW, NOW - 1, NOW, NOW + 1, NOW + SKEW])
_openings: some.SearchStrategy[Made] = some.builds(
    lambda name, issuer, at, route: lambda vpc: opening(name, vpc, issuer=issuer, approved_at=at, prefixes=(route,)),
    _names,
    _issuers,
    _times,
    some.sampled_from(["10.1.0.0/16", "10.2.0.0/16"]),
)
_closings: some.SearchStrategy[Made] = some.builds(
    lambda which, name, issuer, at: lambda vpc: closing(which, name, vpc, issuer=issuer, approved_at=at),
    some.sampled_from(["all", "everyone"]) | some.lists(_names, min_size=1, max_size=2, unique=True),
    some.sampled_from(["END-1", "END-2"]),
    _issuers,
    _times | some.just(NOW + MONTH),
)


def state(ledger: Ledger, database: Database, vpc: str) -> dict[str, Any]:
    """Everything of a grant that decides."""
    here = grant_id(vpc)
    leases = sql.select(approvals).where(approvals.c.grant_id == here, approvals.c.action == "grant")
    every_mark = sql.select(marks.c.issuer, marks.c.mark).where(marks.c.grant_id == here)
    every_close = sql.select(closes.c.issuer, closes.c.request_id).where(closes.c.grant_id == here)
    return {
        "leases": {
            (row.issuer, row.request_id, row.approved_at, row.allowed_prefixes): (row.live, row.open, row.outcome)
            for row in database.rows(leases)
        },
        "marks": {tuple(row) for row in database.rows(every_mark)},
        "closes": {tuple(row) for row in database.rows(every_close)},
        "wanted": read(ledger, vpc=vpc).wanted,
    }


def test_no_order_of_arrival_changes_the_state(ledger: Ledger, database: Database) -> None:
    """The same documents at one time, in any two orders: the same leases live, the same marks, the same closes."""

    @settings(max_examples=60 if database.kind == "sqlite" else 20, suppress_health_check=list(HealthCheck))
    @given(some.data(), some.lists(_openings | _closings, min_size=2, max_size=6))
    def check(data: some.DataObject, documents: list[Made]) -> None:
        found = []
        for order in (documents, data.draw(some.permutations(documents))):
            vpc = f"vpc-{next(_numbers)}"
            bring(ledger, *(make(vpc) for make in order))
            found.append(state(ledger, database, vpc))
        assert found[0] == found[1]

    check()
    check_order(ledger, database)
