# ruff: noqa: ARG002  # a fault leaves out what the real thing reckons with
"""The faults that the model test must find: each is the real thing with one rule taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row

from shared.cloud.network import SpokeSeen, Trail
from shared.converge import Converge, HubHand, Look, SpokeHand
from shared.errors import GrantError
from shared.lease import Lease
from shared.ledger import Admission, Drift, Intent, Letter, Work
from shared.ledger.tables import approvals, closes, grants, intents, outbox
from shared.messages import GrantApproval, GrantKey, Reason, RevokeApproval
from shared.steps import Step
from tests.chaos.machine import ModelLedger, Parts
from tests.chaos.model_cloud import ModelCloud


class NoTombstone(ModelLedger):
    """A close that comes before its open is forgotten."""

    def _close(self, connection: Connection, approval: Row[Any], now: int) -> set[str]:
        touched = super()._close(connection, approval, now)
        known = sql.exists().where(
            approvals.c.issuer == closes.c.issuer,
            approvals.c.request_id == closes.c.request_id,
            approvals.c.action == "grant",
        )
        connection.execute(closes.delete().where(~known))
        return touched


class NoWatermark(ModelLedger):
    """A revoke of all ends what is there, and is forgotten by what comes later."""

    def _close(self, connection: Connection, approval: Row[Any], now: int) -> set[str]:
        touched = super()._close(connection, approval, now)
        mark = self._watermark(connection, approval.grant_id)
        if mark is not None:
            standing = approvals.c.grant_id == approval.grant_id, approvals.c.approved_at <= mark
            connection.execute(approvals.update().where(*standing).values(ended_at=now))
            connection.execute(grants.update().where(grants.c.grant_id == approval.grant_id).values(watermark=None))
        return touched


class EndsRaiseNothing(ModelLedger):
    """The end of a lease is recorded, and nobody looks because of it."""

    _silent = False

    def _pass_time(self, connection: Connection, grant_id: str, now: int) -> Sequence[Lease]:
        self._silent = True
        leases = super()._pass_time(connection, grant_id, now)
        self._silent = False
        return leases

    def _raise_generation(self, connection: Connection, grant_id: str) -> None:
        if not self._silent:
            super()._raise_generation(connection, grant_id)


class RevokesRaiseNothing(ModelLedger):
    """A revoke changes the leases, and nobody looks because of it."""

    _silent = False

    def _close(self, connection: Connection, approval: Row[Any], now: int) -> set[str]:
        self._silent = True
        return super()._close(connection, approval, now)

    def _raise_generation(self, connection: Connection, grant_id: str) -> None:
        if not self._silent:
            super()._raise_generation(connection, grant_id)
        self._silent = False


class NoIntent(ModelLedger):
    """A write is made without a word of it before."""

    def intend(self, work: Work, operation: str, now: int) -> Intent | None:
        intent = super().intend(work, operation, now)
        if intent is not None:
            with self.engine.begin() as connection:
                connection.execute(intents.delete().where(intents.c.intent_id == intent.intent_id))
        return intent


class EverythingIsOurs(ModelLedger):
    """What was there before us is taken for ours."""

    def saw(
        self,
        work: Work,
        state: str,
        ours: bool | None,
        association_id: str | None,
        now: int,
        *,
        landed: Iterable[Intent] = (),
        lost: Iterable[Intent] = (),
    ) -> Work:
        mine = None if ours is None else True
        return super().saw(work, state, mine, association_id, now, landed=landed, lost=lost)


class LostIsOurs(ModelLedger):
    """Whatever turns up after a write that was given up as lost is taken for ours."""

    def saw(
        self,
        work: Work,
        state: str,
        ours: bool | None,
        association_id: str | None,
        now: int,
        *,
        landed: Iterable[Intent] = (),
        lost: Iterable[Intent] = (),
    ) -> Work:
        gave_up = bool(work.writes) and work.writes[-1].operation in ("grant", "associate", "attach")
        mine = True if ours is False and gave_up else ours
        return super().saw(work, state, mine, association_id, now, landed=landed, lost=lost)


class EveryLookIsBelieved(ModelLedger):
    """A look is believed however soon after a write that it contradicts."""

    def read(self, grant_id: str, side: str, now: int) -> Work | None:
        work = super().read(grant_id, side, now)
        return None if work is None else replace(work, writes=work.my_intents)


class ClaimsNeverExpire(ModelLedger):
    """The claim of a worker that died stays for ever."""

    def claim(self, grant_id: str, side: str, worker: str, now: int, until: int) -> bool:
        return super().claim(grant_id, side, worker, 0, until)

    def unsettled(self, now: int, limit: int) -> list[tuple[str, str]]:
        return super().unsettled(now, limit)


class NobodyClaims(ModelLedger):
    """Two workers may be at one side of a grant."""

    def claim(self, grant_id: str, side: str, worker: str, now: int, until: int) -> bool:
        super().claim(grant_id, side, worker, now, until)
        return True

    def release(self, grant_id: str, side: str, worker: str, knocks: int) -> bool:
        super().release(grant_id, side, worker, knocks)
        return True


class OutcomesAreNotPublished(ModelLedger):
    """A rejection is recorded, and its letter is not written."""

    def _finish(
        self, connection: Connection, approval: Row[Any], outcome: str, reason: Reason, work: Work, now: int
    ) -> None:
        super()._finish(connection, approval, outcome, reason, work, now)
        if outcome == "rejected":
            newest = sql.select(sql.func.max(outbox.c.seq)).scalar_subquery()
            connection.execute(outbox.delete().where(outbox.c.seq == newest))


class LettersAreNobodys(ModelLedger):
    """Two functions may publish the same letter."""

    def take_letters(self, limit: int, now: int, until: int) -> list[Letter]:
        return self.waiting_letters(limit)


class LettersStay(ModelLedger):
    """What was published is not known as published."""

    def published(self, seq: int, now: int) -> None:
        """Nothing."""


class EveryDateIsBelieved(ModelLedger):
    """An approval that is dated far ahead takes effect at once."""

    def admit(self, approval: GrantApproval | RevokeApproval, message_id: str, now: int) -> Admission:
        return super().admit(approval, message_id, max(now, int(approval.approved_at.timestamp() * 1000)))


class TimerFindsNothing(ModelLedger):
    """What a lost wake left behind is found by nobody."""

    def unsettled(self, now: int, limit: int) -> list[tuple[str, str]]:
        return [] if self.turns is not None and self.turns.worker is not None else super().unsettled(now, limit)


class DriftIsOnlyReported(ModelLedger):
    """What another hand took away is reported, and not put up again."""

    def drifted(
        self, drift: Drift, now: int, *, generation: int, quiet_since: int, repair: bool, state: str | None = None
    ) -> bool:
        return super().drifted(drift, now, generation=generation, quiet_since=quiet_since, repair=False, state=state)


class ModeIsIgnored(Converge):
    """Acts in every mode that looks."""

    def _may(self, step: Step) -> bool:
        return True


class HastySpoke(SpokeHand):
    """A write without an answer is taken for one that was not executed."""

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastySpoke, self).create(work, intent, trail))

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastySpoke, self).remove(work, intent, trail))


class HastyHub(HubHand):
    """The same of account A's side."""

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastyHub, self).create(work, intent, trail))

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        _hasty(lambda: super(HastyHub, self).remove(work, intent, trail))


def _hasty(write: Callable[[], None]) -> None:
    try:
        write()
    except GrantError as error:
        error.executed = False
        raise


class Impatient(SpokeHand):
    """Revokes without waiting for account A to let go."""

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:
        look = super().look(work, trail, before)
        alone = replace(work, other=replace(work.other, state="absent"), other_pending=False)

        def step(work: Work, ours: bool) -> Step:
            found = look.step(replace(work, other=alone.other, other_pending=False), ours)
            return Step.REMOVE if found is Step.HOLD else found

        return replace(look, step=step)


class ReplyIsBelieved:
    """Account B's cloud, for somebody who takes the reply to a write for its effect and does not look again."""

    def __init__(self, cloud: ModelCloud) -> None:
        self._cloud = cloud
        self._granted: bool | None = None

    def look_at_spoke(self, key: GrantKey, trail: Trail, known: SpokeSeen | None = None) -> SpokeSeen:
        seen = self._cloud.look_at_spoke(key, trail, known)
        return seen if self._granted is None else replace(seen, granted=self._granted)

    def grant(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.grant(key, token, trail)
        self._granted = True

    def revoke(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.revoke(key, token, trail)
        self._granted = False


class OneTokenPerGrant:
    """Account B's cloud, for somebody who makes client tokens out of what is asked for."""

    def __init__(self, cloud: ModelCloud) -> None:
        self._cloud = cloud
        self.look_at_spoke = cloud.look_at_spoke

    def grant(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.grant(key, f"grant-{key.grant_id}", trail)

    def revoke(self, key: GrantKey, token: str, trail: Trail) -> None:
        self._cloud.revoke(key, f"revoke-{key.grant_id}", trail)


PLANTED: dict[str, Parts] = {
    "no tombstone": Parts(ledger=NoTombstone),
    "watermark forgotten": Parts(ledger=NoWatermark),
    "ends raise nothing": Parts(ledger=EndsRaiseNothing),
    "revokes raise nothing": Parts(ledger=RevokesRaiseNothing),
    "no intent": Parts(ledger=NoIntent),
    "everything is ours": Parts(ledger=EverythingIsOurs),
    "lost is ours": Parts(ledger=LostIsOurs),
    "every look is believed": Parts(ledger=EveryLookIsBelieved),
    "claims never expire": Parts(ledger=ClaimsNeverExpire),
    "nobody claims": Parts(ledger=NobodyClaims),
    "outcomes are not published": Parts(ledger=OutcomesAreNotPublished),
    "letters are nobody's": Parts(ledger=LettersAreNobodys),
    "letters stay": Parts(ledger=LettersStay),
    "every date is believed": Parts(ledger=EveryDateIsBelieved),
    "the timer finds nothing": Parts(ledger=TimerFindsNothing),
    "drift is only reported": Parts(ledger=DriftIsOnlyReported),
    "the mode is ignored": Parts(converge=ModeIsIgnored),
    "lost is absent at once": Parts(spoke=HastySpoke, hub=HastyHub),
    "the other side's turn is ignored": Parts(spoke=Impatient),
    "the reply is believed": Parts(spoke=lambda cloud: SpokeHand(ReplyIsBelieved(cloud))),
    "one token per grant": Parts(spoke=lambda cloud: SpokeHand(OneTokenPerGrant(cloud))),
}
