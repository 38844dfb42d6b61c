"""The question whether accounts can be entered, and its answer."""

from __future__ import annotations

import json

import pytest

from shared.errors import CloudUnreachable, PermissionMissing
from shared.loop.entering import QUESTION, entered, is_asked

TICK = {"triggerTime": "2026-01-01T00:00:00Z", "triggerName": "tick", "payload": "{}"}


@pytest.mark.parametrize(
    "event", [b"{}", b"", b"\xff", b"[]", b'"accounts"', json.dumps(TICK).encode(), b"[" * 100_000, b'{"ask": "more"}']
)
def test_nothing_else_is_the_question(event: bytes) -> None:
    """Ticks least of all, and nothing that cannot be read fails."""
    assert not is_asked(event)


def test_the_question_is_known() -> None:
    """As the command sends it."""
    assert is_asked(json.dumps(QUESTION).encode())


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
