"""Who may what on which account, as policy answers it now: the same questions that are asked when somebody sees, asks, decides or
operates, about an example of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.loop.gate import Standing
from shared.messages.approval import Ecr, Instance
from shared.messages.consent import Asked, Decided, Looked, RequestKind, Strength, Voice, Wish, snapshot_of
from shared.messages.forms import InstanceType
from shared.rules import consent, vouching
from shared.rules.configuration import Configuration
from shared.rules.facts import Side
from shared.rules.questions import Command, Question, TargetKind

_NOBODY = "(somebody else)"
"""Who asked for what is decided about: no person has that name."""


@dataclass(frozen=True)
class Right:
    """What one person may on one account. ``decides``: the sides of it that they may say yes for, signed in a moment ago, about
    what somebody else asked for and preflight found no fault with. ``instead_of``: who delegated to them that may.

    ``asks``: for a new grant on it. ``operates``: the commands that they may give about the account.
    """

    person: str
    account: str
    sees: bool
    asks: bool
    decides: tuple[Side, ...]
    instead_of: tuple[str, ...]
    leads: bool
    operates: tuple[Command, ...]

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return bool(self.sees or self.asks or self.decides or self.leads or self.operates)


def rights(standing: Standing, pairs: Iterable[tuple[str, str]], now: datetime) -> Iterator[Right]:
    """What these persons may on these listed accounts, as (person, uid); without pairs of whom there is nothing to say."""
    asking = _Asking(standing, now)
    return (found for person, uid in pairs if (found := asking.right(person, uid)).any)


class _Asking:
    """Asks policy what stands for."""

    def __init__(self, standing: Standing, now: datetime) -> None:
        assert standing.version is not None  # noqa: S101  # it stands
        self._standing, self._now = standing, now
        self._configuration: Configuration = standing.version.configuration
        accounts = self._configuration.inventory.accounts
        self._routers = {uid: next(iter(account.ecrs)) for uid, account in accounts.items() if account.ecrs}

    def right(self, person: str, uid: str) -> Right:
        """What one may on one account that is listed."""
        inventory, people = self._configuration.inventory, self._configuration.people
        account = inventory.accounts[uid]
        decides, instead_of = self._decides(person, uid)
        owner = uid in consent.spoken_for(person, self._now, inventory, people)
        return Right(
            person=person,
            account=uid,
            sees=self._allowed(vouching.see(person, uid, inventory, people, owner=owner)),
            asks=any(self._asks(person, self._wish(uid, side)) for side in Side),
            decides=decides,
            instead_of=instead_of,
            leads=person in people.members(account.lead),
            operates=tuple(command for command in (Command.HOLD, Command.LIFT) if self._operates(person, command, uid)),
        )

    def _operates(self, person: str, command: Command, uid: str) -> bool:
        people = self._configuration.people
        if person not in people.persons:
            return False
        return self._allowed(vouching.operate_at_desk(_fresh(person), command, TargetKind.ACCOUNT, uid, people))

    def _asks(self, person: str, wish: Wish | None) -> bool:
        inventory, people = self._configuration.inventory, self._configuration.people
        return wish is not None and self._allowed(vouching.ask(person, wish, inventory, people))

    def _decides(self, person: str, uid: str) -> tuple[tuple[Side, ...], tuple[str, ...]]:
        inventory, people = self._configuration.inventory, self._configuration.people
        sides, instead_of = list[Side](), list[str]()
        for side in Side:
            wish = self._wish(uid, side)
            if wish is None:
                continue
            may = consent.speakers(side, wish.grant, _NOBODY, self._now, inventory, people)
            speaker = next((one for one in may if one.person == person), None)
            if speaker is None:
                continue
            standing = _looked_at(wish, self._now)
            word = _word(standing, side, speaker, self._now)
            if self._allowed(vouching.decide(word, standing, inventory, people)):
                sides.append(side)
                instead_of += [] if speaker.instead_of is None else [speaker.instead_of]
        return tuple(sides), tuple(dict.fromkeys(instead_of))

    def _wish(self, uid: str, side: Side) -> Wish | None:
        """An example of a request with that account as that side; None where it cannot be one."""
        others = [one for one in self._routers if one != uid]
        owner = uid if side is Side.ASSOCIATE else next(iter(others or self._routers), None)
        if owner is None or owner not in self._routers:
            return None
        instance = uid
        if side is Side.ASSOCIATE:
            instance = next((one for one in self._configuration.inventory.accounts if one != uid), uid)
        regions = self._configuration.inventory.accounts[instance].regions or self._configuration.inventory.regions
        return Wish(
            kind=RequestKind.GRANT,
            ecr=Ecr(id=self._routers[owner], owner_uid=owner),
            instance=Instance(
                type=InstanceType.VPC,
                id="vpc-example",
                region=(regions or ["cn-hangzhou"])[0],
                owner_uid=instance,
            ),
            allowed_prefixes=["10.0.0.0/24"],
            ends_at=self._now + timedelta(days=1),
            reason="An example",
        )

    def _allowed(self, question: Question) -> bool:
        answer = self._standing.policy.decide(question)
        return answer.allowed and not answer.errors


def _fresh(person: str) -> Voice:
    return Voice(person=person, subject=person, strength=Strength.FRESH)


def _looked_at(wish: Wish, now: datetime) -> consent.Standing:
    """A request of somebody else that preflight has found no fault with."""
    by = Voice(person=_NOBODY, subject=_NOBODY, strength=Strength.SIGNED_IN)
    later = now + timedelta(days=1)
    asked = Asked(request_id="r-example", at=now, wish=wish, by=by, lapses_at=later, configuration=0)
    looked = Looked(request_id=asked.request_id, at=now, snapshot=snapshot_of({}), content={})
    return consent.fold([asked, looked])


def _word(standing: consent.Standing, side: Side, speaker: consent.Speaker, now: datetime) -> Decided:
    assert standing.looked is not None  # noqa: S101  # it was
    return Decided(
        request_id=standing.request_id,
        at=now,
        side=side.value,
        agrees=True,
        by=_fresh(speaker.person),
        instead_of=speaker.instead_of,
        snapshot=standing.looked.snapshot,
        configuration=0,
    )
