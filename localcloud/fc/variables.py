"""The ``${...}`` variables of a Serverless Devs template, resolved the way the ``s`` command resolves them.

Understood (function-compute.md section 2.1): ``${vars.x}`` (nested), ``${env('NAME', 'default')}``,
``${config('AccountID')}``, ``${this.props.x}`` and ``${resources.<id>.props.x}``. Everything else is refused by name.
A value is resolved each time it is read, so variables may stand in the values that other variables read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud.fc.errors import TemplateError
from localcloud.yamlfile import Place

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_CALL = re.compile(r"""^(?P<name>\w+)\(\s*(?P<arguments>.*?)\s*\)$""", re.DOTALL)
_ARGUMENT = re.compile(r"""\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<bare>[^'",\s]+))\s*""")


def _arguments(text: str, where: str) -> list[str]:
    """The comma-separated arguments of a call such as ``env('NAME', 'default')``."""
    found: list[str] = []
    position = 0
    while position < len(text):
        match = _ARGUMENT.match(text, position)
        if match is None:
            raise TemplateError(where, f"cannot read the arguments ({text})")
        found.append(next(value for value in match.groups() if value is not None))
        position = match.end()
        if position < len(text):
            if text[position] != ",":
                raise TemplateError(where, f"cannot read the arguments ({text})")
            position += 1
    return found


def _step(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


@dataclass(frozen=True)
class Resolver:
    """What variables may refer to: the document itself, the deployer's environment and the account."""

    document: Mapping[str, Any]
    environment: Mapping[str, str]
    account: str
    stand_in: bool = False
    """Let a variable of the environment that was not given be some text: for a look without a deployment."""
    missing: set[str] = field(default_factory=set)
    """Those that some text stood in for."""

    def resolve(
        self,
        value: Any,
        where: str,
        resource: str | None,
        trail: tuple[str, ...] = (),
        failed: list[TemplateError] | None = None,
    ) -> Any:
        """``value`` with every variable in it replaced; ``resource`` is what ``this`` means.

        What cannot be resolved raises a TemplateError, or goes into ``failed`` and stays as it was written.
        """
        if isinstance(value, str):
            try:
                return self._text(value, where, resource, trail)
            except TemplateError as problem:
                if failed is None:
                    raise
                failed.append(problem)
                return value
        if isinstance(value, list):
            return [self.resolve(item, _step(where, at), resource, trail, failed) for at, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.resolve(item, _step(where, key), resource, trail, failed) for key, item in value.items()}
        return value

    @staticmethod
    def place(where: str) -> Place:
        """A place from how messages write it."""
        return tuple(int(step) if step.isdecimal() else step for step in where.split(".")) if where else ()

    def _text(self, text: str, where: str, resource: str | None, trail: tuple[str, ...]) -> Any:
        whole = _VARIABLE.fullmatch(text.strip())
        if whole is not None:
            return self._variable(whole.group(1).strip(), where, resource, trail)

        def replace(match: re.Match[str]) -> str:
            found = self._variable(match.group(1).strip(), where, resource, trail)
            if isinstance(found, dict | list):
                raise TemplateError(where, f"${{{match.group(1)}}} is a {type(found).__name__}, not text")
            return str(found)

        return _VARIABLE.sub(replace, text)

    def _variable(self, expression: str, where: str, resource: str | None, trail: tuple[str, ...]) -> Any:
        if expression in trail:
            raise TemplateError(where, f"variables go in a circle: {' -> '.join((*trail, expression))}")
        call = _CALL.match(expression)
        if call is not None:
            return self._call(call["name"], _arguments(call["arguments"], where), where)
        head, _, rest = expression.partition(".")
        if head == "vars" and rest:
            found = self._walk(self.document.get("vars") or {}, rest, f"${{{expression}}}", where)
            return self.resolve(found, where, resource, (*trail, expression))
        if head == "this" and rest.startswith("props.") and resource is not None:
            return self._prop(resource, rest.removeprefix("props."), expression, where, trail)
        if head == "resources":
            name, _, rest = rest.partition(".")
            if rest.startswith("props."):
                return self._prop(name, rest.removeprefix("props."), expression, where, trail)
            if rest.startswith("output."):
                raise TemplateError(where, f"${{{expression}}}: outputs of a deployment are not emulated")
        raise TemplateError(
            where,
            f"${{{expression}}} is not a variable known here (vars, env, config, this.props, resources.<id>.props)",
        )

    def _call(self, name: str, arguments: list[str], where: str) -> str:
        if name == "env" and len(arguments) in {1, 2}:
            if arguments[0] in self.environment:
                return self.environment[arguments[0]]
            if len(arguments) == 2:
                return arguments[1]
            if self.stand_in:
                self.missing.add(arguments[0])
                return f"the-value-of-{arguments[0]}"
            raise TemplateError(where, f"${{env('{arguments[0]}')}} has no value and no default")
        if name == "config" and arguments == ["AccountID"]:
            return self.account
        called = f"${{{name}({', '.join(repr(argument) for argument in arguments)})}}"
        raise TemplateError(where, f"{called} is not emulated; env('NAME', 'default') and config('AccountID') are")

    def _prop(self, resource: str, path: str, expression: str, where: str, trail: tuple[str, ...]) -> Any:
        found = self._walk(self.document, f"resources.{resource}.props.{path}", f"${{{expression}}}", where)
        return self.resolve(found, where, resource, (*trail, expression))

    @staticmethod
    def _walk(root: Any, path: str, expression: str, where: str) -> Any:
        here = root
        for step in path.split("."):
            if isinstance(here, dict) and step in here:
                here = here[step]
            elif isinstance(here, list) and step.isdecimal() and int(step) < len(here):
                here = here[int(step)]
            else:
                raise TemplateError(where, f"{expression} leads nowhere: there is no {step!r}")
        return here
