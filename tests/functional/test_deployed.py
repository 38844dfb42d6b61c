"""How functions are deployed, read over both routes of Function Compute by the same few calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from shared.cloud.deployed import Deployed
from shared.cloud.functions import Functions
from shared.cloud.keys import Keys
from shared.errors import CloudUnreachable, GrantError, PermissionMissing
from tests.functional.deployment import Deployment, deployment
from tests.functional.world import HUB, REGION, ROOT, TESTER, Stage

SECRET = "example-value-nobody-may-see"
SAMPLE = str(ROOT / "tests" / "localcloud" / "functions" / "sample")
PROPS = {
    "region": REGION,
    "runtime": "python3.12",
    "handler": "index.handler",
    "code": SAMPLE,
    "timeout": 60,
    "memorySize": 512,
    "environmentVariables": {"SHOWN": SECRET, "EMPTY": ""},
    "concurrencyConfig": {"reservedConcurrency": 2},
    "asyncInvokeConfig": {"maxAsyncRetryAttempts": 0},
    "triggers": [
        {
            "triggerName": "tick",
            "triggerType": "timer",
            "triggerConfig": {"cronExpression": "@every 24h", "enable": False},
        }
    ],
}
ROUTES = [pytest.param(None, "flat", id="3.0"), pytest.param("ecr", "old", id="2.0")]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two functions, one of each generation, and two that have nothing set."""
    folder = tmp_path_factory.mktemp("deployed")
    bare = {name: PROPS[name] for name in ("region", "runtime", "handler", "code")}
    functions = {"flat": PROPS, "ecr$old": PROPS, "bare": bare, "ecr$bare": bare}
    resources = {
        f"r{number}": {"component": "fc3", "props": {**props, "functionName": name}}
        for number, (name, props) in enumerate(functions.items())
    }
    template = folder / "s.yaml"
    template.write_text(yaml.safe_dump({"edition": "3.0.0", "name": "reads", "resources": resources}), "utf-8")
    stage = Stage()
    allowed = {"Effect": "Allow", "Action": ["fc:*"], "Resource": ["*"]}
    stage.hub["users"]["tester"]["policies"]["functions"] = {"Version": "1", "Statement": [allowed]}
    with deployment(stage, folder, template=template) as made:
        yield made


def deployed(cloud: Deployment, service: str | None, key: Keys | None = None) -> Deployed:
    """The functions, as somebody reads them."""
    return Deployed(Functions(cloud.url, REGION, key or Keys(TESTER.id, TESTER.secret, ""), 5_000), service)


@pytest.mark.parametrize(("service", "name"), ROUTES)
def test_both_routes_tell_the_same(cloud: Deployment, service: str | None, name: str) -> None:
    """A function, its triggers, its limit, its asynchronous settings."""
    at = deployed(cloud, service)
    found = at.function(name)
    assert found is not None
    plain = {key: found.settings[key] for key in ("runtime", "handler", "timeout", "memorySize")}
    assert plain == {key: PROPS[key] for key in plain}
    assert found.environment_variables == {"SHOWN": True, "EMPTY": False}
    triggers = at.triggers(name)
    assert triggers is not None
    [trigger] = triggers
    assert (trigger.trigger_name, trigger.trigger_type) == ("tick", "timer")
    assert (trigger.trigger_config["cronExpression"], trigger.trigger_config["enable"]) == ("@every 24h", False)
    assert (at.reserved(name), at.asynchronous(name)["maxAsyncRetryAttempts"]) == (2, 0)


@pytest.mark.parametrize(("service", "name"), ROUTES)
def test_no_value_of_an_environment_is_kept(cloud: Deployment, service: str | None, name: str) -> None:
    """Nor shown by accident: the values end where they come in."""
    found = deployed(cloud, service).function(name)
    assert found is not None
    assert SECRET not in f"{found!r} {found.model_dump()}"


@pytest.mark.parametrize("service", [None, "ecr"])
def test_what_is_not_there_is_none(cloud: Deployment, service: str | None) -> None:
    """A function, or what was never set; and a service that there is not."""
    at = deployed(cloud, service)
    assert (at.function("nothing"), at.triggers("nothing"), at.reserved("nothing")) == (None, None, None)
    assert (at.triggers("bare"), at.reserved("bare"), at.asynchronous("bare")) == ([], None, {})
    assert deployed(cloud, "no-service").function("old") is None


def test_who_may_not_is_told_what(cloud: Deployment) -> None:
    """By the name of the action, on both routes."""
    nobody = Keys("LTAI-example-requester", "example-secret-of-the-requester", "")
    for service, name in ((None, "flat"), ("ecr", "old")):
        at = deployed(cloud, service, nobody)
        for action, read in (
            ("fc:GetFunction", at.function),
            ("fc:ListTriggers", at.triggers),
            ("fc:GetConcurrencyConfig" if service is None else "fc:GetFunctionOnDemandConfig", at.reserved),
            ("fc:GetFunctionAsyncInvokeConfig", at.asynchronous),
        ):
            with pytest.raises(PermissionMissing, match=action):
                read(name)


def test_trouble_is_an_error_of_ours(cloud: Deployment) -> None:
    """The platform fails; nobody answers."""
    number = cloud.admin.plan(kind="server_error", service="fc", account=HUB, times=None)["number"]
    try:
        with pytest.raises(GrantError):
            deployed(cloud, None).triggers("flat")
    finally:
        cloud.admin.clear(number)
    away = Deployed(Functions("http://127.0.0.1:9", REGION, Keys(TESTER.id, TESTER.secret, ""), 1_000))
    with pytest.raises(CloudUnreachable):
        away.triggers("flat")


def test_the_sample_is_where_it_was() -> None:
    """These functions are the local cloud's own."""
    assert Path(SAMPLE, "index.py").exists()
