"""Everything that is wrong with a ROS template, as far as the specification and the template itself show it.

Expressions are taken as what they may come to; what they name is looked for. Nothing of the project's own reading of templates
(``localcloud.ros``) is used: two readers that agree are worth more than one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.deploy.specification import Rule, Specification

TOP = {
    "ROSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Mappings",
    "Conditions",
    "Resources",
    "Outputs",
}
RESOURCE = {"Type", "Properties", "DependsOn", "Metadata", "DeletionPolicy", "Description", "Condition"}
PARAMETER = {
    *("Type", "Default", "AllowedValues", "AllowedPattern", "MinLength", "MaxLength", "MinValue", "MaxValue", "NoEcho"),
    *("Description", "ConstraintDescription", "Label", "AssociationProperty"),
}
TYPES = {"String", "Number", "Boolean", "Json", "CommaDelimitedList"}
PSEUDO = {
    f"ALIYUN::{name}"
    for name in ("StackName", "StackId", "Region", "AccountId", "TenantId", "ResourceGroupId", "NoValue")
}
LISTS = {"Fn::Split"}
"""Functions that come to a list; the others come to something plain."""
FUNCTIONS = {"Ref", "Fn::GetAtt", "Fn::Sub", "Fn::Join", "Fn::Equals", "Fn::If", "Fn::And", "Fn::Or", "Fn::Not", *LISTS}
LARGEST = 524_288
"""Bytes of a template in a call."""


def faults(template: Any, specification: Specification) -> list[str]:
    """One sentence for each."""
    if not isinstance(template, dict):
        return ["no mapping"]
    return list(_Check(template, specification).all())


@dataclass
class _Check:
    template: dict[str, Any]
    specification: Specification

    def all(self) -> Iterator[str]:
        for key in self.template.keys() - TOP:
            yield f"{key}: unknown top-level key"
        if self.template.get("ROSTemplateFormatVersion") != "2015-09-01":
            yield "ROSTemplateFormatVersion: '2015-09-01' is wanted, quoted"
        for name, parameter in self.template.get("Parameters", {}).items():
            yield from self._parameter(f"Parameters.{name}", parameter)
        for name, condition in self.template.get("Conditions", {}).items():
            yield from self._names(f"Conditions.{name}", condition)
        for name, resource in self.template.get("Resources", {}).items():
            yield from self._resource(f"Resources.{name}", resource)
        for name, output in self.template.get("Outputs", {}).items():
            if "Value" not in output:
                yield f"Outputs.{name}: Value is missing"
            yield from self._names(f"Outputs.{name}", output)

    def _parameter(self, place: str, one: dict[str, Any]) -> Iterator[str]:
        for key in one.keys() - PARAMETER:
            yield f"{place}.{key}: unknown key"
        if one.get("Type") not in TYPES:
            yield f"{place}.Type: {one.get('Type')!r} is none of {', '.join(sorted(TYPES))}"
        default = one.get("Default")
        if default is None:
            return
        if "AllowedValues" in one and default not in one["AllowedValues"]:
            yield f"{place}.Default: {default!r} is not allowed"
        if "AllowedPattern" in one and not re.fullmatch(one["AllowedPattern"], str(default)):
            yield f"{place}.Default: {default!r} does not match"
        if "MinValue" in one and not one["MinValue"] <= default <= one["MaxValue"]:
            yield f"{place}.Default: {default!r} is out of range"

    def _resource(self, place: str, one: dict[str, Any]) -> Iterator[str]:
        for key in one.keys() - RESOURCE:
            yield f"{place}.{key}: unknown key"
        kind = one.get("Type", "")
        if one.get("DeletionPolicy", "Delete") not in ("Delete", "Retain"):
            yield f"{place}.DeletionPolicy: {one['DeletionPolicy']!r}"
        for other in one.get("DependsOn", []):
            if other not in self.template["Resources"]:
                yield f"{place}.DependsOn: no such resource: {other}"
        if "Condition" in one and one["Condition"] not in self.template.get("Conditions", {}):
            yield f"{place}.Condition: no such condition: {one['Condition']}"
        yield from self._names(place, one.get("Properties", {}))
        if kind not in self.specification.types:
            yield f"{place}.Type: unknown type {kind}"
            return
        yield from self._shape(f"{place}.Properties", one.get("Properties", {}), self.specification.types[kind])

    def _shape(self, place: str, value: Any, shape: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place}: a mapping is wanted, found {value!r}"
            return
        rules = self.specification.shapes[shape]
        for name in value.keys() - rules.keys():
            yield f"{place}.{name}: unknown property"
        for name, rule in rules.items():
            if name in value:
                yield from self._value(f"{place}.{name}", value[name], rule, rule.type)
            elif rule.required:
                yield f"{place}.{name}: is required"

    def _value(self, place: str, value: Any, rule: Rule, kind: str) -> Iterator[str]:
        called = _called(value)
        if called is not None:
            if (called in LISTS) != kind.startswith("list") and called != "Fn::If" and kind != "any":
                yield f"{place}: {called} comes to something else than a {kind}"
            return
        if kind.startswith("list of "):
            yield from self._list(place, value, rule, kind.removeprefix("list of "))
        elif kind.startswith("hash of "):
            if not isinstance(value, dict):
                yield f"{place}: a mapping is wanted, found {value!r}"
        elif kind == "shape":
            yield from self._shape(place, value, rule.shape)
        else:
            yield from _plain(place, value, rule, kind)

    def _list(self, place: str, value: Any, rule: Rule, kind: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{place}: a list is wanted, found {value!r}"
            return
        yield from _length(place, value, rule)
        bare = Rule(rule.name, shape=rule.shape)
        for number, each in enumerate(value):
            yield from self._value(f"{place}[{number}]", each, bare, kind)

    def _names(self, place: str, value: Any) -> Iterator[str]:
        """What expressions name must be there."""
        if isinstance(value, list):
            for number, each in enumerate(value):
                yield from self._names(f"{place}[{number}]", each)
        elif isinstance(value, dict):
            for key, each in value.items():
                yield from self._named(f"{place}.{key}", key, each)
                yield from self._names(f"{place}.{key}", each)

    def _named(self, place: str, key: str, value: Any) -> Iterator[str]:
        if key == "Ref":
            yield from self._there(place, value)
        elif key == "Fn::Sub" and isinstance(value, str):
            for name in re.findall(r"\$\{([^}]*)\}", value):
                yield from self._there(place, name)
        elif key == "Fn::GetAtt":
            yield from self._attribute(place, *value)
        elif key.startswith("Fn::") and key not in FUNCTIONS:
            yield f"{place}: unknown function"

    def _there(self, place: str, name: str) -> Iterator[str]:
        if name not in PSEUDO | self.template.get("Parameters", {}).keys() | self.template["Resources"].keys():
            yield f"{place}: nothing is called {name!r}"

    def _attribute(self, place: str, resource: str, name: str) -> Iterator[str]:
        one = self.template["Resources"].get(resource)
        if one is None:
            yield f"{place}: no such resource: {resource}"
        elif name not in self.specification.attributes.get(one.get("Type", ""), set()):
            yield f"{place}: {one.get('Type')} has no attribute {name!r}"


def _called(value: Any) -> str | None:
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [key] = value
    return key if key == "Ref" or key.startswith("Fn::") else None


def _plain(place: str, value: Any, rule: Rule, kind: str) -> Iterator[str]:
    if kind in _WANTED and not _readable(value, kind):
        yield f"{place}: {_WANTED[kind]} is wanted, found {value!r}"
        return
    if kind == "string":
        yield from _length(place, value, rule)
    if kind == "number":
        least = float("-inf") if rule.least is None else rule.least
        most = float("inf") if rule.most is None else rule.most
        if not least <= float(value) <= most:
            yield f"{place}: must be from {least:g} to {most:g}, found {value}"
    if rule.allowed is not None and value not in rule.allowed:
        yield f"{place}: must be one of {rule.allowed}, found {value!r}"
    if rule.pattern and isinstance(value, str) and not re.search(rule.pattern, value):
        yield f"{place}: must match {rule.pattern}, found {value!r}"


_WANTED = {"boolean": "a boolean", "number": "a number", "string": "a text"}


def _readable(value: Any, kind: str) -> bool:
    """Whether ROS can take a value for one of that kind: it reads numbers and booleans from texts, too."""
    if kind == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if kind == "number":
        return not isinstance(value, bool) and re.fullmatch(r"-?\d+(\.\d+)?", str(value)) is not None
    return isinstance(value, str)


def _length(place: str, value: Any, rule: Rule) -> Iterator[str]:
    shortest = rule.shortest or 0
    longest = rule.longest if rule.longest is not None else len(value)
    if not shortest <= len(value) <= longest:
        yield f"{place}: must have a length of {shortest} to {longest}, found {len(value)}"
