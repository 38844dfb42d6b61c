"""How fast are grants made in a cloud that is far away, how many calls do they take, and how much processor time?

    python -m bench.throughput
    python -m bench.throughput --delay 50 --distance 1        a nearer cloud

Both functions' real frames run in this process, before a local cloud in another and a real PostgreSQL. Beside them, in the same
run, what somebody writes in an afternoon: a loop that assumes the role and grants, ten such loops at a time that publish as much
as we do, and for the processor time the bare calls of the official SDKs, with clients and sessions kept.

Every answer of the cloud, queues and topics included, takes as long as is asked; so does the way to the ledger.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sql
import structlog
from alibabacloud_expressconnectrouter20230901 import models as ecr
from alibabacloud_sts20150401.models import AssumeRoleRequest
from alibabacloud_vpc20160428 import models as vpc
from rich.console import Console
from rich.table import Table

from bench.distance import Distance, distance
from shared.cloud.hub import Hub
from shared.cloud.keys import Keys
from shared.cloud.messaging import Messaging
from shared.cloud.spoke import Spoke as SpokeSide
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from shared.loop.drivers import HubDriver, SpokeDriver
from shared.loop.frame import Frame
from tests.configured import sealed
from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, configure, deployment
from tests.functional.inprocess import Context, Limits, events
from tests.functional.launch import environment, without_proxies
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    HUB_ECR,
    HUB_ROLE,
    REGION,
    SPOKE_ROLE,
    Key,
    Stage,
)
from tests.ledger.postgres import Postgres, running

BATCH = 50  # as many approvals as s.yaml lets one event bring
RUNNER = Key("LTAI-example-runner", "example-secret-of-the-runner")
PEER = Key("LTAI-example-peer", "example-secret-of-the-peer")
Json = dict[str, Any]

say = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class WithKeys(Context):
    """An invocation's context that brings its credentials."""

    function: Limits = field(default_factory=lambda: Limits(600))
    credentials: Any = None


@dataclass
class Ground:
    """A local cloud with nothing deployed, both frames, and what may be asked for."""

    cloud: Deployment
    far: Distance
    keys: dict[str, Key]
    left: dict[str, list[Json]]
    """Approvals that were not sent yet, by account B."""
    frames: dict[str, Frame] = field(default_factory=dict)
    heard: list[tuple[str, str]] = field(default_factory=list)
    _numbers: int = 0

    def take(self, count: int, accounts: int) -> list[Json]:
        """So many approvals, taken in turn from so many accounts."""
        chosen = sorted(self.left)[:accounts]
        return [self.left[chosen[number % accounts]].pop() for number in range(count)]

    def forget(self) -> None:
        """Both functions start cold."""
        for frame in self.frames.values():
            frame.ledger.close()
        self.frames.clear()

    def frame(self, function: str) -> tuple[Frame, WithKeys]:
        """A function's frame, and the context of its next invocation."""
        self._numbers += 1
        key = self.keys[function]
        keys = Keys(key.id, key.secret, key.token)
        context = WithKeys(f"bench-{self._numbers}", credentials=_Given(keys))
        if function not in self.frames:
            made = self.frames[function] = Frame(context)
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
            made.messaging = _Hearing(made.messaging, self.heard)  # type: ignore[assignment]  # sends as it does
        return self.frames[function], context

    def grant(self, documents: Sequence[Json]) -> None:
        """Account B's handler, one event after the other."""
        for start in range(0, len(documents), BATCH):
            mail = [(f"M-{one['request_id']}", sealed(one)) for one in documents[start : start + BATCH]]
            frame, context = self.frame(GRANT_FUNCTION)
            ended = frame.run(SpokeDriver(SpokeSide(frame.calls)), events(mail), context)
            if ended != {"settled": len(mail)}:
                raise SystemExit(f"account B's side ended with {ended}")

    def associate(self) -> None:
        """Account A's handler, with what it is woken by."""
        heard = [(f"C-{number}", body) for number, (tag, body) in enumerate(self.heard) if tag == "granted"]
        self.heard.clear()
        for start in range(0, len(heard), BATCH):
            frame, context = self.frame(ASSOCIATE_FUNCTION)
            event = events(heard[start : start + BATCH], queue="ecr-associations")
            ended = frame.run(HubDriver(Hub(frame.calls)), event, context)
            if ended != {"settled": len(heard[start : start + BATCH])}:
                raise SystemExit(f"account A's side ended with {ended}")

    @property
    def place(self) -> int:
        """The end of the journal."""
        return int(self.cloud.admin.call("GET", "journal", query={"limit": 1, "after": 10**9})["last"])


@dataclass(frozen=True)
class _Given:
    """Credentials as the older runtime hands them over."""

    keys: Keys

    @property
    def access_key_id(self) -> str:
        return self.keys.access_key_id

    @property
    def access_key_secret(self) -> str:
        return self.keys.access_key_secret

    @property
    def security_token(self) -> str:
        return self.keys.security_token


class _Hearing:
    """What a frame publishes is sent, and heard here, too: nothing in this bench waits for a queue."""

    def __init__(self, messaging: Messaging, heard: list[tuple[str, str]]) -> None:
        self._messaging, self._heard = messaging, heard

    def publish(self, topic: str, body: str, tag: str) -> str:
        """As ``Messaging`` does."""
        message_id = self._messaging.publish(topic, body, tag)
        self._heard.append((tag, body))
        return message_id

    def send(self, queue: str, body: str, delay_seconds: int = 0) -> str:
        """As ``Messaging`` does."""
        return self._messaging.send(queue, body, delay_seconds)


@contextlib.contextmanager
def ground(server: Postgres, folder: Path, accounts: int, each: int) -> Iterator[Ground]:
    """The world: one router, so many accounts B with so many VPCs each."""
    stage, left = Stage(), dict[str, list[Json]]()
    roles = [f"acs:ram::{HUB}:role/{name}" for name in (GRANT_FUNCTION, ASSOCIATE_FUNCTION)]
    may_assume = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": ["*"]}
    document = {"Version": "1", "Statement": [may_assume]}
    publish = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": ["mns:*"], "Resource": ["*"]}]}
    for name, key in (("runner", RUNNER), ("peer", PEER)):
        policies = {"assume": document, "publish": publish}
        stage.hub["users"][name] = {"access_key": {"id": key.id, "secret": key.secret}, "policies": policies}
    for number in range(accounts):
        uid = stage.new_spoke().uid
        names = [f"vpc-far{number}x{one}" for one in range(each)]
        stage.file["accounts"][uid]["vpcs"] = [{"id": one, "region": REGION, "cidr": "10.1.0.0/16"} for one in names]
        left[uid] = [approval(uid, one) for one in names]
    trusting = [(HUB, name) for name in (GRANT_FUNCTION, ASSOCIATE_FUNCTION, HUB_ROLE)]
    for uid, role in (*trusting, *((uid, SPOKE_ROLE) for uid in left)):
        trusted = [f"acs:ram::{HUB}:user/{name}" for name in ("runner", "peer")]
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": trusted}}
        stage.role(uid, role)["trust"]["Statement"].append(statement)
    database = server.new_database()
    near = Ledger(server.address(database))
    upgrade_schema(near)
    near.close()
    (path,) = server.folder.glob(".s.PGSQL.*[0-9]")
    with deployment(stage, folder, template=None) as cloud, distance(str(path)) as far:
        cloud.admin.quota(
            **{name: {"limit": 100_000, "seconds": 1} for name in cloud.admin.call("GET", "quotas")["quotas"]}
        )
        keys = {}
        for name, arn in zip((GRANT_FUNCTION, ASSOCIATE_FUNCTION), roles, strict=True):
            keys[name] = _entered(cloud, arn)
        url = sql.make_url(server.address(database)).set(host="127.0.0.1", port=far.port, query={"sslmode": "disable"})
        address = url.render_as_string(hide_password=False)
        configure(address, stage.configuration)
        # Our own budget out of the way, like the quotas: 120 a window, in windows of a tenth of a second.
        os.environ |= environment(address, cloud.accounts_file, cloud.address) | {"QUOTA_SECONDS": "0.1"}
        os.environ["FC_REGION"] = REGION
        made = Ground(cloud, far, keys, left)
        try:
            yield made
        finally:
            made.forget()


def _entered(cloud: Deployment, arn: str, key: Key = RUNNER, external_id: str | None = None) -> Key:
    request = AssumeRoleRequest(role_arn=arn, role_session_name="bench", external_id=external_id)
    given = cloud.sts(key).assume_role(request).body.credentials
    return Key(given.access_key_id, given.access_key_secret, given.security_token)


# -- the peers -------------------------------------------------------------------------------------------------------


def naive(made: Ground, document: Json, letters: int = 0) -> None:
    """Assume the role, grant, and believe it. ``letters``: how much is published about it."""
    uid = document["instance"]["owner_uid"]
    key = _entered(made.cloud, f"acs:ram::{uid}:role/{SPOKE_ROLE}", PEER, f"ecr-grants:demo:{uid}")
    made.cloud.ecr(key).grant_instance_to_express_connect_router(_grant(document))
    messaging = Messaging(made.cloud.url, lambda: Keys(PEER.id, PEER.secret, ""))
    for _ in range(letters):
        messaging.publish("ecr-completions", "{}", "nobody")


def _grant(document: Json) -> ecr.GrantInstanceToExpressConnectRouterRequest:
    return ecr.GrantInstanceToExpressConnectRouterRequest(
        ecr_id=HUB_ECR,
        ecr_owner_ali_uid=int(HUB),
        instance_id=document["instance"]["id"],
        instance_type="VPC",
        instance_region_id=REGION,
    )


def bare(made: Ground, documents: Sequence[Json]) -> float:
    """Milliseconds of processor time for each grant: the same four and three calls, with clients and sessions kept."""
    spokes = {
        uid: _entered(made.cloud, f"acs:ram::{uid}:role/{SPOKE_ROLE}", PEER, f"ecr-grants:demo:{uid}")
        for uid in {one["instance"]["owner_uid"] for one in documents}
    }
    hub_key = _entered(made.cloud, f"acs:ram::{HUB}:role/{HUB_ROLE}", PEER, f"ecr-grants:demo:{HUB}")
    clients = {uid: (made.cloud.vpc(key), made.cloud.ecr(key)) for uid, key in spokes.items()}
    hub = made.cloud.ecr(hub_key)
    used = time.process_time()
    for one in documents:
        instance = one["instance"]["id"]
        network, router = clients[one["instance"]["owner_uid"]]
        rules = vpc.DescribeVpcGrantRulesToEcrRequest(
            region_id=REGION,
            ecr_owner_id=int(HUB),
            ecr_instance_id=HUB_ECR,
            instance_id=instance,
            instance_type="VPC",
        )
        network.describe_vpc_attribute(vpc.DescribeVpcAttributeRequest(vpc_id=instance, region_id=REGION))
        network.describe_vpc_grant_rules_to_ecr(rules)
        router.grant_instance_to_express_connect_router(_grant(one))
        network.describe_vpc_grant_rules_to_ecr(rules)
        looks = ecr.DescribeExpressConnectRouterAssociationRequest(
            ecr_id=HUB_ECR, vpc_id=instance, association_region_id=REGION, association_node_type="VPC"
        )
        hub.describe_express_connect_router_association(looks)
        hub.create_express_connect_router_association(
            ecr.CreateExpressConnectRouterAssociationRequest(
                ecr_id=HUB_ECR,
                association_region_id=REGION,
                vpc_id=instance,
                vpc_owner_id=int(one["instance"]["owner_uid"]),
                allowed_prefixes=one["allowed_prefixes"],
            )
        )
        hub.describe_express_connect_router_association(looks)
    return (time.process_time() - used) / len(documents) * 1000


# -- measuring -------------------------------------------------------------------------------------------------------


def timed(what: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def count_calls(made: Ground, console: Console) -> None:
    """Calls for each grant: alone, and in a burst."""
    table = Table("calls", "account B", "account A", title="OpenAPI calls for each grant, AssumeRole included")
    for what, count, accounts in (
        ("alone, cold", 1, 1),
        ("alone, warm", 1, 1),
        ("burst of 100, 5 accounts, cold", 100, 5),
    ):
        if what != "alone, warm":
            made.forget()
        documents = made.take(count, accounts)
        start = made.place
        made.grant(documents)
        middle = made.place
        made.associate()
        end = made.place
        b, a = (counted(made, low, high) / count for low, high in ((start, middle), (middle, end)))
        table.add_row(what, f"{b:.2f}", f"{a:.2f}")
    console.print(table)


def counted(made: Ground, after: int, until: int) -> int:
    """OpenAPI calls in a stretch of the journal."""
    return sum(
        after < entry["number"] <= until
        for service in ("sts", "vpc", "ecr")
        for entry in made.cloud.admin.journal(service=service)
    )


def processor(made: Ground, console: Console, count: int) -> None:
    """Processor time for each grant, warm, both sides."""
    made.grant(made.take(20, 20))
    made.associate()
    documents, others = made.take(count, 20), made.take(count, 20)
    used = time.process_time()
    made.grant(documents)
    made.associate()
    ours = (time.process_time() - used) / count * 1000
    theirs = bare(made, others)
    console.print(
        f"processor time a grant, both sides: {ours:.1f} ms; the bare calls {theirs:.1f} ms: {ours / theirs:.1f} times"
    )


def far_away(made: Ground, console: Console, count: int, delay: float, away: float) -> None:
    """A burst in a cloud whose every answer takes its time."""
    made.cloud.admin.plan(kind="slow", seconds=delay / 1000, times=None)
    made.far.set(away)
    table = Table(
        "who", "seconds", "grants a second", title=f"{count} grants over 20 accounts, {delay:g} ms on every answer"
    )
    one, ten, ours = made.take(count, 20), made.take(count, 20), made.take(count, 20)
    made.forget()
    made.frame(GRANT_FUNCTION)  # a cold start is not what is measured; sessions and connections are
    with say.status("ours"):
        mine = timed(lambda: made.grant(ours))
    with say.status("ten at a time, publishing as much"), ThreadPoolExecutor(10) as pool:
        crowd = timed(lambda: deque(pool.map(partial(naive, made, letters=2), ten)))
    with say.status("a loop"):
        loop = timed(lambda: deque(map(partial(naive, made), one)))
    for who, seconds in (
        (f"account B's handler, ledger {away:g} ms away, everything read back and published", mine),
        ("ten loops at a time that publish as much", crowd),
        ("a loop that assumes the role and grants", loop),
    ):
        table.add_row(who, f"{seconds:.1f}", f"{count / seconds:.1f}")
    console.print(table)
    console.print(f"{loop / mine:.1f} times the loop, {crowd / mine:.2f} times ten at a time")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.throughput", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grants", type=int, default=200, help="grants far away (default 200)")
    parser.add_argument("--delay", type=float, default=100, help="milliseconds on every answer (default 100)")
    parser.add_argument("--distance", type=float, default=2, help="milliseconds to the ledger and back (default 2)")
    asked = parser.parse_args()
    without_proxies()
    console = Console(soft_wrap=True, highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="ecr-grants-bench-") as scratch,
        running() as server,
        ground(server, Path(scratch), 20, 60 + asked.grants // 6) as made,
    ):
        with say.status("counting calls"):
            count_calls(made, console)
        with say.status("processor time"):
            processor(made, console, 100)
        far_away(made, console, asked.grants, asked.delay, asked.distance)
    return 0


if __name__ == "__main__":
    sys.exit(main())
