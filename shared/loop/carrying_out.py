"""What operators say at the desk is carried out: once, and after policy was asked again, by the newest configuration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from shared import words
from shared.errors import BadInput, LedgerError, NotAllowed, PermanentError, Superseded, TemporaryError
from shared.ledger.consent import KeptWord
from shared.ledger.operations import CarriedOut, carry_out, hear_operation, open_operations, word_of
from shared.ledger.transactions import Ledger
from shared.loop.gate import Gate, Standing
from shared.messages.consent import Operated
from shared.rules.facts import Side
from shared.rules.operating import asked_of_policy, too_late
from shared.rules.questions import ensure
from shared.rules.vouching import operate_at_desk

T = TypeVar("T")

_PAGE = 200
_ROUNDS = 5  # times that policy is asked anew because a configuration was applied meanwhile


class CarryingOut:
    """Operators' words, on the side of the grant function."""

    def __init__(self, ledger: Ledger, gate: Gate, clock: Callable[[], int]) -> None:
        """``clock``: epoch milliseconds."""
        self._ledger, self._gate, self._clock = ledger, gate, clock

    def hear(self, word: KeptWord) -> None:
        """Tell of a word. Raises LedgerError."""
        self._contained(word.fact.operation_id, lambda: self._ledger.write(hear_operation, word, self._clock()))

    def carry_out(self) -> list[str]:
        """Carry out what waits, as long as a configuration is believed. Returns the grants whose grant side may go on by it; the
        other side's function is woken by the timer, since nobody here may send to its queue.

        Whatever is wrong with one word stops nothing but itself. Raises LedgerError, Superseded.
        """
        touched: dict[str, None] = {}
        after = (-1, "")
        while page := self._ledger.read(open_operations, after, _PAGE):
            for row in page:
                done = self._contained(row.operation_id, partial(self._one, row.operation_id))
                released = [] if done is None else done.released
                touched |= dict.fromkeys(grant_id for grant_id, side in released if side is Side.GRANT)
            after = page[-1].said_at, page[-1].operation_id
        return list(touched)

    def _one(self, operation_id: str) -> CarriedOut | None:
        word = self._ledger.read(word_of, operation_id)
        if word is None:
            raise BadInput(f"nobody said {operation_id}")
        for _ in range(_ROUNDS):
            standing, now = self._gate.standing, self._clock()
            refused: PermanentError | None = None
            number: int | None = None
            if too_late(word.fact, datetime.fromtimestamp(now / 1000, UTC)):
                refused = NotAllowed("it waited longer than an hour to be carried out", code="WordTooOld")
            elif standing.fault is not None or standing.version is None:
                return None
            else:
                refused, number = _refused(standing, word.fact), standing.number
            try:
                return self._ledger.write(carry_out, operation_id, refused, number, now)
            except Superseded:
                self._gate.refresh()
        raise Superseded("one configuration after another was applied")

    def _contained(self, operation_id: str, run: Callable[[], T]) -> T | None:
        try:
            return run()
        except (LedgerError, TemporaryError):
            raise
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one word stops nothing but itself
            words.consent_failed(request_id=operation_id, reason=f"{type(error).__name__}: {error}")
            return None


def _refused(standing: Standing, fact: Operated) -> PermanentError | None:
    """Why policy does not let somebody have this done; None where it does."""
    assert standing.version is not None  # noqa: S101  # it stands
    people = standing.version.configuration.people
    command, kind, name = asked_of_policy(fact.operation, standing.deployment or "")
    answer = standing.policy.decide(operate_at_desk(fact.by, command, kind, name, people))
    if answer.errors:
        words.policy_failed(rules=list(answer.rules), reason="; ".join(answer.errors))
    try:
        ensure(answer)
    except PermanentError as error:
        return error
    return None
