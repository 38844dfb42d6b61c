"""Whose the keys are, and what time it is on the cloud: one call that needs no permission."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from alibabacloud_sts20150401.client import Client as StsClient

from shared.cloud.clients import config, runtime
from shared.cloud.errors import translated
from shared.cloud.keys import Keys


@dataclass(frozen=True)
class Identity:
    """Whose the keys are. ``clock_ahead``: by how many seconds STS's clock is ahead of this machine's, to a second or so; None
    where its answer does not say.
    """

    account: str
    arn: str
    clock_ahead: float | None


def who_am_i(endpoint: str, region: str, keys: Keys, milliseconds: int) -> Identity:
    """Ask STS (GetCallerIdentity), waiting so long for an answer. Raises GrantError."""
    before = time.time()
    with translated("GetCallerIdentity", "of these keys"):
        answer = StsClient(config(endpoint, region, keys, milliseconds)).get_caller_identity_with_options(runtime())
    return Identity(
        answer.body.account_id, answer.body.arn, _ahead(answer.headers.get("date"), (before + time.time()) / 2)
    )


def _ahead(date: str | None, now: float) -> float | None:
    """A date has whole seconds, so on average it is half of one late."""
    try:
        return parsedate_to_datetime(date or "").timestamp() + 0.5 - now
    except ValueError:
        return None
