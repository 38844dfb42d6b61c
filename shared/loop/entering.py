"""Whether the accounts can be entered: asked of reconcile, since only the functions' roles are trusted there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from shared.errors import GrantError

_AT_ONCE = 8


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
