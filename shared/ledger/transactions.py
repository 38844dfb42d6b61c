"""The one way to the ledger: transactions, and the locks inside them.

Every fact and its event are one transaction, and no transaction spans a cloud call. What happens in a transaction is a plain
function of its connection (``admission``, ``work``, ``intents``, ``outcomes``, …), run by ``Ledger.write`` or ``Ledger.read``.
SQLite and PostgreSQL run the same code. SQLite takes its write lock when a transaction starts. On PostgreSQL whoever writes
locks, in this order: which code is accepted and what people say (each shared; alone, who says it), the grant's row, the end of
the chain. So nothing waits in a circle, and only the end of the chain makes everybody wait for everybody, for as long as it
takes to add events. Code of before revision 3 locks the end of the chain first of all: as long as it is accepted, all do.
"""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    TimeoutError,  # noqa: A004  # a connection of the pool did not come free
)

from shared.errors import GrantError, LedgerError
from shared.ledger.revision import CODE, SIDE_BY_SIDE, check_accepted
from shared.ledger.tables import accepts, chain, grants
from shared.rules.leases import Timing

_REST_SECONDS = 15.0  # gateways and address translation keep idle connections for longer than this
_PING_AFTER_SECONDS = 1.0
_PING_SECONDS = 5.0
# A peer that is gone without a word is noticed by the connection itself (libpq, "keepalives", "tcp_user_timeout").
_LIMITS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

P = ParamSpec("P")
T = TypeVar("T")

Password = Callable[[bool], str]
"""Where the password comes from. Asked with True it is read anew: the database has refused the one that was known."""

# Kept open: a connection that is opened and closed for a transaction costs more than that. Whoever finds none waits for one.
_CONNECTIONS = {"pool_size": 20, "max_overflow": 0, "pool_use_lifo": True}

_ACCEPTED = "SELECT oldest, newest FROM accepts WHERE name = 'code'"
# Limits on the server's side: a worker that is frozen inside a transaction must not stop everybody else. They go with the
# transaction's first word, and end with it: through a pooler the next one is another session's.
_BEGIN = (
    "BEGIN; SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = '30s';"
    " SET LOCAL statement_timeout = '60s'"
)
# The numbers of locks are any, as long as they are ours; each schema is a ledger of its own.
_SCHEMA = "hashtext(current_schema())"
# Each statement sees what is committed when it starts: whoever waited for the lock reads the range as it is then.
_BEGIN_WRITING = f"{_BEGIN}; SELECT pg_advisory_xact_lock_shared(20230903, {_SCHEMA}); {_ACCEPTED}"
_CODE_ALONE = sql.text(f"SELECT pg_advisory_xact_lock(20230903, {_SCHEMA})")
# What writers of before revision 3 wait for, first of all.
_WRITERS_BEFORE = sql.select(chain.c.seq).select_from(chain.join(accepts, accepts.c.name == "code")).with_for_update()

_WORDS_ALONE = sql.text(f"SELECT pg_advisory_xact_lock(20230902, {_SCHEMA})")
# A condition of the whole query, not of a row: it is met first, and also where no row is found.
_WORDS_SHARED = sql.text(f"(SELECT pg_advisory_xact_lock_shared(20230902, {_SCHEMA})) IS NOT NULL")


def _locking(*first: sql.TextClause) -> sql.Select[Any]:
    named = grants.c.grant_id.in_(sql.bindparam("of_grants", expanding=True))
    return sql.select(grants).where(*first, named).order_by(grants.c.grant_id).with_for_update(of=grants)


_LOCKED = {"sqlite": _locking(), "postgresql": _locking(_WORDS_SHARED)}


def now_ms() -> int:
    """The present in epoch milliseconds, the ledger's unit of time."""
    return time.time_ns() // 1_000_000


class Run:
    """A transaction that is open: runs functions of its connection, one after another."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def __call__(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(self.connection, *args, **kwargs)


class Ledger:
    """One ledger at one address (a SQLAlchemy URL). Safe to share between threads."""

    def __init__(
        self,
        url: str,
        timing: Timing | None = None,
        *,
        code: int = CODE,
        password: Password | None = None,
        connect_seconds: int | None = None,
    ) -> None:
        """``timing``: what its functions are told where rules go by time. ``code``: the revision of the code that works on it.
        ``password``: where it comes from when it is not in the address; it may raise GrantError. ``connect_seconds``: how long
        it may take to connect.

        Raises LedgerError when the address is not one; does not connect yet.
        """
        self.timing = timing or Timing()
        self._code = code
        self._password = password
        self._used_at = time.monotonic()
        try:
            address, options = _options(sql.make_url(url))
            if options and connect_seconds is not None:
                options = options | {"connect_timeout": connect_seconds}
            pool = _CONNECTIONS if options else {}
            self.engine = sql.create_engine(address, connect_args=options, hide_parameters=True, **pool)
        except (ArgumentError, ImportError, ValueError):  # no address, or of a database whose driver is not installed
            raise LedgerError(
                "LEDGER_URL is not a database address such as postgresql+psycopg://… or sqlite:///…"
            ) from None
        if self.engine.dialect.name == "postgresql":
            sql.event.listen(self.engine, "connect", _prepare_postgresql)
            sql.event.listen(self.engine, "checkout", _still_there)
            sql.event.listen(self.engine, "begin", _begin_postgresql)
            sql.event.listen(self.engine, "after_cursor_execute", _go_to_the_last)
            if password is not None:
                sql.event.listen(self.engine, "do_connect", self._connect)
        if self.engine.dialect.name == "sqlite":
            sql.event.listen(self.engine, "connect", _prepare_sqlite)
            sql.event.listen(self.engine, "begin", _begin_sqlite)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def arrive(self) -> None:
        """A new invocation: what rested for long is not trusted. A connection that outlived a freeze may be dead silently."""
        if time.monotonic() - self._used_at > _REST_SECONDS:
            self.engine.dispose()
        self._used_at = time.monotonic()

    def write(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that may write: all of it, or nothing. Raises LedgerError as ``writing`` does."""
        with self.writing() as run:
            return run(function, *args, **kwargs)

    @contextmanager
    def writing(self) -> Iterator[Run]:
        """Several functions in one transaction: all of it, or nothing. Raises LedgerError when the ledger is away, or does not
        accept this code: rules that are gone write nothing, however long a batch has been running.
        """
        with self.transaction(writing=True) as connection:
            oldest = check_accepted(self._code, *_accepted(connection))
            if oldest < SIDE_BY_SIDE and connection.dialect.name == "postgresql":
                connection.execute(_WRITERS_BEFORE)
            yield Run(connection)

    def read(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a transaction that only reads. Raises LedgerError when the ledger is away."""
        with self.transaction(reading=True) as connection:
            return function(connection, *args, **kwargs)

    def glance(self, function: Callable[Concatenate[Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that makes one statement, which reads. It is a transaction by itself, so none is opened around it."""
        with self.transaction(reading=True, alone=True) as connection:
            return function(connection, *args, **kwargs)

    @contextmanager
    def transaction(self, *, reading: bool = False, writing: bool = False, alone: bool = False) -> Iterator[Connection]:
        """A transaction, in the terms of our errors. For ``write`` and ``read``, and for whoever stands between them.

        ``writing``: which code is accepted is read, and stays so until the end. ``alone``: there is one statement in it.
        """
        options = {"reading": reading, "writing": writing, "alone": alone}
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
            self._used_at = time.monotonic()
        except (IntegrityError, DataError, NotSupportedError) as error:
            raise _without_values(error) from None  # a defect of ours, not of the database
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            raise away(self.engine.url, error) from error

    def _connect(self, dialect: Any, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Connect with the password that is known, and once more with a new one when the database refused that.

        libpq says in no code why it was refused, only that a password was asked for (PQconnectionUsedPassword).
        """
        known = self._asked_for(False)
        try:
            return dialect.connect(*arguments, **options | {"password": known})
        except dialect.loaded_dbapi.OperationalError as refused:
            if not getattr(getattr(refused, "pgconn", None), "used_password", False):
                raise
            news = self._asked_for(True)
            if news == known:
                raise
            return dialect.connect(*arguments, **options | {"password": news})

    def _asked_for(self, anew: bool) -> str:
        assert self._password is not None  # noqa: S101  # only then are we listening
        try:
            return self._password(anew)
        except GrantError as error:
            raise LedgerError(f"the ledger is away: {place(self.engine.url)}: no password: {error}") from error


def queue_up(connection: Connection) -> None:
    """Wait until no other writer is left, and let none begin: for whoever changes which code is accepted, before anything else.

    SQLite has taken its write lock when the transaction started.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_CODE_ALONE)
        connection.execute(_WRITERS_BEFORE)


def _accepted(connection: Connection) -> tuple[int | None, int | None]:
    """The oldest and newest revision of the code that the ledger accepts, as read when the transaction began."""
    if connection.dialect.name == "postgresql":
        row = connection.info["accepted"]
    else:
        row = connection.exec_driver_sql(_ACCEPTED).one_or_none()
    return (None, None) if row is None else (row.oldest, row.newest)


def _options(url: sql.URL) -> tuple[sql.URL, dict[str, Any]]:
    """What the driver is told beside the address. What it prepares stays in a session, and a pooler in transaction mode lends
    another one each time: ``prepare_threshold=none`` in the address is for that. Else it saves a quarter of a transaction.
    """
    if url.get_backend_name() != "postgresql":
        return url, {}
    asked = url.query.get("prepare_threshold")
    if asked is None:
        return url, _LIMITS
    if asked != "none" and not (isinstance(asked, str) and asked.isascii() and asked.isdigit()):
        raise LedgerError(f"LEDGER_URL: prepare_threshold must be a whole number, or none (found {asked!r})")
    threshold = None if asked == "none" else int(asked)
    return url.difference_update_query(["prepare_threshold"]), _LIMITS | {"prepare_threshold": threshold}


def away(url: sql.URL, error: BaseException) -> LedgerError:
    """What to tell about a ledger that does not answer: where it was looked for, and why not. Never the password."""
    found = str(getattr(error, "orig", None) or error).strip().splitlines()
    reason = found[0].strip() if found and found[0].strip() else type(error).__name__
    if isinstance(url.password, str) and url.password:
        reason = reason.replace(url.password, "***").replace(quote(url.password, safe=""), "***")
    return LedgerError(f"the ledger is away: {place(url)}: {reason}")


def place(url: sql.URL) -> str:
    """Where a database is, as far as it helps to find it: host, port and name, or the file. No user and no password."""
    if url.get_backend_name() == "sqlite":
        return f"SQLite file {Path(url.database or '').absolute()}" if is_file(url) else "SQLite in memory"
    asked = {name: value if isinstance(value, str) else ",".join(value) for name, value in url.query.items()}
    host = url.host or asked.get("host") or "the local socket"
    return f"{url.get_backend_name()} at {host}, port {url.port or asked.get('port') or 5432}, database {url.database}"


def is_file(url: sql.URL) -> bool:
    """Whether a SQLite address names a file, by its path alone."""
    name = url.database or ""
    return url.get_backend_name() == "sqlite" and name not in ("", ":memory:") and not name.startswith("file:")


def _without_values(error: DBAPIError) -> DBAPIError:
    """The same error in one line: PostgreSQL's detail repeats the whole row, which no log should hold."""
    orig = error.orig
    assert orig is not None  # noqa: S101  # an error of the database always has one
    first = (str(orig).strip().splitlines() or [""])[0]
    return type(error)(error.statement, None, type(orig)(first), hide_parameters=True)


def locked(connection: Connection, grant_id: str) -> Row[Any] | None:
    """The grant's row, which nobody else changes before this transaction ends; None for an unknown grant.

    Nor does anybody say anything about acting until then: mode, holds and configuration that are read behind it stay as they
    are, also where the grant is still unknown.
    """
    return lock_all(connection, [grant_id]).get(grant_id)


def lock_all(connection: Connection, ids: Collection[str]) -> dict[str, Row[Any]]:
    """The same of several grants, by id, in an order that is everybody's; without those that are unknown."""
    statement = _LOCKED[connection.dialect.name]
    return {row.grant_id: row for row in connection.execute(statement, {"of_grants": list(ids)})}


def alone_with_words(connection: Connection) -> None:
    """Whoever says what may be done says it while nobody has a grant locked. To be asked before anything else is locked."""
    if connection.dialect.name == "postgresql":  # SQLite's writers are alone anyway
        connection.execute(_WORDS_ALONE)


def insert_or_ignore(connection: Connection, table: sql.Table, values: dict[str, Any]) -> bool:
    """Two workers may meet the same new row: the second insert gives way. True when this one made it."""
    return bool(insert_all_or_ignore(connection, table, [values]))


def insert_all_or_ignore(
    connection: Connection, table: sql.Table, rows: Sequence[dict[str, Any]]
) -> Sequence[Row[Any]]:
    """The same for several rows in one statement, in their order. Returns those that this one made."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert  # noqa: PLC0415  # the dialect in use decides
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # noqa: PLC0415
    return connection.execute(insert(table).values(rows).on_conflict_do_nothing().returning(table)).all()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Write-ahead log and a patient lock: several worker processes share the file."""
    connection.isolation_level = None  # our own BEGIN IMMEDIATE instead of the driver's late BEGIN
    for pragma in ("busy_timeout=30000", "foreign_keys=ON", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
    # Refused at once while another connection switches a new file; then the file is switched, which is all we want.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def _begin_sqlite(connection: Connection) -> None:
    """Writers take the lock at once; who only reads sees one state and stands in nobody's way."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _still_there(connection: Any, record: Any, _proxy: object) -> None:
    """Ask a connection that rested whether it still leads anywhere, and wait only a while for the answer.

    A relay that forgot it may swallow what is sent: no time limit of the server's applies then, so the socket is shut here.
    """
    now = time.monotonic()
    rested = now - record.info.get("asked_at", now)
    record.info["asked_at"] = now
    if rested < _PING_AFTER_SECONDS:
        return
    watch = threading.Timer(_PING_SECONDS, _shut, (connection.fileno(),))
    watch.start()
    try:
        connection.execute("SELECT 1")
        connection.rollback()
    except Exception as error:
        raise sql.exc.DisconnectionError("the connection is dead") from error
    finally:
        watch.cancel()


def _shut(descriptor: int) -> None:
    with suppress(OSError):
        stream = socket.socket(fileno=descriptor)
        try:
            stream.shutdown(socket.SHUT_RDWR)
        finally:
            stream.detach()


def _prepare_postgresql(connection: Any, _record: object) -> None:
    """The driver begins no transaction by itself: ours begin with their limits, in the same round trip."""
    connection.autocommit = True


def _begin_postgresql(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("alone", False):  # the one statement is its own transaction
        return
    begin = _BEGIN_WRITING if options.get("writing", False) else _BEGIN
    one_message = {"no_parameters": True}  # only so several statements go together
    found = connection.exec_driver_sql(begin, execution_options=one_message)
    connection.info["accepted"] = found.one_or_none() if found.returns_rows else None


def _go_to_the_last(_connection: Connection, cursor: Any, statement: str, *_: object) -> None:
    """Of several statements in one message the last one's rows are what it is about."""
    while statement == _BEGIN_WRITING and cursor.nextset():
        pass
