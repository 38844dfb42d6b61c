"""How fast is a record proven, beside a bare walk over the same rows?

    python -m bench.verify
    python -m bench.verify --grants 500       a quick one

So many grants live a life through the ledger's own functions: up, a second lease, and half of them closed. Then the whole proof,
chain and recomputation, in one snapshot; beside it, in the same run, a loop that only reads every row that the proof reads. Each
is made five times, in turn, and the fastest counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import sqlalchemy as sql
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import Connection

from shared.ledger.proof import first_fault
from shared.ledger.schema import upgrade_schema
from shared.ledger.tables import approvals, closes, events, grants, holds, marks, sides
from shared.ledger.transactions import Ledger
from tests.ledger.kit import HOUR, NOW
from tests.ledger.lives import close, come_up, open_one
from tests.ledger.postgres import running

TABLES = (events, approvals, closes, marks, holds, grants, sides)

say = Console(stderr=True, highlight=False)


@contextmanager
def lived(url: str, count: int) -> Iterator[Ledger]:
    """A ledger in which so many grants have lived."""
    ledger = Ledger(url)
    upgrade_schema(ledger)
    for number in range(count):
        vpc = f"vpc-{number:06d}"
        open_one(ledger, f"REQ-{number}", vpc)
        come_up(ledger, vpc)
        open_one(ledger, f"MORE-{number}", vpc)
        if number % 2:
            close(ledger, "all", f"END-{number}", vpc, NOW + HOUR)
    yield ledger
    ledger.close()


def walk(connection: Connection) -> int:
    """Every row that the proof reads, some at a time, and nothing else. Returns how many."""
    rows = 0
    for table in TABLES:
        with connection.execute(
            sql.select(table).order_by(*table.primary_key).execution_options(yield_per=500)
        ) as found:
            rows += sum(1 for _ in found)
    return rows


def compared(ledger: Ledger) -> tuple[int, float, float]:
    """How many rows there are, and the rows a second of the walk and of the proof."""
    rows, bare, proof = 0, [], []
    for _ in range(5):
        began = time.perf_counter()
        rows = ledger.read(walk)
        between = time.perf_counter()
        fault = ledger.read(first_fault, [], None)
        ended = time.perf_counter()
        if fault is not None:
            raise SystemExit(f"the record is not intact: {fault}")
        bare.append(between - began)
        proof.append(ended - between)
    return rows, rows / min(bare), rows / min(proof)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grants", type=int, default=2_000, help="grants that have lived (default 2000)")
    asked = parser.parse_args()
    table = Table("ledger", "rows", "walk, rows a second (peer)", "proof, rows a second", "of the walk")
    with tempfile.TemporaryDirectory(prefix="ecr-grants-bench-") as folder:
        for kind in ("SQLite", "PostgreSQL"):
            with running() if kind == "PostgreSQL" else nullcontext() as server:
                url = (
                    f"sqlite:///{Path(folder) / 'ledger.db'}"
                    if server is None
                    else server.address(server.new_database())
                )
                with say.status(f"{kind}: {asked.grants} lives"), lived(url, asked.grants) as ledger:
                    rows, bare, proof = compared(ledger)
            table.add_row(kind, str(rows), f"{bare:.0f}", f"{proof:.0f}", f"{proof / bare:.3f}")
    Console(highlight=False).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
