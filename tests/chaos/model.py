"""The model test, at any length, with a fault planted or with none.

    python -m tests.chaos.model --steps 100000 --seed 1
    python -m tests.chaos.model --planted "no tombstone"

Plays the schedules of one seed after another (see ``machine``) until so many steps were made, on several processes. Prints how
often each kind of thing happened; none of them may be missing in a long run. A schedule that fails is cut down to what is
needed for it, and told step by step.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.machine import listening, opened, play
from tests.chaos.model_schedule import KINDS, Schedule, drawn
from tests.chaos.parts import ModelLedger, Parts
from tests.chaos.planted import PLANTED
from tests.chaos.turns import TROUBLES, Violation

LENGTH = 120
_CHUNK = 5  # schedules that a process plays before it reports
_TRIES = 2_000  # a minute or two at most
_LONG = 50_000  # steps from which on nothing may be missing

_WRITES = ("grant", "revoke", "associate", "dissociate", "set_prefixes")
_FATES = (
    *(f"answered, effect {fate}" for fate in ("at once", "late", "never")),
    *(f"lost, effect {fate}" for fate in ("at once", "late", "never")),
    "refused",
    "forbidden",
)
_EVENTS = (
    "admitted", "early", "held", "second-digest", "done", "rejected", "dead", "redriven", "granted", "associated", "unwanted",
    "dissociated", "revoked", "ending", "overdue", "ended", "stuck", "adopted", "mode-changed",
    "hold-set", "hold-lifted", "took-effect", "ownership", "configured",
    *(f"{what} {kind}" for what in ("drift-found", "drift-repaired") for kind in (
        "grant-missing", "foreign-grant", "association-missing", "foreign-association", "prefixes-differ",
    )), "drift-found instance-deleted",
)  # fmt: skip
_DEATHS = (
    "before a transaction", "before a commit", "after a commit", "before a read", "after a read", "before a write",
    "after a write", "before publishing", "after publishing", "before a wake",
)  # fmt: skip
_OTHERS = (
    "granted", "associated", "revoked", "changed the prefixes", "dissociated", "dissociated and revoked",
    "deleted the instance",
)  # fmt: skip
EXPECTED = (
    *(f"op {kind}" for kind in KINDS),
    *(f"{write}: {fate}" for write in _WRITES for fate in _FATES),
    *(f"event {event}" for event in _EVENTS),
    *(f"died {where}" for where in _DEATHS),
    *(f"somebody else: {what}" for what in _OTHERS),
    *(f"visit: {outcome}" for outcome in ("settled", "waiting", "held", "later", "busy", "dead")),
    *(f"trouble {name}" for name in TROUBLES),
    *(f"their own automation: {what}" for what in ("associated", "dissociated")),
    *(f"at rest: a request is {stage}" for stage in ("open", "approved", "refused", "withdrawn", "lapsed")),
    *(f"people: {what}" for what in (
        "approved", "lapsed", "refused", "withdrawn", "reviewed", "another round", "may not ask", "RequestEnded", "NotLookedYet",
        "SnapshotChanged", "PolicyForbids",
    )),
    "configuration spoilt", "key compromised", "key retired", "refused by the configuration", "sent again",
    "admitted again", "adopted", "at rest: down", "at rest: up", "delivered out of order", "delivered twice",
    "invocation failed", "ledger away", "publishing failed", "publishing unanswered", "read forbidden", "read stale",
    "read unanswered", "redriven", "rests judged", "wake lost",
)  # fmt: skip
"""Everything that must have happened in a long run."""


@dataclass(frozen=True)
class Failure:
    """A schedule that broke a rule."""

    seed: int
    step: int
    what: str


def schedule_of(seed: int, length: int) -> Schedule:
    """Every other schedule has people at the desk."""
    return drawn(seed, length, people=seed % 2 == 0)


def played(seeds: range, length: int, planted: str | None) -> tuple[Counter[str], Failure | None]:
    """Play the schedules of some seeds. Stops at the first that breaks a rule."""
    counts: Counter[str] = Counter()
    parts = PLANTED[planted] if planted else Parts()
    with listening(), opened(parts) as ledger:
        for seed in seeds:
            before = counts["steps"]
            try:
                play(schedule_of(seed, length), parts, ledger, counts)
            except Violation as violation:
                return counts, Failure(seed, counts["steps"] - before, str(violation))
    return counts, None


def shrunk(schedule: Schedule, parts: Parts, ledger: ModelLedger, tries: int) -> Schedule:
    """A shorter and kinder schedule that fails too, found by leaving out and by lessening trouble, with so many tries."""
    left = tries

    def fails(candidate: Schedule) -> bool:
        nonlocal left
        left -= 1
        try:
            play(candidate, parts, ledger, Counter())
        except Violation:
            return True
        return False

    size = max(1, len(schedule.ops) // 2)
    while size and left > 0:
        for candidate in _without(schedule, size):
            if left <= 0:
                return schedule
            if fails(candidate):
                schedule = candidate
                break
        else:
            size //= 2
    for candidate in (
        replace(schedule, trouble="calm"),
        replace(schedule, windowed=False),
        replace(schedule, strangers=0),
    ):
        if fails(candidate):
            schedule = candidate
            break
    for position, op in enumerate(schedule.ops):
        kinder = (*schedule.ops[:position], op._replace(luck=0), *schedule.ops[position + 1 :])
        if op.luck and left > 0 and fails(replace(schedule, ops=kinder)):
            schedule = replace(schedule, ops=kinder)
    return schedule


def _without(schedule: Schedule, size: int) -> Iterator[Schedule]:
    """The schedule with a stretch of that size left out, from its end on."""
    for start in range(len(schedule.ops) - size, -1, -size):
        yield replace(schedule, ops=(*schedule.ops[:start], *schedule.ops[start + size :]))


def told(failure: Failure, length: int, planted: str | None, console: Console) -> None:
    """Cut a failing schedule down and print it, step by step."""
    parts = PLANTED[planted] if planted else Parts()
    console.print(f"[red]seed {failure.seed}, step {failure.step}:[/red] {failure.what}", markup=True, highlight=False)
    with listening(), opened(parts) as ledger:
        schedule = shrunk(schedule_of(failure.seed, length), parts, ledger, _TRIES)
        console.print(f"cut down to {len(schedule.ops)} operations:", highlight=False)
        console.print(f"grants {schedule.keys}, {schedule.strangers} put up before by others", highlight=False)
        try:
            play(schedule, parts, ledger, Counter())
        except Violation as violation:
            for line in violation.trace:
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            console.print(str(violation), style="red", markup=False, highlight=False, soft_wrap=True)


def run(steps: int, seed: int, length: int, planted: str | None, workers: int, console: Console) -> int:
    """Play until so many steps were made. Returns the exit code."""
    counts: Counter[str] = Counter()
    failure: Failure | None = None
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    started, following = time.monotonic(), seed
    with (
        Progress(*columns, console=console) as progress,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        task = progress.add_task("steps", total=steps)
        running: list[Future[tuple[Counter[str], Failure | None]]] = []
        while (counts["steps"] < steps and failure is None) or running:
            while len(running) < workers + 1 and counts["steps"] < steps and failure is None:
                running.append(pool.submit(played, range(following, following + _CHUNK), length, planted))
                following += _CHUNK
            more, found = running.pop(0).result()
            counts += more
            failure = failure or found
            progress.update(task, completed=min(counts["steps"], steps))
    seconds = time.monotonic() - started
    _print_counts(counts, console)
    speed = f"{counts['steps']} steps in {seconds:.0f} s ({counts['steps'] / seconds:.0f} a second)"
    console.print(f"{speed}, seeds {seed} to {following - 1}", highlight=False)
    if failure is not None:
        told(failure, length, planted, console)
        return 1
    missing = [kind for kind in EXPECTED if not counts[kind]]
    if missing and counts["steps"] >= _LONG:
        console.print(f"[red]never happened:[/red] {', '.join(missing)}", highlight=False)
        return 1
    console.print(f"nothing was ever wrong; {counts['rests judged']} times at rest, everything was as approved")
    return 0


def _print_counts(counts: Counter[str], console: Console) -> None:
    table = Table("what", "how often", title="what happened")
    for kind in sorted({*counts, *EXPECTED} - {"steps"}):
        table.add_row(kind, str(counts[kind]))
    console.print(table)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.model", description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000, help="how many steps to make, at least")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; the schedules after it have the next ones")
    parser.add_argument("--length", type=int, default=LENGTH, help="operations in a schedule")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--planted", choices=sorted(PLANTED), help="a fault to plant, which must be found")
    chosen = parser.parse_args()
    return run(
        chosen.steps, chosen.seed, chosen.length, chosen.planted, max(1, chosen.workers), Console(soft_wrap=True)
    )


if __name__ == "__main__":
    sys.exit(main())
