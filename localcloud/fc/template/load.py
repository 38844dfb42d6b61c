"""Reads a template file: YAML, its skeleton, its variables, then each function; all mistakes are told at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import Field, field_validator

from localcloud.fc.errors import DeployError, TemplateError
from localcloud.fc.template.parts import Part
from localcloud.fc.template.props import Props
from localcloud.fc.variables import Resolver
from localcloud.mistakes import Findings
from localcloud.yamlfile import Mistake, Place, Source, dotted, read

Read = TypeVar("Read", bound=Part)

_STAND_INS = {"region": "cn-hangzhou", "functionName": "f", "runtime": "python3.12", "code": "./"}


class Resource(Part):
    """One entry of ``resources``; ``actions`` (such as packaging before a deployment) are not run."""

    component: str
    props: Any
    actions: dict[str, Any] = Field(default_factory=dict)

    @field_validator("component")
    @classmethod
    def _fc3(cls, value: str) -> str:
        if value != "fc3" and not value.startswith("fc3@"):
            raise ValueError(f"component {value!r} is not emulated; 'fc3' is")
        return value


class Document(Part):
    """The outer skeleton of a template."""

    not_emulated = frozenset({"env", "extend", "template", "flow", "plugins", "services", "global"})
    edition: str
    name: str
    access: str = "default"
    vars: dict[str, Any] | None = None
    resources: Annotated[dict[str, Resource], Field(min_length=1)]

    @field_validator("edition")
    @classmethod
    def _third(cls, value: str) -> str:
        if value != "3.0.0":
            raise ValueError(f"edition {value!r} is not emulated; '3.0.0' is")
        return value


@dataclass(frozen=True)
class FunctionSpec:
    """One function as the template describes it, with its code's place on this machine."""

    resource: str
    props: Props
    code: Path

    @property
    def name(self) -> str:
        """The function's name; ``service$function`` for one that lives in a 2.0 service."""
        return self.props.function_name

    @property
    def where(self) -> str:
        """The function's place in the template, for messages."""
        return f"resources.{self.resource}.props"


@dataclass
class Template:
    """A template as far as it could be read, and everything that is wrong with it."""

    path: Path
    source: Source
    specs: list[FunctionSpec] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """What its functions are called, those with mistakes included."""
    missing: set[str] = field(default_factory=set)
    """Variables of the environment that it needs and that were not given."""

    @property
    def mistakes(self) -> list[Mistake]:
        """All of them."""
        return self.source.mistakes

    def told(self, name: str = "") -> list[str]:
        """The mistakes as lines of text."""
        return self.source.told(self.mistakes, name)

    def complain(self) -> None:
        """Raise a DeployError that lists the mistakes, when there are any."""
        if self.mistakes:
            raise DeployError("\n  ".join([f"{self.path} cannot be deployed:", *self.told()]))


def load(path: Path, environment: Mapping[str, str], account: str) -> list[FunctionSpec]:
    """The functions a template describes, or a DeployError that lists everything that is wrong with it."""
    template = look(path, environment, account)
    template.complain()
    return template.specs


def look(path: Path, environment: Mapping[str, str], account: str, *, stand_in: bool = False) -> Template:
    """Read a template; ``stand_in`` lets variables that were not given pass, for a check without a deployment."""
    template = Template(path, read(path, yaml.SafeLoader))
    document = template.source.data
    if document is None and template.mistakes:
        return template
    if not isinstance(document, dict):
        text = f"a mapping is needed at the top, this is a {type(document).__name__}"
        template.mistakes.append(Mistake((), text))
        return template
    resolver = Resolver(document, environment, account, stand_in=stand_in)
    _skeleton(template, document, resolver)
    resources = document.get("resources")
    for name, resource in resources.items() if isinstance(resources, dict) else ():
        if isinstance(resource, dict) and "props" in resource:
            _function(template, str(name), resource["props"], resolver)
    template.missing = resolver.missing
    return template


def _skeleton(template: Template, document: dict[str, Any], resolver: Resolver) -> None:
    """Everything around the functions' own settings."""
    bare = {key: _without_props(value) if key == "resources" else value for key, value in document.items()}
    _examine(template, Document, bare, (), resolver, None)


def _function(template: Template, name: str, given: Any, resolver: Resolver) -> None:
    root: Place = ("resources", name, "props")
    props, data = _examine(template, Props, given, root, resolver, name)
    said = data if isinstance(data, dict) else {}
    called, code = said.get("functionName"), said.get("code")
    if isinstance(called, str):
        if called in template.names:
            template.mistakes.append(Mistake((*root, "functionName"), f"two resources are named {called!r}"))
        template.names.add(called)
    if isinstance(code, str) and "${" not in code:
        try:
            folder = _code(template.path, code, dotted(root))
        except TemplateError as problem:
            template.mistakes.append(Mistake((*root, "code"), str(problem)))
        else:
            if props is not None:
                template.specs.append(FunctionSpec(name, props, folder))


def _examine(
    template: Template, model: type[Read], given: Any, root: Place, resolver: Resolver, resource: str | None
) -> tuple[Read | None, Any]:
    """A part under its model as far as it can be read, and the part with its variables replaced."""
    unresolved: list[TemplateError] = []
    data = resolver.resolve(given, dotted(root), resource, failed=unresolved)
    blind = {place[len(root) :] for place in template.source.unread if place[: len(root)] == root}
    for problem in unresolved:
        place = resolver.place(problem.where)
        template.mistakes.append(Mistake(place, str(problem)))
        blind.add(place[len(root) :])
    findings = Findings(model, data, _wording, root=root, stand_ins=_STAND_INS).look(blind)
    template.source.mistakes += findings.mistakes
    return findings.value, data


def _without_props(resources: Any) -> Any:
    """The resources with their props left out, for a look at the skeleton alone."""
    if not isinstance(resources, dict):
        return resources
    return {
        name: {**resource, "props": None} if isinstance(resource, dict) and "props" in resource else resource
        for name, resource in resources.items()
    }


def _code(template: Path, code: str, where: str) -> Path:
    """The folder the code is in; archives and object storage are refused by name."""
    if code.startswith(("http://", "https://")) or code.endswith(".zip"):
        raise TemplateError(f"{where}.code", f"{code!r}: archives and addresses are not emulated, a folder is")
    folder = (template.parent / code).resolve()
    if not folder.is_dir():
        raise TemplateError(f"{where}.code", f"{code!r} is no folder (looked for {folder})")
    return folder


def _wording(error: dict[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return message
    if error["type"] == "missing":
        return "this key is missing"
    return f"{message} (found {_short(error['input'])})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
