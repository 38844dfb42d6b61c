"""What an operator hands reconcile: a tick, whatever it says, one account to be looked at, or all of them."""

from __future__ import annotations

import json

import pytest

from shared.errors import BadInput
from shared.messages.check import EVERY_ACCOUNT, AccountCheck, asked_about

UID = "2000000000000002"


def test_an_account_is_found() -> None:
    """By the one key there is."""
    assert asked_about(AccountCheck(check=UID).event) == UID


def test_all_of_them_are_one_word() -> None:
    """As the command sends it."""
    assert asked_about(AccountCheck(check=EVERY_ACCOUNT).event) == EVERY_ACCOUNT


@pytest.mark.parametrize(
    "event",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"not JSON",
        b"\xff",
        b"[" * 100_000,
        b'"accounts"',
        b'{"triggerName": "tick", "payload": "{}"}',
    ],
)
def test_a_tick_names_no_account(event: bytes) -> None:
    """Whatever the platform sends, a pass is made."""
    assert asked_about(event) is None


@pytest.mark.parametrize("value", [4, "", "4", None, [UID], UID + "\n"])
def test_what_is_no_account_is_refused_by_name(value: object) -> None:
    """Never taken for a tick: who asks for one account wants no pass over all."""
    with pytest.raises(BadInput, match="check: "):
        asked_about(json.dumps({"check": value}).encode())


def test_what_stands_beside_it_is_refused() -> None:
    """A misspelt key would else be left out without a word."""
    with pytest.raises(BadInput, match="region"):
        asked_about(json.dumps({"check": UID, "region": "cn-hangzhou"}).encode())
