"""The handler of account B's side: approvals come in, the grant is made or taken back."""

from shared.cloud.spoke import Spoke
from shared.loop.drivers import SpokeDriver
from shared.loop.frame import Function

_function = Function()


def initialize(context: object) -> None:
    """Once per instance: everything that must be right is checked before the first event."""
    _function.open(context).check()


def handler(event: bytes, context: object) -> dict[str, int]:
    """One event from the queue trigger, of any shape; returns how many items ended how."""
    frame = _function.open(context)
    return frame.run(SpokeDriver(Spoke(frame.calls)), event, context)
