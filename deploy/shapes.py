"""The shapes in which ``deploy.surroundings`` says what there has to be: queues, a topic, roles, rights, a log project.

Texts may hold blanks in braces: ``{hub}`` is the uid of the account the functions run in, ``{account}`` that of the account a
role stands in, ``{spoke}`` each account B, ``{router}`` each Express Connect Router. ``Policy.document`` fills them in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

POLICY_VERSION = "1"
LONGEST_POLICY = 6144
"""Characters that a custom policy may have (RAM's limits page, 2025-12)."""


class Blank(StrEnum):
    """What is filled in, in an account's own terms."""

    HUB = "hub"
    ACCOUNT = "account"
    SPOKE = "spoke"
    ROUTER = "router"


MANY = frozenset({Blank.SPOKE, Blank.ROUTER})
"""Blanks that stand for a list: one resource for each."""

Values = Mapping[Blank, Sequence[str]]
Document = dict[str, Any]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DeadLetter(_Shape):
    """Where a message goes that was received too often."""

    queue: str
    max_receives: int = Field(ge=1, le=1000)


class Queue(_Shape):
    """A queue of the hub account; attributes as MNS names and bounds them, times in seconds."""

    name: str
    purpose: str
    setting: str = ""
    """The functions' setting that names it; empty for a dead-letter queue, which is named after its queue."""
    visibility: int = Field(default=30, ge=1, le=43_200)
    retention: int = Field(default=604_800, ge=60, le=604_800)
    polling: int = Field(default=0, ge=0, le=30)
    dead_letter: DeadLetter | None = None

    def attributes(self) -> dict[str, int]:
        """The attributes that matter, as GetQueueAttributes names them; the dead letter stands apart."""
        return {
            "VisibilityTimeout": self.visibility,
            "MessageRetentionPeriod": self.retention,
            "PollingWaitSeconds": self.polling,
        }


class Format(StrEnum):
    """How a notification is written."""

    SIMPLIFIED = "SIMPLIFIED"


class Strategy(StrEnum):
    """How failed deliveries are tried again: 176 times in a day, where BACKOFF_RETRY tries three times and gives up."""

    EXPONENTIAL_DECAY_RETRY = "EXPONENTIAL_DECAY_RETRY"


class Subscription(_Shape):
    """What of the topic is pushed into a queue of the hub account."""

    name: str
    queue: str
    filter_tag: str = Field(min_length=1, max_length=16)
    format: Format = Format.SIMPLIFIED
    strategy: Strategy = Strategy.EXPONENTIAL_DECAY_RETRY
    dead_letter: str


class Topic(_Shape):
    """A topic of the hub account, with the subscriptions that the functions need; others may be added to it."""

    name: str
    setting: str
    subscriptions: tuple[Subscription, ...]


class Condition(_Shape):
    """One condition of a statement: the key has exactly one of these values."""

    key: str
    values: tuple[str, ...]


class Statement(_Shape):
    """What is allowed on what, and what for. Nothing is ever denied: what is not allowed here is not allowed."""

    why: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Condition | None = None
    unproven: str = ""
    """Why no test sees each action used, and where the need for it comes from; empty where tests do."""

    def document(self, values: Values) -> Document:
        """The statement as RAM reads it, with one resource for each value of each blank."""
        filled = [text for resource in self.resources for text in fill(resource, values)]
        document: Document = {"Effect": "Allow", "Action": list(self.actions), "Resource": filled}
        if self.condition is not None:
            document["Condition"] = {"StringEquals": {self.condition.key: list(self.condition.values)}}
        return document


class Policy(_Shape):
    """A custom policy. Its name is one of the whole account's (at most 128 letters)."""

    name: str = Field(max_length=128)
    statements: tuple[Statement, ...]

    def document(self, values: Values) -> Document:
        """The policy as RAM reads it."""
        return {"Version": POLICY_VERSION, "Statement": [each.document(values) for each in self.statements]}

    @property
    def actions(self) -> tuple[str, ...]:
        """Every action that is allowed, in order, once."""
        return tuple(dict.fromkeys(action for statement in self.statements for action in statement.actions))


class Trust(_Shape):
    """Who may assume a role: services, or roles of the hub account, and then only with the account's external id."""

    services: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def document(self, values: Values, external_id: str = "") -> Document:
        """The trust policy as RAM reads it. Raises ValueError where roles are trusted without an external id."""
        if self.services:
            principal: Document = {"Service": list(self.services)}
        else:
            principal = {"RAM": [text for name in self.roles for text in fill(role_arn(Blank.HUB, name), values)]}
        statement: Document = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
        if self.roles:
            if not external_id:
                raise ValueError("a role that trusts another account's roles wants an external id")
            statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
        return {"Version": POLICY_VERSION, "Statement": [statement]}


class Role(_Shape):
    """A role: who may assume it, and what its sessions may do."""

    name: str = Field(pattern=r"^[A-Za-z0-9.-]{1,64}$")
    purpose: str = Field(max_length=1024)
    trust: Trust
    policies: tuple[Policy, ...]


class LogStore(_Shape):
    """Where the functions' lines are kept."""

    project: str
    """With ``{hub}`` in it: names of log projects are shared by all accounts."""
    name: str
    retention_days: int = Field(ge=1, le=3650)
    """3650 keeps them for ever. Signed heads prove nothing once they are gone."""


def role_arn(account: Blank, name: str) -> str:
    """The ARN of a role in an account that is still a blank."""
    return f"acs:ram::{{{account}}}:role/{name}"


def fill(text: str, values: Values) -> list[str]:
    """A text for each value of the blanks in it. Raises KeyError for a blank without a value."""
    found = next(_blanks(text), None)
    if found is None:
        return [text]
    return [one for value in values[found] for one in fill(text.replace(f"{{{found}}}", value), values)]


def _blanks(text: str) -> Iterator[Blank]:
    return (Blank(name) for name in re.findall(r"\{([a-z]+)\}", text))
