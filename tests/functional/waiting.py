"""Waiting for a condition: as long as it takes on a slow machine, and no longer than needed on a quick one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 120.0
"""Real seconds after which a condition counts as missed. Nothing waits as long when all is well; where a machine has much else to
do, or a minute's budget of calls is used up, what takes a second takes a minute. It is less than the five minutes after which
the timer, or the end of a claim, mends what was missed.
"""


def until(
    check: Callable[[], T | None],
    what: str,
    seconds: float = PATIENCE,
    meanwhile: Callable[[], object] = lambda: time.sleep(0.05),
) -> T:
    """The first thing that ``check`` finds; between two looks ``meanwhile`` is done. Fails with ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        meanwhile()
    return found
