"""A pooler in transaction mode, as hostile as one may be: each transaction gets the session that has rested longest.

It speaks as much of PostgreSQL's protocol as that takes (the manual's chapter "Frontend/Backend Protocol"). Who connects is let
in by the server itself, over a session that then joins the pool; a session is lent from a client's first word to the answer that
says that no transaction is open. Beside it the real one, PgBouncer, where the machine has it.
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from tests.functional.waiting import until
from tests.ledger.postgres import PASSWORD, USER, Postgres

_REFUSED_REQUESTS = (80877103, 80877104)  # for TLS, for GSSAPI: "N" says that the client may go on without
_IDLE = b"I"


class Pooler:
    """Listens on loopback; every client is a thread."""

    def __init__(self, server: Path) -> None:
        """``server``: the unix socket of the one behind it."""
        self._server = server
        self._resting: deque[socket.socket] = deque()
        self._lent = threading.Condition()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End everything."""
        self._listening.close()
        with self._lent:
            for session in self._resting:
                session.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                # Answers are handed on message by message, of which none may wait until the one before it is acknowledged.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, EOFError):
            self._let_in(client)
            session: socket.socket | None = None
            while True:
                kind, message = _message(client)
                if kind == b"X":  # the client leaves; its sessions stay
                    return
                if session is None:
                    with self._lent:
                        self._lent.wait_for(lambda: self._resting)
                        session = self._resting.popleft()
                session.sendall(message)
                if kind in (b"Q", b"S") and _answered(session, client) == _IDLE:
                    self._rest(session)
                    session = None

    def _let_in(self, client: socket.socket) -> None:
        session = socket.socket(socket.AF_UNIX)
        session.connect(str(self._server))
        while True:
            size = _exactly(client, 4)
            body = _exactly(client, struct.unpack("!I", size)[0] - 4)
            if struct.unpack("!I", body[:4])[0] not in _REFUSED_REQUESTS:
                break
            client.sendall(b"N")
        session.sendall(size + body)
        while True:
            kind, message = _message(session)
            client.sendall(message)
            if kind == b"Z":
                self._rest(session)
                return
            if kind == b"R" and struct.unpack("!I", message[5:9])[0] in (3, 5, 10, 11):  # the client's turn
                session.sendall(_message(client)[1])

    def _rest(self, session: socket.socket) -> None:
        with self._lent:
            self._resting.append(session)
            self._lent.notify()


def _answered(session: socket.socket, client: socket.socket) -> bytes:
    """Hand on answers until the server is ready for more. Returns whether a transaction is open."""
    while True:
        kind, message = _message(session)
        client.sendall(message)
        if kind == b"Z":
            return message[5:6]


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(source, 5)
    return head[:1], head + _exactly(source, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = source.recv(size - len(found))
        if not more:
            raise EOFError
        found += more
    return found


@contextmanager
def pooler(server: Postgres) -> Iterator[int]:
    """The port of our own pooler."""
    (path,) = server.folder.glob(".s.PGSQL.*[0-9]")
    made = Pooler(path)
    try:
        yield made.port
    finally:
        made.close()


@contextmanager
def pgbouncer(server: Postgres) -> Iterator[int]:
    """The port of a PgBouncer in transaction mode, with its defaults elsewhere. There must be one on the machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    users, settings = server.folder / "users.txt", server.folder / "pgbouncer.ini"
    users.write_text(f'"{USER}" "{PASSWORD}"\n')
    settings.write_text(
        f"[databases]\n* = host={server.folder}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\n"
    )
    for path in (users, settings):
        path.chmod(0o644)
    with (server.folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([PGBOUNCER, str(settings)], stdout=log, stderr=log, cwd="/", **server.user)
    try:

        def listens() -> bool:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                return True
            assert process.poll() is None, (server.folder / "pgbouncer.log").read_text()
            return False

        until(listens, "PgBouncer listens")
        yield port
    finally:
        process.terminate()
        process.wait(30)


PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin") or ""
POOLERS = {"ours": pooler, "PgBouncer": pgbouncer}


def session(database: str, port: int) -> psycopg.Connection[tuple[object, ...]]:
    """A client of a pooler, past the ledger: what it asks is asked of whichever session is its turn."""
    return psycopg.connect(
        host="127.0.0.1", port=port, dbname=database, user=USER, password=PASSWORD, autocommit=True, sslmode="disable"
    )
