"""Whole lives of grants over the wire, under trouble: seeded schedules against the deployed functions, judged from outside.

    python -m tests.chaos.wire --schedules 200 --seed 1

A schedule is a few instances of its own, the approvals about them (opened, closed, ended, repeated, reordered, replayed)
and the trouble that the local cloud makes meanwhile. Many schedules share one deployment, as they would in life; every
round has its own setting of the switches for undocumented behaviour. When the trouble is over, a few ticks must bring everything
to rest, and then the referee (``judge``) looks. In the end every old approval is sent once more: nothing may come of it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from localcloud.switches import Switches
from tests.chaos.wire_play import Outcome, Play, Round, rounds_of
from tests.chaos.wire_schedule import KINDS
from tests.functional.launch import without_proxies


def perform(rounds: Sequence[Round], folder: Path, together: int, say: Callable[[int, str], None]) -> list[Outcome]:
    """Play rounds, some at a time. A round that could not be played at all is a failure of that round."""

    def one(told: Round) -> Outcome:
        play = Play(told, folder / f"round-{told.number}", lambda text: say(told.number, text))
        try:
            return play.run()
        except Exception as error:  # noqa: BLE001  # whatever it was, the other rounds go on and the seed is told
            play.outcome.faults.append(f"{type(error).__name__}: {error}")
            return play.outcome

    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(one, rounds))


def report(outcomes: Sequence[Outcome], console: Console) -> None:
    """Counts per kind of trouble, per switch setting and per kind of completion."""
    planned, struck, told = Counter[str](), Counter[str](), Counter[str]()
    for one in outcomes:
        planned, struck, told = planned + one.planned, struck + one.struck, told + one.told
    table = Table("trouble", "planned", "struck", title="planned trouble")
    for kind in sorted(planned):
        table.add_row(kind, str(planned[kind]), str(struck[kind]))
    console.print(table)
    table = Table("switch", "schedules by setting", title="undocumented behaviour")
    for name in Switches.model_fields:
        by_value = Counter[str]()
        for one in outcomes:
            by_value[one.round.switches[name]] += len(one.round.schedules)
        table.add_row(name, ", ".join(f"{value}: {count}" for value, count in sorted(by_value.items())))
    console.print(table)
    console.print("completions: " + ", ".join(f"{kind} {count}" for kind, count in sorted(told.items())))
    for one in outcomes:
        state = f"{len(one.faults)} FAULTS" if one.faults else "ok"
        console.print(
            f"{one.round.title}: {state}; {one.approvals} approvals, {one.calls} calls, {one.ticks} ticks, "
            f"at rest after {one.resting_after:.0f} s, {one.seconds:.0f} s in all"
            + (f"; {len(one.gaps)} writes not judged" if one.gaps else "")
        )


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(description="Life cycles over the wire, under trouble.")
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--per-round", type=int, default=25, help="schedules that share a deployment")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long messages come in a round")
    parser.add_argument("--together", type=int, default=2, help="rounds at a time")
    parser.add_argument("--round", type=int, help="only this round of the run")
    parser.add_argument("--keep", type=Path, help="keep what the rounds leave behind in this folder")
    asked = parser.parse_args()
    without_proxies()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console(soft_wrap=True, highlight=False)
    rounds = rounds_of(asked.seed, asked.schedules, asked.per_round, asked.seconds)
    rounds = [one for one in rounds if asked.round is None or one.number == asked.round]
    console.print(f"seed {asked.seed}: {sum(len(one.schedules) for one in rounds)} schedules in {len(rounds)} rounds")
    begun = time.monotonic()
    lock = threading.Lock()

    def say(number: int, text: str) -> None:
        with lock:
            console.print(f"{time.monotonic() - begun:6.0f} s  round {number}: {text}", markup=False)

    with tempfile.TemporaryDirectory(prefix="ecr-grants-wire-") as scratch:
        outcomes = perform(rounds, asked.keep or Path(scratch), asked.together, say)
    report(outcomes, console)
    failed = [one for one in outcomes if one.faults]
    never = [kind for kind in KINDS if not sum(one.struck[kind] for one in outcomes)]
    for one in failed:
        for fault in one.faults:
            console.print(f"FAULT in round {one.round.number}: {fault}", markup=False)
    seconds = time.monotonic() - begun
    if failed:
        again = f"--seed {asked.seed} --schedules {asked.schedules} --per-round {asked.per_round} --seconds {asked.seconds:g}"
        numbers = ", ".join(str(one.round.number) for one in failed)
        console.print(
            f"FAILED after {seconds:.0f} s in round {numbers}; again: {again} --round N --keep FOLDER", markup=False
        )
        return 1
    if never and asked.round is None and asked.schedules >= 200:
        console.print(f"FAILED after {seconds:.0f} s: trouble that never struck proves nothing: {', '.join(never)}")
        return 1
    console.print(f"OK: {sum(len(one.schedules) for one in rounds)} schedules in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
