"""The admin API: what it shows, what it changes, and that nothing else gets through it."""

import json
import threading
from typing import Any

import pytest
from alibabacloud_expressconnectrouter20230901 import models as ecr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.client import AdminClient, AdminError
from tests.functional.waiting import PATIENCE, until
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import LocalCloud, send, stage

Json = dict[str, Any]


def test_health_tells_the_time(run_cloud: RunCloud) -> None:
    """Health answers with the address and cloud time."""
    cloud = run_cloud(stage().world)

    before = cloud.admin.health()
    cloud.admin.advance(86_400)

    assert (before["status"], before["address"]) == ("ok", cloud.address)
    assert cloud.admin.health()["time"] > before["time"]


def test_the_journal_is_filtered_and_numbered(run_cloud: RunCloud) -> None:
    """Entries have rising numbers and can be asked for from a number on, by service, operation and account."""
    at = stage()
    cloud = run_cloud(at.world)
    for key in (at.a, at.b, at.a):
        cloud.sts(key).get_caller_identity()
    cloud.ecr(at.a).describe_express_connect_router(ecr.DescribeExpressConnectRouterRequest())

    assert [entry["number"] for entry in cloud.admin.journal()] == [1, 2, 3, 4]
    assert [entry["number"] for entry in cloud.admin.journal(after=2)] == [3, 4]
    assert [entry["number"] for entry in cloud.admin.journal(service="ecr")] == [4]
    assert [entry["number"] for entry in cloud.admin.journal(operation="GetCallerIdentity", account=at.spoke)] == [2]
    assert cloud.admin.call("GET", "journal", query={"limit": 2})["last"] == 2
    assert set(cloud.admin.journal()[0]) == {
        "number", "time", "service", "operation", "account", "region", "caller", "request_id", "params", "decision",
        "status", "code", "message", "effect", "milliseconds",
    }  # fmt: skip


def test_a_reader_of_the_journal_can_wait(run_cloud: RunCloud) -> None:
    """A long poll returns when a call was made, and with nothing when none was."""
    at = stage()
    cloud = run_cloud(at.world)
    found: list[Json] = []
    reader = threading.Thread(target=lambda: found.extend(cloud.admin.journal(wait=60)))
    reader.start()
    until(lambda: cloud.inside(lambda c: bool(c.journal._readers)), "the reader waits")

    cloud.sts(at.a).get_caller_identity()
    reader.join(PATIENCE)

    assert [entry["operation"] for entry in found] == ["GetCallerIdentity"]
    assert cloud.admin.journal(after=1, wait=0.01) == []


def test_no_secret_leaves_by_the_side_door(run_cloud: RunCloud) -> None:
    """Neither journal nor world snapshot contain a secret or a session token."""
    at = stage()
    at.world["accounts"][at.spoke]["roles"] = {"r": {"trust": _trusting(at.hub)}}
    cloud = run_cloud(at.world)
    session = cloud.assume(at.a, f"acs:ram::{at.spoke}:role/r")
    cloud.sts(session).get_caller_identity()

    shown = json.dumps([cloud.admin.journal(), cloud.admin.world()])

    assert session.id in shown
    for secret in (session.secret, session.token, at.a.secret, at.b.secret):
        assert secret is not None
        assert secret not in shown


def _trusting(account: str) -> Json:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"RAM": [f"acs:ram::{account}:root"]}}
    return {"Version": "1", "Statement": [statement]}


def test_faults_are_listed_and_cleared_one_by_one(run_cloud: RunCloud) -> None:
    """Planned trouble has a number by which it is forgotten."""
    cloud = run_cloud(stage().world)
    first = cloud.admin.plan(kind="throttle", service="sts")["number"]
    second = cloud.admin.plan(kind="slow", seconds=1)["number"]

    assert cloud.admin.clear(first) == 1
    assert [fault["number"] for fault in cloud.admin.faults()] == [second]
    assert (cloud.admin.clear(), cloud.admin.faults()) == (1, [])


def test_switches_say_what_they_are_for(run_cloud: RunCloud) -> None:
    """Every switch has a default, alternatives and a reason; one bad value leaves all as they were."""
    cloud = run_cloud(stage().world)

    for switch in cloud.admin.call("GET", "switches")["switches"]:
        assert switch["value"] == switch["default"]
        assert switch["default"] in switch["values"]
        assert len(switch["values"]) > 1
        assert len(switch["reason"]) > 20
    with pytest.raises(AdminError, match="revoke_absent"):
        cloud.admin.switch(grant_twice="conflict", revoke_absent="maybe")
    assert cloud.inside(lambda c: c.switches.grant_twice) == "success"


def test_quotas_are_shown_and_changed(run_cloud: RunCloud) -> None:
    """Limits in force can be read, changed and lifted; an unknown name changes nothing."""
    cloud = run_cloud(stage().world)

    cloud.admin.quota(**{"sts:AssumeRole": {"limit": 7, "seconds": 2, "window": "sliding"}, "mns:data": None})
    table = cloud.admin.call("GET", "quotas")["quotas"]
    assert table["sts:AssumeRole"] == {"limit": 7, "seconds": 2.0, "window": "sliding"}
    assert table["mns:data"] is None
    with pytest.raises(AdminError, match="unknown quota"):
        cloud.admin.quota(**{"sts:AssumeRole": {"limit": 9, "seconds": 2}, "sts:Everything": None})
    assert cloud.admin.call("GET", "quotas")["quotas"] == table


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "reason"),
    [
        ("GET", "nothing", None, 404, "nothing at"),
        ("DELETE", "clock", None, 405, "possible: GET, POST"),
        ("POST", "clock", {"advance": -1}, 400, "advance"),
        ("POST", "clock", {"advance": True}, 400, "advance"),
        ("POST", "clock", {"advance": 1, "more": 1}, 400, "advance"),
        ("POST", "clock", [1], 400, "JSON object"),
        ("POST", "faults", {"kind": "explode"}, 400, "kind"),
        ("POST", "faults", {"kind": "throttle", "colour": 1}, 400, "colour"),
        ("DELETE", "faults?number=x", None, 400, "number"),
        ("GET", "journal?after=-1", None, 400, "after"),
        ("GET", "journal?wait=61", None, 400, "wait"),
        ("GET", "journal?wait=nan", None, 400, "wait"),
        ("GET", "journal?colour=blue", None, 400, "unknown query parameter"),
        ("GET", "journal?after=1&after=2", None, 400, "more than once"),
        ("GET", "functions/nobody/logs", None, 404, "no function"),
        ("GET", "functions/nobody", None, 404, "possible"),
        ("POST", "functions/nobody/kill", None, 404, "no function"),
        ("POST", "deploy", {}, 400, "template"),
        ("POST", "deploy", {"template": "/nowhere/s.yaml"}, 400, "/nowhere/s.yaml"),
        ("POST", "deploy", {"template": "x", "env": {"A": 1}}, 400, "env"),
        ("PUT", "switches", {"colour": "blue"}, 400, "colour"),
        ("PUT", "quotas", {"sts:AssumeRole": {"limit": 0, "seconds": 1}}, 400, "limit"),
    ],
)
def test_a_bad_request_has_a_reason(
    run_cloud: RunCloud, method: str, path: str, body: Any, status: int, reason: str
) -> None:
    """What cannot be done is answered with the reason."""
    cloud = run_cloud(stage().world)

    answer = send(cloud, method, f"/_localcloud/{path}", body=b"" if body is None else json.dumps(body).encode())

    assert answer.status == status
    assert reason in answer.json["error"]


@pytest.mark.parametrize("headers", [{"Origin": "http://example.com"}, {"Host": "attacker.example.com"}])
def test_a_browser_of_another_origin_is_refused(run_cloud: RunCloud, headers: dict[str, str]) -> None:
    """A web page cannot reach the admin API through a person's browser, not by rebinding a name either."""
    cloud = run_cloud(stage().world)

    assert send(cloud, "GET", "/_localcloud/world", headers).status == 403


def test_a_client_without_a_cloud_says_so() -> None:
    """An address where nothing answers is an error a person understands."""
    with pytest.raises(AdminError, match=r"no local cloud answers at http://127\.0\.0\.1:1"):
        AdminClient("127.0.0.1:1").health()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        ["advance", "kind", "seconds", "times", "after", "service", "grant_twice", "sts:AssumeRole", "template", "env"]
    )
    | st.text(max_size=5),
    JSON,
    max_size=4,
)
PATHS = st.sampled_from(
    ["clock", "faults", "switches", "quotas", "deploy", "journal", "functions", "functions/x/kill", "world", "health"]
) | st.text("abc/%?&=.0", max_size=12)


def state(cloud: LocalCloud) -> Any:
    """Everything the admin API can change, cloud time aside."""
    return cloud.inside(
        lambda c: (c.faults.list(), c.switches.model_dump(), c.quotas.table(), cloud.fc.functions(), c.clock._offset)
    )


def test_whatever_is_asked_nothing_breaks(run_cloud: RunCloud) -> None:
    """No request to the admin API ends in a 5xx, and one that is refused changes nothing."""
    cloud = run_cloud(stage().world)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]), PATHS, FIELDS | JSON | st.binary(max_size=20))
    def ask(method: str, path: str, body: Any) -> None:
        before = state(cloud)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = send(cloud, method, f"/_localcloud/{path}", body=data)
        assert answer.status < 500, answer
        if answer.status >= 400:
            assert state(cloud) == before

    ask()
