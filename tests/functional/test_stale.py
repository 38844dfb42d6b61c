"""Functions are frozen between invocations, and their connections die meanwhile: the next event works, nothing is sent twice."""

from __future__ import annotations

import http.client
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.cloud.calls import Calls, Trail
from shared.cloud.clients import config
from shared.cloud.keys import Keys
from shared.cloud.messaging import Messaging
from shared.cloud.spoke import Spoke as SpokeOnCloud
from shared.errors import CloudUnreachable
from shared.messages.forms import GrantKey, InstanceType
from shared.settings import Settings
from tests.configured import CONFIG_KEYS_TEXT
from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.launch import TEMPLATE
from tests.functional.relay import Relay, relay
from tests.functional.world import HUB, HUB_ECR, REGION, SPOKE_ROLE, TESTER, Key, Spoke, Stage

RUNNER = Key("LTAI-example-runner", "example-secret-of-the-runner")

COMPLETIONS = "SELECT count(*) FROM events WHERE kind NOT IN ('ownership', 'took-effect')"
"""What was recorded to be published."""


@dataclass
class Line:
    """The local cloud, and the line to it."""

    cloud: Deployment
    relay: Relay
    url: str
    """Where the relay listens."""
    spokes: list[Spoke]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """The deployed functions reach the cloud through a relay."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(3)]
    user = f"acs:ram::{HUB}:user/runner"
    for spoke in spokes:
        stage.role(spoke.uid, SPOKE_ROLE)["trust"]["Statement"][0]["Principal"]["RAM"].append(user)
    statement = {"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": ["*"]}
    policies = {"assume": {"Version": "1", "Statement": [statement]}}
    stage.hub["users"]["runner"] = {"access_key": {"id": RUNNER.id, "secret": RUNNER.secret}, "policies": policies}
    with relay() as (between, url):
        through = {f"{name}_ENDPOINT": url for name in ("MNS", "STS", "VPC", "ECR")}
        with deployment(stage, tmp_path_factory.mktemp("stale"), template=TEMPLATE, settings=through) as cloud:
            host, _, port = cloud.address.partition(":")
            between.connect = lambda: socket.create_connection((host, int(port)))
            yield Line(cloud, between, url, spokes)


def writes(cloud: Deployment, document: Json) -> Counter[str]:
    """The writes about an instance that reached the cloud, with or without an effect."""
    return Counter(name for name in cloud.our_calls(document) if not name.startswith("Describe"))


def test_the_event_after_a_freeze_works_although_every_connection_was_closed(line: Line) -> None:
    """The first event opens connections; they are closed while both functions are frozen; the next one is done at once."""
    spoke = line.spokes[0]
    for _ in range(3):
        document = approval(spoke.uid, next(spoke.vpcs))
        assert line.cloud.settled(document)["event"] == "done"
        line.cloud.quiet()
        assert writes(line.cloud, document) == {
            "GrantInstanceToExpressConnectRouter": 1,
            "CreateExpressConnectRouterAssociation": 1,
        }
        line.relay.cut()
    assert line.relay.connections > 0
    entries = line.cloud.rows(COMPLETIONS)[0][0]
    published = line.cloud.journal(service="mns", operation="PublishMessage")
    assert len(published) == entries
    assert line.cloud.repeated() == []


def test_a_completion_whose_answer_was_cut_is_published_again_by_the_ledger_alone(line: Line) -> None:
    """One cut answer is one more publish, said in the log: the ledger's second try, not one of the SDK's own in silence."""
    spoke = line.spokes[1]
    document = approval(spoke.uid, next(spoke.vpcs))
    line.cloud.settled(document)
    line.cloud.quiet()
    before = len(line.cloud.journal(service="mns", operation="PublishMessage"))
    kept = len(kept_letters(line.cloud))
    known = line.cloud.rows(COMPLETIONS)[0][0]
    fault = line.cloud.admin.plan(kind="cut_after", service="mns", operation="PublishMessage", times=2)
    document = approval(spoke.uid, next(spoke.vpcs))
    line.cloud.send(document)
    line.cloud.quiet()
    line.cloud.nudge()
    assert line.cloud.answer(document)["event"] == "done"
    line.cloud.quiet()
    [struck] = [one["struck"] for one in line.cloud.admin.faults() if one["number"] == fault["number"]]
    entries = line.cloud.rows(COMPLETIONS)[0][0] - known
    assert struck == 2
    assert len(line.cloud.journal(service="mns", operation="PublishMessage")) - before == entries + struck
    assert len(kept_letters(line.cloud)) - kept == struck
    assert len(line.cloud.repeated()) in (1, 2)  # the same entry may have been cut twice


def kept_letters(cloud: Deployment) -> list[str]:
    """Log lines about completions that could not be sent."""
    return [
        line["text"]
        for name in ("ecr-grants-grant", "ecr-grants-associate")
        for line in cloud.logs(name)
        if '"completion.kept"' in line["text"]
    ]


@pytest.mark.parametrize("operation", ["SendMessage", "PublishMessage"])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("cut_before", id="cut before it had its effect"),
        pytest.param("cut_after", id="cut after it had its effect"),
    ],
)
def test_a_send_whose_answer_does_not_come_is_an_error_and_no_second_send(
    line: Line, operation: str, kind: str
) -> None:
    """The SDK alone would send once more in silence; our gate tells, and the journal shows one call."""
    messaging = Messaging(line.url, lambda: Keys(TESTER.id, TESTER.secret, ""))

    def send() -> str:
        if operation == "SendMessage":
            return messaging.send("ecr-answers-dead", "{}")
        return messaging.publish("ecr-completions", "{}", "nobody")

    before = len(line.cloud.journal(service="mns", operation=operation))
    line.cloud.admin.plan(kind=kind, service="mns", operation=operation, account=HUB)
    with pytest.raises(CloudUnreachable) as told:
        send()
    assert told.value.executed
    assert len(line.cloud.journal(service="mns", operation=operation)) == before + 1


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        pytest.param("http", http.client.HTTPConnection, id="in the clear, as to a stand-in"),
        pytest.param("https", http.client.HTTPSConnection, id="with TLS, as to the platform"),
    ],
)
def test_every_connection_to_the_queues_has_a_time_limit(scheme: str, kind: type[http.client.HTTPConnection]) -> None:
    """The SDK has none over HTTPS, and a minute over HTTP."""
    messaging = Messaging(f"{scheme}://127.0.0.1:1", lambda: Keys("LTAI-example", "example", ""))
    with messaging._account("SendMessage", "a-queue") as account:
        connection = account.mns_client.http.conn
        assert isinstance(connection, kind)
        assert connection.timeout == 10


def test_every_call_to_the_apis_has_a_time_limit() -> None:
    """Below the function's own, so that an answer that does not come is an error of ours and not the end of the function."""
    made = config("https://ecr.example.com", REGION, Keys("LTAI-example", "example", ""))
    assert 0 < made.connect_timeout <= 5_000
    assert 0 < made.read_timeout <= 10_000


class Clock:
    """A clock that a test turns."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_connections_that_rested_for_long_are_not_used_again(line: Line, tmp_path: Path) -> None:
    """A connection may be dead without a word: after a freeze calls go over new ones, and do not wait for the old."""
    spoke = line.spokes[2]
    names = ("FC_REGION", REGION), ("LEDGER_URL", line.cloud.ledger_url), ("CONFIG_KEYS", CONFIG_KEYS_TEXT)
    endpoints = {f"{name}_ENDPOINT": line.url for name in ("MNS", "STS", "VPC", "ECR")}
    settings = Settings.model_validate({**dict(names), **endpoints})
    clock = Clock()
    keys = Keys(RUNNER.id, RUNNER.secret, "")
    calls = Calls(settings, lambda: line.cloud.stage.configuration.inventory, keys, clock=clock)
    key = GrantKey(HUB_ECR, HUB, InstanceType.VPC, next(spoke.vpcs), REGION, spoke.uid)
    calls.arrive(keys, "first")
    assert SpokeOnCloud(calls).look_at_spoke(key, Trail()).found
    before = line.relay.connections
    clock.now += 5
    calls.arrive(keys, "soon after")
    assert SpokeOnCloud(calls).look_at_spoke(key, Trail()).found
    assert line.relay.connections == before

    line.relay.lose()
    clock.now += 60
    calls.arrive(keys, "long after")
    assert SpokeOnCloud(calls).look_at_spoke(key, Trail()).found
    assert line.relay.connections == before + 1
