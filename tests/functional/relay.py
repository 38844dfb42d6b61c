"""A relay between whoever calls and what is called: it passes bytes on, both ways, and its connections can die.

There is one way to pass bytes. What else a relay is to do with them is its line's to decide: the crash proof's kills whoever
is at its n-th request (``tests.chaos.traps``).
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Callable, Iterator


class Line:
    """One connection through a relay, and what it lets pass: everything, until it is lost."""

    def __init__(self) -> None:
        self.lost = False

    def passes(self, data: bytes, *, asked: bool, send: Callable[[bytes], None]) -> bool:  # noqa: ARG002  # others care
        """Handle bytes: the caller's when ``asked``, else the answer's. ``send`` passes bytes on. False ends the connection."""
        send(data)
        return True


class Relay:
    """Listens, and opens a line for each connection that it accepts, until it is closed."""

    def __init__(
        self,
        listening: socket.socket,
        connect: Callable[[], socket.socket],
        line: Callable[[socket.socket], Line] = lambda _: Line(),
    ) -> None:
        """``line`` is told the caller's socket, from which it may learn who that is."""
        self.connect = connect
        """Reaches what is behind the relay; whoever knows that later only may replace it."""
        self.connections = 0
        """How many were made so far."""
        self._listening, self._line = listening, line
        self._lock = threading.Lock()
        self._closing = False
        self._open: dict[Line, tuple[socket.socket, socket.socket]] = {}
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        """Close every connection at both ends, as a server does with idle ones."""
        with self._lock:
            for pair in self._open.values():
                for each in pair:
                    _shut(each)

    def lose(self) -> None:
        """Pass nothing on any more on the connections there are, and close none: so do translated addresses that expired."""
        with self._lock:
            for line in self._open:
                line.lost = True

    def close(self) -> None:
        """End everything."""
        _shut(self._listening)
        self._listening.close()
        self._accepting.join(10)
        with self._lock:
            self._closing = True
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(caller,), name="relayed", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError), caller, self.connect() as called:
            line = self._line(caller)
            with self._lock:
                if self._closing:
                    return
                self._open[line] = (caller, called)
            try:
                _pass_on(line, caller, called)
            finally:
                with self._lock:
                    del self._open[line]


def _pass_on(line: Line, caller: socket.socket, called: socket.socket) -> None:
    """Until one end closes; on a line that is lost, the other end does not notice that."""
    with selectors.DefaultSelector() as selector:
        for end in (caller, called):
            selector.register(end, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                source, sink = (caller, called) if key.fileobj is caller else (called, caller)
                data = source.recv(1 << 16)
                if line.lost:
                    if not data:
                        selector.unregister(source)
                elif not data or not line.passes(data, asked=source is caller, send=sink.sendall):
                    return


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relay() -> Iterator[tuple[Relay, str]]:
    """A relay that ends with the block, and where it listens. It reaches nothing until ``connect`` is replaced."""
    listening = socket.create_server(("127.0.0.1", 0))

    def nowhere() -> socket.socket:
        raise ConnectionRefusedError

    made = Relay(listening, nowhere)
    try:
        yield made, f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        made.close()
