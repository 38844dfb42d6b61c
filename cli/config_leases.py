"""What another configuration would make of what is there: leases that it would not admit, decisions that would be others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.output import moment
from shared.errors import PermanentError
from shared.ledger.decided import Recorded, open_leases, questions_since
from shared.ledger.transactions import Ledger
from shared.messages.seal import read_seal
from shared.rules.configuration import Configuration
from shared.rules.questions import Answer, Question, ensure
from shared.rules.sealing import reopen

if TYPE_CHECKING:
    from shared.rules.policy import Policy

Facts = dict[str, Any]
_COMPROMISED = "KeyCompromised"


@dataclass(frozen=True)
class Unfit:
    """A lease that counts, or will, and would not be admitted. ``code`` and ``why``: as its issuer would be told."""

    grant_id: str
    issuer: str
    request_id: str
    code: str
    why: str

    @property
    def compromised(self) -> bool:
        """Whether somebody else may have sealed it: then nothing is made for it any more."""
        return self.code == _COMPROMISED

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.request_id} of {self.issuer} on {self.grant_id}: {self.why}"


def unfit_leases(ledger: Ledger, configuration: Configuration, deployment: str | None) -> list[Unfit]:
    """The open leases that this configuration would not have admitted when they came; oldest first.

    A seal's age and a retired key refuse nothing: what it sealed stands.
    """
    from shared.rules.asking import asked_about  # noqa: PLC0415  # Cedar, only where a policy is read
    from shared.rules.policy import Policy  # noqa: PLC0415

    policy, found = Policy(configuration.policy), []
    for one in ledger.read(open_leases):
        try:
            approval = reopen(read_seal(one.seal), configuration.seal_keys, deployment=deployment or "")
            ensure(policy.decide(asked_about(approval, configuration, one.admitted_at)))
        except PermanentError as error:
            found.append(Unfit(one.grant_id, one.issuer, one.request_id, error.code, str(error)))
    return found


def leases_facts(found: Sequence[Unfit]) -> Facts:
    """For programs."""
    return {
        "not_admitted": [vars(one) for one in found if not one.compromised],
        "compromised": [vars(one) for one in found if one.compromised],
    }


def leases_lines(found: Sequence[Unfit]) -> Iterator[str]:
    """For people: what would not be admitted, and what would get nothing made any more."""
    for compromised, text in (
        (False, "live leases that it would not admit, which stay until their end or until somebody revokes them"),
        (True, "live leases of keys that are compromised, for which nothing is made; nothing is torn down by itself"),
    ):
        told = [one.text for one in found if one.compromised is compromised]
        yield f"{text}: {len(told) or 'none'}"
        yield from (f"  {one}" for one in told)


@dataclass(frozen=True)
class Flip:
    """A recorded decision that a policy would not make again."""

    event: Recorded
    answer: Answer

    def facts(self) -> Facts:
        """For programs."""
        return {
            "event": self.event.event_id,
            "number": self.event.seq,
            "at": moment(self.event.at),
            "grant_id": (self.event.body.get("grant") or {}).get("grant_id"),
            "request": self.event.body.get("request"),
            "was": "refused" if self.event.refused else "allowed",
            "would_be": "allowed" if self.answer.allowed else "refused",
            "rules": list(self.answer.rules),
            "advice": list(self.answer.advice),
            "errors": list(self.answer.errors),
        }

    @property
    def text(self) -> str:
        """For people."""
        told = self.facts()
        asked = told["request"] or {}
        about = f"{asked.get('request_id', 'a request')} of {asked.get('issuer', 'somebody')}"
        why = "; ".join([*told["errors"], *told["advice"]]) or f"by {', '.join(told['rules']) or 'no rule'}"
        return f"{told['at']}  event {told['number']}  {about}: was {told['was']}, would be {told['would_be']}: {why}"


def flips(ledger: Ledger, policy: Policy, since: int) -> tuple[int, list[Flip]]:
    """How many decisions were recorded since then (epoch milliseconds), and those that this policy would not make again."""
    count, found, after = 0, list[Flip](), 0
    while page := ledger.read(questions_since, since, after):
        after = page[-1].seq
        for one in page:
            answer = policy.decide(Question.model_validate(one.facts["question"]))
            count += 1
            if answer.allowed is one.refused:
                found.append(Flip(one, answer))
    return count, found
