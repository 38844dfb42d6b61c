"""One request to a function and how it ended, as everybody around instances knows them."""

import json
import os
from dataclasses import dataclass, field
from typing import Any, Literal

Fate = Literal["returned", "raised", "timed_out", "crashed", "not_started"]


@dataclass(frozen=True)
class Invocation:
    """One request to a function."""

    request_id: str
    payload: bytes
    retry_count: int = 0
    timeout: float = field(default=86_400.0)
    """Real seconds this caller lets the function run; the function's own limit applies too."""


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended."""

    fate: Fate
    payload: bytes
    instance_id: str
    milliseconds: float

    @property
    def error_type(self) -> str:
        """What X-Fc-Error-Type says; empty when the function returned (section 3.5)."""
        if self.fate == "returned":
            return ""
        return "UnhandledInitializationError" if self.fate == "not_started" else "UnhandledInvocationError"

    @property
    def message(self) -> str:
        """The error message, for people; empty when the function returned."""
        if self.fate == "returned":
            return ""
        try:
            return str(json.loads(self.payload)["errorMessage"])
        except (ValueError, KeyError, TypeError):
            return self.payload.decode(errors="replace")


class StartFailed(Exception):
    """An instance did not come up; carries the error as the caller will see it."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(Outcome("not_started", payload, "", 0.0).message)
        self.payload = payload


def error_json(message: str, error_type: str = "") -> bytes:
    """An error of the platform's making, in the shape of those that handlers raise."""
    error: dict[str, Any] = {"errorMessage": message}
    if error_type:
        error["errorType"] = error_type
    return json.dumps(error).encode()


def new_request_id() -> str:
    """A request id in the platform's form."""
    raw = os.urandom(16).hex()
    return f"1-{raw[:8]}-{raw[8:20]}-{raw[20:32]}"
