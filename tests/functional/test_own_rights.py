"""What the functions' own roles may do is what their functions do: nothing is missing that is needed, nothing is left over.

Each function lives through everything it does in this process, with the keys of its role: once as the example world has the
role, and once for each permission without it (a session policy takes it away). The local cloud's journal has what was used.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import partial

import pytest
from alibabacloud_sts20150401.models import AssumeRoleRequest

from deploy import surroundings
from shared.cloud.calls import Trail
from shared.cloud.hub import Hub as HubCloud
from shared.cloud.keys import home_keys
from shared.cloud.pages import READ_ONLY, Pages
from shared.cloud.spoke import Spoke as SpokeCloud
from shared.cloud.survey import LOOK_ONLY, Survey
from shared.desk.opening import opened
from shared.errors import LedgerError, PermissionMissing
from shared.ledger.admission import reject_message
from shared.ledger.operating import set_mode
from shared.ledger.transactions import Ledger, now_ms
from shared.log import configure
from shared.loop import frame as frames
from shared.loop.drivers import HubDriver, SpokeDriver
from shared.loop.frame import Frame
from shared.loop.looking import Looking
from shared.loop.preflight import Preflight
from shared.loop.reconcile import Reconcile
from shared.messages.completion import Reason
from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import Mode, Side
from tests.configured import sealed
from tests.functional.approvals import approval, request_id, wake
from tests.functional.asked import ask, desk_at, seen
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.inprocess import Context, events
from tests.functional.launch import environment, ledger_without
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    DESK_FUNCTION,
    EXAMPLE,
    GRANT_FUNCTION,
    HUB,
    HUB_ECR,
    PREFLIGHT_FUNCTION,
    RECONCILE_FUNCTION,
    REGION,
    SPOKE,
    Key,
    Spoke,
    Stage,
)

THIRD = "3000000000000003"
RUNNER = Key("LTAI-example-runner", "example-secret-of-the-runner")
FUNCTIONS = surroundings.FUNCTIONS
NOT_OURS = {
    action
    for role in surroundings.FUNCTION_ROLES
    for policy in role.policies
    for statement in policy.statements
    if statement.unproven
    for action in statement.actions
}
"""What the platform does in the role's name, as the surroundings say."""
ASKED: Json = {
    "schema": "ecr-grants/completion/1",
    "id": "e-1",
    "event": "asked",
    "at": "2026-01-01T00:00:00Z",
    "request": {"issuer": "desk", "request_id": ""},
}
"""What the topic tells preflight, but for which request."""
REJECTED = Reason(code="BadInput", text="a test needs something to publish")


@dataclass(frozen=True)
class Right:
    """One action on one kind of resource, as the example world allows it to one role."""

    role: str
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.role}: {self.action} on {self.resource.rpartition('/queues/')[2].removesuffix('/messages')}"

    def covers(self, action: str, resource: str) -> bool:
        """Whether a call needs this right."""
        return action == self.action and fnmatchcase(resource, self.resource)


RIGHTS = [
    Right(role, action, resource)
    for role in FUNCTIONS
    for document in EXAMPLE["accounts"][HUB]["roles"][role]["policies"].values()
    for statement in document["Statement"]
    for action in statement["Action"]
    for resource in statement["Resource"]
]
OWN = [right for right in RIGHTS if right.action not in NOT_OURS]


@dataclass
class House:
    """A local cloud with nothing deployed, its ledger, and the functions' roles."""

    cloud: Deployment
    ledger: Ledger
    spokes: Iterator[Spoke]

    def key(self, role: str, without: Right | None = None) -> Key:
        """A session of a function's role; ``without`` takes one of its permissions away."""
        statements = [{"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}]
        if without is not None:
            statements.append({"Effect": "Deny", "Action": [without.action], "Resource": [without.resource]})
        request = AssumeRoleRequest(
            role_arn=f"acs:ram::{HUB}:role/{role}",
            role_session_name="in-process",
            policy=json.dumps({"Version": "1", "Statement": statements}),
        )
        given = self.cloud.sts(RUNNER).assume_role(request).body.credentials
        return Key(given.access_key_id, given.access_key_secret, given.security_token)

    @contextlib.contextmanager
    def credentials(self, key: Key) -> Iterator[None]:
        """The environment of a function that has these."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in zip(
                ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"), asdict(key).values(), strict=True
            ):
                patch.setenv(f"ALIBABA_CLOUD_{name}", value)
            yield

    @contextlib.contextmanager
    def frame(self, key: Key, session_policy: str | None = None) -> Iterator[Frame]:
        """A function that starts cold with these credentials."""
        with self.credentials(key):
            made = Frame(Context("rights"), session_policy=session_policy)
            try:
                yield made
            finally:
                made.ledger.close()

    @contextlib.contextmanager
    def starting_while_the_ledger_is_away(self, key: Key) -> Iterator[Frame]:
        """The same, when nothing can be taken in."""
        with self.frame(key) as frame, ledger_without(self.cloud.ledger_url, "alembic_version"):
            yield frame

    def unpublished(self) -> None:
        """Something that whoever comes next has to publish."""
        self.ledger.write(reject_message, request_id(), "{}", REJECTED, now_ms())

    def granted(self, spoke: str, instance: str, key: Key) -> Json:
        """Account B's side of a grant is done, account A's is not."""
        document = approval(spoke, instance)
        with self.frame(key) as frame:
            frame.run(SpokeDriver(SpokeCloud(frame.calls)), events([("M", sealed(document))]), Context("granted"))
        return self.cloud.event(document, "granted")

    def life(self, role: str, key: Key) -> str:
        """Everything that one function does. Returns what it said meanwhile, in its log and in its answers."""
        self.unpublished()
        self.cloud.receive()
        known, said = len(self.cloud.completions), io.StringIO()
        lives = {
            GRANT_FUNCTION: self._grants,
            ASSOCIATE_FUNCTION: self._associates,
            PREFLIGHT_FUNCTION: self._looks_before,
            RECONCILE_FUNCTION: self._looks,
            DESK_FUNCTION: self._asks,
        }
        with redirect_stdout(said):
            lives[role](key)
        self.cloud.receive()
        return said.getvalue() + json.dumps(self.cloud.completions[known:])

    def _grants(self, key: Key) -> None:
        """The main job for each account B of the example, and what is done while the ledger is away."""
        documents = [approval(uid, EXAMPLE["accounts"][uid]["vpcs"][0]["id"]) for uid in (SPOKE, THIRD)]
        with self.frame(key) as frame:
            driver = SpokeDriver(SpokeCloud(frame.calls))
            frame.run(driver, events([("M", sealed(one)) for one in documents]), Context("grant"))
        with self.starting_while_the_ledger_is_away(key) as frame:
            driver = SpokeDriver(SpokeCloud(frame.calls))
            with contextlib.suppress(LedgerError):
                frame.run(driver, events([("M", sealed(documents[0]))]), Context("away"))
            frame.run(driver, events([("M", json.dumps(wake()))], queue="ecr-grants-wakes"), Context("away"))

    def _associates(self, key: Key) -> None:
        """Account A's half of the main job, and what is done while the ledger is away."""
        spoke = next(self.spokes)
        hint = self.granted(spoke.uid, next(spoke.vpcs), self.key(GRANT_FUNCTION))
        self.unpublished()
        with self.frame(key) as frame:
            driver = HubDriver(HubCloud(frame.calls))
            frame.run(driver, events([("M", json.dumps(hint))], queue="ecr-associations"), Context("associate"))
        with self.starting_while_the_ledger_is_away(key) as frame:
            driver = HubDriver(HubCloud(frame.calls))
            frame.run(driver, events([("M", json.dumps(wake()))], queue="ecr-associations"), Context("away"))

    def _looks_before(self, key: Key) -> None:
        """What is asked of each account B of the example is looked at, and the grant function is to hear of it."""
        with desk_at(self.cloud.ledger_url) as desk:
            asked = [ask(desk, EXAMPLE["accounts"][uid]["vpcs"][0]["id"], uid) for uid in (SPOKE, THIRD)]
            told = [(name, json.dumps(ASKED | {"request": ASKED["request"] | {"request_id": name}})) for name in asked]
            with self.frame(key, LOOK_ONLY) as frame:
                frame.arrive(Context("before"))
                frame.check()
                looks = Preflight(Survey(frame.calls), frame.gate.inventory)
                wake_grant = partial(frame.wake, None, Side.GRANT, now_ms())
                Looking(frame.ledger, looks, wake_grant, now_ms).run(events(told, queue="ecr-asked"))
            for name in asked:
                print(seen(desk, name))

    def _asks(self, key: Key) -> None:
        """People ask, and the grant function is to hear of it."""
        with self.credentials(key):
            parts = opened(partial(home_keys, None))
            spoke = next(self.spokes)
            ask(parts.desk(), next(spoke.vpcs), spoke.uid)
            parts.wake()
            parts.ledger.close()

    def _looks(self, key: Key) -> None:
        """A pass over both accounts B and the hub, with something to wake on either side."""
        spoke, grant = next(self.spokes), self.key(GRANT_FUNCTION)
        for instance in (next(spoke.vpcs), next(spoke.vbrs)):
            self.granted(spoke.uid, instance, grant)
        self.ledger.write(set_mode, Mode.PAUSE_ALL, "somebody", now_ms())
        document = approval(spoke.uid, next(spoke.vpcs))
        with self.frame(grant) as frame:
            frame.run(SpokeDriver(SpokeCloud(frame.calls)), events([("M", sealed(document))]), Context("held"))
        self.ledger.write(set_mode, Mode.FULL, "somebody", now_ms())
        self.unpublished()
        with self.frame(key, READ_ONLY) as frame:
            frame.arrive(Context("tick"))
            print(asdict(Reconcile(frame, Pages(frame.calls), clock=lambda: now_ms() + 3_600_000).run()))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One local cloud for all; both accounts B of the example are listed."""
    stage = Stage()
    stage.list_spoke(THIRD)
    spokes = [stage.new_spoke() for _ in range(40)]
    roles = [f"acs:ram::{HUB}:role/{name}" for name in FUNCTIONS]
    may_assume = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": roles}
    stage.hub["users"]["runner"] = {
        "access_key": {"id": RUNNER.id, "secret": RUNNER.secret},
        "policies": {"assume": {"Version": "1", "Statement": [may_assume]}},
    }
    for name in FUNCTIONS:
        trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::{HUB}:user/runner"]}}
        stage.role(HUB, name)["trust"]["Statement"].append(trusted)
    with (
        deployment(stage, tmp_path_factory.mktemp("rights"), template=None) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("FC_REGION", REGION)
        for variable, value in environment(cloud.ledger_url, cloud.accounts_file, cloud.address).items():
            patch.setenv(variable, value)
        patch.setattr(frames, "_SEND_AGAIN_PAUSES", (0.0, 0.0))
        configure()
        ledger = Ledger(cloud.ledger_url)
        yield House(cloud, ledger, iter(spokes))
        ledger.close()


@dataclass(frozen=True)
class Whole:
    """What was used, and said, when nothing was missing."""

    used: frozenset[tuple[str, str, str]]
    said: str


@pytest.fixture(scope="module")
def whole(house: House) -> Whole:
    """All lives with the roles as they are."""
    said = "".join(house.life(role, house.key(role)) for role in FUNCTIONS)
    used = {
        (entry["caller"]["name"], entry["decision"]["action"], entry["decision"]["resource"])
        for entry in house.cloud.journal()
        if entry["caller"].get("name") in FUNCTIONS and entry["decision"] and entry["decision"]["allowed"]
    }
    return Whole(frozenset(used), said)


def test_nothing_is_refused_to_the_roles_as_they_are(whole: Whole) -> None:
    """Neither in a log nor in an answer."""
    assert "may not" not in whole.said
    assert "AccessDenied" not in whole.said
    assert "PermissionMissing" not in whole.said


@pytest.mark.parametrize("right", OWN, ids=str)
def test_nothing_is_allowed_that_is_never_used(whole: Whole, right: Right) -> None:
    """Every permission in the example's roles is used in the life of its function."""
    assert any(role == right.role and right.covers(action, resource) for role, action, resource in whole.used)


def test_every_use_is_of_a_permission_that_the_example_has(whole: Whole) -> None:
    """Except for entering the accounts that tests bring: those are let in beside the example's."""
    others = {
        (role, action, resource)
        for role, action, resource in whole.used
        if not any(role == right.role and right.covers(action, resource) for right in OWN)
    }
    assert {action for _, action, _ in others} <= {"sts:AssumeRole"}


@pytest.mark.parametrize("right", OWN, ids=str)
def test_without_any_one_permission_something_fails_and_names_it(house: House, whole: Whole, right: Right) -> None:
    """The log, the answer or reconcile's report has the action and the place; for a role, the account."""
    said = house.life(right.role, house.key(right.role, without=right))
    if right.action == "sts:AssumeRole":
        account = right.resource.removeprefix("acs:ram::").partition(":")[0]
        assert f"the role may not be assumed in account {account}" in said
    else:
        place = right.resource.partition(f"{HUB}:")[2]
        assert any(right.action in line and place in line for line in said.splitlines())


@pytest.mark.parametrize("role", FUNCTIONS)
def test_every_role_may_write_the_functions_log(role: str) -> None:
    """With a role of one's own the platform writes it in that role's name."""
    assert [right.action for right in RIGHTS if right.role == role and right.action in NOT_OURS] == [
        "log:PostLogStoreLogs"
    ]


def test_no_function_receives_messages_by_itself() -> None:
    """The triggers do, in the platform's own name."""
    assert {right.action for right in RIGHTS if right.action.startswith("mns:")} == {
        "mns:SendMessage",
        "mns:PublishMessage",
    }


# -- reconcile only reads ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reads() -> list[str]:
    """The actions that reconcile's sessions are narrowed to."""
    [statement] = json.loads(READ_ONLY)["Statement"]
    assert statement["Effect"] == "Allow"
    found: list[str] = statement["Action"]
    return found


def test_reconcile_uses_exactly_what_its_sessions_are_narrowed_to(house: House, whole: Whole, reads: list[str]) -> None:
    """Nothing in the session policy is idle, and no read is missing in it."""
    entered = {
        entry["decision"]["action"]
        for entry in house.cloud.journal()
        if entry["caller"].get("session") == "ecr-grants-tick" and entry["decision"]
    }
    assert entered == set(reads)
    assert not [action for action in reads if ":Describe" not in action]


def test_reconciles_sessions_cannot_write_with_a_role_that_may(house: House) -> None:
    """The same role, entered in the same way but for the session policy, grants."""
    spoke = next(house.spokes)
    key = GrantKey(HUB_ECR, HUB, InstanceType.VPC, next(spoke.vpcs), REGION, spoke.uid)
    with house.frame(house.key(RECONCILE_FUNCTION), READ_ONLY) as frame:
        with pytest.raises(PermissionMissing, match="GrantInstanceToExpressConnectRouter is missing"):
            SpokeCloud(frame.calls).grant(key, "token-1", Trail())
        with pytest.raises(PermissionMissing, match="CreateExpressConnectRouterAssociation is missing"):
            HubCloud(frame.calls).associate(key, (), "token-2", Trail())
    with house.frame(house.key(RECONCILE_FUNCTION)) as frame:
        SpokeCloud(frame.calls).grant(key, "token-3", Trail())
        HubCloud(frame.calls).associate(key, (), "token-4", Trail())
