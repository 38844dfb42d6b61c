"""A relay before the local cloud, whose connections can die while nobody uses them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator


class Relay:
    """Passes bytes on, both ways, from an address of its own. Connections can be cut, or lost without a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: list[tuple[socket.socket, socket.socket]] = []
        self._lost: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.target = ("127.0.0.1", 0)
        self.connections = 0
        """How many were made so far."""
        self._start(self._accept)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Close every connection at both ends, as a server does with idle ones."""
        with self._lock:
            pairs, self._open = self._open, []
        for pair in pairs:
            for each in pair:
                _shut(each)

    def lose(self) -> None:
        """Pass nothing on any more on the connections there are, and close none: so do translated addresses that expired."""
        with self._lock:
            self._lost.update(each for pair in self._open for each in pair)

    def close(self) -> None:
        """End everything."""
        _shut(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _start(self, what: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=what, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            far = socket.create_connection(self.target)
            with self._lock:
                self._open.append((near, far))
            self._start(self._pass_on, near, far)
            self._start(self._pass_on, far, near)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if source not in self._lost:
                    sink.sendall(data)
        if source not in self._lost:
            _shut(sink)
        source.close()


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def relay() -> Iterator[Relay]:
    """A relay that ends with the block."""
    made = Relay()
    try:
        yield made
    finally:
        made.close()
