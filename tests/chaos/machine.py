"""The machine of the model test: the real ledger, loop and reconcile in a world where everything that can go wrong does.

A schedule is a list of plain operations: approvals sent, delivered, doubled and replayed; workers that are stopped at every
boundary, left, and killed; time, trouble, modes, other people's hands. Now and then, and at the end, trouble stops and
everything is delivered; then the model cloud must be what the approvals say (``reference``), the record must be whole, and
nothing on the way may have broken a rule (``referee``). Any list of operations is a valid schedule, so one that fails can be
cut down by leaving operations out.
"""

from __future__ import annotations

import json
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sql
import structlog
from sqlalchemy.engine import Connection

from shared.converge import Converge, Hand, HubHand, SpokeHand
from shared.errors import CloudUnreachable, GrantError, LedgerError, PermanentError
from shared.inventory import Inventory
from shared.lease import Timing, Window
from shared.ledger import ASSOCIATE, GRANT, Head, Ledger, Letter, Mode, upgrade_schema
from shared.ledger.tables import chain, events, intents, metadata, sides
from shared.messages import WAKE, Completion, GrantKey, InstanceType, Reason, Request, Wake, parse
from shared.reconcile import Reconcile
from shared.settings import Settings
from tests.chaos.model_cloud import LATE_MS, STALE_MS, Granted, Link, ModelCloud
from tests.chaos.referee import Referee
from tests.chaos.reference import Document, closes, instance, live, millis, prefixes, same
from tests.chaos.turns import START, TROUBLES, Luck, Turns, Violation, Worker

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
SETTLE_MS = STALE_MS + LATE_MS + 1
LIMIT_MS = 60_000  # the platform ends an invocation then
CLAIM_MS = LIMIT_MS + 10_000
PUBLISHING_MS = 240_000
SKEW_MS = 15_000  # short, since nothing is believed for so long after a revoke of all
TIMING = Timing(skew=SKEW_MS, warn=5 * MINUTE, stuck=2 * MINUTE)
WINDOW = Window.parse("06:00-12:00")
A, B, REGION = "1000000000000001", "2000000000000002", "cn-hangzhou"
OURS, THEIRS = "ecr-modelours", "ecr-modeltheirs"
HEARS = {GRANT: ("dissociated",), ASSOCIATE: ("granted", "unwanted")}  # as the topic is subscribed to
FINAL = ("done", "rejected")
ONCE_PER_GENERATION = ("granted", "associated", "unwanted", "dissociated", "revoked")


def _key(kind: InstanceType, name: str, ecr: str = OURS) -> GrantKey:
    return GrantKey(ecr, A, kind, name, REGION, B)


KEYS = (_key("VPC", "vpc-one"), _key("VPC", "vpc-two"), _key("VBR", "vbr-one"), _key("VPC", "vpc-theirs", THEIRS))
INVENTORY = Inventory.model_validate(
    {
        "version": 1,
        "accounts": {
            uid: {"name": role, "owner": role, "environment": "test", "role": role, "external_id": f"model:{role}"}
            | ({"ecrs": {OURS: {}, THEIRS: {"association": "theirs"}}} if uid == A else {})
            for uid, role in ((A, "hub"), (B, "spoke"))
        },
    }
)
SETTINGS = Settings.model_validate(
    {"FC_REGION": REGION, "LEDGER_URL": "sqlite://", "MODE": "full", "SETTLE_SECONDS": SETTLE_MS / 1000}
)


# -- what is tested, with its boundaries ---------------------------------------------------------------------------------


class ModelLedger(Ledger):
    """The real ledger. Every transaction is a boundary; before and after its commit a worker may die."""

    turns: Turns | None = None

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        turns = self.turns
        if turns is None or turns.worker is None:
            with super()._reading() as connection:
                yield connection
            return
        turns.boundary("before a transaction")
        if turns.luck.strikes(turns.trouble.away):
            turns.counts["ledger away"] += 1
            raise LedgerError("the ledger is away")
        with super()._reading() as connection:
            yield connection
            turns.brink("before a commit")
        if turns.worker.committed is not None:
            turns.worker.committed()
        turns.brink("after a commit")

    def empty(self) -> None:
        """Forget everything."""
        with self.engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not chain:
                    connection.execute(table.delete())
            connection.execute(chain.update().values(seq=0, hash="0" * 64))


@dataclass(frozen=True)
class Parts:
    """What is tested, exchangeable piece by piece: by a piece with a fault in it."""

    ledger: type[ModelLedger] = ModelLedger
    converge: type[Converge] = Converge
    spoke: Callable[[ModelCloud], Hand] = SpokeHand
    hub: Callable[[ModelCloud], Hand] = HubHand


@contextmanager
def opened(parts: Parts) -> Iterator[ModelLedger]:
    """A ledger on a file of its own."""
    with tempfile.TemporaryDirectory(prefix="ecr-grants-model-") as directory:
        ledger = parts.ledger(f"sqlite:///{Path(directory) / 'ledger.db'}", TIMING)
        upgrade_schema(ledger)
        yield ledger
        ledger.close()


# -- the post ------------------------------------------------------------------------------------------------------------


@dataclass
class Mail:
    """A message in a queue. ``document``: the approval in it, when it is one."""

    message_id: str
    body: str
    due: int
    document: Document | None = None


class Post:
    """Queues and the topic. Messages come twice, late, in any order; what is not an approval may get lost."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.queues: dict[str, list[Mail]] = {GRANT: [], ASSOCIATE: []}
        self.published: dict[str, str] = {}
        self.unconfirmed: set[int] = set()  # published, and not known to the ledger as published
        self.asked: Counter[tuple[str, str, str]] = Counter()  # requests whose outcome somebody asked for again
        self.hear: Callable[[Completion], None] = lambda _: None
        self._numbers = 0

    def message_id(self) -> str:
        """An id for a new message."""
        self._numbers += 1
        return f"m{self._numbers}"

    def put(self, side: str, body: str, due: int, document: Document | None = None) -> Mail:
        """Put a message into a queue."""
        mail = Mail(self.message_id(), body, due, document)
        self.queues[side].append(mail)
        return mail

    def send(self, side: str, body: str, due: int) -> None:
        """Send a wake. It may get lost."""
        turns = self._turns
        if turns.luck.strikes(turns.trouble.unsent):
            turns.counts["wake lost"] += 1
            return
        self.put(side, body, due)

    def publish(self, letter: Letter) -> None:
        """Publish a completion to whom it concerns. Raises CloudUnreachable, perhaps after the effect."""
        turns = self._turns
        turns.boundary("before publishing")
        unsent = turns.luck.strikes(turns.trouble.unsent)
        if unsent and turns.luck.strikes(0.5):
            turns.counts["publishing failed"] += 1
            raise CloudUnreachable("no answer", executed=True)
        completion = parse(letter.body)
        assert isinstance(completion, Completion)
        self._once(letter, completion)
        for side, tags in HEARS.items():
            if letter.tag in tags:
                self.send(side, letter.body, turns.now)
        self.hear(completion)
        turns.boundary("after publishing")
        if unsent:
            turns.counts["publishing unanswered"] += 1
            raise CloudUnreachable("no answer", executed=True)

    def _once(self, letter: Letter, completion: Completion) -> None:
        """Nothing is published twice but what nobody can know to be out, and what somebody asked for again."""
        before = self.published.setdefault(completion.id, letter.body)
        if before != letter.body:
            raise Violation(f"completion {completion.id} was published with another content")
        if before is not letter.body and letter.seq not in self.unconfirmed:
            request = completion.request
            if request is None or not self.asked[(request.issuer, request.request_id, request.digest)]:
                raise Violation(f"completion {letter.seq} ({letter.tag}) was published twice")
            self.asked[(request.issuer, request.request_id, request.digest)] -= 1
        self.unconfirmed.add(letter.seq)


class Desk:
    """What ``shared.frame.Frame`` does around the loop, with everything handed in."""

    def __init__(self, parts: Parts, ledger: ModelLedger, cloud: ModelCloud, turns: Turns, post: Post) -> None:
        self.ledger = ledger
        self.inventory = INVENTORY
        self.settings = SETTINGS
        self._parts, self._cloud, self._turns, self._post = parts, cloud, turns, post
        self.admitted: Callable[[Document, str], None] = lambda _document, _digest: None
        self.refused: Callable[[Mail], None] = lambda _: None

    def handle(self, side: str, mails: Sequence[Mail]) -> None:
        """One event: admit, converge, publish, wake."""
        worker = self._turns.worker
        assert worker is not None
        mode: Mode = self.ledger.said_mode() or "full"
        worker.mode = mode
        converge = self._parts.converge(
            self.ledger,
            self._parts.spoke(self._cloud) if side == GRANT else self._parts.hub(self._cloud),
            self.inventory,
            worker=worker.name,
            mode=mode,
            clock=self._turns.clock,
            settle_ms=SETTLE_MS,
            claim_ms=CLAIM_MS,
        )
        touched: dict[str, None] = {}
        for mail in mails:
            touched |= dict.fromkeys(self._admit(mail))
        self.publish()
        for grant_id in touched:
            visit = converge.visit(grant_id)
            self._turns.counts[f"visit: {visit.outcome}"] += 1
            self.publish()
            if visit.next_at is not None:
                self.wake(grant_id, side, visit.next_at)

    def _admit(self, mail: Mail) -> tuple[str, ...]:
        request: Request | None = None
        try:
            body = parse(mail.body)
            if isinstance(body, Wake):
                return (body.grant_id,)
            if isinstance(body, Completion):
                return () if body.grant is None else (body.grant.grant_id,)
            request = Request(issuer=body.issuer, request_id=body.request_id, digest=body.digest)
            self.inventory.check(body.grant)
            document, digest, worker = mail.document, body.digest, self._turns.worker
            if document is not None and worker is not None:
                worker.committed = lambda: self.admitted(document, digest)
            admission = self.ledger.admit(body, mail.message_id, self._turns.now)
            if worker is not None:
                worker.committed = None
            if not admission.new:
                self._turns.counts["admitted again"] += 1
                self._post.asked[(body.issuer, body.request_id, body.digest)] += 1
            return admission.touched
        except PermanentError as error:
            self.ledger.reject_message(mail.message_id, mail.body, Reason.of(error), self._turns.now, request=request)
            self.refused(mail)
            return ()

    def publish(self) -> None:
        """Everything that the outbox holds."""
        while letters := self.ledger.take_letters(20, self._turns.now, self._turns.now + PUBLISHING_MS):
            for position, letter in enumerate(letters):
                try:
                    self._post.publish(letter)
                except GrantError:
                    self.ledger.give_back([left.seq for left in letters[position:]])
                    return
                self.ledger.published(letter.seq, self._turns.now)
                self._post.unconfirmed.discard(letter.seq)

    def wake(self, grant_id: str, side: str, next_at: int) -> None:
        """A delayed message that looks again."""
        self._turns.boundary("before a wake")
        self._post.send(side, json.dumps({"schema": WAKE, "grant_id": grant_id}), next_at)

    def reconcile(self) -> None:
        """One tick."""
        Reconcile(self, self._cloud, clock=self._turns.clock, accounts_at_once=1).run()


# -- the schedule --------------------------------------------------------------------------------------------------------


class Op(NamedTuple):
    """One operation. The numbers choose among whatever there is to choose from; ``luck`` 0 is the kindest luck."""

    kind: str
    a: int = 0
    b: int = 0
    c: int = 0
    luck: int = 0


@dataclass(frozen=True)
class Schedule:
    """A whole example: which grants there are, whether a change window is set, and what happens."""

    keys: tuple[int, ...]
    windowed: bool
    trouble: str
    strangers: int  # what other hands had put up before
    ops: tuple[Op, ...]


WEIGHTS = {
    "ask": 220,
    "deliver": 200,
    "flow": 240,
    "open": 60,
    "step": 120,
    "finish": 40,
    "kill": 12,
    "tick": 60,
    "turn": 120,
    "trouble": 30,
    "adopt": 25,
    "mode": 14,
    "redrive": 15,
    "replay": 25,
    "rubbish": 5,
    "robot": 15,
    "rest": 14,
}
# What is worth trying in a row: something happens while a worker stands still.
SCENES = (
    ("open", "adopt", "finish"),
    ("open", "ask", "flow", "finish"),
    ("open", "open", "finish", "finish"),
    ("open", "turn", "step", "kill", "turn", "ask", "flow", "turn", "flow"),
    ("open", "kill", "turn", "flow"),
    ("open", "tick", "finish"),
    ("ask", "flow", "ask", "flow", "ask", "flow"),
    ("ask", "deliver", "turn", "flow", "flow"),
)
KINDS = tuple(WEIGHTS)
OFTEN = ("storm", "storm", "storm", "storm", "lossy", *TROUBLES)
_WIDE = 1 << 20


def drawn(seed: int, length: int) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(seed)  # noqa: S311  # a test's choices, not a secret
    keys = tuple(sorted(chance.sample(range(len(KEYS)), chance.choice([1, 1, 1, 2, 2]))))
    kinds: list[str] = []
    while len(kinds) < length:
        kinds += (
            chance.choice(SCENES) if chance.random() < 0.1 else chance.choices(KINDS, weights=list(WEIGHTS.values()))
        )
    numbers = [[chance.randrange(_WIDE) for _ in range(4)] for _ in kinds]
    ops = tuple(Op(kind, *four) for kind, four in zip(kinds, numbers, strict=True))
    return Schedule(keys, chance.random() < 0.15, chance.choice(OFTEN), chance.choice([0, 0, 1, 2]), ops)


# -- the machine ---------------------------------------------------------------------------------------------------------

ISSUERS = ("direct", "tickets", "desk")
NAMES = [f"R{number}" for number in range(9)]
ROUTES = ("10.1.0.0/16", "10.2.0.0/16", "9.0.0.0/8")
AGES = (HOUR, MINUTE, 0, 0, 0, 0, 0, 0, 0, -SKEW_MS + SECOND, -3 * SKEW_MS)  # the last is dated too far ahead
ENDS = (None, None, None, None, 20 * SECOND, 3 * MINUTE, 15 * MINUTE, -5 * SECOND)
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
MODES: tuple[Mode, ...] = ("full", "full", "full", "full", "full", "observe", "pause-teardown", "pause-all")
REST = (4, 4, 20, 55, 75, 75, 300, 300, 600, 1200, 1200, 1200, 3600, 3600, 3600, 3600)
STOPS = ("before a write", "before a write", "after a write", "after a read", "after a read", "before publishing")
_OPEN_WORKERS = 3
_LONG_QUEUE = 12


def written(moment: int) -> str:
    """A time as messages have it."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat()


@dataclass
class Robot:
    """Account A's own automation, where the association is theirs: it acts on the latest completion that it heard."""

    number: int = 0
    wants: bool = False


@dataclass
class Record:
    """What the events said until now."""

    seq: int = 0
    numbers: dict[str, int] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    outcomes: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    per_request: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    per_generation: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class Machine:
    """Everything of one schedule. Operations are applied one by one; ``rest`` and ``close`` judge."""

    def __init__(self, schedule: Schedule, parts: Parts, ledger: ModelLedger, counts: Counter[str]) -> None:
        self.trace: list[str] = []
        self.counts = counts
        self.turns = Turns(counts)
        self.keys = tuple(KEYS[one] for one in schedule.keys)
        self.windowed = schedule.windowed
        ledger.empty()
        ledger.turns = self.turns
        ledger.timing = replace(TIMING, window=WINDOW if schedule.windowed else None)
        self.ledger = ledger
        self.referee = Referee(self.turns, SKEW_MS, windowed=schedule.windowed)
        self.referee.theirs = {key.instance_id for key in KEYS if key.ecr_id == THEIRS}
        self.cloud = ModelCloud(self.turns, self.keys, self.referee)
        self.post = Post(self.turns)
        self.post.hear = self._hear
        self.desk = Desk(parts, ledger, self.cloud, self.turns, self.post)
        self.desk.admitted = self._admitted
        self.desk.refused = self._refused
        self.sent: list[Mail] = []
        self.rubbish: set[str] = set()
        self.workers: list[Worker] = []
        self.names: dict[str, tuple[str, str, str]] = {}  # what identifies an approval, by what makes it the same
        self.held: set[str] = set()
        self.late: set[str] = set()  # grants that were dead before they came
        self.foreign: dict[tuple[GrantKey, str], tuple[str, ...]] = {}  # what other hands put up, with its prefixes
        self.adopted_links: set[GrantKey] = set()  # since the last rest: until then other hands' associations
        self.robots = {key: Robot() for key in self.keys if key.ecr_id == THEIRS}
        self.touched: dict[
            GrantKey, tuple[int, set[str]]
        ] = {}  # by other hands since the last rest: when, and the drift
        self.was: dict[tuple[GrantKey, str], bool] = {}  # what was ours at the last rest
        self.record = Record()
        self.heads: list[Head] = []
        self._hired = 0
        self.turns.trouble = TROUBLES[schedule.trouble]
        for _ in range(schedule.strangers):
            self._other_hand(Op("before"), self.keys[0])

    # -- operations --------------------------------------------------------------------------------------------------

    def apply(self, op: Op) -> bool:
        """Do one operation. Says whether there was anything to do. Raises Violation."""
        self.turns.luck = Luck(op.luck)
        random.seed(op.luck)  # the loop spreads its times to try again by it
        self.trace.append(f"{op.kind} {op.a} {op.b} {op.c} luck {op.luck}, {self.turns.now - START} ms after the start")
        did = bool(getattr(self, f"_op_{op.kind}")(op))
        self.counts[f"op {op.kind}"] += did
        self.counts["steps"] += did
        for worker in [one for one in self.workers if one.until <= self.turns.now]:
            self._let(worker, worker.kill)
        if faults:
            raise Violation(f"an unexpected error in the loop: {faults.pop()}")
        return did

    def _say(self, text: str) -> None:
        self.trace.append(f"    {text}")

    def _op_ask(self, op: Op) -> bool:
        """Somebody asks for a grant, or for its end: mostly for what is not so yet."""
        chance = random.Random(repr(op[1:4]))  # noqa: S311  # a test's choices, not a secret
        key = self.keys[op.a % len(self.keys)]
        standing = self._leases(key)
        approved_at = self.turns.now - chance.choice(AGES)
        if chance.random() < (0.15, 0.5, 0.7, 0.8)[min(len(standing), 3)]:
            document = self._document(key, ISSUERS[op.b % 3], f"C{op.c % 8}", "revoke", approved_at)
            document["closes"] = "all" if chance.random() < 0.5 else chance.sample(NAMES, 2)
            if document["closes"] != "all" and standing and chance.random() < 0.8:
                closed = chance.choice(standing)
                document |= {"issuer": closed.get("issuer", "direct"), "closes": [closed["request_id"]]}
            self._send(document)
            return True
        document = self._document(key, ISSUERS[op.b % 3], chance.choice(NAMES), "grant", approved_at)
        document["reason"] = f"reason {chance.choice('ab')}"
        if key.instance_type == "VPC":
            document["allowed_prefixes"] = chance.sample(ROUTES, chance.choice([1, 1, 2]))
        ends = chance.choice(ENDS)
        if ends is not None and self.turns.now + ends > approved_at:
            document |= {"ends_at": written(self.turns.now + ends), "on_end": chance.choice(["report", "teardown"])}
        if document["issuer"] == "direct" and chance.random() < 0.4:
            del document["issuer"]
            document["schema"] = "ecr-grants/approval/1"
            self.counts["sent in version 1"] += 1
        self._send(document)
        return True

    def _document(self, key: GrantKey, issuer: str, request_id: str, action: str, approved_at: int) -> Document:
        return {
            "schema": "ecr-grants/approval/2",
            "issuer": issuer,
            "request_id": request_id,
            "action": action,
            "ecr": {"id": key.ecr_id, "owner_uid": key.ecr_owner_uid},
            "instance": {
                "type": key.instance_type,
                "id": key.instance_id,
                "region": key.instance_region,
                "owner_uid": key.instance_owner_uid,
            },
            "requested_by": "somebody",
            "approved_by": ["somebody else"],
            "approved_at": written(approved_at),
            "reason": "a reason",
        }

    def _send(self, document: Document) -> None:
        mail = self.post.put(GRANT, json.dumps(document), self.turns.now, document)
        self.sent.append(mail)
        self._say(f"sent {_short(document)}")

    def _op_rubbish(self, op: Op) -> bool:
        document = self._document(self.keys[0], "direct", f"X{op.a % 9}", "grant", self.turns.now)
        wrong: list[Document] = [
            {"action": "explode"},
            {"ecr": {"id": "ecr-unlisted", "owner_uid": A}},
            {"colour": "red"},
        ]
        document |= wrong[op.b % 3]
        if document["action"] == "grant":
            document["allowed_prefixes"] = [ROUTES[0]]
        mail = self.post.put(GRANT, json.dumps(document), self.turns.now)
        self.rubbish.add(mail.message_id)
        return True

    def _op_replay(self, op: Op) -> bool:
        """An approval comes once more, long after: as the platform repeats it, or as somebody sends it again."""
        if not self.sent:
            return False
        mail = self.sent[op.a % len(self.sent)]
        again = replace(mail, due=self.turns.now)
        if op.b % 2:
            again.message_id = self.post.message_id()
        self.post.queues[GRANT].append(again)
        return True

    def _op_deliver(self, op: Op) -> bool:
        side, mails = self._mails(op)
        if mails:
            worker = self._hired_worker(op.c // 12 % 24 if op.c % 12 == 0 else None)
            self._let(worker, lambda: worker.inline(lambda: self._handle(side, mails)))
        return bool(mails)

    def _op_flow(self, op: Op) -> bool:
        """A little time, and everything that is due to both sides."""
        self.turns.turn((0, 0, 3 * SECOND, 3 * SECOND, 10 * SECOND)[op.b % 5])
        for side in (GRANT, ASSOCIATE) if op.a % 2 else (ASSOCIATE, GRANT):
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
            self._say(f"{worker.name} starts a tick")
        else:
            worker.start(lambda: self._handle(side, mails))
        self.workers.append(worker)
        self._on(worker, STOPS[op.luck % len(STOPS)], op.b // 2 % 40)
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
        side = (GRANT, ASSOCIATE)[op.b % 2]
        if not due[side]:
            side = ASSOCIATE if side == GRANT else GRANT
        mails = due[side]
        first = op.a % max(len(mails), 1)
        self.counts["delivered out of order"] += first > 0
        return side, mails[first : first + 1 + op.c % 2]

    def _hired_worker(self, fuse: int | None) -> Worker:
        self._hired += 1
        now = self.turns.now
        return Worker(f"w{self._hired}", "full", len(self.referee.facts), now, now + LIMIT_MS, fuse)

    def _handle(self, side: str, mails: list[Mail]) -> None:
        worker = self.turns.worker
        self._say(f"{worker.name if worker else ''} handles {len(mails)} for {side}: {', '.join(map(_short, mails))}")
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
            self._say(f"{worker.name} dies {worker.died_at}")

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

    def _op_mode(self, op: Op) -> bool:
        self.ledger.set_mode(MODES[op.a % len(MODES)], "somebody", self.turns.now)
        self._say(f"mode {MODES[op.a % len(MODES)]}")
        return True

    def _op_redrive(self, op: Op) -> bool:
        rows = self.ledger.dead_rows()
        if rows:
            row = rows[op.a % len(rows)]
            self.counts["redriven"] += self.ledger.redrive(row.key.grant_id, row.side, "somebody", self.turns.now)
        return bool(rows)

    def _op_adopt(self, op: Op) -> bool:
        known = sorted({key.instance_id for key, _ in self.foreign})
        key = self.keys[op.a % len(self.keys)]
        if known and op.c % 4:
            key = next(key for key in self.keys if key.instance_id == known[op.a % len(known)])
        did = False
        for side in [(GRANT,), (ASSOCIATE,), (GRANT, ASSOCIATE)][op.b % 3]:
            if key.ecr_id == THEIRS and side == ASSOCIATE:
                continue
            if not self.ledger.adopt(key.grant_id, side, self.turns.now):
                continue
            self._say(f"adopted the {side} side of {key.instance_id}")
            place = self.cloud.places[key]
            if side == GRANT and place.granted.now is not None:
                place.granted.set(self.turns.now, Granted(ours=True))
            if side == ASSOCIATE and place.link.now is not None:
                place.link.set(self.turns.now, replace(place.link.now, ours=True))
            self.counts["adopted"] += (key, side) in self.foreign
            if self.foreign.pop((key, side), None) is not None and side == ASSOCIATE:
                self.adopted_links.add(key)
            did = True
        return did

    def _op_robot(self, op: Op) -> bool:  # noqa: ARG002  # operations are alike
        self._robots_act()
        return True

    def _hear(self, completion: Completion) -> None:
        """Account A's own automation hears what is published."""
        for key, robot in self.robots.items():
            if completion.grant is None or completion.grant.grant_id != key.grant_id:
                continue
            if completion.event in ("granted", "unwanted", "revoked") and (completion.number or 0) > robot.number:
                robot.number, robot.wants = completion.number or 0, completion.event == "granted"

    def _robots_act(self) -> None:
        for key, robot in self.robots.items():
            place, now = self.cloud.places[key], self.turns.now
            link = place.link.now
            if robot.wants and link is None and place.granted.now is not None:
                self.cloud.start_link(key, now, Link(False, f"theirs-{now}", "CREATING", (ROUTES[0],)))
                self.counts["their own automation: associated"] += 1
            if not robot.wants and link is not None and link.status == "ACTIVE":
                self.cloud.end_link(key, now)
                self.counts["their own automation: dissociated"] += 1

    def _admitted(self, document: Document, digest: str) -> None:
        """The transaction that admits an approval was committed."""
        key, approved_at = same(document), millis(document["approved_at"])
        if key in self.names:
            return
        self.names[key] = document.get("issuer", "direct"), document["request_id"], digest
        held_until = approved_at - SKEW_MS if approved_at > self.turns.now + SKEW_MS else None
        dead = self.referee.admitted(document, held_until)
        if held_until is not None:
            self.held.add(key)
        elif dead:
            self.late.add(key)
        self._say(f"admitted {_short(document)}{'' if held_until is None else ', held'}")

    def _refused(self, mail: Mail) -> None:
        if mail.message_id not in self.rubbish:
            raise Violation(f"a good message was refused: {mail.body}")

    # -- other people's hands ------------------------------------------------------------------------------------------

    def _other_hand(self, op: Op, key: GrantKey) -> bool:
        """At rest, somebody else changes something on the cloud; and nobody looks while reads may be older than that."""
        place, now = self.cloud.places[key], self.turns.now
        granted, link = place.granted.now, place.link.now
        if key.ecr_id == THEIRS or not place.exists.now:
            return False
        chance, expected = op.c % 7, set[str]()
        if chance == 6 and op.a % 3 == 0:
            what = "deleted the instance"
            expected = {"instance-deleted"} if self._leases(key) else set()
            place.exists.set(now, False)
            place.granted.set(now, None)
            place.link.set(now, None)
            self._theirs_no_more(key)
        elif granted is None:
            what, expected = "granted", {"foreign-grant"}
            place.granted.set(now, Granted(ours=False))
            self.foreign[(key, GRANT)] = ()
        elif link is None and chance < 4:
            what, expected = "associated", {"foreign-association"}
            place.link.set(now, Link(False, f"foreign-{now}", "ACTIVE", _routes(key, 2)))
            self.foreign[(key, ASSOCIATE)] = _routes(key, 2)
        elif link is None:
            what = "revoked"
            place.granted.set(now, None)
            self._theirs_no_more(key)
        elif chance < 2 and key.instance_type == "VPC":
            what = "changed the prefixes"
            expected = {"prefixes-differ"} if self._leases(key) and link.ours else set()
            other = tuple(sorted({"172.16.0.0/12", *link.prefixes}))
            place.link.set(now, replace(link, prefixes=other))
            if (key, ASSOCIATE) in self.foreign:
                self.foreign[(key, ASSOCIATE)] = other
        elif chance < 4:
            what = "dissociated"
            expected = {"association-missing"} if self._leases(key) else set()
            place.link.set(now, None)
            self.foreign.pop((key, ASSOCIATE), None)
        else:
            what = "dissociated and revoked"
            expected = {"association-missing", "grant-missing"} if self._leases(key) else set()
            place.link.set(now, None)
            place.granted.set(now, None)
            self._theirs_no_more(key)
        self.touched[key] = now, expected
        self.referee.excused.add(key.instance_id)
        self.counts[f"other hand: {what}"] += 1
        self._say(f"another hand {what}: {key.instance_id}")
        self.turns.turn(STALE_MS + 1)
        return True

    def _theirs_no_more(self, key: GrantKey) -> None:
        for side in (GRANT, ASSOCIATE):
            self.foreign.pop((key, side), None)

    # -- rest and judgement --------------------------------------------------------------------------------------------

    def _op_rest(self, op: Op) -> bool:
        self.rest()
        if self._other_hand(op, self.keys[op.b % len(self.keys)]) and op.a % 2:
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
        self.ledger.set_mode("full", "somebody", self.turns.now)
        if self.windowed:
            self._wait_for_the_window()
        self._come_to_rest()
        self.turns.turn(SETTLE_MS)  # what is older than this is no longer doubtful, so drift can be told
        self._come_to_rest()
        self._judge(expected or {})
        self.counts["rests judged"] += 1

    def _come_to_rest(self) -> None:
        """Ticks pass until nothing is left to do, each with everything delivered that it sends."""
        self._tick()
        for seconds in REST:
            self._deliver_all()
            if not self._unrest():
                return
            for row in self.ledger.dead_rows():
                if self.cloud.places[row.key].exists.now:
                    self.ledger.redrive(row.key.grant_id, row.side, "somebody", self.turns.now)
                    self.counts["redriven"] += 1
            self.turns.turn(seconds * SECOND)
            self._tick()
        raise Violation(f"it never came to rest: {self._unrest()}")

    def _wait_for_the_window(self) -> None:
        """To where the change window stays open for hours."""
        at = (self.turns.now - 6 * HOUR) % DAY
        if at > HOUR:
            self.turns.turn(DAY - at)

    def _tick(self) -> None:
        worker = self._hired_worker(None)
        self._let(worker, lambda: worker.inline(self.desk.reconcile))

    def _deliver_all(self) -> None:
        self._robots_act()
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

    def _excused(self, key: GrantKey) -> bool:
        """Whether nothing can bring this grant to rest: its instance is gone, or what is not ours hangs on what is."""
        place = self.cloud.places[key]
        granted, link = place.granted.now, place.link.now
        if not place.exists.now:
            return bool(self._leases(key))
        hangs = granted is not None and granted.ours and link is not None and not link.ours
        return hangs and not self._leases(key) and key.ecr_id != THEIRS

    def _unrest(self) -> list[str]:
        """Whatever is still under way."""
        found = ["the cloud is busy"] if self.cloud.busy else []
        found += [f"{side}: {mail.body}" for side, queue in self.post.queues.items() for mail in queue if mail.document]
        found += [f"held: {_short(fact.document)}" for fact in self.referee.facts if fact.believed > self.turns.now]
        excused = {key.grant_id for key in self.keys if self._excused(key)}
        theirs = {key.grant_id for key in self.keys if key.ecr_id == THEIRS}
        for grant_id, side in self.ledger.unsettled(self.turns.now + 365 * DAY, 100):
            if grant_id not in excused and not (side == ASSOCIATE and grant_id in theirs):
                found.append(f"unsettled: {self._name(grant_id)} {side}")
        found += [f"dead: {row.name}" for row in self.ledger.dead_rows() if row.key.grant_id not in excused]
        found += [f"not published: {letter.seq} {letter.tag}" for letter in self.ledger.waiting_letters(9)]
        return found

    def _name(self, grant_id: str) -> str:
        return next((key.instance_id for key in self.keys if key.grant_id == grant_id), grant_id)

    def _documents(self) -> list[Document]:
        return [mail.document for mail in self.sent if mail.document is not None]

    def _leases(self, key: GrantKey) -> list[Document]:
        every = live(self._documents(), self.turns.now, SKEW_MS)
        return [lease for lease in every if instance(lease) == key.instance_id]

    def _judge(self, expected: dict[GrantKey, tuple[int, set[str]]]) -> None:
        wrong = [*self._wrong_cloud()]
        news = self._read_events(wrong)
        wrong += self._wrong_requests()
        wrong += self._wrong_leases()
        wrong += self._wrong_transitions(news)
        wrong += self._wrong_drift(news, expected)
        fault = self.ledger.first_fault(self.heads, None)
        wrong += [] if fault is None else [f"the record: {fault}"]
        self.heads.append(self.ledger.head(self.turns.now))
        if wrong:
            raise Violation("; ".join(wrong))
        self.touched.clear()
        self.adopted_links.clear()
        self.referee.at_rest()
        for key in self.keys:
            place = self.cloud.places[key]
            self.was[(key, GRANT)] = place.granted.now is not None and place.granted.now.ours
            self.was[(key, ASSOCIATE)] = place.link.now is not None and place.link.now.ours

    def _wrong_cloud(self) -> Iterator[str]:
        """How the cloud differs from what the approvals say."""
        for key in self.keys:
            place, leases, where = self.cloud.places[key], self._leases(key), key.instance_id
            granted, link = place.granted.now, place.link.now
            up = bool(leases) and place.exists.now
            self.counts[f"at rest: {'up' if up else 'down'}"] += 1
            foreign_link = (key, ASSOCIATE) in self.foreign
            theirs = key.ecr_id == THEIRS
            if up and granted is None:
                yield f"{where} is not granted, and a lease is live"
            if not up and granted is not None and granted.ours and not foreign_link:
                yield f"{where} is granted, and no lease is live"
            if (key, GRANT) in self.foreign and (granted is None or granted.ours):
                yield f"{where}: the grant of another hand is no longer what it was: {granted}"
            if up and (link is None or link.status != "ACTIVE"):
                yield f"{where} is not associated ({link}), and a lease is live"
            if not up and link is not None and (link.ours or theirs):
                yield f"{where} is associated, and no lease is live"
            if foreign_link and (link is None or link.ours or link.prefixes != self.foreign[(key, ASSOCIATE)]):
                yield f"{where}: the association of another hand is no longer what it was: {link}"
            if up and link is not None and link.ours and link.prefixes != prefixes(leases):
                yield f"{where}: the prefixes are {link.prefixes}, approved are {prefixes(leases)}"

    def _read_events(self, wrong: list[str]) -> list[dict[str, Any]]:
        """The events since the last rest; their numbering and that they were all published."""
        record = self.record
        with self.ledger.engine.begin() as connection:
            rows = connection.execute(sql.select(events).where(events.c.seq > record.seq).order_by(events.c.seq)).all()
        news = [json.loads(row.body) for row in rows]
        for row, told in zip(rows, news, strict=True):
            record.seq += 1
            if row.seq != record.seq:
                wrong.append(f"event {record.seq} is missing")
            if row.event_id in record.ids:
                wrong.append(f"event {row.seq} has the name of another")
            record.ids.add(row.event_id)
            if row.grant_id is not None:
                record.numbers[row.grant_id] = record.numbers.get(row.grant_id, 0) + 1
                if row.number != record.numbers[row.grant_id]:
                    wrong.append(f"event {row.seq} is number {row.number}, not {record.numbers[row.grant_id]}")
                record.per_generation[(row.grant_id, told["generation"], row.kind)] += 1
            if self.post.published.get(row.event_id) != row.body:
                wrong.append(f"event {row.seq} ({row.kind}) was not published")
            request = told.get("request")
            if request is not None:
                request_name = request["issuer"], request["request_id"], request["digest"]
                record.per_request[(*request_name, row.kind)] += 1
                if row.kind in ("done", "rejected", "dead"):
                    record.outcomes.setdefault(request_name, []).append(row.kind)
            if row.kind == "rejected" and row.grant_id is None:
                record.refused[told["message_id"]] += 1
            code = f" {told['reason']['code']}" if row.kind.startswith("drift") else ""
            self.counts[f"event {row.kind}{code}"] += 1
        for (grant_id, generation, kind), often in record.per_generation.items():
            if often > 1 and kind in ONCE_PER_GENERATION:
                wrong.append(f"{kind} was recorded {often} times for generation {generation} of {self._name(grant_id)}")
        return news

    def _wrong_requests(self) -> Iterator[str]:
        """Every approval has one final outcome, and the one that follows from the approvals."""
        alive = {same(document) for document in live(self._documents(), self.turns.now, SKEW_MS)}
        known = {same(document): document for document in self._documents()}
        for one, document in known.items():
            request = self.names.get(one)
            if request is None:
                yield f"never admitted: {_short(document)}"
                continue
            key = next(key for key in self.keys if key.instance_id == instance(document))
            gone = not self.cloud.places[key].exists.now
            outcomes = self.record.outcomes.get(request, [])
            final = [outcome for outcome in outcomes if outcome in FINAL]
            if self._excused(key) and not final:
                continue
            if len(final) != 1 or outcomes[-1] != final[0]:
                yield f"{_short(document)} ended {outcomes or 'never'}"
            elif document["action"] == "revoke" and final != ["done"]:
                yield f"{_short(document)} ended {final}"
            elif one in alive and final != ["done"] and not gone:
                yield f"{_short(document)} is live and ended {final}"
            elif one in self.late and final != ["rejected"]:
                yield f"{_short(document)} was closed before it came, and ended {final}"
            if self.record.per_request[(*request, "held" if one in self.held else "admitted")] != 1:
                yield f"{_short(document)} was not admitted once"
        for issuer, request_id in {request[:2] for request in self.names.values()}:
            several = [request for request in self.names.values() if request[:2] == (issuer, request_id)]
            told = sum(self.record.per_request[(*request, "second-digest")] for request in several)
            if told != len(several) - 1 or len(set(several)) != len(several):
                yield f"{issuer} {request_id} has {len(several)} contents, told {told} times"
        for message_id in self.rubbish:
            if self.record.refused[message_id] != 1:
                yield f"message {message_id} was refused {self.record.refused[message_id]} times"

    def _wrong_leases(self) -> Iterator[str]:
        """Ends are recorded once, as they were approved."""
        revokes = [document for document in self._documents() if document["action"] == "revoke"]
        for document in {same(one): one for one in self._documents() if one["action"] == "grant"}.values():
            request = self.names.get(same(document))
            if request is None or not self.cloud.places[self._key_of(document)].exists.now:
                continue
            over = document.get("ends_at") is not None and millis(document["ends_at"]) <= self.turns.now
            closed = any(closes(revoke, document, SKEW_MS) for revoke in revokes)
            for kind, on_end in (("overdue", "report"), ("ended", "teardown")):
                often = self.record.per_request[(*request, kind)]
                right = over and document.get("on_end") == on_end
                if often > right or (right and not closed and often != 1):
                    yield f"{_short(document)}: {kind} was recorded {often} times"
            if self.record.per_request[(*request, "ending")] > (document.get("ends_at") is not None):
                yield f"{_short(document)}: ending was recorded too often"

    def _key_of(self, document: Document) -> GrantKey:
        return next(key for key in self.keys if key.instance_id == instance(document))

    def _wrong_transitions(self, news: list[dict[str, Any]]) -> Iterator[str]:
        """What we made and took down since the last rest was told, and what stands was told for these very leases."""
        told = {(one["grant"]["grant_id"], one["event"]) for one in news if one.get("grant")}
        generations = {one.key.grant_id: one.generation for one in self.ledger.standing()}
        for key in self.keys:
            place = self.cloud.places[key]
            if not place.exists.now or key in self.touched:
                continue
            for side, there, made, gone in (
                (GRANT, place.granted.now, "granted", "revoked"),
                (ASSOCIATE, place.link.now, "associated", "dissociated"),
            ):
                if side == ASSOCIATE and key.ecr_id == THEIRS:
                    continue
                if self.was.get((key, side)) and there is None and (key.grant_id, gone) not in told:
                    yield f"{key.instance_id}: {gone} was not told"
                now_told = self.record.per_generation[(key.grant_id, generations.get(key.grant_id, 0), made)]
                if self._leases(key) and now_told != 1:
                    yield f"{key.instance_id}: {made} was told {now_told} times for the present leases"
        yield from self._open_questions()

    def _open_questions(self) -> Iterator[str]:
        """No write is left unresolved, and nobody holds a claim for longer than a worker lives."""
        with self.ledger.engine.begin() as connection:
            unresolved = connection.execute(
                sql.select(intents.c.grant_id, intents.c.operation).where(intents.c.result.is_(None))
            ).all()
            claims = connection.execute(
                sql.select(sides.c.grant_id, sides.c.claimed_by).where(
                    sides.c.claimed_until > self.turns.now + CLAIM_MS
                )
            ).all()
        excused = {key.grant_id for key in self.keys if self._excused(key)}
        for row in unresolved:
            if row.grant_id not in excused:
                yield f"{self._name(row.grant_id)}: what became of {row.operation} is open"
        for row in claims:
            yield f"{self._name(row.grant_id)}: {row.claimed_by} holds a claim for too long"

    def _wrong_drift(self, news: list[dict[str, Any]], expected: dict[GrantKey, tuple[int, set[str]]]) -> Iterator[str]:
        """Drift is found where another hand was, and nowhere else."""
        found = [(one["grant"]["grant_id"], one["reason"]["code"]) for one in news if one["event"] == "drift-found"]
        touched = {key.grant_id for key in self.touched}
        resting_on = {key.grant_id for key, side in self.foreign if side == ASSOCIATE}
        resting_on |= {key.grant_id for key in self.adopted_links}
        for grant_id, kind in found:
            if kind == "prefixes-differ" and grant_id in resting_on:
                continue  # leases that rest on what another hand put up may come to want other prefixes
            if kind == "foreign-association" and grant_id in {key.grant_id for key in self.robots}:
                continue  # account A's own automation lets go when it gets round to it
            if grant_id not in touched:
                yield f"{self._name(grant_id)}: drift {kind} was found, and nobody else was there"
        for key, (since, kinds) in expected.items():
            ends = [millis(one["ends_at"]) for one in self._documents() if one.get("ends_at")]
            if any(since < end <= self.turns.now for end in ends):
                continue  # the end of a lease made somebody look before the tick could tell
            for kind in kinds:
                if (key.grant_id, kind) not in found:
                    yield f"{key.instance_id}: drift {kind} was not found"


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
    if event["event"] == "grant.failed":
        faults.append(traceback.format_exc(limit=-4))
    raise structlog.DropEvent


def _routes(key: GrantKey, count: int) -> tuple[str, ...]:
    return ROUTES[:count] if key.instance_type == "VPC" else ()


def _short(thing: Document | Mail) -> str:
    """A message in a few words."""
    document = thing.document if isinstance(thing, Mail) else thing
    if document is None:
        assert isinstance(thing, Mail)
        told = json.loads(thing.body)
        return f"{thing.message_id} {told.get('event') or 'wake'}"
    if "instance" not in document:
        return str(document["action"])
    at = millis(document["approved_at"]) - START
    what = (
        f"{document['action']} {document.get('issuer', 'direct')}/{document['request_id']} {instance(document)} at {at}"
    )
    if document["action"] == "revoke":
        return f"{what} closes {document['closes']}"
    ends = f" ends {millis(document['ends_at']) - START} {document['on_end']}" if document.get("ends_at") else ""
    return f"{what} {','.join(document.get('allowed_prefixes', []))} {document['reason'][-1]}{ends}"


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
