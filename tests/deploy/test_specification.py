"""The templates against the specification of every resource type in them, and the check against planted faults."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.checking import LARGEST, faults
from tests.deploy.specification import Specification, read_specification

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / ".local" / "ros"
TEMPLATES = {
    path.name: path
    for path in sorted((ROOT / "deploy").glob("*.yaml"))
    if "ROSTemplateFormatVersion" in path.read_text("utf-8")
}

HUB: dict[str, Any] = yaml.safe_load(TEMPLATES["hub.yaml"].read_text("utf-8"))


@pytest.fixture(scope="module")
def specification() -> Specification:
    """Of the locked versions. `make test` fetches them; without the package registry they are not there."""
    locked = re.findall(r"^(ros-cdk-\w+)==(\S+)", (ROOT / "requirements" / "ros.txt").read_text("utf-8"), re.MULTILINE)
    missing = [name for name, version in locked if not list(WHEELS.glob(f"{name.replace('-', '_')}-{version}-*.whl"))]
    if missing:
        pytest.skip(f"`make .local/ros/.ready` fetches {', '.join(missing)}")
    return read_specification(WHEELS)


def test_the_templates_are_those_that_are_meant() -> None:
    """None is left unchecked because its head was spoilt."""
    assert {"hub.yaml", "spoke.yaml", "spoke-observe.yaml", "database.yaml"} <= TEMPLATES.keys()


@pytest.mark.parametrize("path", TEMPLATES.values(), ids=list(TEMPLATES))
def test_a_template_is_what_the_specification_says(specification: Specification, path: Path) -> None:
    """Every type, property, required flag, range, length, allowed value, attribute and name."""
    assert faults(yaml.safe_load(path.read_text("utf-8")), specification) == []
    assert path.stat().st_size < LARGEST


QUEUE = "Resources.EcrApprovals.Properties"
SUBSCRIPTION = "Resources.AssociateGranted.Properties"
ROLE = "Resources.EcrGrantsHub.Properties"
GONE = object()


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("Resources.EcrApprovals.Type", "ALIYUN::MNS::Cue", "Type: unknown type ALIYUN::MNS::Cue"),
        ("Resources.EcrApprovals.Propertys", {}, "Propertys: unknown key"),
        ("Parametres", {}, "Parametres: unknown top-level key"),
        ("ROSTemplateFormatVersion", "2015-09-02", "'2015-09-01' is wanted"),
        (f"{QUEUE}.VisibilityTimeOut", 30, "VisibilityTimeOut: unknown property"),
        (f"{QUEUE}.QueueName", GONE, "QueueName: is required"),
        (f"{QUEUE}.QueueName", "a" * 257, "QueueName: must have a length of 1 to 256, found 257"),
        (f"{QUEUE}.VisibilityTimeout", 0, "VisibilityTimeout: must be from 1 to 43200, found 0"),
        (f"{QUEUE}.VisibilityTimeout", "soon", "VisibilityTimeout: a number is wanted"),
        (f"{QUEUE}.MessageRetentionPeriod", 604_801, "must be from 60 to 604800"),
        (f"{QUEUE}.DlqPolicy.MaxReceives", 3, "DlqPolicy.MaxReceives: unknown property"),
        (f"{QUEUE}.DlqPolicy.MaxReceiveCount", GONE, "DlqPolicy.MaxReceiveCount: is required"),
        (f"{QUEUE}.DlqPolicy.Enabled", "perhaps", "DlqPolicy.Enabled: a boolean is wanted"),
        (
            f"{QUEUE}.DlqPolicy.DeadLetterTargetQueue",
            {"Fn::GetAtt": ["EcrApprovalsDead", "Name"]},
            "ALIYUN::MNS::Queue has no attribute 'Name'",
        ),
        (
            f"{QUEUE}.DlqPolicy.DeadLetterTargetQueue",
            {"Fn::GetAtt": ["EcrApprovalsDeed", "QueueName"]},
            "no such resource: EcrApprovalsDeed",
        ),
        (f"{SUBSCRIPTION}.NotifyContentFormat", "Simplified", "NotifyContentFormat: must be one of"),
        (f"{SUBSCRIPTION}.FilterTag", "t" * 17, "FilterTag: must have a length of"),
        (f"{SUBSCRIPTION}.PushType", "cue", "PushType: must be one of"),
        (f"{SUBSCRIPTION}.Endpoint", {"Fn::Sub": "acs:mns:${ALIYUN::Regio}:x"}, "nothing is called 'ALIYUN::Regio'"),
        (f"{SUBSCRIPTION}.Endpoint", {"Ref": "Endpoint"}, "nothing is called 'Endpoint'"),
        (f"{SUBSCRIPTION}.Endpoint", {"Fn::Subs": "x"}, "Fn::Subs: unknown function"),
        ("Resources.AssociateGranted.DependsOn", ["Nobody"], "DependsOn: no such resource: Nobody"),
        (f"{ROLE}.Policies.0.PolicyDocument.Statements", [], "PolicyDocument.Statements: unknown property"),
        (f"{ROLE}.Policies.0.PolicyDocument.Version", GONE, "PolicyDocument.Version: is required"),
        (f"{ROLE}.Policies.0.PolicyName", "p" * 129, "PolicyName: must have a length of"),
        (
            f"{ROLE}.Policies.0.PolicyDocument.Statement.0.Resource",
            {"Ref": "Routers"},
            "Ref comes to something else than a list",
        ),
        (f"{ROLE}.Policies", {"Fn::Split": [",", "x"]}, ""),
        (f"{ROLE}.RoleName", {"Fn::Split": [",", "x"]}, "Fn::Split comes to something else than a string"),
        (f"{ROLE}.MaxSessionDuration", 60, "MaxSessionDuration: must be from 3600 to 43200"),
        (f"{ROLE}.AssumeRolePolicyDocument.Statement.0.Principal.Ram", [], "Principal.Ram: unknown property"),
        ("Resources.EcrGrantsNetwork.Condition", "InVcp", "no such condition: InVcp"),
        ("Conditions.InVpc", {"Fn::Equals": ["true", {"Ref": "Private"}]}, "nothing is called 'Private'"),
        ("Resources.LogStore.Properties.TTL", 4000, "TTL: must be from 1 to 3650"),
        ("Resources.LogProject.Properties.Name", "has blanks in it", "Name: must match"),
        ("Resources.LogIndex.Properties.KeyIndices.0.JsonKeyIndices.0.Type", "word", "Type: must be one of"),
        ("Resources.LogProject.DeletionPolicy", "Keep", "DeletionPolicy: 'Keep'"),
        ("Parameters.PrivateNetwork.Default", "maybe", "Default: 'maybe' is not allowed"),
        ("Parameters.LogRetentionDays.Default", 4000, "Default: 4000 is out of range"),
        ("Parameters.Routers.Kind", "x", "Routers.Kind: unknown key"),
        ("Parameters.Routers.Type", "Text", "Routers.Type: 'Text' is none of"),
        ("Outputs.LogProject", {"Value": {"Fn::GetAtt": ["LogProject", "Nam"]}}, "has no attribute 'Nam'"),
        ("Outputs.LogProject", {}, "Value is missing"),
    ],
)
def test_a_planted_fault_is_found(specification: Specification, place: str, value: Any, said: str) -> None:
    """And nothing else is said."""
    found = faults(planted(HUB, place, value), specification)
    assert len(found) == bool(said), found
    assert all(said in sentence for sentence in found)


def planted(template: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A template in which one place has another value, or none."""
    changed = copy.deepcopy(template)
    node: Any = changed
    *way, last = place.split(".")
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node[step]
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    return changed
