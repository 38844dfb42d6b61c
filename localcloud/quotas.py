"""The published rate limits, on by default (openapi-ecr-vpc-sts.md section 7, mns.md section 4).

A limit counts per main account, region and API. Windows run in cloud time and may be fixed or sliding, longer or
shorter: what the vendor counts is published, how the windows lie is not.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from localcloud.call import Call
from localcloud.clock import Clock
from localcloud.refusal import Throttled


class Quota(BaseModel):
    """So many calls in so many cloud seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    limit: int = Field(ge=1)
    """So many calls ..."""
    seconds: float = Field(gt=0)
    """... in so many seconds of cloud time."""
    window: Literal["fixed", "sliding"] = "fixed"
    """How the windows lie, which is not published."""


_CHANGES = (
    "GrantInstanceToExpressConnectRouter",
    "RevokeInstanceFromExpressConnectRouter",
    "CreateExpressConnectRouter",
    "DeleteExpressConnectRouter",
    "CreateExpressConnectRouterAssociation",
    "DeleteExpressConnectRouterAssociation",
    "ModifyExpressConnectRouterAssociationAllowedPrefix",
    "AttachExpressConnectRouterChildInstance",
    "DetachExpressConnectRouterChildInstance",
)
_LOOKS = (
    "DescribeExpressConnectRouter",
    "DescribeExpressConnectRouterAssociation",
    "DescribeExpressConnectRouterChildInstance",
    "DescribeInstanceGrantedToExpressConnectRouter",
    "ListExpressConnectRouterSupportedRegion",
)
_VPC = (
    "DescribeVpcs",
    "DescribeVpcAttribute",
    "DescribeVirtualBorderRouters",
    "DescribeVpcGrantRulesToEcr",
    "DescribeGrantRulesToEcr",
    "DescribeBgpGroups",
)
PUBLISHED: Mapping[str, Quota] = {
    **{f"ecr:{operation}": Quota(limit=120, seconds=60) for operation in _CHANGES},
    **{f"ecr:{operation}": Quota(limit=300, seconds=60) for operation in _LOOKS},
    **{f"vpc:{operation}": Quota(limit=300, seconds=60) for operation in _VPC},
    "sts:AssumeRole": Quota(limit=100, seconds=1),
    "sts:GetCallerIdentity": Quota(limit=100, seconds=1),
    "mns:data": Quota(limit=20_000, seconds=1),
    "mns:metadata": Quota(limit=200, seconds=1),
}
"""By "service:operation", or a name under which several operations of a service share one limit."""

_MNS_DATA = frozenset(
    {
        "SendMessage",
        "BatchSendMessage",
        "ReceiveMessage",
        "BatchReceiveMessage",
        "PeekMessage",
        "BatchPeekMessage",
        "DeleteMessage",
        "BatchDeleteMessage",
        "ChangeMessageVisibility",
        "PublishMessage",
    }
)

Table = dict[str, Quota | None]
_TABLE: TypeAdapter[Table] = TypeAdapter(Table)


def throttled(service: str) -> Throttled:
    """The answer of a service to too many calls."""
    if service == "mns":
        return Throttled(429, "TooManyRequests", "The request is denied because of too many requests.")
    if service == "fc":
        return Throttled(429, "ResourceExhausted", "The request rate limit is exceeded.")
    if service == "sts":
        return Throttled(400, "Throttling.Api", "Request was denied due to api flow control.")
    return Throttled(400, "Throttling.User", "Request was denied due to user flow control.")


class Quotas:
    """Counts calls against the limits in force."""

    def __init__(self, clock: Clock, changes: Mapping[str, Quota | None] | None = None) -> None:
        self._clock = clock
        self._table: Table = dict(PUBLISHED)
        self._table.update(changes or {})
        self._fixed: dict[tuple[str, str, str], tuple[int, int]] = {}
        self._sliding: dict[tuple[str, str, str], deque[tuple[float, int]]] = {}

    def spend(self, call: Call) -> None:
        """Count a call; raises Throttled, counting nothing, when there is no room for it."""
        name = f"{call.service}:{call.operation}"
        if call.service == "mns" and name not in self._table:
            name = "mns:data" if call.operation in _MNS_DATA else "mns:metadata"
        quota = self._table.get(name)
        if quota is None:
            return
        # Express Connect Router has one central endpoint, so the region of an instance gives no budget of its own.
        key = (name, call.caller.account, "" if call.service == "ecr" else call.region)
        now = self._clock.now()
        if quota.window == "fixed":
            window = int(now // quota.seconds)
            started, used = self._fixed.get(key, (window, 0))
            used = used if started == window else 0
            if used + call.weight > quota.limit:
                raise throttled(call.service)
            self._fixed[key] = (window, used + call.weight)
        else:
            recent = self._sliding.setdefault(key, deque())
            while recent and recent[0][0] <= now - quota.seconds:
                recent.popleft()
            if sum(weight for _, weight in recent) + call.weight > quota.limit:
                raise throttled(call.service)
            recent.append((now, call.weight))

    def table(self) -> dict[str, Any]:
        """The limits in force, JSON-able."""
        return {name: quota and quota.model_dump() for name, quota in self._table.items()}

    def change(self, changes: object) -> None:
        """Merge new limits in (null lifts one); raises pydantic's ValidationError and changes nothing when malformed."""
        checked = _TABLE.validate_python(changes)
        unknown = sorted(set(checked) - set(PUBLISHED))
        if unknown:
            raise ValueError(f"unknown quota {unknown[0]!r}; known: {', '.join(PUBLISHED)}")
        self._table.update(checked)
        self._fixed.clear()
        self._sliding.clear()
