"""The ledger: leases, grants (both sides as last read), intents, events, outbox."""

from shared.ledger.events import Head, Letter
from shared.ledger.schema import check_schema, upgrade_schema
from shared.ledger.store import (
    ASSOCIATE,
    CREATING,
    GRANT,
    MODES,
    SIDES,
    Admission,
    DeadRow,
    Drift,
    Intent,
    Ledger,
    Mode,
    SideRow,
    Standing,
    Work,
    now_ms,
)

__all__ = [
    "ASSOCIATE",
    "CREATING",
    "GRANT",
    "MODES",
    "SIDES",
    "Admission",
    "DeadRow",
    "Drift",
    "Head",
    "Intent",
    "Ledger",
    "Letter",
    "Mode",
    "SideRow",
    "Standing",
    "Work",
    "check_schema",
    "now_ms",
    "upgrade_schema",
]
