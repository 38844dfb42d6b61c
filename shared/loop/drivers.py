"""The two sides of a grant on the cloud, in the same terms: how each is looked at, and how it is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.cloud.calls import Trail
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import AssociationSeen, Intent, Operation, Seen, Side, SpokeSeen, State, Work
from shared.rules.steps import HubFacts, SpokeFacts, Step, hub_step, spoke_step


@dataclass(frozen=True)
class Look:
    """One look at a side, in the terms that both sides share."""

    seen: Seen  # what the ledger keeps; whose it is, it says
    there: bool
    step: Callable[[Work, bool], Step]  # (work, whether what is there is ours)
    in_use: bool  # the other side holds on to it
    elsewhere: str | None = None  # another ECR that it hangs on
    cidrs: tuple[str, ...] | None = None  # the instance's address ranges, where they were looked at


class Driver(Protocol):
    """One side of a grant: how to look at it, and how to change it."""

    side: Side

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:
        """Read this side on the cloud. ``before`` is this visit's earlier look, whose lasting facts need no second call."""
        ...

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        """Grant, or associate, or attach, as the intent says."""
        ...

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        """Revoke, or dissociate, or detach."""
        ...

    def change(self, work: Work, intent: Intent, trail: Trail) -> None:
        """Bring the allowed prefixes to what the intent says."""
        ...

    def operation(self, step: Step, key: GrantKey) -> Operation:
        """The word for a step on this side."""
        ...


class SpokeCloud(Protocol):
    """Account B's side on the cloud, as ``shared.cloud.spoke`` has it."""

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
    """Account A's side on the cloud, as ``shared.cloud.hub`` has it."""

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
    spoke: SpokeSeen | None = None


class SpokeDriver:
    """Account B's side: the grant."""

    side = Side.GRANT

    def __init__(self, cloud: SpokeCloud) -> None:
        self._cloud = cloud

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:
        known = before.spoke if isinstance(before, _SpokeLook) else None
        seen = self._cloud.look_at_spoke(work.key, trail, known)

        def step(work: Work, ours: bool) -> Step:
            return spoke_step(
                SpokeFacts(
                    wanted=work.wanted,
                    stops=work.stops,
                    found=seen.found,
                    granted=seen.granted,
                    associated=seen.associated,
                    elsewhere=seen.elsewhere is not None,
                    ours=ours,
                    open_intent=bool(work.my_intents),
                    other_pending=work.other_pending is not None,
                    other_gone=work.other_gone,
                )
            )

        state = State.PRESENT if seen.granted else State.ABSENT
        told = Seen(state, ours=seen.granted or None, since=seen.since)
        return _SpokeLook(told, seen.granted, step, seen.associated, seen.elsewhere, seen.cidrs, spoke=seen)

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.grant(work.key, intent.intent_id, trail)

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.revoke(work.key, intent.intent_id, trail)

    def change(self, work: Work, intent: Intent, trail: Trail) -> None:  # noqa: ARG002  # a grant has nothing to change
        raise AssertionError(f"{work.grant_id}: no step changes a grant")

    def operation(self, step: Step, key: GrantKey) -> Operation:  # noqa: ARG002  # the same for every instance type
        return {Step.CREATE: Operation.GRANT, Step.REMOVE: Operation.REVOKE}[step]


class HubDriver:
    """Account A's side: the association of a VPC, the attachment of a VBR."""

    side = Side.ASSOCIATE

    def __init__(self, cloud: HubCloud) -> None:
        self._cloud = cloud

    def look(self, work: Work, trail: Trail, before: Look | None) -> Look:  # noqa: ARG002  # one call, nothing to spare
        seen = self._cloud.look_at_association(work.key, trail)
        takes_prefixes = work.key.instance_type is InstanceType.VPC

        def step(work: Work, ours: bool) -> Step:
            return hub_step(
                HubFacts(
                    wanted=work.wanted,
                    stops=work.stops,
                    status=seen.status,
                    prefixes=seen.prefixes,
                    ours=ours,
                    takes_prefixes=takes_prefixes,
                    open_intent=bool(work.my_intents),
                    other_pending=work.other_pending is not None,
                    granted=work.other_settled and work.other.state == State.PRESENT,
                )
            )

        there = seen.status is not None
        told = Seen(
            seen.status or State.ABSENT,
            ours=there or None,
            association_id=seen.association_id,
            prefixes=seen.prefixes if takes_prefixes else None,
        )
        return Look(told, there, step, in_use=False)

    def create(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.associate(work.key, intent.prefixes, intent.intent_id, trail)

    def remove(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.dissociate(work.key, work.mine.association_id, intent.intent_id, trail)

    def change(self, work: Work, intent: Intent, trail: Trail) -> None:
        self._cloud.set_prefixes(work.key, work.mine.association_id, intent.prefixes, intent.intent_id, trail)

    def operation(self, step: Step, key: GrantKey) -> Operation:
        words = {
            Step.CREATE: Operation.ASSOCIATE,
            Step.REMOVE: Operation.DISSOCIATE,
            Step.CHANGE: Operation.SET_PREFIXES,
        }
        if key.instance_type is InstanceType.VBR:
            words = {Step.CREATE: Operation.ATTACH, Step.REMOVE: Operation.DETACH}
        return words[step]
