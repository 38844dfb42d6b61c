"""Writes down a ledger as an older version leaves it: run once from this checkout, with the older one's code before it.

PYTHONPATH=<worktree of that commit> python tests/upgrade/dump.py > tests/upgrade/<commit>.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sql


def main() -> None:
    """Let everything happen that can, and print every row and every message."""
    sys.path.pop(0)  # this folder: what is imported from here on is the older version's
    from shared.ledger.schema import upgrade_schema  # noqa: PLC0415
    from shared.ledger.tables import metadata  # noqa: PLC0415
    from shared.ledger.transactions import Ledger  # noqa: PLC0415
    from tests.ledger.lives import live_everything  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        upgrade_schema(ledger)
        ends = live_everything(ledger)
        with ledger.engine.connect() as connection:
            tables = {
                table.name: [dict(row) for row in connection.execute(sql.select(table)).mappings()]
                for table in metadata.sorted_tables
            }
            revision = connection.execute(sql.text("SELECT version_num FROM alembic_version")).scalar()
        ledger.close()
    json.dump({"revision": revision, "ends": ends, "tables": tables}, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
