"""The handlers themselves, called in this process with real bytes: every event shape, both runtimes' contexts."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from alibabacloud_sts20150401.models import AssumeRoleRequest

from functions import associate, grant
from shared.cloud import spoke as spoke_side
from shared.errors import LedgerError, SettingsError
from shared.ledger.operating import set_mode
from shared.ledger.transactions import Ledger, now_ms
from shared.loop.drivers import SpokeDriver
from shared.loop.frame import Frame, Function
from shared.rules.facts import Mode
from shared.settings import EventSubject
from tests.functional.approvals import approval, request_id, revocation, wake
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.inprocess import RUNNER, Context
from tests.functional.launch import SETTLE_SECONDS, environment, ledger_without
from tests.functional.mailbox import as_sent
from tests.functional.world import ASSOCIATE_FUNCTION, GRANT_FUNCTION, HUB, HUB_ECR, Key, Spoke, Stage

POLL_SECONDS = 3.0
LAG_SECONDS = 60.0  # longer than the steps of a test take on any machine
"""What is under way is looked at again after so long."""


@dataclass(frozen=True)
class Credentials:
    """What the older runtime hands over with each call."""

    access_key_id: str
    access_key_secret: str
    security_token: str


@dataclass(frozen=True)
class OlderContext(Context):
    """The context of the older runtime."""

    credentials: Credentials | None = None


@dataclass
class Bench:
    """A local cloud with nothing deployed, and this process in the functions' place."""

    cloud: Deployment
    spokes: Iterator[Spoke]
    keys: dict[str, Key]
    calls: int = 0
    frame: Frame | None = None
    """Of an instance that was started with other settings; without it, the handler's own."""

    def context(self, function: str, *, older: bool) -> Context:
        """A call's context; where it has no credentials the environment has them, and only there."""
        self.calls += 1
        key, name = self.keys[function], f"in-process-{self.calls}"
        for variable, value in (
            ("ACCESS_KEY_ID", key.id),
            ("ACCESS_KEY_SECRET", key.secret),
            ("SECURITY_TOKEN", key.token),
        ):
            os.environ.pop(f"ALIBABA_CLOUD_{variable}", None)
            if not older:
                os.environ[f"ALIBABA_CLOUD_{variable}"] = value
        return OlderContext(name, credentials=Credentials(key.id, key.secret, key.token)) if older else Context(name)

    def grant(self, *messages: Json | str, shape: str = "objects", older: bool = False) -> dict[str, int]:
        """Let account B's side handle messages."""
        context = self.context(GRANT_FUNCTION, older=older)
        if self.frame is not None:  # what the handler does
            return self.frame.run(
                SpokeDriver(spoke_side.Spoke(self.frame.calls)), event(*messages, shape=shape), context
            )
        return grant.handler(event(*messages, shape=shape), context)

    def associate(self, shape: str = "objects", *, older: bool = False) -> dict[str, int]:
        """Let account A's side handle what the topic has delivered to its queue."""
        bodies = self.cloud.take("ecr-associations")
        return associate.handler(event(*bodies, shape=shape), self.context(ASSOCIATE_FUNCTION, older=older))

    def wakes(self, queue: str) -> list[Json]:
        """The delayed messages in a queue."""
        for found in self.cloud.admin.world()["mns"]["queues"]:
            if found["account"] == HUB and found["name"] == queue:
                return [one for one in found["messages"] if one["state"] == "delayed"]
        raise AssertionError(f"no queue {queue}")


def event(*messages: Json | str, shape: str = "objects") -> bytes:
    """Messages as the trigger delivers them."""
    bodies = [message if isinstance(message, str) else as_sent(message) for message in messages]
    data = [{"requestId": "r", "messageId": f"M-{request_id()}", "messageBody": body} for body in bodies]
    events = [
        {
            "id": one["messageId"],
            "source": "acs:mns",
            "specversion": "1.0",
            "type": "mns:Queue:SendMessage",
            "datacontenttype": "application/json;charset=utf-8",
            "time": "2026-11-24T08:00:00.000Z",
            "subject": f"acs:mns:cn-hangzhou:{HUB}:queues/ecr-approvals",
            "aliyunaccountid": HUB,
            "data": one,
        }
        for one in data
    ]
    shapes: dict[str, Any] = {
        "objects": events,
        "strings": [json.dumps(one) for one in events],
        "single": events[0] if events else {},
        "raw": data,
        "raw single": data[0] if data else {},
    }
    return json.dumps(shapes[shape]).encode()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The local cloud, credentials of the functions' own roles, and the environment they are deployed with."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(30)]
    roles = [f"acs:ram::{HUB}:role/{name}" for name in (GRANT_FUNCTION, ASSOCIATE_FUNCTION)]
    may_assume = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": roles}
    stage.hub["users"]["runner"] = {
        "access_key": {"id": RUNNER.id, "secret": RUNNER.secret},
        "policies": {"assume": {"Version": "1", "Statement": [may_assume]}},
    }
    for name in (GRANT_FUNCTION, ASSOCIATE_FUNCTION):
        principal = {"RAM": [f"acs:ram::{HUB}:user/runner"]}
        trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
        stage.role(HUB, name)["trust"]["Statement"].append(trusted)
    with deployment(stage, tmp_path_factory.mktemp("bench"), template=None) as cloud:
        keys = {}
        for name, arn in zip((GRANT_FUNCTION, ASSOCIATE_FUNCTION), roles, strict=True):
            request = AssumeRoleRequest(role_arn=arn, role_session_name="in-process")
            given = cloud.sts(RUNNER).assume_role(request).body.credentials
            keys[name] = Key(given.access_key_id, given.access_key_secret, given.security_token)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FC_REGION", "cn-hangzhou")
            for variable in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"):
                patch.setenv(f"ALIBABA_CLOUD_{variable}", "replaced before each call")
            for variable, value in environment(cloud.ledger_url, cloud.accounts_file, cloud.address).items():
                patch.setenv(variable, value)
            made = Bench(cloud, iter(spokes), keys)
            yield made
            for module, name in ((grant, GRANT_FUNCTION), (associate, ASSOCIATE_FUNCTION)):
                module._function.open(made.context(name, older=False)).ledger.close()


@pytest.fixture
def fresh(bench: Bench) -> Spoke:
    """A spoke for this test alone."""
    return next(bench.spokes)


@pytest.fixture
def ledger(bench: Bench) -> Iterator[Ledger]:
    """The ledger that the handlers write to."""
    opened = Ledger(bench.cloud.ledger_url)
    yield opened
    opened.close()


class Present:
    """The time in this process, where the handlers run: it stands still until a test turns it."""

    def __init__(self) -> None:
        self.seconds = time.time()

    def turn(self, seconds: float) -> None:
        """Time passes, here and not in the local cloud."""
        self.seconds += seconds


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> Present:
    """A test whose steps take no time, however slow the machine is."""
    made = Present()
    monkeypatch.setattr(time, "time", lambda: made.seconds)
    monkeypatch.setattr(time, "time_ns", lambda: int(made.seconds * 1e9))
    return made


@pytest.mark.parametrize("older", [True, False], ids=["context.credentials", "environment"])
def test_both_runtimes_contexts_do_the_main_job(bench: Bench, fresh: Spoke, older: bool) -> None:
    """Credentials come with the call or from the environment; either way the association is ACTIVE in the end."""
    document = approval(fresh.uid, next(fresh.vpcs))
    bench.context(GRANT_FUNCTION, older=older)
    assert bench.grant(document, older=older) == {"settled": 1}
    assert bench.cloud.granted(document, fresh) == [(HUB_ECR, HUB)]
    assert bench.associate(older=older) == {"settled": 1}
    assert bench.cloud.associated(document) == [("ACTIVE", ("10.20.0.0/16",))]
    assert bench.cloud.answer(document)["event"] == "done"


def plain(document: Json) -> str:
    """A body as it was written."""
    return as_sent(document)


def encoded(document: Json) -> str:
    """A body as the SDK encodes it and the trigger leaves it."""
    return base64.b64encode(plain(document).encode()).decode()


@pytest.fixture
def subjects_optional(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A deployment on a platform that leaves the subject out of its events: another instance, with another setting."""
    monkeypatch.setenv("EVENT_SUBJECT", EventSubject.OPTIONAL)
    bench.frame = Function().open(bench.context(GRANT_FUNCTION, older=False))
    yield
    bench.frame.ledger.close()
    bench.frame = None


@pytest.mark.usefixtures("subjects_optional")
@pytest.mark.parametrize("shape", ["objects", "strings", "raw"])
def test_a_batch_of_any_shape_may_mix_everything(bench: Bench, fresh: Spoke, shape: str) -> None:
    """Plain and Base64 bodies, approvals, wakes and rubbish in one event: each gets its own outcome."""
    good = [approval(fresh.uid, next(fresh.vpcs)) for _ in range(2)]
    bad = approval(fresh.uid, "vpc_1")
    rubbish = ["", "{", "\x00", "W10=", json.dumps({"schema": "ecr-grants/approval/3"})]

    counted = bench.grant(plain(good[0]), *rubbish, encoded(bad), json.dumps(wake()), encoded(good[1]), shape=shape)

    assert counted == {"rejected": len(rubbish) + 1, "settled": 3}
    for document in good:
        assert bench.cloud.granted(document, fresh) == [(HUB_ECR, HUB)]
    assert bench.associate(shape)["settled"] == 2


@pytest.mark.usefixtures("subjects_optional")
@pytest.mark.parametrize("shape", ["single", "raw single"])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(plain, id="plain"),
        pytest.param(encoded, id="Base64"),
    ],
)
def test_one_event_alone_is_a_batch_of_one(bench: Bench, fresh: Spoke, shape: str, body: Callable[[Json], str]) -> None:
    """Event mode and a stream that delivers singly look the same to the handler."""
    document = approval(fresh.uid, next(fresh.vpcs))
    assert bench.grant(body(document), shape=shape) == {"settled": 1}
    assert bench.associate()["settled"] == 1
    assert bench.cloud.answer(document)["event"] == "done"


def test_an_event_that_cannot_be_read_is_one_rejection(bench: Bench) -> None:
    """Bytes that are no event at all do not raise: raising would bring them back for a day."""
    context = bench.context(GRANT_FUNCTION, older=False)
    for raw in (b"", b"\xff\xfe", b"nonsense", b"[]", b"{}", b"null", b"[[[["):
        assert set(grant.handler(raw, context)) <= {"rejected"}


def test_a_batch_of_a_hundred_for_one_account_enters_it_once(bench: Bench, fresh: Spoke) -> None:
    """Sessions are kept per role: repeated approvals cost no further AssumeRole, and no further write."""
    document = approval(fresh.uid, next(fresh.vpcs))
    copies = [{**document, "request_id": request_id()} for _ in range(100)]
    assert bench.grant(*copies) == {"settled": 1}
    bench.associate()
    assumed = [
        entry for entry in bench.cloud.journal(operation="AssumeRole") if fresh.uid in entry["params"]["RoleArn"]
    ]
    assert len(assumed) == 1
    assert bench.cloud.calls(document, "GrantInstanceToExpressConnectRouter") == 1
    assert {bench.cloud.answer(one)["event"] for one in copies} == {"done"}


def test_work_that_has_to_wait_sends_itself_a_delayed_wake(bench: Bench, fresh: Spoke) -> None:
    """A throttled write is later: the row knows its time, and a message that carries no fact will come back for it."""
    document = approval(fresh.uid, next(fresh.vpcs))
    where = {"service": "ecr", "operation": "GrantInstanceToExpressConnectRouter", "account": fresh.uid}
    bench.cloud.admin.plan(kind="throttle", retry_after=40_000, **where)
    before = len(bench.wakes("ecr-grants-wakes"))
    assert bench.grant(document) == {"later": 1}
    wakes = bench.wakes("ecr-grants-wakes")
    assert len(wakes) == before + 1
    rows = bench.cloud.rows(
        "SELECT next_at, attempts FROM sides JOIN grants USING (grant_id) WHERE side = 'grant' AND instance_id = :id",
        id=document["instance"]["id"],
    )
    assert rows[0].attempts == 1
    assert rows[0].next_at > now_ms() + 30_000


def test_an_expired_session_is_replaced(bench: Bench, fresh: Spoke) -> None:
    """A token that expires between two calls is thrown away; the next visit enters the account anew."""
    first, second = (approval(fresh.uid, next(fresh.vpcs)) for _ in range(2))
    bench.grant(first)
    where = {"service": "vpc", "operation": "DescribeVpcAttribute", "account": fresh.uid}
    bench.cloud.admin.plan(kind="expire_token", **where)
    assert bench.grant(second) in ({"settled": 1}, {"later": 1})
    assumed = [
        entry for entry in bench.cloud.journal(operation="AssumeRole") if fresh.uid in entry["params"]["RoleArn"]
    ]
    assert len(assumed) == 2


def test_without_credentials_the_function_does_not_start(bench: Bench) -> None:
    """The error says where it looked."""
    bench.context(GRANT_FUNCTION, older=True)
    with pytest.raises(SettingsError, match="neither the context nor ALIBABA_CLOUD_ACCESS_KEY_ID"):
        Frame(Context("in-process"))


def test_what_cannot_be_admitted_is_sent_again(bench: Bench, fresh: Spoke) -> None:
    """With the ledger away the batch goes back to its queue, to come later; nothing is raised. What is an approval is done then,
    what is none is rejected under the id that its sender knows, and a hint still wakes."""
    document = approval(fresh.uid, next(fresh.vpcs))
    before = len(bench.wakes("ecr-approvals"))
    with ledger_without(bench.cloud.ledger_url, "approvals"):
        assert bench.grant(document, "no approval", wake()) == {"sent again": 3}
    assert bench.cloud.calls(document, "GrantInstanceToExpressConnectRouter") == 0
    assert len(bench.wakes("ecr-approvals")) == before + 3

    bench.cloud.admin.advance(20)
    bodies = [body for body in bench.cloud.take("ecr-approvals") if b"again/1" in base64.b64decode(body)]
    assert bench.grant(*bodies) == {"rejected": 1, "settled": 2}
    bench.associate()
    assert bench.cloud.answer(document)["event"] == "done"
    original = next(json.loads(base64.b64decode(body)) for body in bodies if b"no approval" in base64.b64decode(body))
    assert bench.cloud.answer_to_message(original["message_id"])["event"] == "rejected"


def test_the_handler_raises_only_when_nothing_can_be_kept(bench: Bench, fresh: Spoke) -> None:
    """With the ledger and the queue away the batch has to come back, but not for a hint; when both are there the same event is
    handled."""
    document = approval(fresh.uid, next(fresh.vpcs))
    bench.cloud.admin.plan(kind="server_error", service="mns", operation="SendMessage", after=1, times=1)
    with ledger_without(bench.cloud.ledger_url, "approvals"):
        assert bench.grant(document, wake()) == {"sent again": 2}
    bench.cloud.admin.plan(kind="server_error", service="mns", operation="SendMessage", times=4)
    with ledger_without(bench.cloud.ledger_url, "approvals"), pytest.raises(LedgerError, match="the ledger is away"):
        bench.grant(document)
    assert bench.grant(document) == {"settled": 1}
    bench.associate()


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("observe", id="observe: it looks and never acts"),
        pytest.param("pause-all", id="pause-all: it waits for the mode to change"),
    ],
)
def test_a_mode_that_does_not_act_admits_and_holds(bench: Bench, fresh: Spoke, ledger: Ledger, mode: Any) -> None:
    """Nothing is written on the cloud; when the mode is full again the same row goes on."""
    document = approval(fresh.uid, next(fresh.vpcs))
    ledger.write(set_mode, mode, "somebody", now_ms())
    try:
        assert bench.grant(document) == {"held": 1}
        assert bench.cloud.granted(document, fresh) == []
        assert bench.cloud.kinds(document) == ["admitted", "held"]
    finally:
        ledger.write(set_mode, Mode.FULL, "somebody", now_ms())
    assert bench.grant(wake(bench.cloud.about(document)[0]["grant"]["grant_id"])) == {"settled": 1}
    assert bench.associate() == {"settled": 1}
    assert bench.cloud.answer(document)["event"] == "done"


def test_pause_teardown_puts_up_and_takes_nothing_down(bench: Bench, fresh: Spoke, ledger: Ledger) -> None:
    """A revoke is admitted and held on account A's side; grants go on."""
    document, other = (approval(fresh.uid, next(fresh.vpcs)) for _ in range(2))
    bench.grant(document)
    bench.associate()
    ledger.write(set_mode, Mode.PAUSE_TEARDOWN, "somebody", now_ms())
    try:
        assert bench.grant(revocation(document, "all"), other) == {"waiting": 1, "settled": 1}
        assert bench.associate() == {"held": 1, "settled": 1}
        assert [status for status, _ in bench.cloud.associated(document)] == ["ACTIVE"]
        assert [status for status, _ in bench.cloud.associated(other)] == ["ACTIVE"]
    finally:
        ledger.write(set_mode, Mode.FULL, "somebody", now_ms())


def test_what_account_a_has_just_let_go_of_is_looked_at_again_soon(
    bench: Bench, fresh: Spoke, present: Present
) -> None:
    """Account B's view may be older and still show it attached; no completion is left that would wake anybody later."""
    document = approval(fresh.uid, next(fresh.vbrs))
    bench.grant(document)
    bench.associate()
    present.turn(SETTLE_SECONDS)
    bench.cloud.admin.advance(2 * LAG_SECONDS)  # so that it is attached, and not yet let go of, in a view that lags
    assert bench.grant(revocation(document, "all")) == {"waiting": 1}
    assert bench.associate() == {"settled": 1}
    [detached] = [one for one in bench.cloud.about(document) if one["event"] == "dissociated"]
    bench.cloud.admin.plan(kind="lag", operation="DescribeVirtualBorderRouters", seconds=LAG_SECONDS)
    assert bench.grant(detached) == {"later": 1}
    present.turn(POLL_SECONDS)
    assert bench.grant(wake(detached["grant"]["grant_id"])) == {"settled": 1}
    assert bench.cloud.answer(document)["event"] == "done"


def test_no_secret_is_printed_or_published(bench: Bench, fresh: Spoke, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the function's own credentials nor those of the roles it assumes, on success and in trouble."""
    document = approval(fresh.uid, next(fresh.vpcs))
    bench.cloud.admin.plan(kind="cut_before", service="sts", operation="AssumeRole", account=fresh.uid)
    bench.cloud.admin.plan(
        kind="error", service="ecr", account=fresh.uid, status=403, code="NoPermission", message="No."
    )
    bench.grant("{", document)
    bench.grant({**document, "request_id": request_id()})
    bench.associate()
    printed = capsys.readouterr()
    bench.cloud.receive()
    told = printed.out + printed.err + json.dumps(bench.cloud.completions)
    held = [
        session.keys
        for module in (grant, associate)
        for session in module._function.open(None).calls._sessions._open.values()
    ]
    secrets = [value for key in bench.keys.values() for value in (key.secret, key.token)]
    secrets += [value for key in held for value in (key.access_key_secret, key.security_token)]
    assert len(secrets) > 8
    assert "cloud.called" in told
    assert [secret for secret in secrets if secret in told] == []
