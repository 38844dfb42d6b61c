"""What a template may say about a function (function-compute.md section 2.2)."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from localcloud.fc.template.arns import DESTINATION
from localcloud.fc.template.parts import Part, only
from localcloud.fc.template.triggers import HttpTrigger, TriggerField
from localcloud.mistakes import broken_rules, unknown_keys

PYTHON_RUNTIMES = frozenset({"python3.9", "python3.10", "python3.12"})
CUSTOM_RUNTIMES = frozenset({"custom", "custom.debian10", "custom.debian11", "custom.debian12"})
OTHER_RUNTIMES = frozenset(
    {"python3", "python2.7", "nodejs8", "nodejs10", "nodejs12", "nodejs14", "nodejs16", "nodejs18", "nodejs20"}
    | {"java8", "java11", "go1", "php7.2", "dotnetcore2.1", "dotnetcore3.1", "custom-container", "micro-sandbox"}
)
_ROLE_ARN = re.compile(r"acs:ram::(?P<account>\d+):role/(?P<name>[A-Za-z0-9._-]+)", re.IGNORECASE)


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
        if DESTINATION.fullmatch(value) is None:
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
    qualifier: Annotated[str, only("LATEST")] = "LATEST"
    max_async_retry_attempts: Annotated[int, Field(ge=0, le=8)] = 3
    max_async_event_age_in_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 18_000
    destination_config: DestinationConfig = DestinationConfig()


class HealthCheckConfig(Part):
    """Asked once, when an instance starts; what is asked of a running one is not emulated."""

    http_get_url: Annotated[str, Field(pattern=r"^/")]
    initial_delay_seconds: Annotated[int, Field(ge=0, le=120)] = 0
    period_seconds: Annotated[int, Field(ge=1, le=120)] = 3
    timeout_seconds: Annotated[int, Field(ge=1, le=3)] = 1
    failure_threshold: Annotated[int, Field(ge=1, le=120)] = 3
    success_threshold: Annotated[int, Field(ge=1, le=120)] = 1


class CustomRuntimeConfig(Part):
    command: Annotated[list[str], Field(min_length=1)]
    args: list[str] = Field(default_factory=list)
    port: Annotated[int, Field(ge=1, le=65535)] = 9000
    health_check_config: HealthCheckConfig | None = None

    @property
    def python(self) -> str:
        """The interpreter that the command names, such as python3.12; empty when it is something else."""
        folder, _, name = self.command[0].rpartition("/")
        known = folder == "" or folder.startswith(("/opt/python3", "/var/fc/lang/python3"))
        return name if known and re.fullmatch(r"python3(\.\d+)?", name) else ""


class ScalingConfig(Part):
    """Instances that are there before anybody asks; what makes their number change is not emulated."""

    not_emulated = frozenset(
        {"horizontalScalingPolicies", "scheduledPolicies", "residentPoolId", "enableOnDemandScaling", "enableMixMode"}
        | {"requestDispatchPolicy"}
    )
    min_instances: Annotated[int, Field(ge=0)] = 0


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


class Props(Part):
    """``resources.<id>.props`` of component fc3 (function-compute.md section 2.2)."""

    not_emulated = frozenset(
        {"layers", "provisionConfig", "tracingConfig", "customDNS", "nasConfig", "ossMountConfig"}
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
    scaling_config: ScalingConfig = ScalingConfig()
    custom_runtime_config: CustomRuntimeConfig | None = None
    custom_domain: CustomDomain | None = None
    tags: list[Tag] = Field(default_factory=list)
    resource_group_id: str = ""
    triggers: Annotated[list[TriggerField], Field(max_length=50)] = Field(default_factory=list)

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
        wrong = []
        for name in value:
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) is None:
                text = f"{name!r} must start with a letter and hold letters, digits and underscores only"
                wrong.append((name, text))
            elif name.startswith("FC_"):
                wrong.append((name, f"{name!r}: names that start with FC_ are reserved"))
        if wrong:
            raise unknown_keys(wrong)
        size = sum(len(name.encode()) + len(text.encode()) for name, text in value.items())
        if size > 4096:
            raise ValueError(f"all variables together may have 4096 bytes, these have {size}")
        return value

    @field_validator("triggers")
    @classmethod
    def _distinct(cls, value: list[Any]) -> list[Any]:
        names = [trigger.trigger_name for trigger in value]
        problems = [f"two triggers are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
        if sum(isinstance(trigger, HttpTrigger) for trigger in value) > 1:
            problems.append("a function has one HTTP trigger at most")
        if problems:
            raise ValueError("; ".join(problems))
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Props":
        config, handler = ("runtime", "customRuntimeConfig"), ("runtime", "handler")
        rules = [
            (
                config,
                self.custom and self.custom_runtime_config is None,
                f"runtime {self.runtime} needs customRuntimeConfig with the command that starts the server",
            ),
            (
                config,
                not self.custom and self.custom_runtime_config is not None,
                f"customRuntimeConfig is for custom runtimes, not for {self.runtime}",
            ),
            (handler, not self.custom and not self.handler, f"runtime {self.runtime} needs a handler"),
            (
                ("runtime", "instanceConcurrency"),
                not self.custom and self.instance_concurrency > 1,
                "instanceConcurrency above 1 works for custom runtimes only",
            ),
            (
                ("scalingConfig", "concurrencyConfig"),
                self.reserved_concurrency is not None and self.scaling_config.min_instances > self.reserved_concurrency,
                (
                    f"minInstances ({self.scaling_config.min_instances}) may not exceed reservedConcurrency "
                    f"({self.reserved_concurrency}), which counts them too"
                ),
            ),
            (
                ("cpu", "memorySize"),
                not 1 <= self.memory_size / 1024 / self.cpu <= 4,
                f"cpu {self.cpu} with memorySize {self.memory_size}: vCPU to GB must be between 1:1 and 1:4",
            ),
        ]
        broken = [(fields, text) for fields, wrong, text in rules if wrong]
        if broken:
            raise broken_rules(broken)
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
