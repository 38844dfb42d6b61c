"""Writes the ROS templates from ``deploy.surroundings``: ``python -m deploy.templates``, with ``--check`` to compare only.

Functions and triggers stay in ``s.yaml``: two owners of one function would undo each other's changes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy import surroundings
from deploy.database import database
from deploy.expressions import EXECUTING_ACCOUNT, Names, attribute, policy, ref, text, trust
from deploy.facts import index
from deploy.shapes import Blank, Policy, Queue, Role, Subscription

Part = dict[str, Any]

_HUB: Names = {
    Blank.HUB: EXECUTING_ACCOUNT,
    Blank.ACCOUNT: EXECUTING_ACCOUNT,
    Blank.SPOKE: "SpokeAccounts",
    Blank.ROUTER: "Routers",
}
_SPOKE: Names = {Blank.HUB: "HubAccount", Blank.ACCOUNT: EXECUTING_ACCOUNT}
_EXTERNAL_ID = {
    "Fn::Sub": surroundings.EXTERNAL_ID.replace("{prefix}", "${ExternalIdPrefix}").replace(
        "{account}", f"${{{EXECUTING_ACCOUNT}}}"
    )
}
_PREFIX = {
    "Type": "String",
    "Description": "What every external id of this deployment starts with; the account's uid follows. Not guessable is better.",
    "AllowedPattern": "^[A-Za-z0-9_+=,.@:/-]{2,1000}$",
}
_UID = "[0-9]{15,20}"


def templates() -> dict[str, str]:
    """The text of each template by its file's name."""
    full, observed = surroundings.ENTERED_SPOKE, surroundings.ENTERED_SPOKE_OBSERVED
    return {
        "hub.yaml": _text("The account and the region that the functions run in: queues, topic, roles, log.", hub()),
        "spoke.yaml": _text("An account B: one role. RAM is global: apply it once, in one region.", spoke(full)),
        "spoke-observe.yaml": _text("An account B that is only looked at: a role that can only read.", spoke(observed)),
        "database.yaml": _text("A PostgreSQL with TLS for the ledger, for those who have none.", database()),
    }


def hub() -> Part:
    """Queues, topic, roles and log of the hub account."""
    roles = (*surroundings.FUNCTION_ROLES, surroundings.ENTERED_HUB)
    return {
        "Parameters": _hub_parameters(),
        "Conditions": {
            "InVpc": {"Fn::Equals": ["true", ref("PrivateNetwork")]},
            "SecretsNamed": {"Fn::Equals": ["true", ref("SecretsManager")]},
        },
        "Resources": {
            **{
                _id(one.name): _queue(one)
                for one in sorted(surroundings.QUEUES, key=lambda one: one.dead_letter is not None)
            },
            _id(surroundings.TOPIC.name): _resource("ALIYUN::MNS::Topic", TopicName=surroundings.TOPIC.name),
            **{_id(one.name): _subscription(one) for one in surroundings.TOPIC.subscriptions},
            **{_id(one.name): _role(one, _HUB) for one in roles},
            _id(surroundings.NETWORK.name): {**_attached(surroundings.NETWORK), "Condition": "InVpc"},
            _id(surroundings.SECRETS.name): {**_attached(surroundings.SECRETS), "Condition": "SecretsNamed"},
            **{_id(one.name): _managed(one) for one in surroundings.RIGHTS},
            **_log(),
        },
        "Outputs": {"LogProject": {"Value": attribute("LogProject", "Name")}},
    }


def spoke(role: Role) -> Part:
    """The one role of an account B."""
    resource = _role(role, _SPOKE)
    return {
        "Parameters": {
            "HubAccount": {
                "Type": "String",
                "Description": "Uid of the account in which the functions run.",
                "AllowedPattern": f"^{_UID}$",
            },
            "ExternalIdPrefix": _PREFIX,
        },
        "Resources": {_id(role.name): resource},
        "Outputs": {
            "RoleArn": {"Value": attribute(_id(role.name), "Arn")},
            "ExternalId": {"Value": _EXTERNAL_ID},
        },
    }


def _hub_parameters() -> Part:
    return {
        "SpokeAccounts": {
            "Type": "String",
            "Description": "Uids of the accounts B, with commas and without blanks; * for any, then only their trust limits.",
            "AllowedPattern": rf"^(\*|{_UID}(,{_UID})*)$",
        },
        "Routers": {
            "Type": "String",
            "Description": "Ids of account A's Express Connect Routers, with commas and without blanks.",
            "AllowedPattern": "^ecr-[a-z0-9]+(,ecr-[a-z0-9]+)*$",
        },
        "ExternalIdPrefix": _PREFIX,
        "PrivateNetwork": {
            "Type": "String",
            "Description": "Whether the functions stand in a VPC, as they must to reach a database without a public address.",
            "AllowedValues": ["true", "false"],
            "Default": "false",
        },
        "SecretsManager": {
            "Type": "String",
            "Description": "Whether secrets are kept in KMS Secrets Manager, under names that begin with ecr-grants-.",
            "AllowedValues": ["true", "false"],
            "Default": "false",
        },
        "LogRetentionDays": {
            "Type": "Number",
            "Description": "How long the log is kept, signed heads of the record in it; 3650 is for ever.",
            "MinValue": 1,
            "MaxValue": 3650,
            "Default": surroundings.LOG.retention_days,
        },
    }


def _queue(one: Queue) -> Part:
    properties: Part = {
        "QueueName": one.name,
        "VisibilityTimeout": one.visibility,
        "MessageRetentionPeriod": one.retention,
        "PollingWaitSeconds": one.polling,
    }
    if one.dead_letter is not None:
        properties["DlqPolicy"] = {
            "Enabled": True,
            "DeadLetterTargetQueue": attribute(_id(one.dead_letter.queue), "QueueName"),
            "MaxReceiveCount": one.dead_letter.max_receives,
        }
    return {**_resource("ALIYUN::MNS::Queue", **properties), "Description": one.purpose}


def _subscription(one: Subscription) -> Part:
    resource = _resource(
        "ALIYUN::MNS::Subscription",
        TopicName=attribute(_id(surroundings.TOPIC.name), "TopicName"),
        SubscriptionName=one.name,
        # Without a slash before queues, unlike the resource of a permission.
        Endpoint={"Fn::Sub": f"acs:mns:${{ALIYUN::Region}}:${{{EXECUTING_ACCOUNT}}}:queues/{one.queue}"},
        PushType="queue",
        FilterTag=one.filter_tag,
        NotifyContentFormat=one.format.value,
        NotifyStrategy=one.strategy.value,
        DlqPolicy={"Enabled": True, "DeadLetterTargetQueue": attribute(_id(one.dead_letter), "QueueName")},
    )
    return {**resource, "DependsOn": [_id(one.queue)]}  # a text makes no dependency


def _role(one: Role, names: Names) -> Part:
    resource = _resource(
        "ALIYUN::RAM::Role",
        RoleName=one.name,
        Description=one.purpose,
        AssumeRolePolicyDocument=trust(one.trust, names, _EXTERNAL_ID),
        Policies=[{"PolicyName": each.name, "PolicyDocument": policy(each, names)} for each in one.policies],
    )
    if one.trust.roles and names is _HUB:
        return {**resource, "DependsOn": [_id(name) for name in one.trust.roles]}
    return resource


def _managed(one: Policy) -> Part:
    return _resource("ALIYUN::RAM::ManagedPolicy", PolicyName=one.name, PolicyDocument=policy(one, _HUB))


def _attached(one: Policy) -> Part:
    resource = _managed(one)
    resource["Properties"]["Roles"] = [attribute(_id(each.name), "RoleName") for each in surroundings.FUNCTION_ROLES]
    return resource


def _log() -> Part:
    log = surroundings.LOG
    project, store = attribute("LogProject", "Name"), attribute("LogStore", "LogstoreName")
    keys = [{"Name": name, "Type": str(kind), "EnableAnalytics": True} for name, kind in sorted(index().items())]
    return {
        # Kept when the stack goes: the heads in it prove the record.
        "LogProject": {**_resource("ALIYUN::SLS::Project", Name=text(log.project, _HUB)), "DeletionPolicy": "Retain"},
        "LogStore": {
            **_resource(
                "ALIYUN::SLS::Logstore",
                ProjectName=project,
                LogstoreName=log.name,
                TTL=ref("LogRetentionDays"),
                AppendMeta=True,
            ),
            "DeletionPolicy": "Retain",
        },
        "LogIndex": _resource(
            "ALIYUN::SLS::Index",
            ProjectName=project,
            LogstoreName=store,
            FullTextIndex={"Enable": True},
            KeyIndices=[{"Name": "message", "Type": "json", "EnableAnalytics": True, "JsonKeyIndices": keys}],
        ),
    }


def _resource(kind: str, **properties: Any) -> Part:
    return {"Type": kind, "Properties": properties}


def _id(name: str) -> str:
    """What a template calls the resource of that name."""
    return "".join(part.capitalize() for part in name.split("-"))


class _Plain(yaml.SafeDumper):
    """YAML without anchors: no page says that ROS knows them."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # as the base class has it
        return True


def _text(purpose: str, template: Part) -> str:
    whole = {"ROSTemplateFormatVersion": "2015-09-01", "Description": purpose, **template}
    body = yaml.dump(whole, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return f"# Written by `make documents` from deploy/surroundings.py: change it there.\n{body}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the templates, or with --check say which are not current; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.templates", description=main.__doc__)
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="where they are")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when a template is not current"
    )
    asked = parser.parse_args(arguments)
    stale = []
    for name, content in templates().items():
        path = asked.folder / name
        if path.exists() and path.read_text("utf-8") == content:
            continue
        stale.append(str(path))
        if not asked.check:
            path.write_text(content, "utf-8")
    if asked.check and stale:
        print(f"not current: {', '.join(stale)}; run `make documents`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
