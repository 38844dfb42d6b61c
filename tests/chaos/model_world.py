"""The world of the model test: whose grants there are, how long things take there, and the settings that follow from that."""

from __future__ import annotations

from datetime import UTC, datetime

from shared.messages.forms import GrantKey, InstanceType
from shared.rules.leases import Timing, Window
from shared.settings import Settings
from tests.chaos.model_cloud import LATE_MS, STALE_MS
from tests.configured import CONFIG_KEYS_TEXT

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
SETTLE_MS = STALE_MS + LATE_MS + 1
LIMIT_MS = 60_000  # the platform ends an invocation then
CLAIM_MS = LIMIT_MS + 10_000
PUBLISHING_MS = 240_000
SKEW_MS = 15_000  # short, since nothing is believed for so long after a revoke of all
TIMING = Timing(skew=SKEW_MS, warn=5 * MINUTE, stuck=2 * MINUTE, settle=SETTLE_MS)
WINDOW = Window.parse("06:00-12:00")
A, B, REGION = "1000000000000001", "2000000000000002", "cn-hangzhou"
OURS, THEIRS = "ecr-modelours", "ecr-modeltheirs"


def _key(kind: InstanceType, name: str, ecr: str = OURS) -> GrantKey:
    return GrantKey(ecr, A, kind, name, REGION, B)


KEYS = (
    _key(InstanceType.VPC, "vpc-one"),
    _key(InstanceType.VPC, "vpc-two"),
    _key(InstanceType.VBR, "vbr-one"),
    _key(InstanceType.VPC, "vpc-theirs", THEIRS),
)
ACCOUNTS = {
    uid: {"name": role, "owner": role, "environment": "test", "role": role, "external_id": f"model:{role}"}
    | ({"ecrs": {OURS: {}, THEIRS: {"association": "theirs"}}} if uid == A else {})
    for uid, role in ((A, "hub"), (B, "spoke"))
}
LISTS_A_ALONE = {A: ACCOUNTS[A]}
SETTINGS = Settings.model_validate(
    {
        "FC_REGION": REGION,
        "LEDGER_URL": "sqlite://",
        "CONFIG_KEYS": CONFIG_KEYS_TEXT,
        "MODE": "full",
        "SETTLE_SECONDS": SETTLE_MS / 1000,
    }
)
APPROVALS = f"acs:mns:{REGION}:{A}:queues/{SETTINGS.approvals_queue}"

ROUTES = ("10.1.0.0/16", "10.2.0.0/16", "9.0.0.0/8")


def written(moment: int) -> str:
    """A time as messages have it."""
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat()


def routes(key: GrantKey, count: int) -> tuple[str, ...]:
    """So many of the routes; a VBR has none."""
    return ROUTES[:count] if key.instance_type == "VPC" else ()
