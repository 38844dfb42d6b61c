"""The specification of ROS resource types, read from the packages that carry it (``requirements/ros.txt``).

Each wheel has a generated JavaScript file: for each resource type a function that validates its properties, one that gives them
their names in a template, and a class with the type's name and attributes. They are regular enough to be read line by line.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Rule:
    """What one property may be."""

    name: str
    """As templates spell it."""
    required: bool = False
    type: str = "any"
    """string, number, boolean, any, list of or map of one of these, or the shape of what is inside."""
    shape: str = ""
    least: float | None = None
    most: float | None = None
    shortest: int | None = None
    longest: int | None = None
    allowed: list[object] | None = None
    pattern: str = ""


@dataclass
class Specification:
    """All resource types of some packages."""

    types: dict[str, str] = field(default_factory=dict)
    """By type: the shape of its properties."""
    attributes: dict[str, set[str]] = field(default_factory=dict)
    shapes: dict[str, dict[str, Rule]] = field(default_factory=dict)


def read_specification(folder: Path) -> Specification:
    """Read every wheel of a folder."""
    found = Specification()
    for wheel in sorted(folder.glob("ros_cdk_*.whl")):
        for text in _sources(wheel):
            _read(text, found, wheel.name)
    return found


def _sources(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        inner = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(inner))) as files:
            for name in files.getnames():
                if name.endswith(".generated.js") and "/datasource/" not in name:
                    member = files.extractfile(name)
                    assert member is not None
                    yield member.read().decode("utf-8")


def _read(text: str, found: Specification, package: str) -> None:
    bodies = dict(re.findall(r"^function (\w+)\(properties[^)]*\) \{\n(.*?)^\}$", text, re.MULTILINE | re.DOTALL))
    names: dict[str, dict[str, str]] = {}
    validators: dict[str, str] = {}
    for function, body in bodies.items():
        if function.endswith("ToRosTemplate"):
            validator = re.findall(r"(\w+Validator)\(properties\)\.assertSuccess", body)[0]
            validators[function] = validator
            names[validator] = {inner: outer for outer, inner in re.findall(r"'([^']+)': .*?properties\.(\w+)\)", body)}
    for validator, spelt in names.items():
        rules = {inner: Rule(outer) for inner, outer in spelt.items()}
        for line in _statements(bodies[validator]):
            _note(line, rules, package)
        found.shapes[f"{package}:{validator}"] = {rule.name: rule for rule in rules.values()}
    for name, body in re.findall(
        r"^class (\w+) extends ros\.RosResource \{\n(.*?)^\}$", text, re.MULTILINE | re.DOTALL
    ):
        kind = re.findall(rf'^{name}\.ROS_RESOURCE_TYPE_NAME = "(.+)";$', text, re.MULTILINE)[0]
        renders = re.findall(r"return (\w+ToRosTemplate)\(props", body)[0]
        found.types[kind] = f"{package}:{validators[renders]}"
        found.attributes[kind] = set(re.findall(r"this\.getAtt\('([^']+)'\)", body))


def _statements(body: str) -> Iterator[tuple[str, str]]:
    """The property and the rest of each of a validator's statements."""
    for match in re.finditer(r"propertyValidator\('(\w+)', (.*?)\);$", body, re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def _note(statement: tuple[str, str], rules: dict[str, Rule], package: str) -> None:
    name, said = statement
    rule = rules[name]
    if said.startswith("ros.requiredValidator"):
        rule.required = True
    elif said.startswith("ros.validateRange"):
        rule.least, rule.most = _bound(said, "min"), _bound(said, "max")
    elif said.startswith("ros.validateLength"):
        least, most = _bound(said, "min"), _bound(said, "max")
        rule.shortest, rule.longest = (None if bound is None else int(bound) for bound in (least, most))
    elif said.startswith("ros.validateAllowedValues"):
        rule.allowed = json.loads(re.findall(r"allowedValues: (\[.*?\]),\n", said, re.DOTALL)[0])
    elif said.startswith("ros.validateAllowedPattern"):
        rule.pattern = re.findall(r"reg: /(.*)/\n", said)[0]
    else:
        rule.type, rule.shape = _typed(said, package)


def _bound(said: str, name: str) -> float | None:
    value: str = re.findall(rf"{name}: (\S+),", said)[0]
    return None if value == "undefined" else float(value)


def _typed(said: str, package: str) -> tuple[str, str]:
    wrapped = re.match(r"ros\.(list|hash)Validator\((.*?)\)\)", said)
    if wrapped is not None:
        inner, shape = _typed(wrapped[2], package)
        return f"{wrapped[1]} of {inner}", shape
    plain = re.match(r"ros\.validate(\w+)", said)
    if plain is not None:
        return plain[1].lower(), ""
    return "shape", f"{package}:{re.findall(r'^[A-Za-z0-9_]+', said)[0]}"  # every other one is a validator of a shape
