"""What people do at the desk: ask, decide, withdraw. Each is one transaction that adds facts, and answers by what was said.

Nothing here approves anything: what the facts amount to is the grant function's to say.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.errors import BadInput, NotAllowed, Unconfigured
from shared.ledger.consent import add_facts, in_the_way, standings
from shared.ledger.transactions import Ledger
from shared.loop import consent as heard
from shared.loop.gate import Gate, Standing
from shared.messages.consent import AnyFact, Asked, Decided, LookAsked, Looked, Reviewed, Voice, Wish, Withdrawn
from shared.rules import consent
from shared.rules.consent import Needed, Speaker, ensure_decidable, ensure_open, how_it_ended, speakers
from shared.rules.facts import Side
from shared.rules.questions import ensure
from shared.rules.vouching import ask, decide

MOST_AT_ONCE = 200
"""Requests of one batch."""
Expected = Callable[[consent.Standing], None]
"""Raises where a request does not stand as whoever speaks was told. Asked right before something new is said of it."""


def _anything(_standing: consent.Standing) -> None:
    """However it stands."""


@dataclass(frozen=True)
class Answer:
    """How a request stands after what was just said, and whose yes it takes at least. ``said``: False where it was said
    before.
    """

    standing: consent.Standing
    needs: Needed | None = None
    said: bool = True


@dataclass(frozen=True)
class Checked:
    """What asking would be answered. ``needs``: whose yes it takes at least, None where nobody else's; ``deciders``: who may say
    it for each side; ``error``: why it cannot be asked.
    """

    wish: Wish
    needs: Needed | None
    deciders: Mapping[Side, Sequence[Speaker]]
    error: BadInput | NotAllowed | None = None


class Desk:
    """The use cases. One for each caller's request, or shared: it keeps nothing but its parts."""

    def __init__(self, ledger: Ledger, gate: Gate, clock: Callable[[], int], *, lapse: timedelta) -> None:
        """``clock``: epoch milliseconds. ``lapse``: how long a request can be decided."""
        self._ledger, self._gate, self._clock, self._lapse = ledger, gate, clock, lapse

    def ask(self, by: Voice, wishes: Sequence[Wish], *, name: str | None = None) -> list[Answer]:
        """Ask for these; several are a batch of ordinary requests. ``name``: asking again under it asks nothing new, and is
        answered by how the first stands.

        Raises NotAllowed where policy does not let this person ask, where nobody could decide (NobodyCanDecide, with who would
        have to exist) or an emergency is open or unreviewed, BadInput for what no approval can say, and Unconfigured.
        """
        _ensure_count(wishes)
        standing = self._standing()
        now = self._now()
        together = f"b-{uuid.uuid4().hex[:20]}" if len(wishes) > 1 else None
        asked, needs = [], []
        for number, wish in enumerate(wishes):
            request_id = f"r-{uuid.uuid4().hex[:20]}" if name is None else _named(by, name, number)
            fact = Asked(
                request_id=request_id,
                at=now,
                wish=wish,
                by=by,
                batch=together if name is None else together and _named(by, name, None),
                lapses_at=now + self._lapse,
                configuration=standing.number,
            )
            try:
                needs.append(self._checked(standing, fact))
            except (BadInput, NotAllowed) as error:
                raise _of_wish(number, wish, error) if len(wishes) > 1 else error from None
            asked.append(fact)
        return [self._asked(fact, need) for fact, need in zip(asked, needs, strict=True)]

    def check(self, by: Voice, wishes: Sequence[Wish]) -> list[Checked]:
        """What asking for each of these would be answered; nothing is asked, and what is wrong with one stops no other.

        Raises BadInput for too many, and Unconfigured.
        """
        _ensure_count(wishes)
        standing, now = self._standing(), self._now()
        found = []
        for wish in wishes:
            fact = Asked(
                request_id="r-checked",
                at=now,
                wish=wish,
                by=by,
                lapses_at=now + self._lapse,
                configuration=standing.number,
            )
            try:
                found.append(Checked(wish, self._checked(standing, fact), self._deciders(standing, fact)))
            except (BadInput, NotAllowed) as error:
                found.append(Checked(wish, None, {}, error))
        return found

    def _deciders(self, standing: Standing, fact: Asked) -> dict[Side, list[Speaker]]:
        assert standing.version is not None  # noqa: S101  # it stands
        configuration = standing.version.configuration
        inventory, people = configuration.inventory, configuration.people
        return {side: speakers(side, fact.wish.grant, fact.by.person, fact.at, inventory, people) for side in Side}

    def _checked(self, standing: Standing, fact: Asked) -> Needed | None:
        assert standing.version is not None  # noqa: S101  # it stands
        configuration = standing.version.configuration
        inventory, people = configuration.inventory, configuration.people
        ensure(standing.policy.decide(ask(fact.by.person, fact.wish, inventory, people)))
        alone = consent.Standing(fact)
        approval = fact.wish.approval(fact.request_id, fact.by.person, [fact.by.person], fact.at)
        inventory.check(fact.wish.grant)
        inventory.allow(approval)
        if fact.wish.emergency:
            self._one_emergency(fact)
        if not fact.wish.opens and consent.owns(fact.by.person, fact.wish.grant, inventory, people):
            return None
        return heard.takes(standing, alone, self._clock())

    def _one_emergency(self, fact: Asked) -> None:
        """One emergency is open for each person and grant, and none before the last one was reviewed."""
        why = self._ledger.read(in_the_way, fact, self._clock())
        if why is not None:
            raise NotAllowed(why, code="EmergencyOpen")

    def _asked(self, fact: Asked, need: Needed | None) -> Answer:
        def say(standing: consent.Standing | None) -> Sequence[AnyFact]:
            if standing is None:
                return [fact]
            if standing.asked.wish != fact.wish:
                raise NotAllowed(
                    f"{fact.request_id} was asked before under this name, for something else", code="NameUsedAgain"
                )
            return []

        standing, added = self._ledger.write(add_facts, fact.request_id, say)
        return Answer(standing, need, bool(added))

    def decide(
        self,
        by: Voice,
        request_id: str,
        side: Side,
        snapshot: str,
        *,
        agrees: bool,
        reason: str = "",
        expected: Expected = _anything,
    ) -> Answer:
        """One person's word for a side, about what they were shown.

        Raises NotAllowed: RequestEnded with how, NotLookedYet, SnapshotChanged, or what policy says; BadInput for no request.
        Repeating it says nothing twice.
        """
        standing, now = self._standing(), self._now()
        assert standing.version is not None  # noqa: S101  # it stands
        configuration = standing.version.configuration
        inventory, people = configuration.inventory, configuration.people

        def say(known: consent.Standing) -> Sequence[AnyFact]:
            asked = known.asked
            may = speakers(side, asked.wish.grant, asked.by.person, now, inventory, people)
            fact = Decided(
                request_id=request_id,
                at=now,
                side=side.value,
                agrees=agrees,
                by=by,
                instead_of=next((one.instead_of for one in may if one.person == by.person), None),
                reason=reason,
                snapshot=snapshot,
                configuration=standing.number,
            )
            if known.ended is not None and _same(known.ended, fact):
                return []
            again = any(_same(one, fact) for one in known.yes)
            if not again:
                expected(known)
            ensure_decidable(known, snapshot, now)
            if again:
                return []
            ensure(standing.policy.decide(decide(fact, known, inventory, people)))
            return [fact]

        return _said(self._ledger, request_id, say)

    def withdraw(self, by: Voice, request_id: str, reason: str = "", *, expected: Expected = _anything) -> Answer:
        """Whoever asked asks no more. Raises NotAllowed for anybody else and for what ended, BadInput for no request."""
        now = self._now()

        def say(known: consent.Standing) -> Sequence[AnyFact]:
            if known.asked.by.person != by.person:
                raise NotAllowed(f"{request_id} was asked by {known.asked.by.person}: only they withdraw it")
            if isinstance(known.ended, Withdrawn):
                return []
            expected(known)
            ensure_open(known, now)
            return [Withdrawn(request_id=request_id, at=now, by=by, reason=reason)]

        return _said(self._ledger, request_id, say)

    def look_again(self, by: Voice, request_id: str) -> Answer:
        """Have preflight look again. Raises NotAllowed for what ended, BadInput for no request."""
        now = self._now()

        def say(known: consent.Standing) -> Sequence[AnyFact]:
            ensure_open(known, now)
            return [LookAsked(request_id=request_id, at=now, by=by)]

        return _said(self._ledger, request_id, say)

    def review(self, by: Voice, request_id: str, *, in_order: bool, reason: str) -> Answer:
        """Close the review of an emergency. Raises NotAllowed for whoever took part or speaks for no side of it, and for what
        waits for no review; BadInput for no request. Repeating it says nothing twice.
        """
        standing, now = self._standing(), self._now()
        assert standing.version is not None  # noqa: S101  # it stands
        configuration = standing.version.configuration

        def say(known: consent.Standing) -> Sequence[AnyFact]:
            before = known.reviewed
            if before is not None and (before.by.person, before.in_order) == (by.person, in_order):
                return []
            if consent.review_due(known) is None:
                raise NotAllowed(f"{request_id} waits for no review: it {how_it_ended(known)}", code="NoReview")
            may = consent.reviewers(known, now, configuration.inventory, configuration.people)
            if by.person not in may:
                who = ", ".join(may) or "an owner of either side who took no part would have to exist"
                raise NotAllowed(f"{request_id}: {by.person} does not review it; who may: {who}", code="NotTheReviewer")
            return [Reviewed(request_id=request_id, at=now, by=by, in_order=in_order, reason=reason)]

        return _said(self._ledger, request_id, say)

    def show(self, request_id: str) -> Answer:
        """How a request stands by all that was said. Raises BadInput for no request."""
        found = self._ledger.read(standings, [request_id]).get(request_id)
        return Answer(_known(found, request_id), said=False)

    def _standing(self) -> Standing:
        self._gate.look()
        self._gate.overtaken()  # a process of the desk stays, and nothing that it reads says what the newest version is
        standing = self._gate.standing
        if standing.fault is not None or standing.version is None:
            raise Unconfigured(standing.fault or "")
        return standing

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock() / 1000, UTC)


def looked(ledger: Ledger, fact: Looked) -> Answer:
    """Add what preflight has seen. Of a request that ended nothing is added. Raises BadInput for no request."""

    def say(known: consent.Standing) -> Sequence[AnyFact]:
        return [] if known.stage is not consent.Stage.OPEN else [fact]

    return _said(ledger, fact.request_id, say)


def _said(ledger: Ledger, request_id: str, say: Callable[[consent.Standing], Sequence[AnyFact]]) -> Answer:
    """What becomes of a request by what is to be said of it, as it stands. Raises BadInput for no request."""
    after, added = ledger.write(add_facts, request_id, lambda request: say(_known(request, request_id)))
    return Answer(after, said=bool(added))


def _ensure_count(wishes: Sequence[Wish]) -> None:
    if not 1 <= len(wishes) <= MOST_AT_ONCE:
        raise BadInput(f"wishes: must be 1 to {MOST_AT_ONCE} (found {len(wishes)})")


def _of_wish(number: int, wish: Wish, error: BadInput | NotAllowed) -> BadInput | NotAllowed:
    """The same error, which says of which of several wishes it is."""
    told = type(error)(f"wishes[{number}] ({wish.instance.id}): {error}", code=error.code)
    if isinstance(error, NotAllowed) and isinstance(told, NotAllowed):
        told.rules, told.advice = error.rules, error.advice
    return told


def _known(request: consent.Standing | None, request_id: str) -> consent.Standing:
    if request is None:
        raise BadInput(f"request_id: nobody asked {request_id}", code="NoSuchRequest")
    return request


def _same(one: AnyFact, other: Decided) -> bool:
    """Whether both are the same word of the same person about the same thing."""
    return isinstance(one, Decided) and _word(one) == _word(other)


def _word(one: Decided) -> tuple[object, ...]:
    return one.by.person, one.side, one.agrees, one.snapshot


def _named(by: Voice, name: str, number: int | None) -> str:
    """The id of what this person asks for under a name of theirs: the same however often it is sent."""
    told = uuid.uuid5(uuid.NAMESPACE_OID, f"{by.person}\n{name}\n{number}").hex[:20]
    return f"b-{told}" if number is None else f"r-{told}"
