"""The machine of the model test: the real ledger, loop and reconcile in a world where everything that can go wrong does.

It plays schedules (``model_schedule``): approvals sent, delivered, doubled and replayed; workers that are stopped at every
boundary, left, and killed; time, trouble, modes, and what others do. Now and then, and at the end, trouble stops and
everything is delivered; then the model cloud must be what the approvals say and the record whole (``model_judge``), and
nothing on the way may have broken a rule (``referee``).
"""

from __future__ import annotations

import json
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from shared.errors import LedgerError
from shared.ledger.operating import dead_rows, redrive
from shared.ledger.rows import work_of
from shared.ledger.schema import upgrade_schema
from shared.messages.completion import WAKE
from shared.messages.forms import GrantKey
from shared.rules.facts import HoldKind, Mode, Side
from tests.chaos.asking import Asking
from tests.chaos.desk import Mail
from tests.chaos.model_judge import judge
from tests.chaos.model_schedule import OFTEN, Op, Schedule
from tests.chaos.model_world import (
    LIMIT_MS,
    MINUTE,
    SECOND,
    SETTLE_MS,
    TIMING,
)
from tests.chaos.operators import SAID, decide_well, lift, set_mode_to
from tests.chaos.others import automate, meddle
from tests.chaos.parts import ModelLedger, Parts
from tests.chaos.people import PEOPLES
from tests.chaos.resting import hear_of_the_dead, unrest, wait_for_the_window
from tests.chaos.story import short
from tests.chaos.turns import START, TROUBLES, Luck, Violation, Worker

PASSES = (
    500,
    *[3 * SECOND] * 5,
    10 * SECOND,
    20 * SECOND,
    40 * SECOND,
    50 * SECOND,
    MINUTE,
    MINUTE,
    5 * MINUTE,
    20 * MINUTE,
)
REST = (4, 4, 20, 55, 75, 75, 300, 300, 600, 1200, 1200, 1200, 3600, 3600, 3600, 3600)
STOPS = ("before a write", "before a write", "after a write", "after a read", "after a read", "before publishing")
_OPEN_WORKERS = 3
_LONG_QUEUE = 12


@contextmanager
def opened(parts: Parts) -> Iterator[ModelLedger]:
    """A ledger on a file of its own."""
    with tempfile.TemporaryDirectory(prefix="ecr-grants-model-") as directory:
        ledger = ModelLedger(f"sqlite:///{Path(directory) / 'ledger.db'}", TIMING, parts.instead)
        upgrade_schema(ledger)
        yield ledger
        ledger.close()


class Machine(Asking):
    """Plays a story: operations are applied one by one; ``rest`` and ``close`` judge."""

    def __init__(self, schedule: Schedule, parts: Parts, ledger: ModelLedger, counts: Counter[str]) -> None:
        super().__init__(schedule, parts, ledger, counts)
        self._hired = 0
        for _ in range(schedule.strangers):
            meddle(self, Op("before"), self.keys[0])

    # -- operations --------------------------------------------------------------------------------------------------

    def apply(self, op: Op) -> bool:
        """Do one operation. Says whether there was anything to do. Raises Violation."""
        self.turns.luck = Luck(op.luck)
        random.seed(op.luck)  # the loop spreads its times to try again by it
        self.trace.append(f"{op.kind} {op.a} {op.b} {op.c} luck {op.luck}, {self.turns.now - START} ms after the start")
        said = SAID.get(op.kind) or PEOPLES.get(op.kind)
        did = bool(said(self, op) if said is not None else getattr(self, f"_op_{op.kind}")(op))
        self.counts[f"op {op.kind}"] += did
        self.counts["steps"] += did
        for worker in [one for one in self.workers if one.until <= self.turns.now]:
            self._let(worker, worker.kill)
        if faults:
            raise Violation(f"an unexpected error in the loop: {faults.pop()}")
        return did

    def _op_deliver(self, op: Op) -> bool:
        side, mails = self._mails(op)
        if mails:
            worker = self._hired_worker(op.c // 12 % 24 if op.c % 12 == 0 else None)
            self._let(worker, lambda: worker.inline(lambda: self._handle(side, mails)))
        return bool(mails)

    def _op_flow(self, op: Op) -> bool:
        """A little time, and everything that is due to both sides."""
        self.turns.turn((0, 0, 3 * SECOND, 3 * SECOND, 10 * SECOND)[op.b % 5])
        for side in (Side.GRANT, Side.ASSOCIATE) if op.a % 2 else (Side.ASSOCIATE, Side.GRANT):
            mails = [mail for mail in self.post.queues[side] if mail.due <= self.turns.now][:8]
            if mails:
                worker = self._hired_worker(None)
                self._let(worker, lambda: worker.inline(lambda: self._handle(side, mails)))  # noqa: B023  # run at once
        return True

    def _op_open(self, op: Op) -> bool:
        side, mails = self._mails(op)
        if op.c % 3 == 0:  # somebody looks, for no reason
            key = self.keys[op.a % len(self.keys)]
            mails = [self.post.put(side, json.dumps({"schema": WAKE, "grant_id": key.grant_id}), self.turns.now)]
        if not mails or len(self.workers) >= _OPEN_WORKERS:
            return False
        worker = self._hired_worker(None)
        if op.c % 8 == 0:
            worker.start(self.desk.reconcile)
            self.say(f"{worker.name} starts a tick")
        else:
            worker.start(lambda: self._handle(side, mails))
        self.workers.append(worker)
        self._on(worker, STOPS[op.luck % len(STOPS)], op.b // 2 % 40)
        return True

    def _op_hear(self, op: Op) -> bool:
        """Somebody of the grant function begins to hear what people said, and stands still in the middle of it."""
        if len(self.workers) >= _OPEN_WORKERS:
            return False
        mail = self.post.put(Side.GRANT, json.dumps({"schema": WAKE}), self.turns.now)
        worker = self._hired_worker(None)
        worker.start(lambda: self._handle(Side.GRANT, [mail]))
        self.workers.append(worker)
        self._on(worker, "nowhere", op.b % 16)
        return True

    def _on(self, worker: Worker, where: str, most: int) -> None:
        """Let a worker go on until it comes to such a place, or ends, or has gone far enough."""
        for _ in range(most):
            if worker.done:
                return
            self._let(worker, worker.go)
            if worker.where == where:
                return

    def _mails(self, op: Op) -> tuple[str, list[Mail]]:
        """A batch of what is due, in any order."""
        due = {side: [mail for mail in queue if mail.due <= self.turns.now] for side, queue in self.post.queues.items()}
        side = (Side.GRANT, Side.ASSOCIATE)[op.b % 2]
        if not due[side]:
            side = Side.ASSOCIATE if side == Side.GRANT else Side.GRANT
        mails = due[side]
        first = op.a % max(len(mails), 1)
        self.counts["delivered out of order"] += first > 0
        return side, mails[first : first + 1 + op.c % 2]

    def _hired_worker(self, fuse: int | None) -> Worker:
        self._hired += 1
        now = self.turns.now
        worker = Worker(f"w{self._hired}", self.referee.count, now, now + LIMIT_MS, fuse)
        worker.said, worker.knew = self.turns.said, len(self.versions) - 1
        return worker

    def _handle(self, side: str, mails: list[Mail]) -> None:
        worker = self.turns.worker
        self.say(f"{worker.name if worker else ''} handles {len(mails)} for {side}: {', '.join(map(short, mails))}")
        self.desk.handle(side, mails)
        for mail in mails:
            if self.turns.luck.strikes(self.turns.trouble.unsent):
                self.counts["delivered twice"] += 1
            elif mail in self.post.queues[side]:
                self.post.queues[side].remove(mail)

    def _let(self, worker: Worker, step: Callable[[], None]) -> None:
        """Let a worker act. A ledger that is away ends its invocation; the messages come back."""
        try:
            self.turns.run(worker, step)
        except LedgerError:
            self.counts["invocation failed"] += 1
        if worker.done and worker in self.workers:
            self.workers.remove(worker)
        if worker.died_at is not None:
            self.say(f"{worker.name} dies {worker.died_at}")

    def _op_step(self, op: Op) -> bool:
        if not self.workers:
            return False
        worker = self.workers[op.a % len(self.workers)]
        self._let(worker, worker.go)
        if op.c % 4 == 0 and not worker.done:
            self._on(worker, STOPS[op.b % len(STOPS)], op.b // 8 % 20)
        return True

    def _op_finish(self, op: Op) -> bool:
        if not self.workers:
            return False
        worker = self.workers[op.a % len(self.workers)]
        while not worker.done:
            self._let(worker, worker.go)
        return True

    def _op_kill(self, op: Op) -> bool:
        if not self.workers:
            return False
        worker = self.workers[op.a % len(self.workers)]
        self._let(worker, worker.kill)
        return True

    def _op_tick(self, op: Op) -> bool:
        worker = self._hired_worker(op.a // 8 % 30 if op.a % 8 == 0 else None)
        self._let(worker, lambda: worker.inline(self.desk.reconcile))
        return True

    def _op_turn(self, op: Op) -> bool:
        self.turns.turn(PASSES[op.a % len(PASSES)])
        for queue in self.post.queues.values():
            wakes = [mail for mail in queue if mail.document is None and mail.message_id not in self.rubbish]
            for mail in wakes[: max(0, len(wakes) - _LONG_QUEUE)]:
                queue.remove(mail)
        return True

    def _op_trouble(self, op: Op) -> bool:
        name = OFTEN[op.a % len(OFTEN)]
        self.turns.trouble = TROUBLES[name]
        self.counts[f"trouble {name}"] += 1
        return True

    def _op_robot(self, op: Op) -> bool:  # noqa: ARG002  # operations are alike
        automate(self)
        return True

    # -- rest and judgement --------------------------------------------------------------------------------------------

    def _op_rest(self, op: Op) -> bool:
        self.rest()
        if meddle(self, op, self.keys[op.b % len(self.keys)]) and op.a % 2:
            expected = dict(self.touched)
            self.rest(expected)
        return True

    def close(self) -> None:
        """The end of the schedule: rest, and be judged. Raises Violation."""
        self.turns.luck = Luck(0)
        self.trace.append("the end")
        self.rest()

    def kill_all(self) -> None:
        """End every thread."""
        for worker in list(self.workers):
            self._let(worker, worker.kill)

    def rest(self, expected: dict[GrantKey, tuple[int, set[str]]] | None = None) -> None:
        """Trouble stops, everything is delivered, ticks pass. Then everything must be as it should be."""
        self.turns.trouble = TROUBLES["calm"]
        self.turns.luck = Luck(0)
        for worker in list(self.workers):
            while not worker.done:
                self._let(worker, worker.go)
        hear_of_the_dead(self)
        decide_well(self)
        for kind, name, _ in self.turns.said.holds:
            lift(self, HoldKind(kind), name)
        set_mode_to(self, Mode.FULL)
        if self.windowed:
            wait_for_the_window(self)
        self._come_to_rest()
        self.turns.turn(SETTLE_MS)  # what is older than this is no longer doubtful, so drift can be told
        self._come_to_rest()
        judge(self, expected or {})
        self.counts["rests judged"] += 1

    def _come_to_rest(self) -> None:
        """Ticks pass until nothing is left to do, each with everything delivered that it sends."""
        self._tick()
        for seconds in REST:
            self._deliver_all()
            if not unrest(self):
                return
            for row in self.ledger.read(dead_rows):
                down = self.ledger.read(
                    work_of, row.key.grant_id
                ).wanted.down  # which ends well without an instance, too
                hopeless = row.reason.code == "ProofBroken" and self.should(row.key).doubtful
                if (down or self.cloud.places[row.key].exists.now) and not hopeless:
                    self.ledger.write(redrive, row.key.grant_id, row.side, "somebody", self.turns.now)
                    self.counts["redriven"] += 1
            self.turns.turn(seconds * SECOND)
            self._tick()
        raise Violation(f"it never came to rest: {unrest(self)}")

    def _tick(self) -> None:
        worker = self._hired_worker(None)
        self._let(worker, lambda: worker.inline(self.desk.reconcile))

    def _deliver_all(self) -> None:
        automate(self)
        for _ in range(50):
            due = [
                (side, [mail for mail in queue if mail.due <= self.turns.now][:8])
                for side, queue in self.post.queues.items()
            ]
            if not any(mails for _, mails in due):
                return
            for side, mails in due:
                if mails:
                    worker = self._hired_worker(None)
                    self._let(worker, lambda: worker.inline(lambda: self._handle(side, mails)))  # noqa: B023  # run at once
        raise Violation("messages wake each other without an end")


FAULTS = ("consent.failed", "grant.failed", "message.failed", "batch.failed", "reconcile.failed")
faults: list[str] = []
"""Errors that the loop under test did not expect, as its log tells of them."""


@contextmanager
def listening() -> Iterator[None]:
    """Nothing is logged meanwhile, and errors that the loop did not expect are noted."""
    before = structlog.get_config()
    structlog.configure(
        processors=[_heard],
        wrapper_class=structlog.make_filtering_bound_logger("error"),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)


def _heard(_logger: object, _method: str, event: Any) -> Any:
    if event["event"] in FAULTS:
        faults.append(traceback.format_exc(limit=-4))
    raise structlog.DropEvent


def play(schedule: Schedule, parts: Parts, ledger: ModelLedger, counts: Counter[str]) -> Machine:
    """Play a schedule to its end. Raises Violation with the machine's trace attached."""
    faults.clear()
    machine = Machine(schedule, parts, ledger, counts)
    try:
        for op in schedule.ops:
            machine.apply(op)
        machine.close()
    except Violation as violation:
        violation.trace = machine.trace
        raise
    finally:
        machine.turns.trouble = TROUBLES["calm"]
        machine.kill_all()
        ledger.turns = None
    return machine
