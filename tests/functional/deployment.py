"""A local cloud in a process of its own with the project's functions deployed, and how tests talk to it and look at it."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from alibabacloud_expressconnectrouter20230901 import models as ecr_models
from alibabacloud_vpc20160428 import models as vpc_models

from deploy import surroundings
from shared.cloud.functions import Functions
from shared.cloud.keys import Keys
from shared.errors import Throttled
from shared.ledger.transactions import Ledger
from shared.rules.configuration import Configuration
from tests.configured import apply
from tests.functional.approvals import wake
from tests.functional.launch import TEMPLATE, environment, launched, new_ledger, up, without_desk
from tests.functional.mailbox import FUNCTIONS, Mailbox
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import (
    HUB,
    RECONCILE_FUNCTION,
    REGION,
    Key,
    Spoke,
    Stage,
)
from tests.said import strange

Json = dict[str, Any]

WORK_QUEUES = ("ecr-approvals", "ecr-grants-wakes", "ecr-associations", "ecr-asked")
OPERATOR = Key("LTAI-example-operator", "example-secret-of-the-operator")


@dataclass
class Deployment(Mailbox):
    """One running local cloud with the functions at work, as tests see it."""

    stage: Stage
    ledger_url: str
    accounts_file: Path

    def __post_init__(self) -> None:
        """Open what outlasts one call."""
        super().__post_init__()
        self._ledger = sql.create_engine(self.ledger_url)
        self._journal: list[Json] = []

    def close(self) -> None:
        """Close what was opened."""
        self._ledger.dispose()

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
        """Let the deployed function compare ledger and cloud now, as the operator does; after its timer, whose pass may be under
        way. Returns its report.
        """
        functions = Functions(self.url, REGION, Keys(OPERATOR.id, OPERATOR.secret, ""))
        for _ in range(int(PATIENCE)):
            with contextlib.suppress(Throttled):
                report: Json = functions.run(RECONCILE_FUNCTION, b"{}", None).result
                return report
            time.sleep(1)
        raise AssertionError("reconcile had no free instance all the time")

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

    def write(self, statement: str, **values: Any) -> None:
        """Change the ledger as somebody who may write the database, and nothing else, could."""
        with self._ledger.begin() as connection:
            connection.execute(sql.text(statement), values)

    def said(self) -> list[str]:
        """What the deployed functions of ours have logged so far."""
        ours = {function["name"] for function in self.admin.functions()} & set(surroundings.FUNCTIONS)
        return [line["text"] for name in sorted(ours) for line in self.logs(name)]

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


def configure(ledger: str, content: Configuration) -> None:
    """Make this the newest configuration of a ledger at an address."""
    opened = Ledger(ledger)
    try:
        apply(opened, content)
    finally:
        opened.close()


@contextlib.contextmanager
def deployment(
    stage: Stage,
    folder: Path,
    *,
    template: Path | None = TEMPLATE,
    settings: Mapping[str, str] | None = None,
    preloaded: bool = True,
    ledger: str | None = None,
    known_words: bool = True,
    desk: bool = False,
) -> Iterator[Deployment]:
    """A local cloud with functions deployed, ended with the block together with everything it started.

    ``desk``: with the desk, which starts at once and takes a second for it; ``template`` None deploys nothing; ``settings`` are
    variables of the functions, beside or instead of the usual ones; ``preloaded`` as for ``up``; ``ledger``: the address of one
    with its tables, without it a file of its own; ``known_words``: whether what the functions log is held against our words:
    those of another version have their own.
    """
    world, accounts = stage.write(folder)
    ledger = ledger or new_ledger(folder)
    configure(ledger, stage.configuration)
    env = environment(ledger, accounts) | dict(settings or {})
    if template is TEMPLATE and not desk:
        template = without_desk(folder)
    with launched(up(world, env=env, template=template, preloaded=preloaded), folder) as url:
        made = Deployment(url, stage, ledger, accounts)
        try:
            yield made
            if template is not None and known_words:
                assert strange(made.said()) == []
        finally:
            made.close()
