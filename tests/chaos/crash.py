"""Crash points: a worker killed at every single step of every flow, over the wire, judged from the local cloud's world.

    python -m tests.chaos.crash                 # every point there is
    python -m tests.chaos.crash --points 40     # a seeded sample of them

The points are what the flows did in an undisturbed run: every call that the local cloud's journal shows, and every commit
of the ledger that wrote something. At each, the process that is at it is killed before the effect, after the effect, and after
the reply; alone, and with a second worker at the same grant. Redelivery and the timer do the rest, and the referee (``judge``)
looks. Each point has a grant of its own; many share a deployment, a lane, one after another. What no worker came to is tried
once more.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.crash_lane import Lane
from tests.chaos.crash_points import FLOWS, SCENES, Point, Result, points_at, sample
from tests.functional.launch import without_proxies
from tests.ledger.postgres import Postgres, running


@dataclass
class Run:
    """All of it: the undisturbed run, then the points, on some lanes at a time."""

    folder: Path
    server: Postgres
    results: list[Result] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    there_are: list[Point] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def record(self, scenes: Sequence[tuple[str, str]] = SCENES) -> list[Point]:
        """The points that there are."""
        lane = Lane(self.folder / "undisturbed", self.server, 1, scenes)
        with lane.open():
            places = [place for number in range(len(scenes)) for place in lane.record(number)]
            self.faults += [f"undisturbed: {fault}" for fault in lane.judge()]
        self.there_are = points_at(places)
        return self.there_are

    def run(self, points: Sequence[Point], lanes: int, progress: Progress, seed: int) -> None:
        """Try points. Lanes with one worker and with two are apart."""
        task = progress.add_task("points", total=len(points))
        chance = random.Random(seed)  # noqa: S311  # repeatable, not a secret
        shares: list[list[Point]] = []
        for workers in (1, 2):
            mine = [point for point in points if point.workers == workers]
            chance.shuffle(mine)
            count = max(1, round(lanes * len(mine) / max(1, len(points))))
            shares += [share for share in (mine[each::count] for each in range(count)) if share]
        with ThreadPoolExecutor(lanes) as pool:
            running = [pool.submit(self._lane, next(self._numbers), share, progress, task) for share in shares]
            for one in running:
                one.result()

    def _lane(self, number: int, share: Sequence[Point], progress: Progress, task: Any) -> None:
        scenes = [(point.place.scene, point.place.kind) for point in share]
        lane = Lane(self.folder / f"lane-{number}", self.server, share[0].workers, scenes)
        tried: dict[str, Result] = {}
        try:
            with lane.open():
                for each, point in enumerate(share):
                    result = lane.try_at(each, point)
                    tried[lane.instance(each)] = result
                    self.results.append(result)
                    progress.advance(task)
                    if len(self.results) % 50 == 0 and not progress.console.is_terminal:
                        progress.console.print(f"{len(self.results)} points so far")
                for fault in lane.judge():
                    found = next((one for name, one in tried.items() if f"{name}:" in f"{fault}:"), None)
                    if found is None:
                        self.faults.append(f"lane {number}: {fault}")
                    else:
                        found.faults.append(fault)
                if self.faults or any(one.faults for one in tried.values()):
                    (lane.made.folder / "functions.log").write_text(lane.made.story("", 100_000), "utf-8")
        except Exception as error:  # noqa: BLE001  # the other lanes go on, and it is told
            self.faults.append(f"lane {number}: {type(error).__name__}: {error}")

    @property
    def missed(self) -> list[Point]:
        """What was tried, and no worker came to it: how two functions interleave is never quite the same."""
        struck = {one.point for one in self.results if one.struck}
        return list(dict.fromkeys(one.point for one in self.results if one.point not in struck))

    @property
    def guilty(self) -> list[str]:
        """Everything that was wrong, as sentences."""
        return [*self.faults, *(f"{one.point}: {fault}" for one in self.results for fault in one.faults)]

    def report(self, console: Console) -> None:
        """Points there are, run, and struck, by flow; a point that was tried again counts once."""
        there_are, ran, struck = (
            Counter(point.place.flow for point in points)
            for points in (
                self.there_are,
                {one.point for one in self.results},
                {one.point for one in self.results if one.struck},
            )
        )
        table = Table("flow", "points there are", "run", "came to it and were killed", title="crash points")
        for flow in FLOWS:
            table.add_row(flow, str(there_are[flow]), str(ran[flow]), str(struck[flow]))
        table.add_row("all", str(there_are.total()), str(ran.total()), str(struck.total()))
        console.print(table)


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crash", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, help="so many of them, by the seed; without it all")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--lanes", type=int, default=20, help="deployments at a time")
    parser.add_argument("--only", default="", help="only points whose description has these words")
    parser.add_argument("--keep", type=Path, help="keep what the lanes leave behind in this folder")
    asked = parser.parse_args()
    without_proxies()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console(soft_wrap=True, highlight=False)
    begun = time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with tempfile.TemporaryDirectory(prefix="ecr-grants-crash-") as scratch, running() as made:
        one = Run(asked.keep or Path(scratch), made)
        points = [point for point in one.record() if asked.only in str(point)]
        if asked.points is not None:
            points = sample(points, asked.points, asked.seed)
        console.print(f"seed {asked.seed}: {len(points)} of {len(one.there_are)} points on {asked.lanes} lanes")
        with Progress(*columns, console=console) as progress:
            one.run(points, asked.lanes, progress, asked.seed)
            tried = len(one.results)
            if one.missed:
                one.run(one.missed, asked.lanes, progress, asked.seed + 1)
    one.report(console)
    for fault in one.guilty:
        console.print(f"FAULT: {fault}", markup=False)
    for point in one.missed[:20]:
        console.print(f"did not come to it: {point}", markup=False)
    seconds = time.monotonic() - begun
    if one.guilty or tried != len(points):
        console.print(f"FAILED after {seconds:.0f} s; again: --seed {asked.seed} --keep FOLDER", markup=False)
        return 1
    console.print(f"OK: {tried} of {len(one.there_are)} points in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
