"""Storm: thousands of approvals at once over fifty accounts, with planned trouble of every kind the local cloud can make.

    python -m tests.chaos.storm --approvals 5000 --accounts 50 --seed 1

The functions are deployed as ``s.yaml`` says. When the trouble is over, dead work is redriven by the operator's command.
Then everything has to add up: each approval has exactly one end, nothing is left anywhere, and the cloud is as approved.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import Message
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from localcloud.client import AdminClient
from shared.cloud.functions import Functions
from shared.cloud.keys import Keys
from shared.errors import GrantError
from shared.log import configure
from tests.chaos.house import template
from tests.configured import sealed
from tests.functional.approvals import approval, revocation
from tests.functional.deployment import OPERATOR, Deployment, deployment
from tests.functional.launch import run
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    HUB_ECR,
    RECONCILE_FUNCTION,
    REGION,
    TESTER,
    Stage,
)

Json = dict[str, Any]
FINAL = ("done", "rejected")
FUNCTIONS = (GRANT_FUNCTION, ASSOCIATE_FUNCTION)
WRITES = ("Grant*", "Revoke*", "Create*", "Delete*", "Attach*", "Detach*", "Modify*")
TICK_SECONDS = 6.0


@dataclass
class Sent:
    """One approval, whether it can be done at all, and the lease it opens or closes."""

    document: Json
    bad: bool = False

    @property
    def name(self) -> str:
        """The request id, of which there is only one."""
        return str(self.document["request_id"])


@dataclass
class Weather:
    """What is sent, and to what world."""

    stage: Stage
    sent: list[Sent]
    wanted: set[str]
    """Instances that have a live lease in the end."""
    closed: set[str]
    """The request ids that others close."""


def weather(approvals: int, accounts: int, seed: int) -> Weather:
    """A world with so many accounts, and approvals over them: most open a lease, some another, some close one, some are bad."""
    chance = random.Random(seed)  # noqa: S311  # repeatable, not a secret
    stage = Stage()
    places: list[tuple[str, str]] = []
    for number in range(accounts):
        spoke = stage.new_spoke()
        account = stage.file["accounts"][spoke.uid]
        share = -(-approvals // accounts)
        account["vpcs"], account["vbrs"] = [], []
        for each in range(share):
            if chance.random() < 0.1:
                account["vbrs"].append({"id": f"vbr-storm{number}x{each}", "region": REGION, "bgp_asn": 45104})
            else:
                account["vpcs"].append({"id": f"vpc-storm{number}x{each}", "region": REGION, "cidr": "10.1.0.0/16"})
        places += [(spoke.uid, one["id"]) for kind in ("vpcs", "vbrs") for one in account[kind]]
    chance.shuffle(places)
    sent: list[Sent] = []
    open_leases: list[Sent] = []
    closed: set[str] = set()
    while len(sent) < approvals:
        what = chance.random()
        if what < 0.06:
            sent.append(Sent(_bad(chance, *chance.choice(places)), bad=True))
        elif what < 0.14 and open_leases:
            first = chance.choice(open_leases).document
            more = approval(first["instance"]["owner_uid"], first["instance"]["id"])
            sent.append(Sent(more))
            open_leases.append(sent[-1])
        elif what < 0.22 and open_leases:
            lease = open_leases.pop(chance.randrange(len(open_leases)))
            closed.add(lease.name)
            sent.append(Sent(revocation(lease.document, [lease.name])))
        else:
            sent.append(Sent(approval(*places[len(sent) % len(places)])))
            open_leases.append(sent[-1])
    wanted = {str(one.document["instance"]["id"]) for one in open_leases}
    chance.shuffle(sent)  # a close may come before its open
    return Weather(stage, sent, wanted, closed)


def _bad(chance: random.Random, uid: str, instance: str) -> Json:
    """An approval that has to be rejected, each for a reason of its own."""
    good = approval(uid, instance)
    return chance.choice(
        [
            {**good, "instance": {**good["instance"], "id": f"{instance[:3]}-doesnotexist"}},
            {**good, "instance": {**good["instance"], "owner_uid": "9999999999999999"}},
            {**good, "ecr": {"id": "ecr-nobodylistedit", "owner_uid": HUB}},
            {**good, "instance": {**good["instance"], "region": "cn-shanghai"}},
        ]
    )


def troubles(share: float, seed: int, kills: int) -> list[Json]:
    """Trouble of every kind for about this share of the functions' calls. Kills are few: each costs a cold start."""
    every = share / 7  # so many kinds strike every service; the router's calls meet more
    lock = {"status": 400, "code": "Conflict.Lock", "message": "There are other unfinished operations."}
    denied = {"status": 403, "code": "NoPermission", "message": "You are not authorized to do this action."}
    plans: list[Json] = [
        {"kind": "throttle", "probability": every},
        {"kind": "throttle", "retry_after": 1500, "service": "ecr", "probability": every},
        {"kind": "error", "service": "ecr", **lock, "probability": every},
        {"kind": "error", "service": "ecr", **denied, "probability": every / 4},
        {"kind": "server_error", "status": 503, "probability": every},
        {"kind": "server_error", "status": 500, "body": "html", "probability": every},
        {"kind": "server_error", "status": 502, "body": "empty", "probability": every},
        {"kind": "slow", "seconds": 0.3, "probability": every},
        {"kind": "cut_before", "probability": every},
        {"kind": "cut_after", "probability": every},
        {"kind": "late", "service": "ecr", "seconds": 1.5, "probability": every},
        {"kind": "lag", "service": "vpc", "seconds": 1.5, "probability": every},
        {"kind": "lag", "service": "ecr", "seconds": 1.5, "probability": every},
        {"kind": "expire_token", "service": "vpc", "probability": every / 20},
        {"kind": "expire_token", "service": "ecr", "probability": every / 20},
    ]
    plans = [{**plan, "function": function} for plan in plans for function in FUNCTIONS]
    # Deliveries are the platform's own, so no function is named.
    plans += [
        {"kind": kind, "service": service, "probability": share}
        for kind in ("duplicate", "reorder")
        for service in ("mns", "fc")
    ]
    plans += [
        {"kind": f"kill_{when}", "function": function, "service": "ecr", "after": 40 * (each + 1), "times": 1}
        for each in range(kills)
        for when in ("before", "after", "reply")
        for function in FUNCTIONS
    ]
    return [{"times": None, "seed": seed * 1000 + number, **plan} for number, plan in enumerate(plans)]


@dataclass
class Storm:
    """One storm, and everything that was heard of it."""

    weather: Weather
    cloud: Deployment
    say: Callable[[int], None]
    ends: dict[str, dict[str, str]] = field(default_factory=dict)
    """By request id: kind of final completion by completion id."""
    refused: dict[str, str] = field(default_factory=dict)
    """The reason's code of what was rejected, by request id."""
    dead: set[str] = field(default_factory=set)
    heard: Counter[str] = field(default_factory=Counter)
    again: int = 0
    """Completions that were delivered more than once."""
    seen: set[str] = field(default_factory=set)
    redriven: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    """Everything that was asked of the cloud while there was trouble."""
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Open the queues with an account of our own."""
        self.admin = AdminClient(self.cloud.address)
        self.functions = Functions(self.cloud.url, REGION, Keys(OPERATOR.id, OPERATOR.secret, ""))
        self.account = Account(self.cloud.url, TESTER.id, TESTER.secret)
        self.answers = self.account.get_queue("ecr-answers")
        self.answers.set_encoding(False)

    def play(self, share: float, seed: int, kills: int, limit: float, rest: float) -> None:
        """Send everything into the trouble, let it pass, redrive what is dead, and wait until all is at rest.

        ``limit``: seconds until the trouble ends at the latest; ``rest``: seconds after that until all has to be at rest.
        """
        started = time.monotonic()
        # The published quotas are another proof's business (bench/quota.py).
        self.admin.quota(**dict.fromkeys(self.admin.call("GET", "quotas")["quotas"]))
        for plan in troubles(share, seed, kills):
            self.admin.plan(**plan)
        self._send()
        self.seconds["sent"] = time.monotonic() - started
        self._until(lambda: len({*self.ends, *self.dead}) >= len(self.weather.sent), started + limit)
        for fault in self.admin.faults():
            self.struck[fault["kind"]] += fault["struck"]
        self.admin.clear()
        self.calls = int(self.admin.call("GET", "journal", query={"after": 10**14})["last"])
        self.seconds["first end of all"] = time.monotonic() - started
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret}
        where = {"LEDGER_URL": self.cloud.ledger_url, "MNS_ENDPOINT": self.cloud.url}
        done = run("cli", "dead", "redrive", "--all", "--json", **keys, **where)
        if done.returncode:
            raise RuntimeError(done.stderr)
        self.redriven = len(json.loads(done.stdout)["redriven"])
        self._until(lambda: len(self.ends) >= len(self.weather.sent) and self._at_rest(), time.monotonic() + rest)
        self.seconds["at rest"] = time.monotonic() - started

    def close(self) -> None:
        """Close the queues; the SDK does not do it itself."""
        self.account.get_client().close_connection()

    def _send(self) -> None:
        """Sixteen at a time, as fast as the queue takes them."""
        queue = self.account.get_queue("ecr-approvals")
        texts = [sealed(one.document) for one in self.weather.sent]
        for start in range(0, len(texts), 16):
            queue.batch_send_message([Message(text) for text in texts[start : start + 16]])

    def _until(self, reached: Callable[[], bool], deadline: float) -> None:
        """Listen and let the timer tick, until something is reached or the time is over."""
        ticked = time.monotonic()
        while not reached() and time.monotonic() < deadline:
            self._listen()
            if time.monotonic() - ticked > TICK_SECONDS:
                self._tick()
                ticked = time.monotonic()

    def _tick(self) -> None:
        """The timer of s.yaml ticks every five minutes; here the same function is invoked more often."""
        try:
            self.functions.run(RECONCILE_FUNCTION, b"{}")
        except GrantError as error:
            self.heard[f"tick failed: {error.code}"] += 1

    def _listen(self) -> None:
        """Take what the topic delivered, for a second at most."""
        until = time.monotonic() + 1
        while time.monotonic() < until:
            try:
                messages = self.answers.batch_receive_message(16, 1)
            except MNSServerException as error:
                if error.type == "MessageNotExist":
                    return
                raise
            for message in messages:
                self._hear(json.loads(message.message_body))
            self.answers.batch_delete_message([message.receipt_handle for message in messages])
        self.say(len({*self.ends, *self.dead}))

    def _hear(self, completion: Json) -> None:
        if completion["id"] in self.seen:
            self.again += 1
            return
        self.seen.add(completion["id"])
        self.heard[completion["event"]] += 1
        name = completion.get("request", {}).get("request_id")
        if completion["event"] in FINAL and name is not None:
            self.ends.setdefault(name, {})[completion["id"]] = completion["event"]
            if completion["event"] == "rejected":
                self.refused[name] = completion["reason"]["code"]
        elif completion["event"] == "rejected":
            self.heard["rejected without a name"] += 1
        elif completion["event"] == "dead":
            self.dead.add(name)

    def _at_rest(self) -> bool:
        """Nothing on the way and nothing to do; what is delayed comes to nothing."""
        return next(self._left(), None) is None

    # -- judging -----------------------------------------------------------------------------------------------------

    def faults(self) -> list[str]:
        """Everything that does not add up; empty when all is well."""
        found: list[str] = []
        names = {one.name for one in self.weather.sent}
        found += [f"{name}: has no end" for name in sorted(names - set(self.ends))]
        found += [f"{name}: was never sent" for name in sorted(set(self.ends) - names)]
        found += [f"{name}: has {sorted(ends.values())}" for name, ends in self.ends.items() if len(ends) != 1]
        kinds = Counter(kind for ends in self.ends.values() for kind in ends.values())
        if kinds["done"] + kinds["rejected"] != len(self.weather.sent):
            found.append(f"{len(self.weather.sent)} sent, {kinds['done']} done, {kinds['rejected']} rejected")
        for one in self.weather.sent:
            ended = set(self.ends.get(one.name, {}).values())
            code = self.refused.get(one.name)
            # Whoever closes a lease that is not up yet has it rejected; nothing else good may be.
            if one.bad != (code is not None) and not (one.name in self.weather.closed and code == "Closed"):
                found.append(f"{one.name}: is {'bad' if one.bad else 'good'} and was {ended}, {code}")
        found += self._left()
        found += self._world()
        done = run("cli", "ledger", "verify", "--ledger-url", self.cloud.ledger_url)
        if done.returncode:
            found.append(done.stdout + done.stderr)
        return found

    def _left(self) -> Iterator[str]:
        """What is left in queues, outbox and ledger."""
        for queue in self.admin.world()["mns"]["queues"]:
            if queue["account"] == HUB and queue["messages"] and queue["name"] != "ecr-answers":
                yield f"queue {queue['name']} holds {len(queue['messages'])} messages"
        for what, statement in (
            ("entries are not published", "SELECT seq FROM outbox"),
            ("approvals have no outcome", "SELECT request_id FROM approvals WHERE outcome IS NULL OR outcome = 'dead'"),
            ("sides are dead", "SELECT grant_id, side, trouble FROM sides WHERE dead_at IS NOT NULL"),
            ("intents are open", "SELECT grant_id, side, operation FROM intents WHERE result IS NULL"),
            (
                "sides are not settled",
                "SELECT grant_id, side, trouble FROM sides JOIN grants USING (grant_id) WHERE observed_generation <> generation",
            ),
        ):
            if rows := self.cloud.rows(statement):
                yield f"{len(rows)} {what}, such as {rows[0]}"

    def _world(self) -> Iterator[str]:
        """The cloud is what was approved: no more, no less, each once."""
        world = self.admin.world()
        granted = Counter(one["instance_id"] for one in world["grants"] if one["ecr_id"] == HUB_ECR)
        linked = Counter(
            one["instance_id"]
            for kind in ("associations", "child_instances")
            for one in world[kind]
            if one["status"] == "ACTIVE"
        )
        for what, there in (("granted", granted), ("associated", linked)):
            more, less = set(there) - self.weather.wanted, self.weather.wanted - set(there)
            if more:
                yield f"{len(more)} {what} that nobody wants, such as {min(more)}"
            if less:
                yield f"{len(less)} wanted and not {what}, such as {min(less)}"
            yield from (f"{instance} is {what} {count} times" for instance, count in there.items() if count != 1)


@contextmanager
def storm(
    approvals: int,
    accounts: int,
    seed: int,
    folder: Path,
    say: Callable[[int], None],
    *,
    timeout: int | None = None,
    ledger: str | None = None,
) -> Iterator[Storm]:
    """A world, the functions in it, and the storm over them, not begun yet. ``ledger`` as for ``deployment``."""
    made = weather(approvals, accounts, seed)
    settings = {"QUOTA_SECONDS": "1", "SETTLE_SECONDS": "3"}
    ready = template(folder, timeout=timeout, settings=settings)
    with deployment(made.stage, folder, template=ready, settings=settings, ledger=ledger) as cloud:
        found = Storm(made, cloud, say)
        try:
            yield found
        finally:
            found.close()


def report(found: Storm, console: Console) -> None:
    """What came of it, in counts."""
    table = Table("what", "count")
    kinds = Counter(kind for ends in found.ends.values() for kind in ends.values())
    table.add_row("sent", str(len(found.weather.sent)))
    table.add_row("done", str(kinds["done"]))
    table.add_row("rejected", str(kinds["rejected"]))
    table.add_row("dead meanwhile, redriven", f"{len(found.dead)}, {found.redriven}")
    table.add_row("completions, delivered again", f"{sum(found.heard.values())}, {found.again}")
    for kind, count in sorted(found.struck.items()):
        table.add_row(f"trouble: {kind}", str(count))
    table.add_row("trouble in all, of so many calls", f"{sum(found.struck.values())}, {found.calls}")
    for what, seconds in found.seconds.items():
        table.add_row(f"{what} after", f"{seconds:.0f} s")
    console.print(table)


def main() -> int:
    """Run one storm; exit code 1 when anything does not add up."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.storm", description=__doc__.split("\n")[0])
    parser.add_argument("--approvals", type=int, default=5000)
    parser.add_argument("--accounts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trouble", type=float, default=0.1, help="share of the functions' calls (default 0.1)")
    parser.add_argument("--kills", type=int, default=3, help="how often a worker dies in each of six ways (default 3)")
    parser.add_argument("--limit", type=float, default=1500, help="seconds until the trouble ends at the latest")
    parser.add_argument("--rest", type=float, default=420, help="seconds after that until all has to be at rest")
    asked = parser.parse_args()
    configure("stderr", logging.WARNING)
    console = Console()
    columns = (TextColumn("ended"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="storm-") as folder, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=asked.approvals)
        told = 0

        def say(ended: int) -> None:
            nonlocal told
            progress.update(task, completed=ended)
            if not console.is_terminal and ended >= told + 500:
                told = ended
                console.print(f"{ended} ended so far")

        # A claim lasts as long as an invocation may: shorter invocations let the work of a killed worker go on sooner.
        with storm(
            asked.approvals,
            asked.accounts,
            asked.seed,
            Path(folder),
            say,
            timeout=90,
        ) as found:
            found.play(asked.trouble, asked.seed, asked.kills, asked.limit, asked.rest)
            wrong = found.faults()
    report(found, console)
    for line in wrong[:50]:
        console.print(f"[red]{line}")
    console.print("everything adds up" if not wrong else f"{len(wrong)} faults; seed {asked.seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
