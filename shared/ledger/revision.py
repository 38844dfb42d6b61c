"""Which revision of the code this is, and whether a ledger lets it work.

The ledger names the oldest and the newest revision of the code that may work on it, so that a new version and the one before it
stand beside each other while one replaces the other. Every transaction that writes reads that range together with its lock.
"""

from __future__ import annotations

from shared.errors import LedgerError

CODE = 6
"""The revision of this code, as ledgers speak of it: raised when code needs other tables, or other rules over them."""

GATED = 4
"""The first revision that goes by a signed configuration: from the first version on, nothing older is accepted."""

SIDE_BY_SIDE = 3
"""The first revision whose writers do not wait for one another. As long as older ones are accepted, all go as those do."""

REVISION = f"{CODE:04d}"
"""What Alembic calls the schema that belongs to it."""

UPGRADE = "run `ecr-grants ledger upgrade`"


def check_accepted(code: int, oldest: int | None, newest: int | None) -> int:
    """Raise LedgerError unless a ledger that accepts ``oldest`` to ``newest`` accepts this revision of the code.

    Returns ``oldest``, which there is.
    """
    if oldest is None or newest is None:
        raise LedgerError(f"the ledger names no revision of the code that it accepts: {UPGRADE}")
    if not oldest <= code <= newest:
        what = "deploy newer code" if code < oldest else f"{UPGRADE} --before, or deploy older code"
        raise LedgerError(f"the ledger accepts code of revision {oldest} to {newest}, this is {code}: {what}")
    return oldest
