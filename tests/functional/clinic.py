"""A deployment to be looked at by `ecr-grants doctor`: healthy as it is made, with faults that can be planted and taken back."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner
from mns.account import Account
from mns.queue import QueueMeta

from deploy import surroundings
from deploy.folder import decided, rendered
from deploy.shapes import Blank, Policy
from tests.command import whole_command
from tests.configured import configuration
from tests.functional.deployment import Deployment, Json, configure, deployment
from tests.functional.launch import DESK, TEMPLATE, environment
from tests.functional.world import HUB, HUB_ECR, REGION, SPOKE, TESTER, Key, Stage

OPERATOR = Key("LTAI-example-looks", "example-secret-of-who-looks")
DEPLOYER = Key("LTAI-example-deploys", "example-secret-of-who-deploys")
NOBODY = Key("LTAI-example-nobody", "example-secret-of-nobody")
STRANGER = Key("LTAI-example-orders-admin", "example-secret-of-the-orders-admin")
"""Of account B."""

LOOKS = {
    "mns:GetQueueAttributes": "queues",
    "mns:GetTopicAttributes": "topic",
    "mns:ListSubscriptionByTopic": "subscriptions",
    "mns:GetSubscriptionAttributes": "subscriptions",
    "mns:BatchPeekMessage": "dead-letters",
    "fc:ListTriggers": "triggers",
    "fc:GetConcurrencyConfig": "concurrency",
    "fc:GetFunctionAsyncInvokeConfig": "asynchronous",
    "fc:InvokeFunction": "roles",
}
"""What an operator who looks has to be allowed, and by which check it is missed."""


def without(action: str) -> Key:
    """The key of an operator who lacks one right."""
    number = list(LOOKS).index(action)
    return Key(f"LTAI-example-looks-{number}", f"example-secret-of-who-looks-{number}")


Findings = dict[tuple[str, str], Json]

VALUES = {Blank.HUB: [HUB], Blank.ACCOUNT: [HUB], Blank.SPOKE: [SPOKE], Blank.ROUTER: [HUB_ECR]}


def _user(key: Key, *policies: Policy) -> Json:
    documents = {one.name: one.document(VALUES) for one in policies}
    for (
        document
    ) in documents.values():  # who may pass roles on is nothing that is looked at, and its conditions not emulated
        document["Statement"] = [one for one in document["Statement"] if "Condition" not in one]
    return {"access_key": {"id": key.id, "secret": key.secret}, "policies": documents}


READS = {
    "Effect": "Allow",
    "Action": ["mns:Get*", "mns:List*", "mns:*Peek*", "kms:GetSecretValue"],
    "Resource": ["*"],
}
ODD: dict[str, Json] = {
    "other-filter": {"associate-granted": {"filter_tag": "rejected"}},
    "other-format": {"associate-granted": {"format": "JSON"}},
    "other-strategy": {"associate-unwanted": {"strategy": "BACKOFF_RETRY"}},
    "other-queue": {"grant-dissociated": {"queue": "ecr-associations"}},
    "no-dead-letter": {"grant-dissociated": {"dead_letter": None}},
    "no-subscription": {"grant-dissociated": None},
    "one-too-many": {"shortcut": {"queue": "ecr-approvals", "format": "SIMPLIFIED"}},
}
"""Topics that are as shipped but for one thing, for whoever is told that the completions' topic is one of them."""


def _lacking(user: Json, action: str) -> Json:
    """The same user without one action, and without the statements that have no other."""
    for document in user["policies"].values():
        for statement in document["Statement"]:
            statement["Action"] = [one for one in statement["Action"] if one != action]
        document["Statement"] = [one for one in document["Statement"] if one["Action"]]
    return user


def _topic(changes: Json) -> Json:
    subscriptions: Json = {
        one.name: {
            "queue": one.queue,
            "filter_tag": one.filter_tag,
            "format": one.format.value,
            "strategy": one.strategy.value,
            "dead_letter": one.dead_letter,
        }
        for one in surroundings.TOPIC.subscriptions
    }
    for name, change in changes.items():
        if change is None:
            del subscriptions[name]
        else:
            changed = subscriptions.get(name, {}) | change
            subscriptions[name] = {key: value for key, value in changed.items() if value is not None}
    return {"subscriptions": subscriptions}


def healthy_stage() -> Stage:
    """The example world with what stands around the functions as it is shipped, and who looks at it."""
    stage = Stage()
    stage.hub["topics"] |= {name: _topic(changes) for name, changes in ODD.items()}
    stage.hub["secrets"] = {"ecr-grants/ledger": {"value": "nothing yet"}}
    stage.hub["queues"] |= {"no-policy": surroundings.WORK_QUEUES[0].attributes(), "no-policy-dead": {}}
    stage.hub["queues"]["no-policy-dead"] = surroundings.DEAD_LETTER_QUEUES[0].attributes()
    for queue in surroundings.QUEUES:
        stage.hub["queues"][queue.name] |= queue.attributes()
    stage.hub["users"] |= {
        "looks": _user(OPERATOR, surroundings.OPERATOR),
        "deploys": _user(DEPLOYER, surroundings.OPERATOR, surroundings.DEPLOYER),
        "nobody": _user(NOBODY),
    }
    for number, action in enumerate(LOOKS):
        user = _user(without(action), surroundings.OPERATOR)
        stage.hub["users"][f"looks-{number}"] = _lacking(user, action)
    stage.hub["users"]["deploys"]["policies"]["other-queues-and-topics"] = {"Version": "1", "Statement": [READS]}
    return stage


def shipped() -> Json:
    """What is deployed, as ``make deploy-folder`` makes it, with its triggers on; the code is where CODE says."""
    desk = {"DESK_ADDRESS": DESK["DESK_ADDRESS"]}
    around = decided({"VPC_ID": "", "LOG_PROJECT": f"ecr-grants-{HUB}", "TRIGGERS": "on", **desk})
    document: Json = rendered(yaml.safe_load(TEMPLATE.read_text("utf-8")), around, "${env('CODE')}")
    return document


@dataclass
class Clinic:
    """A deployment, and whoever looks at it."""

    cloud: Deployment
    folder: Path
    ledger_url: str
    changed: str = ""
    """The function that is deployed otherwise than shipped."""

    @property
    def template(self) -> Path:
        """What was deployed, as a file."""
        return self.folder / "s.yaml"

    @property
    def addresses(self) -> dict[str, str]:
        """What commands are told beside the functions' settings."""
        return {"FC_ENDPOINT": self.cloud.url, "MNS_OPEN_ENDPOINT": self.cloud.url, "REGION": REGION}

    def variables(self, key: Key = DEPLOYER, **more: str) -> dict[str, str]:
        """The environment in which somebody types."""
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret}
        given = environment(self.ledger_url, self.cloud.accounts_file, self.cloud.address)
        given["KMS_ENDPOINT"] = self.cloud.url
        return given | keys | self.addresses | more

    def look(self, key: Key = DEPLOYER, *words: str, **more: str) -> tuple[int, Json]:
        """The exit code, and what is told to programs."""
        given = ["doctor", "--json", "--template", str(self.template), *words]
        done = CliRunner().invoke(whole_command(), given, env=self.variables(key, **more))
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
    def deployed(self, resource: str, *path: str | int, value: Any = None) -> Iterator[None]:
        """A function is deployed with another value at a place of its props; without the place when there is no value.

        It stays so until the next one is, or ``mend``: a deployment takes a second.
        """
        document = shipped()
        target: Any = document["resources"][resource]["props"]
        *outer, last = path
        for step in outer:
            target = target[step]
        if value is None:
            del target[last]
        else:
            target[last] = value
        if self.changed != resource:
            self.mend()
        self.changed = resource
        self._deploy(document, resource)
        yield

    def mend(self) -> None:
        """Deploy as shipped what is not."""
        if self.changed:
            self._deploy(shipped(), self.changed)
            self.changed = ""

    def _deploy(self, document: Json, resource: str) -> None:
        one = copy.deepcopy(document)
        one["resources"] = {resource: document["resources"][resource]}
        path = self.folder / "other.yaml"
        path.write_text(yaml.safe_dump(one), "utf-8")
        env = environment(self.cloud.ledger_url, self.cloud.accounts_file, self.cloud.address)
        self.cloud.admin.call("POST", "deploy", {"template": str(path), "env": env})

    @contextmanager
    def configured(self, **changes: Any) -> Iterator[None]:
        """Another version of the configuration holds; and after it one that says what the first one did."""
        stage = self.cloud.stage
        configure(self.ledger_url, configuration(**{"accounts": stage.listed, "issuers": stage.issuers, **changes}))
        yield
        configure(self.ledger_url, stage.configuration)


def _attributes(name: str) -> Mapping[str, int]:
    return next(one for one in surroundings.QUEUES if one.name == name).attributes()


def by_name(told: Json) -> Findings:
    """What was told, by check and what it is about; without the numbers that grow with every version."""
    return {
        (one["check"], one["about"]): one | {"text": re.sub(r"\b(event|version) \d+", r"\1 N", one["text"])}
        for one in told["findings"]
    }


def write_template(folder: Path) -> Path:
    """The template that is deployed and compared with."""
    template = folder / "s.yaml"
    template.write_text(yaml.safe_dump(shipped()), "utf-8")
    return template


@contextmanager
def clinic(folder: Path, stage: Stage | None = None) -> Iterator[Clinic]:
    """A healthy deployment."""
    with deployment(stage or healthy_stage(), folder, template=write_template(folder)) as made:
        yield Clinic(made, folder, made.ledger_url)
