"""What does each page cost beside a bare page of the same size?

    python -m bench.page
    python -m bench.page --leases 5000 --events 50000 --seconds 0.3       a quick one

Every page of the desk that people look at, as an owner of account A and as somebody who may see everything, over 100,000 leases
and 1,000,000 events in PostgreSQL. The bare page is a FastAPI handler that runs one plain SELECT of 100 rows and renders a table
with Jinja2, cut to the size of the page that it stands beside; both are asked by one client that keeps its connection.

Exit code 1 when a page takes more than 15 statements, or more than 5 times as long.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sql
from rich.console import Console
from rich.table import Table

from bench.desk import KEY, Server, furnished, here, served, signed_in, wish
from shared.desk.admits import table as routes_of
from shared.desk.tokens import Seals
from shared.page.face import PAGE
from tests.functional.launch import without_proxies
from tests.ledger.kit import key
from tests.ledger.postgres import running

MOST_STATEMENTS, MOST_TIMES = 15, 5.0
KINDS = ("owner-a", "auditor")
NOT_LOOKED_AT = frozenset({"/static/{mark}/{name}", "/language/{language}"})

ASKED = {"/configuration/difference": "?old=1&new=1", "/search": "?q=vpc"}
"""What a page wants to be asked."""


def main() -> int:
    """Measure, show, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.page", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--leases", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    without_proxies()
    say = Console(stderr=True, highlight=False)
    with running() as server:
        url = server.address(server.new_database())
        with say.status(f"making {asked.leases} leases and {asked.events} events"):
            furnished(url, asked.leases, asked.events)
        with say.status("counting"):
            counted = statements(url)
        return shown(counted, timed(url, counted, asked.seconds, asked.rounds, say))


def paths(requests: list[str]) -> list[str]:
    """The addresses of all pages that are looked at. ``requests``: a single request, then one of a batch and the batch."""
    grant = key()
    known = {"request_id": requests[0], "batch": requests[2], "grant_id": grant.grant_id}
    known |= {"ecr_id": grant.ecr_id, "number": "1", "part": "dead"}
    found = [path for method, path, _ in routes_of(PAGE.routes.routes) if method == "GET" and path not in NOT_LOOKED_AT]
    return [path.format(**known) + ASKED.get(path, "") for path in dict.fromkeys(found)]


class Caller:
    """Somebody who keeps a connection."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._headers = dict(headers) | {"Accept": "text/html"}

    def get(self, path: str) -> tuple[int, int, float]:
        """(status, bytes, seconds)."""
        begun = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        size = len(answer.read())
        return answer.status, size, time.perf_counter() - begun


def statements(url: str) -> dict[tuple[str, str], tuple[int, int]]:
    """(statements, bytes) of each page for each kind, when a first look has filled every cache; BEGIN and COMMIT apart."""
    found: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            found.append(statement)

    counted = {}
    with here(url) as (port, ledger):
        requests = asked(port)
        sql.event.listen(ledger.engine, "before_cursor_execute", note)
        for kind in KINDS:
            for path in paths(requests):
                caller = Caller(port, headers(kind, 0))
                caller.get(path)
                found.clear()
                status, size, _ = caller.get(path)
                if status != 200:
                    raise SystemExit(f"{path} as {kind}: {status}")
                counted[kind, path] = len(found), size
    return counted


def asked(port: int) -> list[str]:
    """A request, one of a batch of fifty, and the batch."""
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    said = headers("owner-a", 1) | {"Content-Type": "application/json"}
    ids: list[str] = []
    for wishes in ([wish("vpc-alone")], [wish(f"vpc-batch{number}") for number in range(50)]):
        caller.request("POST", "/api/v1/requests", json.dumps({"wishes": wishes}), said)
        answer: dict[str, Any] = json.loads(caller.getresponse().read())
        first = answer["requests"][0]
        ids += [first["request_id"], *([first["batch"]] if first["batch"] else [])]
    return ids


def headers(kind: str, number: int) -> dict[str, str]:
    """Of a caller who has signed in."""
    return signed_in(Seals([KEY], lambda: datetime.now(UTC)), kind)[number]


def timed(
    url: str, counted: Mapping[tuple[str, str], tuple[int, int]], seconds: float, rounds: int, say: Console
) -> dict[tuple[str, str], tuple[float, float]]:
    """(median of the page, median of the bare page) in seconds, the best of some rounds, both in turn."""
    found = {}
    with served("bare", url) as bare, served("desk", url) as desk:
        for turn, ((kind, path), (_, size)) in enumerate(counted.items()):
            with say.status(f"{path} as {kind}"):
                pairs = [
                    (
                        median(desk, path, headers(kind, (turn + number) % 40), seconds / rounds),
                        median(bare, f"/page/{size}", {}, seconds / rounds),
                    )
                    for number in range(rounds)
                ]
            found[kind, path] = min(pairs, key=lambda pair: pair[0] / pair[1])
    return found


def median(server: Server, path: str, said: Mapping[str, str], seconds: float) -> float:
    """Of the answers in so many seconds, at least five."""
    caller, took = Caller(server.port, said), list[float]()
    until = time.perf_counter() + seconds
    while len(took) < 5 or (time.perf_counter() < until and len(took) < 100):
        status, _, one = caller.get(path)
        if status != 200:
            raise SystemExit(f"{server.name}: {path}: {status}")
        took.append(one)
    return sorted(took)[len(took) // 2]


def shown(
    counted: Mapping[tuple[str, str], tuple[int, int]], times: Mapping[tuple[str, str], tuple[float, float]]
) -> int:
    """The table, and the judgement as an exit code."""
    table = Table("page", "as", "bytes", "statements", "ms", "bare ms", "times", title="Pages")
    wrong = []
    for (kind, path), (many, size) in counted.items():
        page, bare = times[kind, path]
        table.add_row(path, kind, str(size), str(many), f"{page * 1e3:.1f}", f"{bare * 1e3:.1f}", f"{page / bare:.1f}")
        if many > MOST_STATEMENTS or page > MOST_TIMES * bare:
            wrong.append(f"{path} as {kind}")
    Console(width=140).print(table)
    worst = max(page / bare for page, bare in times.values())
    most = max(many for many, _ in counted.values())
    print(
        f"at most {most} statements ({MOST_STATEMENTS} promised) and {worst:.1f} times a bare page ({MOST_TIMES:.0f})"
    )
    print("ok" if not wrong else "MORE THAN PROMISED: " + ", ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
