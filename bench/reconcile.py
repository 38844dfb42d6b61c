"""What does one pass of reconcile cost? Ten thousand standing grants over five hundred accounts, read by page.

    python -m bench.reconcile
    python -m bench.reconcile --grants 1000 --accounts 50       a quick one

The world, the grants in it and the ledger are made directly. Then the deployed function of s.yaml does its work in a local
cloud that keeps the published quotas; windows are shortened on both sides alike, so that a short run is paced like a long one.
The figures come from the local cloud's journal, not from our own counting. Some grants are missing on the cloud, so that a pass
that looks at nothing cannot win. Exit code 1 when a call was throttled, an account was not read, or the drift was not found.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import yaml
from rich.console import Console

from deploy.layout import linked
from localcloud.call import Call, Caller
from localcloud.client import AdminClient
from localcloud.kernel import Cloud
from localcloud.network import GrantKey as CloudKey
from localcloud.network import Link, Trace
from localcloud.quotas import PUBLISHED
from localcloud.server import Server
from localcloud.worldfile import check_world
from shared.cloud.functions import Functions
from shared.cloud.keys import Keys
from shared.ledger.rows import wanted_text
from shared.ledger.schema import upgrade_schema
from shared.ledger.tables import approvals, grants, sides
from shared.ledger.transactions import Ledger, now_ms
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.leases import Level, Wanted
from tests.configured import CONFIG_KEYS_TEXT, apply, configuration
from tests.functional.launch import without_desk

ROOT = Path(__file__).parent.parent
EXAMPLE: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "world.yaml").read_text("utf-8"))
HUB, SPOKE, REGION = "1000000000000001", "2000000000000002", "cn-hangzhou"
EXAMPLE_ECR, ECR = EXAMPLE["accounts"][HUB]["ecrs"][0]["id"], "ecr-benchreconcile"
FUNCTION = "ecr-grants-reconcile"
PREFIXES = ("10.20.0.0/16",)
Json = dict[str, Any]

say = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Standing:
    """The grants that stand, and those of them that the cloud has lost."""

    keys: tuple[GrantKey, ...]
    lost: frozenset[GrantKey]
    accounts: tuple[str, ...]


def standing(count: int, accounts: int, lost: int) -> Standing:
    """So many grants over so many accounts; a tenth of each account's are of VBRs."""
    uids = tuple(f"2{number:015d}" for number in range(accounts))
    kinds = [InstanceType.VBR if number // accounts % 10 == 9 else InstanceType.VPC for number in range(count)]
    keys = tuple(
        GrantKey(ECR, HUB, kind, f"{kind.lower()}-b{number:06d}", REGION, uids[number % accounts])
        for number, kind in enumerate(kinds)
    )
    return Standing(keys, frozenset(keys[:: max(1, count // max(1, lost))][:lost]), uids)


# -- the world -----------------------------------------------------------------------------------------------------


def world(all_: Standing, window: float) -> Json:
    """The example's world with as many account Bs as wanted, each like the example's; roles allow what they allow there."""
    hub = json.loads(json.dumps(EXAMPLE["accounts"][HUB]).replace(EXAMPLE_ECR, ECR))
    hub["roles"][FUNCTION]["policies"]["enter-spokes"] = {
        "Version": "1",
        "Statement": [
            {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": ["acs:ram::*:role/ecr-grants-spoke"]}
        ],
    }
    template = copy.deepcopy(EXAMPLE["accounts"][SPOKE])
    text = json.dumps({name: part for name, part in template.items() if name not in ("users", "vpcs", "vbrs")})
    spokes: dict[str, Json] = {uid: json.loads(text.replace(SPOKE, uid)) for uid in all_.accounts}
    for key in all_.keys:
        instance: Json = {"id": key.instance_id, "region": REGION}
        if key.instance_type == "VPC":
            instance["cidr"] = PREFIXES[0]
        spokes[key.instance_owner_uid].setdefault(f"{key.instance_type.lower()}s", []).append(instance)
    return {
        "version": 1,
        "region": REGION,
        "deploy": EXAMPLE["deploy"],
        "accounts": {HUB: hub, **spokes},
        "settle": {"association_seconds": 0, "attachment_seconds": 0, "lock_seconds": 0},
        "quotas": {
            name: {"limit": quota.limit, "seconds": quota.seconds * window / 60}
            for name, quota in PUBLISHED.items()
            if name.startswith(("ecr:", "vpc:", "sts:"))
        },
    }


def inventory(all_: Standing) -> Json:
    """The accounts that go with it."""

    def listed(uid: str, role: str) -> Json:
        external_id = f"ecr-grants:demo:{uid}"
        facts = {"name": f"account-{uid}", "owner": "owners@example.com", "environment": "bench"}
        return {**facts, "role": role, "external_id": external_id}

    hub = {**listed(HUB, "ecr-grants-hub"), "ecrs": {ECR: {"association": "ours"}}}
    return {HUB: hub, **{uid: listed(uid, "ecr-grants-spoke") for uid in all_.accounts}}


def fill_cloud(cloud: Cloud, all_: Standing) -> None:
    """Let the grants stand, granted and associated, as if they had been made."""
    now = cloud.clock.now()
    for number, key in enumerate(all_.keys):
        caller = Caller(
            key.instance_owner_uid, "root", "", None, f"acs:ram::{key.instance_owner_uid}:root", "bench", "bench"
        )
        call = Call("ecr", "Bench", caller, HUB, REGION, f"bench-{number}", now=now)
        if key not in all_.lost:
            place = CloudKey(key.ecr_id, HUB, key.instance_type, key.instance_id, REGION)
            cloud.network.make_grant(place, key.instance_owner_uid, call)
        takes_prefixes = key.instance_type is InstanceType.VPC
        link = Link(
            f"ecr-assoc-b{number:06d}", "VPC" if takes_prefixes else "VBR", ECR, HUB, key.instance_id, REGION,
            key.instance_owner_uid, "", now, Trace.of(call),
        )  # fmt: skip
        cloud.network.make_link(link, PREFIXES if takes_prefixes else (), "")


def fill_ledger(url: str, all_: Standing) -> None:
    """The same grants as the ledger has them once all is done: a live lease each, both sides settled."""
    now = now_ms() - 3_600_000
    ledger = Ledger(url)
    upgrade_schema(ledger)
    apply(ledger, configuration(inventory(all_)))
    grant_rows, side_rows, approval_rows = [], [], []
    for number, key in enumerate(all_.keys):
        prefixes = PREFIXES if key.instance_type is InstanceType.VPC else ()
        names = asdict(key) | {"grant_id": key.grant_id}
        grant_rows.append(names | {"generation": 1, "last_number": 0, "created_at": now, "shown": True})
        settled = {
            "grant_id": key.grant_id,
            "observed_generation": 1,
            "observed_wanted": wanted_text(Wanted(Level.UP, prefixes)),
            "ours": True,
            "unsettled": False,
            "attempts": 0,
            "knocks": 0,
            "since": now,
            "seen_at": now,
        }
        side_rows.append(settled | {"side": "grant", "state": "present", "association_id": None, "prefixes": None})
        routes = json.dumps(prefixes) if key.instance_type is InstanceType.VPC else None
        associated = {"side": "associate", "state": "ACTIVE", "association_id": f"ecr-assoc-b{number:06d}"}
        side_rows.append(settled | associated | {"prefixes": routes})
        approval_rows.append(
            {
                "approval_id": f"bench-{number}",
                "issuer": "bench",
                "request_id": f"REQ-{number}",
                "digest": f"{number:064x}",
                "action": "grant",
                "grant_id": key.grant_id,
                "approved_at": now,
                "on_end": "report",
                "allowed_prefixes": json.dumps(list(prefixes)),
                "content": "{}",
                "message_id": f"bench-{number}",
                "admitted_at": now,
                "live": True,
                "open": True,
                "outcome": "done",
                "outcome_at": now,
                "waits": False,
                "seal": "",  # nothing is made for them
                "configuration": 1,
            }
        )
    with ledger.engine.begin() as connection:
        connection.execute(grants.insert(), grant_rows)
        connection.execute(sides.insert(), side_rows)
        connection.execute(approvals.insert(), approval_rows)
    ledger.close()


# -- the local cloud, in a process of its own ------------------------------------------------------------------------


def serve(folder: Path, all_: Standing, window: float, pipe: Connection) -> None:
    """Run a filled local cloud with the functions deployed until the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the other end, which then closes the pipe

    async def run() -> None:
        server = Server(check_world(world(all_, window)))
        try:
            await server.start()
            fill_cloud(server.cloud, all_)
            address = server.cloud.address
            ends = {f"{name}_ENDPOINT": f"http://{address}" for name in ("MNS", "STS", "VPC", "ECR")}
            files = {"LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}", "CONFIG_KEYS": CONFIG_KEYS_TEXT}
            files["CODE"] = str(linked(folder / "code"))
            paced = {"QUOTA_SECONDS": str(window), "DRIFT_REPAIR": "none"}
            await server.fc.deploy(without_desk(folder), {**ends, **files, **paced})
            pipe.send(address)
            await asyncio.get_running_loop().run_in_executor(None, _until_closed, pipe)
        finally:
            await server.stop()

    asyncio.run(run())


def _until_closed(pipe: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()


@contextlib.contextmanager
def running(folder: Path, all_: Standing, window: float) -> Iterator[str]:
    """A filled local cloud; yields its address, and ends it with the block."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, all_, window, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(300):
            raise SystemExit("the local cloud was not ready within 300 s")
        try:
            address: str = ours.recv()
        except EOFError:
            raise SystemExit("the local cloud did not start") from None
        yield address
    finally:
        ours.close()
        process.join(60)
        if process.is_alive():
            process.kill()
            process.join()


# -- a pass, and what the journal says of it -------------------------------------------------------------------------


def one_pass(address: str, name: str) -> tuple[Json, float]:
    """Run the deployed function once and wait for it; its report, and the seconds it took from outside."""
    admin, found, started = AdminClient(address), [], time.monotonic()
    operator = EXAMPLE["accounts"][HUB]["users"]["operator"]["access_key"]
    functions = Functions(f"http://{address}", REGION, Keys(operator["id"], operator["secret"], ""))
    worker = threading.Thread(target=lambda: found.append(_answer(functions)), daemon=True)
    worker.start()
    before = admin.call("GET", "journal", query={"limit": 1, "after": 10**9})["last"]
    with say.status(name) as status:
        while worker.is_alive():
            worker.join(1)
            calls = admin.call("GET", "journal", query={"limit": 1, "after": 10**9})["last"] - before
            status.update(f"{name}: {calls} calls, {time.monotonic() - started:.0f} s")
    if not found or isinstance(found[0], Exception):
        raise SystemExit(f"{name}: {found[0] if found else 'no answer'}")
    return found[0], time.monotonic() - started


def _answer(functions: Functions) -> Any:
    try:
        return functions.run(FUNCTION, b"{}").result
    except Exception as error:  # noqa: BLE001  # told by the thread that waits
        return error


def used() -> tuple[float, int]:
    """(processor seconds, most bytes ever in memory) of the function's own process, as the system counts them."""
    worker = max(
        (
            one
            for one in psutil.Process().children(recursive=True)
            if FUNCTION in " ".join([*one.cmdline(), *_environment(one)])
        ),
        key=lambda one: sum(one.cpu_times()[:2]),
    )
    (peak,) = (line for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return sum(worker.cpu_times()[:2]), int(peak.split()[1]) * 1024


def _environment(process: psutil.Process) -> list[str]:
    try:
        return [f"{name}={value}" for name, value in process.environ().items()]
    except psutil.Error:
        return []


def busiest_window(moments: list[float], seconds: float) -> int:
    """The most of these moments that lie in any window of so many seconds."""
    most, first = 0, 0
    for last, moment in enumerate(moments):
        while moments[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def told(entries: list[Json], count: int, window: float) -> tuple[int, int]:
    """Print a line per API; returns (calls, throttled calls)."""
    by_api: dict[str, list[Json]] = {}
    for entry in entries:
        if entry["service"] in ("ecr", "vpc", "sts"):
            by_api.setdefault(f"{entry['service']}:{entry['operation']}", []).append(entry)
    print(f"  {'API':52} {'calls':>6} {'accounts':>8} {'busiest window, of allowed':>27} {'throttled':>9}")
    throttled = 0
    for api, made in sorted(by_api.items(), key=lambda item: -len(item[1])):
        quota = PUBLISHED[api]
        moments: dict[tuple[str, str], list[float]] = {}
        for entry in made:
            moment = datetime.fromisoformat(entry["time"]).timestamp()
            moments.setdefault((entry["caller"].get("account", ""), entry["region"]), []).append(moment)
        busiest = max(busiest_window(sorted(each), quota.seconds * window / 60) for each in moments.values())
        refused = sum(entry["code"].startswith("Throttling") for entry in made)
        throttled += refused
        print(f"  {api:52} {len(made):>6} {len(moments):>8} {f'{busiest} of {quota.limit}':>27} {refused:>9}")
    calls = sum(map(len, by_api.values()))
    print(f"  {calls} calls for {count} grants: {calls / count:.3f} calls a grant")
    return calls, throttled


def ceiling(entries: list[Json], count: int) -> None:
    """What the quotas alone allow: the account and API with the most calls for its limit decides."""
    made = Counter(
        (f"{entry['service']}:{entry['operation']}", entry["caller"].get("account", ""))
        for entry in entries
        if entry["service"] in ("ecr", "vpc")
    )
    (api, account), calls = max(made.items(), key=lambda item: item[1] / PUBLISHED[item[0][0]].limit)
    limit = PUBLISHED[api].limit
    print(
        f"ceiling by quota: {api} in account {account} is the narrowest, {calls} of {limit} calls a minute; "
        f"so a pass a minute could hold {count * limit // calls} grants, one every five minutes {5 * count * limit // calls}"
    )


def main() -> int:
    """Run two passes, the first with no session in hand, and print what they cost."""
    words = argparse.ArgumentParser(
        prog="python -m bench.reconcile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--grants", type=int, default=10_000, help="standing grants (default: 10000)")
    words.add_argument("--accounts", type=int, default=500, help="account Bs that own the instances (default: 500)")
    words.add_argument("--lost", type=int, default=7, help="grants that are missing on the cloud (default: 7)")
    words.add_argument(
        "--window", type=float, default=6.0, help="seconds of a quota's minute, on both sides (default: 6)"
    )
    asked = words.parse_args()
    if not 1 <= asked.accounts <= asked.grants <= 100_000 or not 1 <= asked.window <= 60 or asked.lost > asked.grants:
        words.error("1 <= accounts <= grants <= 100000, 1 <= window <= 60, lost <= grants")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # like Ctrl-C: with everything stopped and removed
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # loopback is never reached through a proxy
    all_ = standing(asked.grants, asked.accounts, asked.lost)
    with tempfile.TemporaryDirectory(prefix="ecr-grants-bench-") as directory:
        folder = Path(directory)
        with say.status("making the world, the ledger and the local cloud"):
            fill_ledger(f"sqlite:///{folder / 'ledger.db'}", all_)
        with running(folder, all_, asked.window) as address:
            return compare(address, all_, asked.window)


def compare(address: str, all_: Standing, window: float) -> int:
    """Two passes and their figures; the exit code."""
    admin, faults, count = AdminClient(address), [], len(all_.keys)
    print(
        f"{count} grants of {len(all_.accounts)} accounts on one ECR, {len(all_.lost)} of them missing on the cloud; "
        f"published quotas, a minute lasting {window:g} s on both sides"
    )
    entries: list[Json] = []
    spent = 0.0
    for name in ("first pass, every role to be assumed", "second pass, sessions in hand"):
        after = admin.call("GET", "journal", query={"limit": 1, "after": 10**9})["last"]
        report, seconds = one_pass(address, name)
        entries = [one for one in admin.journal(after) if one["caller"].get("function") == FUNCTION]
        processor, most = used()
        print(
            f"{name}: {seconds:.1f} s, {processor - spent:.1f} s of them processor time, {report['grants']} grants compared; "
            f"{most / 1e6:.0f} MB at the most"
        )
        spent = processor
        calls, throttled = told(entries, count, window)
        expected = {"grant-missing": len(all_.lost)} if name.startswith("first") and all_.lost else {}
        if throttled:
            faults.append(f"{name}: {throttled} calls were throttled")
        if report["trouble"]:
            faults.append(f"{name}: not read: {report['trouble'][:3]}")
        if report["drift"] != expected or report["grants"] != count:
            faults.append(
                f"{name}: {report['grants']} compared, drift {report['drift']}, expected {count} and {expected}"
            )
        if calls > count:
            faults.append(f"{name}: {calls} calls for {count} grants is not by page")
    ceiling(entries, count)
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
