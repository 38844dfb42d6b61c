"""What a function finds around it, and what happens to it: contexts, environment, instances, time-outs, crashes, logs."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_tea_openapi.exceptions import ClientException

from localcloud.fc.errors import DeployError
from tests.localcloud.conftest import RunCloud
from tests.localcloud.fc_harness import (
    BROKEN,
    Functions,
    function,
    queue_trigger,
    until,
    web_function,
)
from tests.localcloud.harness import Key
from tests.localcloud.processes import alive, frozen


@pytest.fixture(params=[(), ("decimal",)], ids=["interpreter", "preloaded"])
def functions(run_cloud: RunCloud, tmp_path: Path, request: pytest.FixtureRequest) -> Functions:
    """A cloud with an account, queues and roles, whose workers are new interpreters, or born with a module."""
    made = Functions(run_cloud, tmp_path)
    made.cloud.fc.preloaded = request.param
    return made


def in_background(action: Callable[[], object]) -> threading.Thread:
    """Run something beside the test; an error in it is the test's own business to notice."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread


# The contract with the handler


def test_the_context_of_3_10_has_credentials_and_service(functions: Functions) -> None:
    """python3.10: credentials and service, no logger in the attributes; credentials are those of the role."""
    functions.deploy(function("old", runtime="python3.10", memorySize=1024, cpu=1))
    context = functions.invoke("old", {"do": "context"}).json()
    assert context["credentials"]["access_key_id"].startswith("STS.")
    assert context["credentials"]["security_token"]
    assert context["service"] == {
        "name": "",
        "log_project": "",
        "log_store": "",
        "qualifier": "LATEST",
        "version_id": "",
    }
    assert context["function"] == {"name": "old", "handler": "index.handler", "memory": 1024, "timeout": 60}
    assert (context["region"], context["account_id"]) == ("cn-hangzhou", functions.account)
    assert context["has_logger"] is False


def test_the_context_of_3_12_has_neither(functions: Functions) -> None:
    """python3.12: no credentials, no service; log project and store on the context, a logger that starts as None."""
    log = {"logConfig": {"project": "p", "logstore": "s"}}
    functions.deploy(function("new", **log))
    answer = functions.invoke("new", {"do": "context"})
    context = answer.json()
    assert "credentials" not in context
    assert "service" not in context
    assert context["function"] == {
        "name": "new", "handler": "index.handler", "memory": 512, "timeout": 60, "version_id": "", "qualifier": "LATEST",
    }  # fmt: skip
    assert (context["log_project"], context["log_store"]) == ("p", "s")
    assert (context["has_logger"], context["logger_before"]) == (True, "None")
    assert context["request_id"] == answer.headers["x-fc-request-id"]


def test_the_environment_is_the_platforms_and_nothing_else(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FC's variables, the template's, temporary credentials; nothing of the machine but what workers may have."""
    functions.cloud.fc.worker_environment["COVERAGE_EXAMPLE"] = "1"
    functions.deploy(
        function("env", environmentVariables={"COLOUR": "blue", "PYTHONPATH": "/code/python:/opt"}),
        function("svc$old", runtime="python3.10"),
    )
    found = functions.invoke("env", {"do": "environment"}).json()
    code = found["FC_FUNC_CODE_PATH"]
    assert found.pop("PYTHONPATH") == f"{code}/python:/opt"
    assert set(found) - {"LC_CTYPE"} == {
        "PATH", "COLOUR", "COVERAGE_EXAMPLE", "FC_FUNC_CODE_PATH", "FC_ACCOUNT_ID", "FC_FUNCTION_HANDLER",
        "FC_FUNCTION_MEMORY_SIZE", "FC_FUNCTION_NAME", "FC_REGION", "FC_CUSTOM_LISTEN_PORT", "FC_INSTANCE_ID",
        "FC_FUNCTION_VERSION", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    }  # fmt: skip
    assert (found["FC_FUNCTION_NAME"], found["FC_FUNCTION_MEMORY_SIZE"]) == ("env", "512")
    old = functions.invoke("svc%24old", {"do": "environment"}).json()
    assert (old["FC_SERVICE_NAME"], old["FC_QUALIFIER"], old["FC_VER_ID"]) == ("svc", "LATEST", "LATEST")
    assert functions.invoke("svc%24old", {"do": "context"}).json()["service"]["name"] == "svc"


def test_the_credentials_are_the_roles_and_are_renewed(functions: Functions) -> None:
    """The key in the environment signs calls as the function's role; before its 36 hours are over there is a new one."""
    functions.deploy(function("keys"))

    def key() -> Key:
        found = functions.invoke("keys", {"do": "environment"}).json()
        names = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
        return Key(*(found[f"ALIBABA_CLOUD_{name}"] for name in names))

    first = key()
    identity = functions.cloud.sts(first).get_caller_identity().body
    assert identity.account_id == functions.account
    assert "worker" in identity.arn
    assert key() == first
    functions.cloud.advance(36 * 3600 - 60)
    second = key()
    assert second != first
    assert functions.cloud.sts(second).get_caller_identity().body.arn == identity.arn
    shown = functions.named("keys")["instances"]
    assert [one["access_key_ids"] for one in shown] == [sorted([first.id, second.id])]


def test_a_function_without_a_role_has_no_credentials(functions: Functions) -> None:
    """No role, no key in the environment."""
    props = function("plain")
    del props["role"]
    functions.deploy(props)
    found = functions.invoke("plain", {"do": "environment"}).json()
    assert not [name for name in found if name.startswith("ALIBABA_CLOUD")]


def test_the_code_folder_comes_first_and_the_local_cloud_is_not_there(functions: Functions) -> None:
    """sys.path begins with the code folder, which is the working directory; packages can be imported, localcloud cannot."""
    functions.deploy(function("paths"))
    found = functions.invoke("paths", {"do": "path"}).json()
    assert found["path"][0] == found["cwd"]
    assert not any(Path(entry, "localcloud").is_dir() for entry in found["path"])
    assert functions.invoke("paths", {"do": "importable", "module": "pydantic"}).body == b"pydantic"
    assert (
        functions.invoke("paths", {"do": "importable", "module": "localcloud"}).json()["errorType"]
        == "ModuleNotFoundError"
    )


@pytest.mark.parametrize("handler", ["package.inner.handle", "package/inner.handle"])
def test_handlers_further_down_are_found_in_both_spellings(functions: Functions, handler: str) -> None:
    """Dots walk packages, where the switch lets them; slashes walk folders."""
    functions.cloud.admin.switch(dotted_handlers="found")
    functions.deploy(function("deep", handler=handler))
    assert functions.invoke("deep", b"four").body.endswith(b"inner 4")


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        ("index.nothing", "module 'index' has no function 'nothing'; it has: goodbye, handler, initialize"),
        ("nowhere.handler", "there is no module 'nowhere' in the code folder"),
        ("package/nowhere.handler", "there is no file 'package/nowhere.py' in the code folder"),
        ("index", "handler 'index' is not of the form file.function"),
    ],
)
def test_a_handler_that_is_not_there_stops_the_deployment(functions: Functions, handler: str, words: str) -> None:
    """The message names the function, what was looked for and what was found."""
    with pytest.raises(DeployError) as refused:
        functions.deploy(function("lost", handler=handler))
    assert "function lost" in str(refused.value)
    assert words in str(refused.value)


def test_a_package_needs_its_init_file(functions: Functions, tmp_path: Path) -> None:
    """Older runtimes do not find a folder without __init__.py, so none does here."""
    functions.cloud.admin.switch(dotted_handlers="found")
    folder = tmp_path / "code" / "bare"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text("def handler(event, context):\n    return 'found'\n")
    with pytest.raises(DeployError, match=r"package 'bare' has no __init__.py"):
        functions.deploy(function("bare", code=str(folder.parent), handler="bare.main.handler"))


# Deployments that cannot work


def test_an_initializer_that_raises_stops_the_deployment(functions: Functions) -> None:
    """The worker's own error is told, and what was deployed before goes on."""
    functions.deploy(function("good"))
    hook = {"instanceLifecycleConfig": {"initializer": {"handler": "index.initialize", "timeout": 5}}}
    with pytest.raises(DeployError) as refused:
        functions.deploy(function("good", memorySize=1024, cpu=1), function("bad", code=str(BROKEN), **hook))
    assert "function bad: did not start: RuntimeError: LEDGER_URL is not set" in str(refused.value)
    assert "in initialize" in str(refused.value)
    assert [one["name"] for one in functions.cloud.inside(lambda _: functions.cloud.fc.functions())] == ["good"]
    assert functions.invoke("good", {"do": "context"}).json()["function"]["memory"] == 512


@pytest.mark.parametrize(
    ("props", "words"),
    [
        ({"role": "nobody"}, "role: account {account} has no role 'nobody' (it has: foreign, weak, worker)"),
        ({"role": "foreign"}, "does not trust fc.aliyuncs.com"),
        ({"role": "acs:ram::2000000000000002:role/x"}, "is not in account {account}"),
        ({"region": "cn-beijing"}, "'cn-beijing' is not this local cloud's region"),
        ({"triggers": [queue_trigger("nowhere")]}, "trigger messages: account {account} has no queue 'nowhere'"),
        ({"triggers": [queue_trigger(source={"RegionId": "cn-beijing"})]}, "queue and function must share the region"),
        (
            {"triggers": [queue_trigger(run={"deadLetterQueue": {"Arn": "acs:mns:::/queues/gone"}})]},
            "trigger messages, deadLetterQueue: account {account} has no queue 'gone'",
        ),
        (
            {"triggers": [queue_trigger(run={"deadLetterQueue": {"Arn": "acs:mns:::/queues/work"}})]},
            "cannot be its own dead-letter queue",
        ),
        (
            {
                "triggers": [
                    queue_trigger(run={"mode": "event-driven"}, config={"eventRuleFilterPattern": '{"source": ["x"]}'})
                ]
            },
            "the filter lets nothing through; events come from 'MNS-f-messages'",
        ),
        (
            {
                "asyncInvokeConfig": {
                    "destinationConfig": {"onFailure": {"destination": "acs:mns:::/topics/x/messages"}}
                }
            },
            "destinationConfig.onFailure: account {account} has no topic 'x'",
        ),
        (
            {"asyncInvokeConfig": {"destinationConfig": {"onFailure": {"destination": "acs:fc:::functions/x"}}}},
            "there is no function 'x'",
        ),
        ({"concurrencyConfig": {"reservedConcurrency": 101}}, "reservedConcurrency adds up to 101 of 100"),
    ],
)
def test_what_a_template_names_must_exist(functions: Functions, props: dict[str, Any], words: str) -> None:
    """Roles, queues, topics, functions: named in the refusal, nothing is deployed."""
    with pytest.raises(DeployError) as refused:
        functions.deploy(function("f", **props))
    assert words.format(account=functions.account) in str(refused.value)
    assert functions.cloud.inside(lambda _: functions.cloud.fc.functions()) == []


# Instances


def test_an_instance_is_used_again_and_initialized_once(functions: Functions) -> None:
    """Globals survive between calls, the initializer does not run a second time, and the instance is the same."""
    hook = {"instanceLifecycleConfig": {"initializer": {"handler": "index.initialize", "timeout": 20}}}
    functions.deploy(function("warm", **hook))
    answers = [functions.invoke("warm", {"do": "calls"}) for _ in range(3)]
    assert [answer.json()["calls"] for answer in answers] == [1, 2, 3]
    assert {answer.json()["initialized"] for answer in answers} == {1}
    assert len({answer.headers["x-fc-instance-id"] for answer in answers}) == 1


def test_instances_are_frozen_between_calls(functions: Functions) -> None:
    """Stopped by the system while nobody calls; with the switch off, running."""
    functions.deploy(function("cold"))
    functions.invoke("cold", b"x")
    pid = functions.named("cold")["instances"][0]["pid"]
    until(lambda: frozen(pid), "the freeze")
    assert functions.named("cold")["instances"][0]["state"] == "frozen"
    assert functions.invoke("cold", {"do": "text"}).body == b"plain text"
    functions.cloud.admin.switch(freeze="off")
    functions.invoke("cold", b"x")
    assert not frozen(pid)


def test_busy_instances_are_joined_by_others_up_to_the_limit(functions: Functions) -> None:
    """One request at a time per instance; a second instance for a second request; beyond the limit 429."""
    functions.deploy(function("two", concurrencyConfig={"reservedConcurrency": 2}))
    busy = [in_background(lambda: functions.invoke("two", {"do": "sleep", "seconds": 30})) for _ in range(2)]
    until(lambda: sum(one["state"] == "busy" for one in functions.named("two")["instances"]) == 2, "two busy instances")
    with pytest.raises(ClientException) as refused:
        functions.invoke("two", {"do": "text"})
    assert (refused.value.statusCode, refused.value.code) == (429, "ResourceExhausted")
    functions.cloud.admin.call("POST", "functions/two/kill")
    for thread in busy:
        thread.join(30)
    assert functions.invoke("two", {"do": "text"}).body == b"plain text"


def test_zero_reserved_instances_switch_a_function_off(functions: Functions) -> None:
    """reservedConcurrency 0: deployed, never started, every call refused."""
    functions.deploy(function("off", concurrencyConfig={"reservedConcurrency": 0}))
    assert functions.named("off")["instances"] == []
    with pytest.raises(ClientException) as refused:
        functions.invoke("off", b"")
    assert refused.value.statusCode == 429


def test_a_function_that_takes_too_long_is_killed(functions: Functions) -> None:
    """After its time-out the worker is asked, then killed; the caller gets the error, the log the stack, the next call a
    new instance."""
    functions.deploy(function("slow", timeout=5))  # as long as a new instance may take for the call after it
    before = functions.named("slow")["instances"][0]["pid"]
    answer = functions.invoke("slow", {"do": "sleep", "seconds": 60})
    assert (answer.status, answer.error_type) == (200, "UnhandledInvocationError")
    assert answer.json() == {"errorMessage": "Function timed out after 5 seconds"}
    assert any("in _sleep" in line for line in functions.log("slow"))
    assert not alive(before)
    assert functions.invoke("slow", {"do": "calls"}).json()["pid"] != before


def test_an_initializer_may_not_take_longer_than_its_own_limit(functions: Functions, tmp_path: Path) -> None:
    """The initializer has a time-out of its own, and a deployment that runs into it says so."""
    (tmp_path / "index.py").write_text(
        "import time\ndef initialize(context):\n    time.sleep(60)\ndef handler(e, c): ...\n"
    )
    hook = {"instanceLifecycleConfig": {"initializer": {"handler": "index.initialize", "timeout": 1}}}
    with pytest.raises(DeployError, match="initializer timed out after 1 seconds"):
        functions.deploy(function("stuck", code=str(tmp_path), **hook))


def test_a_worker_that_dies_is_an_error_and_is_replaced(functions: Functions) -> None:
    """The caller learns that the process exited, its last words are in the log, and the next call works."""
    functions.deploy(function("mortal"))
    answer = functions.invoke("mortal", {"do": "exit", "code": 7})
    assert answer.error_type == "UnhandledInvocationError"
    assert "Process exited unexpectedly" in answer.json()["errorMessage"]
    assert "exit code: 7" in answer.json()["errorMessage"]
    assert "about to exit" in functions.log("mortal")
    assert functions.invoke("mortal", {"do": "calls"}).json()["calls"] == 1


def test_a_worker_can_be_killed_in_the_middle(functions: Functions) -> None:
    """The admin side kills a function's workers; the call under way ends with an error."""
    functions.deploy(function("victim"))
    answers: list[Any] = []
    thread = in_background(lambda: answers.append(functions.invoke("victim", {"do": "sleep", "seconds": 60})))
    until(lambda: functions.named("victim")["instances"][0]["state"] == "busy", "the call")
    (killed,) = functions.cloud.admin.call("POST", "functions/victim/kill")["killed"]
    thread.join(30)
    assert "signal: 9" in answers[0].json()["errorMessage"]
    assert killed not in [one["id"] for one in functions.named("victim")["instances"]]


def test_the_worker_behind_a_key_can_be_killed(functions: Functions) -> None:
    """Planned trouble knows a worker by the access key at the start of its role chain, frozen or not."""
    functions.deploy(function("one"), function("other"))
    key = functions.named("one")["instances"][0]["access_key_ids"][0]
    pid = functions.named("one")["instances"][0]["pid"]
    assert functions.cloud.inside(lambda _: functions.cloud.fc.kill_origin(key)) is True
    until(lambda: not alive(pid), "the end")
    assert len(functions.named("other")["instances"]) == 1
    assert functions.cloud.inside(lambda _: functions.cloud.fc.kill_origin("")) is False


@pytest.mark.parametrize("kind", ["kill_before", "kill_after", "kill_reply"])
def test_planned_kills_hit_the_worker_that_calls(functions: Functions, tmp_path: Path, kind: str) -> None:
    """A function that calls STS dies at the planned point of that call, and another invocation finds a new worker."""
    (tmp_path / "index.py").write_text(CALLER)
    functions.deploy(function("caller", code=str(tmp_path), environmentVariables={"ADDRESS": functions.cloud.address}))
    functions.cloud.admin.plan(kind=kind, service="sts", operation="GetCallerIdentity", function="caller")
    answer = functions.invoke("caller", b"linger")
    assert "signal: 9" in answer.json()["errorMessage"]
    answer = functions.invoke("caller", b"")
    assert answer.error_type == ""
    assert "worker" in answer.body.decode()
    entries = functions.cloud.journal(service="sts", operation="GetCallerIdentity")
    assert [entry["caller"]["function"] for entry in entries] == ["caller", "caller"]
    assert entries[0]["caller"]["origin"] != entries[1]["caller"]["origin"]


CALLER = """
import os, time
from alibabacloud_sts20150401.client import Client
from alibabacloud_tea_openapi.models import Config

def handler(event, context):
    names = ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN")
    key, secret, token = (os.environ["ALIBABA_CLOUD_" + name] for name in names)
    client = Client(Config(access_key_id=key, access_key_secret=secret, security_token=token,
                           endpoint=os.environ["ADDRESS"], protocol="http"))
    arn = client.get_caller_identity().body.arn
    if event == b"linger":
        time.sleep(600)  # never to its end: it is killed
    return arn
"""


def test_what_a_function_leaves_behind_ends_with_its_instance(functions: Functions) -> None:
    """A child process a handler started does not outlive the instance."""
    functions.deploy(function("parent"))
    child = int(functions.invoke("parent", {"do": "child", "seconds": 600}).body)
    assert alive(child)
    functions.invoke("parent", {"do": "exit"})
    until(lambda: not alive(child), "its end")


def test_pre_stop_runs_when_an_instance_is_taken_down(functions: Functions, tmp_path: Path) -> None:
    """A new deployment ends the old instance with its hook."""
    trace = tmp_path / "trace"
    props = function(
        "polite",
        environmentVariables={"TRACE": str(trace)},
        instanceLifecycleConfig={"preStop": {"handler": "index.goodbye", "timeout": 5}},
    )
    functions.deploy(props)
    before = functions.named("polite")["instances"][0]["pid"]
    assert not trace.exists()
    functions.deploy(props)
    assert trace.read_text().startswith("stopped 1-")
    assert not alive(before)


def test_deploying_again_replaces_functions_of_the_same_name(functions: Functions) -> None:
    """The new settings hold for the next call, other functions stay, HTTP triggers keep their port."""
    functions.deploy(function("a"), web_function("b"))
    url = functions.named("b")["url"]
    functions.deploy(function("a", environmentVariables={"COLOUR": "green"}), web_function("b"))
    assert functions.invoke("a", {"do": "environment"}).json()["COLOUR"] == "green"
    assert functions.named("b")["url"] == url
    functions.deploy(function("c"))
    assert {one["name"] for one in functions.cloud.inside(lambda _: functions.cloud.fc.functions())} == {"a", "b", "c"}


# Logs


def test_logs_can_be_followed_and_know_their_request(functions: Functions) -> None:
    """Every line has number, time, instance, stream and request; the root logger is wired as on the platform."""
    functions.deploy(function("chatty"))
    after = len(functions.log("chatty"))
    waiting: list[Any] = []
    thread = in_background(lambda: waiting.extend(functions.cloud.admin.logs("chatty", after=after, wait=20)))
    answer = functions.invoke("chatty", {"do": "sleep", "seconds": 0})
    thread.join(30)
    assert waiting[0]["number"] == after + 1
    request_id = answer.headers["x-fc-request-id"]
    lines = functions.cloud.admin.logs("chatty")
    (line,) = [line for line in lines if line["text"].endswith("[INFO] sleeping")]
    assert (line["request_id"], line["stream"]) == (request_id, "stdout")
    assert f"Z {request_id} [INFO] sleeping" in line["text"]
    assert [one["text"].split(" Request")[0] for one in lines if one["stream"] == "runtime"] == [
        "FC Invoke Start", "FC Invoke End",
    ]  # fmt: skip


def test_a_failing_call_leaves_its_traceback_in_the_log(functions: Functions) -> None:
    """From the function's own code on; nothing of the worker's insides."""
    functions.deploy(function("raiser"))
    functions.invoke("raiser", {"do": "raise", "message": "look here"})
    text = "\n".join(functions.log("raiser"))
    assert "ValueError: look here" in text
    assert "bootstrap" not in text
