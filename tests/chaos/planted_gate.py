"""The faults of the gate that the model test must find: each is the real gate, or the real admission, with one rule taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.errors import GrantError, PermanentError, SealRefused
from shared.ledger.admission import Admission, Asked, Judged, admit_all
from shared.ledger.closing import close_named
from shared.ledger.configuration import newest_number
from shared.ledger.rows import Held, raise_generation
from shared.ledger.tables import approvals, closes
from shared.loop.gate import Gate, Standing
from shared.messages.approval import Action, GrantApproval, RevokeApproval
from shared.messages.configuration import KeyState, SealKey
from shared.messages.seal import Sealed
from shared.rules.leases import Timing
from tests.chaos.parts import Parts


class Trusting(Gate):
    """What makes something does not ask for the proof."""

    def proven(self, held: Held) -> tuple[Held, GrantError | None]:
        return held, None


class Believing(Gate):
    """What nobody can verify is taken for the last version that somebody could."""

    def refresh(self) -> Standing:
        self._standing = replace(super().refresh(), fault=None)
        return self._standing


class _Forgiving(Standing):
    """What is believed, and every key with it."""

    @property
    def keys(self) -> Mapping[str, SealKey]:
        return {name: replace(key, state=KeyState.ACTIVE) for name, key in super().keys.items()}


def _forgiving(standing: Standing) -> Standing:
    return _Forgiving(standing.number, standing.deployment, standing.version, standing.fault)


class StillMakes(Gate):
    """What a compromised key sealed is made."""

    def proven(self, held: Held) -> tuple[Held, GrantError | None]:
        standing, self._standing = self.standing, _forgiving(self.standing)
        try:
            return super().proven(held)
        finally:
            if isinstance(self._standing, _Forgiving):
                self._standing = standing


class StillSeals(Gate):
    """A key that has gone bad seals what is news."""

    def refresh(self) -> Standing:
        self._standing = _forgiving(super().refresh())
        return self._standing


class NothingRetires(Gate):
    """A retired key seals no revokes either."""

    def judge(
        self, standing: Standing, sealed: Sealed, approval: GrantApproval | RevokeApproval, timing: Timing
    ) -> Judged:
        judged = super().judge(standing, sealed, approval, timing)
        if standing.keys[sealed.kid].state is KeyState.RETIRED:
            return replace(judged, refused=SealRefused("the key is retired", code="KeyRetired"))
        return judged


class ClosingWaits(Gate):
    """While nobody can believe the newest version, a revoke waits, too, and gets lost on the way."""

    @staticmethod
    def open(standing: Standing, sealed: Sealed) -> GrantApproval | RevokeApproval:
        if standing.fault is not None:
            raise SealRefused("nobody can believe the configuration")
        return Gate.open(standing, sealed)


class Unasked(Gate):
    """When its date has come, nobody asks about an early lease again."""

    def judge_again(self, seal: str) -> Judged:
        return Judged(seal, self.standing.number)


class NeverMended(Gate):
    """What could not be believed once is not looked at again before there is something newer."""

    def look(self) -> None:
        if self._standing is None or self._ledger.glance(newest_number) != self._standing.number:
            self.refresh()


class MakesAsBefore(Gate):
    """What makes something goes by the version that was the newest when the event came."""

    def proven(self, held: Held) -> tuple[Held, GrantError | None]:
        assert held.rows is not None
        number, self._standing = self.standing.number, replace(self.standing, number=held.rows.configuration)
        try:
            return super().proven(held)
        finally:
            self._standing = replace(self._standing, number=number)


Found = list[Admission | PermanentError]


def admitted_anyway(connection: Connection, asked: Sequence[Asked], now: int, timing: Timing) -> Found:
    """What was judged under an older version is admitted all the same."""
    return admit_all(connection, [replace(one, judged=replace(one.judged, anyway=True)) for one in asked], now, timing)


def gap(connection: Connection, asked: Sequence[Asked], now: int, timing: Timing) -> Found:
    """An early lease closes what it replaces when it comes, long before it takes effect."""
    found = admit_all(connection, asked, now, timing)
    for approval, row in _replacing(connection, asked, found):
        if row.early_until is not None:
            grant_id = approval.grant.grant_id
            close_named(connection, row.approval_id, grant_id, approval.issuer, approval.replaces, now)
            raise_generation(connection, grant_id)
    return found


def only_what_is_there(connection: Connection, asked: Sequence[Asked], now: int, timing: Timing) -> Found:
    """What is replaced has to be there already: what comes later counts beside its replacement."""
    found = admit_all(connection, asked, now, timing)
    for _, row in _replacing(connection, asked, found):
        connection.execute(closes.delete().where(closes.c.closed_by == row.approval_id))
    return found


def replaced_of_any_issuer(connection: Connection, asked: Sequence[Asked], now: int, timing: Timing) -> Found:
    """A lease replaces everybody's of that name."""
    found = admit_all(connection, asked, now, timing)
    for approval, row in _replacing(connection, asked, found):
        if row.early_until is None:
            of_grant = approvals.c.grant_id == approval.grant.grant_id, approvals.c.action == Action.GRANT
            named = approvals.c.request_id.in_(approval.replaces)
            gone = {"live": False, "open": False, "early_until": None, "due_at": None}
            connection.execute(approvals.update().where(*of_grant, approvals.c.open, named).values(gone))
    return found


def _replacing(
    connection: Connection, asked: Sequence[Asked], found: Sequence[Admission | PermanentError]
) -> list[tuple[GrantApproval, Any]]:
    """The leases that replace others and were admitted as news, with their rows."""
    new = [
        one.approval
        for one, admission in zip(asked, found, strict=True)
        if isinstance(one.approval, GrantApproval)
        and one.approval.replaces
        and isinstance(admission, Admission)
        and admission.new
    ]
    rows = [
        connection.execute(sql.select(approvals).where(approvals.c.digest == approval.digest)).one() for approval in new
    ]
    return list(zip(new, rows, strict=True))


AT_THE_GATE: dict[str, Parts] = {
    "a create step does not ask for the proof": Parts(gate=Trusting),
    "a create step goes by an older configuration": Parts(gate=MakesAsBefore),
    "a compromised key still makes": Parts(gate=StillMakes),
    "a bad key still seals": Parts(gate=StillSeals),
    "a grant is admitted under an unverified configuration": Parts(gate=Believing),
    "a configuration that is mended is not read again": Parts(gate=NeverMended),
    "a retired key closes nothing": Parts(gate=NothingRetires),
    "closing does not go on": Parts(gate=ClosingWaits),
    "an early lease takes effect unasked": Parts(gate=Unasked),
    "an older configuration admits": Parts(instead={admit_all: admitted_anyway}),
    "replaces leaves a gap": Parts(instead={admit_all: gap}),
    "replaces only what is there": Parts(instead={admit_all: only_what_is_there}),
    "replaces what others asked for": Parts(instead={admit_all: replaced_of_any_issuer}),
}
