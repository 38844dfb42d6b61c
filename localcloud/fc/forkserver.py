"""Where workers are born with the packages they need already imported: a process that forks one for each cold start.

Importing the vendors' SDKs takes longer than everything else that a worker does, and is the same every time. The local cloud
starts this file as a script with two descriptors (a socket with requests, a pipe for reports) and the names of modules. It
imports them, says so, and then forks a process for each request: a JSON line with ``script``, ``environment`` and ``folder``,
and with it three descriptors, standard output, standard error, and one whose number is the script's argument. The function's
own code is imported anew by each. Only the standard library is used.
"""

import contextlib
import importlib
import json
import os
import random
import runpy
import select
import signal
import site
import socket
import sys
import threading
import time
from typing import Any

_MOST_BYTES = 1 << 20


def main() -> None:
    """Import, then fork until the local cloud is gone. In a forked process: be the worker."""
    requests, reports = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    problem = _import(sys.argv[3:])
    _say(reports, {"problem": problem})
    if not problem and _fork(requests, reports):
        runpy.run_path(sys.argv[0], run_name="__main__")


def _import(names: list[str]) -> str:
    """Import the modules; what went wrong, or nothing."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as problem:  # noqa: BLE001 - whatever a module raises, it cannot be had
            return f"{name}: {type(problem).__name__}: {problem}"
        if threading.active_count() > 1:
            return f"{name} starts threads, which a forked process does not have"
    return ""


def _fork(requests: socket.socket, reports: int) -> bool:
    """Fork for each request and tell who ended. Returns True in the forked process, False when there are no more requests."""
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    listening: list[Any] = [requests, wake_read]
    while True:
        readable, _, _ = select.select(listening, [], [])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _tell_ended(reports)
        if requests not in readable:
            continue
        data, descriptors, _, _ = socket.recv_fds(requests, _MOST_BYTES, 3)
        while data and not data.endswith(b"\n"):
            data += requests.recv(_MOST_BYTES)
        if not data:
            return False
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            for descriptor in (reports, wake_read, wake_write):
                os.close(descriptor)
            _become(descriptors, **json.loads(data))
            return True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, 0)
        for descriptor in descriptors:
            os.close(descriptor)
        _say(reports, {"started": pid})


def _become(descriptors: list[int], script: str, environment: dict[str, str], folder: str) -> None:
    """Stand in a forked process as if the interpreter had just been started for this worker."""
    os.setpgid(0, 0)
    output, errors, connection = descriptors
    for descriptor, place in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (errors, 2)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    sys.argv = [script, str(connection)]
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    time.tzset()
    random.seed()
    sys.path[0:0] = [step for step in environment.get("PYTHONPATH", "").split(os.pathsep) if step]
    for packages in site.getsitepackages():
        site.addsitedir(packages)  # what runs at the start of every interpreter does so by the worker's own environment


def _tell_ended(reports: int) -> None:
    """Say of everybody who ended how."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(reports, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _say(reports: int, words: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(reports, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
