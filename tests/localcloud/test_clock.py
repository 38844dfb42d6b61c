"""Cloud time turns forward, wakes whoever waited for it, and has nothing to do with real time."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from localcloud.clock import Clock, iso, iso_precise, milliseconds
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import stage

HOUR = 3600.0


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run in an event loop, for ten seconds at most."""
    return asyncio.run(asyncio.wait_for(main, 10))


def test_turning_the_clock_moves_now() -> None:
    """The clock starts at the present and moves by what it is turned."""
    clock = Clock()
    before = clock.now()

    clock._offset += 0  # nothing waits, so no event loop is needed
    assert abs(before - time.time()) < 60

    async def turn() -> float:
        clock.advance(HOUR)
        return clock.now()

    assert HOUR <= run(turn()) - before < HOUR + 60


def test_sleepers_wake_in_order() -> None:
    """Everybody whose time has come wakes, the earliest first; the others sleep on."""

    async def main() -> list[int]:
        clock, woken = Clock(), []

        async def sleeper(hours: int) -> None:
            await clock.sleep(hours * HOUR)
            woken.append(hours)

        tasks = [asyncio.create_task(sleeper(hours)) for hours in (3, 1, 2, 9)]
        await asyncio.sleep(0)
        clock.advance(3 * HOUR + 1)
        await asyncio.gather(*tasks[:3])
        assert not tasks[3].done()
        tasks[3].cancel()
        return woken

    assert run(main()) == [1, 2, 3]


def test_real_time_passes_too() -> None:
    """Cloud time runs by itself, so nothing hangs that nobody turns the clock for."""

    async def main() -> None:
        await Clock().sleep(0.01)

    run(main())


def test_waiting_for_an_event() -> None:
    """wait_for tells whether the event came or the time ran out."""

    async def main() -> tuple[bool, bool, bool]:
        clock = Clock()
        there, never, comes = asyncio.Event(), asyncio.Event(), asyncio.Event()
        there.set()
        lapsing = asyncio.create_task(clock.wait_for(never, HOUR))
        coming = asyncio.create_task(clock.wait_for(comes, 2 * HOUR))
        await asyncio.sleep(0)
        clock.advance(HOUR + 1)
        lapsed = await lapsing
        comes.set()
        return await clock.wait_for(there, HOUR), lapsed, await coming

    assert run(main()) == (True, False, True)


def test_a_cancelled_sleeper_is_forgotten() -> None:
    """Cancelling one sleeper neither wakes nor loses the others."""

    async def main() -> None:
        clock = Clock()
        doomed = asyncio.create_task(clock.sleep(HOUR))
        kept = asyncio.create_task(clock.sleep(2 * HOUR))
        await asyncio.sleep(0)
        doomed.cancel()
        await asyncio.sleep(0)
        clock.advance(2 * HOUR + 1)
        await kept
        assert doomed.cancelled()

    run(main())


def test_alarms_can_be_set_from_alarms() -> None:
    """A callback may set the next alarm, even one whose time has passed already."""

    async def main() -> list[str]:
        clock, rung = Clock(), []

        def first() -> None:
            rung.append("first")
            clock.at(clock.now() - 1, lambda: rung.append("second"))

        clock.at(clock.now() + HOUR, first)
        clock.advance(HOUR + 1)
        while len(rung) < 2:
            await asyncio.sleep(0)
        return rung

    assert run(main()) == ["first", "second"]


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_the_clock_does_not_turn_back(seconds: float) -> None:
    """Turning back is refused."""
    with pytest.raises(ValueError, match="forward"):
        Clock().advance(seconds)


def test_how_times_are_written() -> None:
    """The three forms the services use."""
    assert iso(0.9) == "1970-01-01T00:00:00Z"
    assert iso_precise(0.25) == "1970-01-01T00:00:00.250Z"
    assert milliseconds(1.5) == "1500"


def test_signatures_stay_on_real_time(run_cloud: RunCloud) -> None:
    """A cloud whose clock was turned by a year still accepts requests that are signed now."""
    at = stage()
    cloud = run_cloud(at.world)

    cloud.advance(366 * 86_400)

    assert cloud.sts(at.a).get_caller_identity().body.account_id == at.hub
