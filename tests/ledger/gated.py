"""What enters a ledger through the gate, for tests: a configuration applied, approvals sealed, and everything judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.calm import CalmCloud
from shared.errors import PermanentError
from shared.ledger.admission import Admission, Asked, admit_all
from shared.ledger.transactions import Ledger
from shared.loop.converge import Converge
from shared.loop.drivers import Driver, HubDriver, SpokeDriver
from shared.loop.gate import Gate
from shared.loop.visits import Outcome
from shared.messages.approval import GrantApproval, RevokeApproval
from shared.messages.seal import read_seal
from shared.rules.configuration import Configuration
from shared.rules.facts import Mode, Side
from tests import configured
from tests.ledger.kit import NOW, grant_id, key

ISSUERS = ("tests", "another")
"""Who the approvals of these tests come from."""
_GRANT = key()
_USUAL = {
    "name": "account",
    "owner": "owners",
    "lead": "leads",
    "environment": "test",
    "role": "role",
    "external_id": "external",
}
ACCOUNTS: Mapping[str, Any] = {
    _GRANT.ecr_owner_uid: {**_USUAL, "ecrs": {_GRANT.ecr_id: {}}},
    _GRANT.instance_owner_uid: _USUAL,
}


def content(accounts: Mapping[str, Any] = ACCOUNTS, **more: Any) -> Configuration:
    """A configuration in which both accounts are listed and both issuers may vouch for everything."""
    issuers = {name: {} for name in ISSUERS} | more.pop("issuers", {})
    return configured.configuration(accounts, issuers=issuers, **more)


def apply(ledger: Ledger, wanted: Configuration | None = None) -> int:
    """Make this the newest configuration; what ``content`` says where there is none. Returns its number."""
    return configured.apply(ledger, wanted or content())


def seal_of(approval: GrantApproval | RevokeApproval, now: int = NOW, **how: Any) -> str:
    """As its issuer seals it at a moment."""
    return configured.sealed(approval.model_dump(mode="json", by_alias=True), at=now / 1000, **how)


@dataclass
class Gated:
    """A ledger behind a gate, and the time there."""

    ledger: Ledger
    keys: Mapping[str, str] = field(default_factory=lambda: configured.CONFIG_KEYS)
    quorum: int = 1
    now: int = NOW

    def __post_init__(self) -> None:
        self.gate = self.opened()

    def opened(self) -> Gate:
        """Another gate, as a cold start has it."""
        return Gate(self.ledger, self.keys, self.quorum, lambda: self.now)

    def judged(self, approval: GrantApproval | RevokeApproval, message_id: str | None = None, **how: Any) -> Asked:
        """What the gate makes of an approval that is sealed now. Raises what the gate raises."""
        sealed, standing = read_seal(seal_of(approval, self.now, **how)), self.gate.standing
        opened = self.gate.open(standing, sealed)
        judged = self.gate.judge(standing, sealed, opened, self.ledger.timing)
        return Asked(opened, message_id or f"message-{approval.request_id}", judged)

    def enter(self, approval: GrantApproval | RevokeApproval, **how: Any) -> Admission:
        """Seal, open, judge and admit. Raises why it is refused."""
        (found,) = self.ledger.write(admit_all, [self.judged(approval, **how)], self.now, self.ledger.timing)
        if isinstance(found, PermanentError):
            raise found
        return found

    def visit(self, cloud: CalmCloud, side: Side, vpc: str = "vpc-1") -> Outcome:
        """What the function of a side does about a grant now, and how that ends."""
        driver: Driver = SpokeDriver(cloud) if side is Side.GRANT else HubDriver(cloud)
        return (
            Converge(
                self.ledger,
                driver,
                self.gate,
                worker="a test",
                mode=Mode.FULL,
                clock=lambda: self.now,
                settle_ms=0,
                claim_ms=60_000,
            )
            .visit(grant_id(vpc))
            .outcome
        )

    @property
    def judge(self) -> Callable[[str, str], Any]:
        """Who is asked when the date of an early approval has come."""
        return lambda _approval_id, seal: self.gate.judge_again(seal)
