"""What reconcile is handed to look at accounts instead of everything: ``{"check": uid}``, or ``{"check": "accounts"}`` for all.

Only the functions' roles are trusted there. Whoever types has keys that no account trusts, and what those are refused says
nothing about the functions.
"""

from __future__ import annotations

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import BadInput
from shared.messages.forms import AccountId
from shared.messages.texts import faults

EVERY_ACCOUNT = "accounts"


class AccountCheck(BaseModel):
    """The whole of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: AccountId | Literal["accounts"]

    @property
    def event(self) -> bytes:
        """As the function takes it."""
        return self.model_dump_json().encode()


def asked_about(event: bytes) -> str | None:
    """The account that is asked about, or ``EVERY_ACCOUNT``; None for a tick, whatever that says. Raises BadInput for no uid."""
    try:
        said = json.loads(event)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or "check" not in said:
        return None
    try:
        return AccountCheck.model_validate(said).check
    except ValidationError as error:
        raise BadInput(faults(error)) from None
