"""Values of ``deploy.surroundings`` as ROS templates write them: blanks become references that ROS fills in when it applies one.

ROS: template format 2015-09-01; the functions used are Ref, Fn::GetAtt, Fn::Sub, Fn::Join, Fn::Split and Fn::Equals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deploy.shapes import MANY, POLICY_VERSION, Blank, Policy, Statement, Trust, role_arn

Expression = Any
"""A text, or the mapping that ROS makes one of."""
Names = Mapping[Blank, str]
"""What a template calls each blank: a parameter or a pseudo parameter."""

EXECUTING_ACCOUNT = "ALIYUN::AccountId"
"""In a stack group this is the member account, so a hub's uid is a parameter there."""


def ref(name: str) -> Expression:
    """The value of a parameter."""
    return {"Ref": name}


def attribute(resource: str, name: str) -> Expression:
    """An attribute of a resource of the same template, which is then made first."""
    return {"Fn::GetAtt": [resource, name]}


def text(value: str, names: Names) -> Expression:
    """A text; its single blanks are filled in."""
    filled = re.sub(r"\{([a-z]+)\}", lambda found: f"${{{names[Blank(found[1])]}}}", value)
    return filled if filled == value else {"Fn::Sub": filled}


def each(value: str, blank: Blank, names: Names) -> Expression:
    """A list: the text once for each of the comma-separated values of a parameter.

    The values are split, joined with what stands around them, and split again. Raises ValueError for any other blank in it:
    a delimiter is a literal.
    """
    before, after = value.split(f"{{{blank}}}")
    if "{" in before + after:
        raise ValueError(f"{value}: no other blank may stand beside one that stands for a list")
    inner = {"Fn::Join": [f"{after},{before}", {"Fn::Split": [",", ref(names[blank])]}]}
    return {"Fn::Split": [",", {"Fn::Join": ["", [before, inner, after]]}]}


def statement(one: Statement, names: Names) -> Expression:
    """A statement of a policy. Raises ValueError where a blank for a list stands beside other resources."""
    blanks = [blank for blank in MANY if any(f"{{{blank}}}" in resource for resource in one.resources)]
    if not blanks:
        resources: Expression = [text(resource, names) for resource in one.resources]
    elif len(one.resources) == 1:
        resources = each(one.resources[0], blanks[0], names)
    else:
        raise ValueError(f"{one.resources}: a resource for each of many stands alone in its statement")
    document: dict[str, Expression] = {"Effect": "Allow", "Action": list(one.actions), "Resource": resources}
    if one.condition is not None:
        document["Condition"] = {"StringEquals": {one.condition.key: list(one.condition.values)}}
    return document


def policy(one: Policy, names: Names) -> Expression:
    """A policy document."""
    return {"Version": POLICY_VERSION, "Statement": [statement(each_, names) for each_ in one.statements]}


def trust(one: Trust, names: Names, external_id: Expression) -> Expression:
    """A trust policy; the external id is asked of roles, not of services."""
    allowed: dict[str, Expression] = {"Effect": "Allow", "Action": "sts:AssumeRole"}
    if one.services:
        allowed["Principal"] = {"Service": list(one.services)}
    else:
        allowed["Principal"] = {"RAM": [text(role_arn(Blank.HUB, name), names) for name in one.roles]}
        allowed["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    return {"Version": POLICY_VERSION, "Statement": [allowed]}
