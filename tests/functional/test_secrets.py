"""No secret leaves a function: not in its log, not in a completion, not in the ledger."""

from __future__ import annotations

import json
import re

import psutil  # type: ignore[import-untyped]  # its stubs are not among our requirements
import pytest

from tests.functional.approvals import approval, revocation
from tests.functional.conftest import Cast
from tests.functional.deployment import Deployment

LOOKS_LIKE_ONE = re.compile(r"\b[0-9a-f]{44}\b|\bCAIS[\w+/=-]{40,}")
"""How the local cloud writes the secrets and tokens of role sessions; no id of ours looks like that."""


@pytest.fixture(scope="module")
def told(deployed: Deployment, cast: Cast) -> str:
    """Everything that was said, after a life of success, refusal, trouble and undoing, and whatever ran before."""
    spoke = cast.spoke()
    document = approval(spoke.uid, next(spoke.vpcs))
    for operation in ("AssumeRole", "GrantInstanceToExpressConnectRouter"):
        deployed.admin.plan(kind="throttle", operation=operation, account=spoke.uid)
    deployed.settled(document)
    deployed.settled(revocation(document, "all"))
    distrusting = cast.distrusting
    assert deployed.settled(approval(distrusting.uid, next(distrusting.vpcs)))["event"] == "dead"
    deployed.send("{rotten")
    deployed.reconcile()
    deployed.quiet()
    logs = [line["text"] for function in deployed.admin.functions() for line in deployed.admin.logs(function["name"])]
    ledger = [
        str(row)
        for table in ("events", "intents", "approvals", "sides")
        for row in deployed.rows(f"SELECT * FROM {table}")  # noqa: S608  # our own tables
    ]
    return "\n".join([*logs, *map(json.dumps, deployed.completions), *ledger])


def test_the_functions_own_credentials_are_nowhere(deployed: Deployment, told: str) -> None:
    """What the platform puts into a worker's environment stays there."""
    pids = [one["pid"] for function in deployed.admin.functions() for one in function["instances"]]
    environments = [psutil.Process(pid).environ() for pid in pids]
    secrets = [
        found[f"ALIBABA_CLOUD_{name}"] for found in environments for name in ("ACCESS_KEY_SECRET", "SECURITY_TOKEN")
    ]
    assert len(secrets) >= 6
    assert all(LOOKS_LIKE_ONE.search(secret) for secret in secrets)
    assert [secret for secret in secrets if secret in told] == []


def test_no_assumed_roles_credentials_are_anywhere(told: str) -> None:
    """Nothing that was said looks like a secret or a token of a role session."""
    assert "role.assumed" in told
    assert LOOKS_LIKE_ONE.findall(told) == []


def test_no_persons_key_is_anywhere(deployed: Deployment, told: str) -> None:
    """Nor do the long-lived keys of the world's users appear."""
    keys = [
        user["access_key"]["secret"]
        for account in deployed.stage.file["accounts"].values()
        for user in account.get("users", {}).values()
    ]
    assert len(keys) > 10
    assert [secret for secret in keys if secret in told] == []
