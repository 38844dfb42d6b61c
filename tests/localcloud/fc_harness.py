"""What the tests of Function Compute share: templates as data, clients, and patience without sleeping for cloud time."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from alibabacloud_fc_open20210406 import models as fc_models
from alibabacloud_fc_open20210406.client import Client as FcClient
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from alibabacloud_tea_util.models import RuntimeOptions
from mns.account import Account
from mns.queue import Message

from tests.functional.waiting import PATIENCE
from tests.localcloud.conftest import RunCloud
from tests.localcloud.harness import HANGZHOU, Key, LocalCloud, allow, new_account, trust, user

FUNCTIONS = Path(__file__).parent / "functions"
SAMPLE, WEB, BROKEN = FUNCTIONS / "sample", FUNCTIONS / "web", FUNCTIONS / "broken"
Json = dict[str, Any]


def function(name: str, **props: Any) -> Json:
    """The props of a function of the sample folder; keyword arguments replace or add."""
    return {
        "region": HANGZHOU,
        "functionName": name,
        "runtime": "python3.12",
        "handler": "index.handler",
        "code": str(SAMPLE),
        "timeout": 60,
        "role": "worker",
        **props,
    }


def web_function(name: str, **props: Any) -> Json:
    """The props of a server of its own with an HTTP trigger."""
    return {
        "region": HANGZHOU,
        "functionName": name,
        "runtime": "custom.debian11",
        "code": str(WEB),
        "timeout": 30,
        "role": "worker",
        "customRuntimeConfig": {"command": ["python3", "server.py"]},
        "triggers": [http_trigger()],
        **props,
    }


def queue_trigger(queue: str = "work", **changes: Any) -> Json:
    """An eventbridge trigger on a queue; ``run``, ``config``, ``source`` and ``delivery`` change its parts."""
    run = {"mode": "event-streaming", "errorsTolerance": "ALL", **changes.get("run", {})}
    source = {"RegionId": HANGZHOU, "QueueName": queue, **changes.get("source", {})}
    config = {
        "triggerEnable": True,
        "asyncInvocationType": False,
        "eventRuleFilterPattern": "{}",
        "eventSourceConfig": {
            "eventSourceType": "MNS",
            "eventSourceParameters": {"sourceMNSParameters": source},
        },
        "eventSinkConfig": {"deliveryOption": {"eventSchema": "CloudEvents", **changes.get("delivery", {})}},
        "runOptions": run,
        **changes.get("config", {}),
    }
    return {"triggerName": changes.get("name", "messages"), "triggerType": "eventbridge", "triggerConfig": config}


def http_trigger(*methods: str) -> Json:
    """An anonymous HTTP trigger."""
    return {
        "triggerName": "http",
        "triggerType": "http",
        "triggerConfig": {"authType": "anonymous", "methods": list(methods or ("GET", "POST"))},
    }


def timer_trigger(expression: str, **changes: Any) -> Json:
    """A timer trigger."""
    config = {"cronExpression": expression, "enable": True, "payload": "tick", **changes}
    return {"triggerName": "timer", "triggerType": "timer", "triggerConfig": config}


def template_text(*functions: Mapping[str, Any], **top: Any) -> str:
    """A whole s.yaml."""
    resources = {f"r{number}": {"component": "fc3", "props": dict(props)} for number, props in enumerate(functions)}
    document = {"edition": "3.0.0", "name": "tests", "access": "default", "resources": resources, **top}
    return yaml.safe_dump(document, sort_keys=False)


def until(condition: Callable[[], Any], what: str, *, nudge: Callable[[], None] | None = None) -> Any:
    """What the condition gives once it is true; ``nudge`` (such as turning the clock) is tried in between."""
    deadline = time.monotonic() + PATIENCE
    pause = 0.005
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} seconds for: {what}"
        time.sleep(pause)
        pause = min(pause * 1.3, 0.1)
        if nudge is not None:
            nudge()
    return found


@dataclass
class Answer:
    """What an invocation over the wire gave."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error_type(self) -> str:
        """X-Fc-Error-Type, which is how a failed function shows."""
        return self.headers.get("x-fc-error-type", "")

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


class Functions:
    """A local cloud with one account, its functions, and clients for both."""

    def __init__(
        self,
        run_cloud: RunCloud,
        folder: Path,
        account: str = "",
        more: Mapping[str, Any] | None = None,
        **world: Any,
    ) -> None:
        """``more`` is what else the account owns."""
        self.account = account or new_account()
        self._folder = folder
        root, self.root = user("operator", allow("*"))
        nobody, self.nobody = user("nobody", allow("mns:*"))
        owned = {
            "users": {"operator": root, "nobody": nobody},
            "roles": {
                "worker": {"trust": trust(service="fc.aliyuncs.com"), "policies": {"all": allow("*")}},
                "weak": {"trust": trust(service="fc.aliyuncs.com"), "policies": {"none": allow("vpc:DescribeVpcs")}},
                "foreign": {"trust": trust(f"acs:ram::{self.account}:root")},
            },
            "queues": {"work": {}, "other": {}, "dead": {}, "done": {}, "failed": {}},
            "topics": {"results": {"subscriptions": {"all": {"queue": "done", "format": "SIMPLIFIED"}}}},
        }
        self.cloud: LocalCloud = run_cloud(
            {
                "region": HANGZHOU,
                "deploy": {"account": self.account},
                "accounts": {self.account: {"name": "functions", "enterprise": "1", **owned, **(more or {})}},
                **world,
            }
        )

    def deploy(self, *functions: Mapping[str, Any], env: Mapping[str, str] | None = None, **top: Any) -> list[Json]:
        """Deploy what the dictionaries describe."""
        return self.deploy_text(template_text(*functions, **top), env)

    def deploy_text(self, text: str, env: Mapping[str, str] | None = None) -> list[Json]:
        """Deploy an s.yaml given as text."""
        path = self._folder / "s.yaml"
        path.write_text(text, encoding="utf-8")
        return self.cloud.inside_async(lambda: self.cloud.fc.deploy(path, env or {}))

    def named(self, name: str) -> Json:
        """A function as the admin side shows it."""
        shown = self.cloud.inside(lambda _: self.cloud.fc.functions())
        return next(one for one in shown if one["name"] == name)

    def trigger(self, name: str) -> Json:
        """The first trigger of a function as the admin side shows it."""
        found: Json = self.named(name)["triggers"][0]
        return found

    def log(self, name: str) -> list[str]:
        """What a function printed."""
        lines = self.cloud.inside_async(lambda: self.cloud.fc.logs(name))
        return [line["text"] for line in lines]

    def events(self, name: str) -> list[str]:
        """The events a sample function printed, as text."""
        return [text.removeprefix("EVENT ") for text in self.log(name) if text.startswith("EVENT ")]

    def deliveries(self) -> list[Json]:
        """Journal entries of deliveries by triggers."""
        entries = self.cloud.journal(service="fc", operation="InvokeFunction")
        return [entry for entry in entries if "trigger" in entry["params"]]

    # Function Compute's SDK

    def client(self, key: Key | None = None) -> FcClient:
        """The official client."""
        key = key or self.root
        return FcClient(
            Config(
                access_key_id=key.id,
                access_key_secret=key.secret,
                security_token=key.token,
                endpoint=self.cloud.address,
                protocol="http",
            )
        )

    def flat(
        self,
        path: str,
        method: str = "POST",
        body: bytes | None = b"",
        headers: Mapping[str, str] | None = None,
        *,
        key: Key | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call of the flat route, carried by the official client."""
        params = Params(
            action="Call",
            version="2023-03-30",
            protocol="HTTP",
            pathname=f"/2023-03-30/{path}",
            method=method,
            auth_type="AK",
            style="ROA",
            req_body_type="byte",
            body_type="byte",
        )
        request = OpenApiRequest(headers=dict(headers or {}), query=dict(query or {}), body=body)
        answer = self.client(key).call_api(params, request, RuntimeOptions())
        return Answer(answer["statusCode"], dict(answer["headers"]), answer["body"])

    def invoke(self, name: str, event: Any = b"", *, key: Key | None = None, **headers: str) -> Answer:
        """Invoke on the flat route; keyword arguments become headers, underscores dashes."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        named = {key_name.replace("_", "-"): value for key_name, value in headers.items()}
        return self.flat(f"functions/{name}/invocations", body=body, headers=named, key=key)

    def invoke_old(self, service: str, name: str, event: bytes, **headers: str) -> Answer:
        """Invoke on the service route, with the SDK's own operation."""
        request = fc_models.InvokeFunctionRequest(body=event)
        answer = self.client().invoke_function_with_options(
            service, name, request, fc_models.InvokeFunctionHeaders(**headers), RuntimeOptions()
        )
        return Answer(answer.status_code, dict(answer.headers), answer.body)

    # The message service's SDK

    def send(self, *bodies: str, queue: str = "work", base64: bool = True) -> list[str]:
        """Send messages; their ids."""
        account = Account(self.cloud.url, self.root.id, self.root.secret)
        there = account.get_queue(queue)
        there.set_encoding(base64)
        try:
            return [there.send_message(Message(body)).message_id for body in bodies]
        finally:
            account.get_client().close_connection()

    def bodies(self, queue: str) -> list[str]:
        """What lies in a queue, unread."""
        shown = self.cloud.inside(lambda _: self.cloud.mns.snapshot())["queues"]
        found = next(one for one in shown if one["name"] == queue)
        return [message["body"] for message in found["messages"]]
