"""Two workers at once on PostgreSQL: whatever one does between two statements of the other, the ledger is afterwards as if one
had come after the other, and neither waits for the other for ever.

A step here is one transaction that writes. PostgreSQL lets others in between its statements where SQLite does not, so these
interleavings are made there, one by one: the first worker stops before each of its statements, and before its commit, until the
second is done or waits for a lock. Then what is in every table must be what one of the two orders leaves there.

The named pairs and a small sample by default; ``LEDGER_PAIRS=500`` makes a sample of so many, ``LEDGER_PAIRS=all`` all of them.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import LedgerError, NotTheSuccessor, Superseded
from shared.ledger.admission import Judged, admit, reject_message
from shared.ledger.configuration import Kept, apply_version
from shared.ledger.drift import note_drift, note_drift_gone
from shared.ledger.intents import carried_out, intend, resolve, saw
from shared.ledger.operating import adopt, lift_hold, redrive, set_hold, set_mode
from shared.ledger.outbox import mark_published, take_entries
from shared.ledger.outcomes import mark_dead, put_off, refuse, settle, tell_unwanted
from shared.ledger.passing import let_time_pass
from shared.ledger.proof import first_fault
from shared.ledger.tables import events, intents, metadata, sides
from shared.ledger.transactions import Ledger
from shared.ledger.work import claim, give_up, read_work, release
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Drift, DriftKind, Hold, HoldKind, Intent, Mode, Operation, Seen, Side, Work
from tests.functional.waiting import PATIENCE, until
from tests.ledger.conftest import wipe
from tests.ledger.kit import HOUR, NOW, WAITING, Database, check_order, closing, grant_id, key, opening

ID = grant_id()
LATER = NOW + HOUR
"""When the two workers work; everything before it happened at NOW."""
TROUBLE = Reason(code="CloudTrouble", text="the platform failed")
HOLD = Hold(HoldKind.GRANT, ID, everything=True, who="operator", reason="a test", at=LATER)
FIRST, OTHER = (Kept(1, str(digit) * 64, "", f"bundle {digit}", LATER, "operator") for digit in (1, 2))


@dataclass(frozen=True)
class Scene:
    """A ledger in the middle of its life, and what two workers who have just looked at it hold in their hands."""

    rows: dict[str, list[dict[str, Any]]]
    grant: Work
    associate: Work
    intent: Intent


@dataclass(frozen=True)
class Worker:
    """One of the two, with a connection of its own."""

    ledger: Ledger
    scene: Scene


def busy(ledger: Ledger, database: Database) -> None:
    """Two leases on one grant, one of them ending now; both sides claimed, one with trouble."""
    ledger.write(admit, opening("REQ-1"), "message-1", NOW, ledger.timing)
    ledger.write(admit, opening("REQ-2", ends_at=LATER, on_end="teardown"), "message-2", NOW, ledger.timing)
    ledger.write(saw, _read(ledger, Side.GRANT), Seen("present", False), NOW)
    ledger.write(put_off, _read(ledger, Side.GRANT), NOW, WAITING, NOW, ledger.timing, attempt=True)
    ledger.write(claim, ID, Side.GRANT, "one", NOW, LATER + HOUR)
    ledger.write(claim, ID, Side.ASSOCIATE, "two", NOW, LATER + HOUR)


def pending(ledger: Ledger, database: Database) -> None:
    """The busy scene with a write of account A's side still open."""
    busy(ledger, database)
    assert ledger.write(intend, _read(ledger, Side.ASSOCIATE), Operation.ASSOCIATE, NOW, ledger.timing) is not None


def closed(ledger: Ledger, database: Database) -> None:
    """A grant whose only lease is closed and whose association is gone; account A's side is dead, drift was found, and another
    lease is held until now."""
    ledger.write(admit, opening("REQ-1"), "message-1", NOW, ledger.timing)
    for side, state in ((Side.GRANT, "present"), (Side.ASSOCIATE, "ACTIVE")):
        ledger.write(saw, _read(ledger, side), Seen(state, True), NOW)
        work = _read(ledger, side)
        ledger.write(settle, work, EventKind.GRANTED, NOW, association_id=None, served=[], both_sides=True)
    drift = Drift(key(), Side.GRANT, DriftKind.GRANT_MISSING, "the grant is gone")
    assert ledger.write(note_drift, [drift], NOW, generation=1, quiet_since=NOW, repair={drift.kind})
    ledger.write(admit, closing(["REQ-1"]), "message-2", NOW, ledger.timing)
    ledger.write(saw, _read(ledger, Side.ASSOCIATE), Seen("absent", None), NOW)
    ledger.write(mark_dead, _read(ledger, Side.ASSOCIATE), TROUBLE, NOW)
    ledger.write(admit, opening("REQ-3", approved_at=LATER + ledger.timing.skew), "message-3", NOW, ledger.timing)


def _read(ledger: Ledger, side: Side) -> Work:
    work = ledger.write(read_work, ID, side, NOW, ledger.timing)
    assert work is not None
    return work


Step = Callable[[Worker], object]
Pair = tuple[Callable[[Ledger, Database], None], str, str]

STEPS: dict[str, Step] = {
    "open another lease": lambda at: at.ledger.write(admit, opening("REQ-5"), "m", LATER, at.ledger.timing),
    "open the same lease again": lambda at: at.ledger.write(
        admit, opening("REQ-1"), "another", LATER, at.ledger.timing
    ),
    "open another content": lambda at: at.ledger.write(
        admit, opening("REQ-5", prefixes=("10.9.0.0/16",)), "m", LATER, at.ledger.timing
    ),
    "open its name elsewhere": lambda at: at.ledger.write(
        admit, opening("REQ-5", "vpc-2"), "m", LATER, at.ledger.timing
    ),
    "close a lease": lambda at: at.ledger.write(admit, closing(["REQ-1"], "END-1"), "m", LATER, at.ledger.timing),
    "close what may come": lambda at: at.ledger.write(
        admit, closing(["REQ-5", "REQ-6"], "END-2"), "m", LATER, at.ledger.timing
    ),
    "revoke all": lambda at: at.ledger.write(admit, closing("all", "END-3"), "m", LATER, at.ledger.timing),
    "claim": lambda at: at.ledger.write(claim, ID, Side.GRANT, "three", LATER, LATER + HOUR),
    "claim what ran out": lambda at: at.ledger.write(claim, ID, Side.GRANT, "three", LATER + HOUR, LATER + 2 * HOUR),
    "release": lambda at: at.ledger.write(release, ID, Side.GRANT, "one", 0),
    "give up": lambda at: at.ledger.write(give_up, ID, Side.GRANT, "one", LATER),
    "read": lambda at: at.ledger.write(read_work, ID, Side.GRANT, LATER, at.ledger.timing) is not None,
    "let time pass": lambda at: let_time_pass(at.ledger, LATER),
    "intend to grant": lambda at: (
        at.ledger.write(intend, at.scene.grant, Operation.GRANT, LATER, at.ledger.timing) is not None
    ),
    "intend to associate": lambda at: (
        at.ledger.write(intend, at.scene.associate, Operation.ASSOCIATE, LATER, at.ledger.timing) is not None
    ),
    "carry out": lambda at: at.ledger.write(carried_out, at.scene.intent, [], LATER, refused=True),
    "resolve as landed": lambda at: at.ledger.write(resolve, [at.scene.intent], [], LATER),
    "resolve as lost": lambda at: at.ledger.write(resolve, [], [at.scene.intent], LATER),
    "see": lambda at: at.ledger.write(saw, at.scene.associate, Seen("ACTIVE", True, "assoc-1"), LATER),
    "settle the grant": lambda at: at.ledger.write(
        settle, at.scene.grant, EventKind.GRANTED, LATER, association_id=None, served=[], both_sides=True
    ),
    "settle the association": lambda at: at.ledger.write(
        settle, at.scene.associate, EventKind.ASSOCIATED, LATER, association_id="assoc-1", served=[], both_sides=True
    ),
    "wait too long": lambda at: at.ledger.write(
        put_off, at.scene.grant, LATER + 1, WAITING, LATER, at.ledger.timing, attempt=False
    ),
    "say that nobody wants it": lambda at: at.ledger.write(tell_unwanted, at.scene.grant, LATER, let_go=True),
    "refuse": lambda at: at.ledger.write(refuse, at.scene.grant, TROUBLE, LATER),
    "die": lambda at: at.ledger.write(mark_dead, at.scene.grant, TROUBLE, LATER),
    "redrive": lambda at: at.ledger.write(redrive, ID, Side.ASSOCIATE, "operator", LATER),
    "find drift": lambda at: at.ledger.write(
        note_drift,
        [Drift(key(), Side.ASSOCIATE, DriftKind.ASSOCIATION_MISSING, "gone")],
        LATER,
        generation=at.scene.associate.generation,
        quiet_since=LATER,
        repair={DriftKind.ASSOCIATION_MISSING},
    ),
    "find drift gone": lambda at: at.ledger.write(note_drift_gone, ID, Side.GRANT, LATER),
    "adopt": lambda at: at.ledger.write(adopt, ID, Side.GRANT, "operator", LATER),
    "set the mode": lambda at: at.ledger.write(set_mode, Mode.PAUSE_ALL, "operator", LATER),
    "hold": lambda at: at.ledger.write(set_hold, HOLD, LATER),
    "lift": lambda at: at.ledger.write(lift_hold, HOLD.kind, HOLD.name, "operator", LATER),
    "refuse a message": lambda at: at.ledger.write(reject_message, "m-9", "{rotten", TROUBLE, LATER),
    "take entries": lambda at: [entry.seq for entry in at.ledger.write(take_entries, 2, LATER, LATER + HOUR)],
    "publish": lambda at: at.ledger.write(mark_published, [1]),
    "apply a configuration": lambda at: at.ledger.write(
        apply_version, FIRST, signers=["one"], difference=["all of it"], deployment="tests"
    ),
    "apply another": lambda at: at.ledger.write(
        apply_version, OTHER, signers=["two"], difference=["all of it"], deployment="tests"
    ),
    "open under the first one": lambda at: at.ledger.write(
        admit, opening("REQ-7", "vpc-7"), "m", LATER, at.ledger.timing, Judged("seal", 1)
    ),
    "open on a new grant": lambda at: at.ledger.write(admit, opening("REQ-8", "vpc-8"), "m", LATER, at.ledger.timing),
}

# What names the version that it was decided under, and what applies one.
CONFIGURED = (
    "apply a configuration",
    "apply another",
    "open another lease",
    "open on a new grant",
    "open under the first one",
    "let time pass",
    "intend to grant",
    "revoke all",
    "set the mode",
    "refuse a message",
    "take entries",
)
# Where two-lock orders, or a gap between two statements, once made trouble or easily would.
ALWAYS: list[Pair] = [
    (pending, "claim", "release"),
    (pending, "release", "claim"),
    (pending, "open another lease", "open its name elsewhere"),
    (pending, "say that nobody wants it", "open another lease"),
    (pending, "wait too long", "revoke all"),
    (pending, "close what may come", "settle the grant"),
    (pending, "settle the grant", "close what may come"),
    (busy, "intend to grant", "intend to associate"),
    (busy, "intend to grant", "set the mode"),
    (busy, "intend to grant", "hold"),
    (busy, "set the mode", "intend to grant"),
    (pending, "open another lease", "close what may come"),
    (busy, "take entries", "take entries"),
    (busy, "open on a new grant", "hold"),
    (closed, "let time pass", "revoke all"),
    *((closed, "apply a configuration", other) for other in CONFIGURED),
    *((closed, other, "apply a configuration") for other in CONFIGURED if other != "apply a configuration"),
]
SAMPLE = os.environ.get("LEDGER_PAIRS", "8")
_STOPS = 4


def _chosen() -> list[Pair]:
    pairs: list[Pair] = list(itertools.product((busy, pending, closed), STEPS, STEPS))
    # The same sample every time: a test that fails today must not pass tomorrow.
    return pairs if SAMPLE == "all" else ALWAYS + random.Random(4).sample(pairs, int(SAMPLE))  # noqa: S311


def _stops(statements: int) -> list[int]:
    """Before which statements of the first worker the second comes: some of them, spread by chance."""
    every = list(range(1, statements + 1))
    return every if len(every) <= _STOPS else sorted(random.Random(statements).sample(every, _STOPS))  # noqa: S311


@pytest.fixture(scope="module")
def scenes(shared_database: Database) -> dict[str, Scene]:
    """Every scene, played once; afterwards its rows are put back for each pair."""
    made = {}
    open_write: Intent | None = None
    for play in (pending, busy, closed):  # the open write of the first is an unknown one in the others
        wipe(shared_database)
        ledger = Ledger(shared_database.url)
        play(ledger, shared_database)
        open_write = open_write or _read(ledger, Side.ASSOCIATE).my_intents[0]
        rows = _rows(shared_database)
        made[play.__name__] = Scene(rows, _read(ledger, Side.GRANT), _read(ledger, Side.ASSOCIATE), open_write)
        ledger.close()
    return made


def _rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.connected() as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(sql.select(table))]
            for table in metadata.sorted_tables
        }


class Stage:
    """One database on which two workers meet, again and again from the same scene."""

    def __init__(self, database: Database, scene: Scene) -> None:
        self._database = database
        self._scene = scene
        self.first = Worker(Ledger(database.url), scene)
        self.second = Worker(Ledger(f"{database.url}&application_name=second"), scene)
        self.statements = 0
        """How many statements, the commits among them, the first worker has made on its way."""
        self._stop: tuple[int, Callable[[], None]] | None = None
        sql.event.listen(self.first.ledger.engine, "before_cursor_execute", self._before)
        sql.event.listen(self.first.ledger.engine, "commit", self._before)

    def close(self) -> None:
        """Give the connections back."""
        self.first.ledger.close()
        self.second.ledger.close()

    def _before(self, *_: object) -> None:
        self.statements += 1
        if self._stop is not None and self.statements == self._stop[0]:
            self._stop[1]()

    def one_after_the_other(self, one: Step, other: Step) -> tuple[object, ...]:
        """What the two leave behind without any overlap: the tables, and what each of them got."""
        self._set()
        first = _got(one, self.first)
        return self._left(first, _got(other, self.second))

    def the_other_first(self, one: Step, other: Step) -> tuple[object, ...]:
        """The same in the other order."""
        self._set()
        second = _got(other, self.second)
        return self._left(_got(one, self.first), second)

    def meet(self, one: Step, other: Step, stop_at: int) -> tuple[object, ...]:
        """The second worker comes when the first is about to make its n-th statement."""
        self._set()
        returned: list[object] = []
        worker = threading.Thread(target=lambda: returned.append(_got(other, self.second)))

        def halt() -> None:
            worker.start()
            self._until_done_or_waiting(worker)

        self._stop = (stop_at, halt)
        try:
            first = _got(one, self.first)
        finally:
            self._stop = None
        worker.join(PATIENCE)
        assert returned, "the second worker never came back"
        return self._left(first, returned[0])

    def _until_done_or_waiting(self, worker: threading.Thread) -> None:
        waiting = sql.text(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'second' AND wait_event_type = 'Lock'"
        )

        def done_or_waiting() -> bool:
            with self._database.connected() as connection:
                return not worker.is_alive() or connection.execute(waiting).first() is not None

        until(done_or_waiting, "the second worker is done or waits", meanwhile=lambda: worker.join(0.001))

    def _set(self) -> None:
        """Put the scene's rows back."""
        self.statements = 0
        with self._database.connected() as connection:
            names = ", ".join(table.name for table in metadata.sorted_tables)
            connection.exec_driver_sql(f"TRUNCATE {names}")
            for table in metadata.sorted_tables:
                if self._scene.rows[table.name]:
                    connection.execute(table.insert(), self._scene.rows[table.name])

    def _left(self, first: object, second: object) -> tuple[object, ...]:
        """Everything that can be seen afterwards, but for the random names of new intents."""
        tables = self._database.everything()
        tables["intents"] = sorted((row[1:] for row in tables["intents"]), key=repr)
        return tables, first, second


def _got(step: Step, worker: Worker) -> object:
    """What a worker got, be it trouble; of what is to be decided again, the kind."""
    try:
        return step(worker)
    except (NotTheSuccessor, Superseded) as error:
        return type(error)
    except LedgerError as error:
        return error


@pytest.mark.parametrize(
    ("play", "one", "other"),
    [pytest.param(*chosen, id=f"{chosen[0].__name__}: {chosen[1]} / {chosen[2]}") for chosen in _chosen()],
)
def test_two_at_once_are_one_after_the_other(
    play: Callable[..., None], one: str, other: str, scenes: dict[str, Scene], shared_database: Database
) -> None:
    """At whatever moment the second worker comes, both get through, and what they leave is what one of the two orders leaves."""
    stage = Stage(shared_database, scenes[play.__name__])
    try:
        orders = [stage.the_other_first(STEPS[one], STEPS[other]), stage.one_after_the_other(STEPS[one], STEPS[other])]
        check_order(stage.second.ledger, shared_database)
        for stop_at in _stops(stage.statements):
            left = stage.meet(STEPS[one], STEPS[other], stop_at)
            assert not any(isinstance(each, LedgerError) for each in left), f"at statement {stop_at}: {left[1:]}"
            assert left in orders, f"at statement {stop_at} one saw half of the other's work"
    finally:
        stage.close()


def test_the_record_verifies_while_it_grows(shared_database: Database) -> None:
    """An event that is added between two reads of verify is no fault."""
    wipe(shared_database)
    ledger, writer = Ledger(shared_database.url), Ledger(shared_database.url)
    numbers = itertools.count()

    def write(*_: object) -> None:
        number = next(numbers)
        if number < 5:
            writer.write(admit, opening(f"REQ-{number}"), "m", NOW, writer.timing)

    sql.event.listen(ledger.engine, "before_cursor_execute", write)
    try:
        assert ledger.read(first_fault, [], None) is None
    finally:
        ledger.close()
        writer.close()
    assert shared_database.count(events) == next(numbers) - 1 or shared_database.count(events) == 5


@pytest.fixture(scope="module", autouse=True)
def left_clean(shared_database: Database) -> Iterator[None]:
    """The tests after these find an empty ledger."""
    yield
    wipe(shared_database)
    assert shared_database.count(sides) == shared_database.count(intents) == 0
