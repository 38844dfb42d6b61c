"""The handler of preflight: what people ask for comes in from the topic, both accounts are looked at, what was seen is said."""

from shared.cloud.survey import LOOK_ONLY, Survey
from shared.ledger.transactions import now_ms
from shared.loop.frame import Function, said
from shared.loop.looking import Looking
from shared.loop.preflight import Preflight
from shared.rules.facts import Side

# It never writes on the cloud, so its sessions cannot, whatever the roles in the other accounts allow.
_function = Function(patience=20.0, session_policy=LOOK_ONLY)


def initialize(context: object) -> None:
    """Once per instance: settings and configuration are read before the first event."""
    _function.open(context)


def handler(event: bytes, context: object) -> dict[str, int]:
    """One event from the queue trigger; returns how many requests were looked at."""
    frame = _function.open(context)
    frame.arrive(context)
    with said():
        frame.check()
        frame.gate.overtaken()
        looks = Preflight(Survey(frame.calls), frame.gate.inventory)
        return Looking(frame.ledger, looks, lambda: frame.wake(None, Side.GRANT, now_ms()), now_ms).run(event)
