"""Attributes of queues and topics: names, ranges and defaults (mns.md sections 2.1 and 3)."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final, Self

from localcloud.mns.errors import out_of_range, refuse

_RANGES: Final = {
    "DelaySeconds": (0, 604_800),
    "MaximumMessageSize": (1_024, 65_536),
    "MessageRetentionPeriod": (60, 604_800),
    "VisibilityTimeout": (1, 43_200),
    "PollingWaitSeconds": (0, 30),
}
_FIELDS: Final = {
    "DelaySeconds": "delay_seconds",
    "MaximumMessageSize": "maximum_message_size",
    "MessageRetentionPeriod": "message_retention_period",
    "VisibilityTimeout": "visibility_timeout",
    "PollingWaitSeconds": "polling_wait_seconds",
    "LoggingEnabled": "logging_enabled",
}


def whole_number(name: str, text: str, low: int, high: int) -> int:
    """A decimal number within its documented bounds."""
    # isdecimal() alone would let other scripts' digits through, which no client sends and the service would not read.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9) or not low <= int(text) <= high:
        raise out_of_range(name, low, high, text)
    return int(text)


def truth(name: str, text: str) -> bool:
    """True or false in any case, as clients write it."""
    lowered = text.lower()
    if lowered not in {"true", "false"}:
        raise refuse("InvalidArgument", f"The value of {name} should be True or False, found {text[:40]!r}.")
    return lowered == "true"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a client may set on a resource; the wire names are the documented ones."""

    @classmethod
    def names(cls) -> list[str]:
        """Wire names of the attributes this kind of resource has."""
        own = {field.name for field in fields(cls)}
        return [name for name, field in _FIELDS.items() if field in own]

    def changed(self, given: Mapping[str, str]) -> Self:
        """These attributes with the given ones replaced; absent ones keep their value."""
        values: dict[str, int | bool] = {}
        for name in self.names():
            text = given.get(name)
            if text is not None:
                values[_FIELDS[name]] = (
                    truth(name, text) if name == "LoggingEnabled" else whole_number(name, text, *_RANGES[name])
                )
        return replace(self, **values)

    def wire(self) -> dict[str, str]:
        """Name and text of every attribute, as answers carry them."""
        return {name: str(getattr(self, _FIELDS[name])) for name in self.names()}


@dataclass(frozen=True, slots=True)
class QueueAttributes(Attributes):
    """Attributes of a queue with their documented defaults."""

    delay_seconds: int = 0
    maximum_message_size: int = 65_536
    message_retention_period: int = 345_600
    visibility_timeout: int = 30
    polling_wait_seconds: int = 0
    logging_enabled: bool = False


@dataclass(frozen=True, slots=True)
class TopicAttributes(Attributes):
    """Attributes of a topic with their documented defaults; its retention is fixed at one day."""

    maximum_message_size: int = 65_536
    logging_enabled: bool = False


TOPIC_RETENTION_SECONDS: Final = 86_400
