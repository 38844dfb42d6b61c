"""The world file: what exists in a local cloud when it starts, as YAML that people read and change.

Strict on purpose: an unknown key, a dangling name or a policy that means nothing is an error that names the line, the
path and what was found, because a world that silently lacks a permission makes tests pass for the wrong reason. All
mistakes are told at once, and in the order of the file.
"""

from pathlib import Path
from typing import Any

import yaml

from localcloud.mistakes import Findings, meant
from localcloud.worldchecks import named, world_mistakes
from localcloud.worldspec import (
    REGIONS,
    AccountSpec,
    QueueSpec,
    RoleSpec,
    RouteSourceSpec,
    SubscriptionSpec,
    TopicSpec,
    VbrSpec,
    VpcSpec,
    WorldFile,
    keys_at,
)
from localcloud.yamlfile import Source, parse, read

__all__ = [
    "REGIONS",
    "AccountSpec",
    "QueueSpec",
    "RoleSpec",
    "RouteSourceSpec",
    "SubscriptionSpec",
    "TopicSpec",
    "VbrSpec",
    "VpcSpec",
    "WorldError",
    "WorldFile",
    "check_world",
    "parse_world",
    "read_world",
]


class WorldError(ValueError):
    """A world file that cannot be used: one line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Loader(yaml.SafeLoader):
    """YAML in which only true and false are booleans: on and off are values of switches."""


def _word(loader: Loader, node: yaml.ScalarNode) -> bool | str:
    text = loader.construct_scalar(node)
    return {"true": True, "false": False}.get(str(text).lower(), str(text))


Loader.add_constructor("tag:yaml.org,2002:bool", _word)


def read_world(path: Path) -> WorldFile:
    """Read and check a world file; raises WorldError with every problem, each with file and line."""
    return _checked(read(path, Loader), str(path))


def parse_world(text: str) -> WorldFile:
    """Check the text of a world file; raises WorldError with every problem, each with its line."""
    return _checked(parse(text, Loader), "")


def check_world(raw: object) -> WorldFile:
    """Check a world given as plain data, which has no lines; raises WorldError with every problem found."""
    source = Source(raw)
    world = look(source)
    if source.mistakes:
        raise WorldError([mistake.text for mistake in source.mistakes])
    assert world is not None  # noqa: S101 - nothing wrong was found
    return world


def _checked(source: Source, name: str) -> WorldFile:
    world = look(source)
    if source.mistakes or world is None:
        raise WorldError(source.told(source.mistakes, name))
    return world


def look(source: Source) -> WorldFile | None:
    """Add all mistakes of a world to those of reading it; the world without them, when enough is left."""
    if source.data is None and source.mistakes:
        return None
    findings = Findings(WorldFile, source.data, _wording, stand_ins={"version": 1, "accounts": {}}).look(source.unread)
    source.mistakes += findings.mistakes
    if findings.value is not None:
        source.mistakes += world_mistakes(findings.value, named(source.data))
    return findings.value


def _wording(error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        known = keys_at(tuple(error["loc"][:-1]))
        hint = meant(str(error["loc"][-1]), known) or (f"; known: {', '.join(known)}" if known else "")
        return f"unknown key (value {_short(error['input'])}){hint}"
    if error["type"] == "missing":
        return "is missing"
    return f"{error['msg']}; found {_short(error['input'])}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
