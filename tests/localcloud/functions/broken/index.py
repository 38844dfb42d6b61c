"""A function that does not come up."""

from typing import Any


def initialize(context: Any) -> None:
    """Fail."""
    raise RuntimeError("LEDGER_URL is not set")


def handler(event: bytes, context: Any) -> None:
    """Never reached."""
