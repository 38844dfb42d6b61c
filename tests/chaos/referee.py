"""Judges every write to the model cloud at the moment it is asked for, from what was admitted and what stands there."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.model_cloud import Place, Write
from tests.chaos.reference import Document, closes, instance, millis, prefixes
from tests.chaos.turns import Turns, Violation, Worker

CREATING = ("grant", "associate")
REMOVING = ("revoke", "dissociate")


@dataclass
class Fact:
    """An approval that was admitted. ``believed``: from when on. ``sure``: the number since which nobody can miss it."""

    number: int
    document: Document
    believed: int
    sure: int | None


class Referee:
    """What an acting worker may and may not do. It gives the benefit of the doubt to whatever happened since it started."""

    def __init__(self, turns: Turns, skew: int, *, windowed: bool) -> None:
        self._turns = turns
        self._skew = skew
        self._windowed = windowed
        self.facts: list[Fact] = []
        self._tokens: dict[str, tuple[Write, Worker]] = {}
        self._last_token: dict[tuple[str, str], str] = {}
        self.excused: set[str] = set()  # instances where somebody else took something away since the last rest
        self.theirs: set[str] = set()  # instances whose association is account A's own to make

    def admitted(self, document: Document, early_until: int | None) -> bool:
        """A new approval is in the ledger. Says whether it was dead before it came."""
        now = self._turns.now
        number = len(self.facts)
        believed = now if early_until is None else early_until
        self.facts.append(Fact(number, document, believed, number if early_until is None else None))
        if document["action"] != "grant" or early_until is not None:
            return False
        return any(self._closes(fact, document) for fact in self.facts if fact.sure is not None)

    def at_rest(self) -> None:
        """Everything that was to be believed by now has been noticed by now."""
        for fact in self.facts:
            if fact.sure is None and fact.believed <= self._turns.now:
                fact.sure = len(self.facts)
        self.facts.append(Fact(len(self.facts), {"action": "rest"}, self._turns.now, None))
        self.excused.clear()

    def _closes(self, fact: Fact, grant: Document) -> bool:
        return fact.document["action"] == "revoke" and closes(fact.document, grant, self._skew)

    def _maybe_live(self, worker: Worker, on: str) -> list[Document]:
        """Leases that may have been alive at some moment since this worker started."""
        found = []
        for fact in self.facts:
            grant = fact.document
            if grant["action"] != "grant" or instance(grant) != on or fact.believed > self._turns.now:
                continue
            known = [one for one in self.facts if one.sure is not None and one.sure < worker.born]
            over = _ended_by(grant, worker.since) and not self._windowed
            if not over and not any(self._closes(one, grant) for one in known):
                found.append(grant)
        return found

    def _surely_live(self, worker: Worker, on: str) -> bool:
        """Whether some lease was alive all the time since this worker started."""
        now = self._turns.now
        believed = [fact for fact in self.facts if fact.believed <= now]
        return any(
            fact.sure is not None
            and fact.sure < worker.born
            and fact.document["action"] == "grant"
            and instance(fact.document) == on
            and not _ended_by(fact.document, now)
            and not any(self._closes(one, fact.document) for one in believed)
            for fact in self.facts
        )

    def asked(self, write: Write, place: Place) -> None:
        """Judge a write at the moment that it is asked for."""
        worker = self._turns.worker
        assert worker is not None
        on = write.key.instance_id
        who = f"{worker.name} ({worker.mode}): {write.operation} on {on}"
        if self._known_token(write, worker, who):
            return
        granted, link = place.granted.now, place.link.now
        there = granted if write.side == "grant" else link
        if worker.mode in ("observe", "pause-all"):
            raise Violation(f"{who}: a write in a mode that allows none")
        if worker.mode == "pause-teardown" and write.operation in REMOVING:
            raise Violation(f"{who}: took down while taking down was paused")
        if write.operation in CREATING and there is not None and on not in self.excused:
            raise Violation(f"{who}: it was there already: {there}")
        if write.operation not in CREATING and there is None and on not in self.excused:
            raise Violation(f"{who}: there is nothing")
        if write.operation not in CREATING and there is not None and not there.ours:
            raise Violation(f"{who}: that is not ours: {there}")
        if write.operation == "associate" and granted is None and on not in self.excused:
            raise Violation(f"{who}: it is not granted")
        if write.operation == "revoke":
            self._let_go(write, place, who)
        maybe = self._maybe_live(worker, on)
        if write.operation in REMOVING:
            if self._surely_live(worker, on):
                raise Violation(f"{who}: a lease was live all the time")
            return
        if not maybe:
            raise Violation(f"{who}: no lease was live at any time since {worker.since}")
        if set(write.prefixes) - set(prefixes(maybe)):
            raise Violation(f"{who}: nobody approved all of {write.prefixes}")

    def _known_token(self, write: Write, worker: Worker, who: str) -> bool:
        """Whether this repeats the very call that was made last on this side; another use of a token is forbidden."""
        place = write.key.instance_id, write.side
        before = self._tokens.get(write.token)
        if before is not None:
            if before != (write, worker) or self._last_token[place] != write.token:
                raise Violation(f"{who}: client token {write.token} was used before, for {before[0].operation}")
            return True
        self._tokens[write.token] = write, worker
        self._last_token[place] = write.token
        return False

    def landed(self, write: Write, place: Place) -> None:
        """Judge a write at the moment that it takes effect."""
        if write.operation == "revoke":
            self._let_go(write, place, "when it took effect")

    def _let_go(self, write: Write, place: Place, who: str) -> None:
        link = place.link.now
        if link is not None and write.key.instance_id not in self.theirs:
            raise Violation(f"{who}: revoked under {link}")


def _ended_by(grant: Document, moment: int) -> bool:
    return grant.get("on_end") == "teardown" and bool(grant.get("ends_at")) and millis(grant["ends_at"]) <= moment
