"""The HTTP API of Function Compute: what a request asks for, and how answers are written.

Two generations share the address (function-compute.md sections 1 and 5). ``/2023-03-30/functions/<name>`` reaches
every function. ``/2021-04-06/services/<service>/functions/<name>`` reaches those named ``<service>$<name>``, which is
how the newer API names functions of the older generation; whether the real service maps anything else is not
documented, so here it does not. What is neither is refused by name.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from aiohttp import web

from localcloud.clock import iso, milliseconds
from localcloud.fc.functions import Function
from localcloud.fc.tasks import Task
from localcloud.fc.template.props import CustomRuntimeConfig, LogConfig, VpcConfig
from localcloud.fc.template.triggers import HttpTrigger, Trigger
from localcloud.refusal import Refusal, Unauthenticated, not_emulated

Generation = Literal["2.0", "3.0"]

_FLAT = re.compile(
    r"/2023-03-30/functions(?:/(?P<function>[^/]+)(?:/(?P<part>invocations|triggers|async-tasks|concurrency|"
    r"async-invoke-config)(?:/(?P<item>[^/]+)(?P<stop>/stop)?)?)?)?"
)
_SERVICE = re.compile(
    r"/2021-04-06/services/(?P<service>[^/]+)/functions/(?P<function>[^/]+)"
    r"(?:/(?P<part>invocations|triggers|stateful-async-invocations|on-demand-config|async-invoke-config)"
    r"(?:/(?P<item>[^/]+))?)?"
)
_OPERATIONS: Mapping[tuple[str, str, bool, bool], str] = {
    # method, part, item named, stop
    ("POST", "invocations", False, False): "InvokeFunction",
    ("GET", "", False, False): "GetFunction",
    ("GET", "triggers", False, False): "ListTriggers",
    ("GET", "triggers", True, False): "GetTrigger",
    ("GET", "concurrency", False, False): "GetConcurrencyConfig",
    ("GET", "on-demand-config", False, False): "GetFunctionOnDemandConfig",
    ("GET", "async-invoke-config", False, False): "GetFunctionAsyncInvokeConfig",
    ("GET", "async-tasks", False, False): "ListAsyncTasks",
    ("GET", "async-tasks", True, False): "GetAsyncTask",
    ("PUT", "async-tasks", True, True): "StopAsyncTask",
    ("GET", "stateful-async-invocations", False, False): "ListStatefulAsyncInvocations",
    ("GET", "stateful-async-invocations", True, False): "GetStatefulAsyncInvocation",
    ("PUT", "stateful-async-invocations", True, False): "StopStatefulAsyncInvocation",
}
_AUTHENTICATION = {
    "unknown_key": (403, "InvalidAccessKeyID"),
    "inactive_key": (403, "InvalidAccessKeyID"),
    "signature_mismatch": (403, "SignatureNotMatch"),
    "unsigned_header": (403, "SignatureNotMatch"),
    "body_digest": (403, "SignatureNotMatch"),
}
TASK_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")


@dataclass(frozen=True)
class Route:
    """What a request is about."""

    generation: Generation
    operation: str
    function: str
    """The function's full name; empty when the request is about all of them."""
    item: str
    """The trigger or task it names, when it names one."""

    def resource(self, region: str, account: str) -> str:
        """The ARN that policies name; of triggers it is the trigger's (deploy.md section 3.1)."""
        root = f"acs:fc:{region}:{account}:"
        trigger = f"/triggers/{self.item or '*'}" if self.operation in {"ListTriggers", "GetTrigger"} else ""
        if self.generation == "2.0":
            service, _, name = self.function.partition("$")
            return f"{root}services/{service}/functions/{name}{trigger}"
        return f"{root}functions/{self.function or '*'}{trigger}"


def generation_of(path: str) -> Generation:
    """Which API a path belongs to; it decides how refusals are written."""
    return "2.0" if path.startswith("/2021-04-06/") else "3.0"


def read_route(method: str, path: str) -> Route:
    """What method and path ask for; refused by name when that is not emulated."""
    generation = generation_of(path)
    match = (_SERVICE if generation == "2.0" else _FLAT).fullmatch(path)
    if match is None:
        raise not_emulated(f"{method} {path}")
    found = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
    if generation == "3.0" and "function" not in found:
        if method != "GET":
            raise not_emulated(f"{method} {path}")
        return Route(generation, "ListFunctions", "", "")
    operation = _OPERATIONS.get((method, found.get("part", ""), "item" in found, "stop" in found))
    if operation is None:
        raise not_emulated(f"{method} {path}")
    name = f"{found['service']}${found['function']}" if generation == "2.0" else found["function"]
    return Route(generation, operation, name, found.get("item", ""))


@dataclass(frozen=True)
class InvokeOptions:
    """What the headers of an invocation ask for."""

    asynchronous: bool
    tail: bool
    task_id: str
    tracked: bool | None
    delay: float

    @classmethod
    def read(cls, headers: Mapping[str, str], generation: Generation) -> "InvokeOptions":
        """From the headers of either generation; refuses what they cannot mean."""
        kind = headers.get("x-fc-invocation-type", "Sync")
        if kind not in {"Sync", "Async"}:
            raise Refusal(400, "InvalidArgument", f"invocation type must be Sync or Async, not '{kind}'")
        log = headers.get("x-fc-log-type", "None")
        if log not in {"None", "Tail"}:
            raise Refusal(400, "InvalidArgument", f"log type must be None or Tail, not '{log}'")
        old = generation == "2.0"
        task_id = headers.get("x-fc-stateful-async-invocation-id" if old else "x-fc-async-task-id", "")
        if task_id and TASK_ID.fullmatch(task_id) is None:
            raise Refusal(400, "InvalidArgument", f"'{task_id}' is not a task id: {TASK_ID.pattern}")
        enabled = headers.get("x-fc-stateful-async-invocation-enable", "").lower() if old else ""
        delay = headers.get("x-fc-async-delay", "0")
        if not delay.isascii() or not delay.isdecimal() or int(delay) > 3599:
            raise Refusal(400, "InvalidArgument", f"x-fc-async-delay must be 0 to 3599 seconds, not '{delay}'")
        return cls(kind == "Async", log == "Tail", task_id, True if enabled == "true" else None, float(delay))


def limited(text: str, default: int) -> int:
    """A page size from the query."""
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 100:
        raise Refusal(400, "InvalidArgument", f"limit must be between 1 and 100, not '{text}'")
    return int(text)


def page(names: Iterator[str], limit: int) -> tuple[list[str], str]:
    """One page of names that come in order; the token of the next page is the name it starts with."""
    return list(itertools.islice(names, limit)), next(names, "")


def function_body(function: Function, generation: Generation) -> dict[str, Any]:
    """A function as GetFunction shows it."""
    props = function.props
    hooks = props.instance_lifecycle_config
    body: dict[str, Any] = {
        "functionName": function.name.rpartition("$")[2] if generation == "2.0" else function.name,
        "functionId": function.id,
        "description": props.description,
        "runtime": props.runtime,
        "handler": props.handler,
        "timeout": props.timeout,
        "memorySize": props.memory_size,
        "cpu": props.cpu,
        "diskSize": props.disk_size,
        "instanceConcurrency": props.instance_concurrency,
        "environmentVariables": dict(props.environment_variables),
        "createdTime": iso(function.created),
        "lastModifiedTime": iso(function.created),
        "codeSize": 0,
        "codeChecksum": "",
        "instanceLifecycleConfig": {
            name: {"handler": hook.handler, "timeout": hook.timeout}
            for name, hook in (("initializer", hooks.initializer), ("preStop", hooks.pre_stop))
            if hook is not None
        },
    }
    if isinstance(props.custom_runtime_config, CustomRuntimeConfig):
        config = props.custom_runtime_config
        body["customRuntimeConfig"] = config.model_dump(by_alias=True, exclude_none=True)
    if generation == "2.0":
        if hooks.initializer is not None:
            body |= {"initializer": hooks.initializer.handler, "initializationTimeout": hooks.initializer.timeout}
        return body
    return body | {
        "functionArn": function.arn,
        "role": function.identity.role_arn,
        "internetAccess": props.internet_access,
        "logConfig": _log_config(function),
        "vpcConfig": props.vpc_config.model_dump(by_alias=True) if isinstance(props.vpc_config, VpcConfig) else {},
        "state": "Active",
        "lastUpdateStatus": "Successful",
    }


def _log_config(function: Function) -> dict[str, Any]:
    """Where the log is kept. What the component makes for ``auto`` has names of its own, which are documented nowhere."""
    log = function.props.log_config
    if isinstance(log, LogConfig):
        return log.model_dump(by_alias=True)
    return {"project": f"serverless-{function.around.region}-local", "logstore": "default-logs"} if log else {}


def concurrency_body(function: Function, generation: Generation) -> dict[str, Any]:
    """How many instances a function may have. The code for none is the one that the vendor's Terraform provider expects."""
    reserved = function.props.reserved_concurrency
    if reserved is None:
        raise Refusal(404, "OnDemandConfigNotFound", f"function '{function.name}' has no limit of its own.")
    if generation == "2.0":
        service, _, name = function.name.partition("$")
        return {"resource": f"services/{service}.LATEST/functions/{name}", "maximumInstanceCount": reserved}
    return {"functionArn": function.arn, "reservedConcurrency": reserved}


def asynchronous_body(function: Function, generation: Generation) -> dict[str, Any]:
    """What becomes of asynchronous calls. The code for nothing is the one that the vendor's deployment tools expect."""
    if "async_invoke_config" not in function.props.model_fields_set:
        raise Refusal(
            404, "AsyncConfigNotExists", f"function '{function.name}' has no asynchronous settings of its own."
        )
    config = function.props.async_invoke_config
    body: dict[str, Any] = {
        "qualifier": config.qualifier,
        "maxAsyncRetryAttempts": config.max_async_retry_attempts,
        "maxAsyncEventAgeInSeconds": config.max_async_event_age_in_seconds,
        "destinationConfig": config.destination_config.model_dump(by_alias=True, exclude_none=True),
        "createdTime": iso(function.created),
        "lastModifiedTime": iso(function.created),
    }
    if generation == "2.0":
        service, _, name = function.name.partition("$")
        return body | {"service": service, "function": name, "statefulInvocation": config.async_task}
    return body | {"functionArn": function.arn, "asyncTask": config.async_task}


def trigger_body(function: Function, trigger: Trigger, url: str) -> dict[str, Any]:
    """A trigger as GetTrigger shows it; its configuration is JSON text."""
    body: dict[str, Any] = {
        "triggerName": trigger.trigger_name,
        "triggerId": f"{function.id}-{trigger.trigger_name}",
        "triggerType": trigger.trigger_type,
        "description": trigger.description,
        "qualifier": trigger.qualifier,
        "sourceArn": "",
        "invocationRole": "",
        "triggerConfig": trigger.trigger_config.model_dump_json(by_alias=True),
        "createdTime": iso(function.created),
        "lastModifiedTime": iso(function.created),
    }
    if isinstance(trigger, HttpTrigger):
        body |= {"urlInternet": url, "urlIntranet": url}
    return body


def task_body(task: Task, generation: Generation, *, payload: bool) -> dict[str, Any]:
    """An asynchronous invocation as it is shown to those who ask for it."""
    service, _, name = task.function.rpartition("$")
    common: dict[str, Any] = {
        "status": task.status,
        "startedTime": int(milliseconds(task.submitted)),
        "endTime": int(milliseconds(task.ended)) if task.ended is not None else 0,
        "durationMs": int(task.duration),
        "alreadyRetriedTimes": task.retries,
        "destinationStatus": "Succeeded" if task.destination.startswith("sent") else "",
        "instanceId": task.instance_id,
        "requestId": task.request_id,
        "qualifier": "LATEST",
        "returnPayload": task.result.decode(errors="replace"),
        "events": task.events,
    }
    given = task.payload.decode(errors="replace") if payload else ""
    if generation == "2.0":
        return common | {
            "serviceName": service,
            "functionName": name,
            "invocationId": task.id,
            "invocationPayload": given,
            "invocationErrorMessage": task.error,
        }
    return common | {
        "functionArn": task.function,
        "taskId": task.id,
        "taskPayload": given,
        "taskErrorMessage": task.error,
    }


def refused(refusal: Refusal, generation: Generation, request_id: str) -> web.Response:
    """A refusal in the generation's own words (section 5.3)."""
    status, code = refusal.status, refusal.code
    if isinstance(refusal, Unauthenticated):
        status, code = _AUTHENTICATION.get(refusal.reason, (status, code))
        if refusal.reason.startswith("missing_") and refusal.reason != "missing_token":
            status, code = 400, "MissingRequiredHeader"
    headers = {"X-Fc-Request-Id": request_id, **refusal.headers}
    if refusal.body is not None:
        return web.Response(status=status, body=refusal.body[1], content_type=refusal.body[0], headers=headers)
    if generation == "2.0":
        error: dict[str, Any] = {"ErrorCode": code, "ErrorMessage": refusal.message}
    else:
        error = {"RequestId": request_id, "Code": code, "Message": refusal.message, **refusal.details}
    return web.Response(
        status=status, body=json.dumps(error).encode(), content_type="application/json", headers=headers
    )
