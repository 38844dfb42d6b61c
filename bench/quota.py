"""How close to the published quotas do we work, and is anybody throttled?

    python -m bench.quota --window 20 --windows fixed

1,000 approvals over 50 accounts B, half of them for one account; one ECR, so account A's 120 associations a window are the
ceiling of the whole system. Somebody else spends a tenth of the quota of another account B (``--foreign hub``: of account A).
The functions run as ``s.yaml`` deploys them, with ``QUOTA_SECONDS`` shortened like the local cloud's windows. Beside them, on
the same settings, a plain worker: threads that grant and associate, and try again with growing delays when throttled.

Printed: the ceiling, the rates, and the throttled calls, as the local cloud's journal has them. Exit code 1 when we drain at
less than 90 % of the tightest quota left to us, or are throttled anywhere but where the foreign traffic is.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from darabonba.runtime import RuntimeOptions
from mns.account import Account
from mns.queue import Message
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from localcloud.client import AdminClient
from tests.chaos.house import template
from tests.configured import sealed
from tests.functional.approvals import approval
from tests.functional.deployment import deployment
from tests.functional.mailbox import config
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    HUB_ECR,
    HUB_ROLE,
    REGION,
    SPOKE_ROLE,
    TESTER,
    Key,
    Spoke,
    Stage,
)

PROMISED = 0.9
LIMIT = 120
ACCOUNTS = 50
TENTH = LIMIT // 10
PLAIN_THREADS = 8
ASSOCIATE = "CreateExpressConnectRouterAssociation"
GRANT = "GrantInstanceToExpressConnectRouter"
PLAIN = Key("LTAI-example-plain", "example-secret-of-the-plain-worker")
NEIGHBOUR = Key("LTAI-example-neighbour", "example-secret-of-the-neighbour")
FOREIGN_VPC = "vpc-neighbour"

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """What is measured."""

    approvals: int
    window: float
    windows: str
    foreign: str
    patience: float


@dataclass
class Ground:
    """A world, and what is to be granted in it."""

    stage: Stage
    documents: list[Json]
    hot: Spoke
    disturbed: str
    """The account whose quota somebody else spends too."""


@dataclass
class Result:
    """What the journal says about one run."""

    who: str
    window: float
    made: list[float] = field(default_factory=list)
    """When each association was made."""
    calls: int = 0
    throttled: Counter[str] = field(default_factory=Counter)
    """By account and operation: calls of ours that were refused for a quota."""

    @property
    def seconds(self) -> float:
        """From the first association to the last."""
        return max(self.made) - min(self.made) if self.made else 0.0

    @property
    def windows(self) -> list[int]:
        """How many were made in each window after the first of them; the last one, in which the work ran out, is left out."""
        counted = Counter(int((moment - min(self.made)) // self.window) for moment in self.made)
        return [counted[number] for number in range(max(counted, default=0))]

    @property
    def rate(self) -> float:
        """Associations in a second, while there was work."""
        return sum(self.windows) / (len(self.windows) * self.window) if self.windows else 0.0


def ground(asked: Asked) -> Ground:
    """Fifty accounts B; half of the approvals for the first, the others spread over the rest."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(ACCOUNTS)]
    half = asked.approvals // 2
    share = -(-half // (ACCOUNTS - 1))
    documents: list[Json] = []
    for number, spoke in enumerate(spokes):
        count = half if number == 0 else share
        names = [f"vpc-quota{number}x{each}" for each in range(count)]
        account = stage.file["accounts"][spoke.uid]
        account["vpcs"] = [{"id": name, "region": REGION, "cidr": "10.1.0.0/16"} for name in names]
        documents += [approval(spoke.uid, name) for name in names]
    documents = documents[: asked.approvals]
    random.Random(1).shuffle(documents)  # noqa: S311  # repeatable, not a secret
    disturbed = HUB if asked.foreign == "hub" else spokes[1].uid
    account = stage.file["accounts"][disturbed]
    account["vpcs"] = [*account.get("vpcs", []), {"id": FOREIGN_VPC, "region": REGION, "cidr": "10.2.0.0/16"}]
    everything = {"p": {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}}
    account["users"]["neighbour"] = {
        "access_key": {"id": NEIGHBOUR.id, "secret": NEIGHBOUR.secret},
        "policies": everything,
    }
    stage.hub["users"]["plain"] = {"access_key": {"id": PLAIN.id, "secret": PLAIN.secret}, "policies": everything}
    for uid, role in ((HUB, HUB_ROLE), *((spoke.uid, SPOKE_ROLE) for spoke in spokes)):
        statement = stage.role(uid, role)["trust"]["Statement"][0]
        statement["Principal"]["RAM"] = [*statement["Principal"]["RAM"], f"acs:ram::{HUB}:user/plain"]
    return Ground(stage, documents, spokes[0], disturbed)


def tighten(admin: AdminClient, asked: Asked) -> None:
    """The published limits, in shorter windows of the kind that is asked for."""
    changes = {}
    for name, quota in admin.call("GET", "quotas")["quotas"].items():
        if name.startswith(("ecr:", "vpc:", "sts:")):
            seconds = quota["seconds"] * asked.window / 60
            changes[name] = {"limit": quota["limit"], "seconds": seconds, "window": asked.windows}
    admin.quota(**changes)


@contextmanager
def neighbour(address: str, asked: Asked) -> Iterator[None]:
    """Somebody else in the disturbed account, who spends a tenth of the quota, evenly, whatever the answers are."""
    over = threading.Event()
    client = EcrClient(config(address, NEIGHBOUR))

    def call() -> None:
        if asked.foreign == "hub":
            request = ecr.CreateExpressConnectRouterAssociationRequest(
                ecr_id=HUB_ECR, association_region_id=REGION, vpc_id=FOREIGN_VPC, vpc_owner_id=int(HUB), dry_run=True
            )
            client.create_express_connect_router_association_with_options(request, RuntimeOptions(autoretry=False))
        else:
            grant = ecr.GrantInstanceToExpressConnectRouterRequest(
                ecr_id=HUB_ECR,
                ecr_owner_ali_uid=int(HUB),
                instance_id=FOREIGN_VPC,
                instance_type="VPC",
                instance_region_id=REGION,
                dry_run=True,
            )
            client.grant_instance_to_express_connect_router_with_options(grant, RuntimeOptions(autoretry=False))

    def spend() -> None:
        while not over.wait(asked.window / TENTH):
            try:
                call()
            except AlibabaCloudException:
                continue

    thread = threading.Thread(target=spend, name="neighbour")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def follow(admin: AdminClient, wanted: int, patience: float, say: Callable[[int], None]) -> None:
    """Return when so many associations were made, or when the patience is over."""
    deadline, after, made = time.monotonic() + patience, 0, 0
    while made < wanted and time.monotonic() < deadline:
        answer = admin.call("GET", "journal", query={"after": after, "wait": 5, "operation": ASSOCIATE})
        after = answer["last"]
        made += sum(bool(entry["effect"]) for entry in answer["entries"])
        say(made)
        time.sleep(0.5)


def result(who: str, window: float, admin: AdminClient, ours: Callable[[Json], bool]) -> Result:
    """Read the journal."""
    found = Result(who, window)
    for service in ("sts", "vpc", "ecr"):
        for entry in admin.journal(service=service):
            if not ours(entry["caller"]):
                continue
            found.calls += 1
            if entry["operation"] == ASSOCIATE and entry["effect"]:
                found.made.append(datetime.fromisoformat(entry["time"]).timestamp())
            if entry["code"].startswith("Throttling"):
                found.throttled[f"{entry['caller']['account']} {entry['operation']}"] += 1
    return found


def product(asked: Asked, folder: Path, say: Callable[[int], None]) -> tuple[Result, str]:
    """Our functions."""
    made = ground(asked)
    settings = {"QUOTA_SECONDS": str(asked.window)}
    with deployment(made.stage, folder, template=template(folder, settings=settings), settings=settings) as cloud:
        tighten(cloud.admin, asked)
        account = Account(cloud.url, TESTER.id, TESTER.secret)
        queue = account.get_queue("ecr-approvals")
        with neighbour(cloud.address, asked):
            for start in range(0, len(made.documents), 16):
                queue.batch_send_message([Message(sealed(one)) for one in made.documents[start : start + 16]])
            account.get_client().close_connection()
            follow(cloud.admin, len(made.documents), asked.patience, say)
        names = (GRANT_FUNCTION, ASSOCIATE_FUNCTION)
        return result(
            "ECR Grants", asked.window, cloud.admin, lambda caller: caller.get("function") in names
        ), made.disturbed


class PlainWorker:
    """What most people would write: it enters an account once, grants, associates, and insists when it is throttled."""

    def __init__(self, address: str, window: float) -> None:
        self._address, self._window = address, window
        self._sessions: dict[str, Key] = {}
        self._lock = threading.Lock()

    def work(self, document: Json) -> None:
        """Grant and associate one instance."""
        instance = document["instance"]
        uid, options = instance["owner_uid"], RuntimeOptions(autoretry=False)
        grant = ecr.GrantInstanceToExpressConnectRouterRequest(
            ecr_id=HUB_ECR,
            ecr_owner_ali_uid=int(HUB),
            instance_id=instance["id"],
            instance_type="VPC",
            instance_region_id=REGION,
        )
        owner = self._enter(uid, SPOKE_ROLE)
        self._insist(lambda: owner.grant_instance_to_express_connect_router_with_options(grant, options))
        associate = ecr.CreateExpressConnectRouterAssociationRequest(
            ecr_id=HUB_ECR,
            association_region_id=REGION,
            vpc_id=instance["id"],
            vpc_owner_id=int(uid),
            allowed_prefixes=document["allowed_prefixes"],
        )
        hub = self._enter(HUB, HUB_ROLE)
        self._insist(lambda: hub.create_express_connect_router_association_with_options(associate, options))

    def _enter(self, uid: str, role: str) -> EcrClient:
        with self._lock:
            if uid not in self._sessions:
                request = AssumeRoleRequest(
                    role_arn=f"acs:ram::{uid}:role/{role}",
                    role_session_name="plain",
                    external_id=f"ecr-grants:demo:{uid}",
                )
                given = StsClient(config(self._address, PLAIN)).assume_role(request).body.credentials
                self._sessions[uid] = Key(given.access_key_id, given.access_key_secret, given.security_token)
            return EcrClient(config(self._address, self._sessions[uid]))

    def _insist(self, call: Callable[[], Any]) -> None:
        for attempt in itertools.count():
            try:
                call()
                return
            except AlibabaCloudException as error:
                if not str(error.code).startswith(("Throttling", "Conflict.Lock")):
                    raise
                spread = random.uniform(0.5, 1.5)  # noqa: S311  # so that threads do not come back together
                time.sleep(min(2**attempt, 32) * self._window / 60 * spread)


def plain(asked: Asked, folder: Path, say: Callable[[int], None]) -> tuple[Result, str]:
    """The usual way: threads, and growing delays when throttled."""
    made = ground(asked)
    with deployment(made.stage, folder, template=None) as cloud:
        tighten(cloud.admin, asked)
        worker = PlainWorker(cloud.address, asked.window)
        with neighbour(cloud.address, asked), ThreadPoolExecutor(PLAIN_THREADS) as pool:
            running = [pool.submit(worker.work, document) for document in made.documents]
            follow(cloud.admin, len(made.documents), asked.patience, say)
            pool.shutdown(cancel_futures=True)
            for one in running:
                if one.done() and not one.cancelled():
                    one.result()
        found = result("plain worker", asked.window, cloud.admin, lambda caller: caller.get("session") == "plain")
        return found, made.disturbed


def ceiling(asked: Asked) -> float:
    """Associations in a second that account A's quota leaves to us."""
    left = LIMIT - TENTH if asked.foreign == "hub" else LIMIT
    return left / asked.window


def verdict(found: Result, disturbed: str, asked: Asked) -> list[str]:
    """What is not as promised."""
    wrong = []
    if len(found.made) < asked.approvals:
        wrong.append(f"only {len(found.made)} of {asked.approvals} were done in time")
    if found.rate < PROMISED * ceiling(asked):
        wrong.append(f"{found.rate / ceiling(asked):.0%} of the ceiling, promised {PROMISED:.0%}")
    elsewhere = {where: count for where, count in found.throttled.items() if not where.startswith(disturbed)}
    if elsewhere:
        wrong.append(f"throttled where nobody else spends: {elsewhere}")
    return wrong


def _advance(progress: Progress, task: TaskID, made: int) -> None:
    progress.update(task, completed=made)


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.quota", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--approvals", type=int, default=1000)
    parser.add_argument(
        "--window", type=float, default=20, help="seconds of the quotas' windows; published: 60 (default 20)"
    )
    parser.add_argument(
        "--windows", choices=["fixed", "sliding", "both"], default="both", help="how they lie (default both)"
    )
    parser.add_argument(
        "--foreign", choices=["spoke", "hub"], default="spoke", help="whose quota somebody else spends too"
    )
    parser.add_argument("--only", choices=["product", "plain"], help="leave the other out")
    parser.add_argument("--patience", type=float, default=1200, help="seconds for each run at most")
    return parser.parse_args()


def _told(found: Result, asked: Asked, table: Table, console: Console) -> None:
    """A line of the table, and what was throttled where."""
    table.add_row(
        found.who,
        str(len(found.made)),
        f"{found.seconds:.1f}",
        f"{found.rate:.2f}",
        f"{found.rate / ceiling(asked):.1%}",
        str(found.calls),
        str(found.throttled.total()),
    )
    for where, count in found.throttled.most_common():
        console.print(f"{found.who}: throttled {count} times in {where}")
    console.print(f"{found.who}: {', '.join(map(str, found.windows))} in the windows one after the other")


def main() -> int:
    """Measure and print."""
    given = _given()
    console = Console()
    failed = False
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    for kind in ["fixed", "sliding"] if given.windows == "both" else [given.windows]:
        asked = Asked(given.approvals, given.window, kind, given.foreign, given.patience)
        table = Table(
            "worker",
            "done",
            "seconds",
            "a second",
            "ceiling",
            "calls",
            "throttled",
            title=f"{kind} windows of {asked.window:g} s, ceiling {ceiling(asked):.2f} associations a second",
        )
        for run, name in ((product, "product"), (plain, "plain")):
            if given.only not in (None, name):
                continue
            with (
                tempfile.TemporaryDirectory(prefix="quota-") as folder,
                Progress(*columns, console=console) as progress,
            ):
                task = progress.add_task(f"{name}, {kind}", total=asked.approvals)
                say = partial(_advance, progress, task)
                found, disturbed = run(asked, Path(folder), say)
            _told(found, asked, table, console)
            if run is product:
                wrong = verdict(found, disturbed, asked)
                failed = failed or bool(wrong)
                for line in wrong:
                    console.print(f"[red]{kind}: {line}")
        console.print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
