"""What a request would change of its grant, were it agreed to now: its leases, and both sides on the cloud.

Plain functions of what was read last: what others ask for meanwhile, and what a person holds, is not reckoned with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.messages.approval import DESK, Every
from shared.messages.consent import Asked, Wish
from shared.rules.facts import NOTHING_UP
from shared.rules.leases import Lease, Level, Wanted, wanted


class Becomes(StrEnum):
    """What becomes of one half of a grant, or of what is allowed there."""

    MADE = "made"
    SET = "set"  # an association's prefixes
    STAYS = "stays"
    TAKEN_DOWN = "taken-down"
    NOTHING = "nothing"  # there is nothing, and nothing is made


@dataclass(frozen=True)
class Effect:
    """What a request changes of one grant. ``ends``: the open leases that it ends; ``stays``: the others."""

    before: Wanted
    after: Wanted
    ends: tuple[Lease, ...]
    stays: tuple[Lease, ...]

    def grant(self, state: str) -> Becomes:
        """What becomes of account B's half, of which this was seen."""
        return _change(self.after.level, up=state not in NOTHING_UP)

    def association(self, state: str, prefixes: Sequence[str]) -> Becomes:
        """What becomes of account A's half, of which this was seen."""
        found = _change(self.after.level, up=state not in NOTHING_UP)
        right = self.after.beside(prefixes)
        return Becomes.SET if found is Becomes.STAYS and right and set(right) != set(prefixes) else found


def effect_of(asked: Asked, leases: Iterable[Lease]) -> Effect:
    """What a request comes to on its grant, whose open leases these are."""
    wish, known = asked.wish, tuple(leases)
    ends = tuple(lease for lease in known if _ends(wish, lease))
    stays = tuple(lease for lease in known if lease not in ends)
    opened = (_lease(asked),) if wish.opens else ()
    return Effect(wanted(known), wanted((*stays, *opened)), ends, stays)


def _ends(wish: Wish, lease: Lease) -> bool:
    if wish.closes == Every.EVERYONE:
        return True
    named = wish.replaces if wish.closes is None else wish.closes
    return lease.issuer == DESK and (named == Every.ALL or lease.request_id in named)


def _lease(asked: Asked) -> Lease:
    wish = asked.wish
    at = round(asked.at.timestamp() * 1000)
    return Lease(
        approval_id="",
        issuer=DESK,
        request_id=asked.request_id,
        digest="",
        approved_at=at,
        ends_at=None if wish.ends_at is None else round(wish.ends_at.timestamp() * 1000),
        on_end=wish.on_end,
        allowed_prefixes=tuple(wish.allowed_prefixes),
        admitted_at=at,
    )


def _change(level: Level, *, up: bool) -> Becomes:
    if level is Level.DOWN:
        return Becomes.TAKEN_DOWN if up else Becomes.NOTHING
    if up:
        return Becomes.STAYS
    return Becomes.MADE if level is Level.UP else Becomes.NOTHING
