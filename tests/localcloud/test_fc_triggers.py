"""Timers in cloud time, and HTTP triggers on ports of their own: custom runtimes and built-in ones."""

import base64
import http.client
import json
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from localcloud.fc.errors import DeployError
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import (
    WEB,
    Functions,
    function,
    http_trigger,
    timer_trigger,
    until,
    web_function,
)
from tests.localcloud.processes import alive, frozen
from tests.localcloud.wire import Raw, RawAnswer


@pytest.fixture
def functions(run_cloud: RunCloud, tmp_path: Path) -> Functions:
    """A cloud with an account, queues and roles."""
    return Functions(run_cloud, tmp_path)


# Timers


def test_a_timer_fires_in_cloud_time(functions: Functions) -> None:
    """The documented event, at the time the schedule says; the clock is turned, nobody waits."""
    functions.deploy(function("sweep", triggers=[timer_trigger("0 0 4 * * *", payload='{"kind": "reconcile"}')]))
    assert functions.events("sweep") == []
    functions.cloud.advance(86_400)
    (text,) = until(lambda: functions.events("sweep"), "the firing")
    event = json.loads(text)
    assert event["triggerName"] == "timer"
    assert event["triggerTime"].endswith("T04:00:00Z")
    assert event["payload"] == '{"kind": "reconcile"}'
    functions.cloud.advance(86_400)
    until(lambda: len(functions.events("sweep")) == 2, "the second firing")
    assert functions.trigger("sweep")["fired"] == 2


def test_a_clock_turned_past_many_firings_gives_one(functions: Functions) -> None:
    """What a test skips did not happen: one firing for a day of five-minute ticks, then on as scheduled."""
    functions.deploy(function("tick", triggers=[timer_trigger("@every 5m")]))
    functions.cloud.advance(86_400)
    until(lambda: functions.trigger("tick")["fired"] == 1, "the firing")
    functions.cloud.advance(301)
    until(lambda: functions.trigger("tick")["fired"] == 2, "the next")


def test_a_timer_that_is_off_does_not_fire(functions: Functions) -> None:
    """enable false."""
    functions.deploy(
        function("off", triggers=[timer_trigger("@every 5m", enable=False)]),
        function("on", triggers=[timer_trigger("@every 5m")]),
    )
    functions.cloud.advance(600)
    until(lambda: functions.events("on"), "the other timer")
    assert functions.events("off") == []
    assert functions.trigger("off")["state"] == "Stopped"


# HTTP


def ask(functions: Functions, name: str, method: str, target: str, body: bytes = b"", **headers: str) -> RawAnswer:
    """One request to a function's HTTP trigger."""
    address = urlsplit(functions.named(name)["url"]).netloc
    sent = {header.replace("_", "-"): value for header, value in headers.items()}
    return Raw(address).send(method, target, sent, body)


def test_a_custom_runtime_is_reached_through_its_own_port(functions: Functions) -> None:
    """Method, path, query, headers and body arrive; the platform's headers are added, and cannot be forged."""
    functions.deploy(web_function("intake"))
    answer = ask(functions, "intake", "POST", "/a%2Fb/c?x=1&y=%20", b"hello", X_Custom="1", x_fc_account_id="forged")
    seen = answer.json()
    assert (answer.status, seen["method"], seen["path"], seen["body"]) == (200, "POST", "/a%2Fb/c?x=1&y=%20", "hello")
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert headers["x-custom"] == "1"
    assert headers["x-fc-account-id"] == functions.account
    assert headers["x-fc-function-name"] == "intake"
    assert headers["x-fc-access-key-id"].startswith("STS.")
    assert headers["x-fc-request-id"] == answer.headers["X-Fc-Request-Id"]
    (line,) = [line for line in functions.log("intake") if line.startswith("SERVED")]
    assert line == "SERVED POST /a%2Fb/c?x=1&y=%20"
    (entry,) = functions.cloud.journal(service="fc", operation="InvokeHTTPTrigger")
    assert (entry["status"], entry["params"]["function"]) == (200, "intake")


def test_the_default_domain_makes_browsers_save(functions: Functions) -> None:
    """Content-Disposition: attachment, unless the template names a custom domain."""
    functions.deploy(web_function("plain"), web_function("named", customDomain={"domainName": "auto"}))
    assert ask(functions, "plain", "GET", "/").headers["Content-Disposition"] == "attachment"
    assert "Content-Disposition" not in ask(functions, "named", "GET", "/").headers


def test_methods_that_were_not_asked_for_are_refused(functions: Functions) -> None:
    """The trigger lists its methods; connections cannot be upgraded."""
    functions.deploy(web_function("intake"))
    assert ask(functions, "intake", "DELETE", "/").status == 405
    upgrade = ask(functions, "intake", "GET", "/", Connection="Upgrade", Upgrade="websocket")
    assert (upgrade.status, upgrade.json()["Code"]) == (501, "NotEmulated")
    assert not [line for line in functions.log("intake") if line.startswith("SERVED")]


def test_a_server_takes_several_requests_at_once(functions: Functions, tmp_path: Path) -> None:
    """instanceConcurrency shares one instance; the next request starts another; beyond the limit 429."""
    functions.deploy(web_function("busy", instanceConcurrency=2, concurrencyConfig={"reservedConcurrency": 2}))
    refused = tmp_path / "refused"
    answers: list[RawAnswer] = []

    def slow() -> None:
        answers.append(ask(functions, "busy", "GET", f"/until{refused}"))

    threads = [threading.Thread(target=slow) for _ in range(4)]
    for thread in threads:
        thread.start()

    def busy() -> int:
        return sum(len(one["requests"]) for one in functions.named("busy")["instances"])

    until(lambda: busy() == 4, "four requests under way")
    assert ask(functions, "busy", "GET", "/").status == 429
    refused.touch()
    for thread in threads:
        thread.join(30)
    assert [answer.status for answer in answers] == [200] * 4
    assert len({answer.json()["pid"] for answer in answers}) == 2


def test_a_server_that_takes_too_long_or_dies_is_replaced(functions: Functions) -> None:
    """504 after the time-out, 502 when the process ends; the next request finds a new instance."""
    functions.deploy(web_function("fragile", timeout=5))
    first = ask(functions, "fragile", "GET", "/").json()["pid"]
    late = ask(functions, "fragile", "GET", "/sleep/600")
    assert (late.status, late.json()["errorMessage"]) == (504, "Function timed out after 5 seconds")
    assert not alive(first)
    dead = ask(functions, "fragile", "GET", "/exit")
    assert dead.status == 502
    assert "Process exited unexpectedly" in dead.json()["errorMessage"]
    assert ask(functions, "fragile", "GET", "/").status == 200


def test_servers_are_frozen_between_requests(functions: Functions) -> None:
    """A custom runtime stands still too while nobody asks."""
    functions.deploy(web_function("cold"))
    pid = ask(functions, "cold", "GET", "/").json()["pid"]
    until(lambda: frozen(pid), "the freeze")
    assert ask(functions, "cold", "GET", "/").json()["pid"] == pid


def test_an_event_reaches_a_server_as_invoke(functions: Functions) -> None:
    """InvokeFunction on a custom runtime is POST /invoke; an error status is a failed invocation."""
    functions.deploy(web_function("server"))
    seen = functions.invoke("server", b"event").json()
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/invoke", "event")


def test_a_server_must_use_the_port_it_is_given(functions: Functions, tmp_path: Path) -> None:
    """A command that ends or cannot be run stops the deployment with its last words."""
    for command, words in (
        (["python3", "-c", "raise SystemExit('no configuration')"], "no configuration"),
        (["./nowhere"], "the command './nowhere' cannot be run"),
    ):
        with pytest.raises(DeployError) as refused:
            functions.deploy(web_function("bad", customRuntimeConfig={"command": command}))
        assert "function bad: did not start" in str(refused.value)
        assert words in str(refused.value)


def test_a_built_in_runtime_gets_the_request_as_an_event(functions: Functions, tmp_path: Path) -> None:
    """The documented event in, statusCode, headers and body out; binary bodies travel as Base64."""
    (tmp_path / "index.py").write_text(ECHO)
    functions.deploy(function("web", code=str(tmp_path), triggers=[http_trigger("GET", "POST")]))
    answer = ask(functions, "web", "POST", "/p%20q?x=1", b'{"a": 1}', Content_Type="application/json", X_Two="a")
    assert (answer.status, answer.headers["X-Answer"]) == (201, "yes")
    event = answer.json()
    assert (event["version"], event["rawPath"], event["body"], event["isBase64Encoded"]) == (
        "v1", "/p%20q", '{"a": 1}', False,
    )  # fmt: skip
    assert event["queryParameters"] == {"x": "1"}
    assert event["headers"]["X-Two"] == "a"
    context = event["requestContext"]
    assert (context["http"]["method"], context["http"]["path"]) == ("POST", "/p q")
    assert context["requestId"] == answer.headers["X-Fc-Request-Id"]
    assert context["accountId"] == functions.account

    binary = ask(functions, "web", "POST", "/binary", b"\x00\xff", Content_Type="application/octet-stream")
    assert binary.body == base64.b64encode(b"\x00\xff")[::-1]
    other = ask(functions, "web", "GET", "/other")
    assert (other.status, other.json(), other.headers["Content-Type"]) == (200, {"a": 1}, "application/json")
    failed = ask(functions, "web", "GET", "/fail")
    assert (failed.status, failed.json()["errorType"]) == (502, "ZeroDivisionError")
    assert failed.headers["X-Fc-Error-Type"] == "UnhandledInvocationError"
    assert ask(functions, "web", "GET", "/nonsense").status == 502


ECHO = """
import base64, json

def handler(event, context):
    request = json.loads(event)
    path = request["rawPath"]
    if path == "/fail":
        1 / 0
    if path == "/other":
        return {"a": 1}
    if path == "/nonsense":
        return {"statusCode": 200, "isBase64Encoded": True, "body": "%"}
    if path == "/binary":
        assert request["isBase64Encoded"]
        turned = request["body"][::-1].encode()
        return {"statusCode": 200, "isBase64Encoded": True, "body": base64.b64encode(turned).decode()}
    return {"statusCode": 201, "headers": {"X-Answer": "yes"}, "body": json.dumps(request)}
"""


def test_planned_trouble_reaches_http_triggers(functions: Functions) -> None:
    """Errors and cut connections can be planned for InvokeHTTPTrigger."""
    functions.deploy(web_function("intake"))
    functions.cloud.admin.plan(kind="error", operation="InvokeHTTPTrigger", status=503, code="Busy")
    assert ask(functions, "intake", "GET", "/").status == 503
    functions.cloud.admin.plan(kind="cut_after", operation="InvokeHTTPTrigger")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(functions, "intake", "GET", "/seen")
    assert "SERVED GET /seen" in functions.log("intake")


def test_the_ports_are_closed_with_the_cloud(run_cloud: RunCloud, tmp_path: Path) -> None:
    """Nothing listens once the local cloud has stopped."""
    functions = Functions(run_cloud, tmp_path)
    functions.deploy(web_function("gone", code=str(WEB)))
    address = urlsplit(functions.named("gone")["url"]).netloc
    functions.cloud.stop()
    with pytest.raises(ConnectionError):
        Raw(address).send("GET", "/", {})
