"""The door to reconcile."""

from dataclasses import asdict
from typing import Any

from shared.frame import Door
from shared.reconcile import Reconcile

# A pass has ten minutes, and more pages than one window of the quota holds: it may wait for the next one.
_door = Door(patience=70.0)


def initialize(context: object) -> None:
    """Once per instance: everything that must be right is checked before the first tick."""
    _door.open(context).check()


def handler(event: bytes, context: object) -> dict[str, Any]:  # noqa: ARG001  # a tick says nothing but now
    """One pass over everything; returns what it found."""
    frame = _door.open(context)
    frame.check()
    frame.arrive(context)
    return asdict(Reconcile(frame, frame.cloud).run())
