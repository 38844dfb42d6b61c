"""Trouble: workers that die between two statements, a database that goes away and comes back, and everybody at once."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
import sqlalchemy as sql

from shared.errors import LedgerError
from shared.ledger.admission import admit, reject_message
from shared.ledger.drift import note_drift, note_drift_gone, read_standing
from shared.ledger.heads import head_of
from shared.ledger.intents import carried_out, intend, resolve, saw
from shared.ledger.operating import adopt, lift_hold, redrive, said_mode, set_hold, set_mode
from shared.ledger.outbox import mark_published, take_entries
from shared.ledger.outcomes import mark_dead, put_off, refuse, settle, tell_unwanted
from shared.ledger.passing import let_time_pass
from shared.ledger.schema import check_schema, upgrade_schema
from shared.ledger.tables import approvals, sides
from shared.ledger.transactions import Ledger, away
from shared.ledger.work import claim, read_work, release, unsettled
from shared.messages.completion import EventKind, Reason
from shared.rules.facts import Drift, DriftKind, Hold, HoldKind, Mode, Operation, Seen, Side, Work
from tests.ledger.conftest import wipe
from tests.ledger.crowd import Crowd
from tests.ledger.dying import LIFE
from tests.ledger.kit import HOUR, NOW, Database, check_order, closing, grant_id, key, opening
from tests.ledger.postgres import PASSWORD, Postgres

ROOT = Path(__file__).parents[2]


def test_a_worker_that_dies_leaves_nothing_half_done(database: Database) -> None:
    """Whatever step of a grant's life is cut off, before whichever statement or commit: no event without its outbox entry, no
    grant without its sides, no number without its event, no outcome without its answer; and the next worker makes the step."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.ledger.dying", database.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    deaths = json.loads(ran.stdout)
    assert deaths.keys() == LIFE.keys()
    assert all(deaths.values()), deaths


def test_a_transaction_that_fails_is_undone(ledger: Ledger, database: Database) -> None:
    """An error inside the process, at any statement of an admission, leaves everything as it was."""
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    before = database.everything()
    failing = Ledger(database.url)
    made = fails_at = 0

    class Failure(Exception):
        pass

    def count(*_: object) -> None:
        nonlocal made
        made += 1
        if made == fails_at:
            raise Failure

    sql.event.listen(failing.engine, "before_cursor_execute", count)
    while fails_at < 100:
        made, fails_at = 0, fails_at + 1
        try:
            failing.write(admit, closing(["REQ-1"], vpc="vpc-2"), "message-2", NOW, failing.timing)
        except Failure:
            assert database.everything() == before
        else:
            break
    failing.close()
    assert 10 < fails_at < 100
    check_order(ledger, database)


# -- a database that is away -------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Ledger], object]] = {
    "admit": lambda ledger: ledger.write(admit, opening("REQ-9"), "message-9", NOW, ledger.timing),
    "read": lambda ledger: ledger.write(read_work, grant_id(), Side.GRANT, NOW, ledger.timing),
    "claim": lambda ledger: ledger.write(claim, grant_id(), Side.GRANT, "one", NOW, NOW + 1),
    "unsettled": lambda ledger: ledger.read(unsettled, NOW, 10),
    "standing": lambda ledger: list(read_standing(ledger)),
    "take entries": lambda ledger: ledger.write(take_entries, 10, NOW, NOW + 1),
    "head": lambda ledger: ledger.read(head_of, NOW),
    "check the schema": check_schema,
}


def _all_refuse(ledger: Ledger) -> None:
    for name, call in CALLS.items():
        with pytest.raises(LedgerError) as caught:
            call(ledger)
        assert PASSWORD not in str(caught.value), name
        assert "\n" not in str(caught.value), name


def test_a_server_that_is_away_is_a_ledger_error_and_comes_back(postgres: Postgres, shared_database: Database) -> None:
    """While PostgreSQL is stopped every call says that the ledger is away; once it is back, the same object works on."""
    ledger = Ledger(shared_database.url)
    try:
        ledger.read(said_mode)
        postgres.stop()
        try:
            _all_refuse(ledger)
        finally:
            postgres.start()
        assert ledger.read(said_mode) is None
        check_schema(ledger)
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"password": "wrong-and-secret"}, "password authentication failed"),
        ({"database": "nowhere"}, "does not exist"),
        ({"query": {"host": "/nowhere"}}, "No such file"),
        ({"query": {"host": "127.0.0.1", "port": "1"}}, "refused"),
    ],
    ids=["wrong password", "no such database", "no such socket", "nobody listens"],
)
def test_an_address_that_leads_nowhere_is_a_ledger_error(
    postgres: Postgres, shared_database: Database, change: dict[str, str | dict[str, str]], says: str
) -> None:
    """Every call says what is wrong in one line, without the password."""
    url = sql.make_url(shared_database.url).set(**change)  # type: ignore[arg-type]
    ledger = Ledger(url.render_as_string(hide_password=False))
    try:
        _all_refuse(ledger)
        with pytest.raises(LedgerError, match=says) as caught:
            ledger.read(said_mode)
        assert "secret" not in str(caught.value)
        query = change.get("query")
        host, port = (
            (query["host"], query.get("port", 5432)) if isinstance(query, dict) else (str(postgres.folder), 5432)
        )
        where = f"postgresql at {host}, port {port}, database {url.database}: "
        assert str(caught.value).startswith(f"the ledger is away: {where}")
        with pytest.raises(LedgerError) as checked:
            check_schema(ledger)
        assert str(checked.value) == str(caught.value)
        with pytest.raises(LedgerError, match=says):
            upgrade_schema(ledger)
    finally:
        ledger.close()


def test_a_reason_that_repeats_the_password_is_told_without_it() -> None:
    """Whatever a driver writes: in clear text or as it stands in an address."""
    url = sql.make_url("postgresql+psycopg://ecr:p%40ss%2Fword@db.example.com:6543/ledger")
    told = str(away(url, OSError("cannot use p@ss/word, that is p%40ss%2Fword\nand more")))
    assert told == (
        "the ledger is away: postgresql at db.example.com, port 6543, database ledger: cannot use ***, that is ***"
    )
    assert str(away(url, OSError())).endswith("database ledger: OSError")


def test_a_file_that_is_missing_or_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """The check does not make the file it looks for; a folder that is not there is told with the file's whole name."""
    missing = tmp_path / "ledger here.db"
    ledger = Ledger(f"sqlite:///{missing}")
    try:
        with pytest.raises(LedgerError, match="no such file") as caught:
            check_schema(ledger)
        assert f"SQLite file {missing}: " in str(caught.value)
        assert not missing.exists()
    finally:
        ledger.close()
    nowhere = tmp_path / "nowhere" / "ledger.db"
    ledger = Ledger(f"sqlite:///{nowhere}")
    try:
        for call in (lambda: ledger.read(said_mode), lambda: upgrade_schema(ledger)):
            with pytest.raises(LedgerError) as told:
                call()
            assert str(told.value) == f"the ledger is away: SQLite file {nowhere}: unable to open database file"
    finally:
        ledger.close()


def test_a_ledger_without_tables_says_where_it_was_looked_for(postgres: Postgres, tmp_path: Path) -> None:
    """On both databases, from the check and from whoever reads a table."""
    name = postgres.new_database()
    (tmp_path / "empty.db").touch()
    places = {
        f"sqlite:///{tmp_path / 'empty.db'}": f"SQLite file {tmp_path / 'empty.db'}",
        postgres.address(name): f"postgresql at {postgres.folder}, port 5432, database {name}",
    }
    for url, place in places.items():
        ledger = Ledger(url)
        try:
            with pytest.raises(LedgerError, match="no tables yet") as checked:
                check_schema(ledger)
            assert place in str(checked.value)
            with pytest.raises(LedgerError, match="settings") as caught:
                ledger.read(said_mode)
            assert str(caught.value).startswith(f"the ledger is away: {place}: ")
        finally:
            ledger.close()
    postgres.drop(name)


def test_a_connection_that_is_cut_is_a_ledger_error_and_nothing_happened(shared_database: Database) -> None:
    """The server may end a session in the middle of a transaction: the caller is told, and finds everything as it was."""
    database = shared_database
    wipe(database)
    ledger = Ledger(f"{database.url}&application_name=cut")
    before = database.everything()
    made = 0

    def cut(*_: object) -> None:
        nonlocal made
        made += 1
        if made == 5:
            with database.connected() as connection:
                connection.execute(
                    sql.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'")
                )

    sql.event.listen(ledger.engine, "before_cursor_execute", cut)
    try:
        with pytest.raises(LedgerError):
            ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
        assert database.everything() == before
        assert ledger.write(admit, opening(), "message-1", NOW, ledger.timing).new
        check_order(ledger, database)
    finally:
        ledger.close()


def test_a_database_that_became_read_only_is_a_ledger_error(postgres: Postgres, shared_database: Database) -> None:
    """After a failover the address may lead to a server that takes no writes; that passes, like being away."""
    name = sql.make_url(shared_database.url).database
    with postgres.connect("postgres") as connection:
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    ledger = Ledger(shared_database.url)
    try:
        with pytest.raises(LedgerError):
            ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    finally:
        ledger.close()
        with postgres.connect("postgres") as connection:
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


def test_a_stopped_worker_stops_nobody_for_ever(shared_database: Database) -> None:
    """A function's instance may be frozen in the middle of a transaction, holding what everybody needs. So sessions have limits:
    how long one may wait, how long one may sit in a transaction, how long one may take to connect."""
    ledger = Ledger(shared_database.url)
    try:
        with ledger.engine.connect() as connection:
            for name in ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout"):
                found = connection.execute(
                    sql.text("SELECT setting FROM pg_settings WHERE name = :name"), {"name": name}
                )
                assert 0 < int(found.scalar_one()) <= 120_000, name
            raw = cast("psycopg.Connection[Any]", connection.connection.dbapi_connection)
            assert int(raw.info.get_parameters()["connect_timeout"]) <= 30
    finally:
        ledger.close()


@pytest.mark.parametrize("what", ["no such folder", "not a database", "a folder"])
def test_a_file_that_is_no_database_is_a_ledger_error(tmp_path: Path, what: str) -> None:
    """SQLite's own ways to be away."""
    path = tmp_path / "nowhere" / "ledger.db" if what == "no such folder" else tmp_path / "ledger.db"
    if what == "not a database":
        path.write_text("This is a letter, not a ledger. " * 100)
    elif what == "a folder":
        path.mkdir()
    ledger = Ledger(f"sqlite:///{path}")
    try:
        _all_refuse(ledger)
    finally:
        ledger.close()


def test_a_file_that_stays_locked_is_a_ledger_error(sqlite_file: Path) -> None:
    """Whoever waits for a writer that never ends gives up and says so; afterwards everything works."""
    url = f"sqlite:///{sqlite_file}"
    ledger = Ledger(url)
    sql.event.listen(ledger.engine, "connect", lambda raw, _: raw.execute("PRAGMA busy_timeout=1"))
    holder = sqlite3.connect(sqlite_file, isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError):
            ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
        holder.execute("ROLLBACK")
        assert ledger.read(said_mode) is None
    finally:
        holder.close()
        ledger.close()


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="nothing"),
        pytest.param("ledger.db", id="a file's name"),
        pytest.param("oracle-of-delphi://ecr:hush-hush@host/db", id="no database of that kind"),
        pytest.param("postgresql+pg8000://ecr:hush-hush@host/db", id="a driver that we do not have"),
        pytest.param("mysql://host/db", id="a database that we have no driver for"),
    ],
)
def test_an_address_that_is_none_is_refused_in_words(url: str) -> None:
    """Also where it names a database that we have no driver for; without repeating what may hold a password."""
    with pytest.raises(LedgerError, match="LEDGER_URL") as caught:
        Ledger(url)
    assert "hush" not in str(caught.value)


def test_a_message_id_of_any_length_and_letter_is_admitted(ledger: Ledger, database: Database) -> None:
    """The platform's id is the platform's business: no length and no character of it makes an approval inadmissible."""
    for number, message_id in enumerate(["m" * 1000, "nul \0 inside", "\ud800 half a character"]):
        assert ledger.write(admit, opening(f"REQ-{number}"), message_id, NOW, ledger.timing).new
        ledger.write(reject_message, message_id, "{rotten", Reason(code="BadInput", text="no JSON"), NOW)
    check_order(ledger, database)


# -- everybody at once -------------------------------------------------------------------------------------------------


def storm(ledger: Ledger, number: int, rounds: int, grants: int) -> dict[str, int]:
    """Do anything to any grant, seeded; returns how often each thing was done. Raises LedgerError when one waits in a circle."""
    chance = random.Random(number)  # noqa: S311
    done: dict[str, int] = {}
    for each in range(rounds):
        name = chance.choice(sorted(STORM))
        vpc = f"vpc-{chance.randrange(grants)}"
        side = chance.choice(list(Side))
        work = ledger.write(read_work, grant_id(vpc), side, NOW, ledger.timing)
        if work is None:
            name = "open"
            ledger.write(admit, opening(f"REQ-{number}-{each}", vpc), f"m-{number}-{each}", NOW, ledger.timing)
        else:
            STORM[name](ledger, work, f"{number}-{each}", vpc, chance)
        done[name] = done.get(name, 0) + 1
    return done


def _open(ledger: Ledger, work: Work, name: str, vpc: str, chance: random.Random) -> None:
    prefixes = (f"10.{chance.randrange(200)}.0.0/16",)
    ends_at = NOW + 1 if chance.random() < 0.3 else None
    on_end = chance.choice(["report", "teardown"])
    ledger.write(
        admit,
        opening(f"REQ-{name}", vpc, prefixes=prefixes, ends_at=ends_at, on_end=on_end),
        f"m-{name}",
        NOW,
        ledger.timing,
    )


def _close(ledger: Ledger, work: Work, name: str, vpc: str, chance: random.Random) -> None:
    names = [f"REQ-{chance.randrange(8)}-{chance.randrange(30)}" for _ in range(3)]
    ledger.write(
        admit,
        closing("all" if chance.random() < 0.2 else names, f"END-{name}", vpc),
        f"m-end-{name}",
        NOW,
        ledger.timing,
    )


def _intend_and_resolve(ledger: Ledger, work: Work, name: str, vpc: str, chance: random.Random) -> None:
    intent = ledger.write(intend, work, chance.choice([Operation.GRANT, Operation.REVOKE]), NOW, ledger.timing)
    if intent is not None:
        ledger.write(carried_out, intent, [], NOW, refused=chance.random() < 0.2)
        ledger.write(resolve, [intent], [], NOW)


def _work(ledger: Ledger, work: Work, name: str, vpc: str, chance: random.Random) -> None:
    if ledger.write(claim, work.grant_id, work.mine.side, name, NOW, NOW + HOUR):
        kind = EventKind.GRANTED if work.mine.side is Side.GRANT else EventKind.ASSOCIATED
        ledger.write(saw, work, Seen("present", True), NOW)
        ledger.write(settle, work, kind, NOW, association_id=None, served=[], both_sides=True)
        while True:
            fresh = ledger.write(read_work, work.grant_id, work.mine.side, NOW, ledger.timing)
            assert fresh is not None
            if ledger.write(release, work.grant_id, work.mine.side, name, fresh.mine.knocks):
                return


def _drift(ledger: Ledger, work: Work, name: str, vpc: str, chance: random.Random) -> None:
    drift = Drift(work.key, work.mine.side, DriftKind.GRANT_MISSING, name)
    repair = {drift.kind} if chance.random() < 0.5 else frozenset[DriftKind]()
    ledger.write(note_drift, [drift], NOW, generation=work.generation, quiet_since=NOW + 1, repair=repair)


STORM: dict[str, Callable[[Ledger, Work, str, str, random.Random], object]] = {
    "open": _open,
    "close": _close,
    "intend": _intend_and_resolve,
    "work": _work,
    "drift": _drift,
    "later": lambda ledger, work, *_: ledger.write(
        put_off, work, NOW, Reason(code="Waiting", text="…"), NOW + ledger.timing.stuck, ledger.timing, attempt=True
    ),
    "unwanted": lambda ledger, work, *_: ledger.write(tell_unwanted, work, NOW, let_go=True),
    "refuse": lambda ledger, work, *_: ledger.write(refuse, work, Reason(code="InstanceNotFound", text="gone"), NOW),
    "dead": lambda ledger, work, *_: ledger.write(mark_dead, work, Reason(code="CloudTrouble", text="…"), NOW),
    "redrive": lambda ledger, work, *_: [ledger.write(redrive, work.grant_id, side, "operator", NOW) for side in Side],
    "due": lambda ledger, *_: let_time_pass(ledger, NOW + HOUR),
    "adopt": lambda ledger, work, *_: ledger.write(adopt, work.grant_id, work.mine.side, "operator", NOW),
    "gone": lambda ledger, work, *_: ledger.write(note_drift_gone, work.grant_id, work.mine.side, NOW),
    "publish": lambda ledger, *_: [
        ledger.write(mark_published, [letter.seq]) for letter in ledger.write(take_entries, 5, NOW, NOW + HOUR)
    ],
    "reject": lambda ledger, _work, name, *_: ledger.write(
        reject_message, name, "{", Reason(code="BadInput", text="…"), NOW
    ),
    "mode": lambda ledger, _work, name, _vpc, chance: ledger.write(
        set_mode, chance.choice([Mode.FULL, Mode.OBSERVE]), name, NOW + chance.randrange(9)
    ),
    "hold": lambda ledger, work, name, *_: ledger.write(
        set_hold, Hold(HoldKind.GRANT, work.grant_id, everything=False, who=name, reason="a test", at=NOW), NOW
    ),
    "lift": lambda ledger, work, name, *_: ledger.write(lift_hold, HoldKind.GRANT, work.grant_id, name, NOW),
}


def test_nothing_waits_in_a_circle(
    request: pytest.FixtureRequest, crowd: Crowd, ledger: Ledger, database: Database
) -> None:
    """Eight processes do everything there is to a few grants at once: all come through, and the record is in order."""
    done = crowd.at_once(database.url, storm, 32, 4)

    assert sum(sum(part.values()) for part in done) == crowd.size * 32
    assert len({name for part in done for name in part}) == len(STORM)
    check_order(ledger, database)
    assert database.count(sides, sides.c.claimed_by.is_not(None)) == 0
    assert database.count(approvals) > 20
    for number in range(4):
        work = ledger.write(read_work, grant_id(f"vpc-{number}"), Side.ASSOCIATE, NOW, ledger.timing)
        assert work is not None
        assert work.key == key(f"vpc-{number}")
    if database.kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        assert server.deadlocks(str(sql.make_url(database.url).database)) == 0
