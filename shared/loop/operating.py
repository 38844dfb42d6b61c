"""The desk's use case for operators: it records a word that policy lets them say, and carries nothing out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import BadInput, Unconfigured
from shared.ledger.operating_seen import key_seen
from shared.ledger.operations import say_operation
from shared.ledger.seeing import Scope
from shared.ledger.transactions import Ledger
from shared.loop.gate import Gate, Standing
from shared.messages.consent import Operated, Operation, Strength, Voice
from shared.rules.inventory import Inventory
from shared.rules.operating import About, asked_of_policy
from shared.rules.questions import Answer, ensure
from shared.rules.vouching import operate_at_desk

MOST_PEOPLE = 200
"""People of whom policy is asked who may operate."""
_MOST_ANSWERS = 10_000
"""Answers of policy that are remembered."""


@dataclass(frozen=True)
class Said:
    """An operator's word as it stands recorded. ``news``: False where it was said before, under the same name."""

    fact: Operated
    news: bool


@dataclass(frozen=True)
class MaySay:
    """Whether somebody may say a word now. ``advice`` and ``rules``: why not; ``fresh``: a fresh sign-in would do."""

    yes: bool
    advice: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    fresh: bool = False


class Rights:
    """Who may operate, by what stands. Remembered, since nothing but another configuration changes it."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        """``standing``: what is believed now; it may raise Unconfigured."""
        self._standing = standing
        self._known: tuple[Standing, dict[tuple[str, bool, About], Answer]] | None = None
        self._told: tuple[Standing, dict[About, list[str]]] | None = None

    def may(self, by: Voice, about: About) -> MaySay:
        """What policy says of this word, before it is said. Raises what ``standing`` raises."""
        answer = self._answer(by.person, about, fresh=by.relay is None and by.strength is Strength.FRESH)
        fresh = not answer.allowed and self._answer(by.person, about, fresh=True).allowed
        return MaySay(answer.allowed, answer.advice, answer.rules, fresh)

    def operators(self, about: About) -> list[str]:
        """Who may say this word, once they have signed in anew; of the first ``MOST_PEOPLE`` that are listed."""
        standing = self._standing()
        assert standing.version is not None  # noqa: S101  # it stands
        by, known = self._told or (None, {})
        if by is not standing:
            known = {}
            self._told = standing, known
        if about not in known:
            names = sorted(standing.version.configuration.people.persons)[:MOST_PEOPLE]
            known[about] = [name for name in names if self._answer(name, about, fresh=True).allowed]
        return known[about]

    def _answer(self, person: str, about: About, *, fresh: bool) -> Answer:
        standing = self._standing()
        assert standing.version is not None  # noqa: S101  # it stands
        by, known = self._known or (None, {})
        if by is not standing or len(known) >= _MOST_ANSWERS:
            known = {}  # another thread may go on with those of before
            self._known = standing, known
        asked = (person, fresh, about)
        if asked not in known:
            strength = Strength.FRESH if fresh else Strength.SIGNED_IN
            voice = Voice(person=person, subject=person, strength=strength)
            target = about.asked_of_policy(standing.deployment or "")
            question = operate_at_desk(voice, *target, standing.version.configuration.people)
            known[asked] = standing.policy.decide(question)
        return known[asked]


class Operators:
    """One for each caller's request, or shared: it keeps nothing but its parts."""

    def __init__(self, ledger: Ledger, gate: Gate, clock: Callable[[], int]) -> None:
        """``clock``: epoch milliseconds."""
        self._ledger, self._gate, self._clock = ledger, gate, clock

    def say(self, by: Voice, scope: Scope, operation: Operation, *, name: str | None = None) -> Said:
        """Record it. ``scope``: what they may see, since they operate on nothing else. ``name``: saying it again under it says
        nothing new.

        Raises NotAllowed with what policy says, or NameUsedAgain; BadInput (NoSuchGrant, NoSuchTarget) for what is not there or
        may not be seen; Unconfigured.
        """
        self._gate.look()
        self._gate.overtaken()
        standing = self._gate.standing
        if standing.fault is not None or standing.version is None:
            raise Unconfigured(standing.fault or "")
        configuration = standing.version.configuration
        asked = asked_of_policy(operation, standing.deployment or "")
        ensure(standing.policy.decide(operate_at_desk(by, *asked, configuration.people)))
        operation_id = f"o-{uuid.uuid4().hex[:20]}" if name is None else _named(by, name)
        fact = Operated(
            operation_id=operation_id,
            at=datetime.fromtimestamp(self._clock() / 1000, UTC),
            operation=operation,
            by=by,
            accounts=list(self._accounts(scope, operation, configuration.inventory)),
            configuration=standing.number,
        )
        return Said(*self._ledger.write(say_operation, fact))

    def _accounts(self, scope: Scope, operation: Operation, inventory: Inventory) -> Sequence[str]:
        """Whose it is what it is about. Raises BadInput for what is not there, or may not be seen by whoever says it."""
        if operation.grant_id is not None:
            key = self._ledger.read(key_seen, scope, operation.grant_id)
            if key is None:
                raise BadInput(f"name: there is no grant {operation.name} that you may see", code="NoSuchGrant")
            return key.ecr_owner_uid, key.instance_owner_uid
        if operation.kind is None:
            return ()
        owners = [operation.name]
        if operation.kind == "ecr":
            owners = [uid for uid, account in inventory.accounts.items() if operation.name in account.ecrs]
        if not owners or not scope.sees(owners[0]):
            raise BadInput(f"name: there is no {operation.kind} {operation.name} that you may see", code="NoSuchTarget")
        return owners[:1]


def _named(by: Voice, name: str) -> str:
    """The id of what this person says under a name of theirs: the same however often it is sent."""
    return f"o-{uuid.uuid5(uuid.NAMESPACE_OID, f'{by.person}{chr(10)}operation{chr(10)}{name}').hex[:20]}"
