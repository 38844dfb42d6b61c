"""s.yaml as this local cloud reads it: variables, defaults, and every mistake named with its place."""

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.fc import cron, packages
from localcloud.fc.errors import DeployError
from localcloud.fc.template.arns import target
from localcloud.fc.template.load import FunctionSpec, load
from localcloud.fc.template.triggers import EventBridgeTrigger
from tests.localcloud.fc_harness import (
    function,
    http_trigger,
    queue_trigger,
    template_text,
    timer_trigger,
    web_function,
)

ACCOUNT = "1000000000000001"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes a template and loads it."""

    def write(text: str, **env: str) -> list[FunctionSpec]:
        path = tmp_path / "s.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, env, ACCOUNT)

    return write


def complaint(write: Any, *functions: dict[str, Any], **top: Any) -> str:
    """What is said about a template that cannot be deployed."""
    with pytest.raises(DeployError) as refused:
        write(template_text(*functions, **top))
    return str(refused.value)


# Variables


def test_variables_are_resolved_through_each_other(write: Any) -> None:
    """vars read vars, env has defaults, config knows the account, this and resources reach props."""
    props = function(
        "${vars.names.prefix}-grant",
        region="${vars.region}",
        environmentVariables={
            "OWN": "${this.props.functionName}",
            "OTHER": "${resources.r1.props.functionName}",
            "WHO": "${config('AccountID')}:${env('USER_NAME', \"nobody\")}",
            "FIRST_TAG": "${this.props.tags.0.value}",
        },
        tags=[{"key": "k", "value": "v"}],
        timeout="${vars.timeout}",
    )
    text = template_text(
        props,
        function("second"),
        vars={"region": "${env('REGION', 'cn-hangzhou')}", "names": {"prefix": "p-${env('STAGE')}"}, "timeout": 30},
    )
    first, _ = write(text, STAGE="test", USER_NAME="me")
    assert (first.name, first.props.region, first.props.timeout) == ("p-test-grant", "cn-hangzhou", 30)
    assert first.props.environment_variables == {
        "OWN": "p-test-grant", "OTHER": "second", "WHO": f"{ACCOUNT}:me", "FIRST_TAG": "v",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${env('MISSING')}", "${env('MISSING')} has no value and no default"),
        ("${config('AccessKeyID')}", "${config('AccessKeyID')} is not emulated"),
        ("${file('./x')}", "is not emulated"),
        ("${vars.nowhere}", "leads nowhere: there is no 'nowhere'"),
        ("${resources.r0.output.url}", "outputs of a deployment are not emulated"),
        ("${functionName}", "is not a variable known here"),
        ("${vars.circle}", "variables go in a circle: vars.circle -> vars.circle"),
        ("a ${vars} b", "is not a variable known here"),
        ("a ${vars.map} b", "is a dict, not text"),
        ("${env('a' 'b')}", "cannot read the arguments"),
    ],
)
def test_a_variable_that_cannot_be_resolved_is_named_with_its_place(write: Any, value: str, words: str) -> None:
    """The path in the template and the variable stand in the message."""
    variables = {"map": {"a": "b"}}
    if "circle" in value:
        variables["circle"] = value  # type: ignore[assignment]
        text = template_text(function("f"), vars=variables)
        where = "vars.circle"
    else:
        text = template_text(function("f", description=value), vars=variables)
        where = "resources.r0.props.description"
    with pytest.raises(DeployError) as refused:
        write(text)
    assert f"{where}: " in str(refused.value)
    assert words in str(refused.value)


# Defaults


def test_the_documented_defaults_hold(write: Any) -> None:
    """Three seconds, 512 MB, no tolerance for errors, Base64 decoded, three asynchronous retries."""
    trigger = queue_trigger()
    del trigger["triggerConfig"]["runOptions"]["errorsTolerance"]
    props = function("f", triggers=[trigger])
    del props["timeout"]
    (spec,) = write(template_text(props))
    assert (spec.props.timeout, spec.props.memory_size, spec.props.cpu, spec.props.disk_size) == (3, 512, 0.35, 512)
    assert spec.props.reserved_concurrency is None
    tasks = spec.props.async_invoke_config
    assert (tasks.async_task, tasks.max_async_retry_attempts, tasks.max_async_event_age_in_seconds) == (
        False,
        3,
        18_000,
    )
    (parsed,) = spec.props.triggers
    assert isinstance(parsed, EventBridgeTrigger)
    options = parsed.trigger_config.run_options
    assert (options.errors_tolerance, options.dead_letter_queue) == ("NONE", None)
    assert options.retry_strategy.push_retry_strategy == "BACKOFF_RETRY"
    assert (options.batch_window.count_based_window, options.batch_window.time_based_window) == (1, 0)
    source = parsed.trigger_config.event_source_config.event_source_parameters.source_mns
    assert source.is_base64_decode is True


def test_roles_are_lower_cased_and_stay_in_the_account(write: Any) -> None:
    """The component lower-cases roles, as an ARN or a bare name; another account's role is refused."""
    for role in ("Worker", f"acs:ram::{ACCOUNT}:role/Worker"):
        (spec,) = write(template_text(function("f", role=role)))
        assert spec.props.role_name(ACCOUNT) == "worker"
    (spec,) = write(template_text(function("f", role="acs:ram::2000000000000002:role/x")))
    with pytest.raises(ValueError, match="not in account"):
        spec.props.role_name(ACCOUNT)


# Mistakes

PROPS = "resources.r0.props"
TRIGGER = f"{PROPS}.triggers.0"


@pytest.mark.parametrize(
    ("props", "words"),
    [
        ({"memorysize": 512}, f"{PROPS}: unknown key 'memorysize' (did you mean 'memorySize'?)"),
        ({"layers": []}, f"{PROPS}: 'layers' is documented, but not emulated"),
        ({"timeout": "300"}, f"{PROPS}.timeout: Input should be a valid integer (found '300')"),
        ({"timeout": 86_401}, f"{PROPS}.timeout: Input should be less than or equal to 86400 (found 86401)"),
        ({"memorySize": 500}, f"{PROPS}.memorySize: Input should be a multiple of 64 (found 500)"),
        ({"cpu": "0.35"}, f"{PROPS}.cpu: Input should be a valid number"),
        ({"cpu": 4}, "vCPU to GB must be between 1:1 and 1:4"),
        ({"diskSize": 1024}, f"{PROPS}.diskSize: Input should be 512 or 10240 (found 1024)"),
        ({"runtime": "python3.11"}, f"{PROPS}.runtime: 'python3.11' is not a runtime"),
        ({"runtime": "nodejs20"}, "runtime 'nodejs20' is documented, but not emulated"),
        ({"handler": ""}, "runtime python3.12 needs a handler"),
        ({"instanceConcurrency": 2}, "instanceConcurrency above 1 works for custom runtimes only"),
        ({"customRuntimeConfig": {"command": ["x"]}}, "customRuntimeConfig is for custom runtimes"),
        ({"runtime": "custom"}, "runtime custom needs customRuntimeConfig"),
        (
            {"environmentVariables": {"A": 1}},
            f"{PROPS}.environmentVariables.A: Input should be a valid string (found 1)",
        ),
        ({"environmentVariables": {"FC_X": "1"}}, "names that start with FC_ are reserved"),
        ({"environmentVariables": {"1A": "1"}}, "'1A' must start with a letter"),
        ({"environmentVariables": {"A": "x" * 4096}}, "all variables together may have 4096 bytes, these have 4097"),
        ({"functionName": "has space"}, f"{PROPS}.functionName: String should match pattern"),
        ({"code": "nowhere"}, f"{PROPS}.code: 'nowhere' is no folder"),
        ({"code": "x.zip"}, "archives and addresses are not emulated"),
        ({"instanceLifecycleConfig": {"initializer": {"command": ["x"]}}}, "'command' is documented, but not emulated"),
        ({"instanceLifecycleConfig": {"preStop": {"handler": "a.b", "timeout": 91}}}, "preStop may take 90 seconds"),
        ({"asyncInvokeConfig": {"maxAsyncRetryAttempts": 9}}, "less than or equal to 8 (found 9)"),
        (
            {"asyncInvokeConfig": {"destinationConfig": {"onFailure": {"destination": "acs:mns:::/queues/x"}}}},
            "is neither acs:mns:REGION:UID:/queues/NAME/messages",
        ),
        (
            {"scalingConfig": {"minInstances": 2}, "concurrencyConfig": {"reservedConcurrency": 1}},
            "minInstances (2) may not exceed reservedConcurrency (1), which counts them too",
        ),
        ({"scalingConfig": {"scheduledPolicies": []}}, "'scheduledPolicies' is documented, but not emulated"),
        ({"provisionConfig": {"defaultTarget": 1}}, "'provisionConfig' is documented, but not emulated"),
        ({"concurrencyConfig": {}}, f"{PROPS}.concurrencyConfig.reservedConcurrency: this key is missing"),
        ({"triggers": [{"triggerType": "mns_topic"}]}, f"{TRIGGER}: triggerType 'mns_topic' is documented, but not"),
        ({"triggers": [http_trigger(), http_trigger()]}, "two triggers are named 'http'"),
        ({"triggers": [timer_trigger("* * * * *")]}, "has 5 fields; six are needed"),
        ({"triggers": [timer_trigger("60 * * * * *")]}, "second: '60' is not between 0 and 59"),
        ({"triggers": [timer_trigger("0 0 0 30 2 *")]}, "a date that never comes"),
        (
            {"triggers": [queue_trigger(run={"errorTolerance": "ALL"})]},
            f"{TRIGGER}.triggerConfig.runOptions: unknown key 'errorTolerance' (did you mean 'errorsTolerance'?)",
        ),
        ({"triggers": [queue_trigger(run={"batchWindow": {"CountBasedWindow": 0}})]}, "greater than or equal to 1"),
        ({"triggers": [queue_trigger(run={"batchWindow": {"TimeBasedWindow": 16}})]}, "less than or equal to 15"),
        ({"triggers": [queue_trigger(run={"maximumTasks": 2})]}, "'maximumTasks' is documented, but not emulated"),
        (
            {"triggers": [queue_trigger(run={"retryStrategy": {"MaximumRetryAttempts": 3}})]},
            "'MaximumRetryAttempts' is documented, but not emulated",
        ),
        (
            {"triggers": [queue_trigger(run={"deadLetterQueue": {"Arn": "acs:mns:::/queues/dead/messages"}})]},
            "is not acs:mns:REGION:UID:/queues/NAME",
        ),
        ({"triggers": [queue_trigger(config={"eventRuleFilterPattern": "{"})]}, "eventRuleFilterPattern: not JSON"),
        (
            {"triggers": [queue_trigger(config={"eventRuleFilterPattern": '{"source": ["x"]}'})]},
            "filters on streams are not emulated",
        ),
        (
            {"triggers": [queue_trigger(source={"queueName": "x"})]},
            "unknown key 'queueName' (did you mean 'QueueName'?)",
        ),
        (
            {"triggers": [{**queue_trigger(), "invocationRole": "x"}]},
            "'invocationRole' is documented, but not emulated",
        ),
    ],
)
def test_each_mistake_is_named_with_its_place(write: Any, props: dict[str, Any], words: str) -> None:
    """A misspelt, unknown, unemulated or impossible setting is refused; the path and what was found are said."""
    assert words in complaint(write, function("f", **props))


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ({"edition": "1.0.0"}, "edition: edition '1.0.0' is not emulated; '3.0.0' is"),
        ({"resources": {}}, "resources: Dictionary should have at least 1 item"),
        ({"resources": {"a": {"component": "fc"}}}, "resources.a.component: component 'fc' is not emulated; 'fc3' is"),
        (
            {"resources": {"a": {"component": "fc3", "porps": {}}}},
            "resources.a: unknown key 'porps' (did you mean 'props'?)",
        ),
        ({"resources": {"a": {"component": "fc3", "props": 5}}}, "resources.a.props"),
        ({"services": {}}, "'services' is documented, but not emulated"),
        ({"extra": 1}, "unknown key 'extra'"),
    ],
)
def test_the_skeleton_is_checked_too(write: Any, top: dict[str, Any], words: str) -> None:
    """Edition, component and the keys around the functions."""
    assert words in complaint(write, function("f"), **top)


def test_all_mistakes_are_told_at_once(write: Any) -> None:
    """Nobody has to repair a template one message at a time."""
    told = complaint(write, function("a", timeout=0), function("b", memorySize=1), function("c", handler=""))
    assert told.count("\n") == 3
    assert "r0" in told
    assert "r1" in told
    assert "r2" in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "a mapping is needed at the top, this is a list"),
        ("a: b: c", "not YAML"),
        ("edition: 3.0.0\nname: a\nname: b\n", "line 3: the key 'name' is given twice, first on line 2"),
    ],
)
def test_a_file_that_is_no_template_says_what_it_is(write: Any, text: str, words: str) -> None:
    """YAML trouble is told with its place; a key that stands there twice does not win silently."""
    with pytest.raises(DeployError, match=words):
        write(text)


def test_two_functions_cannot_have_one_name(write: Any) -> None:
    """The second would replace the first."""
    assert "two resources are named 'f'" in complaint(write, function("f"), function("f"))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@settings(max_examples=40)
@given(document=ANYTHING)
def test_no_document_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, document: Any) -> None:
    """Whatever YAML says, the answer is a DeployError, never another exception."""
    path = tmp_path_factory.mktemp("any") / "s.yaml"
    resources = {"a": {"component": "fc3", "props": document}}
    for whole in (document, {"edition": "3.0.0", "name": "x", "resources": document, "vars": document},
                  {"edition": "3.0.0", "name": "x", "resources": resources}):  # fmt: skip
        path.write_text(yaml.safe_dump(whole), encoding="utf-8")
        with pytest.raises(DeployError):
            load(path, {}, ACCOUNT)


def test_custom_runtimes_and_their_settings_are_read(write: Any) -> None:
    """Everything a web function of ours uses."""
    (spec,) = write(
        template_text(
            web_function(
                "web",
                instanceConcurrency=20,
                customDomain={"domainName": "auto", "protocol": "HTTP", "route": {"path": "/*"}},
                vpcConfig={"vpcId": "vpc-1", "vSwitchIds": ["vsw-1"], "securityGroupId": "sg-1"},
                logConfig={"project": "p", "logstore": "l", "enableRequestMetrics": True},
                concurrencyConfig={"reservedConcurrency": 2},
                scalingConfig={"minInstances": 1},
                customRuntimeConfig={
                    "command": ["/opt/python3.12/bin/python3.12"],
                    "args": ["-m", "uvicorn", "web.app:app"],
                    "healthCheckConfig": {"httpGetUrl": "/health", "timeoutSeconds": 1},
                },
            )
        )
    )
    assert spec.props.custom
    assert spec.props.scaling_config.min_instances == 1
    assert spec.props.custom_runtime_config is not None
    assert spec.props.custom_runtime_config.python == "python3.12"
    assert spec.props.reserved_concurrency == 2


def test_arns_may_leave_region_and_account_blank() -> None:
    """Blank parts mean the deployment's own; destinations and dead letters are told apart by their ends."""
    home = ("cn-hangzhou", ACCOUNT)
    assert target("acs:mns:::/queues/q/messages", *home).name == "q"
    assert target("acs:mns:cn-beijing:2:/topics/t/messages", *home).region == "cn-beijing"
    dead = target("acs:mns:cn-hangzhou::/queues/dead", *home)
    assert (dead.kind, dead.account, dead.name) == ("queue", ACCOUNT, "dead")
    assert target("acs:fc:::functions/next", *home).kind == "function"


# Schedules


def moment(text: str) -> float:
    """Epoch seconds of a UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("expression", "after", "first"),
    [
        ("0 */10 * * * *", "2026-01-01T00:03:00", "2026-01-01T00:10:00"),
        ("0 0 4 * * *", "2026-01-01T04:00:00", "2026-01-02T04:00:00"),
        ("30 15 10 1 JAN,JUL ?", "2026-01-01T10:15:30", "2026-07-01T10:15:30"),
        ("0 0 12 ? * MON-FRI", "2026-01-02T12:00:01", "2026-01-05T12:00:00"),
        ("0 0 0 29 2 *", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("5/20 0 0 1 1 *", "2026-01-01T00:00:05", "2026-01-01T00:00:25"),
        ("0 0 0 * * 7", "2026-01-01T00:00:00", "2026-01-04T00:00:00"),
        ("CRON_TZ=Asia/Shanghai 0 0 4 * * *", "2026-01-01T00:00:00", "2026-01-01T20:00:00"),
        ("@every 5m", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("@every 1h30m", "2026-01-01T00:00:00", "2026-01-01T01:30:00"),
    ],
)
def test_schedules_fire_when_they_say(expression: str, after: str, first: str) -> None:
    """Six fields with seconds, names, steps, ranges, lists, time zones; or a fixed distance."""
    assert cron.parse(expression).after(moment(after)) == moment(first)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "@every 0s",
        "@every 5",
        "* * * * *",
        "a * * * * *",
        "*/0 * * * * *",
        "5-1 * * * * *",
        "CRON_TZ=X/Y 0 0 0 * * *",
    ],
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    """ValueError, with what was found."""
    with pytest.raises(ValueError, match=r"."):
        cron.parse(expression)


@given(st.integers(0, 2_000_000_000), st.sampled_from(["*/7 3-9 * * * *", "0 30 2 * * *", "0 0 0 1 */3 *"]))
def test_a_schedule_only_goes_forward(start: int, expression: str) -> None:
    """Firings strictly increase."""
    schedule = cron.parse(expression)
    moments = [float(start)]
    for _ in range(4):
        moments.append(schedule.after(moments[-1]))
    assert all(later > earlier for earlier, later in itertools.pairwise(moments))


# Packages


def test_fcignore_decides_what_is_shipped(tmp_path: Path) -> None:
    """Rules as in .gitignore; folders nothing is left out of are linked whole, and the code folder stays as it is."""
    code = tmp_path / "code"
    for name in (
        "app/main.py",
        "app/__pycache__/main.pyc",
        "lib/a.py",
        "lib/tests/test_a.py",
        "docs/x.md",
        "keep.md",
        "drop.md",
        "data/x/y/z.bin",
    ):
        file = code / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    assert packages.lay_out(code, tmp_path / "none") == code

    (code / ".fcignore").write_text("# comment\n*.md\n!keep.md\ntests/\n/docs\ndata/**/z.bin\n.fcignore\n")
    place = packages.lay_out(code, tmp_path / "place")
    shipped = {
        file.relative_to(place).as_posix()
        for file in place.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert shipped - {"app/main.py"} == {"keep.md", "lib/a.py"}
    assert (place / "app").is_symlink()
    assert (place / "app/main.py").read_text() == "app/main.py"
    assert not (place / "lib").is_symlink()
    assert (code / "drop.md").exists()


def test_an_unreadable_fcignore_is_named(tmp_path: Path) -> None:
    """A pattern that is none stops the deployment."""
    (tmp_path / ".fcignore").write_text("[z-a]\n")
    with pytest.raises(DeployError, match="cannot read"):
        packages.lay_out(tmp_path, tmp_path / "place")


def test_a_mapping_may_be_merged_into_others(write: Any) -> None:
    """YAML's ``<<``: what stands beside it is added or replaces what it brings, and the mapping itself stays as it was."""
    document = yaml.safe_load(template_text(function("first"), function("second")))
    plain, more = (document["resources"][name]["props"] for name in ("r0", "r1"))
    plain["environmentVariables"], more["environmentVariables"] = "&shared", "*more"
    text = yaml.safe_dump(document)
    text = text.replace("'&shared'", "&shared {A: one, B: two}").replace("'*more'", "{<<: *shared, B: other, C: three}")
    first, second = (spec.props.environment_variables for spec in write(text))
    assert first == {"A": "one", "B": "two"}
    assert second == {"A": "one", "B": "other", "C": "three"}
