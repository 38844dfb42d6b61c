"""Leases: what keeps a grant up. Order and repetition never matter."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest

from shared.messages.approval import OnEnd
from shared.rules.leases import Lease, Passing, Timing, Wanted, Window, live, passing, wanted

NOW = 1_000_000
LEASE = Lease(
    approval_id="a",
    issuer="direct",
    request_id="R1",
    digest="d",
    approved_at=NOW - 100,
    ends_at=None,
    on_end=OnEnd.REPORT,
    allowed_prefixes=("10.0.0.0/16",),
)


@pytest.mark.parametrize(
    ("changes", "watermark", "alive"),
    [
        pytest.param({}, None, True, id="open, and nothing else was said"),
        pytest.param({"closed": True}, None, False, id="closed by name"),
        pytest.param({"rejected": True}, None, False, id="rejected: it never was one"),
        pytest.param({}, NOW - 101, True, id="approved after everything before was revoked"),
        pytest.param({}, NOW - 100, False, id="approved at the very watermark: closed with it"),
        pytest.param({"early": True}, None, False, id="early: it is dated too far ahead to be believed yet"),
        pytest.param({"ended": True}, None, False, id="its end was recorded"),
        pytest.param(
            {"overdue": True, "warned": True}, None, True, id="past its end but reported only: it carries traffic"
        ),
    ],
)
def test_a_lease_is_live_while_nothing_ended_it(changes: dict[str, object], watermark: int | None, alive: bool) -> None:
    """Open, not closed, believed, younger than the watermark, and without a recorded end; being overdue ends nothing."""
    assert live(dataclasses.replace(LEASE, **changes), watermark) is alive  # type: ignore[arg-type]


def test_a_grant_is_wanted_while_one_lease_lives_with_the_prefixes_of_all() -> None:
    """One request does not cut another off, and a dead one adds nothing."""
    other = dataclasses.replace(LEASE, approval_id="b", allowed_prefixes=("10.1.0.0/16", "10.0.0.0/16"))
    dead = dataclasses.replace(LEASE, approval_id="c", allowed_prefixes=("192.168.0.0/24",), closed=True)
    both = Wanted(up=True, prefixes=("10.0.0.0/16", "10.1.0.0/16"))
    assert wanted([LEASE, other, dead], None) == both == wanted([dead, other, LEASE], None)
    assert wanted([LEASE, dataclasses.replace(other, closed=True)], None) == Wanted(up=True, prefixes=("10.0.0.0/16",))
    assert wanted([dead], None) == Wanted(up=False)


def test_prefixes_are_ordered_as_networks_not_as_text() -> None:
    """10.0.0.0/8 comes before 9.0.0.0/8 as text, after it as a network; the cloud's list is compared the same way."""
    lease = dataclasses.replace(LEASE, allowed_prefixes=("10.0.0.0/8", "9.0.0.0/8"))
    assert wanted([lease], None).prefixes == ("9.0.0.0/8", "10.0.0.0/8")


HOUR = 3_600_000
TIMING = Timing(warn=HOUR)


@pytest.mark.parametrize(
    ("changes", "now", "due"),
    [
        pytest.param({}, NOW, Passing(), id="no end: nothing is ever due"),
        pytest.param({"ends_at": NOW + HOUR + 1}, NOW, Passing(), id="the end is further off than the warning"),
        pytest.param({"ends_at": NOW + HOUR}, NOW, Passing(warn=True), id="the end is as near as the warning"),
        pytest.param({"ends_at": NOW + HOUR, "warned": True}, NOW, Passing(), id="warned already: once is enough"),
        pytest.param({"ends_at": NOW}, NOW, Passing(overdue=True), id="its end came, and it is to be reported"),
        pytest.param({"ends_at": NOW, "overdue": True}, NOW, Passing(), id="reported already: once is enough"),
        pytest.param(
            {"ends_at": NOW, "on_end": "teardown"},
            NOW,
            Passing(end=True),
            id="its end came, and it is to be taken down",
        ),
        pytest.param(
            {"ends_at": NOW, "on_end": "teardown", "ended": True}, NOW, Passing(), id="ended already: once is enough"
        ),
        pytest.param(
            {"ends_at": NOW, "closed": True},
            NOW,
            Passing(),
            id="closed before its end: a dead lease does not end again",
        ),
    ],
)
def test_time_warns_then_reports_or_ends_as_was_approved(changes: dict[str, object], now: int, due: Passing) -> None:
    """Each happens once, and nothing happens to a lease that is already dead."""
    assert passing(dataclasses.replace(LEASE, **changes), None, now, TIMING) == due  # type: ignore[arg-type]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        pytest.param("02:00-04:00", "2026-11-24T02:00", True, id="it opens on the minute"),
        pytest.param("02:00-04:00", "2026-11-24T04:00", False, id="it is closed at its end"),
        pytest.param("Sat,Sun 02:00-04:00", "2026-11-24T03:00", False, id="a Tuesday, in the window of a weekend"),
        pytest.param("Sat,Sun 02:00-04:00", "2026-11-28T03:00", True, id="a Saturday, in the window of a weekend"),
        pytest.param("Sat 22:00-04:00", "2026-11-28T23:00", True, id="over midnight, before it"),
        pytest.param(
            "Sat 22:00-04:00",
            "2026-11-29T03:00",
            True,
            id="over midnight, after it: Sunday's small hours belong to Saturday's window",
        ),
        pytest.param(
            "Sat 22:00-04:00", "2026-11-28T03:00", False, id="Saturday's small hours belong to Friday's, which has none"
        ),
        pytest.param("00:00-24:00", "2026-11-24T23:59", True, id="the whole day, up to its last minute"),
    ],
)
def test_a_change_window_is_open_at_its_times(window: str, moment: str, is_open: bool) -> None:
    """Days and times in UTC, also over midnight."""
    assert Window.parse(window).open_at(at(moment)) is is_open


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("always", id="a word"),
        pytest.param("25:00-26:00", id="hours that no day has"),
        pytest.param("Someday 01:00-02:00", id="a day that no week has"),
        pytest.param("1:00-2:00", id="an hour of one digit"),
        pytest.param("00:00-24:59", id="an hour beyond the day"),
        pytest.param("24:00-02:00", id="a start beyond the day"),
        pytest.param("22:60-23:00", id="a minute that no hour has"),
        pytest.param("22:00-22:00", id="no time at all, or the whole day"),
        pytest.param("22:00-22:01", id="one minute"),
        pytest.param("23:59-24:00", id="one minute before midnight"),
        pytest.param("23:59-00:00", id="the same minute, by its other name"),
        pytest.param("\u0662\u0662:\u0660\u0660-\u0662\u0663:\u0660\u0660", id="digits that are not ASCII"),
        pytest.param("22:00-23:00\n", id="a line end behind it"),
        pytest.param("Sat,,Sun 22:00-23:00", id="a day that is not there"),
        pytest.param("sat 22:00-23:00", id="a day in small letters"),
    ],
)
def test_a_window_that_cannot_be_read_is_refused(text: str) -> None:
    """The error shows the form."""
    with pytest.raises(ValueError, match="must"):
        Window.parse(text)


def test_a_window_may_be_short_but_not_a_minute() -> None:
    """Reconcile looks every few minutes: whoever makes it shorter than that is not stopped, only warned by the documents."""
    assert Window.parse("22:00-22:02").end - Window.parse("22:00-22:02").start == 2


def test_an_ended_lease_is_torn_down_only_inside_the_window() -> None:
    """Outside it the lease stays live and waits."""
    lease = dataclasses.replace(LEASE, ends_at=at("2026-11-24T00:30"), on_end=OnEnd.TEARDOWN, approved_at=0)
    timing = Timing(window=Window.parse("02:00-04:00"))
    assert passing(lease, None, at("2026-11-24T01:00"), timing) == Passing()
    assert passing(lease, None, at("2026-11-24T02:00"), timing) == Passing(end=True)
