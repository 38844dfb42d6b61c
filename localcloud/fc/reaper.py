"""Ends the worker processes when the local cloud is gone, however it went.

Workers are frozen most of the time, and a frozen process notices nothing, so somebody awake has to watch. This script
runs beside the local cloud in a process group of its own. It reads ``+GROUP``, ``-GROUP`` and ``/FOLDER`` lines; when
the pipe ends, because the local cloud stopped or was killed, every group still on the list is killed, the temporary
folders are removed, and it ends too.
"""

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    """Keep the list, then use it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        if line.startswith("/"):
            folders.append(line.rstrip("\n"))
        elif line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
