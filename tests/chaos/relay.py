"""Relays between a process and what it talks to, which can kill the process at a chosen moment of its n-th request.

One for the ledger, which sees the commits of a worker in PostgreSQL's wire protocol (its documentation, chapter
"Frontend/Backend Protocol"), and one for a command's HTTP. Nothing of what passes is changed. Who connects to the ledger is
known by the process id that Linux tells of a unix socket's peer.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

_WRITING = (b"INSERT", b"UPDATE", b"DELETE")
HOWS = ("before", "after", "reply")
"""When a process is killed: before a request has its effect, after that without a reply, or once it has the reply."""


@dataclass(frozen=True)
class Seen:
    """A request that passed: when (epoch seconds), and whose it was."""

    at: float
    whose: str


@dataclass
class Trap:
    """Kills whoever makes the n-th request of one party, once. ``whose`` is a function's name, or empty for a command."""

    whose: str
    number: int
    how: str
    passed: int = 0
    sprung: bool = False


class Book:
    """What passed through a relay, and the trap that is set in it. Shared by its connections."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._lock = threading.Lock()
        self._trap: Trap | None = None

    def set(self, trap: Trap | None) -> None:
        """Set a trap, or take it away."""
        with self._lock:
            self._trap = trap

    def passes(self, whose: str) -> str | None:
        """Note a request; how its maker is to be killed, or None."""
        with self._lock:
            self.seen.append(Seen(time.time(), whose))
            trap = self._trap
            if trap is None or trap.sprung or trap.whose != whose:
                return None
            trap.passed += 1
            trap.sprung = trap.passed == trap.number
            return trap.how if trap.sprung else None


class Reader(Protocol):
    """Understands what a client says, as far as needed."""

    def requests(self, data: bytes) -> int:
        """How many of the requests that count are complete with these further bytes (they pass together)."""
        ...

    def replied(self, data: bytes) -> bool:
        """Whether with these further bytes from the server the reply is complete."""
        ...


@dataclass
class Commits:
    """Reads PostgreSQL's protocol: what counts is the commit of a transaction that wrote something."""

    _sent: bytes = b""
    _got: bytes = b""
    _begun: bool = False
    _wrote: bool = False
    _writing: dict[bytes, bool] = field(default_factory=dict)  # prepared statements by name

    def requests(self, data: bytes) -> int:
        self._sent += data
        found = 0
        while True:
            head = 1 if self._begun else 0
            if len(self._sent) < head + 4:
                return found
            (size,) = struct.unpack("!I", self._sent[head : head + 4])
            if len(self._sent) < head + size:
                return found
            kind, body = self._sent[:head], self._sent[head + 4 : head + size]
            self._sent = self._sent[head + size :]
            self._begun = True
            found += self._message(kind, body)

    def _message(self, kind: bytes, body: bytes) -> bool:
        if kind == b"Q":
            text = body.lstrip().upper()
            self._wrote = self._wrote or text.startswith(_WRITING)
            if text.startswith((b"COMMIT", b"ROLLBACK")):
                committed = text.startswith(b"COMMIT") and self._wrote
                self._wrote, self._got = False, b""
                return committed
        elif kind == b"P":
            name, text, *_ = body.split(b"\0")
            self._writing[name] = text.lstrip().upper().startswith(_WRITING)
        elif kind == b"B":
            _, name, *_ = body.split(b"\0")
            self._wrote = self._wrote or self._writing.get(name, False)
        return False

    def replied(self, data: bytes) -> bool:
        self._got += data
        return self._got[-6:-1] == b"Z\0\0\0\5"


@dataclass
class Requests:
    """Reads HTTP as one client speaks it: a request that has begun after the last one was answered is a new one."""

    _waiting: bool = False

    def requests(self, data: bytes) -> int:  # noqa: ARG002  # what it says does not matter
        begun = not self._waiting
        self._waiting = True
        return int(begun)

    def replied(self, data: bytes) -> bool:  # noqa: ARG002  # an answer of a few lines comes whole
        self._waiting = False
        return True


class Relay:
    """Passes on what one listening socket accepts, until it is closed."""

    def __init__(
        self,
        listening: socket.socket,
        connect: Callable[[], socket.socket],
        reader: Callable[[], Reader],
        process: Callable[[socket.socket], int],
        whose: Callable[[int], str],
    ) -> None:
        """``process`` is at the other end of a connection, ``whose`` it is is asked once it says something that counts."""
        self.book = Book()
        self._listening, self._connect, self._reader = listening, connect, reader
        self._process, self._whose = process, whose
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = {listening}
        self._accepting = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Cut everything."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._accepting.join(10)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="relayed", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, self._connect() as server:
            self._open |= {client, server}
            try:
                self._pass_on(client, server)
            finally:
                self._open -= {client, server}

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        pid, whose = self._process(client), None
        reader, doomed = self._reader(), ""
        with selectors.DefaultSelector() as selector:
            for one in (client, server):
                selector.register(one, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]  # both are sockets
                    if not data:
                        return
                    if key.fileobj is client:
                        for _ in range(reader.requests(data)):
                            whose = self._whose(pid) if whose is None else whose
                            doomed = self.book.passes(whose) or doomed
                        if doomed == "before":
                            os.kill(pid, signal.SIGKILL)
                            return
                        server.sendall(data)
                        continue
                    over = reader.replied(data)
                    if doomed == "after" and over:
                        os.kill(pid, signal.SIGKILL)
                        return
                    if not doomed or doomed == "reply":
                        client.sendall(data)
                    if doomed == "reply" and over:
                        os.kill(pid, signal.SIGKILL)
                        return


def ledger_relay(server: Path, whose: Callable[[int], str]) -> tuple[Relay, Path]:
    """A relay before the PostgreSQL server whose socket is in a folder; the folder with the relay's own socket.

    ``whose`` knows the function that a process id works for.
    """
    folder = Path(tempfile.mkdtemp(prefix="ecr-grants-relay-"))
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(folder / ".s.PGSQL.5432"))
    listening.listen(64)

    def connect() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.connect(str(server / ".s.PGSQL.5432"))
        return made

    return Relay(listening, connect, Commits, _peer, whose), folder


def http_relay(address: str, pid: Callable[[], int]) -> tuple[Relay, str]:
    """A relay before a host:port for a command with one process id; the relay's own host:port."""
    host, _, port = address.rpartition(":")
    listening = socket.create_server(("127.0.0.1", 0))
    relay = Relay(
        listening, lambda: socket.create_connection((host, int(port)), 30), Requests, lambda _: pid(), lambda _: ""
    )
    return relay, f"127.0.0.1:{listening.getsockname()[1]}"


def _peer(client: socket.socket) -> int:
    """The process at the other end."""
    pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)
