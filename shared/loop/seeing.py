"""Who may see what: policy is asked about each account, once for a person and a configuration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shared import words
from shared.ledger.seeing import Scope
from shared.loop.gate import Standing
from shared.rules.questions import Question
from shared.rules.vouching import see

_MOST = 1_000
"""Persons whose scope is remembered."""


class Sight:
    """What each person may see, by what stands. Remembered, since nothing but a configuration and delegations change it."""

    def __init__(self, standing: Callable[[], Standing]) -> None:
        """``standing``: what is believed now; it may raise Unconfigured."""
        self._standing = standing
        self._known: tuple[Standing, dict[tuple[str, frozenset[str]], Scope]] | None = None

    def scope(self, person: str, now: datetime) -> Scope:
        """What somebody may see now. Raises what ``standing`` raises."""
        standing = self._standing()
        assert standing.version is not None  # noqa: S101  # it stands
        people = standing.version.configuration.people
        speaks_for = frozenset({person, *(one.of for one in people.delegations if one.to == person and one.holds(now))})
        by, known = self._known or (None, {})
        if by is not standing or len(known) >= _MOST:
            known = {}  # another thread may go on with those of before
            self._known = standing, known
        if (person, speaks_for) not in known:
            known[person, speaks_for] = _scope(standing, person, speaks_for)
        return known[person, speaks_for]


def _scope(standing: Standing, person: str, speaks_for: frozenset[str]) -> Scope:
    assert standing.version is not None  # noqa: S101  # as above
    configuration = standing.version.configuration
    inventory, people = configuration.inventory, configuration.people
    owns = {
        uid: not speaks_for.isdisjoint(people.members(account.owner) | people.members(account.fallback))
        for uid, account in inventory.accounts.items()
    }
    seen = frozenset(
        uid for uid, owner in owns.items() if _may(standing, see(person, uid, inventory, people, owner=owner))
    )
    others = _may(standing, see(person, None, inventory, people, owner=False))
    return Scope(person, seen, everything=others and len(seen) == len(owns))


def _may(standing: Standing, question: Question) -> bool:
    answer = standing.policy.decide(question)
    if answer.errors:
        words.policy_failed(rules=list(answer.rules), reason="; ".join(answer.errors))
    return answer.allowed
