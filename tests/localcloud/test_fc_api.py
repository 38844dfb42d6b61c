"""The API of Function Compute, through the official SDK: both routes, asynchronous tasks, reads, refusals, rubbish."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from alibabacloud_fc_open20210406 import models as fc_models
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException
from alibabacloud_tea_util.models import RuntimeOptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from Tea.exceptions import TeaException, UnretryableException

from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import Functions, function, http_trigger, queue_trigger, timer_trigger
from tests.localcloud.harness import Key, LocalCloud
from tests.localcloud.wire import Raw, signed


@pytest.fixture
def functions(run_cloud: RunCloud, tmp_path: Path) -> Functions:
    """A cloud with an account, queues and roles."""
    return Functions(run_cloud, tmp_path)


TASKS: dict[str, Any] = {"asyncInvokeConfig": {"asyncTask": True, "maxAsyncRetryAttempts": 1}}


# Invoking


def test_both_routes_reach_a_function_of_the_older_generation(functions: Functions) -> None:
    """A function named service$function answers on the service route and on the flat one; the SDK raises nothing."""
    functions.deploy(function("ecr$grant"))
    old = functions.invoke_old("ecr", "grant", b'{"do": "text"}')
    flat = functions.invoke(quote("ecr$grant", safe=""), {"do": "text"})
    assert (old.status, old.body) == (flat.status, flat.body) == (200, b"plain text")
    assert old.headers["x-fc-request-id"] != flat.headers["x-fc-request-id"]


def test_a_3_0_function_has_no_service(functions: Functions) -> None:
    """The service route knows no function without a service: ServiceNotFound, in the older error format."""
    functions.deploy(function("grant"), function("ecr$other"))
    with pytest.raises(ClientException) as refused:
        functions.invoke_old("none", "grant", b"")
    assert (refused.value.statusCode, refused.value.data["ErrorCode"]) == (404, "ServiceNotFound")
    with pytest.raises(ClientException) as refused:
        functions.invoke_old("ecr", "grant", b"")
    assert (refused.value.statusCode, refused.value.data["ErrorCode"]) == (404, "FunctionNotFound")


def test_an_unknown_function_is_not_found_on_the_flat_route(functions: Functions) -> None:
    """FunctionNotFound with the code where the newer SDK looks for it."""
    with pytest.raises(ClientException) as refused:
        functions.invoke("nothing")
    assert (refused.value.statusCode, refused.value.code) == (404, "FunctionNotFound")


def test_a_raised_exception_is_a_200_with_a_header(functions: Functions) -> None:
    """The handler's exception comes back as JSON with errorMessage, errorType, stackTrace; the SDK raises nothing."""
    functions.deploy(function("raiser"))
    answer = functions.invoke("raiser", {"do": "raise", "message": "no grant today"})
    assert answer.status == 200
    assert answer.error_type == "UnhandledInvocationError"
    error = answer.json()
    assert (error["errorMessage"], error["errorType"]) == ("no grant today", "ValueError")
    assert [step[2] for step in error["stackTrace"]] == ["handler", "_raise"]


def test_answers_are_passed_on_as_they_are(functions: Functions) -> None:
    """Text and bytes unchanged, anything else as JSON with sorted keys; what cannot be JSON is an error."""
    functions.deploy(function("answers"))
    assert functions.invoke("answers", {"do": "bytes"}).body == b"\x00\xff"
    calls = functions.invoke("answers", {"do": "calls"})
    assert list(calls.json()) == ["calls", "initialized", "pid"]
    assert b"\n  " in calls.body
    failed = functions.invoke("answers", {"do": "unserializable"})
    assert (failed.error_type, failed.json()["errorType"]) == ("UnhandledInvocationError", "TypeError")


def test_log_type_tail_brings_the_log_along(functions: Functions) -> None:
    """X-Fc-Log-Result is the Base64 of the last 4 KB that this request printed, and only this one."""
    functions.deploy(function("talker"))
    functions.invoke("talker", b"before")
    answer = functions.invoke("talker", b"hello", x_fc_log_type="Tail")
    log = base64.b64decode(answer.headers["x-fc-log-result"]).decode()
    assert "EVENT hello" in log
    assert "before" not in log
    long = functions.invoke("talker", b"y" * 9000, x_fc_log_type="Tail")
    assert len(base64.b64decode(long.headers["x-fc-log-result"])) == 4096


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"x_fc_invocation_type": "Perhaps"}, "invocation type"),
        ({"x_fc_log_type": "Head"}, "log type"),
        ({"x_fc_async_task_id": "1-starts-with-a-digit"}, "task id"),
        ({"x_fc_async_delay": "3600"}, "delay"),
    ],
)
def test_headers_that_mean_nothing_are_refused(functions: Functions, headers: dict[str, Any], words: str) -> None:
    """InvalidArgument, and the function is not called."""
    functions.deploy(function("quiet"))
    with pytest.raises(ClientException) as refused:
        functions.invoke("quiet", b"x", **headers)
    assert (refused.value.statusCode, refused.value.code) == (400, "InvalidArgument")
    assert words in refused.value.message
    assert functions.events("quiet") == []


def test_a_qualifier_other_than_latest_does_not_exist(functions: Functions) -> None:
    """There are no versions or aliases here, and LATEST is what all are asked for."""
    functions.deploy(function("ecr$grant"))
    request = fc_models.InvokeFunctionRequest(body=b'{"do": "text"}', qualifier="LATEST")
    answer = functions.client().invoke_function("ecr", "grant", request)
    assert answer.body == b"plain text"
    with pytest.raises(ClientException) as refused:
        functions.client().invoke_function("ecr", "grant", fc_models.InvokeFunctionRequest(body=b"", qualifier="prod"))
    assert refused.value.data["ErrorCode"] == "AliasNotFound"


# Who may


def test_permission_is_needed_and_the_refusal_names_it(functions: Functions) -> None:
    """Without fc:InvokeFunction on the function's ARN: 403 AccessDenied, and nothing runs."""
    functions.deploy(function("grant"), function("ecr$old"))
    with pytest.raises(ClientException) as refused:
        functions.invoke("grant", b"x", key=functions.nobody)
    assert (refused.value.statusCode, refused.value.code) == (403, "AccessDenied")
    assert "fc:InvokeFunction" in refused.value.message
    assert f"acs:fc:cn-hangzhou:{functions.account}:functions/grant" in refused.value.message
    with pytest.raises(ClientException) as refused:
        functions.client(functions.nobody).get_function("ecr", "old", fc_models.GetFunctionRequest())
    assert refused.value.data["ErrorCode"] == "AccessDenied"
    assert f"acs:fc:cn-hangzhou:{functions.account}:services/ecr/functions/old" in refused.value.data["ErrorMessage"]
    assert functions.events("grant") == []


def test_a_wrong_secret_and_an_unknown_key_are_refused(functions: Functions) -> None:
    """SignatureNotMatch and InvalidAccessKeyID, both 403."""
    functions.deploy(function("grant"))
    for key, code in (
        (Key(functions.root.id, "another-secret"), "SignatureNotMatch"),
        (Key("LTAI-nobody", "x"), "InvalidAccessKeyID"),
    ):
        with pytest.raises(ClientException) as refused:
            functions.invoke("grant", b"x", key=key)
        assert (refused.value.statusCode, refused.value.code) == (403, code)
    assert functions.events("grant") == []


def test_a_changed_byte_and_a_used_nonce_are_refused(functions: Functions) -> None:
    """The body is under the signature, and a request is good once."""
    functions.deploy(function("grant"))
    path = "/2023-03-30/functions/grant/invocations"
    headers = signed("POST", path, b"first", functions.root, "2023-03-30")
    raw = Raw(functions.cloud.address)
    assert raw.send("POST", path, headers, b"fIrst").status == 403
    assert raw.send("POST", path, headers, b"first").status == 200
    replayed = raw.send("POST", path, headers, b"first")
    assert (replayed.status, replayed.json()["Code"]) == (400, "SignatureNonceUsed")
    assert functions.events("grant") == ["first"]


def test_another_accounts_functions_are_out_of_reach(functions: Functions) -> None:
    """A host that names another account leads to that account, where RAM says no and nothing exists."""
    functions.deploy(function("grant"))
    path = "/2023-03-30/functions/grant"
    for account, status in (("1234567890123456", 403), (functions.account, 200)):
        host = f"{account}.cn-hangzhou.fc.aliyuncs.com"
        headers = signed("GET", path, b"", functions.root, "2023-03-30", host=host)
        assert Raw(functions.cloud.address).send("GET", path, headers).status == status


def test_the_older_signature_is_refused_by_name(functions: Functions) -> None:
    """'FC key:signature' is not emulated, and says so."""
    answer = Raw(functions.cloud.address).send("GET", "/2023-03-30/functions/x", {"Authorization": "FC a:b"})
    assert (answer.status, answer.json()["Code"]) == (501, "NotEmulated")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/2023-03-30/functions"),
        ("PUT", "/2023-03-30/functions/x"),
        ("DELETE", "/2023-03-30/functions/x/triggers/y"),
        ("GET", "/2023-03-30/layers"),
        ("GET", "/2021-04-06/services"),
        ("PUT", "/2021-04-06/services/s/functions/f/async-invoke-config"),
    ],
)
def test_what_is_not_emulated_says_so(functions: Functions, method: str, path: str) -> None:
    """501 NotEmulated in the error format of the generation, naming method and path."""
    answer = Raw(functions.cloud.address).send(method, path, {})
    document = answer.json()
    code, message = ("ErrorCode", "ErrorMessage") if path.startswith("/2021") else ("Code", "Message")
    assert (answer.status, document[code]) == (501, "NotEmulated")
    assert f"{method} {path}" in document[message]


# Reading


def test_functions_and_triggers_can_be_read_on_both_routes(functions: Functions) -> None:
    """GetFunction, ListTriggers and GetTrigger through the SDK's operations, and on the flat route."""
    triggers = [queue_trigger(), timer_trigger("@every 5m"), http_trigger()]
    functions.deploy(function("ecr$grant", triggers=triggers, memorySize=1024, cpu=0.5), function("plain"))
    client = functions.client()

    body = client.get_function("ecr", "grant", fc_models.GetFunctionRequest()).body
    assert (body.function_name, body.runtime, body.memory_size, body.handler) == (
        "grant", "python3.12", 1024, "index.handler",
    )  # fmt: skip
    listed = client.list_triggers("ecr", "grant", fc_models.ListTriggersRequest()).body.triggers
    assert [(one.trigger_name, one.trigger_type) for one in listed] == [
        ("http", "http"), ("messages", "eventbridge"), ("timer", "timer"),
    ]  # fmt: skip
    one = client.get_trigger("ecr", "grant", "messages").body
    source = json.loads(one.trigger_config)["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]
    assert source == {"RegionId": "cn-hangzhou", "QueueName": "work", "IsBase64Decode": True}
    with pytest.raises(ClientException) as refused:
        client.get_trigger("ecr", "grant", "nothing")
    assert refused.value.data["ErrorCode"] == "TriggerNotFound"

    name = quote("ecr$grant", safe="")
    assert functions.flat(f"functions/{name}", "GET").json()["functionName"] == "ecr$grant"
    flat = functions.flat(f"functions/{name}/triggers", "GET").json()["triggers"]
    assert [trigger["triggerName"] for trigger in flat] == ["http", "messages", "timer"]
    assert flat[0]["urlInternet"] == functions.named("ecr$grant")["url"]
    assert functions.flat(f"functions/{name}/triggers/timer", "GET").json()["triggerType"] == "timer"


def test_limits_and_asynchronous_settings_can_be_read_on_both_routes(functions: Functions) -> None:
    """As deployed; what was never set is not found, by the codes that the vendor's own tools expect."""
    queue = f"acs:mns:cn-hangzhou:{functions.account}:/queues/failed/messages"
    limited = {
        "concurrencyConfig": {"reservedConcurrency": 2},
        "asyncInvokeConfig": {
            "maxAsyncRetryAttempts": 0,
            "maxAsyncEventAgeInSeconds": 240,
            "destinationConfig": {"onFailure": {"destination": queue}},
        },
    }
    functions.deploy(function("ecr$grant", **limited), function("ecr$free"))
    client, name = functions.client(), quote("ecr$grant", safe="")
    old = client.get_function_on_demand_config("ecr", "grant", fc_models.GetFunctionOnDemandConfigRequest()).body
    assert old.maximum_instance_count == 2
    request = fc_models.GetFunctionAsyncInvokeConfigRequest()
    config = client.get_function_async_invoke_config("ecr", "grant", request).body
    assert (config.max_async_retry_attempts, config.max_async_event_age_in_seconds) == (0, 240)
    assert (config.stateful_invocation, config.destination_config.on_failure.destination) == (False, queue)
    assert functions.flat(f"functions/{name}/concurrency", "GET").json()["reservedConcurrency"] == 2
    flat = functions.flat(f"functions/{name}/async-invoke-config", "GET").json()
    assert (flat["maxAsyncRetryAttempts"], flat["maxAsyncEventAgeInSeconds"], flat["asyncTask"]) == (0, 240, False)
    for part, code in (("concurrency", "OnDemandConfigNotFound"), ("async-invoke-config", "AsyncConfigNotExists")):
        with pytest.raises(ClientException) as refused:
            functions.flat(f"functions/{quote('ecr$free', safe='')}/{part}", "GET")
        assert (refused.value.statusCode, refused.value.code) == (404, code)


@pytest.mark.parametrize(
    ("part", "action", "resource"),
    [
        ("", "fc:GetFunction", "functions/grant"),
        ("/triggers", "fc:ListTriggers", "functions/grant/triggers/*"),
        ("/triggers/timer", "fc:GetTrigger", "functions/grant/triggers/timer"),
        ("/concurrency", "fc:GetConcurrencyConfig", "functions/grant"),
        ("/async-invoke-config", "fc:GetFunctionAsyncInvokeConfig", "functions/grant"),
    ],
)
def test_each_read_needs_a_permission_of_its_own(functions: Functions, part: str, action: str, resource: str) -> None:
    """So that whoever looks at triggers and limits need not be shown the environment."""
    functions.deploy(function("grant", triggers=[timer_trigger("@every 5m")]))
    with pytest.raises(ClientException) as refused:
        functions.flat(f"functions/grant{part}", "GET", key=functions.nobody)
    assert (refused.value.statusCode, refused.value.code) == (403, "AccessDenied")
    assert action in refused.value.message
    assert f"acs:fc:cn-hangzhou:{functions.account}:{resource}" in refused.value.message


def test_lists_come_in_pages(functions: Functions) -> None:
    """limit and nextToken walk through functions and triggers without missing or repeating one."""
    functions.deploy(*[function(f"f{number}", triggers=[]) for number in range(3)])
    names: list[str] = []
    token = ""
    while True:
        page = functions.flat(
            "functions", "GET", query={"limit": "2", **({"nextToken": token} if token else {})}
        ).json()
        names += [one["functionName"] for one in page["functions"]]
        token = page.get("nextToken", "")
        if not token:
            break
    assert names == ["f0", "f1", "f2"]
    with pytest.raises(ClientException):
        functions.flat("functions", "GET", query={"limit": "0"})


# Planned trouble


def test_planned_errors_come_in_the_services_words(functions: Functions) -> None:
    """Throttling is 429 ResourceExhausted; a 5xx with JSON is a ServerException, one without is unretryable."""
    functions.deploy(function("ecr$grant"))
    admin = functions.cloud.admin
    admin.plan(kind="throttle", service="fc")
    with pytest.raises(ClientException) as throttled:
        functions.invoke_old("ecr", "grant", b"")
    assert (throttled.value.statusCode, throttled.value.data["ErrorCode"]) == (429, "ResourceExhausted")
    admin.plan(kind="server_error", service="fc")
    with pytest.raises(ServerException):
        functions.invoke_old("ecr", "grant", b"")
    admin.plan(kind="server_error", service="fc", body="html")
    with pytest.raises(UnretryableException):
        functions.invoke_old("ecr", "grant", b"")
    admin.plan(kind="cut_after", service="fc")
    with pytest.raises(TeaException):
        functions.invoke_old("ecr", "grant", b"done anyway")
    assert functions.events("ecr$grant") == ["done anyway"]


# Rubbish

TEXT = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\r\n"), max_size=30)
SEGMENT = st.one_of(st.sampled_from(["grant", "ecr", "invocations", "triggers", "async-tasks", "stop", "x"]), TEXT)
PREFIX = st.sampled_from(["/2023-03-30/functions", "/2021-04-06/services", "/2023-03-30", "/2021-04-06"])
HEADER = st.sampled_from(
    [
        "x-fc-invocation-type",
        "x-fc-log-type",
        "x-fc-async-task-id",
        "x-fc-async-delay",
        "x-fc-account-id",
        "x-acs-date",
        "x-acs-version",
        "x-acs-signature-nonce",
        "authorization",
        "content-type",
        "x-fc-qualifier",
    ]
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Functions]:
    """One cloud for all rubbish."""
    clouds: list[LocalCloud] = []

    def run(world: Mapping[str, Any]) -> LocalCloud:
        clouds.append(LocalCloud({"version": 1, **world}).start())
        return clouds[-1]

    functions = Functions(run, tmp_path_factory.mktemp("fuzz"))
    functions.deploy(function("grant"), function("ecr$grant"))
    yield functions
    for cloud in clouds:
        cloud.stop()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"]),
    prefix=PREFIX,
    segments=st.lists(SEGMENT, max_size=5),
    query=TEXT,
    headers=st.dictionaries(HEADER, TEXT, max_size=4),
    body=st.binary(max_size=60),
)
def test_unsigned_rubbish_is_refused_and_changes_nothing(
    fuzzed: Functions,
    method: str,
    prefix: str,
    segments: list[str],
    query: str,
    headers: dict[str, str],
    body: bytes,
) -> None:
    """Whatever path, headers and bytes arrive without a good signature: 4xx or NotEmulated, and no function runs."""
    path = "/".join([prefix, *segments])
    answer = Raw(fuzzed.cloud.address).send(method, f"{path}?{query}" if query else path, headers, body)
    assert 400 <= answer.status < 500 or answer.status == 501
    assert fuzzed.events("grant") == fuzzed.events("ecr$grant") == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    part=st.sampled_from(["", "/invocations", "/triggers", "/async-tasks", "/async-tasks/x", "/async-tasks/x/stop"]),
    name=st.one_of(st.just("grant"), st.text(max_size=12)),
    method=st.sampled_from(["GET", "POST", "PUT"]),
    headers=st.dictionaries(HEADER.filter(lambda name: name.startswith("x-fc")), TEXT, max_size=3),
    query=st.dictionaries(st.sampled_from(["limit", "nextToken", "prefix", "qualifier", "status"]), TEXT, max_size=3),
    body=st.binary(max_size=60),
)
def test_signed_rubbish_never_is_our_fault(
    fuzzed: Functions,
    part: str,
    name: str,
    method: str,
    headers: dict[str, str],
    query: dict[str, str],
    body: bytes,
) -> None:
    """Correctly signed nonsense is answered, never with a 500."""
    path = f"/2023-03-30/functions/{quote(name, safe='')}{part}"
    target = path + ("?" + "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items()) if query else "")
    all_headers = {**headers, **signed(method, path, body, fuzzed.root, "2023-03-30", query=query)}
    answer = Raw(fuzzed.cloud.address).send(method, target, all_headers, body)
    assert answer.status < 500 or answer.status == 501


def test_runtime_options_of_the_sdk_are_fine(functions: Functions) -> None:
    """A synchronous call works with the SDK's own retries on and off."""
    functions.deploy(function("ecr$grant"))
    request = fc_models.InvokeFunctionRequest(body=b'{"do": "text"}')
    for autoretry in (True, False):
        answer = functions.client().invoke_function_with_options(
            "ecr", "grant", request, fc_models.InvokeFunctionHeaders(), RuntimeOptions(autoretry=autoretry)
        )
        assert answer.body == b"plain text"
