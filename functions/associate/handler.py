"""The handler of account A's side: completions come in, the association is made or taken away."""

from shared.cloud.hub import Hub
from shared.loop.drivers import HubDriver
from shared.loop.frame import Function

_function = Function()


def initialize(context: object) -> None:
    """Once per instance: everything that must be right is checked before the first event."""
    _function.open(context).check()


def handler(event: bytes, context: object) -> dict[str, int]:
    """One event from the queue trigger, of any shape; returns how many items ended how."""
    frame = _function.open(context)
    return frame.run(HubDriver(Hub(frame.calls)), event, context)
