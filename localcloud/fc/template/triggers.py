"""What a template may say about triggers (function-compute.md section 2.3)."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from localcloud.fc import cron
from localcloud.fc.template.arns import QUEUE
from localcloud.fc.template.parts import Part, PascalPart, only
from localcloud.mistakes import broken_rules

OTHER_TRIGGERS = frozenset({"mns_topic", "oss", "log", "cdn_events", "tablestore"})


class TriggerPart(Part):
    """What all triggers have in common."""

    not_emulated = frozenset({"sourceArn", "invocationRole"})
    trigger_name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,127}$")]
    description: str = ""
    qualifier: Annotated[str, only("LATEST")] = "LATEST"


class HttpConfig(Part):
    not_emulated = frozenset({"authConfig"})
    auth_type: Annotated[str, only("anonymous", ("function", "jwt", "bearer"))]
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
        str, only("MNS", ("Default", "RocketMQ", "RabbitMQ", "Kafka", "DTS", "MQTT", "SLS", "DataHub"))
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
        if QUEUE.fullmatch(value) is None:
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
            text = "eventRuleFilterPattern of an event stream must be '{}'; filters on streams are not emulated"
            raise broken_rules([(("eventRuleFilterPattern", "runOptions"), text)])
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
TriggerField = Annotated[
    Annotated[Trigger, Field(discriminator="trigger_type")],
    BeforeValidator(_emulated_trigger),
]
