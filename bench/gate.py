"""What does the gate cost: seal, policy and version, beside the whole admission that they are part of?

    python -m bench.gate
    python -m bench.gate --approvals 200       a quick one

Sealed approvals, each on a grant of its own, are taken in as the grant function takes them in, on SQLite and on PostgreSQL: one
at a time, as they mostly come, and fifty at a time, as a burst comes. Counted is this process's own processor time: of the gate
alone (a seal is read, opened and judged by policy under the newest version), and of the whole admission in the same run. Each is
made five times, in turn, and the median counts. Fails where the gate is more than its share of an admission that came alone.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import ParamSpec

import structlog
from rich.console import Console
from rich.table import Table

from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.doors import Doors
from shared.loop.gate import Gate
from shared.loop.intake import Intake
from shared.messages.envelope import Item, parse
from shared.messages.seal import Sealed
from shared.rules.facts import Side
from shared.rules.shipped import POLICY
from shared.settings import read_settings
from tests.configured import CONFIG_KEYS, CONFIG_KEYS_TEXT, apply, configuration, sealed
from tests.functional.approvals import approval
from tests.ledger.postgres import running

REGION, HUB, SPOKE, ECR = "cn-hangzhou", "1000000000000001", "2000000000000002", "ecr-bench0"
SHARE = 0.3
ROUNDS = 5

P = ParamSpec("P")
say = Console(stderr=True, highlight=False)


class Door:
    """The way in of the grant function, over one ledger."""

    def __init__(self, url: str) -> None:
        os.environ |= {
            "FC_REGION": REGION,
            "LEDGER_URL": url,
            "CONFIG_KEYS": CONFIG_KEYS_TEXT,
            "EVENT_SUBJECT": "optional",
        }
        self.ledger = Ledger(url)
        upgrade_schema(self.ledger)
        facts = {"owner": "owners", "lead": "leads", "environment": "bench", "name": "bench"}
        accounts = {
            HUB: {**facts, "role": "hub", "external_id": "hub", "ecrs": {ECR: {}}},
            SPOKE: {**facts, "role": "spoke", "external_id": "spoke", "supernets": ["10.0.0.0/8"]},
        }
        apply(self.ledger, configuration(accounts, policy=POLICY))
        self.gate = Gate(self.ledger, CONFIG_KEYS, 1, now_ms)
        self.gate.look()
        self._doors = Doors(read_settings(), HUB)
        self._numbers = itertools.count()

    def mail(self, count: int) -> list[Item]:
        """So many sealed approvals, each on a grant that nobody knows yet."""
        names = [f"vpc-gate{next(self._numbers):06d}" for _ in range(count)]
        documents = [approval(SPOKE, name, ecr={"id": ECR, "owner_uid": HUB}) for name in names]
        return [Item(f"M-{one['request_id']}", sealed(one)) for one in documents]

    def judge(self, mail: Sequence[Item]) -> None:
        """The gate alone."""
        standing, timing = self.gate.standing, self.ledger.timing
        for item in mail:
            body = parse(item.body)
            if (
                not isinstance(body, Sealed)
                or self.gate.judge(standing, body, self.gate.open(standing, body), timing).refused
            ):
                raise SystemExit("an approval was not let through")

    def admit(self, mail: Sequence[Item], at_once: int) -> None:
        """The whole admission, so many in one event."""
        for start in range(0, len(mail), at_once):
            intake = Intake(self.ledger, self.gate, self._doors, Side.GRANT)
            taken = intake.take(mail[start : start + at_once])
            if any(one.refused or one.later for one in taken):
                raise SystemExit("an approval was not admitted")


@contextlib.contextmanager
def ledgers() -> Iterator[dict[str, str]]:
    """A fresh ledger's address on each database."""
    with tempfile.TemporaryDirectory(prefix="ecr-grants-bench-") as scratch, running() as server:
        yield {
            "SQLite": f"sqlite:///{Path(scratch) / 'ledger.db'}",
            "PostgreSQL": server.address(server.new_database()),
        }


def used(act: Callable[P, None], *words: P.args, **named: P.kwargs) -> float:
    """Processor seconds that this takes."""
    before = time.process_time()
    act(*words, **named)
    return time.process_time() - before


def main() -> int:
    """Measure, print, and fail where it is too much."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--approvals", type=int, default=500, help="approvals in each round (default 500)")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    table = Table("ledger", "in one event", "gate, ms each", "admission, ms each (peer)", "share")
    worst = 0.0
    with ledgers() as addresses:
        for name, address in addresses.items():
            door = Door(address)
            for at_once in (1, 50):
                gate, whole = [], []
                with say.status(f"{name}, {at_once} in one event"):
                    door.admit(door.mail(50), at_once)
                    for _ in range(ROUNDS):
                        mail = door.mail(asked.approvals)
                        gate.append(used(door.judge, mail) / len(mail) * 1000)
                        whole.append(used(door.admit, mail, at_once) / len(mail) * 1000)
                share = median(gate) / median(whole)
                worst = max(worst, share if at_once == 1 else 0.0)
                table.add_row(name, str(at_once), f"{median(gate):.2f}", f"{median(whole):.2f}", f"{share:.2f}")
            door.ledger.close()
    Console(soft_wrap=True, highlight=False).print(table)
    if worst > SHARE:
        say.print(f"the gate takes {worst:.2f} of an admission that comes alone; at most {SHARE} is wanted")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
