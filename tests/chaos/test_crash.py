"""Crash points in short, and that the traps they are made of kill when they say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.progress import Progress

from tests.chaos.crash import Run
from tests.chaos.crash_points import FLOWS, Place, points_at, sample
from tests.chaos.traps import HOWS, Trap, ledger_relay
from tests.ledger.postgres import PASSWORD, USER, Postgres, running

SEED, SAMPLE, LANES = 3, 4, 4
WORKER = """
import psycopg, sys
connection = psycopg.connect(host=sys.argv[1], dbname="postgres", user=sys.argv[2], password=sys.argv[3])
connection.execute("SELECT * FROM facts")
connection.commit()
connection.execute("INSERT INTO facts VALUES (1)")
connection.commit()
print("knows", flush=True)
connection.execute("SELECT 1")
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server for all of them."""
    with running() as made:
        yield made


@pytest.mark.timeout(600)
def test_a_worker_killed_anywhere_loses_nothing(
    postgres: Postgres, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A small sample; all points are a make target of their own."""
    run = Run(tmp_path, postgres)
    points = sample(run.record(), SAMPLE, SEED)
    with Progress(disable=True) as progress:
        run.run(points, LANES, progress, SEED)
    struck = [one for one in run.results if one.struck]
    told = f"{len(run.results)} of {len(run.there_are)} run, {len(struck)} workers killed (seed {SEED})"
    record_property("crash points", told)
    assert run.guilty == []
    assert len(run.results) == SAMPLE
    assert len(struck) >= SAMPLE / 4  # two functions never interleave quite the same, so some places are not come to


def test_a_sample_leaves_no_flow_out() -> None:
    """Also a small one, and a seed gives the same one."""
    places = [Place(flow, "up", "VPC", "worker", "ledger", "commit", each) for flow in FLOWS for each in range(9)]
    points = points_at(places)
    assert len(points) == len(places) * 2 * len(HOWS)
    assert {point.place.flow for point in sample(points, len(FLOWS), 1)} == set(FLOWS)
    assert sample(points, 20, 1) == sample(points, 20, 1) != sample(points, 20, 2)


@pytest.mark.parametrize("how", HOWS)
def test_a_trap_kills_at_a_commit_that_wrote(postgres: Postgres, how: str) -> None:
    """Reading is no commit that counts. Before it nothing was written; after it, the worker does not know."""
    with postgres.connect("postgres") as connection:
        connection.execute("DROP TABLE IF EXISTS facts")
        connection.execute("CREATE TABLE facts (number int)")
        relay, folder = ledger_relay(postgres.folder, lambda _: "grant")
        try:
            relay.book.set(Trap("grant", 1, how))
            command = [sys.executable, "-c", WORKER, str(folder), USER, PASSWORD]
            worker = subprocess.run(command, capture_output=True, timeout=60, check=False)
        finally:
            relay.close()
            shutil.rmtree(folder)
        found = connection.execute("SELECT count(*) FROM facts").fetchone()
    assert worker.returncode == -9
    assert found == (int(how != "before"),)
    assert [one.whose for one in relay.book.seen] == ["grant"]
    assert how == "reply" or not worker.stdout
