"""The codes of what policy, or the scope of an issuer, does not let through. A table of data, part of the catalogue."""

from __future__ import annotations

from shared.errors import NotAllowed
from shared.messages.codes import OPERATOR, REQUESTER, Entry, Section

POLICY = Section(
    "Policy",
    (
        Entry(
            "BeyondScope",
            NotAllowed,
            REQUESTER,
            "the issuer may not vouch for that: account, router, kind or length is beyond its scope",
            "签发方无权担保该请求：账号、网关、类型或时长超出其范围",
        ),
        Entry(
            "PolicyForbids",
            NotAllowed,
            REQUESTER,
            "a rule of the policy forbids it, and says what to do about it",
            "策略规则禁止该请求，并给出处理建议",
        ),
        Entry(
            "PolicyFailed",
            NotAllowed,
            OPERATOR,
            "policy could not answer, which is a refusal: a rule failed, or the policy has a fault",
            "策略无法给出结论，按拒绝处理：规则执行出错或策略本身有误",
        ),
    ),
)
