"""Asynchronous invocations over the API: tasks that are accepted, retried, delayed, listed, stopped, and sent on."""

import json
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_fc_open20210406 import models as fc_models
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_util.models import RuntimeOptions

from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import Functions, function, until


@pytest.fixture
def functions(run_cloud: RunCloud, tmp_path: Path) -> Functions:
    """A cloud with an account, queues and roles."""
    return Functions(run_cloud, tmp_path)


TASKS: dict[str, Any] = {"asyncInvokeConfig": {"asyncTask": True, "maxAsyncRetryAttempts": 1}}


def test_an_asynchronous_call_is_accepted_at_once_and_runs_later(functions: Functions) -> None:
    """202 with an empty body; the function is called all the same."""
    functions.deploy(function("later"))
    answer = functions.invoke("later", b"hello", x_fc_invocation_type="Async")
    assert (answer.status, answer.body) == (202, b"")
    assert until(lambda: functions.events("later"), "the call") == ["hello"]


def test_a_task_id_is_accepted_once(functions: Functions) -> None:
    """With asyncTask the same id again is 409 on both routes, the function runs once, and the task can be read."""
    functions.deploy(function("ecr$task", **TASKS), function("flat", **TASKS))
    headers = {"x_fc_invocation_type": "Async", "x_fc_stateful_async_invocation_id": "grant-1"}
    assert functions.invoke_old("ecr", "task", b"once", **headers).status == 202
    with pytest.raises(ClientException) as refused:
        functions.invoke_old("ecr", "task", b"once", **headers)
    assert (refused.value.statusCode, refused.value.data["ErrorCode"]) == (409, "StatefulAsyncInvocationAlreadyExists")
    for status in (202, 409):
        try:
            answer = functions.invoke(
                "flat", b"once", x_fc_invocation_type="Async", x_fc_async_task_id="grant-1"
            ).status
        except ClientException as again:
            answer = again.statusCode
        assert answer == status
    until(lambda: functions.events("ecr$task") and functions.events("flat"), "both calls")

    client = functions.client()

    def read() -> Any:
        request = fc_models.GetStatefulAsyncInvocationRequest()
        return client.get_stateful_async_invocation("ecr", "task", "grant-1", request).body

    until(lambda: read().status == "Succeeded", "the end of the task")
    assert (read().invocation_payload, read().already_retried_times) == ("once", 0)
    assert [event.status for event in read().events] == ["Enqueued", "Dequeued", "Running", "Succeeded"]
    listed = client.list_stateful_async_invocations(
        "ecr", "task", fc_models.ListStatefulAsyncInvocationsRequest(status="Succeeded")
    ).body.invocations
    assert [one.invocation_id for one in listed] == ["grant-1"]
    flat = functions.flat("functions/flat/async-tasks/grant-1", "GET").json()
    assert flat["taskId"] == "grant-1"
    assert functions.events("ecr$task") == functions.events("flat") == ["once"]


def test_without_async_task_ids_are_not_remembered(functions: Functions) -> None:
    """A function that keeps no records takes the same id twice; the older route can ask for records call by call."""
    functions.deploy(function("ecr$loose"))
    headers = {"x_fc_invocation_type": "Async", "x_fc_stateful_async_invocation_id": "same"}
    for _ in range(2):
        assert functions.invoke_old("ecr", "loose", b"x", **headers).status == 202
    enabled = headers | {"x_fc_stateful_async_invocation_enable": "true"}
    assert functions.invoke_old("ecr", "loose", b"x", **enabled).status == 202
    with pytest.raises(ClientException):
        functions.invoke_old("ecr", "loose", b"x", **enabled)


def test_a_failing_task_is_retried_and_its_end_sent_on(functions: Functions) -> None:
    """maxAsyncRetryAttempts more attempts, then onFailure gets the documented envelope; success goes to onSuccess."""
    config = {
        "asyncTask": True,
        "maxAsyncRetryAttempts": 2,
        "destinationConfig": {
            "onFailure": {"destination": "acs:mns:cn-hangzhou::/queues/failed/messages"},
            "onSuccess": {"destination": "acs:mns:::/topics/results/messages"},
        },
    }
    functions.deploy(function("sender", asyncInvokeConfig=config))
    event = {"do": "raise", "message": "never"}
    answer = functions.invoke("sender", event, x_fc_invocation_type="Async", x_fc_async_task_id="bad")
    (body,) = until(lambda: functions.bodies("failed"), "the failure", nudge=lambda: functions.cloud.advance(5))
    told = json.loads(body)
    context = told["requestContext"]
    assert context["requestId"] == answer.headers["x-fc-request-id"]
    assert context["functionArn"] == f"acs:fc:cn-hangzhou:{functions.account}:functions/sender"
    assert (context["condition"], context["approximateInvokeCount"]) == ("UnhandledInvocationError", 3)
    assert json.loads(told["requestPayload"]) == event
    assert json.loads(told["responsePayload"])["errorMessage"] == "never"
    task = functions.flat("functions/sender/async-tasks/bad", "GET").json()
    assert (task["status"], task["alreadyRetriedTimes"]) == ("Failed", 2)

    functions.invoke("sender", {"do": "text"}, x_fc_invocation_type="Async")
    (body,) = until(lambda: functions.bodies("done"), "the success")
    assert json.loads(body)["responsePayload"] == "plain text"
    assert json.loads(body)["responseContext"] == {"statusCode": 200, "functionError": ""}


def test_a_destination_needs_the_functions_own_permission(functions: Functions) -> None:
    """A role that may not send leaves the destination empty; the log and the journal say why."""
    config = {"destinationConfig": {"onSuccess": {"destination": "acs:mns:::/queues/done/messages"}}}
    functions.deploy(function("mute", role="weak", asyncInvokeConfig=config))
    functions.invoke("mute", b"x", x_fc_invocation_type="Async")
    until(lambda: any("destination not sent" in line for line in functions.log("mute")), "the remark")
    assert functions.bodies("done") == []
    assert ("SendMessage", "AccessDenied") in functions.cloud.operations(service="mns")


def test_a_destination_can_be_a_function(functions: Functions) -> None:
    """One function's result is the next one's event."""
    config = {"destinationConfig": {"onSuccess": {"destination": "acs:fc:::functions/second"}}}
    functions.deploy(function("first", asyncInvokeConfig=config), function("second"))
    functions.invoke("first", {"do": "text"}, x_fc_invocation_type="Async")
    (event,) = until(lambda: functions.events("second"), "the second call")
    assert json.loads(event)["responsePayload"] == "plain text"


def test_a_full_function_makes_tasks_wait(functions: Functions) -> None:
    """At the concurrency limit a task is not failed: it is tried again when there may be room, in cloud time."""
    functions.deploy(function("narrow", concurrencyConfig={"reservedConcurrency": 0}, **TASKS))
    functions.invoke("narrow", b"x", x_fc_invocation_type="Async", x_fc_async_task_id="waits")

    def task() -> Any:
        return functions.flat("functions/narrow/async-tasks/waits", "GET").json()

    until(lambda: task()["status"] == "Retrying", "the wait")
    functions.cloud.advance(3600 * 5 + 1)
    until(lambda: task()["status"] == "Expired", "the end of patience", nudge=lambda: functions.cloud.advance(300))


def test_a_delayed_task_waits_and_can_be_stopped(functions: Functions) -> None:
    """x-fc-async-delay holds a call back in cloud time; a stopped task never runs."""
    functions.deploy(function("slow", **TASKS))
    for task_id in ("runs", "stopped"):
        functions.invoke(
            "slow", task_id.encode(), x_fc_invocation_type="Async", x_fc_async_task_id=task_id, x_fc_async_delay="600"
        )
    assert functions.flat("functions/slow/async-tasks/stopped/stop", "PUT").status == 200
    functions.cloud.advance(601)
    until(lambda: functions.events("slow") == ["runs"], "the delayed call")
    until(lambda: functions.flat("functions/slow/async-tasks/stopped", "GET").json()["status"] == "Stopped", "the stop")
    with pytest.raises(ClientException) as refused:
        functions.flat("functions/slow/async-tasks/stopped/stop", "PUT")
    assert refused.value.statusCode == 412
    with pytest.raises(ClientException) as refused:
        functions.flat("functions/slow/async-tasks/unknown", "GET")
    assert refused.value.statusCode == 404


def test_tasks_of_the_older_route_can_be_listed_and_stopped(functions: Functions) -> None:
    """The SDK's own list (by prefix, in pages) and stop."""
    functions.deploy(function("ecr$slow", **TASKS))
    client = functions.client()
    for task_id in ("a-1", "a-2", "b-1"):
        headers = fc_models.InvokeFunctionHeaders(
            x_fc_invocation_type="Async",
            x_fc_stateful_async_invocation_id=task_id,
            common_headers={"x-fc-async-delay": "600"},
        )
        request = fc_models.InvokeFunctionRequest(body=b"x")
        assert client.invoke_function_with_options("ecr", "slow", request, headers, RuntimeOptions()).status_code == 202
    asked = fc_models.ListStatefulAsyncInvocationsRequest(invocation_id_prefix="a-", limit=1)
    first = client.list_stateful_async_invocations("ecr", "slow", asked).body
    asked.next_token = first.next_token
    second = client.list_stateful_async_invocations("ecr", "slow", asked).body
    assert [one.invocation_id for one in (*first.invocations, *second.invocations)] == ["a-1", "a-2"]
    assert not second.next_token
    client.stop_stateful_async_invocation("ecr", "slow", "a-1", fc_models.StopStatefulAsyncInvocationRequest())
    read = client.get_stateful_async_invocation("ecr", "slow", "a-1", fc_models.GetStatefulAsyncInvocationRequest())
    assert read.body.status == "Stopping"


def test_an_asynchronous_payload_has_128_kilobytes_at_most(functions: Functions) -> None:
    """EntityTooLarge beyond; nothing is enqueued."""
    functions.deploy(function("large"))
    with pytest.raises(ClientException) as refused:
        functions.invoke("large", b"x" * (128 * 1024 + 1), x_fc_invocation_type="Async")
    assert (refused.value.statusCode, refused.value.code) == (400, "EntityTooLarge")
    assert functions.invoke("large", b'{"do": "text"}' + b" " * 200_000).body == b"plain text"
