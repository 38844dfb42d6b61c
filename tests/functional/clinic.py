"""A deployment to be looked at by `ecr-grants doctor`: healthy as it is made, with faults that can be planted and taken back."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mns.account import Account
from mns.queue import QueueMeta
from mns.subscription import SubscriptionMeta
from typer.testing import CliRunner

from cli.main import app
from deploy import surroundings
from deploy.shapes import Blank, Policy
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.launch import TEMPLATE, environment
from tests.functional.world import HUB, HUB_ECR, REGION, ROOT, SPOKE, TESTER, Key, Stage

OPERATOR = Key("LTAI-example-looks", "example-secret-of-who-looks")
DEPLOYER = Key("LTAI-example-deploys", "example-secret-of-who-deploys")
NOBODY = Key("LTAI-example-nobody", "example-secret-of-nobody")
STRANGER = Key("LTAI-example-orders-admin", "example-secret-of-the-orders-admin")
"""Of account B."""

Findings = dict[tuple[str, str], Json]

VALUES = {Blank.HUB: [HUB], Blank.ACCOUNT: [HUB], Blank.SPOKE: [SPOKE], Blank.ROUTER: [HUB_ECR]}


def _user(key: Key, *policies: Policy) -> Json:
    documents = {one.name: one.document(VALUES) for one in policies}
    for (
        document
    ) in documents.values():  # who may pass roles on is nothing that is looked at, and its conditions not emulated
        document["Statement"] = [one for one in document["Statement"] if "Condition" not in one]
    return {"access_key": {"id": key.id, "secret": key.secret}, "policies": documents}


def healthy_stage() -> Stage:
    """The example world with what stands around the functions as it is shipped, and who looks at it."""
    stage = Stage()
    for queue in surroundings.QUEUES:
        stage.hub["queues"][queue.name] |= queue.attributes()
    stage.hub["users"] |= {
        "looks": _user(OPERATOR, surroundings.OPERATOR),
        "deploys": _user(DEPLOYER, surroundings.OPERATOR, surroundings.DEPLOYER),
        "nobody": _user(NOBODY),
    }
    return stage


def shipped() -> Json:
    """s.yaml, with its code found from anywhere. Ticks are not tried again, whether or not it says so already."""
    document: Json = yaml.safe_load(TEMPLATE.read_text("utf-8"))
    for resource in document["resources"].values():
        resource.pop("actions", None)
        resource["props"]["code"] = str((ROOT / resource["props"]["code"]).resolve())
    document["resources"]["reconcile"]["props"].setdefault("asyncInvokeConfig", {"maxAsyncRetryAttempts": 0})
    return document


@dataclass
class Clinic:
    """A deployment, and whoever looks at it."""

    cloud: Deployment
    folder: Path
    ledger_url: str
    looks: int = field(default=0)

    @property
    def template(self) -> Path:
        """What was deployed, as a file."""
        return self.folder / "s.yaml"

    def variables(self, key: Key = DEPLOYER, **more: str) -> dict[str, str]:
        """The environment in which somebody types."""
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret}
        given = environment(self.ledger_url, self.cloud.accounts_file, self.cloud.address)
        return given | keys | {"FC_ENDPOINT": self.cloud.url, "REGION": REGION} | more

    def look(self, key: Key = DEPLOYER, *words: str, **more: str) -> tuple[int, Json]:
        """The exit code, and what is told to programs."""
        given = ["doctor", "--json", "--template", str(self.template), *words]
        done = CliRunner().invoke(app, given, env=self.variables(key, **more))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done.exit_code, json.loads(done.stdout)

    def findings(self, key: Key = DEPLOYER, **more: str) -> Findings:
        """What was found, by check and what it is about."""
        return by_name(self.look(key, **more)[1])

    # -- faults --------------------------------------------------------------------------------------------------------

    @contextmanager
    def account(self) -> Iterator[Account]:
        """The hub's queues and topics, as somebody who may do everything there."""
        account = Account(self.cloud.url, TESTER.id, TESTER.secret)
        try:
            yield account
        finally:
            account.get_client().close_connection()

    @contextmanager
    def without_queue(self, name: str) -> Iterator[None]:
        """A queue is not there."""
        with self.account() as account:
            account.get_queue(name).delete()
            yield
            self._make_queue(account, name)

    @contextmanager
    def queue_with(self, name: str, visibility: int) -> Iterator[None]:
        """A queue has another visibility timeout."""
        with self.account() as account:
            account.get_queue(name).set_attributes(QueueMeta(vis_timeout=visibility))
            yield
            account.get_queue(name).set_attributes(QueueMeta(vis_timeout=_attributes(name)["VisibilityTimeout"]))

    def _make_queue(self, account: Account, name: str) -> None:
        shipped_with = _attributes(name)
        meta = QueueMeta(vis_timeout=shipped_with["VisibilityTimeout"], msg_ttl=shipped_with["MessageRetentionPeriod"])
        account.get_queue(name).create(meta)

    @contextmanager
    def without_topic(self) -> Iterator[None]:
        """The topic is not there, nor its subscriptions."""
        topic = surroundings.TOPIC
        with self.account() as account:
            account.get_topic(topic.name).delete()
            yield
            from mns.topic import TopicMeta  # noqa: PLC0415

            account.get_topic(topic.name).create(TopicMeta())
            for one in topic.subscriptions:
                account.get_subscription(topic.name, one.name).subscribe(subscribed(one.name))

    @contextmanager
    def subscription(self, name: str, meta: SubscriptionMeta | None) -> Iterator[None]:
        """A subscription is another one, or none, or one too many."""
        topic = surroundings.TOPIC.name
        known = name in {one.name for one in surroundings.TOPIC.subscriptions}
        with self.account() as account:
            subscription = account.get_subscription(topic, name)
            if known:
                subscription.unsubscribe()
            if meta is not None:
                subscription.subscribe(meta)
            yield
            if meta is not None:
                subscription.unsubscribe()
            if known:
                subscription.subscribe(subscribed(name))

    @contextmanager
    def deployed(self, resource: str, *path: str | int, value: Any = None) -> Iterator[None]:
        """A function is deployed with another value at a place of its props; without the place when there is no value."""
        document = shipped()
        target: Any = document["resources"][resource]["props"]
        *outer, last = path
        for step in outer:
            target = target[step]
        if value is None:
            del target[last]
        else:
            target[last] = value
        self._deploy(document, resource)
        yield
        self._deploy(shipped(), resource)

    def _deploy(self, document: Json, resource: str) -> None:
        one = copy.deepcopy(document)
        one["resources"] = {resource: document["resources"][resource]}
        path = self.folder / "other.yaml"
        path.write_text(yaml.safe_dump(one), "utf-8")
        env = environment(self.cloud.ledger_url, self.cloud.accounts_file, self.cloud.address)
        self.cloud.admin.call("POST", "deploy", {"template": str(path), "env": env})

    @contextmanager
    def accounts(self, text: str, *, started_anew: bool) -> Iterator[None]:
        """accounts.yaml is another; ``started_anew``: reconcile has read it."""
        path, function = self.cloud.accounts_file, surroundings.RECONCILE
        before = path.read_text("utf-8")
        for each in (text, before):
            path.write_text(each, "utf-8")
            if started_anew:
                self.cloud.admin.call("POST", f"functions/{function}/kill")
            if each is text:
                yield


def _attributes(name: str) -> Mapping[str, int]:
    return next(one for one in surroundings.QUEUES if one.name == name).attributes()


def subscribed(name: str, **other: str) -> SubscriptionMeta:
    """A subscription as shipped, but for what is said."""
    one = next(one for one in surroundings.TOPIC.subscriptions if one.name == name)
    queue = other.get("queue", one.queue)
    return SubscriptionMeta(
        f"acs:mns:{REGION}:{HUB}:queues/{queue}",
        other.get("strategy", one.strategy.value),
        other.get("format", one.format.value),
        other.get("tag", one.filter_tag),
    )


def by_name(told: Json) -> Findings:
    """What was told, by check and what it is about."""
    return {(one["check"], one["about"]): one for one in told["findings"]}


@contextmanager
def clinic(folder: Path, ledger_url: str | None = None) -> Iterator[Clinic]:
    """A healthy deployment."""
    template = folder / "s.yaml"
    template.write_text(yaml.safe_dump(shipped()), "utf-8")
    with deployment(healthy_stage(), folder, template=template) as made:
        yield Clinic(made, folder, ledger_url or made.ledger_url)
