"""The loop that everything comes down to: read the leases, read the cloud, make one difference disappear, look again.

A message, a timer and a person all do nothing but start this loop for one side of one grant. It may be started any number
of times, by any number of workers, and be cut off anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from shared.cloud.network import AssociationSeen, SpokeSeen, Trail
from shared.errors import (
    GrantError,
    InstanceNotFound,
    LedgerError,
    NeedsSomebody,
    NotAllowed,
    PermanentError,
    Throttled,
)
from shared.inventory import Inventory
from shared.ledger import ASSOCIATE, CREATING, GRANT, Intent, Ledger, Mode, Work
from shared.messages import GrantKey, Reason
from shared.steps import HubFacts, SpokeFacts, Step, believable, hub_step, spoke_step

log = structlog.get_logger()

_STEPS_PER_VISIT = 12
_HOLD_MS = 300_000  # when to look without being woken, in case the other side's completion got lost
_EARLY_MS = 1_000  # a delayed wake keeps the queue's time, not ours
_POLL_MS = 3_000
_LONGEST_WAIT_MS = 900_000
_ATTEMPTS = 20


@dataclass(frozen=True)
class Look:
    """One look at a side, in the terms that both sides share. ``state`` is what the ledger keeps."""

    state: str
    there: bool
    association_id: str | None
    prefixes: tuple[str, ...] | None  # None: does not apply
    step: Callable[[Work, bool], Step]  # (work, whether what is there is ours)
    in_use: bool  # the other side holds on to it


class Hand(Protocol):
    """One side of a grant: how to look at it, and how to change it."""

    side: str

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:
        """Read this side on the cloud. ``before`` is this visit's earlier look, whose lasting facts need no second call."""
        ...

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        """Grant, or associate, or attach."""
        ...

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        """Revoke, or dissociate, or detach."""
        ...

    def change(self, work: Work, intent: Intent, trail: Trail) -> None:
        """Bring the allowed prefixes to what is wanted."""
        ...

    def operation(self, step: Step, key: GrantKey) -> str:
        """The word for a step on this side."""
        ...

    def event(self, *, up: bool) -> str:
        """The event that tells that this side has become as wanted."""
        ...


class SpokeCloud(Protocol):
    """Account B's side on the cloud, as ``shared.cloud.network`` has it."""

    def look_at_spoke(self, key: GrantKey, trail: Trail, known: SpokeSeen | None = None) -> SpokeSeen:
        """Whether B's instance is there, granted and associated."""
        ...

    def grant(self, key: GrantKey, token: str, trail: Trail) -> None:
        """Ask for the grant."""
        ...

    def revoke(self, key: GrantKey, token: str, trail: Trail) -> None:
        """Take the grant back."""
        ...


class HubCloud(Protocol):
    """Account A's side on the cloud, as ``shared.cloud.network`` has it."""

    def look_at_association(self, key: GrantKey, trail: Trail) -> AssociationSeen:
        """What account A has for this instance on this ECR."""
        ...

    def associate(self, key: GrantKey, prefixes: tuple[str, ...], token: str, trail: Trail) -> None:
        """Start the association or attachment."""
        ...

    def dissociate(self, key: GrantKey, association_id: str | None, token: str, trail: Trail) -> None:
        """Start taking the association or attachment away."""
        ...

    def set_prefixes(
        self, key: GrantKey, association_id: str | None, prefixes: tuple[str, ...], token: str, trail: Trail
    ) -> None:
        """Change the allowed prefixes of a standing association."""
        ...


@dataclass(frozen=True)
class _SpokeLook(Look):
    seen: SpokeSeen


class SpokeHand:
    """Account B's side: the grant."""

    side = GRANT

    def __init__(self, cloud: SpokeCloud) -> None:
        self._cloud = cloud

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:
        known = before.seen if isinstance(before, _SpokeLook) else None
        seen = self._cloud.look_at_spoke(work.key, trail, known)

        def step(work: Work, ours: bool) -> Step:
            return spoke_step(
                SpokeFacts(
                    wanted=work.wanted,
                    found=seen.found,
                    granted=seen.granted,
                    associated=seen.associated,
                    ours=ours,
                    open_intent=bool(work.my_intents),
                    other_pending=work.other_pending,
                    other_gone=work.other_gone,
                )
            )

        return _SpokeLook(
            "present" if seen.granted else "absent", seen.granted, None, None, step, seen.associated, seen
        )

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.grant(work.key, intent.intent_id, trail)

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.revoke(work.key, intent.intent_id, trail)

    def change(self, work: Work, intent: Intent, trail: Trail) -> None:  # noqa: ARG002  # a grant has nothing to change
        raise AssertionError(f"{work.grant_id}: no step changes a grant")

    def operation(self, step: Step, key: GrantKey) -> str:  # noqa: ARG002  # the same for every instance type
        return {Step.CREATE: "grant", Step.REMOVE: "revoke"}[step]

    def event(self, *, up: bool) -> str:
        return "granted" if up else "revoked"


class HubHand:
    """Account A's side: the association of a VPC, the attachment of a VBR."""

    side = ASSOCIATE

    def __init__(self, cloud: HubCloud) -> None:
        self._cloud = cloud

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:  # noqa: ARG002  # one call, nothing to spare
        seen = self._cloud.look_at_association(work.key, trail)
        takes_prefixes = work.key.instance_type == "VPC"

        def step(work: Work, ours: bool) -> Step:
            return hub_step(
                HubFacts(
                    wanted=work.wanted,
                    status=seen.status,
                    prefixes=seen.prefixes,
                    ours=ours,
                    takes_prefixes=takes_prefixes,
                    open_intent=bool(work.my_intents),
                    other_pending=work.other_pending,
                    granted=work.other_settled and work.other.state == "present",
                )
            )

        return Look(
            seen.status or "absent",
            seen.status is not None,
            seen.association_id,
            seen.prefixes if takes_prefixes else None,
            step,
            in_use=False,
        )

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.associate(work.key, work.wanted.prefixes, intent.intent_id, trail)

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.dissociate(work.key, work.mine.association_id, intent.intent_id, trail)

    def change(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.set_prefixes(work.key, work.mine.association_id, work.wanted.prefixes, intent.intent_id, trail)

    def operation(self, step: Step, key: GrantKey) -> str:
        words = {Step.CREATE: "associate", Step.REMOVE: "dissociate", Step.CHANGE: "set_prefixes"}
        if key.instance_type == "VBR":
            words = {Step.CREATE: "attach", Step.REMOVE: "detach"}
        return words[step]

    def event(self, *, up: bool) -> str:
        return "associated" if up else "dissociated"


@dataclass(frozen=True)
class Visit:
    """How one visit to a grant ended: nothing left to do, or when to look again."""

    outcome: str  # settled, held, later, dead, busy
    next_at: int | None = None


class Converge:
    """The loop for one side, with what it needs handed in."""

    def __init__(
        self,
        ledger: Ledger,
        hand: Hand,
        inventory: Inventory,
        *,
        worker: str,
        mode: Mode,
        clock: Callable[[], int],
        settle_ms: int,
        claim_ms: int,
    ) -> None:
        self._ledger = ledger
        self._hand = hand
        self._inventory = inventory
        self._worker = worker
        self._mode = mode
        self._clock = clock
        self._settle_ms = settle_ms
        self._claim_ms = claim_ms

    def visit(self, grant_id: str) -> Visit:
        """Bring this side of the grant as far as it goes now. Raises only LedgerError; everything else is recorded."""
        now = self._clock()
        first = self._ledger.read(grant_id, self._hand.side, now)
        if first is None or first.settled or self._is_theirs(first):
            return Visit("settled")
        if first.mine.dead:
            return Visit("dead")
        if first.mine.next_at is not None and not first.mine.held and now < first.mine.next_at - _EARLY_MS:
            return Visit("later")  # whoever set the time has sent the wake for it; another one would only multiply
        until = now + self._claim_ms
        if not self._ledger.claim(grant_id, self._hand.side, self._worker, now, until):
            return Visit("busy", until)
        visit = Visit("settled")
        while True:
            work = self._ledger.read(grant_id, self._hand.side, self._clock())
            if work is None:
                return visit
            visit = self._work(work)
            if self._ledger.release(grant_id, self._hand.side, self._worker, work.mine.knocks):
                return visit

    def _is_theirs(self, work: Work) -> bool:
        """Whether this is account A's side where account A's own automation acts on our completions."""
        return self._hand.side == ASSOCIATE and self._theirs(work)

    def _as_it_counts(self, work: Work) -> Work:
        """Where account A's own automation associates, nobody looks at its side: what account B itself sees counts."""
        if self._hand.side == GRANT and self._theirs(work):
            return replace(work, other=replace(work.other, state="unknown"))
        return work

    def _theirs(self, work: Work) -> bool:
        try:
            return not self._inventory.association_is_ours(work.key)
        except NotAllowed:
            return False  # no longer listed: the loop says so

    def _work(self, work: Work) -> Visit:
        try:
            with structlog.contextvars.bound_contextvars(grant=work.grant_id, side=self._hand.side):
                return self._loop(work)
        except PermanentError as error:
            reason = Reason.of(error)
            if self._ledger.refuse(work, reason, self._clock()):
                log.warning("request.rejected", grant=work.grant_id, code=error.code, reason=str(error))
                return self._work_again(work)
            return self._die(work, error)
        except NeedsSomebody as error:
            return self._die(work, error)
        except GrantError as error:
            return self._try_later(work, error)
        except LedgerError:
            # Perhaps only for a moment. If it still is away, there is nobody to tell but who called.
            reason = Reason(code="LedgerAway", text="the ledger was away")
            return self._later(work, _POLL_MS, reason, attempt=False)
        except Exception as error:  # a bug in one grant's work must not stop its neighbours
            log.exception("grant.failed", grant=work.grant_id)
            return self._try_later(work, GrantError(f"unexpected {type(error).__name__}", code="Unexpected"))

    def _work_again(self, work: Work) -> Visit:
        """The waiting requests are refused and the leases changed: the grant is somebody else's, or nobody's, now."""
        fresh = self._ledger.read(work.grant_id, self._hand.side, self._clock())
        return Visit("settled") if fresh is None else self._work(fresh)

    def _die(self, work: Work, error: GrantError) -> Visit:
        self._ledger.dead(work, Reason.of(error), self._clock())
        log.error("grant.dead", grant=work.grant_id, side=self._hand.side, code=error.code, reason=str(error))
        return Visit("dead")

    def _try_later(self, work: Work, error: GrantError) -> Visit:
        if error.code == "Paced" and isinstance(error, Throttled) and error.retry_after is not None:
            # Our own budget: no call was made, and a place in it is promised for that time.
            return self._later(work, int(error.retry_after * 1000), Reason.of(error), attempt=False)
        if work.mine.attempts + 1 >= _ATTEMPTS:
            return self._die(work, error)
        wait = min(_POLL_MS * 2**work.mine.attempts, _LONGEST_WAIT_MS)
        if isinstance(error, Throttled) and error.retry_after is not None:
            wait = max(wait, int(error.retry_after * 1000))
        spread = int(wait * random.uniform(1.0, 1.25))  # noqa: S311  # so that a crowd does not come back together
        return self._later(work, spread, Reason.of(error), attempt=True)

    def _later(self, work: Work, wait_ms: int, reason: Reason, *, attempt: bool) -> Visit:
        now = self._clock()
        self._ledger.later(work, now + wait_ms, reason, now, attempt=attempt)
        log.info("grant.later", grant=work.grant_id, side=self._hand.side, seconds=wait_ms / 1000, code=reason.code)
        return Visit("later", now + wait_ms)

    def _loop(self, start: Work) -> Visit:
        self._inventory.check(start.key)
        if self._mode == "pause-all":
            return self._hold(start, "the mode is pause-all", "Paused")
        trail = Trail()
        look: Look | None = None
        refused: GrantError | None = None
        for _ in range(_STEPS_PER_VISIT):
            work = start if look is None else self._reread(start)
            if work.settled:
                return Visit("settled")
            begun_at = self._clock()
            look = self._hand.look(work, trail, look)
            work, doubtful = self._note(work, look, begun_at)
            step = Step.WAIT if doubtful else self._step(work, look, begun_at)
            log.debug("grant.step", step=step.value, state=look.state)
            match step:
                case Step.SETTLE:
                    if self._settle(work, look, trail):
                        return Visit("settled")
                case Step.HOLD:
                    if not work.wanted.up:
                        self._ledger.unwanted(work, self._clock(), let_go=not look.in_use)
                    return self._hold(work, "it is the other account's turn")
                case Step.WAIT:
                    reason = Reason(code="Waiting", text=f"last seen: {look.state}")
                    return self._later(work, self._pause(work), reason, attempt=False)
                case Step.REFUSE:
                    raise InstanceNotFound(
                        f"instance.id: {work.key.instance_type} {work.key.instance_id} not found in account "
                        f"{work.key.instance_owner_uid}, region {work.key.instance_region}"
                    )
                case _ if not self._may(step):
                    return self._hold(work, f"the mode is {self._mode}: would {step.value}", "Paused")
                case _:
                    if refused is not None:
                        raise refused
                    refused = self._act(step, work, trail)
        return self._later(start, _POLL_MS, Reason(code="Busy", text="the leases keep changing"), attempt=False)

    def _step(self, work: Work, look: Look, at: int) -> Step:
        """What to do about a look that can be trusted, begun at this time."""
        step = look.step(self._as_it_counts(work), bool(work.mine.ours))
        let_go_at = [work.other.seen_at] if work.other_gone and work.other.seen_at is not None else []
        trusted = believable(contradicted_at=let_go_at, at=at, settle=self._settle_ms)
        if step is Step.HOLD and look.in_use and not trusted:
            return Step.WAIT  # account B may not see yet that account A has let go, and nobody would wake us
        return step

    def _may(self, step: Step) -> bool:
        """Whether the mode lets this step act on the cloud."""
        return self._mode == "full" or (self._mode == "pause-teardown" and step is not Step.REMOVE)

    def _hold(self, work: Work, why: str, code: str = "Held") -> Visit:
        now = self._clock()
        self._ledger.later(work, now + _HOLD_MS, Reason(code=code, text=why), now, attempt=False)
        log.info("grant.held", grant=work.grant_id, side=self._hand.side, why=why)
        return Visit("held")

    def _reread(self, work: Work) -> Work:
        fresh = self._ledger.read(work.grant_id, self._hand.side, self._clock())
        assert fresh is not None  # noqa: S101  # grants are never deleted
        return fresh

    def _note(self, work: Work, look: Look, begun_at: int) -> tuple[Work, bool]:
        """Keep what was seen and what it proves. Returns the work as it is now, and whether the look is doubtful.

        The time that counts is when the look began: what it shows may be older, and is never younger.
        """
        trusted = believable(
            contradicted_at=(write.made_at for write in work.writes if not _agree(write, look)),
            at=begun_at,
            settle=self._settle_ms,
        )
        landed, lost = [], []
        for intent in work.my_intents:
            if _shows(intent, look):
                landed += [intent] if trusted else []
            elif begun_at - intent.made_at >= self._settle_ms:
                lost.append(intent)
        if trusted:
            made_now = any(intent.operation in CREATING for intent in landed)
            ours = made_now if look.there else None
            now, place = self._clock(), look.association_id
            return self._ledger.saw(work, look.state, ours, place, now, landed=landed, lost=lost), False
        if lost:
            self._ledger.resolve([], lost, self._clock())
        return self._reread(work), True

    def _act(self, step: Step, work: Work, trail: Trail) -> GrantError | None:
        """One write, between a committed intent and the next look. Returns the error, to be believed after that look."""
        intent = self._ledger.intend(work, self._hand.operation(step, work.key), self._clock())
        if intent is None:
            return None  # the leases changed meanwhile: think again
        trail.take()
        error: GrantError | None = None
        try:
            {Step.CREATE: self._hand.create, Step.REMOVE: self._hand.remove, Step.CHANGE: self._hand.change}[step](
                work, intent, trail
            )
        except GrantError as caught:
            error = caught
        served = trail.take()
        certainly_not = error is not None and not error.executed
        self._ledger.carried_out(intent, served, self._clock(), refused=certainly_not)
        if error is None:
            log.info(f"{intent.operation}.requested", api_request_id=served[-1].api_request_id if served else None)
        else:
            log.warning(f"{intent.operation}.failed", code=error.code, reason=str(error))
        return error

    def _settle(self, work: Work, look: Look, trail: Trail) -> bool:
        up = work.wanted.up
        # A side that never came to rest upwards may have had something up all the same, made by us or adopted: the other
        # side waits to hear of it.
        had_something = work.mine.observed_wanted is not None or any(
            write.operation in CREATING or write.generation == work.generation for write in work.writes
        )
        awaited = self._hand.side == ASSOCIATE and not work.other_settled
        changed = up or had_something or awaited
        kind = self._hand.event(up=up) if changed and up == look.there else None
        settled = self._ledger.settle(
            work,
            kind,
            self._clock(),
            association_id=look.association_id,
            served=trail.take(),
            both_sides=self._inventory.association_is_ours(work.key),
            prefixes_differ=up and look.prefixes is not None and look.prefixes != work.wanted.prefixes,
        )
        if settled:
            log.info("side.settled", event_kind=kind, generation=work.generation, ours=work.mine.ours)
        return settled

    def _pause(self, work: Work) -> int:
        return min(self._settle_ms, _POLL_MS) if work.my_intents else _POLL_MS


def _shows(intent: Intent, look: Look) -> bool:
    """Whether a look shows what an intent asked for."""
    if intent.operation == "set_prefixes":
        return look.there and look.prefixes == intent.prefixes
    return look.there is (intent.operation in CREATING)


def _agree(write: Intent, look: Look) -> bool:
    """Whether a look can come from after a write. An association that is gone has no prefixes to speak against any."""
    return _shows(write, look) or (write.operation == "set_prefixes" and not look.there)
