"""What reconcile asks both accounts before it says that something is nobody's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from shared.cloud.pace import Busiest
from shared.ledger.admission import admit
from shared.ledger.outcomes import put_off
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from shared.loop.gate import Gate
from shared.loop.reconcile import Reconcile
from shared.messages.completion import EventKind, Reason, ReasonCode
from shared.messages.forms import GrantKey
from shared.rules.facts import AssociationSeen, Side
from shared.settings import Settings
from tests.configured import CONFIG_KEYS, CONFIG_KEYS_TEXT, apply, configuration
from tests.ledger.kit import HOUR, NOW, key, opening, read, settle_side

KNOWN = key()
ANOTHER = replace(KNOWN, ecr_id="ecr-another", ecr_owner_uid="1000000000000009", instance_id="vpc-2")


@dataclass
class Shown:
    """What both accounts show: account A the grants to its routers, account B its own."""

    by_ecr: Sequence[GrantKey]
    by_owner: Sequence[GrantKey]
    deleted: bool = False
    associated: bool = False
    calls: int = 0

    def busiest(self) -> Busiest:
        return Busiest()

    def owns_ecr(self, owner: str, ecr_id: str) -> bool:
        return (owner, ecr_id) in {(one.ecr_owner_uid, one.ecr_id) for one in (KNOWN, ANOTHER)}

    def grants_on_ecr(self, owner: str, ecr_id: str) -> Iterable[GrantKey]:
        return [one for one in self.by_ecr if (one.ecr_owner_uid, one.ecr_id) == (owner, ecr_id)]

    def associations_on_ecr(self, owner: str, ecr_id: str) -> Iterable[tuple[GrantKey, AssociationSeen]]:  # noqa: ARG002
        seen = AssociationSeen("ACTIVE", "ecr-assoc-1", ())
        return [(KNOWN, seen)] if self.associated and ecr_id == KNOWN.ecr_id else []

    def grants_of_account(self, account: str, region: str, ecr_owner: str) -> Iterable[GrantKey]:
        wanted = account, region, ecr_owner
        return [
            one for one in self.by_owner if (one.instance_owner_uid, one.instance_region, one.ecr_owner_uid) == wanted
        ]

    def existing(self, account: str, region: str, instances: Sequence[str]) -> set[str]:  # noqa: ARG002
        return set() if self.deleted else set(instances)


@dataclass
class Around:
    """What a pass stands on; nobody listens."""

    ledger: Ledger
    accounts: dict[str, Any]
    settings: Settings
    woken: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        """What is listed is what the newest configuration lists."""
        apply(self.ledger, configuration(self.accounts))
        self.gate = Gate(self.ledger, CONFIG_KEYS, 1, lambda: NOW)

    def publish(self) -> None:
        """Nothing goes out here."""

    def wake(self, grant_id: str | None, side: Side, next_at: int) -> None:  # noqa: ARG002
        self.woken.append(grant_id)


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Around]:
    """A ledger that knows one grant, to a router of one account; another account has another router."""
    settings = Settings.model_validate(
        {"FC_REGION": KNOWN.instance_region, "LEDGER_URL": "sqlite://", "CONFIG_KEYS": CONFIG_KEYS_TEXT}
    )
    owned: dict[str, dict[str, object]] = {one.ecr_owner_uid: {"ecrs": {one.ecr_id: {}}} for one in (KNOWN, ANOTHER)}
    accounts = {
        uid: {"name": f"a{uid}", "owner": "tests", "environment": "test", "role": "role", "external_id": "id"} | more
        for uid, more in {**owned, KNOWN.instance_owner_uid: {}}.items()
    }
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        upgrade_schema(ledger)
        ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
        yield Around(ledger, accounts, settings)


@pytest.mark.parametrize(
    ("by_owner", "found"),
    [
        pytest.param([ANOTHER], {"foreign-grant": 1}, id="account B says so, too"),
        pytest.param([], {}, id="account B has taken it away since"),
    ],
)
def test_a_stranger_beside_what_we_know_is_found(
    around: Around, by_owner: list[GrantKey], found: dict[str, int]
) -> None:
    """Account B's word on its own VPCs counts, also on routers of an owner for whom it has nothing that we know."""
    shown = Shown([ANOTHER], by_owner)
    assert Reconcile(around, shown, clock=lambda: NOW).run().drift == found


def test_an_instance_that_was_deleted_is_not_missing_anew_when_its_account_is_delisted(around: Around) -> None:
    """Nobody can look any more whether it is there, and its grant went with it: what was said stays said."""
    for side, kind in ((Side.GRANT, EventKind.GRANTED), (Side.ASSOCIATE, EventKind.ASSOCIATED)):
        assert settle_side(around.ledger, side, kind)
    gone = Shown([], [], deleted=True)
    later = NOW + HOUR
    assert Reconcile(around, gone, clock=lambda: later).run().drift == {"instance-deleted": 1}

    listed = {uid: one for uid, one in around.accounts.items() if uid != KNOWN.instance_owner_uid}
    delisted = replace(around, accounts=listed)
    assert Reconcile(delisted, gone, clock=lambda: later).run().drift == {}
    assert Reconcile(delisted, Shown([KNOWN], []), clock=lambda: later).run().gone == 1, "granted: so it is there"


@pytest.mark.parametrize(
    ("association", "associated", "woken"),
    [
        pytest.param("theirs", False, [KNOWN.grant_id], id="theirs, and they have let go without a word"),
        pytest.param("theirs", True, [], id="theirs, and they hold on to it"),
        pytest.param("ours", False, [], id="ours: our own side tells"),
    ],
)
def test_who_waits_for_account_as_own_automation_is_woken_when_it_is_seen_to_have_let_go(
    around: Around, association: str, associated: bool, woken: list[str]
) -> None:
    """It need not tell; else account B's side would look when its time has come, and not at once."""
    owner = around.accounts[KNOWN.ecr_owner_uid] | {"ecrs": {KNOWN.ecr_id: {"association": association}}}
    where = replace(around, accounts={**around.accounts, KNOWN.ecr_owner_uid: owner})
    waits, until = Reason(code=ReasonCode.OTHERS_TURN, text="it is the other account's turn"), NOW + HOUR
    for side in Side:
        work = read(around.ledger, side)
        around.ledger.write(put_off, work, until, waits, NOW, around.ledger.timing, attempt=False)
    Reconcile(where, Shown([KNOWN], [KNOWN], associated=associated), clock=lambda: NOW).run()
    assert where.woken == woken
