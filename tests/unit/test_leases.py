"""Leases: what keeps a grant up. Order and repetition never matter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.messages.approval import OnEnd
from shared.rules.leases import (
    Due,
    Lease,
    Level,
    Timing,
    Wanted,
    Window,
    counts_from,
    in_order,
    live,
    longest_waiting,
    next_due,
    passing,
    wanted,
)

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
    admitted_at=NOW - 90,
)


DAY = 86_400_000
HOUR = 3_600_000
TIMING = Timing(warn=HOUR)


@pytest.mark.parametrize(
    ("changes", "alive"),
    [
        pytest.param({}, True, id="open, and nothing else was said"),
        pytest.param({"closed": True}, False, id="closed, by name or by a mark"),
        pytest.param({"rejected": True}, False, id="rejected: it never was one"),
        pytest.param({"early": True}, False, id="early: it is dated too far ahead to be believed yet"),
        pytest.param({"ended": True}, False, id="its end was recorded"),
        pytest.param({"overdue": True, "warned": True}, True, id="past its end but kept: it carries traffic"),
    ],
)
def test_a_lease_is_live_while_nothing_ended_it(changes: dict[str, Any], alive: bool) -> None:
    """Open, not closed, believed, and without a recorded end; being overdue ends nothing."""
    assert live(replace(LEASE, **changes)) is alive


@pytest.mark.parametrize(
    ("ahead", "since"),
    [
        pytest.param(-1, 0, id="approved before it came in: from its admission"),
        pytest.param(TIMING.skew, 0, id="dated ahead by no more than clocks may differ: from its admission"),
        pytest.param(TIMING.skew + HOUR, HOUR, id="dated further ahead: an hour later, as its date says"),
    ],
)
def test_from_when_an_approval_could_take_effect(ahead: int, since: int) -> None:
    """What waits for its date has not been waiting for us."""
    lease = replace(LEASE, admitted_at=NOW, approved_at=NOW + ahead)
    assert counts_from(lease, TIMING) == NOW + since


def test_who_has_waited_longest() -> None:
    """Of those whose effect was not seen yet; nobody waits where every effect was."""
    done, young, old = (
        replace(LEASE, admitted_at=1, done=True),
        replace(LEASE, admitted_at=3),
        replace(LEASE, admitted_at=2),
    )
    assert longest_waiting([done, young, old]) == longest_waiting([old, young, done]) == old
    assert longest_waiting([done]) is None


# -- what is wanted ----------------------------------------------------------------------------------------------------

OTHER = replace(LEASE, approval_id="b", allowed_prefixes=("10.1.0.0/16", "10.0.0.0/16"))
DEAD = replace(LEASE, approval_id="c", allowed_prefixes=("192.168.0.0/24",), closed=True)
PAST = replace(LEASE, approval_id="d", allowed_prefixes=("10.9.0.0/16",), overdue=True)
ONE, BOTH = ("10.0.0.0/16",), ("10.0.0.0/16", "10.1.0.0/16")


@pytest.mark.parametrize(
    ("leases", "right"),
    [
        pytest.param([], Wanted(Level.DOWN), id="no lease: nothing"),
        pytest.param([DEAD], Wanted(Level.DOWN), id="a dead one: nothing"),
        pytest.param([LEASE], Wanted(Level.UP, ONE), id="one: it is up with its prefixes"),
        pytest.param(
            [LEASE, OTHER, DEAD], Wanted(Level.UP, BOTH), id="two: their prefixes add up, a dead one adds none"
        ),
        pytest.param([PAST], Wanted(Level.KEEP, (), ("10.9.0.0/16",)), id="only past ones: what stands is kept"),
        pytest.param(
            [LEASE, PAST],
            Wanted(Level.UP, ONE, ("10.9.0.0/16",)),
            id="a past one beside a live one: its prefixes may stay",
        ),
        pytest.param(
            [LEASE, replace(PAST, allowed_prefixes=ONE)],
            Wanted(Level.UP, ONE),
            id="a past one with a prefix that another approves: it has to be there",
        ),
    ],
)
def test_up_keep_or_down_is_what_all_leases_want_together(leases: list[Lease], right: Wanted) -> None:
    """In whichever order they are read."""
    assert wanted(leases) == wanted(leases[::-1]) == right
    assert (right.up, right.down) == (right.level is Level.UP, right.level is Level.DOWN)


@pytest.mark.parametrize(
    ("standing", "right"),
    [
        pytest.param((), ("10.0.0.0/16",), id="nothing stands: only what is approved now"),
        pytest.param(
            ("10.9.0.0/16",),
            ("10.0.0.0/16", "10.9.0.0/16"),
            id="a past lease's prefix stands: it is left, none is lost",
        ),
        pytest.param(("10.8.0.0/16",), ("10.0.0.0/16",), id="what nobody approved stands: it is not wanted"),
    ],
)
def test_a_past_leases_prefixes_stay_only_where_they_stand(standing: tuple[str, ...], right: tuple[str, ...]) -> None:
    """They are never added."""
    assert wanted([LEASE, PAST]).beside(standing) == right


def test_prefixes_are_ordered_as_networks_not_as_text() -> None:
    """10.0.0.0/8 comes before 9.0.0.0/8 as text, after it as a network; the cloud's list is compared the same way."""
    lease = replace(LEASE, allowed_prefixes=("10.0.0.0/8", "9.0.0.0/8"))
    assert wanted([lease]).prefixes == ("9.0.0.0/8", "10.0.0.0/8")


def test_what_is_no_ipv4_network_is_ordered_too() -> None:
    """What a cloud shows is data: an IPv6 prefix, or anything else, stops nothing (r08)."""
    assert in_order(["fd00::/8", "10.0.0.0/8", "?", "9.0.0.0/8"]) == ("9.0.0.0/8", "10.0.0.0/8", "?", "fd00::/8")


# -- the passing of time -----------------------------------------------------------------------------------------------

STOOD = replace(LEASE, done=True)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        pytest.param({}, None, id="no end: nothing is ever due"),
        pytest.param({"ends_at": NOW + HOUR + 1}, None, id="the end is further off than the warning"),
        pytest.param({"ends_at": NOW + HOUR}, Due.WARN, id="the end is as near as the warning"),
        pytest.param({"ends_at": NOW + HOUR, "warned": True}, None, id="warned already: once is enough"),
        pytest.param({"ends_at": NOW + 1, "done": False}, Due.WARN, id="on its way, and its end is near: warned too"),
        pytest.param({"ends_at": NOW}, Due.OVERDUE, id="its end came, and it is to be reported"),
        pytest.param({"ends_at": NOW, "overdue": True}, None, id="reported already: once is enough"),
        pytest.param({"ends_at": NOW, "on_end": OnEnd.TEARDOWN}, Due.END, id="its end came: it is taken down"),
        pytest.param(
            {"ends_at": NOW, "on_end": OnEnd.TEARDOWN, "ended": True}, None, id="ended already: once is enough"
        ),
        pytest.param(
            {"ends_at": NOW, "closed": True}, None, id="closed before its end: a dead lease does not end again"
        ),
        pytest.param(
            {"ends_at": NOW, "done": False}, Due.LAPSE, id="its end came before its effect was seen: it lapses"
        ),
        pytest.param(
            {"ends_at": NOW, "done": False, "on_end": OnEnd.TEARDOWN},
            Due.LAPSE,
            id="the same where it was to be torn down",
        ),
        pytest.param({"ends_at": NOW, "early": True}, None, id="early: nothing befalls it but its date"),
    ],
)
def test_time_warns_then_reports_or_ends_as_was_approved(changes: dict[str, Any], due: Due | None) -> None:
    """Each happens once, and nothing happens to a lease that is already dead."""
    lease = replace(STOOD, **changes)
    assert passing([lease], NOW, TIMING) == ({} if due is None else {"a": due})


def ends(name: str, at: int, on_end: OnEnd, **changes: Any) -> Lease:
    """A lease that stood, with an end."""
    return replace(STOOD, approval_id=name, ends_at=at, on_end=on_end, warned=True, **changes)


REPORT, TEARDOWN = OnEnd.REPORT, OnEnd.TEARDOWN


@pytest.mark.parametrize(
    ("leases", "due"),
    [
        pytest.param(
            [ends("r", NOW - 1, REPORT, overdue=True), ends("t", NOW, TEARDOWN)],
            {"r": Due.END, "t": Due.END},
            id="the last one tears down: the reported one before it goes too (r35)",
        ),
        pytest.param(
            [ends("t", NOW - 1, TEARDOWN, overdue=True), ends("r", NOW, REPORT)],
            {"t": Due.END, "r": Due.OVERDUE},
            id="the last one is reported: it is kept",
        ),
        pytest.param(
            [ends("r", NOW, REPORT), ends("t", NOW, TEARDOWN)],
            {"r": Due.END, "t": Due.END},
            id="two end together: teardown decides",
        ),
        pytest.param(
            [ends("r", NOW, REPORT), ends("t", NOW - 1, TEARDOWN), replace(STOOD, approval_id="e")],
            {"r": Due.OVERDUE, "t": Due.END},
            id="one without end: each ends as it was approved, and the grant stays up",
        ),
        pytest.param(
            [ends("r", NOW - 1, REPORT, overdue=True), ends("t", NOW + 1, TEARDOWN)],
            {},
            id="the last one has not come to its end: nothing",
        ),
        pytest.param(
            [ends("r", NOW - 1, REPORT, overdue=True), ends("t", NOW, TEARDOWN, done=False)],
            {"t": Due.LAPSE},
            id="the last one never took effect: it lapses, and decides nothing",
        ),
        pytest.param(
            [ends("r", NOW - 1, REPORT, overdue=True), ends("t", NOW, TEARDOWN, closed=True)],
            {},
            id="the last one is closed: it decides nothing",
        ),
    ],
)
def test_past_all_ends_the_live_lease_that_ends_last_decides(leases: list[Lease], due: dict[str, Due]) -> None:
    """For all of them, in whichever order they are read."""
    assert passing(leases, NOW, TIMING) == passing(leases[::-1], NOW, TIMING) == due


@pytest.mark.parametrize(
    ("changes", "due_at"),
    [
        pytest.param({}, None, id="no end: never"),
        pytest.param({"ends_at": NOW + DAY}, NOW + DAY - HOUR, id="the warning comes first"),
        pytest.param({"ends_at": NOW + DAY, "warned": True}, NOW + DAY, id="warned: the end"),
        pytest.param({"ends_at": NOW, "overdue": True}, None, id="past its end and only reported: never again (r06)"),
        pytest.param(
            {"ends_at": NOW, "overdue": True, "on_end": TEARDOWN}, NOW, id="it waits for the window: still due"
        ),
        pytest.param({"ends_at": NOW + DAY, "closed": True}, None, id="closed before its end: never (r06)"),
        pytest.param({"ends_at": NOW, "ended": True}, None, id="ended: never again"),
        pytest.param({"ends_at": NOW + DAY, "rejected": True}, None, id="rejected: never"),
    ],
)
def test_the_timer_is_told_when_time_does_something_next(changes: dict[str, Any], due_at: int | None) -> None:
    """And not asked about what is over."""
    assert next_due(replace(STOOD, **changes), TIMING) == due_at


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        pytest.param("02:00-04:00", "2026-11-24T01:59", False, id="it is closed a minute before"),
        pytest.param("02:00-04:00", "2026-11-24T02:00", True, id="it opens on the minute"),
        pytest.param("02:00-04:00", "2026-11-24T03:59", True, id="it is open in its last minute"),
        pytest.param("02:00-04:00", "2026-11-24T04:00", False, id="it is closed at its end"),
        pytest.param("02:30-02:59", "2026-11-24T02:45", True, id="minutes count, up to the last of an hour"),
        pytest.param("Sat,Sun 02:00-04:00", "2026-11-24T03:00", False, id="a Tuesday, in the window of a weekend"),
        pytest.param("Sat,Sun 02:00-04:00", "2026-11-28T03:00", True, id="a Saturday, in the window of a weekend"),
        pytest.param("Sat 22:00-04:00", "2026-11-28T21:59", False, id="over midnight, a minute before it"),
        pytest.param("Sat 22:00-04:00", "2026-11-28T22:00", True, id="over midnight, it opens on the minute"),
        pytest.param("Sat 22:00-04:00", "2026-11-28T23:00", True, id="over midnight, before it"),
        pytest.param(
            "Sat 22:00-04:00",
            "2026-11-29T03:59",
            True,
            id="over midnight, after it: Sunday's small hours belong to Saturday's window",
        ),
        pytest.param("Sat 22:00-04:00", "2026-11-29T04:00", False, id="over midnight, it is closed at its end"),
        pytest.param(
            "Sat 22:00-04:00", "2026-11-28T03:00", False, id="Saturday's small hours belong to Friday's, which has none"
        ),
        pytest.param(
            "Sun 22:00-04:00", "2026-11-30T03:00", True, id="Monday's small hours belong to Sunday, a week's last day"
        ),
        pytest.param("00:00-24:00", "2026-11-24T23:59", True, id="the whole day, up to its last minute"),
    ],
)
def test_a_change_window_is_open_at_its_times(window: str, moment: str, is_open: bool) -> None:
    """Days and times in UTC, also over midnight."""
    assert Window.parse(window).open_at(at(moment)) is is_open


@pytest.fixture
def eastward(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose clock shows eight hours more."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "<+08>-8")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("eastward")
def test_a_change_window_is_the_same_wherever_the_machine_is() -> None:
    """Two in the morning is ten there."""
    window = Window.parse("Tue 02:00-04:00")
    assert window.open_at(at("2026-11-24T02:00"))
    assert not window.open_at(at("2026-11-23T18:00"))


FORM = "must look like 'Sat,Sun 22:00-04:00' or '22:00-04:00' (UTC)"
TIMES = "must have times of day from 00:00 to 24:00"
EQUAL = "must end at another time than it starts: the whole day is 00:00-24:00"
MINUTE = "must be longer than a minute: between two looks at the clock it would pass unseen"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", FORM, id="nothing"),
        pytest.param("always", FORM, id="a word"),
        pytest.param("Someday 01:00-02:00", FORM, id="a day that no week has"),
        pytest.param("1:00-2:00", FORM, id="an hour of one digit"),
        pytest.param("\u0662\u0662:\u0660\u0660-\u0662\u0663:\u0660\u0660", FORM, id="digits that are not ASCII"),
        pytest.param("22:00-23:00\n", FORM, id="a line end behind it"),
        pytest.param("Sat,,Sun 22:00-23:00", FORM, id="a day that is not there"),
        pytest.param("sat 22:00-23:00", FORM, id="a day in small letters"),
        pytest.param("25:00-26:00", TIMES, id="hours that no day has"),
        pytest.param("00:00-24:01", TIMES, id="an end beyond the day"),
        pytest.param("24:00-02:00", TIMES, id="a start beyond the day"),
        pytest.param("22:60-23:30", TIMES, id="a minute that no hour has, at the start"),
        pytest.param("22:00-23:60", TIMES, id="a minute that no hour has, at the end"),
        pytest.param("22:00-22:00", EQUAL, id="no time at all, or the whole day"),
        pytest.param("22:00-22:01", MINUTE, id="one minute"),
        pytest.param("23:59-24:00", MINUTE, id="one minute before midnight"),
        pytest.param("23:59-00:00", MINUTE, id="the same minute, by its other name"),
    ],
)
def test_a_window_that_cannot_be_read_is_refused(text: str, told: str) -> None:
    """The error shows the form, or says what is wrong with the times."""
    with pytest.raises(ValueError, match="must") as refused:
        Window.parse(text)
    assert str(refused.value) == told


def test_a_window_may_be_short_but_not_a_minute() -> None:
    """Reconcile looks every few minutes: whoever makes it shorter than that is not stopped, only warned by the documents."""
    assert Window.parse("22:00-22:02").end - Window.parse("22:00-22:02").start == 2
    assert Window.parse("21:59-22:59") == Window(frozenset(range(7)), 21 * 60 + 59, 22 * 60 + 59)


def test_an_ended_lease_is_torn_down_only_inside_the_window() -> None:
    """Outside it the lease is kept, is reported once, and waits."""
    lease = replace(ends("t", at("2026-11-24T00:30"), TEARDOWN), approved_at=0)
    timing = Timing(window=Window.parse("02:00-04:00"))
    assert passing([lease], at("2026-11-24T01:00"), timing) == {"t": Due.OVERDUE}
    overdue = replace(lease, overdue=True)
    assert wanted([overdue]).level is Level.KEEP
    assert passing([overdue], at("2026-11-24T01:59"), timing) == {}
    assert passing([overdue], at("2026-11-24T02:00"), timing) == {"t": Due.END}


def test_what_lapses_waits_for_no_window() -> None:
    """A lease that never took effect is over at its end."""
    lease = replace(ends("t", NOW, TEARDOWN), done=False)
    assert passing([lease], NOW, Timing(window=Window.parse("Sat 02:00-04:00"))) == {"t": Due.LAPSE}
