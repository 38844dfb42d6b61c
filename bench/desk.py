"""What does the desk cost beside a bare FastAPI handler that runs one plain SELECT of the same 100 rows?

    python -m bench.desk
    python -m bench.desk --leases 5000 --seconds 2       a quick one
    python -m bench.desk --package .local/package        with a package that was built

* *rate*: pages of 100 out of 100,000 leases, by owners of account A, who may see all of them, of account B, who may see a
  few of a hundred, and by somebody who may see everything: signed in, counted, narrowed, typed. Both servers are a process each,
  answer the same callers in turn, and read the same PostgreSQL.
* *statements*: what creating a request sends to the database.
* *first answer*: the processor time of a fresh interpreter until it has answered once, both from the package.

Exit code 1 when a rate is less than 0.3 of the bare handler's, creating a request takes more than 12 statements, or the first
answer more than 3 times as long.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sql
import uvicorn
from rich.console import Console
from rich.table import Table

from bench.past import Past, analyse, live_elsewhere
from deploy.interpreter import NoInterpreterError, find
from deploy.package import build
from shared.desk.app import make
from shared.desk.parts import Parts
from shared.desk.signin import SignIn
from shared.desk.tokens import Seals, Use
from shared.ledger.admission import admit
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.gate import Gate
from shared.page.face import PAGE
from shared.rules.shipped import POLICY
from shared.settings import DeskSettings
from tests.configured import CONFIG_KEYS, CONFIG_KEYS_TEXT, apply, configuration
from tests.functional.launch import clean_environment, without_proxies
from tests.ledger.kit import NOW, Database, key, opening
from tests.ledger.postgres import running

LEAST, MOST_STATEMENTS, MOST_FIRST = 0.3, 12, 3.0
KEY = bytes(32)
"""Obviously none."""
CALLERS = 40
"""Of each kind: no caller may ask more than so often a minute."""
CLIENTS = 4
ROOT = Path(__file__).parent.parent
KINDS = ("owner-a", "owner-b", "auditor")

say = Console(stderr=True, highlight=False)
_REGION, _ECR_OWNER, _OTHER = "cn-hangzhou", key().ecr_owner_uid, "3000000000000003"


@dataclass(frozen=True)
class Server:
    """Something that answers on this machine."""

    name: str
    port: int
    path: str


def main() -> int:
    """Measure, show, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.desk", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--leases", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--package", type=Path, help="a package that was built; without it one is built")
    parser.add_argument("--only", choices=("rate", "statements", "first"), help="one of the three")
    asked = parser.parse_args()
    without_proxies()
    kept = []
    with tempfile.TemporaryDirectory(prefix="ecr-grants-desk-") as scratch, running() as server:
        url = server.address(server.new_database())
        with say.status(f"making {asked.leases} leases"):
            furnished(url, asked.leases)
        if asked.only in (None, "rate"):
            kept.append(rates(url, asked.seconds, asked.rounds))
        if asked.only in (None, "statements"):
            kept.append(statements(url))
        if asked.only in (None, "first"):
            kept.append(first_answers(url, Path(scratch), asked.package, asked.rounds))
    return 0 if all(kept) else 1


# -- a ledger to look at ----------------------------------------------------------------------------------------------


def furnished(url: str, leases: int, events: int = 0) -> None:
    """A ledger with so many leases on a tenth as many grants, a tenth of them open; and people of every kind."""
    ledger = Ledger(url)
    upgrade_schema(ledger)
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    facts = {"lead": "leads", "environment": "bench", "name": "bench", "role": "role", "external_id": "external"}
    account_b = key().instance_owner_uid
    accounts = {
        _ECR_OWNER: {**facts, "owner": "owner-a", "ecrs": {key().ecr_id: {}}},
        account_b: {**facts, "owner": "owner-b", "supernets": ["10.0.0.0/8"]},
        _OTHER: {**facts, "owner": "leads"},
    }
    names = {kind: [f"{kind}-{number}" for number in range(CALLERS)] for kind in KINDS}
    people = {
        "persons": {name: {"subjects": [f"bench:{name}"]} for each in names.values() for name in each}
        | {"somebody": {"subjects": ["login:somebody"]}},
        "groups": {"owner-a": names["owner-a"], "owner-b": names["owner-b"], "auditors": names["auditor"]},
    }
    apply(ledger, configuration(accounts, people=people, policy=POLICY))
    ledger.close()
    database = Database("postgresql", url)
    live_elsewhere(database, key().grant_id, Past(leases, events), lambda _: None)
    with database.connected() as connection:
        connection.exec_driver_sql(
            "UPDATE approvals SET open = false, live = false WHERE mod(approved_at / 1000, 10) <> 0"
        )
        others = f"SET instance_owner_uid = '{_OTHER}' WHERE grant_id IN"
        share = min(255, max(7, 384_000 // max(leases, 1)))  # of 256: so that account B has more than one page
        elsewhere = f"(SELECT grant_id FROM grants WHERE substr(md5(grant_id), 1, 2) > '{share:02x}')"  # noqa: S608  # a number
        for table in ("approvals", "grants"):
            connection.exec_driver_sql(f"UPDATE {table} {others} {elsewhere}")
    with database.connected() as connection:
        analyse(database)
    database.close()


# -- the rate ----------------------------------------------------------------------------------------------------------


def rates(url: str, seconds: float, rounds: int) -> bool:
    """Pages a second of both, the best of some rounds of each."""
    table = Table("pages of 100 leases", "a second", "of bare", title="Rate")
    seals = Seals([KEY], lambda: datetime.now(UTC))
    with served("bare", url) as bare, served("desk", url) as desk:
        best: dict[str, float] = {}
        for number in range(rounds):
            with say.status(f"round {number + 1} of {rounds}"):
                best["bare"] = max(best.get("bare", 0), pages(bare, [{}], seconds))
                for kind in KINDS:
                    best[kind] = max(best.get(kind, 0), pages(desk, signed_in(seals, kind), seconds))
    for name, rate in best.items():
        table.add_row(name, f"{rate:.0f}", f"{rate / best['bare']:.2f}")
    Console().print(table)
    worst = min(best[kind] for kind in KINDS) / best["bare"]
    print(
        f"{'ok' if worst >= LEAST else 'LESS THAN PROMISED'}: {worst:.2f} of the bare handler's rate (at least {LEAST})"
    )
    return worst >= LEAST


def signed_in(seals: Seals, kind: str) -> list[dict[str, str]]:
    """Headers of so many callers of a kind."""
    said = [
        {"subject": f"bench:{kind}-{number}", "at": time.time(), "session": f"{kind}-{number}"}
        for number in range(CALLERS)
    ]
    return [
        {"Authorization": f"Bearer {seals.make(Use.BEARER, one, timedelta(hours=8))}", "Accept": "application/json"}
        for one in said
    ]


@contextlib.contextmanager
def served(what: str, url: str) -> Iterator[Server]:
    """One of both, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = {"bare": ROOT / "bench" / "bare.py", "desk": ROOT / "functions" / "desk.py"}[what]
    env = clean_environment(**environment(url, port), PYTHONPATH=str(ROOT))
    process = subprocess.Popen([sys.executable, str(script), str(port)], env=env)
    server = Server(what, port, {"bare": "/leases", "desk": "/api/v1/leases?open=true"}[what])
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def environment(url: str, port: int) -> dict[str, str]:
    """What a desk needs to be told. Nobody signs in, and nothing is sent."""
    return {
        "LEDGER_URL": url,
        "FC_REGION": _REGION,
        "FC_ACCOUNT_ID": _ECR_OWNER,
        "FC_CUSTOM_LISTEN_PORT": str(port),
        "CONFIG_KEYS": CONFIG_KEYS_TEXT,
        "MNS_ENDPOINT": "http://127.0.0.1:1",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-example-bench",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "example-secret-of-the-bench",
        "DESK_ADDRESS": f"http://127.0.0.1:{port}",
        "DESK_ISSUER": "http://127.0.0.1:1",
        "DESK_CLIENT_ID": "bench",
        "DESK_CLIENT_SECRET": "example-secret-of-the-bench",
        "DESK_KEYS": "A" * 43 + "=",
    }


def pages(server: Server, callers: Sequence[Mapping[str, str]], seconds: float) -> float:
    """Pages a second, asked for by a few clients that keep their connections; every answer is looked at."""
    until = time.perf_counter() + seconds

    def ask(client: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        turn, made = client, 0
        while time.perf_counter() < until:
            connection.request("GET", server.path, headers=dict(callers[turn % len(callers)]))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200 or body.count(b'"grant_id"') != 100:
                raise SystemExit(f"{server.name}: {answer.status} {body[:300]!r}")
            turn, made = turn + CLIENTS, made + 1
        connection.close()
        return made

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(ask, range(CLIENTS))) / seconds


# -- statements ----------------------------------------------------------------------------------------------------


def statements(url: str) -> bool:
    """What creating a request sends, after a first one has filled every cache."""
    asked = created(url)
    for one in asked:
        print(f"    {one[:110]}")
    fine = len(asked) <= MOST_STATEMENTS
    print(
        f"{'ok' if fine else 'MORE THAN PROMISED'}: {len(asked)} statements for a request (at most {MOST_STATEMENTS})"
    )
    return fine


def created(url: str) -> list[str]:
    """The statements of one request that is asked over HTTP, BEGIN and COMMIT apart."""
    found: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            found.append(" ".join(statement.split()))

    with here(url) as (port, ledger):
        ask(port, "vpc-first")
        sql.event.listen(ledger.engine, "before_cursor_execute", note)
        ask(port, "vpc-second")
    return found


@contextlib.contextmanager
def here(url: str) -> Iterator[tuple[int, Ledger]]:
    """The desk in this very process: its port, and its ledger."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = DeskSettings.model_validate(environment(url, port))
    ledger = Ledger(url)
    sign_in = SignIn(settings, lambda: "", lambda: datetime.now(UTC))
    parts = Parts(settings, ledger, Gate(ledger, CONFIG_KEYS, 1, now_ms), sign_in, lambda: None, now_ms)
    server = uvicorn.Server(uvicorn.Config(make(parts, PAGE), port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield port, ledger
    finally:
        server.should_exit = True
        thread.join()
        ledger.close()


def ask(port: int, vpc: str) -> None:
    """An owner of account A asks for an instance. Raises SystemExit where it is not taken."""
    headers = signed_in(Seals([KEY], lambda: datetime.now(UTC)), "owner-a")[1] | {"Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/api/v1/requests", json.dumps({"wishes": [wish(vpc)]}), headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 201:
        raise SystemExit(f"{answer.status} {body[:300]!r}")


def wish(vpc: str) -> dict[str, Any]:
    """A lease of a day."""
    grant = key(vpc)
    return {
        "kind": "grant",
        "ecr": {"id": grant.ecr_id, "owner_uid": grant.ecr_owner_uid},
        "instance": {"type": "VPC", "id": vpc, "region": _REGION, "owner_uid": grant.instance_owner_uid},
        "allowed_prefixes": ["10.20.0.0/16"],
        "ends_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds"),
        "reason": "A bench needs it",
    }


# -- the first answer -----------------------------------------------------------------------------------------------


def first_answers(url: str, folder: Path, package: Path | None, rounds: int) -> bool:
    """Processor seconds until a fresh process has answered once, the least of some rounds."""
    try:
        python = find()
    except NoInterpreterError as problem:
        print(f"first answer: not measured: {problem}")
        return True
    if package is None:
        package, report = build(folder / "package", python)
        if report.faults:
            raise SystemExit("\n".join(report.faults))
    token = signed_in(Seals([KEY], lambda: datetime.now(UTC)), "auditor")[0]["Authorization"]
    best = {
        what: min(first_answer(what, python, package, url, token) for _ in range(rounds)) for what in ("bare", "desk")
    }
    table = Table("first answer of a fresh process", "processor s", title="Cold start")
    for what, seconds in best.items():
        table.add_row(what, f"{seconds:.2f}")
    Console().print(table)
    ratio = best["desk"] / best["bare"]
    fine = ratio <= MOST_FIRST
    print(f"{'ok' if fine else 'MORE THAN PROMISED'}: {ratio:.2f} of the bare handler's (at most {MOST_FIRST:.0f})")
    return fine


def first_answer(what: str, python: Path, package: Path, url: str, token: str) -> float:
    """Of one fresh process. Raises SystemExit where it does not answer."""
    script = Path(__file__).with_name("firstanswer.py")
    folders = os.pathsep.join((str(package.resolve()), str(ROOT / "functions"), str(ROOT / "bench")))
    done = subprocess.run(
        [str(python), "-I", "-S", "-B", str(script), folders, what, token],
        env=clean_environment(**environment(url, 0)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{what} failed:\n{done.stderr}")
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


if __name__ == "__main__":
    sys.exit(main())
