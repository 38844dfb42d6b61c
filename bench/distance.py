"""A server at a distance: a relay in a process of its own that passes everything on a little later, and counts round trips."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Target = str | tuple[str, int]
"""A unix socket, or an address and a port."""


@dataclass(frozen=True)
class Distance:
    """A relay that is running."""

    port: int
    _trips: Any
    _milliseconds: Any

    @property
    def trips(self) -> int:
        """How often somebody has waited for an answer until now."""
        return int(self._trips.value)

    def set(self, milliseconds: float) -> None:
        """From now on a round trip takes so much longer."""
        self._milliseconds.value = milliseconds


@contextlib.contextmanager
def distance(target: Target) -> Iterator[Distance]:
    """A relay to this server, which ends with the block. It adds nothing before it is told to."""
    spawn = multiprocessing.get_context("spawn")
    trips, milliseconds = spawn.Value("q", 0), spawn.Value("d", 0.0)
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(target, trips, milliseconds, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Distance(ours.recv(), trips, milliseconds)
    finally:
        ours.close()
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(target: Target, trips: Any, milliseconds: Any, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the other end, which then closes the pipe
    listening = socket.create_server(("127.0.0.1", 0), backlog=200)
    pipe.send(listening.getsockname()[1])
    threading.Thread(target=_accept, args=(listening, target, trips, milliseconds), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()


def _accept(listening: socket.socket, target: Target, trips: Any, milliseconds: Any) -> None:
    while True:
        caller, _ = listening.accept()
        called = socket.socket(socket.AF_UNIX if isinstance(target, str) else socket.AF_INET)
        called.connect(target)
        for one in (caller, called):
            if one.family == socket.AF_INET:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = _Line(trips, milliseconds)
        threading.Thread(target=line.pass_on, args=(caller, called, True), daemon=True).start()
        threading.Thread(target=line.pass_on, args=(called, caller, False), daemon=True).start()


class _Line:
    """One connection through the relay."""

    def __init__(self, trips: Any, milliseconds: Any) -> None:
        self._trips, self._milliseconds = trips, milliseconds
        self._answered = True

    def pass_on(self, source: socket.socket, sink: socket.socket, asked: bool) -> None:  # a thread's argument
        """One direction, until it ends: half of the delay lies in each."""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if asked and self._answered:
                    with self._trips.get_lock():
                        self._trips.value += 1
                self._answered = not asked
                if self._milliseconds.value:
                    time.sleep(self._milliseconds.value / 2000)
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
