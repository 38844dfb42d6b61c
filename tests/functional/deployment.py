"""A local cloud in a process of its own with the project's functions deployed, and how tests talk to it and look at it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sql
from alibabacloud_expressconnectrouter20230901 import models as ecr_models
from alibabacloud_expressconnectrouter20230901.client import Client as EcrClient
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.utils_models import Config
from alibabacloud_vpc20160428 import models as vpc_models
from alibabacloud_vpc20160428.client import Client as VpcClient
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import Message

from localcloud.client import AdminClient
from shared.cloud.functions import Functions
from shared.cloud.sessions import Keys
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    HUB_ECR,
    RECONCILE_FUNCTION,
    REGION,
    ROOT,
    Key,
    Spoke,
    Stage,
)

T = TypeVar("T")
Json = dict[str, Any]

FUNCTIONS = (GRANT_FUNCTION, ASSOCIATE_FUNCTION)
TEMPLATE = ROOT / "s.yaml"
FINAL = ("done", "rejected", "dead")
SETTLE_SECONDS = 0.5
"""Reads are not older than this, unless a test plans it."""
PATIENCE = 30.0
"""Real seconds after which a condition counts as missed; nothing waits as long when all is well."""
PACKAGES = (
    "coverage",
    "alibabacloud_expressconnectrouter20230901.client",
    "alibabacloud_sts20150401.client",
    "alibabacloud_vpc20160428.client",
    "mns.account",
    "mns.topic",
    "psycopg",
    "pydantic_settings",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "stamina",
    "structlog",
    "yaml",
)
REQUESTER = Key("LTAI-example-requester", "example-secret-of-the-requester")
OPERATOR = Key("LTAI-example-operator", "example-secret-of-the-operator")

_numbers = itertools.count(1)


def until(check: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """The first thing that ``check`` finds. Fails with ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds:g} s still not: {what}")
        time.sleep(0.05)


def clean_environment(**more: str) -> dict[str, str]:
    """Our environment without proxies, where the SDKs would send loopback calls, and without what makes processes measure
    their coverage: only workers do (``up``), and it makes everything slower by half.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("COVERAGE_")
    }
    return {**kept, **more}


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the project to its end, as a person would."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )


def new_ledger(folder: Path) -> str:
    """A fresh SQLite ledger with its tables, made by the command that people use."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    done = run("cli", "ledger", "upgrade", "--ledger-url", url)
    assert done.returncode == 0, done.stderr
    return url


@contextlib.contextmanager
def ledger_busy(url: str) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a ledger in a file: whoever wants to write has to wait."""
    path = sql.make_url(url).database
    assert path is not None
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextlib.contextmanager
def ledger_without(url: str, table: str) -> Iterator[None]:
    """Hide a table of a ledger in a file: whoever needs it finds that the ledger is not there."""

    def rename(before: str, after: str) -> None:
        with ledger_busy(url) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename(table, f"{table}_away")
    try:
        yield
    finally:
        rename(f"{table}_away", table)


def environment(ledger: str, accounts: Path, address: str = "{address}") -> dict[str, str]:
    """The variables that the functions of a test run with."""
    return {
        "LEDGER_URL": ledger,
        "ACCOUNTS_FILE": str(accounts),
        "MODE": "full",
        "SETTLE_SECONDS": str(SETTLE_SECONDS),
        **{f"{name}_ENDPOINT": f"http://{address}" for name in ("MNS", "STS", "VPC", "ECR")},
    }


def up(
    world: Path,
    *more: str,
    env: dict[str, str],
    template: Path | None,
    measured: bool = True,
    preloaded: bool = True,
) -> list[str]:
    """The command that starts a local cloud, with the functions of a template deployed when there is one.

    ``measured``: whether the workers' coverage counts; ``preloaded``: whether they are born with what they import of others,
    which is most of a cold start.
    """
    command = [sys.executable, "-m", "localcloud", "up", "--world", str(world), "--with-parent", *more]
    if template is None:
        return command
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        if measured and name in os.environ:
            command += ["--worker-env", f"{name}={os.environ[name]}"]
    command += [part for module in PACKAGES if preloaded for part in ("--preload", module)]
    command += ["--deploy", str(template)]
    return command + [part for name, value in env.items() for part in ("--env", f"{name}={value}")]


def now(**ago: float) -> str:
    """The present as messages write it, or so long ago."""
    moment = datetime.now(UTC) - timedelta(**ago)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def request_id() -> str:
    """A request id that no other test uses."""
    return f"REQ-{next(_numbers):05d}"


def approval(spoke: str, instance_id: str, **changes: Any) -> Json:
    """An approval to grant one of a spoke's instances to the example's router; keyword arguments replace fields."""
    kind = instance_id.partition("-")[0].upper()
    document: Json = {
        "schema": "ecr-grants/approval/2",
        "issuer": "self-service",
        "request_id": request_id(),
        "action": "grant",
        "ecr": {"id": HUB_ECR, "owner_uid": HUB},
        "instance": {"type": kind, "id": instance_id, "region": REGION, "owner_uid": spoke},
        "allowed_prefixes": ["10.20.0.0/16"] if kind == "VPC" else [],
        "requested_by": "requester@example.com",
        "approved_by": ["approver@example.com"],
        "approved_at": now(hours=1),
        "reason": "A functional test needs it",
    }
    return {**document, **changes}


def revocation(of: Json, closes: Any, **changes: Any) -> Json:
    """An approval to close leases on the grant that another approval is about."""
    document = {
        **{name: value for name, value in of.items() if name not in ("allowed_prefixes", "ends_at", "on_end")},
        "request_id": request_id(),
        "action": "revoke",
        "closes": closes,
        "approved_at": now(minutes=1),
    }
    return {**document, **changes}


def wake(grant_id: str = "g-nobody") -> Json:
    """A wake; one for a grant that nobody has is harmless."""
    return {"schema": "ecr-grants/wake/1", "grant_id": grant_id}


def config(address: str, key: Key) -> Config:
    """Configuration of an SDK client; no retries, so that what is seen is what happened."""
    return Config(
        access_key_id=key.id,
        access_key_secret=key.secret,
        security_token=key.token or None,
        endpoint=address,
        protocol="http",
        region_id=REGION,
    )


@dataclass
class Deployment:
    """One running local cloud with the functions at work, as tests see it."""

    url: str
    stage: Stage
    ledger_url: str
    accounts_file: Path
    folder: Path
    process: subprocess.Popen[bytes]
    completions: list[Json] = field(default_factory=list)
    """Every completion the topic delivered so far, in the order of arrival."""

    def __post_init__(self) -> None:
        """Make the clients that outlast one call."""
        self.admin = AdminClient(self.address)
        self._ledger = sql.create_engine(self.ledger_url)
        self._journal: list[Json] = []
        self._logs: dict[str, list[Json]] = {}

    def close(self) -> None:
        """Close what was opened."""
        self._ledger.dispose()

    @property
    def address(self) -> str:
        """host:port."""
        return self.url.removeprefix("http://")

    # -- the official SDKs -------------------------------------------------------------------------------------------

    def sts(self, key: Key) -> StsClient:
        """STS, with somebody's key."""
        return StsClient(config(self.address, key))

    def vpc(self, key: Key) -> VpcClient:
        """VPC, with somebody's key."""
        return VpcClient(config(self.address, key))

    def ecr(self, key: Key) -> EcrClient:
        """Express Connect Router, with somebody's key."""
        return EcrClient(config(self.address, key))

    @contextlib.contextmanager
    def queue(self, name: str, *, plain: bool = False, key: Key = OPERATOR) -> Iterator[Any]:
        """A queue, over a connection of its own: the SDK neither closes its connections nor survives dead ones."""
        account = Account(self.url, key.id, key.secret)
        queue = account.get_queue(name)
        queue.set_encoding(not plain)
        try:
            yield queue
        finally:
            account.get_client().close_connection()

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, *messages: Json | str, plain: bool = False, queue: str = "ecr-approvals") -> list[str]:
        """Put messages on a queue with the MNS SDK. Returns their ids, one for each."""
        texts = [message if isinstance(message, str) else json.dumps(message) for message in messages]
        if len(texts) == 1:
            key = REQUESTER if queue == "ecr-approvals" else OPERATOR
            with self.queue(queue, plain=plain, key=key) as target:
                return [str(target.send_message(Message(texts[0])).message_id)]
        with self.queue(queue, plain=plain) as target:
            batches = [texts[start : start + 16] for start in range(0, len(texts), 16)]
            sent = [target.batch_send_message([Message(text) for text in batch]) for batch in batches]
        return [str(one.message_id) for batch in sent for one in batch]

    def settled(self, document: Json, **more: Any) -> Json:
        """Send one approval and wait for its final answer."""
        self.send(document, **more)
        return self.answer(document)

    # -- completions -------------------------------------------------------------------------------------------------

    def take(self, queue: str, wait_seconds: int = 0) -> list[str]:
        """Take every message off a queue; waits so long for the first. Returns their bodies."""
        bodies: list[str] = []
        with self.queue(queue, plain=True) as source:
            while True:
                try:
                    messages = source.batch_receive_message(16, 0 if bodies else wait_seconds)
                except MNSServerException as error:
                    if error.type == "MessageNotExist":
                        return bodies
                    raise
                bodies += [message.message_body for message in messages]
                source.batch_delete_message([message.receipt_handle for message in messages])

    def receive(self, wait_seconds: int = 0) -> None:
        """Take what the topic has delivered."""
        self.completions += map(json.loads, self.take("ecr-answers", wait_seconds))

    def wait_for(self, wanted: Callable[[Json], bool], what: str, seconds: float = PATIENCE) -> Json:
        """The first completion that is wanted, of all that ever came."""

        deadline = time.monotonic() + seconds
        looked_at = 0
        while True:
            found = next(filter(wanted, self.completions[looked_at:]), None)
            if found is not None:
                return found
            looked_at = len(self.completions)
            if time.monotonic() > deadline:
                pytest.fail(f"after {seconds:g} s still not: {what}\n{self.story()}")
            self.receive(1)

    def answer(self, document: Json, seconds: float = PATIENCE) -> Json:
        """The final outcome of a request."""
        name = document["request_id"]
        return self.wait_for(
            lambda one: one["event"] in FINAL and one.get("request", {}).get("request_id") == name,
            f"a final answer to {name}",
            seconds,
        )

    def answer_to_message(self, message_id: str) -> Json:
        """The answer to a message, whoever sent it."""
        return self.wait_for(
            lambda one: one["event"] in FINAL and one.get("message_id") == message_id, f"an answer to {message_id}"
        )

    def event(self, document: Json, kind: str) -> Json:
        """The completion of one kind about the grant of an approval."""
        return self.wait_for(
            lambda one: one["event"] == kind and _is_about(one, document), f"{kind} of {document['instance']['id']}"
        )

    def about(self, document: Json) -> list[Json]:
        """Every completion so far about the grant of an approval, in the order of their numbers."""
        self.receive()
        return sorted((one for one in self.completions if _is_about(one, document)), key=lambda one: one["number"])

    def kinds(self, document: Json) -> list[str]:
        """What happened to the grant of an approval, in order."""
        return [one["event"] for one in {one["id"]: one for one in self.about(document)}.values()]

    def repeated(self) -> list[tuple[str, str]]:
        """(event, id) of every completion that came more than once."""
        names = [(one["event"], one["id"]) for one in self.completions]
        return sorted({name for name in names if names.count(name) > 1})

    # -- looking -----------------------------------------------------------------------------------------------------

    def journal(
        self, document: Json | None = None, *, service: str = "", operation: str = "", account: str = ""
    ) -> list[Json]:
        """Calls in the local cloud's journal; with an approval, those that name its instance."""
        news = self.admin.call("GET", "journal", query={"after": self._journal[-1]["number"] if self._journal else 0})
        self._journal += news["entries"]
        return [
            entry
            for entry in self._journal
            if service in ("", entry["service"])
            and operation in ("", entry["operation"])
            and account in ("", entry["account"], entry["caller"].get("account"))
            and (document is None or document["instance"]["id"] in map(str, entry["params"].values()))
        ]

    def our_calls(self, document: Json) -> list[str]:
        """The operations that our two acting functions called about the instance of an approval, in order."""
        return [entry["operation"] for entry in self.journal(document) if entry["caller"].get("function") in FUNCTIONS]

    def reconcile(self) -> Json:
        """Let the deployed function compare ledger and cloud now, as the operator does. Returns its report."""
        functions = Functions(self.url, REGION, Keys(OPERATOR.id, OPERATOR.secret, ""))
        report: Json = functions.run(RECONCILE_FUNCTION, b"{}", None).result
        return report

    def calls(self, document: Json, operation: str) -> int:
        """How many calls of one operation named the instance of an approval."""
        return len(self.journal(document, operation=operation))

    def granted(self, document: Json, spoke: Spoke) -> list[tuple[str, str]]:
        """(router, its owner) of each grant on an instance, as account B reads them with the VPC SDK."""
        instance, client = document["instance"], self.vpc(spoke.admin)
        if instance["type"] == "VBR":
            request = vpc_models.DescribeGrantRulesToEcrRequest(region_id=REGION, instance_id=instance["id"])
            rules = client.describe_grant_rules_to_ecr(request).body.ecr_grant_rules or []
            return [(rule.ecr_instance_id, str(rule.ecr_uid)) for rule in rules]
        lookup = vpc_models.DescribeVpcGrantRulesToEcrRequest(region_id=REGION, instance_id=instance["id"])
        models = client.describe_vpc_grant_rules_to_ecr(lookup).body.grant_rule_models or []
        return [(rule.ecr_id, str(rule.ecr_owner_id)) for rule in models]

    def associated(self, document: Json, key: Key = OPERATOR) -> list[tuple[str, tuple[str, ...]]]:
        """(status, allowed prefixes) of each association or attachment, as account A reads them with the ECR SDK."""
        instance, client = document["instance"], self.ecr(key)
        if instance["type"] == "VBR":
            request = ecr_models.DescribeExpressConnectRouterChildInstanceRequest(
                ecr_id=document["ecr"]["id"], child_instance_id=instance["id"]
            )
            children = client.describe_express_connect_router_child_instance(request).body.child_instance_list or []
            return [(child.status, ()) for child in children]
        lookup = ecr_models.DescribeExpressConnectRouterAssociationRequest(
            ecr_id=document["ecr"]["id"], vpc_id=instance["id"]
        )
        found = client.describe_express_connect_router_association(lookup).body.association_list or []
        return [(one.status, tuple(sorted(one.allowed_prefixes or ()))) for one in found]

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """Rows of the ledger."""
        with self._ledger.connect() as connection:
            return list(connection.execute(sql.text(statement), values).all())

    def logs(self, function: str) -> list[Json]:
        """Lines of a function's log."""
        lines = self._logs.setdefault(function, [])
        lines += self.admin.logs(function, after=lines[-1]["number"] if lines else 0)
        return lines

    def story(self) -> str:
        """The last lines of the functions' logs, for whoever reads a failure."""
        lines = [(line["time"], name, line["text"]) for name in FUNCTIONS for line in self.logs(name)]
        return "\n".join(f"{moment} {name}: {text[:250]}" for moment, name, text in sorted(lines)[-20:])

    def quiet(self) -> None:
        """Return when no message is on its way to a function and none is being handled."""

        def rest(name: str) -> bool:
            with self.queue(name) as queue, warnings.catch_warnings():
                # The vendor is retiring these counts; the local cloud has them, and its whole world is dear to ask for.
                warnings.simplefilter("ignore", DeprecationWarning)
                counts = queue.get_attributes()
                return not int(counts.active_messages) and not int(counts.inactive_messages)

        until(lambda: rest("ecr-approvals") and rest("ecr-associations"), "the work queues are empty")
        self.receive()

    def nudge(self) -> None:
        """Let both functions handle one harmless message: from then on their triggers go by the present switches."""
        for queue in ("ecr-approvals", "ecr-associations"):
            self.send(wake(), queue=queue)
        self.quiet()


def _is_about(completion: Json, document: Json) -> bool:
    grant = completion.get("grant", {})
    return (grant.get("instance_id"), grant.get("ecr_id")) == (document["instance"]["id"], document["ecr"]["id"])


@contextlib.contextmanager
def deployment(
    stage: Stage,
    folder: Path,
    *,
    template: Path | None = TEMPLATE,
    settings: Mapping[str, str] | None = None,
    preloaded: bool = True,
) -> Iterator[Deployment]:
    """A local cloud with functions deployed, ended with the block together with everything it started.

    ``template`` None deploys nothing; ``settings`` are variables of the functions, beside or instead of the usual ones;
    ``preloaded`` as for ``up``.
    """
    world, accounts = stage.write(folder)
    ledger = new_ledger(folder)
    env = environment(ledger, accounts) | dict(settings or {})
    ready, output = folder / "address", folder / "localcloud.log"
    command = up(world, "--ready-file", str(ready), env=env, template=template, preloaded=preloaded)
    with output.open("wb") as sink:
        process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=sink, stderr=sink)
    try:

        def is_ready() -> bool:
            assert process.poll() is None, "the local cloud did not start:\n" + output.read_text()
            return ready.exists()

        until(is_ready, "the local cloud is ready", 3 * PATIENCE)
        made = Deployment(ready.read_text(), stage, ledger, accounts, folder, process)
        try:
            yield made
        finally:
            made.close()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
