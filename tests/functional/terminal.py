"""A program on a terminal of a given width: what it prints, Ctrl-C at some moment, and everything that it started."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.functional.launch import clean_environment
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import ROOT
from tests.localcloud.processes import alive, descendants

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A program in a session of its own, whose terminal is ours. ``end`` before anything is judged."""

    def __init__(
        self, command: Sequence[str], columns: int = 80, more: Mapping[str, str] | None = None, folder: Path = ROOT
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=clean_environment(TERM="xterm-256color", **(more or {})),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # Ctrl-C shall reach all of it
        )
        os.close(theirs)
        self._raw = b""
        self.started: set[int] = set()

    def read(self, seconds: float, text: str | None = None) -> None:
        """Take what it prints for so long, or until this was printed, or until it ends."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and (text is None or text not in self.printed):
            self.started.update(descendants(self._process.pid))
            if select.select([self._ours], [], [], min(left, 0.25))[0]:
                try:
                    news = os.read(self._ours, 65_536)
                except OSError:  # nobody has the terminal any more
                    return
                self._raw += news
        assert text is None or text in self.printed, self.printed

    def interrupt(self) -> None:
        """Ctrl-C, as the terminal passes it on."""
        os.write(self._ours, b"\x03")

    def end(self) -> int:
        """Wait until it has ended with everything that it started. Returns the exit code as a shell would have it."""
        try:
            self.read(3 * PATIENCE)
            code = self._process.wait(PATIENCE)
        finally:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(PATIENCE)
            os.close(self._ours)
        until(lambda: not [pid for pid in self.started if alive(pid)], "everything that was started has ended")
        return code if code >= 0 else 128 - code

    @property
    def printed(self) -> str:
        """Everything that was sent to the terminal."""
        return self._raw.decode("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        """The lines, without their colours. Fails where the cursor was moved: then lines may be written over each other."""
        plain = _COLOUR.sub("", self.printed)
        assert "\x1b" not in plain, plain
        assert "\r" not in plain.replace("\r\n", ""), plain
        return plain.replace("\r\n", "\n").splitlines()
