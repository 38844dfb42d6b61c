"""What comes in: seals are opened, approvals judged and admitted; hints are only where to look.

Every item of a batch gets its own outcome. What is refused is recorded and told; what cannot be judged yet is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shared import words
from shared.errors import BadInput, LedgerError, PermanentError, Superseded, TemporaryError
from shared.ledger.admission import Admission, Asked, admit_all, reject_message
from shared.ledger.outcomes import request_of
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.doors import Doors
from shared.loop.gate import Gate
from shared.messages.completion import Completion, Reason, Request, Wake
from shared.messages.envelope import Item, parse, request_named
from shared.messages.forms import GrantKey
from shared.rules.facts import Side

_ROUNDS = 5  # configurations that may be applied one after another while a batch is decided


@dataclass(frozen=True)
class Taken:
    """What became of one item: the grants to look at; or it was refused; or it is to be sent again, since nobody can tell yet."""

    grants: tuple[str, ...] = ()
    refused: bool = False
    later: TemporaryError | None = None


@dataclass(frozen=True)
class _Read:
    """An item as far as it could be read: the grant to look at, that people said something, the approval to admit, or what is
    wrong with it.
    """

    item: Item
    look: GrantKey | str | None = None
    asked: Asked | None = None
    request: Request | None = None
    wrong: PermanentError | TemporaryError | None = None
    hears: bool = False


class Intake:
    """The way in, for one side. Each grant that is to be looked at is noted in ``places``, so that neighbours go together."""

    def __init__(
        self,
        ledger: Ledger,
        gate: Gate,
        doors: Doors,
        side: Side,
        *,
        hear: Callable[[], Sequence[str]] = tuple,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """``hear``: what is done where people said something; the grants to look at then. ``clock``: epoch milliseconds."""
        self._hear = hear
        self._ledger, self._gate, self._doors, self._side, self._clock = ledger, gate, doors, side, clock
        self.places: dict[str, str] = {}

    def take(self, batch: Sequence[Item]) -> list[Taken]:
        """Take a batch in. Raises LedgerError, and then nothing of it was taken."""
        for _ in range(_ROUNDS):
            read = [self._read(item) for item in batch]
            if any(one.wrong is not None for one in read) and self._gate.overtaken():
                continue  # nothing is refused by what does not stand any more
            try:
                admitted = self._together(read)
                return [self._taken(one, admitted.get(position)) for position, one in enumerate(read)]
            except Superseded:
                self._gate.refresh()  # what was admitted with the one before is known by now, and is only repeated
        later = Superseded("one configuration after another was applied")
        return [Taken(later=later) for _ in batch]

    def _read(self, item: Item) -> _Read:
        """Raises LedgerError only."""
        request: Request | None = None
        try:
            body = parse(item.body)
            if isinstance(body, Wake):
                return _Read(item, body.grant_id, hears=body.grant_id is None)
            if isinstance(body, Completion):
                return _Read(item, _told(body))
            try:
                self._doors.check(self._side, item)
            except PermanentError:
                with suppress(
                    PermanentError, TemporaryError
                ):  # so that who asked by another door is told, if it was they
                    request = request_of(self._gate.open(self._gate.standing, body))
                raise
            standing = self._gate.standing  # one for the whole of it, whatever others read meanwhile
            try:
                approval = self._gate.open(standing, body)
            except BadInput:
                request = request_named(body.payload)  # its seal was verified before its content was read
                raise
            request = request_of(approval)
            judged = self._gate.judge(standing, body, approval, self._ledger.timing)
            return _Read(item, approval.grant, Asked(approval, item.message_id, judged), request)
        except LedgerError:
            raise
        except (PermanentError, TemporaryError) as error:
            return _Read(item, request=request, wrong=error)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one message stops nothing but itself
            return _Read(item, request=request, wrong=_unexpected(item, error))

    def _together(self, read: Sequence[_Read]) -> dict[int, Admission | PermanentError]:
        """Admit approvals of different grants in one transaction, by their places. When that fails each is tried by itself."""
        asked: dict[int, Asked] = {}
        taken = set[object]()
        for position, one in enumerate(read):
            if one.asked is None:
                continue
            approval = one.asked.approval
            named = {approval.grant.grant_id, (approval.issuer, approval.request_id)}
            if not named & taken:
                asked[position] = one.asked
                taken |= named
        if len(asked) < 2:
            return {}
        try:
            found = self._ledger.write(admit_all, list(asked.values()), self._clock(), self._ledger.timing)
        except (LedgerError, Superseded):
            raise
        except Exception:  # noqa: BLE001  # each of them is tried by itself, and told about
            words.batch_failed(approvals=len(asked))
            return {}
        return dict(zip(asked, found, strict=True))

    def _taken(self, one: _Read, found: Admission | PermanentError | None) -> Taken:
        """What became of one item. ``found``: of its approval, if it was admitted with others. Raises LedgerError, Superseded."""
        if isinstance(one.look, GrantKey):
            owner = one.look.instance_owner_uid if self._side is Side.GRANT else one.look.ecr_owner_uid
            self.places[one.look.grant_id] = f"{owner} {one.look.ecr_id}"
        if isinstance(one.wrong, TemporaryError):
            return Taken(later=one.wrong)
        if one.wrong is not None:
            return self._refused(one, one.wrong)
        if one.hears:
            return Taken(tuple(self._hear()))
        if one.asked is None:
            assert one.look is not None  # noqa: S101  # that is what it is then
            return Taken((one.look if isinstance(one.look, str) else one.look.grant_id,))
        try:
            if found is None:
                (found,) = self._ledger.write(admit_all, [one.asked], self._clock(), self._ledger.timing)
        except (LedgerError, Superseded):
            raise
        except Exception as error:  # noqa: BLE001  # as above
            found = _unexpected(one.item, error)
        if isinstance(found, PermanentError):
            return self._refused(one, found)
        _say(one, found)
        return Taken(found.touched)

    def _refused(self, one: _Read, error: PermanentError) -> Taken:
        body, reason = one.item.body, Reason.of(error)
        body = repr(body) if error.code == _UNEXPECTED else body  # as a text that every database can hash and keep
        facts = None if one.asked is None else one.asked.judged.recorded
        now = self._clock()
        self._ledger.write(reject_message, one.item.message_id, body, reason, now, request=one.request, facts=facts)
        if error.code != _UNEXPECTED:
            words.message_rejected(message_id=one.item.message_id, code=error.code, reason=str(error))
        return Taken(refused=True)


_UNEXPECTED = "Unexpected"


def _unexpected(item: Item, error: Exception) -> PermanentError:
    words.message_failed(message_id=item.message_id)
    text = f"unexpected {type(error).__name__}: nothing was done with it, and the log has the rest"
    return PermanentError(text, code=_UNEXPECTED)


def _say(one: _Read, found: Admission) -> None:
    assert one.asked is not None  # noqa: S101  # it was admitted
    approval, about = one.asked.approval, one.item.message_id
    grant_id, name, until = approval.grant.grant_id, approval.request_id, found.early_until
    if found.new:
        words.approval_admitted(
            action=approval.action, grant=grant_id, request_id=name, message_id=about, early_until=until
        )
    else:
        words.approval_repeated(action=approval.action, grant=grant_id, request_id=name, message_id=about)


def _told(body: Completion) -> GrantKey:
    """The grant that somebody tells of."""
    found = body.grant
    if found is None:
        raise BadInput("grant: is missing, so there is nothing to look at")
    return GrantKey(
        ecr_id=found.ecr_id,
        ecr_owner_uid=found.ecr_owner_uid,
        instance_type=found.instance_type,
        instance_id=found.instance_id,
        instance_region=found.instance_region,
        instance_owner_uid=found.instance_owner_uid,
    )
