"""The names of the checks that people are shown before they decide, and how one can come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict


class PreflightCheck(StrEnum):
    """What is looked at, in the order in which it is told."""

    ROLE_A = "role-a"
    ROLE_B = "role-b"
    INSTANCE_EXISTS = "instance-exists"
    INSTANCE_OWNER = "instance-owner"
    INSTANCE_REGION = "instance-region"
    INSTANCE_USABLE = "instance-usable"
    ECR_EXISTS = "ecr-exists"
    ECR_OWNER = "ecr-owner"
    ECR_REGION = "ecr-region"
    ECR_USABLE = "ecr-usable"
    GRANTED = "granted"
    ASSOCIATED = "associated"
    ELSEWHERE = "elsewhere"
    ROUTE_SOURCE = "route-source"
    OVERLAP = "overlap"
    PREFIXES = "prefixes"
    VBR_ASN = "vbr-asn"
    VBR_MP_BGP = "vbr-mp-bgp"
    CROSS_ACCOUNT = "cross-account"
    QUOTA = "quota"
    TIME = "time"


OF_ACCOUNT_A = frozenset(
    {
        PreflightCheck.ROLE_A,
        PreflightCheck.ECR_EXISTS,
        PreflightCheck.ECR_OWNER,
        PreflightCheck.ECR_REGION,
        PreflightCheck.ECR_USABLE,
        PreflightCheck.TIME,
    }
)
"""Checks that say nothing about account B. Every other one does, and is for those who may see that account."""


NAMES_OTHERS = frozenset(
    {
        PreflightCheck.INSTANCE_OWNER,
        PreflightCheck.ECR_OWNER,
        PreflightCheck.ELSEWHERE,
        PreflightCheck.OVERLAP,
        PreflightCheck.CROSS_ACCOUNT,
    }
)
"""Checks whose sentence may name instances, routers or accounts that are of neither side of the request."""


class CheckResult(StrEnum):
    """How a check can come out."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    UNKNOWN = "unknown"


class Checked(BaseModel):
    """One check: what was found, as a sentence with facts, and what to do about it (empty where there is nothing to do)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: PreflightCheck
    result: CheckResult
    found: str
    advice: str = ""


def may_be_told(
    checks: Sequence[Mapping[str, Any]], *, grant: bool, associate: bool
) -> tuple[list[Mapping[str, Any]], bool]:
    """The checks as somebody may be told them, and whether that is all of them, each with its sentence.

    ``grant``: they may see account B; ``associate``: account A. Who may see neither, as somebody who asks for another's instance,
    is told what is about account A alone. A sentence that may name what is of neither side is for whoever may see both.
    """
    if grant and associate:
        return list(checks), True
    heard = [one for one in checks if grant or associate or one.get("check") in OF_ACCOUNT_A]
    return [{**one, "found": _OTHERS} if one.get("check") in NAMES_OTHERS else one for one in heard], False


_OTHERS = "the sentence may name what you may not see: ask an owner of both accounts"


class Report(BaseModel):
    """All checks that apply to the instance's kind, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    checks: tuple[Checked, ...]

    def of(self, result: CheckResult) -> tuple[PreflightCheck, ...]:
        """Which checks came out like this."""
        return tuple(each.check for each in self.checks if each.result is result)


_AGAIN = "Have it looked at again; if it stays so, the reason says what is missing."


class Answer(NamedTuple):
    """What a check comes to."""

    result: CheckResult
    found: str
    advice: str = ""


def passed(found: str, advice: str = "") -> Answer:
    """It is as it should be."""
    return Answer(CheckResult.PASS, found, advice)


def failed(found: str, advice: str) -> Answer:
    """It stands in the way, or is not what was asked for."""
    return Answer(CheckResult.FAIL, found, advice)


def unknown(found: str, advice: str = _AGAIN) -> Answer:
    """It was not seen, or cannot be."""
    return Answer(CheckResult.UNKNOWN, found, advice)
