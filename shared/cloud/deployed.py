"""How a function is deployed, as Function Compute shows it. Values of its environment are never kept: names are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from shared.cloud.functions import Functions
from shared.errors import CloudTrouble

_PAGE = "100"


def _names(value: object) -> object:
    """Which variables there are, and whether each has a value. The values end here."""
    return {str(name): bool(text) for name, text in value.items()} if isinstance(value, dict) else value


class _Seen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class FunctionSeen(_Seen):
    """A function. ``settings``: its plain facts by the names that the API and s.yaml have for them."""

    environment_variables: Annotated[dict[str, bool], BeforeValidator(_names)] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class TriggerSeen(_Seen):
    """A trigger, with its configuration by the names that s.yaml has for them."""

    trigger_name: str
    trigger_type: str
    trigger_config: Annotated[dict[str, Any], BeforeValidator(lambda text: json.loads(text or "{}"))]


S = TypeVar("S")


class Deployed:
    """The functions of one deployment, read only."""

    def __init__(self, functions: Functions, service: str | None = None) -> None:
        """``service`` names the FC 2.0 service they are in; None means FC 3.0, where functions are in none."""
        self._functions = functions
        self._service = service

    def function(self, name: str) -> FunctionSeen | None:
        """A function; None where there is none of that name. Needs fc:GetFunction. Raises GrantError."""
        body = self._functions.read(name, service=self._service)
        if body is None:
            return None
        plain = {key: value for key, value in body.items() if key != "environmentVariables"}
        return _read(lambda: FunctionSeen.model_validate({**body, "settings": plain}), name)

    def triggers(self, name: str) -> list[TriggerSeen] | None:
        """Its triggers, at most fifty; None where there is no such function. Needs fc:ListTriggers. Raises GrantError."""
        body = self._functions.read(name, "triggers", self._service, {"limit": _PAGE})
        if body is None:
            return None
        return _read(
            lambda: [TriggerSeen.model_validate(one) for one in body.get("triggers") or ()], f"{name} triggers"
        )

    def reserved(self, name: str) -> int | None:
        """How many instances it may have, and has for itself; None without a limit. Needs fc:GetConcurrencyConfig."""
        old = self._service is not None
        body = self._functions.read(name, "on-demand-config" if old else "concurrency", self._service)
        found = (body or {}).get("maximumInstanceCount" if old else "reservedConcurrency")
        return None if found is None else int(found)

    def asynchronous(self, name: str) -> dict[str, Any]:
        """What becomes of its asynchronous calls, by the names of s.yaml. Needs fc:GetFunctionAsyncInvokeConfig."""
        body: dict[str, Any] = self._functions.read(name, "async-invoke-config", self._service) or {}
        return body


def _read(make: Callable[[], S], where: str) -> S:
    """What an answer says; the answer itself is in no error, since an environment may stand in it."""
    try:
        return make()
    except (ValidationError, ValueError, AttributeError, TypeError):
        raise CloudTrouble(f"{where}: Function Compute's answer has another form than documented") from None
