"""Connections that died while nobody looked: given up within seconds and replaced, never waited for; and nothing told in logs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sql

from shared.errors import LedgerError, PermissionMissing
from shared.ledger import transactions
from shared.ledger.admission import admit
from shared.ledger.operating import said_mode
from shared.ledger.proof import first_fault
from shared.ledger.tables import approvals
from shared.ledger.transactions import Ledger
from tests.functional.relay import Relay, relay
from tests.ledger.conftest import wipe
from tests.ledger.kit import NOW, Database, opening
from tests.ledger.lives import live_everything, open_one
from tests.ledger.postgres import PASSWORD, Postgres

_REST = transactions._REST_SECONDS


@pytest.fixture
def through(postgres: Postgres, shared_database: Database) -> Iterator[tuple[Ledger, Relay]]:
    """A ledger on PostgreSQL behind a relay, as behind a gateway that translates addresses."""
    wipe(shared_database)
    address = sql.make_url(shared_database.url)
    (path,) = postgres.folder.glob(".s.PGSQL.*[0-9]")

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(path))
        return made

    with relay() as (line, where):
        line.connect = connect
        port = int(where.rpartition(":")[2])
        url = address.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        ledger = Ledger(url.render_as_string(hide_password=False))
        yield ledger, line
        line.cut()
        ledger.close()


def aged(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the time go by that a frozen instance sleeps."""
    real = time.monotonic
    monkeypatch.setattr("shared.ledger.transactions.time.monotonic", lambda: real() + seconds)


def test_a_connection_whose_peer_swallows_everything_is_given_up_and_replaced(
    through: tuple[Ledger, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    """R14: the freeze outlived the gateway's memory of the connection. The question is answered within ten seconds."""
    ledger, line = through
    assert ledger.read(said_mode) is None
    line.lose()
    aged(ledger, monkeypatch, 5)

    began = time.perf_counter()
    assert ledger.read(said_mode) is None
    assert time.perf_counter() - began < 10
    assert line.connections == 2


def test_a_write_after_a_freeze_is_made_once(
    through: tuple[Ledger, Relay], shared_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead connection is noticed before the transaction begins, so nothing is half done."""
    ledger, line = through
    ledger.read(said_mode)
    line.lose()
    aged(ledger, monkeypatch, 5)

    assert ledger.write(admit, opening(), "message-1", NOW, ledger.timing).new
    assert shared_database.count(approvals) == 1


def test_a_connection_that_was_closed_meanwhile_is_replaced(
    through: tuple[Ledger, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kinder way to lose one."""
    ledger, line = through
    ledger.read(said_mode)
    line.cut()
    aged(ledger, monkeypatch, 5)

    assert ledger.read(said_mode) is None


def test_a_connection_in_use_is_not_asked_each_time(through: tuple[Ledger, Relay]) -> None:
    """Asking costs a round trip: only what rested is asked."""
    ledger, _ = through
    asked: list[str] = []
    sql.event.listen(ledger.engine, "before_cursor_execute", lambda _c, _k, statement, *_: asked.append(str(statement)))
    for _ in range(3):
        ledger.read(said_mode)

    assert len([one for one in asked if not one.startswith("BEGIN")]) == 3


def test_a_glance_is_one_statement(through: tuple[Ledger, Relay]) -> None:
    """No transaction is opened around it, and those after it are opened as always."""
    ledger, _ = through
    asked: list[str] = []
    sql.event.listen(ledger.engine, "before_cursor_execute", lambda _c, _k, statement, *_: asked.append(str(statement)))
    assert ledger.glance(said_mode) is None
    assert ledger.read(said_mode) is None

    assert [one.startswith("BEGIN") for one in asked] == [False, True, False]


@pytest.mark.parametrize(
    ("rested", "connections"),
    [
        pytest.param(_REST - 1, 1, id="a short rest: the connection is kept"),
        pytest.param(_REST + 1, 2, id="a long rest: it is dropped like the SDK's, without asking it"),
    ],
)
def test_an_invocation_drops_what_rested_for_long(
    through: tuple[Ledger, Relay], monkeypatch: pytest.MonkeyPatch, rested: float, connections: int
) -> None:
    """``arrive`` is called first in every invocation."""
    ledger, line = through
    ledger.arrive()
    ledger.read(said_mode)
    aged(ledger, monkeypatch, rested)
    ledger.arrive()
    ledger.read(said_mode)

    assert line.connections == connections


def test_the_socket_itself_notices_a_peer_that_is_gone(through: tuple[Ledger, Relay]) -> None:
    """Keepalive, and a limit on what is sent and never acknowledged."""
    ledger, _ = through
    with ledger.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        stream = socket.socket(fileno=socket.dup(raw.fileno()))
        with stream:
            assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
            assert 0 < stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000


# -- a password from elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "news", "asked", "says"),
    [
        pytest.param(PASSWORD, "hush", [False], None, id="what is known lets us in: it is not read anew"),
        pytest.param("hush-old", PASSWORD, [False, True], None, id="it was turned: read once more"),
        pytest.param("hush-old", "hush-old", [False, True], "password authentication failed", id="nothing new"),
        pytest.param("hush-old", "hush-new", [False, True], "password authentication failed", id="the new one neither"),
    ],
)
def test_a_refused_password_is_read_anew_once(
    postgres: Postgres, shared_database: Database, known: str, news: str, asked: list[bool], says: str | None
) -> None:
    """And no password is in what is told."""
    questions: list[bool] = []

    def password(anew: bool) -> str:
        questions.append(anew)
        return news if anew else known

    url = sql.make_url(shared_database.url)._replace(password=None)
    ledger = Ledger(url.render_as_string(hide_password=False), password=password)
    try:
        if says is None:
            assert ledger.read(said_mode) is None
        else:
            with pytest.raises(LedgerError, match=says) as away:
                ledger.read(said_mode)
            assert "hush" not in str(away.value)
        assert questions == asked
    finally:
        ledger.close()


def test_a_password_that_cannot_be_had_means_that_the_ledger_is_away(shared_database: Database) -> None:
    """Whoever asks for it says why; and where nobody listens it is not asked for again."""

    def withheld(_: bool) -> str:
        raise PermissionMissing("permission kms:GetSecretValue is missing")

    ledger = Ledger(shared_database.url, password=withheld)
    with pytest.raises(
        LedgerError, match=r"the ledger is away: .*no password: permission kms:GetSecretValue is missing"
    ):
        ledger.read(said_mode)
    questions: list[bool] = []

    def noted(anew: bool) -> str:
        questions.append(anew)
        return "any"

    with pytest.raises(LedgerError, match="refused"):
        Ledger("postgresql+psycopg://ecr@127.0.0.1:1/ledger", password=noted).read(said_mode)
    assert questions == [False]


# -- nothing told ------------------------------------------------------------------------------------------------------


def test_what_a_statement_was_given_is_in_no_error(ledger: Ledger, database: Database) -> None:
    """SQL parameters are ids, names and reasons of people: whatever fails, they stay out of texts and logs."""
    statement = sql.text("SELECT :secret FROM nowhere").bindparams(secret="hush-hush")
    with pytest.raises(LedgerError) as away:
        ledger.read(lambda connection: connection.execute(statement))
    chain: BaseException | None = away.value
    while chain is not None:
        assert "hush" not in str(chain)
        chain = chain.__cause__ or chain.__context__

    with pytest.raises(sql.exc.SQLAlchemyError) as refused:
        ledger.write(lambda connection: connection.execute(approvals.insert().values(approval_id="hush-hush")))
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [pytest.param("hush \0 hush", id="a NUL"), pytest.param("hush" * 100, id="longer than its column")],
)
def test_what_postgresql_cannot_keep_is_told_without_repeating_it(shared_database: Database, text: str) -> None:
    """R02: the refusal is an error of ours, not of the database's being away, and repeats no value."""
    wipe(shared_database)
    ledger = Ledger(shared_database.url)
    try:
        with pytest.raises(sql.exc.SQLAlchemyError) as caught:
            ledger.write(lambda connection: connection.execute(approvals.insert().values(approval_id=text)))
        assert "hush" not in str(caught.value)
    finally:
        ledger.close()


# -- verify stands in nobody's way -------------------------------------------------------------------------------------


def test_a_writer_does_not_wait_for_verify(ledger: Ledger, database: Database) -> None:
    """R28: while verify is in the middle of its one long transaction, an approval is admitted from elsewhere; verify still sees
    the one state that it began with."""
    live_everything(ledger)
    before = database.count(approvals)
    writer = Ledger(database.url)
    took: list[float] = []

    def write() -> None:
        began = time.perf_counter()
        open_one(writer, "REQ-MEANWHILE", "vpc-99")
        took.append(time.perf_counter() - began)

    def verify(connection: sql.Connection) -> str | None:
        found = first_fault(connection, [], None)
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(10)
        assert took, "the writer waits"
        seen = connection.execute(sql.select(sql.func.count()).select_from(approvals)).scalar_one()
        assert seen == before, "one state of the database, to the end"
        return found

    try:
        assert ledger.read(verify) is None
    finally:
        writer.close()
    assert took[0] < 5
    assert database.count(approvals) == before + 1
    assert ledger.read(first_fault, [], None) is None
