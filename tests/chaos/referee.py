"""Judges every write to the model cloud at the moment it is asked for, from what was admitted and what stands there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.messages.forms import GrantKey
from tests.chaos.model_cloud import Place, Write
from tests.chaos.reference import Document, Said, closed, early_until, ends, instance, same, vouched
from tests.chaos.turns import Said as Word
from tests.chaos.turns import Turns, Violation, Worker

CREATING = ("grant", "associate")
REMOVING = ("revoke", "dissociate")

Name = tuple[str, str, str]


@dataclass
class Fact:
    """An approval that was admitted. ``believed``: from when on. ``sure``: the number since which nobody can miss it."""

    number: int
    said: Said
    believed: int
    sure: int | None
    kid: str
    refused: bool = False  # later, while its account was not listed, or when its date came
    void: bool = False  # refused when its date came: it closes nothing either

    @property
    def opens(self) -> bool:
        """Whether it is a lease."""
        return str(self.said.document["action"]) == "grant"


class Referee:
    """What an acting worker may and may not do. It gives the benefit of the doubt to whatever happened since it started."""

    def __init__(self, turns: Turns, skew: int) -> None:
        self._turns = turns
        self._skew = skew
        self.facts: list[Fact] = []
        self.rests = 0
        self._tokens: dict[str, tuple[Write, Worker]] = {}
        self._last_token: dict[tuple[str, str], str] = {}
        self.delisted = False  # at some time since the last rest: what waits may be refused
        self.excused: set[str] = set()  # instances where somebody else took something away since the last rest
        self.theirs: set[str] = set()  # instances whose association is account A's own to make

    @property
    def count(self) -> int:
        """How much has happened: a worker that is born now knows of all of it."""
        return len(self.facts) + self.rests

    def admitted(self, said: Said, kid: str) -> bool:
        """A new approval is in the ledger. Says whether it was closed before it came."""
        now, number = self._turns.now, self.count
        opens = said.document["action"] == "grant"
        waits = early_until(said, self._skew) if opens else None
        before = [fact for fact in self.facts if not fact.opens or (fact.sure is not None and not fact.void)]
        gone = opens and any(self._closes(fact, said) for fact in before)
        self.facts.append(Fact(number, said, now if waits is None else waits, number if waits is None else None, kid))
        return gone

    def took_effect(self, one: str) -> None:
        """An early lease counts from now on, as the transaction says that recorded it: so it closes what it replaces."""
        for fact in self.facts:
            if fact.sure is None and same(fact.said.document) == one:
                fact.sure = self.count

    def at_rest(self, name: Callable[[Document], Name | None], refused: set[Name], void: set[Name]) -> None:
        """Everything that was to be believed by now has been noticed by now. ``refused``: what was after its admission;
        ``void``: what was when its date came."""
        for fact in self.facts:
            fact.void = fact.void or name(fact.said.document) in void
            fact.refused = fact.refused or fact.void or name(fact.said.document) in refused
            if fact.sure is None and fact.believed <= self._turns.now:
                fact.sure = self.count
        self.rests += 1
        self.excused.clear()
        self.delisted = False

    def _closes(self, fact: Fact, grant: Said) -> bool:
        return closed(grant, [fact.said], self._turns.now, self._skew)

    def _maybe_live(self, worker: Worker, on: str) -> list[Said]:
        """Leases that may have let somebody make something at some moment since this worker started."""
        found = []
        for fact in self.facts:
            grant = fact.said
            if not fact.opens or instance(grant.document) != on or fact.believed > self._turns.now:
                continue
            known = [one for one in self.facts if one.sure is not None and one.sure < worker.born and not one.void]
            end = ends(grant.document)
            over = end is not None and end <= worker.since
            proven = vouched(fact.kid, worker.said.version)
            if proven and not over and not any(self._closes(one, grant) for one in known):
                found.append(grant)
        return found

    def _surely_live(self, worker: Worker, on: str) -> bool:
        """Whether some lease was before its end all the time since this worker started, and nothing closed it."""
        now = self._turns.now
        for fact in self.facts:
            grant = fact.said
            sure = fact.sure is not None and fact.sure < worker.born
            if not sure or not fact.opens or fact.refused or instance(grant.document) != on:
                continue
            end = ends(grant.document)
            if (end is None or end > now) and not any(self._closes(one, grant) for one in self.facts):
                return True
        return False

    def asked(self, write: Write, place: Place) -> None:
        """Judge a write at the moment that it is asked for."""
        worker = self._turns.worker
        assert worker is not None
        on = write.key.instance_id
        who = f"{worker.name} ({worker.said.mode}): {write.operation} on {on}"
        if self._known_token(write, worker, who):
            return
        granted, link = place.granted.now, place.link.now
        standing = frozenset(link.prefixes) if link is not None else frozenset[str]()
        self._allowed(write, worker.said, standing, who, sure=on not in self.excused)
        there = granted if write.side == "grant" else link
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
            if self._surely_live(worker, on) and not self.delisted:
                raise Violation(f"{who}: a lease was live all the time")
            return
        if write.operation in CREATING and not maybe:
            raise Violation(f"{who}: no lease was before its end at any time since {worker.since}")
        approved = {prefix for lease in maybe for prefix in lease.document.get("allowed_prefixes", [])}
        if on not in self.excused and set(write.prefixes) - approved - standing:
            raise Violation(f"{who}: nobody approved all of {write.prefixes}, and {sorted(standing)} stand")

    def _allowed(self, write: Write, word: Word, standing: frozenset[str], who: str, *, sure: bool) -> None:
        """What people let nobody do, as they had said when the write was committed to."""
        names = _names(write.key)
        create = word.mode in ("observe", "pause-all") or any((kind, name) in names for kind, name, _ in word.holds)
        everything = any((kind, name) in names for kind, name, every in word.holds if every)
        remove = word.mode != "full" or everything
        widens, narrows = set(write.prefixes) - standing, standing - set(write.prefixes)
        changes = write.operation == "set_prefixes" and sure
        makes = write.operation in CREATING or (changes and widens)
        if makes and not word.version.believed:
            raise Violation(f"{who}: made something while nobody can believe the configuration: {word.version}")
        if makes and not word.version.listed:
            raise Violation(f"{who}: made something while account B is not listed: {word.version}")
        if create and makes:
            raise Violation(f"{who}: made something while that was stopped: {word}")
        if remove and (write.operation in REMOVING or (changes and narrows)):
            raise Violation(f"{who}: took something away while that was stopped: {word}")

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


def _names(key: GrantKey) -> set[tuple[str, str]]:
    """What a hold on this grant can be said of."""
    accounts = {("account", key.ecr_owner_uid), ("account", key.instance_owner_uid)}
    return {("grant", key.grant_id), ("ecr", key.ecr_id), *accounts}
