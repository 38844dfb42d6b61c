"""Reads a Serverless Devs ``s.yaml`` (edition 3.0.0, component fc3) into checked, frozen values.

Real tools let a misspelt key pass (function-compute.md section 2.5), and a template that only works because nobody
looked is what this local cloud is there to find. So every key is either known, or documented but not emulated (and
refused by that name), or a mistake. Defaults are the documented ones, the uncomfortable ones included: three seconds
to run, a stream that stops when retries run out.
"""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel, to_pascal

from localcloud.fc import cron
from localcloud.fc.errors import DeployError, TemplateError
from localcloud.fc.variables import Resolver

PYTHON_RUNTIMES = frozenset({"python3.9", "python3.10", "python3.12"})
CUSTOM_RUNTIMES = frozenset({"custom", "custom.debian10", "custom.debian11", "custom.debian12"})
OTHER_RUNTIMES = frozenset(
    {"python3", "python2.7", "nodejs8", "nodejs10", "nodejs12", "nodejs14", "nodejs16", "nodejs18", "nodejs20"}
    | {"java8", "java11", "go1", "php7.2", "dotnetcore2.1", "dotnetcore3.1", "custom-container", "micro-sandbox"}
)
OTHER_TRIGGERS = frozenset({"mns_topic", "oss", "log", "cdn_events", "tablestore"})

_QUEUE = re.compile(r"acs:mns:(?P<region>[a-z0-9-]*):(?P<account>\d*):/queues/(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)")
_DESTINATION = re.compile(
    r"acs:mns:(?P<region>[a-z0-9-]*):(?P<account>\d*):/(?P<kind>queues|topics)/(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)/messages"
    r"|acs:fc:(?P<fc_region>[a-z0-9-]*):(?P<fc_account>\d*):functions/(?P<function>[A-Za-z_][A-Za-z0-9_$-]*)"
)
_ROLE_ARN = re.compile(r"acs:ram::(?P<account>\d+):role/(?P<name>[A-Za-z0-9._-]+)", re.IGNORECASE)


class Part(BaseModel):
    """A piece of the template: no value is bent into shape, no key is silently ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)
    not_emulated: ClassVar[frozenset[str]] = frozenset()
    """Documented keys whose effect this local cloud does not have."""

    @model_validator(mode="before")
    @classmethod
    def _spelling(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = {field.alias or name for name, field in cls.model_fields.items()}
        problems = []
        for key in given:
            if key in cls.not_emulated:
                problems.append(f"{key!r} is documented, but not emulated by this local cloud")
            elif key not in known:
                near = difflib.get_close_matches(str(key), known | cls.not_emulated, n=1)
                problems.append(f"unknown key {key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
        if problems:
            raise ValueError("; ".join(problems))
        return given


class PascalPart(Part):
    """A piece whose keys EventBridge spells with a capital."""

    model_config = ConfigDict(alias_generator=to_pascal)


def _only(allowed: str, documented: Sequence[str] = ()) -> Any:
    """A field that may have one value here; the other documented values are refused by name."""

    def check(value: Any) -> Any:
        if value != allowed:
            why = "documented, but not emulated" if value in documented else "not known"
            raise ValueError(f"{value!r} is {why}; only {allowed!r} is emulated")
        return value

    return BeforeValidator(check)


class Hook(Part):
    """A function that runs once when an instance starts, or before it ends."""

    not_emulated = frozenset({"command"})
    handler: str
    timeout: Annotated[int, Field(ge=1, le=300)] = 3


class LifecycleConfig(Part):
    initializer: Hook | None = None
    pre_stop: Hook | None = None

    @field_validator("pre_stop")
    @classmethod
    def _short(cls, hook: Hook | None) -> Hook | None:
        if hook is not None and hook.timeout > 90:
            raise ValueError(f"preStop may take 90 seconds at most, not {hook.timeout}")
        return hook


class ConcurrencyConfig(Part):
    reserved_concurrency: Annotated[int, Field(ge=0)]


class Destination(Part):
    destination: str

    @field_validator("destination")
    @classmethod
    def _form(cls, value: str) -> str:
        if _DESTINATION.fullmatch(value) is None:
            raise ValueError(
                f"{value!r} is neither acs:mns:REGION:UID:/queues/NAME/messages, .../topics/NAME/messages "
                "nor acs:fc:REGION:UID:functions/NAME (other destinations are not emulated)"
            )
        return value


class DestinationConfig(Part):
    on_success: Destination | None = None
    on_failure: Destination | None = None


class AsyncInvokeConfig(Part):
    async_task: bool = False
    qualifier: Annotated[str, _only("LATEST")] = "LATEST"
    max_async_retry_attempts: Annotated[int, Field(ge=0, le=8)] = 3
    max_async_event_age_in_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 18_000
    destination_config: DestinationConfig = DestinationConfig()


class CustomRuntimeConfig(Part):
    not_emulated = frozenset({"healthCheckConfig"})
    command: Annotated[list[str], Field(min_length=1)]
    args: list[str] = Field(default_factory=list)
    port: Annotated[int, Field(ge=1, le=65535)] = 9000


class LogConfig(Part):
    not_emulated = frozenset({"enableLlmMetrics"})
    project: str
    logstore: str
    enable_request_metrics: bool = False
    enable_instance_metrics: bool = False
    log_begin_rule: Literal["DefaultRegex", "None"] = "None"


class VpcConfig(Part):
    """Accepted and shown; on loopback every function reaches everything."""

    vpc_id: str
    v_switch_ids: list[str] | Literal["auto"]
    security_group_id: str


class Tag(Part):
    key: str
    value: str


class Route(Part):
    not_emulated = frozenset({"rewriteConfig"})
    path: str
    qualifier: str = "LATEST"
    methods: list[str] = Field(default_factory=list)


class CustomDomain(Part):
    """Named only; the loopback port of the HTTP trigger stands for it."""

    not_emulated = frozenset({"certConfig", "tlsConfig", "authConfig", "wafConfig"})
    domain_name: str
    protocol: Literal["HTTP", "HTTPS", "HTTP,HTTPS"] = "HTTP"
    route: Route | None = None


# Triggers.


class TriggerPart(Part):
    """What all triggers have in common."""

    not_emulated = frozenset({"sourceArn", "invocationRole"})
    trigger_name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,127}$")]
    description: str = ""
    qualifier: Annotated[str, _only("LATEST")] = "LATEST"


class HttpConfig(Part):
    not_emulated = frozenset({"authConfig"})
    auth_type: Annotated[str, _only("anonymous", ("function", "jwt", "bearer"))]
    methods: Annotated[list[Literal["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]], Field(min_length=1)]
    disable_url_internet: Annotated[bool, Field(alias="disableURLInternet")] = False


class HttpTrigger(TriggerPart):
    trigger_type: Literal["http"]
    trigger_config: HttpConfig


class TimerConfig(Part):
    cron_expression: str
    enable: bool
    payload: str = ""

    @field_validator("cron_expression")
    @classmethod
    def _readable(cls, value: str) -> str:
        cron.parse(value)
        return value


class TimerTrigger(TriggerPart):
    trigger_type: Literal["timer"]
    trigger_config: TimerConfig


class SourceMns(PascalPart):
    region_id: str
    queue_name: str
    is_base64_decode: Annotated[bool, Field(alias="IsBase64Decode")] = True


class SourceParameters(Part):
    not_emulated = frozenset(
        {"sourceRocketMQParameters", "sourceKafkaParameters", "sourceRabbitMQParameters", "sourceDTSParameters"}
        | {"sourceMQTTParameters", "sourceSLSParameters", "sourceDataHubParameters"}
    )
    source_mns: Annotated[SourceMns, Field(alias="sourceMNSParameters")]


class EventSource(Part):
    event_source_type: Annotated[
        str, _only("MNS", ("Default", "RocketMQ", "RabbitMQ", "Kafka", "DTS", "MQTT", "SLS", "DataHub"))
    ]
    event_source_parameters: SourceParameters


class DeliveryOption(Part):
    not_emulated = frozenset({"mode"})
    event_schema: Literal["CloudEvents", "RawData"] = "CloudEvents"
    concurrency: Annotated[int, Field(ge=1, le=100)] = 1


class EventSink(Part):
    delivery_option: DeliveryOption


class BatchWindow(PascalPart):
    count_based_window: Annotated[int, Field(ge=1, le=10_000)] = 1
    time_based_window: Annotated[int, Field(ge=0, le=15)] = 0


class RetryStrategy(PascalPart):
    not_emulated = frozenset({"MaximumRetryAttempts", "MaximumEventAgeInSeconds"})
    push_retry_strategy: Literal["BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY"] = "BACKOFF_RETRY"


class DeadLetterQueue(PascalPart):
    arn: str

    @field_validator("arn")
    @classmethod
    def _queue(cls, value: str) -> str:
        if _QUEUE.fullmatch(value) is None:
            raise ValueError(
                f"{value!r} is not acs:mns:REGION:UID:/queues/NAME (other dead-letter targets are not emulated)"
            )
        return value


class RunOptions(Part):
    not_emulated = frozenset({"maximumTasks"})
    mode: Literal["event-streaming", "event-driven"]
    batch_window: BatchWindow = BatchWindow()
    retry_strategy: RetryStrategy = RetryStrategy()
    errors_tolerance: Literal["ALL", "NONE"] = "NONE"
    dead_letter_queue: DeadLetterQueue | None = None


class EventBridgeConfig(Part):
    trigger_enable: bool
    async_invocation_type: bool
    event_rule_filter_pattern: str
    event_source_config: EventSource
    event_sink_config: EventSink
    run_options: RunOptions

    @property
    def pattern(self) -> dict[str, list[str]]:
        """The filter: which values each attribute of an event may have."""
        return dict(json.loads(self.event_rule_filter_pattern))

    @field_validator("event_rule_filter_pattern")
    @classmethod
    def _exact_matches(cls, value: str) -> str:
        try:
            pattern = json.loads(value)
        except ValueError as problem:
            raise ValueError(f"not JSON: {problem}") from None
        simple = isinstance(pattern, dict) and all(
            isinstance(allowed, list) and all(isinstance(item, str) for item in allowed) for allowed in pattern.values()
        )
        if not simple:
            raise ValueError("only exact matches on attributes, {'source': ['...']}, are emulated")
        return value

    @model_validator(mode="after")
    def _streams_take_everything(self) -> "EventBridgeConfig":
        if self.run_options.mode == "event-streaming" and self.pattern:
            raise ValueError(
                "eventRuleFilterPattern of an event stream must be '{}'; filters on streams are not emulated"
            )
        return self


class EventBridgeTrigger(TriggerPart):
    trigger_type: Literal["eventbridge"]
    trigger_config: EventBridgeConfig


def _emulated_trigger(given: Any) -> Any:
    kind = given.get("triggerType") if isinstance(given, dict) else None
    if kind in OTHER_TRIGGERS:
        raise ValueError(f"triggerType {kind!r} is documented, but not emulated by this local cloud")
    return given


Trigger = HttpTrigger | TimerTrigger | EventBridgeTrigger
_TriggerField = Annotated[
    Annotated[Trigger, Field(discriminator="trigger_type")],
    BeforeValidator(_emulated_trigger),
]


class Props(Part):
    """``resources.<id>.props`` of component fc3 (function-compute.md section 2.2)."""

    not_emulated = frozenset(
        {"layers", "provisionConfig", "scalingConfig", "tracingConfig", "customDNS", "nasConfig", "ossMountConfig"}
        | {"vpcBinding", "annotations", "endpoint", "gpuConfig", "customContainerConfig", "enableLongLiving"}
        | {"sessionAffinity", "sessionAffinityConfig", "instanceIsolationMode", "supplement"}
    )
    region: str
    function_name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,127}(\$[A-Za-z_][A-Za-z0-9_-]{0,127})?$")]
    runtime: str
    code: str
    handler: str = ""
    description: str = ""
    memory_size: Annotated[int, Field(ge=128, le=32_768, multiple_of=64)] = 512
    cpu: Annotated[float, Field(ge=0.05, le=16)] = 0.35
    disk_size: Literal[512, 10_240] = 512
    timeout: Annotated[int, Field(ge=1, le=86_400)] = 3
    instance_concurrency: Annotated[int, Field(ge=1, le=200)] = 1
    environment_variables: dict[str, str] = Field(default_factory=dict)
    role: str = ""
    log_config: LogConfig | Literal["auto"] | None = None
    vpc_config: VpcConfig | Literal["auto"] | None = None
    internet_access: bool = True
    instance_lifecycle_config: LifecycleConfig = LifecycleConfig()
    async_invoke_config: AsyncInvokeConfig = AsyncInvokeConfig()
    concurrency_config: ConcurrencyConfig | None = None
    custom_runtime_config: CustomRuntimeConfig | None = None
    custom_domain: CustomDomain | None = None
    tags: list[Tag] = Field(default_factory=list)
    resource_group_id: str = ""
    triggers: Annotated[list[_TriggerField], Field(max_length=50)] = Field(default_factory=list)

    @field_validator("runtime")
    @classmethod
    def _emulated_runtime(cls, value: str) -> str:
        if value in OTHER_RUNTIMES:
            raise ValueError(f"runtime {value!r} is documented, but not emulated by this local cloud")
        if value not in PYTHON_RUNTIMES | CUSTOM_RUNTIMES:
            raise ValueError(
                f"{value!r} is not a runtime; there are {', '.join(sorted(PYTHON_RUNTIMES | CUSTOM_RUNTIMES))}"
            )
        return value

    @field_validator("environment_variables")
    @classmethod
    def _environment(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is None:
                raise ValueError(f"{name!r} must start with a letter and hold letters, digits and underscores only")
            if name.startswith("FC_"):
                raise ValueError(f"{name!r}: names that start with FC_ are reserved")
        size = sum(len(name.encode()) + len(text.encode()) for name, text in value.items())
        if size > 4096:
            raise ValueError(f"all variables together may have 4096 bytes, these have {size}")
        return value

    @field_validator("triggers")
    @classmethod
    def _distinct(cls, value: list[Any]) -> list[Any]:
        names = [trigger.trigger_name for trigger in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two triggers are named {name!r}")
        if sum(isinstance(trigger, HttpTrigger) for trigger in value) > 1:
            raise ValueError("a function has one HTTP trigger at most")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Props":
        problems = []
        if self.custom and self.custom_runtime_config is None:
            problems.append(f"runtime {self.runtime} needs customRuntimeConfig with the command that starts the server")
        if not self.custom and self.custom_runtime_config is not None:
            problems.append(f"customRuntimeConfig is for custom runtimes, not for {self.runtime}")
        if not self.custom and not self.handler:
            problems.append(f"runtime {self.runtime} needs a handler")
        if not self.custom and self.instance_concurrency > 1:
            problems.append("instanceConcurrency above 1 works for custom runtimes only")
        if not 1 <= self.memory_size / 1024 / self.cpu <= 4:
            problems.append(
                f"cpu {self.cpu} with memorySize {self.memory_size}: vCPU to GB must be between 1:1 and 1:4"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def reserved_concurrency(self) -> int | None:
        """How many instances the function may have, and has for itself; None when it shares the account's."""
        return self.concurrency_config.reserved_concurrency if self.concurrency_config is not None else None

    @property
    def custom(self) -> bool:
        """Whether the function is a server of its own making."""
        return self.runtime in CUSTOM_RUNTIMES

    def role_name(self, account: str) -> str:
        """The role's name; the component takes an ARN or a bare name and lower-cases it."""
        arn = _ROLE_ARN.fullmatch(self.role)
        if arn is None:
            return self.role.lower()
        if arn["account"] != account:
            raise ValueError(f"role {self.role} is not in account {account}, where the function is deployed")
        return arn["name"].lower()


class Resource(Part):
    """One entry of ``resources``; ``actions`` (such as packaging before a deployment) are not run."""

    component: str
    props: Any
    actions: dict[str, Any] = Field(default_factory=dict)

    @field_validator("component")
    @classmethod
    def _fc3(cls, value: str) -> str:
        if value != "fc3" and not value.startswith("fc3@"):
            raise ValueError(f"component {value!r} is not emulated; 'fc3' is")
        return value


class Document(Part):
    """The outer skeleton of a template."""

    not_emulated = frozenset({"env", "extend", "template", "flow", "plugins", "services", "global"})
    edition: str
    name: str
    access: str = "default"
    vars: dict[str, Any] | None = None
    resources: Annotated[dict[str, Resource], Field(min_length=1)]

    @field_validator("edition")
    @classmethod
    def _third(cls, value: str) -> str:
        if value != "3.0.0":
            raise ValueError(f"edition {value!r} is not emulated; '3.0.0' is")
        return value


@dataclass(frozen=True)
class Target:
    """Where an ARN of a dead-letter queue or a destination leads."""

    kind: Literal["queue", "topic", "function"]
    region: str
    account: str
    name: str


def target(arn: str, region: str, account: str) -> Target:
    """What a checked ARN names; region and account may be left blank for the deployment's own."""
    queue = _QUEUE.fullmatch(arn)
    if queue is not None:
        return Target("queue", queue["region"] or region, queue["account"] or account, queue["name"])
    found = _DESTINATION.fullmatch(arn)
    if found is None:
        raise ValueError(f"{arn!r} names nothing that events can be sent to")
    if found["function"] is not None:
        return Target("function", found["fc_region"] or region, found["fc_account"] or account, found["function"])
    kind: Literal["queue", "topic"] = "queue" if found["kind"] == "queues" else "topic"
    return Target(kind, found["region"] or region, found["account"] or account, found["name"])


@dataclass(frozen=True)
class FunctionSpec:
    """One function as the template describes it, with its code's place on this machine."""

    resource: str
    props: Props
    code: Path

    @property
    def name(self) -> str:
        """The function's name; ``service$function`` for one that lives in a 2.0 service."""
        return self.props.function_name

    @property
    def where(self) -> str:
        """The function's place in the template, for messages."""
        return f"resources.{self.resource}.props"


class _UniqueLoader(yaml.SafeLoader):
    """Plain YAML that does not let a second key of the same name win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} stands there twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path, environment: Mapping[str, str], account: str) -> list[FunctionSpec]:
    """The functions a template describes, or a DeployError that lists everything that is wrong with it."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueLoader)  # noqa: S506 - a SafeLoader
    except OSError as problem:
        raise DeployError(f"{path}: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise DeployError(f"{path}: not YAML: {problem}") from None
    if not isinstance(document, dict):
        raise DeployError(f"{path}: a mapping is needed at the top, this is a {type(document).__name__}")
    try:
        return _functions(path, document, Resolver(document, environment, account))
    except TemplateError as problem:
        raise DeployError(f"{path}: {problem}") from None


def _functions(path: Path, document: dict[str, Any], resolver: Resolver) -> list[FunctionSpec]:
    skeleton = {**document, "resources": _without_props(document.get("resources"))}
    try:
        Document.model_validate(resolver.resolve(skeleton, "", None))
    except ValidationError as invalid:
        raise DeployError("\n  ".join([f"{path} cannot be deployed:", *explain(invalid, "")])) from None
    problems: list[str] = []
    specs: list[FunctionSpec] = []
    for name, resource in document["resources"].items():
        where = f"resources.{name}.props"
        try:
            props = Props.model_validate(resolver.resolve(resource["props"], where, name))
            specs.append(FunctionSpec(name, props, _code(path, props.code, where)))
        except TemplateError as problem:
            problems.append(str(problem))
        except ValidationError as invalid:
            problems += explain(invalid, where)
    names = [spec.name for spec in specs]
    problems += sorted({f"two resources are named {name!r}" for name in names if names.count(name) > 1})
    if problems:
        raise DeployError("\n  ".join([f"{path} cannot be deployed:", *problems]))
    return specs


def _without_props(resources: Any) -> Any:
    """The resources with their props left out, for a look at the skeleton alone."""
    if not isinstance(resources, dict):
        return resources
    return {
        name: {**resource, "props": None} if isinstance(resource, dict) and "props" in resource else resource
        for name, resource in resources.items()
    }


def _code(template: Path, code: str, where: str) -> Path:
    """The folder the code is in; archives and object storage are refused by name."""
    if code.startswith(("http://", "https://")) or code.endswith(".zip"):
        raise TemplateError(f"{where}.code", f"{code!r}: archives and addresses are not emulated, a folder is")
    folder = (template.parent / code).resolve()
    if not folder.is_dir():
        raise TemplateError(f"{where}.code", f"{code!r} is no folder (looked for {folder})")
    return folder


def explain(invalid: ValidationError, where: str) -> list[str]:
    """One line per mistake: its path in the template, what is wrong, and what was found there."""
    lines = []
    for error in invalid.errors(include_url=False):
        steps: list[str] = [where] if where else []
        previous: Any = None
        for step in error["loc"]:
            if not (isinstance(previous, int) and step in {"http", "timer", "eventbridge"}):
                steps.append(str(step))
            previous = step
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "value_error":
            lines.append(f"{'.'.join(steps)}: {message}")
        elif error["type"] == "missing":
            lines.append(f"{'.'.join(steps)}: this key is missing")
        else:
            lines.append(f"{'.'.join(steps)}: {message} (found {_short(error['input'])})")
    return lines


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
