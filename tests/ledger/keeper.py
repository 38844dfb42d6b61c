"""Runs one command, as some user, for as long as its own standard input is open; then stops it.

So a database server ends with the tests that started it, also when they are killed: the pipe between them closes then, without
the word that an orderly end sends first, and the server's folder goes too. Standard library only; started as a script.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from typing import Any

# A server's three ways to stop, from the one that is kind to its clients to the one that nobody can refuse.
_WAYS = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def main(folder: str, user: str, command: list[str]) -> int:
    """Run it; returns its exit code. ``user``: ``uid:gid``, or empty for our own."""
    uid, _, gid = user.partition(":")
    other: dict[str, Any] = {"user": int(uid), "group": int(gid), "extra_groups": []} if user else {}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **other)

    orphaned = False

    def stop() -> None:
        nonlocal orphaned
        orphaned = not sys.stdin.buffer.read()
        for number, seconds in _WAYS:
            process.send_signal(number)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            return

    threading.Thread(target=stop, daemon=True).start()
    code = process.wait()
    if orphaned:
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
