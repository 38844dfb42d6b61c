"""s.yaml as it is deployed: every key is spelt as the platform spells it, and nothing rests on a dangerous default."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from deploy.layout import FUNCTIONS
from deploy.packagecheck import GLIBC
from localcloud.fc.errors import TemplateError
from localcloud.fc.variables import Resolver
from shared.desk.app import make
from shared.ledger.roles import CONNECTIONS
from shared.settings import described
from tests.functional.launch import DESK, TEMPLATE
from tests.functional.world import EXAMPLE, HUB, REGION, ROOT

Json = dict[str, Any]

SCHEMA = ROOT.parent / "shared" / "reference" / "fc3.schema.json"
"""The component's own schema; it lies beside the project on some machines and is no part of it."""

RUNTIME_GLIBC = {"custom.debian11": (2, 31), "custom.debian12": (2, 36)}
"""Of the custom runtimes that have Python 3.12 (deploy.md section 6)."""

DOCUMENT: Json = yaml.safe_load(TEMPLATE.read_text("utf-8"))
RESOURCES: dict[str, Json] = DOCUMENT["resources"]


GIVEN = {"LEDGER_URL": "sqlite:///ledger.db", "DESK_LEDGER_URL": "sqlite:///ledger.db", "CONFIG_KEYS": "k:x", **DESK}
"""What has no default."""


def resolved(name: str, **environment: str) -> Json:
    """The props of a resource with every variable replaced."""
    resolver = Resolver(DOCUMENT, GIVEN | environment, HUB)
    props: Json = resolver.resolve(RESOURCES[name]["props"], f"resources.{name}.props", name)
    return props


def triggers(kind: str) -> list[tuple[str, Json]]:
    """(resource, trigger) of every trigger of one type."""
    return [
        (name, trigger)
        for name in RESOURCES
        for trigger in resolved(name)["triggers"]
        if trigger["triggerType"] == kind
    ]


QUEUES = triggers("eventbridge")
TIMERS = triggers("timer")
HANDLED = [name for name in RESOURCES if resolved(name)["runtime"].startswith("python")]
"""Functions that the runtime calls; the desk is a program of its own."""


def options(trigger: Json) -> Json:
    """How an event stream runs."""
    found: Json = trigger["triggerConfig"]["runOptions"]
    return found


LOGS: Json = {
    "project": None,
    "logstore": None,
    "enableRequestMetrics": None,
    "enableInstanceMetrics": None,
    "logBeginRule": None,
}
NETWORK: Json = {"vpcId": None, "vSwitchIds": ..., "securityGroupId": None}

# Every key that may stand in s.yaml, spelt as the component's documentation spells it.
KEYS: Json = {
    "edition": None,
    "name": None,
    "access": None,
    "vars": {
        "region": None,
        "uid": None,
        "code": None,
        "runtime": None,
        "logs": LOGS,
        "network": NETWORK,
        "environment": ...,
    },
    "resources": {
        "*": {
            "component": None,
            "props": {
                "region": None,
                "functionName": None,
                "description": None,
                "runtime": None,
                "code": None,
                "handler": None,
                "memorySize": None,
                "cpu": None,
                "diskSize": None,
                "timeout": None,
                "concurrencyConfig": {"reservedConcurrency": None},
                "role": None,
                "logConfig": LOGS,
                "vpcConfig": NETWORK,
                "asyncInvokeConfig": {"maxAsyncRetryAttempts": None, "maxAsyncEventAgeInSeconds": None},
                "environmentVariables": ...,
                "instanceLifecycleConfig": {"initializer": {"handler": None, "timeout": None}},
                "customRuntimeConfig": {
                    "command": ...,
                    "args": ...,
                    "port": None,
                    "healthCheckConfig": {
                        "httpGetUrl": None,
                        "initialDelaySeconds": None,
                        "periodSeconds": None,
                        "timeoutSeconds": None,
                        "failureThreshold": None,
                        "successThreshold": None,
                    },
                },
                "scalingConfig": {"minInstances": None},
                "instanceConcurrency": None,
                "triggers": [
                    {
                        "triggerName": None,
                        "triggerType": None,
                        "triggerConfig": {
                            "triggerEnable": None,
                            "asyncInvocationType": None,
                            "eventRuleFilterPattern": None,
                            "eventSinkConfig": {"deliveryOption": {"eventSchema": None}},
                            "eventSourceConfig": {
                                "eventSourceType": None,
                                "eventSourceParameters": {
                                    "sourceMNSParameters": {
                                        "RegionId": None,
                                        "QueueName": None,
                                        "IsBase64Decode": None,
                                    }
                                },
                            },
                            "runOptions": {
                                "mode": None,
                                "batchWindow": {"CountBasedWindow": None, "TimeBasedWindow": None},
                                "retryStrategy": {"PushRetryStrategy": None},
                                "errorsTolerance": None,
                                "deadLetterQueue": {"Arn": None},
                            },
                            "cronExpression": None,
                            "enable": None,
                            "payload": None,
                            "authType": None,
                            "methods": ...,
                            "disableURLInternet": None,
                        },
                    }
                ],
            },
        }
    },
}


def misspelt(found: Any, allowed: Any, where: str) -> list[str]:
    """The paths of keys that the list does not have."""
    if allowed is ... or allowed is None:
        return []
    if isinstance(allowed, list):
        return [path for number, one in enumerate(found) for path in misspelt(one, allowed[0], f"{where}[{number}]")]
    wrong = []
    for key, value in found.items():
        inner = allowed.get(key, allowed.get("*", "unknown"))
        path = f"{where}.{key}".removeprefix(".")
        wrong += [path] if inner == "unknown" else misspelt(value, inner, path)
    return wrong


def test_every_key_is_spelt_as_documented() -> None:
    """The platform ignores a key it does not know, so a slip would silently give a default."""
    assert misspelt(DOCUMENT, KEYS, "") == []


def test_the_spelling_test_finds_a_slip() -> None:
    """A key with a wrong letter, deep inside, is named with its path."""
    document = json.loads(json.dumps(DOCUMENT))
    document["resources"]["grant"]["props"]["triggers"][0]["triggerConfig"]["runOptions"]["errorTolerance"] = "ALL"
    assert misspelt(document, KEYS, "") == ["resources.grant.props.triggers[0].triggerConfig.runOptions.errorTolerance"]


def test_it_is_for_the_present_edition_and_component() -> None:
    """Serverless Devs 3 and the component for functions without services."""
    assert DOCUMENT["edition"] == "3.0.0"
    assert {resource["component"] for resource in RESOURCES.values()} == {"fc3"}
    assert {"grant", "associate"} <= set(RESOURCES)


@pytest.mark.skipif(not SCHEMA.exists(), reason="the component's schema is not on this machine")
@pytest.mark.parametrize("name", RESOURCES)
def test_the_component_accepts_every_function(name: str) -> None:
    """Resolved first, because the schema knows regions and no variables."""
    errors = Draft7Validator(json.loads(SCHEMA.read_text("utf-8"))).iter_errors(resolved(name))
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.skipif(not SCHEMA.exists(), reason="the component's schema is not on this machine")
@pytest.mark.parametrize(
    ("kind", "definition"),
    [
        pytest.param("eventbridge", "IEventBridge", id="queue triggers"),
        pytest.param("timer", "ITimerTriggerConfig", id="timers"),
        pytest.param("http", "IHttpTriggerConfig", id="HTTP triggers"),
    ],
)
def test_the_component_accepts_every_trigger(kind: str, definition: str) -> None:
    """Each against its own part of the schema: the whole lets any trigger through."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    part = {"$ref": f"#/definitions/{definition}", "definitions": schema["definitions"]}
    for _, trigger in triggers(kind):
        errors = Draft7Validator(part).iter_errors(trigger["triggerConfig"])
        assert [f"{error.json_path}: {error.message}" for error in errors] == []


@pytest.mark.parametrize(("name", "trigger"), QUEUES, ids=[name for name, _ in QUEUES])
def test_no_queue_trigger_loses_messages_or_stops(name: str, trigger: Json) -> None:
    """Streams go on after errors, retry for a day, and keep what could not be delivered in a queue of its own."""
    assert options(trigger)["mode"] == "event-streaming"
    assert options(trigger)["errorsTolerance"] == "ALL"
    assert options(trigger)["retryStrategy"] == {"PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY"}
    assert trigger["triggerConfig"]["asyncInvocationType"] is False
    assert trigger["triggerConfig"]["triggerEnable"] is True
    source = trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]
    assert source["IsBase64Decode"] is False
    grave = options(trigger)["deadLetterQueue"]["Arn"].rpartition("/")[2]
    queues = EXAMPLE["accounts"][HUB]["queues"]
    assert {source["QueueName"], grave} <= set(queues)
    assert grave != source["QueueName"]
    assert options(trigger)["deadLetterQueue"]["Arn"] == f"acs:mns:{REGION}:{HUB}:/queues/{grave}"
    assert resolved(name)["timeout"] <= 300


def test_wakes_leave_room_for_approvals() -> None:
    """Both go to one instance, so the stream of wakes pauses to gather; approvals are pushed as they come."""
    windows = {trigger["triggerName"]: options(trigger)["batchWindow"] for name, trigger in QUEUES if name == "grant"}
    assert windows["wakes"]["TimeBasedWindow"] >= 1
    assert windows["approvals"]["TimeBasedWindow"] == 0


def test_every_queue_has_one_reader_and_every_event_can_name_it() -> None:
    """An event's subject is what tells approvals from hints, and RawData has none."""
    found = [
        (
            name,
            trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]["QueueName"],
        )
        for name, trigger in QUEUES
    ]
    assert found == [
        ("grant", "ecr-approvals"),
        ("grant", "ecr-grants-wakes"),
        ("associate", "ecr-associations"),
        ("preflight", "ecr-asked"),
    ]
    for _, trigger in QUEUES:
        assert trigger["triggerConfig"]["eventSinkConfig"] == {"deliveryOption": {"eventSchema": "CloudEvents"}}


@pytest.mark.parametrize("name", RESOURCES)
def test_an_acting_function_is_one_instance_with_a_role_and_a_runtime_we_lock_for(name: str) -> None:
    """It paces itself, so there must not be a second one; its role exists in the example world."""
    props = resolved(name)
    if any(one["triggerType"] == "eventbridge" for one in props["triggers"]):
        assert props["concurrencyConfig"] == {"reservedConcurrency": 1}
        assert props["runtime"] == "python3.12"
    role = props["role"].rpartition("/")[2]
    assert role == role.lower()
    assert role in EXAMPLE["accounts"][HUB]["roles"]


@pytest.mark.parametrize("name", HANDLED)
def test_handlers_are_where_the_template_says(name: str) -> None:
    """``file.method``, as every page writes it: the file lies at the package's root, and has handler and initializer."""
    props = resolved(name)
    for path in (props["handler"], props["instanceLifecycleConfig"]["initializer"]["handler"]):
        module, function = path.split(".")
        assert module in FUNCTIONS
        assert callable(getattr(importlib.import_module(f"functions.{module}"), function))


def test_the_desk_is_a_program_that_is_there_before_anybody_asks() -> None:
    """Started by the Python of its system, on the port that is asked; of the runtime that is as old as that of the package."""
    props, config = resolved("desk"), resolved("desk")["customRuntimeConfig"]
    assert set(RESOURCES) - set(HANDLED) == {"desk"}
    assert (props["runtime"], RUNTIME_GLIBC[props["runtime"]]) == ("custom.debian11", GLIBC)
    assert config["command"] == ["/var/fc/lang/python3.12/bin/python3.12"]
    assert config["args"] == ["-m", "desk"]
    assert "main" in FUNCTIONS["desk"]
    assert props["environmentVariables"]["PYTHONPATH"] == "/code"
    assert props["scalingConfig"]["minInstances"] == 1
    [http] = props["triggers"]
    assert http["triggerConfig"]["authType"] == "anonymous"
    paths = make(None).openapi()["paths"]  # the parts are looked at by calls, and none is made
    assert config["healthCheckConfig"]["httpGetUrl"] in paths
    wanted = {method.upper() for path in paths.values() for method in path} | {"HEAD"}
    assert wanted == set(http["triggerConfig"]["methods"])


def test_the_desks_connections_fit_into_its_role() -> None:
    """All instances together have no more than PostgreSQL lets the role have."""
    props = resolved("desk")
    assert props["concurrencyConfig"]["reservedConcurrency"] * props["instanceConcurrency"] <= CONNECTIONS


@pytest.mark.parametrize("name", HANDLED)
def test_the_environment_is_text_and_says_nothing_by_itself(name: str) -> None:
    """A fresh deployment only observes, and talks to the vendor's own addresses."""
    variables = resolved(name)["environmentVariables"]
    assert {type(value) for value in variables.values()} == {str}
    assert variables["MODE"] == ""
    assert {value for key, value in variables.items() if key.endswith("_ENDPOINT")} == {""}
    assert variables["LEDGER_URL"] == "sqlite:///ledger.db"


def test_only_the_function_that_signs_has_the_signing_key() -> None:
    """The others have everything else that it has."""
    names = {name: set(resolved(name)["environmentVariables"]) for name in RESOURCES}
    signing = {"HEAD_KEY", "HEAD_KEY_SECRET"}
    assert names["reconcile"] - names["grant"] == signing
    assert names["reconcile"] - signing == names["grant"] == names["associate"] == names["preflight"]
    assert resolved("reconcile", HEAD_KEY="a-key")["environmentVariables"]["HEAD_KEY"] == "a-key"


def test_the_desk_has_its_own_and_nothing_more() -> None:
    """Each variable is one that it goes by; its way into the database and its secrets are nobody else's."""
    by_name = {variable: functions for variable, _, _, functions in described()}
    names = set(resolved("desk")["environmentVariables"]) - {"PYTHONPATH"}
    assert {name for name in names if "desk" not in by_name[name]} == set()
    own = {variable for variable, functions in by_name.items() if functions == ("desk",)}
    assert own <= names
    assert not own & {name for other in HANDLED for name in resolved(other)["environmentVariables"]}
    assert resolved("desk", LEDGER_URL="x", DESK_LEDGER_URL="y")["environmentVariables"]["LEDGER_URL"] == "y"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        *(("grant", missing) for missing in ("LEDGER_URL", "CONFIG_KEYS")),
        *(("desk", missing) for missing in ("DESK_LEDGER_URL", "DESK_ADDRESS", "DESK_CLIENT_ID", "DESK_KEYS")),
    ],
)
def test_what_has_no_default_has_to_be_said(name: str, missing: str) -> None:
    """Deploying without the ledger's address, or the keys that sign configurations, is refused by name; so for the desk."""
    resolver = Resolver(DOCUMENT, {variable: value for variable, value in GIVEN.items() if variable != missing}, HUB)
    with pytest.raises(TemplateError, match=missing):
        resolver.resolve(RESOURCES[name]["props"], "", name)


@pytest.mark.parametrize(("name", "trigger"), TIMERS, ids=[name for name, _ in TIMERS])
def test_a_timer_is_on(name: str, trigger: Json) -> None:
    """Whatever the timer is for, a template that leaves it off would deploy a function that never runs."""
    assert trigger["triggerConfig"]["enable"] is True
    assert trigger["triggerConfig"]["cronExpression"].startswith("@every ")


def test_ticks_do_not_pile_up() -> None:
    """A timer's calls are asynchronous: one that failed or waited too long is not tried again beside the next one."""
    for name, _ in TIMERS:
        config = resolved(name)["asyncInvokeConfig"]
        assert config["maxAsyncRetryAttempts"] == 0
        assert config["maxAsyncEventAgeInSeconds"] < 300
        assert resolved(name)["concurrencyConfig"] == {"reservedConcurrency": 1}


@pytest.mark.parametrize("name", RESOURCES)
def test_what_is_around_a_function_is_a_variable(name: str) -> None:
    """Code, runtime, network and logs are the deployment's; nothing is installed by the deployment."""
    assert "actions" not in RESOURCES[name]
    assert resolved(name)["code"] == ".local/deploy"
    props = resolved(name, VPC_ID="vpc-1", VSWITCH_ID="vsw-1", SECURITY_GROUP_ID="sg-1", LOG_STORE="s")
    assert props["vpcConfig"] == {"vpcId": "vpc-1", "vSwitchIds": ["vsw-1"], "securityGroupId": "sg-1"}
    assert props["logConfig"]["logstore"] == "s"
    runtime = "RUNTIME" if name in HANDLED else "DESK_RUNTIME"
    assert resolved(name, **{runtime: "another"})["runtime"] == "another"
