"""How long does `ecr-grants doctor` take with 50 accounts, near and far?

    python -m bench.doctor

A healthy deployment with 50 accounts that can be entered; then the same with every answer of the cloud later by ``--far``
seconds; then with a message service that never answers. Printed: seconds from the command to its end, and calls. Exit code 1 when
one of them takes ten seconds or more, or when a healthy deployment is not found to be one.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import time
from pathlib import Path

from tests.functional.clinic import DEPLOYER, Clinic, clinic, healthy_stage
from tests.functional.launch import run, without_proxies

ACCOUNTS = 50
PROMISED = 10.0


def measured(at: Clinic, name: str, **variables: str) -> tuple[float, int]:
    """How long the command takes, and how many things are not ok."""
    before = at.cloud.admin.call("GET", "journal", query={"after": 10**9})["last"]
    started = time.monotonic()
    done = run("cli", "doctor", "--json", "--template", str(at.template), **at.variables(DEPLOYER, **variables))
    seconds = time.monotonic() - started
    counts = json.loads(done.stdout)["counts"]
    calls = len([one for one in at.cloud.admin.journal(before) if "trigger" not in one["params"]])
    print(f"{name:<34} {seconds:5.1f} s  {calls:4} calls  {counts}")
    return seconds, counts["wrong"] + counts["unknown"]


def main() -> int:
    """Three looks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--far", type=float, default=0.2, help="Seconds by which every answer is later.")
    far: float = parser.parse_args().far
    without_proxies()
    stage = healthy_stage()
    for _ in range(ACCOUNTS - len(stage.listed)):
        stage.new_spoke()
    with tempfile.TemporaryDirectory() as folder, clinic(Path(folder), stage) as at:
        near, trouble = measured(at, f"{ACCOUNTS} accounts, near")
        slow = at.cloud.admin.plan(kind="slow", seconds=far, times=None)["number"]
        later, _ = measured(at, f"{ACCOUNTS} accounts, {far:g} s away")
        at.cloud.admin.clear(slow)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            hung, _ = measured(at, "queues that never answer", MNS_ENDPOINT=address)
    good = trouble == 1 and max(near, later, hung) < PROMISED  # how long the log is kept, nobody can tell
    print("OK" if good else "NOT AS PROMISED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
