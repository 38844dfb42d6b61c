"""The door to account A's side: completions come in, the association is made or taken away."""

from shared.converge import HubHand
from shared.frame import Door

_door = Door()


def initialize(context: object) -> None:
    """Once per instance: everything that must be right is checked before the first event."""
    _door.open(context).check()


def handler(event: bytes, context: object) -> dict[str, int]:
    """One event from the queue trigger, of any shape; returns how many items ended how."""
    frame = _door.open(context)
    return frame.run(HubHand(frame.cloud), event, context)
