"""A handler further down."""

from typing import Any


def handle(event: bytes, context: Any) -> str:
    """Say where it is."""
    return f"{__name__} {len(event)}"
