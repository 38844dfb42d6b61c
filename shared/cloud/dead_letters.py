"""Where queues and subscriptions put what they give up on. Only the control API of the message service shows it.

Two reads of Mns-open 2022-01-19, over the transport that all the vendor's SDKs share: its own SDK would be a dependency for two
numbers. Names and forms are those of that SDK (alibabacloud_mns_open20220119 1.2.1); not tried against the live cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alibabacloud_tea_openapi.client import Client

from shared.cloud.clients import config, rpc
from shared.cloud.errors import translated
from shared.cloud.keys import Keys
from shared.errors import CloudTrouble

_VERSION = "2022-01-19"


@dataclass(frozen=True)
class DeadLetters:
    """Where dead letters go: the queue's name, empty where nowhere; after how many receives, None for a subscription."""

    queue: str
    max_receives: int | None


class Control:
    """Reads of one account in one region."""

    def __init__(self, endpoint: str, region: str, account: str, keys: Keys, milliseconds: int) -> None:
        """``milliseconds``: how long one answer is waited for."""
        self._account = account
        self._client = Client(config(endpoint, region, keys, milliseconds))

    def of_queue(self, name: str) -> DeadLetters:
        """Needs mns:GetQueueAttributes on the queue. Raises GrantError."""
        return self._read("GetQueueAttributes", {"QueueName": name})

    def of_subscription(self, topic: str, name: str) -> DeadLetters:
        """Needs mns:GetSubscriptionAttributes on the subscription. Raises GrantError."""
        return self._read("GetSubscriptionAttributes", {"TopicName": topic, "SubscriptionName": name})

    def _read(self, action: str, query: Mapping[str, str]) -> DeadLetters:
        with translated(f"{action} of {', '.join(query.values())}", self._account):
            answer: Any = rpc(self._client, _VERSION, action, query)
        try:
            policy = answer["Data"].get("DlqPolicy") or {}
            most = policy.get("MaxReceiveCount")
            queue = str(policy.get("DeadLetterTargetQueue") or "") if policy.get("Enabled") else ""
            return DeadLetters(queue, None if most is None else int(most))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise CloudTrouble(f"{action}: the answer has another form than documented") from None
