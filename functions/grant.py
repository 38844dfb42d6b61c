"""The handler of account B's side: approvals come in, the grant is made or taken back."""

from shared.cloud.spoke import Spoke
from shared.loop.drivers import SpokeDriver
from shared.loop.frame import Function

_function = Function()


def initialize(context: object) -> None:
    """Once per instance: settings and configuration are read before the first event. A ledger that is away must not stop it:
    the messages that come meanwhile are sent again, and only a started function can do that.
    """
    _function.open(context)


def handler(event: bytes, context: object) -> dict[str, int]:
    """One event from the queue trigger, of any shape; returns how many items ended how."""
    frame = _function.open(context)
    return frame.run(SpokeDriver(Spoke(frame.calls)), event, context)
