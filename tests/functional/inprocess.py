"""A function's frame in this process, before a local cloud with nothing deployed: real bytes in, everything to look at."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_sts20150401.models import AssumeRoleRequest

from shared.cloud.spoke import Spoke
from shared.loop.drivers import SpokeDriver
from shared.loop.frame import Frame, Function
from tests.functional.deployment import Deployment, deployment
from tests.functional.launch import environment
from tests.functional.world import GRANT_FUNCTION, HUB, REGION, Key, Stage

RUNNER = Key("LTAI-example-runner", "example-secret-of-the-runner")


@dataclass(frozen=True)
class Limits:
    """What a handler may know of its function."""

    timeout: int = 300


@dataclass(frozen=True)
class Context:
    """The context of an invocation; credentials are in the environment."""

    request_id: str
    account_id: str = HUB
    function: Limits = field(default_factory=Limits)


@dataclass
class InProcess:
    """Account B's side, as its handler runs it."""

    cloud: Deployment
    frame: Frame

    def handle(self, event: bytes, name: str = "in-process") -> dict[str, int]:
        """What ``functions/grant.py`` does with an event."""
        return self.frame.run(SpokeDriver(Spoke(self.frame.calls)), event, Context(name))


def subject(queue: str) -> str:
    """How an event names the queue that its message lay in."""
    return f"acs:mns:{REGION}:{HUB}:queues/{queue}"


def events(messages: list[tuple[str, Any]], shape: str = "objects", queue: str = "ecr-approvals") -> bytes:
    """A batch of (message id, body) as the trigger of a queue delivers it."""
    found: list[Any] = [
        {
            "id": name,
            "source": "acs:mns",
            "specversion": "1.0",
            "subject": subject(queue),
            "data": {"messageId": name, "messageBody": body},
        }
        for name, body in messages
    ]
    if shape == "strings":
        found = [json.dumps(one) for one in found]
    if shape == "data":
        found = [one["data"] for one in found]
    return json.dumps(found).encode()


@contextlib.contextmanager
def in_process(stage: Stage, folder: Path, **settings: str) -> Iterator[InProcess]:
    """A local cloud, credentials of the function's own role, and the environment that the function is deployed with."""
    arn = f"acs:ram::{HUB}:role/{GRANT_FUNCTION}"
    policy = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": ["sts:AssumeRole"], "Resource": [arn]}]}
    stage.hub["users"]["runner"] = {"access_key": {"id": RUNNER.id, "secret": RUNNER.secret}, "policies": {"a": policy}}
    principal = {"RAM": [f"acs:ram::{HUB}:user/runner"]}
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    stage.role(HUB, GRANT_FUNCTION)["trust"]["Statement"].append(trusted)
    with deployment(stage, folder, template=None) as cloud, pytest.MonkeyPatch.context() as patch:
        request = AssumeRoleRequest(role_arn=arn, role_session_name="in-process")
        given = cloud.sts(RUNNER).assume_role(request).body.credentials
        variables = {
            "FC_REGION": "cn-hangzhou",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": given.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": given.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": given.security_token,
            **environment(cloud.ledger_url, cloud.accounts_file, cloud.address),
            **settings,
        }
        for name, value in variables.items():
            patch.setenv(name, value)
        frame = Function().open(Context("first"))
        try:
            yield InProcess(cloud, frame)
        finally:
            frame.ledger.close()
