"""A local cloud in a process of its own with the project's functions deployed, and how tests talk to it and look at it."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from shared.cloud.keys import Keys
from tests.functional.approvals import approval as approval  # noqa: PLC0414  # bench.quota takes it from here
from tests.functional.approvals import wake
from tests.functional.launch import TEMPLATE, environment, launched, new_ledger, up
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    RECONCILE_FUNCTION,
    REGION,
    TESTER,
    Key,
    Spoke,
    Stage,
)
from tests.said import strange

Json = dict[str, Any]

FUNCTIONS = (GRANT_FUNCTION, ASSOCIATE_FUNCTION)
WORK_QUEUES = ("ecr-approvals", "ecr-grants-wakes", "ecr-associations")
FINAL = ("done", "rejected", "dead")
REQUESTER = Key("LTAI-example-requester", "example-secret-of-the-requester")
OPERATOR = Key("LTAI-example-operator", "example-secret-of-the-operator")


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
    def queue(self, name: str, *, plain: bool = False, key: Key = TESTER) -> Iterator[Any]:
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
            key = REQUESTER if queue == "ecr-approvals" else TESTER
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
        """Take what the topic has delivered, as far as it is a completion: whoever may publish may publish anything."""
        self.completions += (one for one in map(json.loads, self.take("ecr-answers", wait_seconds)) if "event" in one)

    def wait_for(self, wanted: Callable[[Json], bool], what: str, seconds: float = PATIENCE) -> Json:
        """The first completion that is wanted, of all that ever came."""
        looked_at = 0

        def came() -> Json | None:
            nonlocal looked_at
            news, looked_at = self.completions[looked_at:], len(self.completions)
            return next(filter(wanted, news), None)

        try:
            return until(came, what, seconds, meanwhile=lambda: self.receive(1))
        except AssertionError as missed:
            raise AssertionError(f"{missed}\n{self.story()}") from None

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

    def delivered(self) -> Counter[str]:
        """How often each message was handed to a function. A push that was refused, since the one instance was busy with the
        other stream, came to no function.
        """
        return Counter(
            message_id
            for entry in self.journal(service="fc", operation="InvokeFunction")
            if entry["code"] != "ResourceExhausted"
            for message_id in entry["params"].get("messages", ())
        )

    def lost(self) -> dict[str, tuple[int, int]]:
        """By queue trigger, how many messages were buried and how many discarded, where any were."""
        return {
            trigger["trigger"]: (trigger["buried"], trigger["discarded"])
            for function in self.admin.world()["fc"]["functions"]
            for trigger in function["triggers"]
            if trigger["type"] == "eventbridge" and (trigger["buried"] or trigger["discarded"])
        }

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

    def said(self) -> list[str]:
        """What the deployed functions of ours have logged so far."""
        ours = {function["name"] for function in self.admin.functions()} & {*FUNCTIONS, RECONCILE_FUNCTION}
        return [line["text"] for name in sorted(ours) for line in self.logs(name)]

    def story(self) -> str:
        """The last lines of the functions' logs, for whoever reads a failure."""
        lines = [(line["time"], name, line["text"]) for name in FUNCTIONS for line in self.logs(name)]
        return "\n".join(f"{moment} {name}: {text[:250]}" for moment, name, text in sorted(lines)[-20:])

    def quiet(self) -> None:
        """Return when no message is on its way to a function and none is being handled."""

        def is_empty(name: str) -> bool:
            with self.queue(name) as queue, warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # the vendor retires these counts; the local cloud has them
                counts = queue.get_attributes()
                return not int(counts.active_messages) and not int(counts.inactive_messages)

        def at_rest() -> bool:
            # Each side sends to the other, so two looks one after the other may both miss a message on its way. One look at
            # the whole world does not, and is dear, so it comes last.
            if not all(is_empty(name) for name in WORK_QUEUES):
                return False
            queues = [one for one in self.admin.world()["mns"]["queues"] if one["account"] == HUB]
            return not any(one["active"] or one["inactive"] for one in queues if one["name"] in WORK_QUEUES)

        until(at_rest, "the work queues are empty")
        self.receive()

    def nudge(self) -> None:
        """Let both functions handle one harmless message: from then on their triggers go by the present switches."""
        for queue in WORK_QUEUES:
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
    ledger: str | None = None,
) -> Iterator[Deployment]:
    """A local cloud with functions deployed, ended with the block together with everything it started.

    ``template`` None deploys nothing; ``settings`` are variables of the functions, beside or instead of the usual ones;
    ``preloaded`` as for ``up``; ``ledger``: the address of one with its tables, without it a file of its own.
    """
    world, accounts = stage.write(folder)
    ledger = ledger or new_ledger(folder)
    env = environment(ledger, accounts) | dict(settings or {})
    with launched(up(world, env=env, template=template, preloaded=preloaded), folder) as url:
        made = Deployment(url, stage, ledger, accounts)
        try:
            yield made
            if template is not None:
                assert strange(made.said()) == []
        finally:
            made.close()
