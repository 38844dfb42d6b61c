"""Does history cost anything? What the hot operations read in a ledger with a long past, beside one with the same open work.

    python -m bench.history
    python -m bench.history --past 20000 --events 200000 --database sqlite       a quick one

Both ledgers live the same open work through the product's own loops, converge and reconcile, over a cloud in memory. Behind one
of them lies a past: a tenth of it on each of the three grants that the work is about, the rest on many others. Then both do the
same things twelve times, so that PostgreSQL also plans for good what it plans for good (at the eleventh time).

Counted, not timed. On SQLite: the steps of its virtual machine. On PostgreSQL: index entries that are read, and rows of tables
that are read whole, in each transaction. A table with less than a hundred rows may be read whole: what it holds is no past. But
the ledger without a past, all of whose tables are so small, goes by indexes wherever it can, for else it would hide what a past
costs. Exit code 1 when an operation takes more than 1.2 times as much with a past, and more than two rows (two dozen steps) each
time.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import sqlalchemy as sql
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy.engine import Connection

from bench.calm import CalmCloud
from bench.past import Past, analyse, live_elsewhere, live_on
from shared.errors import PermissionMissing, Throttled
from shared.ledger.admission import admit
from shared.ledger.operating import dead_rows, redrive
from shared.ledger.outbox import mark_published, take_entries
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from shared.ledger.views import grant_ids, view_grants
from shared.ledger.waiting import dead_requests
from shared.loop.converge import Converge
from shared.loop.drivers import Driver, HubDriver, SpokeDriver
from shared.loop.gate import Gate
from shared.loop.reconcile import Reconcile, Report
from shared.loop.visits import Outcome
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.seal import read_seal
from shared.rules.configuration import Configuration
from shared.rules.facts import Mode, Side
from shared.settings import Settings
from tests.configured import CONFIG_KEYS, CONFIG_KEYS_TEXT, apply, configuration, sealed
from tests.ledger.kit import HOUR, NOW, Database, closing, grant_id, key, opening
from tests.ledger.postgres import running

PROMISED = 1.2
ROUNDS = 12
TINY = {"sqlite": 24, "postgresql": 2}
"""What an operation may take more each time without being looked at: two rows, or as many steps as it takes to read two."""
SMALL = 100
"""A table with fewer rows, as PostgreSQL knew when it was last analysed, may be read whole."""
UNIT = {"sqlite": "steps", "postgresql": "rows"}
BUSY, DYING, MISSING, ELSEWHERE, STRANGER = "vpc-busy", "vpc-dying", "vpc-missing", "vpc-elsewhere", "vpc-stranger"
STANDING = tuple(f"vpc-standing{number}" for number in range(10))
DAY = 24 * HOUR

P = ParamSpec("P")
T = TypeVar("T")

say = Console(stderr=True, highlight=False)


# -- counting ------------------------------------------------------------------------------------------------------

_READ = sql.text(
    "SELECT sum(pg_stat_get_xact_tuples_returned(pg_class.oid)) FROM pg_class"
    " JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = 'public'"
    " AND (relkind = 'i' OR relkind = 'r' AND reltuples >= :small)"
).bindparams(small=SMALL)


class CountingLedger(Ledger):
    """The real ledger, and what each of its functions reads while somebody wants to know."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.counts: Counter[str] = Counter()
        self._doing: str | None = None
        self._read_so_far = 0
        if self.engine.dialect.name == "sqlite":
            sql.event.listen(self.engine, "connect", lambda raw, _: raw.set_progress_handler(self._step, 1))
        else:
            sql.event.listen(self.engine, "begin", lambda connection: self._count(connection, -1))
            sql.event.listen(self.engine, "commit", lambda connection: self._count(connection, 1))

    def write(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._counted(function.__name__):
            return super().write(function, *args, **kwargs)

    def read(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        with self._counted(function.__name__):
            return super().read(function, *args, **kwargs)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Count what is done in this block under this name."""
        self._doing = what
        try:
            yield
        finally:
            self._doing = None

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        before = self._read_so_far
        yield
        if self._doing is not None:
            self.counts[f"{self._doing}: {name.strip('_')}"] += self._read_so_far - before

    def _step(self) -> int:
        self._read_so_far += 1
        return 0

    def _count(self, connection: Connection, sign: int) -> None:
        """The server counts by connection, and hands in from time to time what was before: so the difference counts.

        Only while somebody wants to know: a transaction that says how isolated it is must say so before any query.
        """
        if self._doing is None:
            return
        self._read_so_far += sign * int(connection.execute(_READ).scalar_one() or 0)


# -- the product, around a ledger ------------------------------------------------------------------------------------


def _configuration() -> Configuration:
    facts = {"owner": "owners@example.com", "environment": "bench"}
    accounts = {
        uid: {**facts, "name": uid, "role": "bench", "external_id": f"bench:{uid}", "ecrs": {ecr: {} for ecr in ecrs}}
        for uid, ecrs in ((key().ecr_owner_uid, [key().ecr_id]), (key().instance_owner_uid, []))
    }
    return configuration(accounts, issuers={"tests": {}})


@dataclass
class House:
    """What a deployment does, by hand: messages come, both sides are visited, the timer ticks, completions go out."""

    ledger: CountingLedger
    cloud: CalmCloud = field(default_factory=CalmCloud)
    now: int = NOW
    settings: Settings = field(
        default_factory=lambda: Settings.model_validate(
            {
                "FC_REGION": key().instance_region,
                "LEDGER_URL": "sqlite://",
                "CONFIG_KEYS": CONFIG_KEYS_TEXT,
                "MODE": "full",
                "DRIFT_REPAIR": "none",
            }
        )
    )
    woken: list[tuple[str | None, Side]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """What an operator decides."""
        apply(self.ledger, _configuration())
        self.gate = Gate(self.ledger, CONFIG_KEYS, 1, self.clock)
        self.gate.look()

    def clock(self) -> int:
        """The present."""
        return self.now

    def receive(self, approval: GrantApproval | RevokeApproval, message_id: str) -> None:
        """A message with an approval, sealed now."""
        seal = read_seal(json.loads(sealed(approval.model_dump_json(by_alias=True), at=self.now / 1000)))
        standing, timing = self.gate.standing, self.ledger.timing
        opened = self.gate.open(standing, seal)
        judged = self.gate.judge(standing, seal, opened, timing)
        self.ledger.write(admit, opened, message_id, self.now, timing, judged)

    def visit(self, vpc: str, *sides: Side) -> None:
        """Visit these sides, or both until nothing is left to do; time passes, so that every look can be trusted."""
        if sides:
            for side in sides:
                self._visit(vpc, side)
            return
        for _ in range(6):
            if {self._visit(vpc, side) for side in Side} == {Outcome.SETTLED}:
                return
        raise SystemExit(f"{vpc} does not settle")

    def _visit(self, vpc: str, side: Side) -> Outcome:
        self.now += HOUR
        driver: Driver = SpokeDriver(self.cloud) if side is Side.GRANT else HubDriver(self.cloud)
        converge = Converge(
            self.ledger,
            driver,
            self.gate,
            worker="bench",
            mode=Mode.FULL,
            clock=self.clock,
            settle_ms=self.ledger.timing.settle,
            claim_ms=60_000,
        )
        return converge.visit(grant_id(vpc)).outcome

    def tick(self) -> Report:
        """The timer. Nothing may be in trouble."""
        self.now += HOUR
        report = Reconcile(self, self.cloud, clock=self.clock).run()
        if report.trouble or report.left:
            raise SystemExit(f"reconcile: {report.trouble or report.left}")
        return report

    def publish(self) -> None:
        """Send what the outbox holds, to nobody."""
        while entries := self.ledger.write(take_entries, 20, self.now, self.now + HOUR):
            for entry in entries:
                self.ledger.write(mark_published, [entry.seq])

    def wake(self, grant_id: str | None, side: Side, _next_at: int) -> None:
        """Have somebody look at a grant."""
        self.woken.append((grant_id, side))

    def lists(self) -> None:
        """`ecr-grants grants` and `ecr-grants dead list`."""
        self.ledger.read(view_grants, self.ledger.read(grant_ids, history=False))
        self.ledger.read(dead_rows)
        self.ledger.read(dead_requests)

    def live(self, name: str, vpc: str) -> None:
        """One life of a lease: it comes up, is closed, and goes."""
        self.receive(opening(name, vpc), f"message-{name}-{vpc}")
        self.visit(vpc)
        self.receive(closing([name], f"{name}-END", vpc), f"message-{name}-{vpc}-end")
        self.visit(vpc)
        self.publish()


# -- what is done ------------------------------------------------------------------------------------------------------


def open_work(house: House) -> None:
    """What is there before anything is measured: lives to copy, and grants that stand."""
    for vpc in (BUSY, DYING, MISSING, ELSEWHERE, STRANGER):
        house.live("PAST", vpc)
    for vpc in STANDING:
        house.receive(opening("REQ-1", vpc), f"message-{vpc}")
        house.visit(vpc)
    house.receive(opening("EARLY", STANDING[0], approved_at=house.now + 1_000 * DAY), "message-early")
    house.publish()


def one_round(house: House, number: int) -> None:
    """Every hot operation, on the grants with most of the past."""
    _comes_and_stays(house, f"REQ-{number}")
    _drifts(house)
    _goes(house, f"REQ-{number}")
    _ends(house, f"ENDS-{number}")
    _fails(house, f"BAD-{number}")


def _comes_and_stays(house: House, name: str) -> None:
    doing, first = house.ledger.doing, opening(name, BUSY, approved_at=house.now)
    with doing("a new approval"):
        house.receive(first, f"message-{name}")
    with doing("its message again"):
        house.receive(first, f"message-{name}")
    with doing("reconcile, work open"):
        house.tick()
    house.cloud.trouble[key(BUSY)] = Throttled("slow down")
    with doing("a visit that is put off"):
        house.visit(BUSY, Side.GRANT)
    del house.cloud.trouble[key(BUSY)]
    with doing("visits that bring up"):
        house.visit(BUSY)
    with doing("publishing"):
        house.publish()
    with doing("asked again, up"):
        house.receive(first, f"message-{name}-again")
    more = opening(f"{name}-MORE", BUSY, approved_at=house.now, prefixes=("10.21.0.0/16",))
    with doing("a second lease"):
        house.receive(more, f"message-{name}-more")
    with doing("visits that change routes"):
        house.visit(BUSY)
    with doing("reconcile, all at rest"):
        house.tick()
    with doing("lists"):
        house.lists()


def _drifts(house: House) -> None:
    doing, cloud = house.ledger.doing, house.cloud
    cloud.granted.remove(key(BUSY))
    cloud.granted.add(key(STRANGER))
    with doing("reconcile, drift found"):
        found = house.tick().drift
    cloud.granted.add(key(BUSY))
    cloud.granted.remove(key(STRANGER))
    with doing("reconcile, drift gone"):
        gone = house.tick().gone
    if sum(found.values()) != 2 or gone != 2:
        raise SystemExit(f"reconcile: found {found}, {gone} gone, two of each were there")


def _goes(house: House, name: str) -> None:
    doing = house.ledger.doing
    with doing("a revoke by name"):
        house.receive(closing([name], f"{name}-END", BUSY, approved_at=house.now), f"message-{name}-end")
    with doing("a revoke of all"):
        house.receive(closing("all", f"{name}-ALL", BUSY, approved_at=house.now), f"message-{name}-all")
    with doing("visits that take down"):
        house.visit(BUSY)
    with doing("asked again, closed"):
        house.receive(opening(f"{name}-MORE", BUSY, approved_at=house.now), f"message-{name}-last")
    house.publish()


def _ends(house: House, name: str) -> None:
    house.now += HOUR
    lease = opening(name, BUSY, approved_at=house.now, ends_at=house.now + 3 * DAY, on_end="teardown")
    early = opening(f"{name}-EARLY", BUSY, approved_at=house.now + DAY)
    house.receive(lease, f"message-{name}")
    with house.ledger.doing("an early approval"):
        house.receive(early, f"message-{name}-early")
    house.visit(BUSY)
    house.now += 2 * DAY
    with house.ledger.doing("reconcile, dates come"):
        house.tick()
    house.receive(closing([f"{name}-EARLY"], f"{name}-END", BUSY, approved_at=house.now), f"message-{name}-end")
    house.visit(BUSY)
    house.now += DAY
    with house.ledger.doing("reconcile, an end comes"):
        report = house.tick()
    if report.due != 1:
        raise SystemExit(f"reconcile: {report.due} grants were due, expected one")
    house.visit(BUSY)
    house.publish()


def _fails(house: House, name: str) -> None:
    doing = house.ledger.doing
    house.cloud.missing.add(key(MISSING))
    house.receive(opening(name, MISSING, approved_at=house.now), f"message-{name}-missing")
    with doing("a visit that refuses"):
        house.visit(MISSING, Side.GRANT)
    house.cloud.trouble[key(DYING)] = PermissionMissing("permission is missing")
    dying = opening(name, DYING, approved_at=house.now)
    house.receive(dying, f"message-{name}")
    with doing("a visit that dies"):
        house.visit(DYING, Side.GRANT)
    with doing("asked again, dead"):
        house.receive(dying, f"message-{name}-again")
    with doing("lists, one dead"):
        house.lists()
    del house.cloud.trouble[key(DYING)]
    with doing("redriving"):
        house.ledger.write(redrive, grant_id(DYING), Side.GRANT, "bench", house.now)
    house.visit(DYING)
    house.receive(closing([name], f"{name}-END", DYING, approved_at=house.now), f"message-{name}-end")
    house.visit(DYING)
    house.publish()


# -- two ledgers, and what they took -----------------------------------------------------------------------------------


def measured(database: Database, past: Past | None, progress: Progress) -> dict[str, int]:
    """What each operation takes in all rounds, in a ledger with this past, or with none."""
    what = f"{database.kind}, {'no' if past is None else 'a long'} past"
    ledger = CountingLedger(database.url)
    upgrade_schema(ledger)
    house = House(ledger)
    open_work(house)
    ledger.close()
    if past is not None:
        task = progress.add_task(f"{what}: filling", total=past.leases + past.events)
        fill(database, past, lambda done: progress.advance(task, done))
    analyse(database)
    if past is None and database.kind == "postgresql":
        with database.connected() as connection:
            name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET enable_seqscan = off")
    task = progress.add_task(f"{what}: measuring", total=ROUNDS)
    for number in range(ROUNDS):
        one_round(house, number)
        progress.advance(task)
    ledger.close()
    return dict(ledger.counts)


def fill(database: Database, past: Past, done: Callable[[int], None]) -> None:
    """A tenth of the past on each of the grants that the work is about, the rest on others."""
    tenth, hard = past.part(10), (BUSY, DYING, STRANGER)
    for vpc in hard:
        live_on(database, grant_id(vpc), tenth, done)
    rest = Past(past.leases - len(hard) * tenth.leases, past.events - len(hard) * tenth.events)
    live_elsewhere(database, grant_id(ELSEWHERE), rest, done)


@contextmanager
def databases(kind: str) -> Iterator[tuple[Database, Database]]:
    """Two empty databases of a kind, gone with the block."""
    with ExitStack() as stack:
        if kind == "sqlite":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ecr-grants-bench-")))
            urls = [f"sqlite:///{folder / name}.db" for name in ("without", "with")]
        else:
            server = stack.enter_context(running())
            urls = [server.address(server.new_database()) for _ in range(2)]
        without, behind = (Database(kind, url) for url in urls)
        stack.callback(without.close)
        stack.callback(behind.close)
        yield without, behind


def compare(kind: str, past: Past) -> list[str]:
    """Measure one database and print its table. Returns what took more than it may."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with databases(kind) as (without, behind), Progress(*columns, console=say) as progress:
        before = measured(without, None, progress)
        after = measured(behind, past, progress)
    unit, faults = UNIT[kind], []
    title = f"{kind}: {unit} in {ROUNDS} rounds, {past.leases} past leases and {past.events} past events"
    table = Table("operation", "no past", "with it", "ratio", title=title)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in before | after:
        one, other = before.get(name, 0), after.get(name, 0)
        ratio = other / max(1, one)
        much = other > PROMISED * one + TINY[kind] * ROUNDS
        if much:
            faults.append(f"{kind}, {name}: {other} {unit} with a past, {one} without")
        table.add_row(f"[red]{name}" if much else name, str(one), str(other), f"{ratio:.2f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return faults


def main() -> int:
    """Compare and print; 0 when no operation takes more for its past."""
    words = argparse.ArgumentParser(
        prog="python -m bench.history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    few = "with less than some 20000 PostgreSQL still reads tables whole, and is found at fault"
    words.add_argument("--past", type=int, default=100_000, help=f"past leases (default: 100000); {few}")
    words.add_argument("--events", type=int, default=1_000_000, help="past events (default: 1000000)")
    words.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    asked = words.parse_args()
    if not (100 <= asked.past <= 1_000_000 and asked.past <= asked.events <= 10_000_000):
        words.error("100 <= past <= 1000000, past <= events <= 10000000")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # like Ctrl-C: with everything stopped and removed
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    faults = []
    for kind in ("sqlite", "postgresql") if asked.database == "both" else (asked.database,):
        faults += compare(kind, Past(asked.past, asked.events))
    for fault in faults:
        print(f"FAULT: {fault}")
    if not faults:
        print(f"OK: at most {PROMISED:g} times as much was promised")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
