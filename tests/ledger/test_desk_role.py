"""With the desk's own rights in the database: people can ask and decide, and nothing else can be done or undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sql
from click.testing import CliRunner
from sqlalchemy.exc import ProgrammingError

from shared.errors import LedgerError
from shared.ledger.operating import set_hold
from shared.ledger.operating_seen import seen_operation
from shared.ledger.operations import carry_out
from shared.ledger.proof import first_fault
from shared.ledger.roles import READ_BY_NOBODY, limit_desk
from shared.ledger.seeing import Scope
from shared.ledger.tables import consent, holds, metadata, operations, requests, used
from shared.ledger.transactions import Ledger
from shared.ledger.used import Kind, count, forget, use_once
from shared.loop.asking import Desk
from shared.loop.consent import Consent
from shared.loop.operating import Operators
from shared.messages.consent import Operation, Strength
from shared.rules.facts import Hold, HoldKind, Side
from tests.command import whole_command
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import Database, key
from tests.ledger.postgres import PASSWORD
from tests.ledger.room import LAPSE, Room, people_decide, voice, wish
from tests.ledger.test_operating import with_operators

ROLE = "desk"
ADDS = {consent.name, operations.name, requests.name}


@pytest.fixture
def as_desk(ledger: Ledger, database: Database) -> Iterator[Ledger]:
    """The ledger as the desk is let into it."""
    if database.kind != "postgresql":
        pytest.skip("SQLite has no roles: whoever has the file has everything")
    apply(ledger, people_decide())
    with database.connected() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        connection.exec_driver_sql(
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {ROLE}"
        )  # what is too much is taken away
    limit_desk(ledger, ROLE)
    url = sql.make_url(database.url).set(username=ROLE, password=PASSWORD)
    mine = Ledger(url.render_as_string(hide_password=False))
    yield mine
    mine.close()
    with database.connected() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


def test_it_is_enough_to_ask_decide_and_withdraw(as_desk: Ledger, ledger: Ledger) -> None:
    """And to count what counts once; what suffices is admitted by the grant function, with its own rights."""
    room = Room(Gated(ledger))
    desk = Desk(as_desk, Gated(as_desk).gate, lambda: room.gated.now, lapse=LAPSE)
    (asked,) = desk.ask(voice("requester"), [wish()])
    request_id = asked.standing.request_id
    snapshot = room.look(request_id)
    desk.decide(voice("owner"), request_id, Side.GRANT, snapshot, agrees=True)
    (other,) = desk.ask(voice("requester"), [wish("vpc-2")])
    desk.withdraw(voice("requester"), other.standing.request_id)
    assert as_desk.write(use_once, Kind.TOKEN, "t-1", room.gated.now + 10, room.gated.now)
    assert not as_desk.write(use_once, Kind.TOKEN, "t-1", room.gated.now + 10, room.gated.now)
    assert as_desk.write(count, Kind.CALLER, "t-1", room.gated.now + 10, room.gated.now) == 1
    assert as_desk.write(forget, room.gated.now + 10) == 2
    assert Consent(ledger, room.gated.opened(), lambda: room.gated.now).hear() == [key().grant_id]
    assert ledger.read(first_fault, [], None) is None


def test_an_operators_word_is_recorded_and_carried_out_by_nobody_here(
    as_desk: Ledger, ledger: Ledger, database: Database
) -> None:
    """With the desk's rights it can be said; with them nobody does it, neither by its use case nor by hand."""
    apply(ledger, with_operators("lead"))
    room = Room(Gated(ledger))
    hold = Operation.model_validate({"word": "hold", "kind": "ecr", "name": key().ecr_id, "reason": "A test"})
    scope = Scope("lead", frozenset({key().ecr_owner_uid}))
    operators = Operators(as_desk, Gated(as_desk).gate, lambda: room.gated.now)
    said = operators.say(voice("lead", strength=Strength.FRESH), scope, hold).fact
    with pytest.raises(LedgerError, match="permission denied"):
        as_desk.write(carry_out, said.operation_id, None, None, room.gated.now)
    hold_it = Hold(HoldKind.ECR, key().ecr_id, everything=False, who="lead", reason="A test", at=1)
    with pytest.raises(LedgerError, match="permission denied"):
        as_desk.write(set_hold, hold_it, 1)
    assert database.count(holds) == 0
    room.hear()
    assert database.count(holds) == 1
    seen = as_desk.read(seen_operation, scope, said.operation_id)
    assert seen is not None
    assert seen.outcome == "done"
    assert ledger.read(first_fault, [], None) is None


def _forbidden() -> Iterator[tuple[str, str]]:
    for table in metadata.sorted_tables:
        if table is used:
            continue
        first = next(iter(table.c)).name
        if table.name in READ_BY_NOBODY:
            yield f"read {table.name}", f"SELECT * FROM {table.name}"  # noqa: S608  # of our own names
        if table.name not in ADDS:
            yield f"add to {table.name}", f"INSERT INTO {table.name} SELECT * FROM {table.name}"  # noqa: S608  # of our own names
        yield f"change {table.name}", f"UPDATE {table.name} SET {first} = {first}"  # noqa: S608  # of our own names
        yield f"delete from {table.name}", f"DELETE FROM {table.name}"  # noqa: S608  # of our own names
        yield f"empty {table.name}", f"TRUNCATE {table.name}"
        yield f"drop {table.name}", f"DROP TABLE {table.name}"
        yield f"lock {table.name}", f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE"
    yield "make a table", "CREATE TABLE mine (number int)"
    yield "become somebody else", "SET ROLE ecr"
    yield "do without triggers", "SET session_replication_role = replica"
    yield "make a role", "CREATE ROLE mallory"


def test_nothing_else_can_be_done(as_desk: Ledger) -> None:
    """Not a configuration, not an approval, not a lease, not a change of the record: the database refuses each."""
    tried = list(_forbidden())
    assert len(tried) > 60
    assert [what for what, statement in tried if not _refused(as_desk, statement)] == []


def _refused(ledger: Ledger, statement: str) -> bool:
    """Whether the database does not let it be done."""
    try:
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql(statement)
    except ProgrammingError as error:
        return any(why in str(error.orig) for why in ("permission denied", "must be owner"))
    return False


def test_the_command_says_what_it_did(ledger: Ledger, database: Database) -> None:
    """Twice the same; a role that is not there, and a ledger without roles, are told."""

    def told(role: str) -> tuple[int, str]:
        done = CliRunner().invoke(whole_command(), ["ledger", "desk-role", role, "--ledger-url", database.url])
        return done.exit_code, done.output

    if database.kind != "postgresql":
        code, text = told(ROLE)
        assert (code, "SQLite has no roles" in text) == (2, True)
        return
    with database.connected() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {ROLE} LOGIN")
    try:
        for _ in range(2):
            code, text = told(ROLE)
            assert (code, text) == (
                0,
                f"{ROLE} can read, ask, decide, withdraw and say operating words in the schema public, and nothing else\n",
            )
        code, text = told("nobody-at-all")
        assert (code, 'role "nobody-at-all" does not exist' in text) == (1, True)
    finally:
        with database.connected() as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")
