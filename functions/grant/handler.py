"""The door to account B's side: approvals come in, the grant is made or taken back."""

from shared.converge import SpokeHand
from shared.frame import Door

_door = Door()


def initialize(context: object) -> None:
    """Once per instance: everything that must be right is checked before the first event."""
    _door.open(context).check()


def handler(event: bytes, context: object) -> dict[str, int]:
    """One event from the queue trigger, of any shape; returns how many items ended how."""
    frame = _door.open(context)
    return frame.run(SpokeHand(frame.cloud), event, context)
