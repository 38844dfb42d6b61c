"""The operator who ships: may do what the commands do, by their own queues and one function, and sees no function's secrets.

Everything an operator does is done with the shipped policies, and once for each permission without it; then what nobody meant
to allow is tried.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import pytest
from alibabacloud_fc_open20210406.client import Client as FcClient
from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions
from click.testing import CliRunner
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import Message
from mns.topic import TopicMessage
from Tea.exceptions import TeaException

from deploy.surroundings import OPERATOR as OPERATOR_POLICY
from shared.cloud.functions import Functions
from shared.cloud.keys import Keys
from shared.errors import GrantError
from tests.command import whole_command
from tests.configured import CONFIG_KEYS_TEXT
from tests.functional.approvals import approval
from tests.functional.deployment import OPERATOR, WORK_QUEUES, Deployment, deployment
from tests.functional.mailbox import REQUESTER, config
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    EXAMPLE,
    GRANT_FUNCTION,
    HUB,
    RECONCILE_FUNCTION,
    REGION,
    Key,
    Stage,
)

DEAD_LETTERS = tuple(f"{name}-dead" for name in WORK_QUEUES)
POLICIES = EXAMPLE["accounts"][HUB]["users"]["operator"]["policies"]
IDLE = Key("LTAI-example-idle", "example-secret-of-the-idle")
UNPROVEN = {
    (OPERATOR_POLICY.name, number) for number, statement in enumerate(OPERATOR_POLICY.statements) if statement.unproven
}
"""Statements that the surroundings say no test here sees used."""


@dataclass(frozen=True)
class Right:
    """One action on one resource, and where in the operator's policies it stands."""

    policy: str
    statement: int
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.action} on {self.resource.removesuffix('/messages').rpartition('/')[2]}"


RIGHTS = [
    Right(policy, number, action, resource)
    for policy, document in POLICIES.items()
    for number, statement in enumerate(document["Statement"])
    for action in statement["Action"]
    for resource in statement["Resource"]
]
USED = [right for right in RIGHTS if (right.policy, right.statement) not in UNPROVEN]


def key_without(right: Right) -> Key:
    """The access key of an operator who lacks one permission."""
    number = RIGHTS.index(right)
    return Key(f"LTAI-example-operator-{number}", f"example-secret-of-operator-{number}")


def policies_without(right: Right) -> dict[str, Any]:
    """The shipped policies, but for one action on one resource."""
    policies = copy.deepcopy(POLICIES)
    statements = policies[right.policy]["Statement"]
    whole = statements.pop(right.statement)
    others = [each for each in whole["Action"] if each != right.action]
    elsewhere = [each for each in whole["Resource"] if each != right.resource]
    statements += [
        {**whole, "Action": actions, "Resource": resources}
        for actions, resources in ((others, whole["Resource"]), ([right.action], elsewhere))
        if actions and resources
    ]
    return {name: document for name, document in policies.items() if document["Statement"]}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The deployed functions, and beside the operator one more for each permission that is missing."""
    stage = Stage()
    for number, right in enumerate(RIGHTS):
        key = key_without(right)
        stage.hub["users"][f"operator-{number}"] = {
            "access_key": {"id": key.id, "secret": key.secret},
            "policies": policies_without(right),
        }
    idle = {"access_key": {"id": IDLE.id, "secret": IDLE.secret}, "policies": {}}
    stage.hub["users"]["requester-without"] = idle
    with deployment(stage, tmp_path_factory.mktemp("operator")) as made:
        yield made


@dataclass
class Day:
    """What an operator does, and what it came to: the text of each command and look."""

    cloud: Deployment
    key: Key

    def work(self) -> str:
        """All of it. Returns what was said."""
        return "\n".join([*self._dead_letters(), *self._others()])

    def _dead_letters(self) -> Iterator[str]:
        named = []
        for name in DEAD_LETTERS:
            self.cloud.send("no message at all", queue=name)
            named += self.cloud.send("nor this one", queue=name)
        yield self._command("dead", "list")
        yield self._command("dead", "redrive", *named)  # by name, so that what else is there is put back

    def _others(self) -> Iterator[str]:
        yield self._command("run", "reconcile", "--endpoint", self.cloud.url)
        self.cloud.send("{}", queue="ecr-answers")
        yield self._try(self._answer)
        vpc, vbr = (approval(HUB, name) for name in ("vpc-nobodys", "vbr-nobodys"))
        for document in (vpc, vbr):
            yield self._try(partial(self.cloud.associated, document, self.key))

    def _answer(self) -> None:
        with self.cloud.queue("ecr-answers", plain=True, key=self.key) as answers:
            answers.delete_message(answers.receive_message(5).receipt_handle)

    def _try(self, call: Callable[[], object]) -> str:
        try:
            return str(call())
        except Exception as error:  # noqa: BLE001  # whatever an SDK raises; what matters is what it says
            return str(error)

    def _command(self, *arguments: str) -> str:
        env = {
            "LEDGER_URL": self.cloud.ledger_url,
            "CONFIG_KEYS": CONFIG_KEYS_TEXT,
            "MNS_ENDPOINT": self.cloud.url,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.key.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self.key.secret,
        }
        done = CliRunner().invoke(whole_command(), list(arguments), env=env)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return f"exit {done.exit_code}: {done.output}"


@pytest.fixture(scope="module")
def whole(cloud: Deployment) -> str:
    """A day with the shipped policies."""
    return Day(cloud, OPERATOR).work()


def test_nothing_is_refused_to_the_operator_who_ships(whole: str) -> None:
    """Every command ends well."""
    assert "AccessDenied" not in whole
    assert "exit 1" not in whole


@pytest.mark.parametrize("right", USED, ids=str)
def test_nothing_is_allowed_that_an_operator_never_uses(cloud: Deployment, whole: str, right: Right) -> None:
    """By the journal of that day. A batch call needs two actions, and the journal shows one of them."""
    used = {
        (entry["decision"]["action"], entry["decision"]["resource"])
        for entry in cloud.journal()
        if entry["caller"].get("name") == "operator" and entry["decision"]
    }
    spellings = {right.action, right.action.replace(":Batch", ":"), right.action.replace("mns:", "mns:Batch")}
    assert any(action in spellings and fnmatchcase(resource, right.resource) for action, resource in used)


@pytest.mark.parametrize("right", USED, ids=str)
def test_without_any_one_permission_a_command_says_which(cloud: Deployment, right: Right) -> None:
    """With its action and its place."""
    said = Day(cloud, key_without(right)).work()
    place = right.resource.partition(f"{HUB}:")[2]
    assert any(right.action in line and place in line for line in said.splitlines()), said


def hand_in(account: Account, queue: str = "ecr-approvals") -> Any:
    """Send to a queue."""
    message: Any = Message
    return account.get_queue(queue).send_message(message("{}"))


def publish(account: Account) -> Any:
    """Publish a completion."""
    message: Any = TopicMessage
    return account.get_topic("ecr-completions").publish_message(message("{}"))


@pytest.mark.parametrize(
    ("action", "attempt"),
    [
        pytest.param("mns:SendMessage", lambda account: hand_in(account, "ecr-grants-wakes"), id="wake"),
        pytest.param(
            "mns:ReceiveMessage", lambda account: account.get_queue("ecr-approvals").receive_message(0), id="read"
        ),
        pytest.param("mns:PublishMessage", publish, id="publish"),
    ],
)
def test_a_requester_hands_in_and_does_nothing_else(
    cloud: Deployment, action: str, attempt: Callable[[Account], object]
) -> None:
    """One queue, one action: and without that one not even this."""
    with account_of(cloud, REQUESTER) as requester:
        assert hand_in(requester).message_id
        with pytest.raises(MNSServerException, match=action):
            attempt(requester)
    with account_of(cloud, IDLE) as nobody, pytest.raises(MNSServerException, match="mns:SendMessage"):
        hand_in(nobody)


@contextlib.contextmanager
def account_of(cloud: Deployment, key: Key) -> Iterator[Account]:
    """The queues, with somebody's key."""
    account = Account(cloud.url, key.id, key.secret)
    with contextlib.closing(Connection(account)):
        yield account


class Connection:
    """What an account of the MNS SDK keeps open."""

    def __init__(self, account: Account) -> None:
        self.close = account.get_client().close_connection


# -- what nobody meant to allow ----------------------------------------------------------------------------------------


def fc(cloud: Deployment, path: str) -> Any:
    """One of Function Compute's reads, as the operator."""
    params = Params(
        action="Get",
        version="2023-03-30",
        protocol="HTTP",
        pathname=f"/2023-03-30/functions{path}",
        method="GET",
        auth_type="AK",
        style="ROA",
        req_body_type="json",
        body_type="json",
    )
    client = FcClient(config(cloud.address, OPERATOR))
    return client.call_api(params, OpenApiRequest(headers={}), RuntimeOptions(autoretry=False))


@pytest.mark.parametrize(
    "path", ["", *(f"/{name}" for name in (GRANT_FUNCTION, ASSOCIATE_FUNCTION, RECONCILE_FUNCTION))]
)
def test_an_operator_cannot_read_a_functions_environment(cloud: Deployment, path: str) -> None:
    """It has the ledger's password and the key that signs heads; a list of functions shows it as well as one of them."""
    with pytest.raises(TeaException) as refused:
        fc(cloud, path)
    assert "fc:" in str(refused.value)
    assert refused.value.data["statusCode"] == 403


@pytest.mark.parametrize("function", [GRANT_FUNCTION, ASSOCIATE_FUNCTION])
def test_an_operator_runs_reconcile_and_nothing_else(cloud: Deployment, function: str) -> None:
    """Whoever runs an acting function writes its event, and could write one that looks like an approval's."""
    functions = Functions(cloud.url, REGION, Keys(OPERATOR.id, OPERATOR.secret, ""))
    with pytest.raises(GrantError, match="fc:InvokeFunction"):
        functions.run(function, b"{}")


@pytest.mark.parametrize(
    ("action", "attempt"),
    [
        pytest.param(
            "mns:PublishMessage",
            lambda account: account.get_topic("ecr-completions").publish_message(TopicMessage("{}")),
            id="publish a completion",
        ),
        *(
            pytest.param(
                "mns:ReceiveMessage",
                lambda account, name=name: account.get_queue(name).receive_message(0),
                id=f"take messages from {name}",
            )
            for name in WORK_QUEUES
        ),
        *(
            pytest.param(
                "mns:DeleteQueue", lambda account, name=name: account.get_queue(name).delete(), id=f"delete {name}"
            )
            for name in WORK_QUEUES
        ),
    ],
)
def test_an_operator_speaks_for_no_function(cloud: Deployment, action: str, attempt: Callable[[Any], object]) -> None:
    """Nor takes work away from one."""
    account = Account(cloud.url, OPERATOR.id, OPERATOR.secret)
    with contextlib.closing(Connection(account)), pytest.raises(MNSServerException, match=action):
        attempt(account)
