"""Between what is tested and the model cloud: the queues and the topic, and what a function does around its loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.errors import CloudUnreachable, GrantError, PermanentError
from shared.ledger.admission import admit, reject_message
from shared.ledger.outbox import OutboxEntry, give_back, mark_published, take_entries
from shared.loop.converge import Converge
from shared.loop.reconcile import Reconcile
from shared.messages.completion import WAKE, Completion, Reason, Request, Wake
from shared.messages.envelope import parse
from shared.rules.facts import Mode, Side
from tests.chaos.model_cloud import ModelCloud
from tests.chaos.model_world import CLAIM_MS, INVENTORY, SETTINGS, SETTLE_MS
from tests.chaos.parts import ModelLedger, Parts
from tests.chaos.reference import Document
from tests.chaos.turns import Turns, Violation

PUBLISHING_MS = 240_000
HEARS = {Side.GRANT: ("dissociated",), Side.ASSOCIATE: ("granted", "unwanted")}  # as the topic is subscribed to


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
        self.queues: dict[str, list[Mail]] = {Side.GRANT: [], Side.ASSOCIATE: []}
        self.published: dict[str, str] = {}
        self.unconfirmed: set[int] = set()  # published, and not known to the ledger as published
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


class Desk:
    """What ``shared.frame.Frame`` does around the loop, with everything handed in."""

    def __init__(self, parts: Parts, ledger: ModelLedger, cloud: ModelCloud, turns: Turns, post: Post) -> None:
        self.ledger = ledger
        self.inventory = INVENTORY
        self.settings = SETTINGS
        self._parts, self._cloud, self._turns, self._post = parts, cloud, turns, post
        self.admitted: Callable[[Document, str, str], None] = lambda _document, _digest, _message_id: None
        self.refused: Callable[[Mail], None] = lambda _: None

    def handle(self, side: str, mails: Sequence[Mail]) -> None:
        """One event: admit, converge, publish, wake."""
        worker = self._turns.worker
        assert worker is not None
        converge = Converge(
            self.ledger,
            self._parts.spoke(self._cloud) if side == Side.GRANT else self._parts.hub(self._cloud),
            self.inventory,
            worker=worker.name,
            mode=Mode.FULL,
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
            document, digest, worker = mail.document, body.digest, self._turns.worker
            if document is not None and worker is not None:
                worker.committed = lambda: self.admitted(document, digest, mail.message_id)
            admission = self.ledger.write(
                admit, body, mail.message_id, self._turns.now, self.ledger.timing, self.inventory.allow
            )
            if worker is not None:
                worker.committed = None
            if not admission.new:
                self._turns.counts["admitted again"] += 1
            return admission.touched
        except PermanentError as error:
            if self._turns.worker is not None:
                self._turns.worker.committed = None
            self.ledger.write(
                reject_message, mail.message_id, mail.body, Reason.of(error), self._turns.now, request=request
            )
            self.refused(mail)
            return ()

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

    def wake(self, grant_id: str, side: str, next_at: int) -> None:
        """A delayed message that looks again."""
        self._turns.boundary("before a wake")
        self._post.send(side, json.dumps({"schema": WAKE, "grant_id": grant_id}), next_at)

    def reconcile(self) -> None:
        """One tick."""
        Reconcile(self, self._cloud, clock=self._turns.clock, accounts_at_once=1).run()
