"""The names of the checks that people are shown before they decide, and how one can come out."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

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
