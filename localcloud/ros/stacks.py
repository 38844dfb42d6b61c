"""Stacks: which templates are applied where, and the world that comes of it.

The file beside the templates lists them; what they do not make (VPCs, routers, users with their keys) comes from a world file.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from localcloud.mistakes import Findings
from localcloud.ros.kinds import Made
from localcloud.ros.template import Application, look
from localcloud.worldfile import Loader, WorldError, check_world
from localcloud.worldspec import Uid
from localcloud.yamlfile import Source, read

STACKS = "example-stacks.yaml"
"""Where the stacks of a folder are listed when no other file is named."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Stack(_Part):
    """One template in one account."""

    template: str
    account: Uid
    parameters: dict[str, str | int] = Field(default_factory=dict)


class Stacks(_Part):
    """The whole file."""

    region: str
    stacks: Annotated[list[Stack], Field(min_length=1)]
    attach: dict[Uid, dict[str, list[str]]] = Field(default_factory=dict)
    """By account and user: the policies that an administrator attaches."""


@dataclass
class Outcome:
    """A world in the shape of its file, and what is worth knowing about it."""

    world: dict[str, Any]
    remarks: list[str] = field(default_factory=list)


def world_from(folder: Path, stacks_file: Path | None, base: Path | None) -> Outcome:
    """Apply every stack. Raises WorldError with every problem, each with file and line."""
    path = stacks_file or folder / STACKS
    source = read(path, yaml.SafeLoader)
    if source.data is not None:
        findings = Findings(Stacks, source.data, lambda error: f"{error['msg']}; found {error['input']!r:.120}")
        findings.look(source.unread)
        source.mistakes += findings.mistakes
        stacks = findings.value
    if source.mistakes or source.data is None or stacks is None:
        raise WorldError(source.told(source.mistakes, str(path)) or [f"{path}: is empty"])
    made: dict[str, Made] = {}
    remarks: list[str] = []
    for stack in stacks.stacks:
        remarks += _applied(
            folder / stack.template, stack, stacks.region, made.setdefault(stack.account, Made(stack.account))
        )
    world = _base(base, stacks.region)
    problems = []
    for uid, parts in made.items():
        _merge(world, uid, parts)
        if base is not None:
            problems += _attach(world, uid, parts, stacks.attach.get(uid, {}))
    if problems:
        raise WorldError([f"{path}: {problem}" for problem in problems])
    if base is None:
        remarks += [f"attached to nobody without --world: {name}" for name in _to_attach(stacks)]
    check_world(world)
    named = {stack.template for stack in stacks.stacks}
    remarks += [f"not applied: {each.name}" for each in sorted(folder.glob("*.yaml")) if _is_spare(each, named, path)]
    return Outcome(world, remarks)


def _is_spare(file: Path, named: set[str], stacks_file: Path) -> bool:
    return file.name not in named and file.resolve() != stacks_file.resolve()


def _applied(path: Path, stack: Stack, region: str, made: Made) -> list[str]:
    source = read(path, yaml.SafeLoader)
    template = look(source)
    left_out: list[str] = []
    if template is not None:
        applied = Application(source, template, region, made)
        applied.apply(stack.parameters)
        left_out = [f"left out of {path.name}: {text}" for text in applied.left_out]
    if source.mistakes:
        raise WorldError(source.told(source.mistakes, str(path)))
    return left_out


def _base(path: Path | None, region: str) -> dict[str, Any]:
    if path is None:
        return {"version": 1, "region": region, "accounts": {}}
    source: Source = read(path, Loader)
    if source.mistakes or not isinstance(source.data, dict):
        raise WorldError(source.told(source.mistakes, str(path)) or [f"{path}: no world file"])
    return copy.deepcopy(source.data)


def _to_attach(stacks: Stacks) -> list[str]:
    users = [policies for account in stacks.attach.values() for policies in account.values()]
    return list(dict.fromkeys(policy for policies in users for policy in policies))


def _merge(world: dict[str, Any], uid: str, made: Made) -> None:
    """Put what stacks made in one account in the place of what was there under the same names."""
    account = world["accounts"].setdefault(uid, {})
    roles = copy.deepcopy(made.roles)
    for policy, role in made.attached:
        roles[role]["policies"][policy] = made.policies[policy]
    account.setdefault("roles", {}).update(roles)
    account.setdefault("queues", {}).update(made.queues)
    topics = account.setdefault("topics", {})
    for name, topic in made.topics.items():
        others = topics.get(name, {}).get("subscriptions", {})
        topics[name] = {**topic, "subscriptions": {**others, **made.subscriptions.get(name, {})}}


def _attach(world: dict[str, Any], uid: str, made: Made, attach: dict[str, list[str]]) -> list[str]:
    """Attach policies to users of one account; what is wrong with that."""
    account, problems = world["accounts"][uid], []
    for user, policies in attach.items():
        for policy in policies:
            if user not in account.get("users", {}):
                problems.append(f"attach.{uid}.{user}: the world has no such user")
            elif policy not in made.policies:
                problems.append(f"attach.{uid}.{user}: no stack makes the policy {policy}")
            else:
                account["users"][user].setdefault("policies", {})[policy] = made.policies[policy]
    return problems
