"""What people said, on the side of the grant function: it is heard, weighed by policy, and what suffices becomes an approval.

Nothing here believes whoever wrote the facts: each word is asked of policy again, under the newest configuration, and what the
words amount to is computed from the facts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared import words
from shared.errors import BadInput, LedgerError, NotAllowed, PermanentError, Superseded, TemporaryError
from shared.ledger.admission import Admission, Asked, Judged
from shared.ledger.consent import Kept, KeptWord, due_requests, facts_of, in_the_way, overdue_reviews, unheard
from shared.ledger.hearing import (
    Heard,
    amount,
    hear,
    heard_until,
    note_heard,
    note_weighed,
    remind,
    say_lapsed,
    weighed_by,
)
from shared.ledger.transactions import Ledger
from shared.loop.carrying_out import CarryingOut
from shared.loop.gate import Gate, Standing
from shared.messages.approval import DESK
from shared.messages.consent import Amounted, AnyFact, Decided, Lapsed
from shared.messages.consent import Asked as AskedFact
from shared.messages.texts import canonical
from shared.rules import consent
from shared.rules.configuration import Configuration
from shared.rules.consent import Needed, Stage, approval_of, needed, owns, speakers
from shared.rules.facts import Side
from shared.rules.proving import words_of
from shared.rules.questions import Answer, Question, ensure
from shared.rules.vouching import PeoplesWord, decide, vouch

_PAGE = 200
_EVER = 2**62  # later than anything is due
_ROUNDS = 5  # times that a request is weighed anew because something was said, or a configuration applied, meanwhile
_DESK_MESSAGE = "desk"


@dataclass(frozen=True)
class Weighed:
    """What a request amounts to under a configuration. ``words``: those that count. ``approval``: what it comes to, where policy
    lets it, with what the record keeps of the question; else ``wants`` says in words what is missing.
    """

    words: tuple[Decided, ...]
    asked: Asked | None
    wants: str = ""


class Consent:
    """Hears what people said. One for each function that may admit."""

    def __init__(self, ledger: Ledger, gate: Gate, clock: Callable[[], int]) -> None:
        """``clock``: epoch milliseconds."""
        self._ledger, self._gate, self._clock = ledger, gate, clock
        self._operations = CarryingOut(ledger, gate, clock)

    def hear(self) -> list[str]:
        """Hear everything that is new, let time pass for what waits, and admit what suffices; by a configuration that is new,
        what was heard before, too. Returns the grants to look at.

        Whatever is wrong with one request stops nothing but itself. Raises LedgerError, and Superseded where one thing after
        another happens meanwhile.
        """
        self._gate.overtaken()  # nothing that is heard says what the newest configuration is
        self._pass_time()
        return list(self._weigh_again() | self._news() | dict.fromkeys(self._operations.carry_out()))

    def _news(self) -> dict[str, None]:
        touched: dict[str, None] = {}
        while True:
            after = self._ledger.read(heard_until)
            page = self._ledger.read(unheard, after, _PAGE)
            if not page:
                return touched
            ids = dict.fromkeys(one.fact.request_id for one in page if isinstance(one, Kept))
            for request_id in ids:
                touched |= dict.fromkeys(self._hear(request_id))
            for one in page:
                if isinstance(one, BadInput):
                    words.consent_failed(request_id=None, reason=str(one))
                elif isinstance(one, KeptWord):
                    self._operations.hear(one)
            last = max((one.seq for one in page if not isinstance(one, BadInput)), default=after)
            if last == after:
                return touched
            self._ledger.write(note_heard, last, self._clock())

    def _weigh_again(self) -> dict[str, None]:
        """What did not suffice by another configuration, or while none could be believed, may suffice by this one."""
        touched: dict[str, None] = {}
        standing = self._gate.standing
        number = standing.number if standing.fault is None else 0
        if self._ledger.read(weighed_by) == number:
            return touched
        after = (-1, "")
        while number and (page := self._ledger.read(due_requests, _EVER, after, _PAGE)):
            for row in page:
                touched |= dict.fromkeys(self._hear(row.request_id))
            after = page[-1].due_at, page[-1].request_id
        self._ledger.write(note_weighed, number, self._clock())
        return touched

    def _hear(self, request_id: str) -> Sequence[str]:
        try:
            heard = self._ledger.write(hear, request_id, self._whom, self._clock())
            return () if heard is None else self._amount(heard)
        except (LedgerError, TemporaryError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one request stops nothing but itself
            words.consent_failed(request_id=request_id, reason=f"{type(error).__name__}: {error}")
            return ()

    def _amount(self, heard: Heard) -> Sequence[str]:
        """Admit what a request comes to, if it suffices."""
        for _ in range(_ROUNDS):
            standing = self._gate.standing
            now = self._clock()
            if standing.fault is not None or standing.version is None or heard.standing.stage is not Stage.OPEN:
                return ()
            if heard.standing.lapsed(_moment(now)):
                return ()
            weighed = weigh(standing, heard.standing, now)
            if weighed.asked is None:
                return ()
            stopped = self._in_the_way(heard.standing.asked, now)
            fact = Amounted(
                request_id=heard.standing.request_id,
                at=_moment(now),
                approval=None if stopped is not None else weighed.asked.approval.digest,
                reason=stopped or f"policy lets it, by configuration {standing.number}",
                configuration=standing.number,
            )
            asked = None if stopped is not None else weighed.asked
            try:
                admission = self._ledger.write(amount, heard, asked, fact, now, self._ledger.timing)
            except Superseded:
                self._gate.refresh()
                again = self._ledger.write(hear, heard.standing.request_id, self._whom, self._clock())
                heard = again or heard
                continue
            return admission.touched if isinstance(admission, Admission) else ()
        raise Superseded("one thing after another was said")

    def _in_the_way(self, asked: AskedFact, now: int) -> str | None:
        return self._ledger.read(in_the_way, asked, now) if asked.wish.emergency else None

    def _pass_time(self) -> None:
        after = (-1, "")
        while page := self._ledger.read(due_requests, self._clock(), after, _PAGE):
            for row in page:
                now = self._clock()
                found = self._ledger.read(facts_of, row.request_id)
                asked = consent.fold(one.fact for one in found).asked
                if asked.lapses_at <= _moment(now):
                    lapsed = Lapsed(request_id=row.request_id, at=_moment(now), reason="nobody decided in time")
                    self._ledger.write(say_lapsed, row.request_id, lapsed)
                else:
                    self._ledger.write(remind, row.request_id, self._whom, now)
            after = page[-1].due_at, page[-1].request_id

    def _whom(self, standing: consent.Standing, fact: AnyFact | None) -> list[str]:
        """Whom a fact concerns: whoever asked, whoever said it, and, where something is to be decided now, those who may."""
        asked = standing.asked
        people = [asked.by.person]
        people += [fact.by.person] if isinstance(fact, Decided) else []
        version = self._gate.standing.version
        urgent = asked.wish.emergency and isinstance(fact, Amounted)  # whoever was not asked is told why
        if version is not None and (urgent or (standing.stage is Stage.OPEN and not isinstance(fact, Decided))):
            people += deciders(version.configuration, standing, asked.at)
        people += [one.by.person for one in standing.void] if fact is not None and fact.fact == "looked" else []
        return list(dict.fromkeys(people))


def say_overdue_reviews(ledger: Ledger, now: int) -> None:
    """Say which emergencies should have been reviewed by now. Raises LedgerError."""
    for row in ledger.read(overdue_reviews, now, _PAGE):
        assert row.review_at is not None  # noqa: S101  # that is what is asked for
        until = _moment(row.review_at).isoformat(timespec="seconds")
        words.review_overdue(request_id=row.request_id, grant=row.grant_id, until=until)


def deciders(configuration: Configuration, standing: consent.Standing, at: datetime) -> list[str]:
    """Who may decide about a request, for either side."""
    asked = standing.asked
    found = (
        speakers(side, asked.wish.grant, asked.by.person, at, configuration.inventory, configuration.people)
        for side in Side
    )
    return list(dict.fromkeys(one.person for each in found for one in each))


def weigh(standing: Standing, request: consent.Standing, now: int) -> Weighed:
    """What a request that is open amounts to, by the configuration that stands. ``now``: epoch milliseconds."""
    assert standing.version is not None  # noqa: S101  # nothing is weighed before there is one
    configuration = standing.version.configuration
    inventory, people, asked = configuration.inventory, configuration.people, request.asked
    counted = tuple(one for one in request.yes if _allowed(standing, decide(one, request, inventory, people)))
    sides = {Side(one.side) for one in counted}
    if not asked.wish.opens:
        sides |= set(owns(asked.by.person, asked.wish.grant, inventory, people))
    elif not counted:
        return Weighed((), None, "nobody has agreed yet")
    try:
        approval = approval_of(request, counted)
        if asked.wish.opens:
            inventory.allow(approval)
        question = vouch(
            approval, DESK, PeoplesWord(tuple(sorted(sides))), inventory, people, now, emergency=asked.wish.emergency
        )
        answer = standing.policy.decide(question)
        _say_errors(answer)
        ensure(answer)
    except PermanentError as error:
        return Weighed(counted, None, str(error))
    facts = {"question": question.model_dump(mode="json"), "rules": list(answer.rules), "errors": []}
    proof = {
        "request": request.request_id,
        "words": words_of(counted),
        "configuration": standing.number,
    }
    judged = Judged(canonical({DESK: proof}).decode(), standing.number, None, facts)
    return Weighed(counted, Asked(approval, f"{_DESK_MESSAGE}:{request.request_id}", judged))


def takes(standing: Standing, request: consent.Standing, now: int) -> Needed:
    """Whose yes a request takes at least. Raises NotAllowed where nothing that anybody could say would suffice, with who would
    have to exist.
    """
    assert standing.version is not None  # noqa: S101  # as above
    configuration = standing.version.configuration
    inventory, people, asked = configuration.inventory, configuration.people, request.asked
    grant, requester = asked.wish.grant, asked.by.person
    at = _moment(now)
    why: list[str] = []

    def suffices(one: Needed) -> bool:
        words_: list[Decided] = []
        for side in one.sides:
            account = inventory.accounts.get(grant.instance_owner_uid if side is Side.GRANT else grant.ecr_owner_uid)
            leads = people.members(None if account is None else account.lead)
            may = speakers(side, grant, requester, at, inventory, people)
            lead = [each.person for each in may if leads & {each.person, each.instead_of or ""}]
            who = lead if one.leads else [each.person for each in may if each.person not in lead] or lead
            if not who:
                group = None if account is None else account.lead if one.leads else account.owner
                members = "nobody" if group is None else f"no member of {group} other than {requester}"
                why.append(f"{members} can agree for the {side} side")
                return False
            words_.append(_word(request, side, who[0], at))
        approval = approval_of(request, words_)
        question = vouch(approval, DESK, PeoplesWord(one.sides), inventory, people, now, emergency=asked.wish.emergency)
        answer = standing.policy.decide(question)
        if not answer.allowed:
            why.append(" ".join(answer.advice) or "nothing in the policy permits it")
        return answer.allowed

    found = needed(suffices)
    if found is None:
        raise NotAllowed("; ".join(dict.fromkeys(why)), code="NobodyCanDecide")
    return found


def _word(request: consent.Standing, side: Side, person: str, at: datetime) -> Decided:
    """A yes that might be said."""
    voice = request.asked.by.model_copy(update={"person": person})
    return Decided(
        request_id=request.request_id, at=at, side=side.value, agrees=True, by=voice, snapshot="", configuration=0
    )


def _allowed(standing: Standing, question: Question) -> bool:
    answer = standing.policy.decide(question)
    _say_errors(answer)
    return answer.allowed and not answer.errors


def _say_errors(answer: Answer) -> None:
    if answer.errors:
        words.policy_failed(rules=list(answer.rules), reason="; ".join(answer.errors))


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
