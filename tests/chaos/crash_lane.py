"""A lane of the crash proof: one deployment, in which one point after another is tried, each with a grant of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from shared.errors import GrantError
from shared.ledger.operating import dead_rows
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from tests.chaos.administrators import Administrators
from tests.chaos.crash_points import COMMAND, Place, Point, Result, places
from tests.chaos.house import HouseError, house
from tests.chaos.judge import Evidence, Rules, Sent, Target, verdict
from tests.chaos.traps import Seen, Trap, http_relay, ledger_relay
from tests.configured import CONFIG_KEYS_TEXT
from tests.functional.approvals import approval, now, revocation
from tests.functional.deployment import OPERATOR
from tests.functional.launch import clean_environment
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    HUB_ECR,
    RECONCILE_FUNCTION,
    REGION,
    ROOT,
    Hub,
    Key,
    Stage,
)
from tests.ledger.postgres import Postgres

Json = dict[str, Any]

TIMEOUT = 8  # seconds of an invocation, so that the claim of a worker that was killed runs out soon
LEASE_SECONDS, SETTLE_SECONDS = 6.0, 0.5
CALM_SECONDS, TICK_SECONDS, REST_SECONDS = 3.5, 7.5, 600.0  # so that the third tick comes just after a claim ran out
_UPGRADING = threading.Lock()  # the migrations' tool is not made for threads
_ADMIN = Key("LTAI-example-crash-hub", "example-secret-of-the-crash-hub")
_EVERYTHING = {
    "Version": "1",
    "Statement": [{"Effect": "Allow", "Action": ["expressconnectrouter:*"], "Resource": ["*"]}],
}


class Lane:
    """One deployment on a database of its own, and the grants that it tries one point after another with."""

    def __init__(self, folder: Path, server: Postgres, workers: int, scenes: Sequence[tuple[str, str]]) -> None:
        """``scenes``: one entry for each grant that there will be."""
        self.workers = workers
        self._folder, self._server = folder, server
        self._sent: list[Sent] = []
        self._stage = Stage()
        spoke = self._stage.new_spoke()
        self._spoke = spoke
        account = self._stage.file["accounts"][spoke.uid]
        account["vpcs"] = [
            {"id": f"vpc-crash{number}", "region": REGION, "cidr": "10.1.0.0/16"} for number in range(len(scenes))
        ]
        account["vbrs"] = [
            {"id": f"vbr-crash{number}", "region": REGION, "bgp_asn": 45104} for number in range(len(scenes))
        ]
        self._stage.hub["users"]["admin"] = {
            "access_key": {"id": _ADMIN.id, "secret": _ADMIN.secret},
            "policies": {"everything": _EVERYTHING},
        }
        self._scenes = list(scenes)
        self._approvals = [approval(spoke.uid, f"{kind.lower()}-crash{n}") for n, (_, kind) in enumerate(scenes)]
        self._helpers = ThreadPoolExecutor(2)
        self._http_trap: Trap | None = None
        self._command_calls: list[Seen] = []

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Deploy."""
        database = self._server.new_database()
        self._relay, socket_folder = ledger_relay(self._server.folder, self._whose)
        url = self._server.address(database)
        with _UPGRADING, contextlib.closing(Ledger(url)) as ledger:
            upgrade_schema(ledger)
        self._url = url.replace(str(self._server.folder), str(socket_folder))
        try:
            with house(
                self._stage,
                self._folder,
                timeout=TIMEOUT,
                workers=self.workers,
                ledgers=(self._url, url),
                settings={"SETTLE_SECONDS": str(SETTLE_SECONDS)},
                watching=False,
            ) as made:
                self.made = made
                yield
        finally:
            self._helpers.shutdown(wait=True)
            self._relay.close()
            shutil.rmtree(socket_folder)
            self._server.drop(database)

    def _whose(self, pid: int) -> str:
        """The function that a process works for; a command works for none."""
        for function in self.made.admin.functions():
            if any(instance["pid"] == pid for instance in function["instances"]):
                return str(function["name"])
        return COMMAND

    # -- scenes ------------------------------------------------------------------------------------------------------

    def ready(self, number: int, place: Place | None) -> None:
        """Bring a grant to where its scene begins: up where it is to be taken down or put right, dead where it is redriven."""
        scene, _ = self._scenes[number]
        document = self._approvals[number]
        if scene in ("down", "reconcile"):
            self._send(document)
            self._calm()
            self.made.world()
        if scene == "redrive":
            words = {"kind": "error", "status": 403, "code": "NoPermission", "resource": self.instance(number)}
            self.made.admin.plan(**words, service="ecr", operation="GrantInstanceToExpressConnectRouter")
            self._send(document)
            self._calm(dead=1)
            self.made.admin.clear()
        if scene == "expire":
            ends = time.time() + LEASE_SECONDS
            document |= {"ends_at": now(seconds=-LEASE_SECONDS), "on_end": "teardown"}
            self._send(document)
            self._calm()
            self.made.world()
            time.sleep(max(0.0, ends - time.time() + 0.1))  # the lease has to end, by the functions' own clock
        if scene == "reconcile":
            hub = Hub(HUB, HUB_ECR, _ADMIN)
            Administrators(self.made, hub, self._spoke, document["instance"]["id"]).dissociate()
            time.sleep(SETTLE_SECONDS + 0.1)  # drift is told only once what we did is older than a look may be
        if place is not None and place.operation == "AssumeRole":
            self.restart(place.whose)

    def restart(self, *functions: str) -> None:
        """Let workers start anew: without sessions of theirs."""
        for function in functions:
            self.made.admin.call("POST", f"functions/{function}/kill")

    def begin(self, number: int) -> list[Future[None]]:
        """Set off what the scene is about, with a second message, tick or command where there is a second worker."""
        scene, _ = self._scenes[number]
        document = self._approvals[number]
        if scene == "up":
            for _ in range(self.workers):
                self._send(document)
        elif scene == "down":
            close = revocation(document, [document["request_id"]])
            for _ in range(self.workers):
                self._send(close)
        elif scene in ("expire", "reconcile"):
            return [self._helpers.submit(self._tick) for _ in range(self.workers)]
        elif scene == "redrive":
            return [self._helpers.submit(self._redrive, trapped=each == 0) for each in range(self.workers)]
        return []

    def _send(self, document: Json) -> None:
        if all(one.document is not document for one in self._sent):
            self._sent.append(Sent(document, self.made.position()))
        self.made.send(document)

    def _tick(self) -> None:
        with contextlib.suppress(GrantError):  # its worker was killed; the next one comes
            self.made.tick()

    def _redrive(self, *, trapped: bool) -> None:
        """The operator's command. One that was killed is given once more, as people do."""
        starting = threading.Event()
        running: list[subprocess.Popen[bytes]] = []

        def pid() -> int:
            starting.wait(30)
            return running[0].pid

        relay, address = http_relay(self.made.address, pid)
        if trapped:
            relay.book.set(self._http_trap)
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret}
        env = clean_environment(CONFIG_KEYS=CONFIG_KEYS_TEXT, **keys)
        command = [sys.executable, "-m", "cli", "dead", "redrive", "--all", "--ledger-url", self._url]
        command += ["--mns-endpoint", f"http://{address}"]
        try:
            for _ in range(3):
                starting.clear()
                one = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                running[:] = [one]
                starting.set()
                _, told = one.communicate(timeout=60)
                if one.returncode > 0:
                    raise HouseError(f"dead redrive ended with {one.returncode}: {told.decode()}")
                if one.returncode == 0:
                    break
        finally:
            if trapped:
                self._command_calls = relay.book.seen
            relay.close()

    # -- rest --------------------------------------------------------------------------------------------------------

    def _calm(self, dead: int = 0) -> None:
        """Rest without a tick. Raises HouseError when it does not come."""
        if left := self._rest(tick=False, dead=dead):
            raise HouseError(f"undisturbed, and not at rest: {left}")

    def _rest(self, *, tick: bool, dead: int = 0) -> list[str]:
        """Wait until nothing is left to do, dead rows aside that somebody is to redrive; what still is after long, as lines."""
        begun = ticked = time.monotonic()
        while True:
            waiting = self._waiting(dead)
            moment = time.monotonic()
            if not waiting:
                return []
            if moment > begun + REST_SECONDS:
                return waiting
            if tick and moment > max(begun + CALM_SECONDS, ticked + TICK_SECONDS):
                self._tick()
                ticked = time.monotonic()
            time.sleep(0.3 if moment < begun + CALM_SECONDS else 1.0)  # between two looks: twenty lanes ask one server

    def _waiting(self, dead: int) -> list[str]:
        made = self.made
        rows = made.ledger.read(dead_rows)
        if len(rows) != dead:
            return [f"{row.key.instance_id}/{row.side} is dead: {row.reason.text}" for row in rows] or [
                "nothing is dead"
            ]
        asleep = {row.key.grant_id for row in rows}
        if unsettled := made.unsettled(lambda grant_id, _: grant_id in asleep):
            return unsettled
        made.receive()
        missing = made.recorded() - len({one.body["id"] for one in made.told})
        on_the_way = made.on_the_way()
        return [f"{missing} completions missing, {on_the_way} messages on the way"] if missing or on_the_way else []

    # -- undisturbed, and disturbed ----------------------------------------------------------------------------------

    def record(self, number: int) -> list[Place]:
        """One scene undisturbed, by workers that start anew: its places, in their order."""
        scene, kind = self._scenes[number]
        self._http_trap, self._command_calls = None, []
        self.restart(GRANT_FUNCTION, ASSOCIATE_FUNCTION, RECONCILE_FUNCTION)
        self.ready(number, None)
        position, passed = self.made.position(), len(self._relay.book.seen)
        for helping in self.begin(number):
            helping.result()
        self._calm()
        steps = [(one.at, one.whose, "ledger", "commit") for one in self._relay.book.seen[passed:]]
        steps += [(one.at, COMMAND, "mns", "request") for one in self._command_calls]
        for entry in self.made.admin.journal(position):
            function = entry["caller"].get("function")
            if function:
                at = datetime.fromisoformat(entry["time"]).timestamp()
                steps.append((at, function, entry["service"], entry["operation"]))
        return list(places(scene, kind, sorted(steps)))

    def try_at(self, number: int, point: Point) -> Result:
        """One scene with the worker killed at a point."""
        result, place = Result(point), point.place
        self.ready(number, place)
        self._http_trap = None
        trap = Trap(place.whose, place.number, point.how)
        planned: Json | None = None
        if place.service == "ledger":
            self._relay.book.set(trap)
        elif place.whose == COMMAND:
            self._http_trap = trap
        else:
            planned = self.made.admin.plan(
                kind=f"kill_{point.how}",
                service=place.service,
                operation=place.operation,
                function=place.whose,
                after=place.number - 1,
            )
        helping = self.begin(number)
        for one in helping:
            one.result()
        if place.scene in ("expire", "reconcile"):
            self._tick()  # the timer comes again: what a tick that was killed did not see, nobody else can know
        result.faults += [f"not at rest: {line}" for line in self._rest(tick=True)]
        self._relay.book.set(None)
        result.struck = trap.sprung
        if planned is not None:
            struck = {fault["number"]: fault["struck"] for fault in self.made.admin.faults()}
            result.struck = struck[planned["number"]] > 0
            self.made.admin.clear()
        return result

    def judge(self) -> list[str]:
        """Every rule that was broken in this lane."""
        targets = [
            Target(str(one["instance"]["id"]), kind, HUB_ECR)
            for one, (_, kind) in zip(self._approvals, self._scenes, strict=True)
            if any(sent.document is one for sent in self._sent)
        ]
        return verdict(
            Evidence(
                sent=self._sent,
                targets=targets,
                told=[(one.seen_at, one.body) for one in self.made.told],
                writes=self.made.writes(),
                world=self.made.world(),
                links=self.made.links,
                rules=Rules(60_000, 0.0),
                now_ms=int(time.time() * 1000),
            )
        )

    def instance(self, number: int) -> str:
        """The instance of the n-th grant."""
        return str(self._approvals[number]["instance"]["id"])
