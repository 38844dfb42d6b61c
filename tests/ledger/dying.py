"""Workers that die: each makes one step of the ledger's work and ends, as if its plug were pulled, before its n-th statement.

``python -m tests.ledger.dying URL`` lets every step die before some of its statements (``LEDGER_DEATHS=all``: before each) and
before its commit, and checks that no death leaves half a fact; then the step is made once more, to its end. Prints how many
deaths each step died.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import sqlalchemy as sql

from shared.ledger.admission import admit
from shared.ledger.drift import note_drift
from shared.ledger.intents import intend, resolve, saw
from shared.ledger.operating import adopt, lift_hold, redrive, set_hold, set_mode
from shared.ledger.outbox import take_entries
from shared.ledger.outcomes import mark_dead, settle
from shared.ledger.passing import let_time_pass
from shared.ledger.transactions import Ledger
from shared.ledger.work import claim, read_work
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Drift, DriftKind, Hold, HoldKind, Mode, Operation, Seen, Side, Work
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, grant_id, key, opening

_KILLED = 9
_MOST_STATEMENTS = 100
TROUBLE = Reason(code="CloudTrouble", text="the platform failed")
HOLD = Hold(HoldKind.GRANT, grant_id(), everything=False, who="operator", reason="a test", at=NOW)


def _read(ledger: Ledger, side: Side = Side.GRANT) -> Work:
    work = ledger.write(read_work, grant_id(), side, NOW, ledger.timing)
    assert work is not None
    return work


def _settle(ledger: Ledger, side: Side, kind: EventKind) -> None:
    assert ledger.write(settle, _read(ledger, side), kind, NOW, association_id=None, served=[], both_sides=True)


def _intend(ledger: Ledger) -> None:
    assert ledger.write(intend, _read(ledger), Operation.GRANT, NOW, ledger.timing) is not None


# One life of a grant. Whatever a step needs was made by those before it.
LIFE: dict[str, Callable[[Ledger], object]] = {
    "admit": lambda ledger: ledger.write(admit, opening(), "m-1", NOW, ledger.timing),
    "admit with an end": lambda ledger: ledger.write(
        admit, opening("REQ-2", ends_at=NOW + HOUR, on_end="teardown"), "m", NOW, ledger.timing
    ),
    "claim": lambda ledger: ledger.write(claim, grant_id(), Side.GRANT, "one", NOW, NOW + HOUR),
    "intend": _intend,
    "resolve": lambda ledger: ledger.write(resolve, _read(ledger).my_intents, [], NOW),
    "settle one side": lambda ledger: _settle(ledger, Side.GRANT, EventKind.GRANTED),
    "settle the other and answer": lambda ledger: _settle(ledger, Side.ASSOCIATE, EventKind.ASSOCIATED),
    "take letters": lambda ledger: ledger.write(take_entries, 3, NOW, NOW + HOUR),
    "let a lease end": lambda ledger: let_time_pass(ledger, NOW + HOUR),
    "see": lambda ledger: ledger.write(saw, _read(ledger), Seen("present", False), NOW),
    "adopt": lambda ledger: ledger.write(adopt, grant_id(), Side.GRANT, "operator", NOW),
    "admit an early one": lambda ledger: ledger.write(
        admit, opening("REQ-3", approved_at=NOW + 2 * HOUR), "m-4", NOW, ledger.timing
    ),
    "close": lambda ledger: ledger.write(admit, closing(["REQ-1"]), "m-2", NOW, ledger.timing),
    "close what may come": lambda ledger: ledger.write(
        admit, closing(["REQ-8"], "REQ-END-2", "vpc-2"), "m-3", NOW, ledger.timing
    ),
    "die": lambda ledger: ledger.write(mark_dead, _read(ledger), TROUBLE, NOW),
    "redrive": lambda ledger: ledger.write(redrive, grant_id(), Side.GRANT, "operator", NOW),
    "find a stranger": lambda ledger: ledger.write(
        note_drift,
        [Drift(key("vpc-9"), Side.GRANT, DriftKind.FOREIGN_GRANT, "nobody asked")],
        NOW,
        generation=0,
        quiet_since=NOW,
        repair=frozenset(),
    ),
    "let an early one take effect": lambda ledger: let_time_pass(ledger, NOW + 2 * HOUR),
    "hold": lambda ledger: ledger.write(set_hold, HOLD, NOW),
    "lift": lambda ledger: ledger.write(lift_hold, HOLD.kind, HOLD.name, "operator", NOW + 1),
    "set the mode": lambda ledger: ledger.write(set_mode, Mode.FULL, "operator", NOW),
}


def main(url: str) -> None:
    """Let everybody die everywhere."""
    every = os.environ.get("LEDGER_DEATHS") == "all"
    deaths = {}
    for number, (name, step) in enumerate(LIFE.items()):
        deaths[name] = _die_at_commits(url, step) + _die_at_statements(url, step, 1 if every else 8, 1 + number % 4)
    database, ledger = _database(url), Ledger(url)
    check_order(ledger, database)
    ledger.close()
    database.close()
    print(json.dumps(deaths))  # read by the test that started us


def _die_at_commits(url: str, step: Callable[[Ledger], object]) -> int:
    """Deaths right before the first commit: nothing of the step's first transaction may be there."""
    before = _counts(url)
    assert _dies(url, step, "commit", 1)
    assert _counts(url) == before
    return 1


def _die_at_statements(url: str, step: Callable[[Ledger], object], apart: int, first: int) -> int:
    """Deaths until one lived through the step. A step of several transactions keeps those that were committed."""
    for deaths, statement in enumerate(range(first if apart > 1 else 1, _MOST_STATEMENTS, apart)):
        if not _dies(url, step, "before_cursor_execute", statement):
            return deaths
        _check_whole(_counts(url))
    raise AssertionError(f"a step of more than {_MOST_STATEMENTS} statements")


def _dies(url: str, step: Callable[[Ledger], object], event: str, count: int) -> bool:
    """Let a worker make the step and die when the n-th such event comes. False: it lived."""
    child = os.fork()
    if child == 0:
        _work(url, step, event, count)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, _KILLED), f"the worker failed by itself: {code}"
    return code == _KILLED


def _check_whole(found: dict[str, int]) -> None:
    """No half of a fact: every event has its letter, every grant its two sides, and the chain ends at the last event."""
    assert found["events"] == found["chain"], found
    assert found["published"] == found["outbox"], found
    assert found["sides"] == 2 * found["grants"], found
    assert found["numbers"] == found["numbered"], found
    assert found["admissions"] == found["approvals"], found
    assert found["answers"] == found["answered"], found


_COUNTS = {
    "events": "SELECT count(*) FROM events",
    "outbox": "SELECT count(*) FROM outbox",
    "chain": "SELECT seq FROM chain",
    "grants": "SELECT count(*) FROM grants",
    "sides": "SELECT count(*) FROM sides",
    "numbers": "SELECT coalesce(sum(last_number), 0) FROM grants",
    "published": "SELECT count(*) FROM events WHERE kind NOT IN ('took-effect', 'ownership')",
    "numbered": "SELECT count(*) FROM events WHERE number IS NOT NULL",
    "approvals": "SELECT count(*) FROM approvals",
    "admissions": "SELECT count(*) FROM events WHERE kind IN ('admitted', 'early')",
    "answered": "SELECT count(*) FROM approvals WHERE outcome IS NOT NULL AND outcome != 'dead'",
    "answers": "SELECT count(*) FROM events WHERE kind IN ('done', 'rejected')",
}


def _counts(url: str) -> dict[str, int]:
    database = _database(url)
    try:
        with database.connected() as connection:
            return {name: int(connection.execute(sql.text(query)).scalar_one()) for name, query in _COUNTS.items()}
    finally:
        database.close()  # a connection must not be shared with the next child


def _database(url: str) -> Database:
    return Database(url.partition(":")[0].partition("+")[0], url)


def _work(url: str, step: Callable[[Ledger], object], event: str, last: int) -> None:
    """In the child: make the step, and die when the n-th such event comes. Never returns."""
    code = 1
    try:
        ledger = Ledger(url)
        made = 0

        def count(*_: object) -> None:
            nonlocal made
            made += 1
            if made == last:
                os._exit(_KILLED)

        sql.event.listen(ledger.engine, event, count)
        step(ledger)
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
