"""The policy of a configuration, as its folder has it: who judges the text, and what a new folder starts with."""

from __future__ import annotations

from collections.abc import Iterator

from cli.places import Fault
from shared.rules.shipped import POLICY, SCHEMA

__all__ = ["POLICY", "SCHEMA", "policy_faults"]


def policy_faults(text: str) -> Iterator[Fault]:
    """What is wrong with a policy's text."""
    from shared.rules.policy import Policy  # noqa: PLC0415  # Cedar, only where a policy is read

    for one in Policy(text).faults():
        yield Fault("policy.cedar", one.line, one.column, one.text, one.meant)
