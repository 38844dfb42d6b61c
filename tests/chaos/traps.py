"""Traps: relays that kill a process at a chosen moment of its n-th request to what it talks to.

One for the ledger, which sees the commits of a worker in PostgreSQL's wire protocol (its documentation, chapter
"Frontend/Backend Protocol"), and one for a command's HTTP. Nothing of what passes is changed. Who connects to the ledger is
known by the process id that Linux tells of a unix socket's peer.
"""

from __future__ import annotations

import os
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

from tests.functional.relay import Line, Relay

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


class _Trapped(Line):
    """A connection of a process that may be killed at what it asks for."""

    def __init__(self, book: Book, reader: Reader, pid: int, whose: Callable[[int], str]) -> None:
        super().__init__()
        self._book, self._reader, self._pid, self._whose = book, reader, pid, whose
        self._name: str | None = None  # asked for once it says something that counts
        self._doomed = ""

    def passes(self, data: bytes, *, asked: bool, send: Callable[[bytes], None]) -> bool:
        if asked:
            for _ in range(self._reader.requests(data)):
                self._name = self._whose(self._pid) if self._name is None else self._name
                self._doomed = self._book.passes(self._name) or self._doomed
            if self._doomed == "before":
                return self._kill()
            send(data)
            return True
        over = self._reader.replied(data)
        if self._doomed == "after" and over:
            return self._kill()
        if self._doomed in ("", "reply"):
            send(data)
        if self._doomed == "reply" and over:
            return self._kill()
        return True

    def _kill(self) -> bool:
        os.kill(self._pid, signal.SIGKILL)
        return False


class TrapRelay(Relay):
    """A relay with a book of what passed, in which a trap can be set."""

    def __init__(
        self,
        listening: socket.socket,
        connect: Callable[[], socket.socket],
        reader: Callable[[], Reader],
        process: Callable[[socket.socket], int],
        whose: Callable[[int], str],
    ) -> None:
        """``process`` is at the other end of a connection; ``whose`` knows the function that it works for."""
        self.book = Book()
        super().__init__(listening, connect, lambda caller: _Trapped(self.book, reader(), process(caller), whose))


def ledger_relay(server: Path, whose: Callable[[int], str]) -> tuple[TrapRelay, Path]:
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

    return TrapRelay(listening, connect, Commits, _peer, whose), folder


def http_relay(address: str, pid: Callable[[], int]) -> tuple[TrapRelay, str]:
    """A relay before a host:port for a command with one process id; the relay's own host:port."""
    host, _, port = address.rpartition(":")
    listening = socket.create_server(("127.0.0.1", 0))
    relay = TrapRelay(
        listening, lambda: socket.create_connection((host, int(port)), 30), Requests, lambda _: pid(), lambda _: ""
    )
    return relay, f"127.0.0.1:{listening.getsockname()[1]}"


def _peer(client: socket.socket) -> int:
    """The process at the other end."""
    pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(pid)
