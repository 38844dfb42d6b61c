"""Between what is tested and the model cloud: the queues and the topic, and what a function does around its loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from shared.errors import CloudUnreachable, GrantError
from shared.ledger.outbox import OutboxEntry, give_back, mark_published, take_entries
from shared.loop.consent import Consent
from shared.loop.converge import Converge
from shared.loop.doors import Doors
from shared.loop.gate import Gate
from shared.loop.intake import Intake
from shared.loop.reconcile import Reconcile
from shared.messages.completion import WAKE, Completion
from shared.messages.envelope import Item, parse
from shared.rules.facts import Mode, Side
from shared.settings import Settings
from tests.chaos.model_cloud import ModelCloud
from tests.chaos.model_world import APPROVALS, CLAIM_MS, SECOND, SETTINGS, SETTLE_MS
from tests.chaos.parts import ModelLedger, Parts
from tests.chaos.reference import Document, Seal
from tests.chaos.turns import Died, Turns, Violation
from tests.configured import CONFIG_KEYS

PUBLISHING_MS = 240_000
AGAIN_MS = 15 * SECOND
DOORS = Doors(SETTINGS, "")
HEARS = {Side.GRANT: ("dissociated",), Side.ASSOCIATE: ("granted", "unwanted")}  # as the topic is subscribed to


@dataclass
class Mail:
    """A message in a queue. ``document``: the approval in it, when it is one; ``seal``: who sealed that, and when."""

    message_id: str
    body: str
    due: int
    document: Document | None = None
    seal: Seal | None = None


class Post:
    """Queues and the topic. Messages come twice, late, in any order; what is not an approval may get lost."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.queues: dict[str, list[Mail]] = {Side.GRANT: [], Side.ASSOCIATE: []}
        self.published: dict[str, str] = {}
        self.mails: dict[str, Mail] = {}
        self.unconfirmed: set[int] = set()  # published, and not known to the ledger as published
        self.hear: Callable[[Completion], None] = lambda _: None
        self._numbers = 0

    def message_id(self) -> str:
        """An id for a new message."""
        self._numbers += 1
        return f"m{self._numbers}"

    def put(self, side: str, body: str, due: int, document: Document | None = None, seal: Seal | None = None) -> Mail:
        """Put a message into a queue."""
        mail = Mail(self.message_id(), body, due, document, seal)
        self.again(side, mail)
        return mail

    def again(self, side: str, mail: Mail) -> None:
        """Put a message into a queue that has a name already."""
        self.mails[mail.message_id] = mail
        self.queues[side].append(mail)

    def send(self, side: str, body: str, due: int) -> None:
        """Send a wake. It may get lost."""
        turns = self._turns
        if turns.luck.strikes(turns.trouble.unsent):
            turns.counts["wake lost"] += 1
            return
        self.put(side, body, due)

    def publish(self, entry: OutboxEntry) -> None:
        """Publish a completion to whom it concerns. Raises CloudUnreachable, perhaps after the effect."""
        turns = self._turns
        turns.boundary("before publishing")
        unsent = turns.luck.strikes(turns.trouble.unsent)
        if unsent and turns.luck.strikes(0.5):
            turns.counts["publishing failed"] += 1
            raise CloudUnreachable("no answer", executed=True)
        completion = parse(entry.body)
        assert isinstance(completion, Completion)
        self._once(entry, completion)
        for side, tags in HEARS.items():
            if entry.tag in tags:
                self.send(side, entry.body, turns.now)
        self.hear(completion)
        turns.boundary("after publishing")
        if unsent:
            turns.counts["publishing unanswered"] += 1
            raise CloudUnreachable("no answer", executed=True)

    def _once(self, entry: OutboxEntry, completion: Completion) -> None:
        """Nothing is published twice but what nobody can know to be out, and what somebody asked for again."""
        before = self.published.setdefault(completion.id, entry.body)
        if before != entry.body:
            raise Violation(f"completion {completion.id} was published with another content")
        if before is not entry.body and entry.seq not in self.unconfirmed:
            raise Violation(f"completion {entry.seq} ({entry.tag}) was published twice")
        self.unconfirmed.add(entry.seq)


@dataclass
class Invocation:
    """What one invocation finds around it, as ``shared.loop.frame.Frame`` has it for the timer's work."""

    desk: Desk
    gate: Gate
    settings: Settings = SETTINGS

    @property
    def ledger(self) -> ModelLedger:
        """The ledger."""
        return self.desk.ledger

    def publish(self) -> None:
        """Everything that the outbox holds."""
        self.desk.publish()

    def wake(self, grant_id: str | None, side: Side, next_at: int) -> None:
        """A delayed message that looks again."""
        self.desk.wake(grant_id, side, next_at)


class Desk:
    """What ``shared.loop.frame.Frame`` does around the loop, with everything handed in."""

    def __init__(self, parts: Parts, ledger: ModelLedger, cloud: ModelCloud, turns: Turns, post: Post) -> None:
        self.ledger = ledger
        self._parts, self._cloud, self._turns, self._post = parts, cloud, turns, post
        self._idle: list[Gate] = []  # of processes that wait for their next event
        self.refused: Callable[[Mail], None] = lambda _: None

    @contextmanager
    def _gate(self) -> Iterator[Gate]:
        """The gate of the process that takes an invocation: one that waited, or a new one. Who dies takes it along."""
        turns = self._turns
        gate = self._idle.pop() if self._idle else self._parts.gate(self.ledger, CONFIG_KEYS, 1, turns.clock)
        try:
            gate.look()
            yield gate
        except Died:
            raise
        except BaseException:
            self._idle.append(gate)
            raise
        self._idle.append(gate)

    def handle(self, side: str, mails: Sequence[Mail]) -> None:
        """One event: admit, converge, publish, wake."""
        worker = self._turns.worker
        assert worker is not None
        with self._gate() as gate:
            converge = Converge(
                self.ledger,
                self._parts.spoke(self._cloud) if side == Side.GRANT else self._parts.hub(self._cloud),
                gate,
                worker=worker.name,
                mode=Mode.FULL,
                clock=self._turns.clock,
                settle_ms=SETTLE_MS,
                claim_ms=CLAIM_MS,
            )
            touched = self._taken_in(gate, Side(side), mails)
            self.publish()
            for grant_id in touched:
                visit = converge.visit(grant_id)
                self._turns.counts[f"visit: {visit.outcome}"] += 1
                self.publish()
                if visit.next_at is not None:
                    self.wake(grant_id, side, visit.next_at)

    def _taken_in(self, gate: Gate, side: Side, mails: Sequence[Mail]) -> dict[str, None]:
        """The grants to look at. What nobody can judge yet comes again."""
        items = [Item(mail.message_id, mail.body, APPROVALS if side is Side.GRANT else None) for mail in mails]
        touched: dict[str, None] = {}
        hear = Consent(self.ledger, gate, self._turns.clock).hear if side is Side.GRANT else tuple
        found = Intake(self.ledger, gate, DOORS, side, hear=hear, clock=self._turns.clock).take(items)
        for mail, taken in zip(mails, found, strict=True):
            touched |= dict.fromkeys(taken.grants)
            if taken.refused:
                self.refused(mail)
            if taken.later is not None:
                self._turns.counts["sent again"] += 1
                self._post.again(side, replace(mail, due=self._turns.now + AGAIN_MS))
        return touched

    def publish(self) -> None:
        """Everything that the outbox holds."""
        while entries := self.ledger.write(take_entries, 20, self._turns.now, self._turns.now + PUBLISHING_MS):
            for position, entry in enumerate(entries):
                try:
                    self._post.publish(entry)
                except GrantError:
                    self.ledger.write(give_back, [left.seq for left in entries[position:]])
                    return
                self.ledger.write(mark_published, [entry.seq])
                self._post.unconfirmed.discard(entry.seq)

    def wake(self, grant_id: str | None, side: str, next_at: int) -> None:
        """A delayed message that looks again."""
        self._turns.boundary("before a wake")
        body = {"schema": WAKE} | ({} if grant_id is None else {"grant_id": grant_id})
        self._post.send(side, json.dumps(body), next_at)

    def reconcile(self) -> None:
        """One tick."""
        with self._gate() as gate:
            Reconcile(Invocation(self, gate), self._cloud, clock=self._turns.clock, accounts_at_once=1).run()
