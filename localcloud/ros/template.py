"""One template, applied in one account and region: its parameters, its conditions, its resources in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from localcloud.mistakes import Findings, meant
from localcloud.ros.functions import Scope, Unresolved
from localcloud.ros.kinds import KINDS, LEFT_OUT, Made, Refused, attributes, dangling
from localcloud.yamlfile import Mistake, Place, Source, dotted


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Parameter(_Part):
    """What whoever applies a template has to say, or may."""

    Type: Literal["String", "Number"]
    Description: str = ""
    Default: str | int | None = None
    AllowedValues: list[str | int] | None = None
    AllowedPattern: str | None = None
    MinLength: int | None = None
    MaxLength: int | None = None
    MinValue: int | None = None
    MaxValue: int | None = None
    NoEcho: bool = False

    def fault(self, value: str | int) -> str:
        """What is wrong with a value; empty when nothing is."""
        if isinstance(value, int):
            if self.Type != "Number":
                return f"a text is wanted, quote it; found {value!r}"
            low, high = self.MinValue, self.MaxValue
            within = (low is None or value >= low) and (high is None or value <= high)
            return "" if within else f"must be from {low} to {high}, found {value}"
        if self.Type == "Number":
            return f"a number is wanted, found {value!r}"
        if self.AllowedValues is not None and value not in self.AllowedValues:
            return f"must be one of {', '.join(map(str, self.AllowedValues))}, found {value!r}"
        if self.AllowedPattern is not None and re.fullmatch(self.AllowedPattern, value) is None:
            return f"must match {self.AllowedPattern}, found {value!r}"
        if not (self.MinLength or 0) <= len(value) <= (self.MaxLength or len(value)):
            return f"must have {self.MinLength or 0} to {self.MaxLength or 'any number of'} letters, found {len(value)}"
        return ""


class Resource(_Part):
    """One resource of a template."""

    Type: str
    Properties: dict[str, Any] = Field(default_factory=dict)
    DependsOn: str | list[str] = Field(default_factory=list)
    Condition: str | None = None
    DeletionPolicy: Literal["Delete", "Retain"] = "Delete"
    Description: str = ""


class Template(_Part):
    """The whole file."""

    ROSTemplateFormatVersion: Literal["2015-09-01"]
    Description: str = ""
    Parameters: dict[str, Parameter] = Field(default_factory=dict)
    Conditions: dict[str, Any] = Field(default_factory=dict)
    Resources: Annotated[dict[str, Resource], Field(min_length=1)]
    Outputs: dict[str, Any] = Field(default_factory=dict)


@dataclass
class Application:
    """A template at work in one account; what is wrong goes to the source's mistakes."""

    source: Source
    template: Template
    region: str
    made: Made
    left_out: list[str] = field(default_factory=list)
    """A sentence for each resource that nothing was made of."""

    def apply(self, given: Mapping[str, str | int]) -> None:
        """Make everything, as far as it can be made."""
        before = len(self.source.mistakes)
        values: dict[str, Any] = {"ALIYUN::AccountId": self.made.account, "ALIYUN::Region": self.region}
        values.update(self._parameters(given))
        if len(self.source.mistakes) > before:
            return
        scope = Scope(values, lambda *asked: self._attribute(scope, *asked))
        kept = {name: one for name, one in self.template.Resources.items() if self._wanted(one, name, scope)}
        for name, one in kept.items():
            self._make(name, one, scope)
        for output, value in self.template.Outputs.items():
            self._resolved(scope, value, ("Outputs", output))
        for text in dangling(self.made):
            self._tell((), text)

    def _parameters(self, given: Mapping[str, str | int]) -> Iterator[tuple[str, str | int]]:
        for name in given:
            if name not in self.template.Parameters:
                self._tell(("Parameters",), f"no such parameter: {name}{meant(name, self.template.Parameters)}")
        for name, one in self.template.Parameters.items():
            value = given.get(name, one.Default)
            fault = "is not given, and has no default" if value is None else one.fault(value)
            if fault:
                self._tell(("Parameters", name), f"parameter {name} {fault}")
            elif value is not None:
                yield name, value

    def _wanted(self, one: Resource, name: str, scope: Scope) -> bool:
        place = ("Resources", name)
        for other in [one.DependsOn] if isinstance(one.DependsOn, str) else one.DependsOn:
            if other not in self.template.Resources:
                self._tell((*place, "DependsOn"), f"no such resource: {other}{meant(other, self.template.Resources)}")
        if one.Condition is None:
            return True
        if one.Condition not in self.template.Conditions:
            self._tell((*place, "Condition"), f"no such condition: {one.Condition}")
            return False
        return self._resolved(scope, self.template.Conditions[one.Condition], ("Conditions", one.Condition)) is True

    def _make(self, name: str, one: Resource, scope: Scope) -> None:
        place: Place = ("Resources", name)
        properties = self._resolved(scope, one.Properties, (*place, "Properties"))
        if properties is None:
            return
        if one.Type in LEFT_OUT:
            self.left_out.append(f"{name} ({one.Type}): {LEFT_OUT[one.Type][0]}")
            return
        kind = KINDS.get(one.Type)
        if kind is None:
            self._tell((*place, "Type"), f"{one.Type} is not emulated{meant(one.Type, KINDS)}; {', '.join(KINDS)} are")
            return
        findings = Findings(kind.model, properties, _wording, root=(*place, "Properties")).look()
        self.source.mistakes += findings.mistakes
        if findings.mistakes or findings.value is None:
            return
        try:
            kind.make(findings.value, self.made, self.region)
        except Refused as refused:
            self._tell(place, str(refused))

    def _attribute(self, scope: Scope, resource: str, name: str, place: Place) -> Any:
        one = self.template.Resources.get(resource)
        if one is None:
            raise Unresolved(place, f"no such resource: {resource}{meant(resource, self.template.Resources)}")
        known = attributes(one.Type)
        if known is None:
            raise Unresolved(place, f"{one.Type} is not emulated")
        if name not in known:
            raise Unresolved(
                place, f"{one.Type} has no attribute {name!r} here{meant(name, known)}; it has {', '.join(known)}"
            )
        own = {key: value for key, value in one.Properties.items() if f"{{{key}}}" in known[name]}
        return known[name].format(
            account=self.made.account, **scope.resolve(own, ("Resources", resource, "Properties"))
        )

    def _resolved(self, scope: Scope, raw: Any, place: Place) -> Any:
        try:
            return scope.resolve(raw, place)
        except Unresolved as wrong:
            self._tell(wrong.place, str(wrong), placed=True)
            return None

    def _tell(self, place: Place, text: str, *, placed: bool = False) -> None:
        where = f"{dotted(place)}: " if place and not placed else ""
        self.source.mistakes.append(Mistake(place, f"in account {self.made.account}: {where}{text}"))


def look(source: Source) -> Template | None:
    """Add what is wrong with a template's skeleton to the mistakes of reading it; the template when it can be applied."""
    if source.data is None and source.mistakes:
        return None
    findings = Findings(Template, source.data, _wording).look(source.unread)
    source.mistakes += findings.mistakes
    return None if source.mistakes else findings.value


def _wording(error: dict[str, Any]) -> str:
    if error["type"] == "extra_forbidden":
        return "not emulated"
    if error["type"] == "missing":
        return "is missing"
    return f"{error['msg']}; found {error['input']!r:.120}"
