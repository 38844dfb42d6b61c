"""Whether the accounts can be entered: asked of reconcile, since only the functions' roles are trusted there.

Whoever types has keys that no account trusts, and what those are refused says nothing about the functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from shared.errors import GrantError

QUESTION = {"ask": "accounts"}
"""The event that asks. A tick says nothing, so nothing else looks like it."""

_AT_ONCE = 8


def is_asked(event: bytes) -> bool:
    """Whether an event is the question."""
    try:
        return bool(json.loads(event) == QUESTION)
    except (ValueError, RecursionError):
        return False


def entered(accounts: Iterable[str], enter: Callable[[str], None]) -> dict[str, Any]:
    """By account, nothing where it was entered, else the code and the reason. Each is tried for itself, some at a time."""

    def one(uid: str) -> dict[str, str] | None:
        try:
            enter(uid)
        except GrantError as error:
            return {"code": error.code, "text": str(error)}
        return None

    listed = list(accounts)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tries = [pool.submit(copy_context().run, one, uid) for uid in listed]
        return {"accounts": {uid: each.result() for uid, each in zip(listed, tries, strict=True)}}
