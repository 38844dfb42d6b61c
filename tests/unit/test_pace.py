"""Pacing with a turned clock: never more calls than the quota in any window, however they come."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.cloud.pace import Busiest, Pace, Quota
from shared.errors import Throttled

GRANT = "GrantInstanceToExpressConnectRouter"
LOOK = "DescribeVpcAttribute"
REGION = "cn-hangzhou"


class Time:
    """A clock that moves when somebody sleeps, or when a test turns it. Threads may share it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds


@pytest.fixture
def time() -> Time:
    """A clock at rest."""
    return Time()


@pytest.fixture
def pace(time: Time) -> Pace:
    """Published quotas, and any patience."""
    return Pace(window_seconds=60, patience=1e9, clock=time, sleep=time.sleep)


def taken(
    pace: Pace, time: Time, calls: int, operation: str = GRANT, between: Iterator[float] | None = None
) -> list[float]:
    """When each of so many calls was let go."""
    moments = []
    for _ in range(calls):
        if between is not None:
            time.now += next(between)
        pace.take("2", REGION, operation)
        moments.append(time.now)
    return moments


def most_in_a_window(moments: list[float], seconds: float) -> int:
    """The largest number of calls in any window of that length, wherever it starts."""
    return max(sum(start <= moment < start + seconds for moment in moments) for start in moments)


def most_in_a_fixed_window(moments: list[float], seconds: float, offset: float) -> int:
    """The largest number of calls in windows that follow each other from an offset."""
    counted: dict[int, int] = {}
    for moment in moments:
        counted[int((moment - offset) // seconds)] = counted.get(int((moment - offset) // seconds), 0) + 1
    return max(counted.values())


@pytest.mark.parametrize(
    ("operation", "quota"),
    [
        pytest.param(GRANT, Quota(120, 60), id="a write of account B"),
        pytest.param("CreateExpressConnectRouterAssociation", Quota(120, 60), id="a write of account A"),
        pytest.param(LOOK, Quota(300, 60), id="a read"),
        pytest.param("AssumeRole", Quota(100, 1), id="entering a role, which is counted by the second"),
    ],
)
def test_the_published_quotas(pace: Pace, operation: str, quota: Quota) -> None:
    """120 writes and 300 reads a minute, 100 AssumeRole a second."""
    assert pace.quota(operation) == quota


@pytest.mark.parametrize("operation", [GRANT, LOOK, "AssumeRole"])
def test_no_window_ever_holds_more_than_the_quota(pace: Pace, time: Time, operation: str) -> None:
    """Neither a sliding window nor fixed ones, wherever those begin."""
    quota = pace.quota(operation)
    moments = taken(pace, time, quota.calls * 4, operation)
    assert most_in_a_window(moments, quota.seconds) == quota.calls
    for part in range(7):
        assert most_in_a_fixed_window(moments, quota.seconds, part * quota.seconds / 7) <= quota.calls


@pytest.mark.parametrize("seed", range(5))
def test_no_window_ever_holds_more_than_the_quota_when_calls_come_as_they_like(
    pace: Pace, time: Time, seed: int
) -> None:
    """Bursts and lulls change nothing."""
    chance = random.Random(seed)  # noqa: S311  # repeatable, not a secret
    gaps = iter(lambda: chance.choice([0.0, 0.0, 0.01, 0.3, 5.0 if chance.random() < 0.05 else 0.0]), None)
    moments = taken(pace, time, 600, between=gaps)
    assert most_in_a_window(moments, 60) <= 120


def test_a_full_budget_is_used_to_nine_tenths_and_more(pace: Pace, time: Time) -> None:
    """Pacing costs little: of what the quota allows, at least 95 % is taken when there is always work."""
    moments = taken(pace, time, 1200)
    windows = (moments[-1] - moments[0]) / 60
    assert (len(moments) - 120) / windows >= 0.95 * 120


def test_what_fits_is_not_delayed(pace: Pace, time: Time) -> None:
    """The first so many calls wait for nothing."""
    taken(pace, time, 120)
    assert time.slept == []


def test_accounts_regions_and_apis_have_budgets_of_their_own(pace: Pace, time: Time) -> None:
    """The quota counts by main account, region and API, so one that is used up stops no other."""
    for place in (("2", REGION, GRANT), ("3", REGION, GRANT), ("2", "cn-beijing", GRANT), ("2", REGION, "RevokeX")):
        for _ in range(120):
            pace.take(*place)
    assert time.slept == []


def test_what_would_wait_too_long_is_told_how_long(time: Time) -> None:
    """Beyond the patience of one call the budget says when there is room, and takes nothing."""
    pace = Pace(window_seconds=60, patience=5, clock=time, sleep=time.sleep)
    taken(pace, time, 120)
    for _ in range(2):
        with pytest.raises(
            Throttled, match=r"in account 2: our budget of 120 calls in 60 s is used up; there is room in about 61 s"
        ) as told:
            pace.take("2", REGION, GRANT)
        assert told.value.code == "Paced"
        assert told.value.retry_after == pytest.approx(60.25)
        assert time.slept == []
    time.now += 57
    pace.take("2", REGION, GRANT)
    assert time.slept == [pytest.approx(4.25)]


def test_those_who_are_sent_away_are_sent_to_different_times(time: Time) -> None:
    """A crowd is spread over the windows that it needs: whoever comes back as told finds room, or waits for it a little."""
    pace = Pace(window_seconds=60, patience=2, clock=time, sleep=time.sleep)
    for _ in range(120):
        pace.take("2", REGION, GRANT)
        time.now += 0.25
    told = []
    for _ in range(300):
        with pytest.raises(Throttled) as caught:
            pace.take("2", REGION, GRANT)
        assert caught.value.retry_after is not None
        told.append(time.now + caught.value.retry_after)
    assert told == sorted(told)
    assert told[299] - told[59] > 2 * 60
    moments = []
    for moment in told:
        time.now = max(time.now, moment)
        pace.take("2", REGION, GRANT)
        moments.append(time.now)
    assert most_in_a_window(moments, 60) == 120
    assert moments[-1] - told[-1] <= 2


def test_throttling_lowers_the_budget_to_what_fitted_for_a_while(pace: Pace, time: Time) -> None:
    """Somebody else spends a tenth of the quota: for two windows we take a little less than what fitted, then all again."""
    taken(pace, time, 109)
    pace.throttled("2", REGION, GRANT)
    time.now += 61.25
    lowered = taken(pace, time, 200)
    assert most_in_a_window(lowered[:102], 60) == 102
    assert most_in_a_window(lowered, 60) <= 120
    assert lowered[102] - lowered[0] >= 60
    time.now += 200
    assert most_in_a_window(taken(pace, time, 240), 60) == 120


def test_throttling_never_lowers_the_budget_below_half(pace: Pace, time: Time) -> None:
    """One answer out of turn does not stop an account."""
    for _ in range(3):
        pace.take("2", REGION, GRANT)
        pace.throttled("2", REGION, GRANT)
    time.now += 61.25
    assert most_in_a_window(taken(pace, time, 61), 60) == 60


def test_several_refusals_at_once_are_one_reason(pace: Pace, time: Time) -> None:
    """Calls that were under way together may all be refused; the budget is lowered once."""
    taken(pace, time, 110)
    for _ in range(8):
        pace.throttled("2", REGION, GRANT)
    time.now += 61.25
    lowered = taken(pace, time, 104)
    assert lowered[102] == lowered[0]
    assert lowered[103] > lowered[0] + 60


def test_who_would_be_sent_away_is_told_before_anything_is_spent(time: Time) -> None:
    """Asking costs no place; the answer is the same as that of the call itself, and each is told another time."""
    pace = Pace(window_seconds=60, patience=2, clock=time, sleep=time.sleep)
    quiet = pace.crowded
    for _ in range(120):
        pace.expect("2", REGION, GRANT)
        pace.take("2", REGION, GRANT)
        time.now += 0.25
    told = []
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            pace.expect("2", REGION, GRANT)
        assert caught.value.retry_after is not None
        told.append(caught.value.retry_after)
    assert told == [pytest.approx(30.25 + each * 0.25) for each in range(3)]
    assert (quiet, pace.crowded) == (False, True)
    assert time.slept == []


def test_of_those_who_announce_themselves_only_as_many_are_let_through_as_there_is_room_for(time: Time) -> None:
    """Ten come for two places that are about to be free: two may spend calls on looking, the others come back later."""
    pace = Pace(window_seconds=60, patience=2, clock=time, sleep=time.sleep)
    for _ in range(2):
        pace.take("2", REGION, GRANT)
    time.now += 30
    for _ in range(118):
        pace.take("2", REGION, GRANT)
    time.now += 30
    let_through = 0
    for _ in range(10):
        with contextlib.suppress(Throttled):
            pace.expect("2", REGION, GRANT)
            let_through += 1
    assert let_through == 2
    time.now += 5  # whoever announced a call and made none is forgotten
    for _ in range(2):
        pace.expect("2", REGION, GRANT)


def test_throttling_of_one_budget_lowers_no_other(pace: Pace, time: Time) -> None:
    """Foreign traffic in one account is no reason to be slow in another."""
    pace.throttled("3", REGION, GRANT)
    pace.throttled("2", REGION, LOOK)
    taken(pace, time, 120)
    assert time.slept == []


def test_threads_share_a_budget(time: Time) -> None:
    """However many calls come at once, no window holds more than the quota, and none is lost."""
    pace = Pace(window_seconds=60, patience=1e9, clock=time, sleep=time.sleep)
    moments: list[float] = []

    def call(_: int) -> None:
        pace.take("2", REGION, GRANT)
        moments.append(time.now)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(500)))
    assert len(moments) == 500
    # The clock may move between being let go and being noted, so a note can be one window late, never early.
    assert most_in_a_window(sorted(moments), 30) <= 240


def test_windows_may_be_shorter(time: Time) -> None:
    """Where the other side's windows are shortened, ours are, all in the same measure."""
    pace = Pace(window_seconds=6, patience=1e9, clock=time, sleep=time.sleep)
    assert (pace.quota(GRANT), pace.quota(LOOK), pace.quota("AssumeRole")) == (
        Quota(120, 6),
        Quota(300, 6),
        Quota(100, 0.1),
    )
    assert most_in_a_window(taken(pace, time, 480), 6) == 120


# -- what it says ------------------------------------------------------------------------------------------------------


def test_the_budget_that_came_closest_to_its_ceiling_is_told_once(pace: Pace, time: Time) -> None:
    """By share and not by number: sixty writes of 120 are more than a hundred reads of 300."""
    assert pace.busiest() == Busiest(0, 0, "")
    taken(pace, time, 100, LOOK)
    taken(pace, time, 60, GRANT)
    assert pace.busiest() == Busiest(60, 120, f"{GRANT} in 2")
    assert pace.busiest() == Busiest(0, 0, "")
    time.now += 30
    taken(pace, time, 1)
    assert pace.busiest() == Busiest(61, 120, f"{GRANT} in 2")
    time.now += 300
    taken(pace, time, 1, LOOK)
    assert pace.busiest() == Busiest(1, 300, f"{LOOK} in 2")
