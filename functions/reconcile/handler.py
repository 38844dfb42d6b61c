"""The handler of the timer: reconcile."""

from dataclasses import asdict
from typing import Any

from shared.cloud.pages import Pages
from shared.loop.frame import Function
from shared.loop.reconcile import Reconcile

# A pass has ten minutes, and more pages than one window of the quota holds: it may wait for the next one.
_function = Function(patience=70.0)


def initialize(context: object) -> None:
    """Once per instance: everything that must be right is checked before the first tick."""
    _function.open(context).check()


def handler(event: bytes, context: object) -> dict[str, Any]:  # noqa: ARG001  # a tick says nothing but now
    """One pass over everything; returns what it found."""
    frame = _function.open(context)
    frame.check()
    frame.arrive(context)
    return asdict(Reconcile(frame, Pages(frame.calls)).run())
