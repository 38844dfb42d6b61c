"""The resource names that a template points at: dead-letter queues, and destinations of asynchronous invocations."""

import re
from dataclasses import dataclass
from typing import Literal

QUEUE = re.compile(r"acs:mns:(?P<region>[a-z0-9-]*):(?P<account>\d*):/queues/(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)")
DESTINATION = re.compile(
    r"acs:mns:(?P<region>[a-z0-9-]*):(?P<account>\d*):/(?P<kind>queues|topics)/(?P<name>[A-Za-z0-9][A-Za-z0-9-]*)/messages"
    r"|acs:fc:(?P<fc_region>[a-z0-9-]*):(?P<fc_account>\d*):functions/(?P<function>[A-Za-z_][A-Za-z0-9_$-]*)"
)


@dataclass(frozen=True)
class Target:
    """Where an ARN of a dead-letter queue or a destination leads."""

    kind: Literal["queue", "topic", "function"]
    region: str
    account: str
    name: str


def target(arn: str, region: str, account: str) -> Target:
    """What a checked ARN names; region and account may be left blank for the deployment's own."""
    queue = QUEUE.fullmatch(arn)
    if queue is not None:
        return Target("queue", queue["region"] or region, queue["account"] or account, queue["name"])
    found = DESTINATION.fullmatch(arn)
    if found is None:
        raise ValueError(f"{arn!r} names nothing that events can be sent to")
    if found["function"] is not None:
        return Target("function", found["fc_region"] or region, found["fc_account"] or account, found["function"])
    kind: Literal["queue", "topic"] = "queue" if found["kind"] == "queues" else "topic"
    return Target(kind, found["region"] or region, found["account"] or account, found["name"])
