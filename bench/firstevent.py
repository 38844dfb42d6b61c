"""Runs in a fresh interpreter: the cold start of a function and its first event, as the runtime does it, and what that took.

    python3.12 -I -S -B firstevent.py FOLDERS MODULE ACCOUNT < EVENT

``FOLDERS`` come first on the path, joined as the path of the system is. Only the standard library is used, and little of it,
since all of it is measured. Prints one line of JSON: seconds of processor time, peak memory in MB, and the names of the modules
that are loaded then.
"""

import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace


def main() -> None:
    """Import, initialize, handle; then tell."""
    folders, module, account = sys.argv[1:4]
    event = sys.stdin.buffer.read()
    sys.path[:0] = folders.split(os.pathsep)
    context = SimpleNamespace(request_id="first", account_id=account, function=SimpleNamespace(timeout=300))
    function = importlib.import_module(module)
    function.initialize(context)
    answer = function.handler(event, context)
    told = {
        "seconds": time.process_time(),
        "megabytes": peak() / 1_000_000,
        "answer": answer,
        "modules": sorted(sys.modules),
    }
    print(json.dumps(told))


def peak() -> int:
    """Bytes of memory at the most. Linux tells it of this program alone; elsewhere it may be the one that started it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
