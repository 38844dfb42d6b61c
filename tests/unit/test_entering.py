"""Whether the accounts can be entered, one by one."""

from __future__ import annotations

from shared.errors import CloudUnreachable, PermissionMissing
from shared.loop.entering import entered


def test_each_account_is_tried_for_itself() -> None:
    """What is refused or away is told by code and reason, and stops no other."""

    def enter(uid: str) -> None:
        if uid == "2":
            raise PermissionMissing("no trust", code="PermissionMissing")
        if uid == "3":
            raise CloudUnreachable("no answer")

    assert entered(map(str, range(1, 20)), enter) == {
        "accounts": {str(uid): None for uid in range(1, 20)}
        | {
            "2": {"code": "PermissionMissing", "text": "no trust"},
            "3": {"code": "CloudUnreachable", "text": "no answer"},
        }
    }
