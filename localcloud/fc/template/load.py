"""Reads a template file: YAML, its skeleton, its variables, then each function; all mistakes are told at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator

from localcloud.fc.errors import DeployError, TemplateError
from localcloud.fc.template.parts import Part
from localcloud.fc.template.props import Props
from localcloud.fc.variables import Resolver


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


class _UniqueLoader(yaml.SafeLoader):
    """Plain YAML that does not let a second key of the same name win silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # what stands beside it may replace what it brings
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str):
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key!r} stands there twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path, environment: Mapping[str, str], account: str) -> list[FunctionSpec]:
    """The functions a template describes, or a DeployError that lists everything that is wrong with it."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueLoader)  # noqa: S506 - a SafeLoader
    except OSError as problem:
        raise DeployError(f"{path}: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise DeployError(f"{path}: not YAML: {problem}") from None
    if not isinstance(document, dict):
        raise DeployError(f"{path}: a mapping is needed at the top, this is a {type(document).__name__}")
    try:
        return _functions(path, document, Resolver(document, environment, account))
    except TemplateError as problem:
        raise DeployError(f"{path}: {problem}") from None


def _functions(path: Path, document: dict[str, Any], resolver: Resolver) -> list[FunctionSpec]:
    skeleton = {**document, "resources": _without_props(document.get("resources"))}
    try:
        Document.model_validate(resolver.resolve(skeleton, "", None))
    except ValidationError as invalid:
        raise DeployError("\n  ".join([f"{path} cannot be deployed:", *explain(invalid, "")])) from None
    problems: list[str] = []
    specs: list[FunctionSpec] = []
    for name, resource in document["resources"].items():
        where = f"resources.{name}.props"
        try:
            props = Props.model_validate(resolver.resolve(resource["props"], where, name))
            specs.append(FunctionSpec(name, props, _code(path, props.code, where)))
        except TemplateError as problem:
            problems.append(str(problem))
        except ValidationError as invalid:
            problems += explain(invalid, where)
    names = [spec.name for spec in specs]
    problems += sorted({f"two resources are named {name!r}" for name in names if names.count(name) > 1})
    if problems:
        raise DeployError("\n  ".join([f"{path} cannot be deployed:", *problems]))
    return specs


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


def explain(invalid: ValidationError, where: str) -> list[str]:
    """One line per mistake: its path in the template, what is wrong, and what was found there."""
    lines = []
    for error in invalid.errors(include_url=False):
        steps: list[str] = [where] if where else []
        previous: Any = None
        for step in error["loc"]:
            if not (isinstance(previous, int) and step in {"http", "timer", "eventbridge"}):
                steps.append(str(step))
            previous = step
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "value_error":
            lines.append(f"{'.'.join(steps)}: {message}")
        elif error["type"] == "missing":
            lines.append(f"{'.'.join(steps)}: this key is missing")
        else:
            lines.append(f"{'.'.join(steps)}: {message} (found {_short(error['input'])})")
    return lines


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
