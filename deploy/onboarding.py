"""What an account B applies to let a deployment in, as a template with its parameters and as plain commands; and the way back."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from deploy import surroundings
from deploy.shapes import Blank, Role

STACK = "ecr-grants-spoke"
MOST_ACCOUNTS = 100
"""Accounts that a policy of the functions' roles has room for; with more it names none, and only the roles' trust limits."""


def fresh_prefix() -> str:
    """The beginning of an external id that nobody can guess."""
    return f"ecr-grants:{secrets.token_hex(12)}"


def spoke_accounts(uids: Sequence[str]) -> str:
    """The parameter SpokeAccounts of the hub's template."""
    return ",".join(sorted(uids)) if len(uids) <= MOST_ACCOUNTS else "*"


@dataclass(frozen=True)
class Onboarding:
    """One account B that is to let one deployment in. ``prefix`` is the beginning of the external id, to be handled with care."""

    account: str
    hub: str
    prefix: str
    region: str
    observed: bool = False
    """Only looked at: the role cannot grant."""
    template_url: str = ""
    """Where the template lies for the console to fetch."""

    @property
    def template(self) -> str:
        """Its path in the project."""
        return "deploy/spoke-observe.yaml" if self.observed else "deploy/spoke.yaml"

    @property
    def parameters(self) -> dict[str, str]:
        """Of the template."""
        return {"HubAccount": self.hub, "ExternalIdPrefix": self.prefix}

    @property
    def external_id(self) -> str:
        """What the role asks for, and the inventory lists."""
        return surroundings.EXTERNAL_ID.format(prefix=self.prefix, account=self.account)

    @property
    def role(self) -> Role:
        """The role that the account gets."""
        return surroundings.ENTERED_SPOKE_OBSERVED if self.observed else surroundings.ENTERED_SPOKE

    @property
    def console(self) -> str:
        """Where a stack is created by hand; with the template and its parameters in it where the template has an address."""
        page = f"https://ros.console.aliyun.com/{self.region}/stacks/create"
        return f"{page}?templateUrl={quote(self.template_url, safe='')}" if self.template_url else page

    def stack_command(self) -> str:
        """The command that applies the template."""
        words = f"aliyun ros CreateStack --RegionId {self.region} --StackName {STACK} --TimeoutInMinutes 10"
        given = " ".join(
            f"--Parameters.{number}.ParameterKey {name} --Parameters.{number}.ParameterValue {shlex.quote(value)}"
            for number, (name, value) in enumerate(self.parameters.items(), 1)
        )
        return f'{words} --TemplateBody "$(cat {self.template})" {given}'

    def plain_commands(self) -> list[str]:
        """The same without a stack: a role, a policy, and the one attached to the other."""
        values = {Blank.HUB: [self.hub], Blank.ACCOUNT: [self.account]}
        name, trust = self.role.name, _json(self.role.trust.document(values, self.external_id))
        commands = [f"aliyun ram CreateRole --RoleName {name} --AssumeRolePolicyDocument {shlex.quote(trust)}"]
        for policy in self.role.policies:
            document = shlex.quote(_json(policy.document(values)))
            commands += [
                f"aliyun ram CreatePolicy --PolicyName {policy.name} --PolicyDocument {document}",
                f"aliyun ram AttachPolicyToRole --PolicyType Custom --PolicyName {policy.name} --RoleName {name}",
            ]
        return commands


def undo_stack_command(region: str) -> str:
    """The command that takes the stack away; its id is what CreateStack answered, and the console shows it."""
    return f"aliyun ros DeleteStack --RegionId {region} --StackId STACK_ID"


def undo_commands() -> list[str]:
    """The same where there is no stack."""
    role = surroundings.ENTERED_SPOKE
    commands = []
    for policy in role.policies:
        commands += [
            f"aliyun ram DetachPolicyFromRole --PolicyType Custom --PolicyName {policy.name} --RoleName {role.name}",
            f"aliyun ram DeletePolicy --PolicyName {policy.name}",
        ]
    return [*commands, f"aliyun ram DeleteRole --RoleName {role.name}"]


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
