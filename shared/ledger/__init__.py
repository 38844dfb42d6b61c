"""The ledger: leases, grants (both sides as last read), intents, events, outbox."""

from shared.ledger.schema import check_schema, upgrade_schema
from shared.ledger.store import ASSOCIATE, GRANT, SIDES, Admission, Intent, Ledger, Letter, SideRow, Work, now_ms

__all__ = [
    "ASSOCIATE",
    "GRANT",
    "SIDES",
    "Admission",
    "Intent",
    "Ledger",
    "Letter",
    "SideRow",
    "Work",
    "check_schema",
    "now_ms",
    "upgrade_schema",
]
