"""What the version before left: its rows are worked on, its messages are read; and what the next one tells is read by us.

The rows are kept as data, so that this holds also where history does not have that version's code (``tests.upgrade.dump``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from typer.testing import CliRunner

from cli.main import app
from shared.errors import BadInput
from shared.ledger.admission import admit
from shared.ledger.heads import head_of
from shared.ledger.operating import dead_rows, lift_hold
from shared.ledger.outbox import take_entries
from shared.ledger.passing import let_time_pass
from shared.ledger.proof import first_fault
from shared.ledger.schema import Half, check_schema, upgrade_schema
from shared.ledger.tables import metadata
from shared.ledger.transactions import Ledger
from shared.messages.completion import COMPLETION, WAKE, Completion, EventKind, Wake
from shared.messages.envelope import parse
from shared.rules.facts import HoldKind
from tests.ledger.kit import HOUR, Database, key, opening
from tests.ledger.lives import close, come_up

VERSION = sql.table("alembic_version", sql.column("version_num"))
STATES = sorted((Path(__file__).parents[1] / "upgrade").glob("*.json"))


@pytest.fixture(params=STATES, ids=lambda path: path.stem)
def left(request: pytest.FixtureRequest, database: Database, ledger: Ledger) -> Iterator[dict[str, Any]]:
    """A ledger as an older version left it, of which this one has the tables; its rows are returned."""
    found: dict[str, Any] = json.loads(request.param.read_text("utf-8"))
    with database.connected() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        for table in metadata.sorted_tables:
            rows = found["tables"].get(table.name)
            if rows:
                connection.execute(table.insert(), rows)
        connection.execute(VERSION.update().values(version_num=found["revision"]))
    yield found
    upgrade_schema(ledger, Half.AFTER)


@pytest.mark.parametrize("half", Half)
def test_the_rows_of_an_older_version_are_proven_shown_and_worked_on(
    ledger: Ledger, database: Database, left: dict[str, Any], half: Half
) -> None:
    """Nothing is wanting: the record holds, commands read it, and every kind of work goes on where it was."""
    events = left["tables"]["chain"][0]["seq"]
    now = left["ends"] + HOUR
    assert upgrade_schema(ledger, half) == check_schema(ledger)
    assert ledger.read(first_fault, [], None) is None
    for words in (["grants"], ["dead", "list"], ["ledger", "verify"]):
        ran = CliRunner().invoke(app, [*words, "--json"], env={"LEDGER_URL": database.url})
        assert ran.exit_code == 0, (words, ran.output)
    assert ledger.read(dead_rows) == []

    let_time_pass(ledger, now)
    ledger.write(lift_hold, HoldKind.ECR, key().ecr_id, "operator", now)
    close(ledger, "all", "END-OLD", "vpc-3", now)  # what the older version made is closed by us
    assert ledger.write(admit, opening("REQ-NEW", "vpc-20", approved_at=now), "message-new", now, ledger.timing).new
    come_up(ledger, "vpc-20", now)
    told = [json.loads(entry.body) for entry in ledger.write(take_entries, 500, now, now + 1)]
    assert len(told) > len(left["tables"]["outbox"])
    assert ledger.read(head_of, now).seq > events
    assert ledger.read(first_fault, [], None) is None


@pytest.mark.parametrize("state", STATES, ids=lambda path: path.stem)
def test_the_messages_of_an_older_version_are_read(state: Path) -> None:
    """Every completion that it published, and its wakes. What it was told to grant is told again: its approvals had no seal."""
    tables = json.loads(state.read_text("utf-8"))["tables"]
    told = [event["body"] for event in tables["events"]]
    found = [parse(body) for body in told]
    assert all(isinstance(one, Completion) for one in found)
    assert {one.event for one in found if isinstance(one, Completion)} > {EventKind.GRANTED, EventKind.ENDED}
    for approval in tables["approvals"]:
        with pytest.raises(BadInput, match="schema: must be one of"):
            parse(approval["content"])
    for grant in tables["grants"]:
        assert isinstance(parse({"schema": WAKE, "grant_id": grant["grant_id"]}), Wake)


@pytest.mark.parametrize("state", STATES, ids=lambda path: path.stem)
def test_what_a_later_version_adds_to_a_completion_is_passed_over(state: Path) -> None:
    """A field more, at any depth, or an event of which we do not know: we only want to know where to look."""
    for event in json.loads(state.read_text("utf-8"))["tables"]["events"]:
        body = json.loads(event["body"])
        known = parse(body)
        later = {**body, "told_by": 3, "more": {"of": ["it"]}}
        for part in ("grant", "request", "reason"):
            if part in later:
                later[part] = {**later[part], "also": "this"}
        assert parse(later) == known
        assert body["schema"] == COMPLETION
        unknown = parse({**later, "event": "brand-new"})
        assert isinstance(unknown, Completion)
        assert isinstance(known, Completion)
        assert unknown.grant == known.grant
