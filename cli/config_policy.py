"""The policy of a configuration, as its folder has it: who judges the text, and what a new folder starts with."""

from __future__ import annotations

from collections.abc import Iterator

from cli.places import Fault

SCHEMA = "// Nothing can be asked yet.\n"
POLICY = """\
// Who may. A forbid always wins; what nothing permits is refused.
@id("everything")
permit (principal, action, resource);
"""


def policy_faults(text: str) -> Iterator[Fault]:
    """What is wrong with a policy's text."""
    from cedarpy import policies_to_json_str  # noqa: PLC0415  # only where a policy is read

    try:
        policies_to_json_str(text)
    except ValueError as error:
        yield Fault("policy.cedar", 1, 1, f"is not a policy: {error}")
