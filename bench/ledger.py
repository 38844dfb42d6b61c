"""What does one grant cost the ledger, and how many grants a second does a ledger at a distance take?

    python -m bench.ledger
    python -m bench.ledger --grants 100 --delays 0 2       a quick one

A burst of approvals goes through account B's real frame, and what that publishes through account A's, completions and all,
over a cloud in memory that does at once what it is asked, so that an association is ACTIVE at the first look. The ledger is a
real PostgreSQL behind a relay that makes it as far away as is asked.

Counted per grant, both sides together: statements (what the driver is told to execute; COMMIT apart, and BEGIN with what is in
the same message), transactions that wrote, and round trips, as the relay sees them. Timed: grants a second, eight routers, the
quotas out of the way; beside it, on the same machine in the same run, a loop of bare transactions with one statement each, over
as many threads.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sql
import structlog
from rich.console import Console
from rich.table import Table

from bench.calm import CalmCloud
from bench.distance import Distance, distance
from shared.ledger.schema import upgrade_schema
from shared.ledger.tables import chain
from shared.ledger.transactions import Ledger
from shared.loop.drivers import Driver, HubDriver, SpokeDriver
from shared.loop.frame import Frame
from tests.configured import CONFIG_KEYS_TEXT, apply, configuration, sealed
from tests.functional.approvals import approval
from tests.functional.inprocess import Context, events
from tests.functional.launch import without_proxies
from tests.ledger.postgres import Postgres, running

REGION, HUB, SPOKE = "cn-hangzhou", "1000000000000001", "2000000000000002"
ROUTERS = tuple(f"ecr-bench{number}" for number in range(8))
BATCH = 50  # as many approvals as s.yaml lets one event bring
THREADS = 8
HEARD = ("granted", "unwanted")  # what account A's side is woken by, as the topic is subscribed to

say = Console(stderr=True, highlight=False)


@dataclass
class Counted:
    """What was sent to the database."""

    statements: int = 0
    writing: int = 0
    """Transactions that wrote, or asked for a lock."""
    reading: int = 0
    trips: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """Statements by how they begin."""
    _wrote: threading.local = field(default_factory=threading.local)

    def listen(self, engine: sql.Engine) -> None:
        """Count what goes through an engine from now on."""
        sql.event.listen(engine, "before_cursor_execute", self._statement)
        sql.event.listen(engine, "commit", self._end)
        sql.event.listen(engine, "rollback", self._end)

    def _statement(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        words = " ".join(statement.split())
        if words.startswith(
            "BEGIN"
        ):  # with its limits; of one that may write also with the lock of which code is accepted
            self._wrote.yes = "advisory" in words
            return
        self.statements += 1
        begin = words.split(" WHERE ")[0][:20] + " … " + words.partition(" FROM ")[2][:30]
        self.words[begin if words.startswith(("SELECT", "WITH")) else words[:28]] += 1
        if not words.startswith("SELECT") or "FOR UPDATE" in words or "FOR SHARE" in words:
            self._wrote.yes = True

    def _end(self, _connection: object) -> None:
        if getattr(self._wrote, "yes", False):
            self.writing += 1
        else:
            self.reading += 1
        self._wrote.yes = False


@dataclass
class Mail:
    """What the frames publish and send, in place of queues and topics."""

    published: list[tuple[str, str]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def publish(self, _topic: str, body: str, tag: str) -> str:
        """Keep a completion."""
        self.published.append((tag, body))
        return f"message-{next(self._numbers)}"

    def send(self, _queue: str, _body: str, _delay_seconds: int = 0) -> str:
        """A wake, which nobody hears."""
        return f"message-{next(self._numbers)}"

    def take(self) -> list[tuple[str, str]]:
        """What came since the last taking."""
        found, self.published = self.published, []
        return found


class Pair:
    """Both functions' frames over one ledger, and a calm cloud."""

    def __init__(self, url: str) -> None:
        facts = {"owner": "owners", "lead": "leads", "environment": "bench", "name": "bench"}
        accounts = {
            HUB: {**facts, "role": "hub", "external_id": "hub", "ecrs": {one: {} for one in ROUTERS}},
            SPOKE: {**facts, "role": "spoke", "external_id": "spoke"},
        }
        near = Ledger(url)
        apply(near, configuration(accounts))
        near.close()
        os.environ |= {
            "FC_REGION": REGION,
            "LEDGER_URL": url,
            "CONFIG_KEYS": CONFIG_KEYS_TEXT,
            "MODE": "full",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-example-bench",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "example-secret-of-the-bench",
        }
        self.cloud, self.mail, self.counted = CalmCloud(), Mail(), Counted()
        self.frames = [Frame(Context("bench")) for _ in range(2)]
        for frame in self.frames:
            frame.messaging = self.mail  # type: ignore[assignment]  # has what a frame uses of it
            self.counted.listen(frame.ledger.engine)
        # A frame that was just built looks at the schema; that is a cold start's, not a grant's.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        for frame in self.frames:
            frame.check()

    def close(self) -> None:
        """Give the connections back."""
        for frame in self.frames:
            frame.ledger.close()

    def burst(self, documents: Sequence[dict[str, Any]], at_once: int = BATCH) -> None:
        """Approvals become grants and associations, and every completion is published. ``at_once``: how many an event brings."""
        for start in range(0, len(documents), at_once):
            batch = documents[start : start + at_once]
            mail = [(f"M-{one['request_id']}", sealed(one)) for one in batch]
            self._handle(0, SpokeDriver(self.cloud), events(mail))
            heard = [(f"C-{n}", body) for n, (tag, body) in enumerate(self.mail.take()) if tag in HEARD]
            if heard:
                self._handle(1, HubDriver(self.cloud), events(heard, queue="ecr-associations"))
            self.mail.take()

    def _handle(self, which: int, driver: Driver, event: bytes) -> None:
        self.frames[which].run(driver, event, Context("bench"))


def documents(count: int, word: str) -> list[dict[str, Any]]:
    """So many approvals over eight routers."""
    return [
        approval(SPOKE, f"vpc-{word}{number:05d}", ecr={"id": ROUTERS[number % len(ROUTERS)], "owner_uid": HUB})
        for number in range(count)
    ]


@contextlib.contextmanager
def on_postgresql(server: Postgres) -> Iterator[tuple[Pair, Distance]]:
    """Both frames on a fresh database of a server at a distance."""
    name = server.new_database()
    near = Ledger(server.address(name))
    upgrade_schema(near)
    near.close()
    (path,) = server.folder.glob(".s.PGSQL.*[0-9]")
    with distance(str(path)) as far:
        address = sql.make_url(server.address(name))
        url = address.set(host="127.0.0.1", port=far.port, query={"sslmode": "disable"})
        pair = Pair(url.render_as_string(hide_password=False))
        try:
            yield pair, far
        finally:
            pair.close()


@contextlib.contextmanager
def on_sqlite(folder: Path) -> Iterator[Pair]:
    """Both frames on a file."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    ledger = Ledger(url)
    upgrade_schema(ledger)
    ledger.close()
    pair = Pair(url)
    try:
        yield pair
    finally:
        pair.close()


def counted(pair: Pair, far: Distance | None, count: int, at_once: int = BATCH) -> Counted:
    """What one burst sends to the database, after another has filled every cache. ``at_once``: as ``Pair.burst`` has it."""
    known = len(pair.cloud.associations)
    pair.burst(documents(BATCH, f"warm{at_once}"))
    found = pair.counted
    found.statements = found.writing = found.reading = 0
    found.words.clear()
    before = far.trips if far else 0
    pair.burst(documents(count, f"counted{at_once}"), at_once)
    time.sleep(0.2)
    found.trips = (far.trips if far else 0) - before
    missing = known + count + BATCH - len(pair.cloud.associations)
    if missing:
        raise SystemExit(f"{missing} grants were not associated")
    return replace(found, words=found.words.copy())


def rate(pair: Pair, count: int, word: str) -> tuple[float, float]:
    """Grants a second, and milliseconds of processor time for each."""
    burst, before = documents(count, word), len(pair.cloud.associations)
    began, used = time.perf_counter(), time.process_time()
    pair.burst(burst)
    seconds, used = time.perf_counter() - began, time.process_time() - used
    if len(pair.cloud.associations) - before != count:
        raise SystemExit(f"only {len(pair.cloud.associations) - before} of {count} grants were associated")
    return count / seconds, used / count * 1000


def bare(ledger: Ledger, seconds: float = 2.0) -> float:
    """Transactions a second of one statement each, over as many threads: what the distance itself allows."""
    until = time.perf_counter() + seconds
    query = sql.select(chain.c.seq)

    def ask(_number: int) -> int:
        made = 0
        while time.perf_counter() < until:
            with ledger.engine.begin() as connection:
                connection.execute(query)
            made += 1
        return made

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(THREADS))) / seconds


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grants", type=int, default=200, help="grants in each timed burst (default 200)")
    parser.add_argument("--delays", type=float, nargs="*", default=[0, 1, 2], help="milliseconds of a round trip")
    parser.add_argument("--words", action="store_true", help="print which statements they are")
    asked = parser.parse_args()
    without_proxies()
    console = Console(soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="ecr-grants-bench-") as scratch, running() as server:
        folder = Path(scratch)
        with on_postgresql(server) as (pair, far):
            with say.status("counting"):
                found = counted(pair, far, 100)
            each = [one / 100 for one in (found.statements, found.writing, found.reading, found.trips)]
            console.print(
                f"per grant in a burst of 100, both sides: {each[0]:.1f} statements, {each[1]:.1f} transactions that wrote, "
                f"{each[2]:.1f} that read, {each[3]:.1f} round trips"
            )
            if asked.words:
                for words, often in found.words.most_common():
                    console.print(f"  {often / 100:6.2f}  {words}", markup=False)
            table = Table("ledger", "grants a second", "processor ms a grant", "bare transactions a second (peer)")
            for delay in asked.delays:
                far.set(delay)
                with say.status(f"PostgreSQL, {delay:g} ms away"):
                    speed, used = rate(pair, asked.grants, f"far{delay:g}x".replace(".", "p"))
                    peer = bare(pair.frames[0].ledger)
                table.add_row(f"PostgreSQL, +{delay:g} ms", f"{speed:.1f}", f"{used:.1f}", f"{peer:.0f}")
        with on_sqlite(folder) as pair, say.status("SQLite"):
            speed, used = rate(pair, asked.grants, "sqlite")
            table.add_row("SQLite", f"{speed:.1f}", f"{used:.1f}", f"{bare(pair.frames[0].ledger):.0f}")
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
