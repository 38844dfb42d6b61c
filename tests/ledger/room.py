"""A ledger at which people speak, the grant function hears, and both sides act on a calm cloud."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bench.calm import CalmCloud
from shared.loop.asking import Answer, Desk, looked
from shared.loop.consent import Consent
from shared.loop.visits import Outcome
from shared.messages.approval import Ecr, Every, Instance, OnEnd
from shared.messages.consent import Looked, RequestKind, Strength, Voice, Wish, snapshot_of
from shared.messages.forms import InstanceType
from shared.rules.facts import Side
from shared.rules.shipped import POLICY
from tests.ledger.gated import ACCOUNTS, Gated, content
from tests.ledger.kit import NOW, key

DAY = 86_400_000
LAPSE = timedelta(days=7)
PEOPLE: dict[str, Any] = {
    "persons": {
        name: {"subjects": [f"oidc:{name}"]}
        for name in ("requester", "owner", "second-owner", "router-owner", "lead", "router-lead", "deputy", "stranger")
    },
    "groups": {
        "owners": ["owner", "second-owner", "lead"],
        "router-owners": ["router-owner", "router-lead"],
        "leads": ["lead"],
        "router-leads": ["router-lead"],
    },
}
CLOSING: dict[str, Any] = {
    "kind": RequestKind.REVOKE,
    "closes": Every.EVERYONE,
    "allowed_prefixes": [],
    "ends_at": None,
}


@dataclass
class Room:
    """A ledger at which people speak, the grant function hears, and both sides act on a calm cloud."""

    gated: Gated
    cloud: CalmCloud = field(default_factory=CalmCloud)

    @property
    def desk(self) -> Desk:
        """The use cases, as a process of their own has them."""
        return Desk(self.gated.ledger, self.gated.opened(), lambda: self.gated.now, lapse=LAPSE)

    def hear(self) -> list[str]:
        """What the grant function does when it is woken."""
        return Consent(self.gated.ledger, self.gated.opened(), lambda: self.gated.now).hear()

    def ask(self, person: str = "requester", **changes: Any) -> Answer:
        """Somebody asks."""
        (answer,) = self.desk.ask(voice(person), [wish(**changes)])
        return answer

    def look(self, request_id: str, **seen: Any) -> str:
        """Preflight has looked. Returns the snapshot."""
        asked = self.desk.show(request_id).standing.asked
        shown = {"wish": asked.wish.content, "seen": seen.pop("seen", {"cidrs": ["10.20.0.0/16"]})}
        fact = Looked(request_id=request_id, at=asked.at, snapshot=snapshot_of(shown), content=shown, **seen)
        looked(self.gated.ledger, fact)
        return fact.snapshot

    def ready(self, person: str = "requester", **changes: Any) -> tuple[str, str]:
        """A request that can be decided, and the snapshot of it."""
        request_id = self.ask(person, **changes).standing.request_id
        return request_id, self.look(request_id)

    def decide(
        self, person: str, request_id: str, snapshot: str, side: Side = Side.GRANT, agrees: bool = True
    ) -> Answer:
        """Somebody says yes or no."""
        return self.desk.decide(voice(person), request_id, side, snapshot, agrees=agrees)

    def visit(self) -> list[Outcome]:
        """Both sides look, and do what is to be done."""
        return [self.gated.visit(self.cloud, side) for side in Side]


def voice(person: str, **more: Any) -> Voice:
    """Somebody who has signed in."""
    return Voice(person=person, subject=f"oidc:{person}", **{"strength": Strength.SIGNED_IN, **more})


def wish(vpc: str = "vpc-1", **changes: Any) -> Wish:
    """What is asked for: a lease of a day on a grant, torn down then."""
    grant = key(vpc)
    usual: dict[str, Any] = {
        "kind": RequestKind.GRANT,
        "ecr": Ecr(id=grant.ecr_id, owner_uid=grant.ecr_owner_uid),
        "instance": Instance(
            type=InstanceType.VPC, id=vpc, region=grant.instance_region, owner_uid=grant.instance_owner_uid
        ),
        "allowed_prefixes": ["10.20.0.0/16"],
        "ends_at": at(NOW + DAY),
        "on_end": OnEnd.TEARDOWN,
        "reason": "A test needs it",
    }
    return Wish(**(usual | changes))


def people_decide(**more: Any) -> Any:
    """A configuration in which people decide by the shipped policy."""
    grant = key()
    accounts = {
        grant.ecr_owner_uid: {**ACCOUNTS[grant.ecr_owner_uid], "owner": "router-owners", "lead": "router-leads"},
        grant.instance_owner_uid: {**ACCOUNTS[grant.instance_owner_uid], "supernets": ["10.0.0.0/8"]},
    }
    people = more.pop("people", PEOPLE)
    return content(accounts, people=people, policy=POLICY, **more)


def at(milliseconds: int) -> datetime:
    """A time of these tests."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
