"""What the version before left: its rows are worked on, its messages are read; and what the next one tells is read by us.

The rows are kept as data, so that this holds also where history does not have that version's code (``tests.upgrade.dump``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.calm import CalmCloud
from shared.cloud.calls import Trail
from shared.errors import BadInput
from shared.ledger.admission import admit
from shared.ledger.heads import head_of
from shared.ledger.operating import dead_rows, lift_hold
from shared.ledger.outbox import take_entries
from shared.ledger.passing import let_time_pass
from shared.ledger.proof import first_fault
from shared.ledger.schema import MIGRATIONS, Half, check_schema, upgrade_schema
from shared.ledger.tables import metadata
from shared.ledger.transactions import Ledger
from shared.loop.visits import Outcome
from shared.messages.completion import COMPLETION, WAKE, Completion, EventKind, Wake
from shared.messages.envelope import parse
from shared.rules.facts import HoldKind, Side
from tests.command import whole_command
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import HOUR, Database, closing, key, opening
from tests.ledger.lives import ROUTES, close, come_up

STATES = sorted((Path(__file__).parents[1] / "upgrade").glob("*.json"))


@dataclass(frozen=True)
class Left:
    """A ledger as an older version left it, with everything stopped and upgraded since; its rows, and when it ended."""

    ledger: Ledger
    database: Database
    tables: dict[str, list[dict[str, Any]]]
    ends: int


@pytest.fixture(params=STATES, ids=lambda path: path.stem)
def left(request: pytest.FixtureRequest, empty: Database, tmp_path: Path) -> Iterator[Left]:
    """Made with that version's tables, and brought to ours."""
    found: dict[str, Any] = json.loads(request.param.read_text("utf-8"))
    revision = int(found["revision"])
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    for script in (migrations / "versions").glob("0*.py"):
        if int(script.name[:4]) > revision:
            script.unlink()
    ledger = Ledger(empty.url)
    upgrade_schema(ledger, code=revision, migrations=migrations)
    with empty.connected() as connection:
        for table in metadata.sorted_tables:
            rows = found["tables"].get(table.name)
            if rows:
                connection.execute(table.delete())
                connection.execute(table.insert(), rows)
    assert upgrade_schema(ledger, Half.AFTER) == check_schema(ledger)
    yield Left(ledger, empty, found["tables"], found["ends"])
    ledger.close()


def test_the_rows_of_an_older_version_are_proven_shown_and_worked_on(left: Left) -> None:
    """Nothing is wanting: the record holds, commands read it, and every kind of work goes on where it was."""
    ledger, database = left.ledger, left.database
    events = left.tables["chain"][0]["seq"]
    now = left.ends + HOUR
    assert ledger.read(first_fault, [], None) is None
    for words in (["grants"], ["dead", "list"], ["ledger", "verify"]):
        ran = CliRunner().invoke(whole_command(), [*words, "--json"], env={"LEDGER_URL": database.url})
        assert ran.exit_code == 0, (words, ran.output)
    assert ledger.read(dead_rows) == []

    let_time_pass(ledger, now)
    ledger.write(lift_hold, HoldKind.ECR, key().ecr_id, "operator", now)
    close(ledger, "all", "END-OLD", "vpc-3", now)  # what the older version made is closed by us
    assert ledger.write(admit, opening("REQ-NEW", "vpc-20", approved_at=now), "message-new", now, ledger.timing).new
    come_up(ledger, "vpc-20", now)
    told = [json.loads(entry.body) for entry in ledger.write(take_entries, 500, now, now + 1)]
    assert len(told) > len(left.tables["outbox"])
    assert ledger.read(head_of, now).seq > events
    assert ledger.read(first_fault, [], None) is None


def test_nothing_is_made_for_leases_of_before_seals(left: Left) -> None:
    """They are not carried over: what stands for them is kept until it is closed, and then it is taken down."""
    ledger, now = left.ledger, left.ends + HOUR
    ledger.write(lift_hold, HoldKind.ECR, key().ecr_id, "operator", now)
    assert apply(ledger) == 1
    gated, cloud = Gated(ledger, now=now), CalmCloud()
    stands, waits = key("vpc-3"), key("vpc-5")
    cloud.granted.add(stands)
    cloud.associate(stands, ROUTES, "of before", Trail())
    let_time_pass(ledger, now, gated.judge)

    assert gated.visit(cloud, Side.GRANT, "vpc-5") is Outcome.DEAD
    (told,) = {row.reason for row in ledger.read(dead_rows)}
    assert "never sealed" in told.text
    for side in Side:
        gated.visit(cloud, side, "vpc-3")
    assert (cloud.granted, set(cloud.associations)) == ({stands}, {stands}), "nothing was made, and what stood is kept"

    gated.enter(closing("all", "END-OLD", "vpc-3", approved_at=now))
    for side in (Side.ASSOCIATE, Side.GRANT):
        gated.visit(cloud, side, "vpc-3")
    assert (cloud.granted, cloud.associations) == (set(), {})
    gated.enter(opening("REQ-NEW", "vpc-5", approved_at=now))
    gated.enter(closing(["REQ-10", "REQ-12"], "END-BOTH", "vpc-5", approved_at=now))
    for side in Side:
        gated.visit(cloud, side, "vpc-5")
    assert set(cloud.associations) == {waits}, "what was sealed anew comes up"
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
        with pytest.raises(BadInput, match="is not sealed"):
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
