"""The door to reconcile."""

from dataclasses import asdict
from typing import Any

from shared.frame import Door
from shared.reconcile import Reconcile

_door = Door()


def initialize(context: object) -> None:
    """Once per instance: everything that must be right is checked before the first tick."""
    _door.open(context)


def handler(event: bytes, context: object) -> dict[str, Any]:  # noqa: ARG001  # a tick says nothing but now
    """One pass over everything; returns what it found."""
    frame = _door.open(context)
    frame.arrive(context)
    return asdict(Reconcile(frame, frame.cloud).run())
