"""A crowd on one queue: thousands of messages, producers, and consumers that crash at random; everything is counted.

What must hold is judged from what clients were told alone: message ids, dequeue counts and times in the answers. The
judge is a function of that log, and is itself put to the test with logs that were doctored.
"""

import itertools
import os
import random
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import pytest
from mns.mns_exception import MNSServerException
from mns.queue import Message, Queue

from tests.localcloud.conftest import RunCloud
from tests.localcloud.mns_kit import Hub, a_hub

MESSAGES = int(os.environ.get("MNS_CROWD_MESSAGES", "5000"))
PRODUCERS = 4
CONSUMERS = 8
VISIBILITY_SECONDS = 20
LONGEST_DELAY_SECONDS = 30
LIMIT_SECONDS = 100
"""Of real time, for a machine that is busy with other things; a quick one needs ten."""


@dataclass(frozen=True)
class Sent:
    """A send that was answered with an id."""

    id: str
    body: str
    delay_seconds: int


@dataclass(frozen=True)
class Delivered:
    """A message that a receive returned; times are the server's."""

    id: str
    body: str
    count: int
    enqueued_ms: int
    at_ms: int
    hidden_until_ms: int


@dataclass(frozen=True)
class Held:
    """A visibility change that was answered with a new time."""

    id: str
    count: int
    hidden_until_ms: int


@dataclass(frozen=True)
class Deleted:
    """A deletion that was answered with success, by the handle of the delivery with this count."""

    id: str
    count: int


@dataclass
class Log:
    """What all clients together were told."""

    sent: list[Sent] = field(default_factory=list)
    delivered: list[Delivered] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    deleted: list[Deleted] = field(default_factory=list)
    crashes: int = 0
    late_deletions: int = 0


def violations(log: Log) -> list[str]:
    """Everything in the log that a queue may not do."""
    found: list[str] = []
    sent = {each.id: each for each in log.sent}
    if len(sent) != len(log.sent):
        found.append("an id was given to two messages")
    deliveries: defaultdict[str, list[Delivered]] = defaultdict(list)
    for each in log.delivered:
        if each.id not in sent or each.body != sent[each.id].body:
            found.append(f"{each.id}: delivered but never sent")
        else:
            deliveries[each.id].append(each)
    hidden_until = {(each.id, each.count): each.hidden_until_ms for each in log.held}
    deletions = Counter(each.id for each in log.deleted)
    found += [f"{message_id}: deleted {times} times" for message_id, times in deletions.items() if times > 1]
    deleted_by = {each.id: each.count for each in log.deleted}
    for message_id, message in sent.items():
        mine = sorted(deliveries[message_id], key=lambda each: each.count)
        if not mine:
            found.append(f"{message_id}: never delivered")
            continue
        if len({each.count for each in mine}) != len(mine):
            found.append(f"{message_id}: two deliveries with the same count")
        for each in mine:
            if each.at_ms < each.enqueued_ms + message.delay_seconds * 1_000:
                found.append(f"{message_id}: delivered before its delay was over")
        for earlier, later in itertools.pairwise(mine):
            until_ms = hidden_until.get((message_id, earlier.count), earlier.hidden_until_ms)
            # Only neighbours tell: between others there was a delivery whose receiver crashed before it could say so.
            if later.count == earlier.count + 1 and later.at_ms < until_ms:
                found.append(f"{message_id}: delivered while it was invisible")
        if message_id in deleted_by and mine[-1].count > deleted_by[message_id]:
            found.append(f"{message_id}: delivered after its deletion")
    return found


@dataclass
class Crowd:
    """Producers and consumers on one queue, until every message was deleted."""

    hub: Hub
    log: Log = field(default_factory=Log)
    errors: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Return when everything is deleted, somebody failed, or the time is over."""
        threads = [threading.Thread(target=self._guarded, args=(self._produce, number)) for number in range(PRODUCERS)]
        threads += [threading.Thread(target=self._guarded, args=(self._consume, number)) for number in range(CONSUMERS)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + LIMIT_SECONDS
        while alive := [thread for thread in threads if thread.is_alive()]:
            # Nobody sleeps: cloud time runs, so what was abandoned comes back, delays pass and long polls end.
            self.hub.cloud.advance(1)
            alive[0].join(0.03)
            if time.monotonic() > deadline:
                self.done.set()

    def _guarded(self, work: object, number: int) -> None:
        try:
            assert callable(work)
            work(number, random.Random(number))  # noqa: S311 - a seed
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self.errors.append(error)
            self.done.set()

    def _produce(self, number: int, chance: random.Random) -> None:
        queue = self.hub.queue("work")
        wanted = [f"producer {number} message {each}" for each in range(MESSAGES // PRODUCERS)]
        while wanted and not self.done.is_set():
            bodies = [wanted.pop() for _ in range(min(len(wanted), chance.choice([1, 1, 4, 16])))]
            delays = [chance.choice([0, 0, chance.randint(1, LONGEST_DELAY_SECONDS)]) for _ in bodies]
            drafts = [Message(body, delay_seconds=delay) for body, delay in zip(bodies, delays, strict=True)]
            answers = queue.batch_send_message(drafts) if len(drafts) > 1 else [queue.send_message(drafts[0])]
            with self.lock:
                self.log.sent += [
                    Sent(answer.message_id, body, delay)
                    for answer, body, delay in zip(answers, bodies, delays, strict=True)
                ]

    def _consume(self, _: int, chance: random.Random) -> None:
        while not self.done.is_set():
            self._work_until_crash(self.hub.queue("work"), chance)

    def _work_until_crash(self, queue: Queue, chance: random.Random) -> None:
        """A life of a consumer: receives and deletes until it crashes with messages in its hands."""
        while not self.done.is_set():
            batch = self._receive(queue, chance)
            if len(batch) > 1 and chance.random() < 0.6:
                worked_on = batch[: chance.randint(1, 2 * len(batch))]
                self._delete_many(queue, worked_on)
                if len(worked_on) < len(batch):
                    return self._crash()
                continue
            for message in batch:
                if chance.random() < 0.04:
                    return self._crash()
                self._finish(queue, message, chance)
        return None

    def _crash(self) -> None:
        with self.lock:
            self.log.crashes += 1

    def _receive(self, queue: Queue, chance: random.Random) -> list[Message]:
        size = chance.choice([1, 3, 16])
        try:
            batch = queue.batch_receive_message(size, 5) if size > 1 else [queue.receive_message(5)]
        except MNSServerException as error:
            if error.type != "MessageNotExist":
                raise
            return []
        with self.lock:
            self.log.delivered += [
                Delivered(
                    message.message_id,
                    message.message_body,
                    message.dequeue_count,
                    message.enqueue_time,
                    message.next_visible_time - VISIBILITY_SECONDS * 1_000,
                    message.next_visible_time,
                )
                for message in batch
            ]
        return batch

    def _finish(self, queue: Queue, message: Message, chance: random.Random) -> None:
        handle = message.receipt_handle
        try:
            if chance.random() < 0.05:
                changed = queue.change_message_visibility(handle, chance.choice([1, 60]))
                with self.lock:
                    self.log.held.append(
                        Held(message.message_id, message.dequeue_count, int(changed.next_visible_time))
                    )
                handle = changed.receipt_handle
                if chance.random() < 0.5:
                    return  # given back early, or held and forgotten
            queue.delete_message(handle)
        except MNSServerException as error:
            if error.type != "MessageNotExist":
                raise
            with self.lock:
                self.log.late_deletions += 1
            return
        self._note_deleted([message])

    def _delete_many(self, queue: Queue, messages: list[Message]) -> None:
        failed: set[str] = set()
        try:
            queue.batch_delete_message([message.receipt_handle for message in messages])
        except MNSServerException as error:
            if {item["ErrorCode"] for item in error.sub_errors} != {"MessageNotExist"}:
                raise
            failed = {item["ReceiptHandle"] for item in error.sub_errors}
            with self.lock:
                self.log.late_deletions += len(failed)
        self._note_deleted([message for message in messages if message.receipt_handle not in failed])

    def _note_deleted(self, messages: list[Message]) -> None:
        with self.lock:
            self.log.deleted += [Deleted(message.message_id, message.dequeue_count) for message in messages]
            if len(self.log.deleted) >= MESSAGES:
                self.done.set()


@pytest.fixture
def hub(run_cloud: RunCloud) -> Hub:
    return a_hub(run_cloud, queues={"work": {"VisibilityTimeout": VISIBILITY_SECONDS}})


def test_crowd_loses_and_misdelivers_nothing(hub: Hub) -> None:
    """Each message at least once; none after its deletion, before its delay, or while it was invisible."""
    crowd = Crowd(hub)

    crowd.run()

    if crowd.errors:
        raise crowd.errors[0]
    log = crowd.log
    assert violations(log) == []
    assert (len(log.sent), len(log.deleted)) == (MESSAGES, MESSAGES)
    [queue] = hub.snapshot()["queues"]
    assert queue["messages"] == []
    # The crowd was as unruly as it was meant to be: a test without crashes and second deliveries would prove little.
    assert log.crashes > MESSAGES / 100
    assert sum(each.count > 1 for each in log.delivered) > MESSAGES / 100
    assert log.held


START = 1_800_000_000_000


def a_good_log() -> Log:
    """Two messages: one delivered, lost by a crash and delivered again; one delayed and delivered once."""
    return Log(
        sent=[Sent("A", "a", 0), Sent("B", "b", 10)],
        delivered=[
            Delivered("A", "a", 1, START, START, START + 20_000),
            Delivered("A", "a", 2, START, START + 20_000, START + 40_000),
            Delivered("B", "b", 1, START, START + 10_000, START + 30_000),
        ],
        held=[Held("A", 2, START + 60_000)],
        deleted=[Deleted("A", 2), Deleted("B", 1)],
    )


def test_judge_accepts_a_good_log() -> None:
    """A redelivery at the very moment of the lapse and a delivery at the very end of the delay are right."""
    assert violations(a_good_log()) == []


@pytest.mark.parametrize(
    ("doctor", "verdict"),
    [
        (lambda log: log.delivered.pop(), "B: never delivered"),
        (lambda log: log.sent.pop(), "B: delivered but never sent"),
        (lambda log: log.sent.append(log.sent[0]), "an id was given to two messages"),
        (
            lambda log: log.delivered.append(Delivered("A", "a", 3, START, START + 60_000, START + 80_000)),
            "A: delivered after its deletion",
        ),
        (
            lambda log: log.delivered.append(replace(log.delivered[0], body="other")),
            "A: delivered but never sent",
        ),
        (lambda log: log.delivered.append(log.delivered[0]), "A: two deliveries with the same count"),
        (
            lambda log: log.delivered.__setitem__(2, replace(log.delivered[2], at_ms=START + 9_999)),
            "B: delivered before its delay was over",
        ),
        (
            lambda log: log.delivered.__setitem__(1, replace(log.delivered[1], at_ms=START + 19_999)),
            "A: delivered while it was invisible",
        ),
        (lambda log: log.held.append(Held("A", 1, START + 20_001)), "A: delivered while it was invisible"),
        (lambda log: log.deleted.append(Deleted("B", 1)), "B: deleted 2 times"),
    ],
)
def test_judge_finds_each_crime(doctor: object, verdict: str) -> None:
    """Every rule of the judge can fail: a log with one doctored line is found out."""
    log = a_good_log()
    assert callable(doctor)
    doctor(log)

    assert verdict in violations(log)
