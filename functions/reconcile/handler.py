"""The handler of the timer: reconcile."""

from dataclasses import asdict
from functools import cache
from typing import Any

from shared.cloud.pages import READ_ONLY, Pages
from shared.loop.entering import entered, is_asked
from shared.loop.frame import Function, said
from shared.loop.reconcile import Reconcile
from shared.settings import read_head_key

# A pass has ten minutes, and more pages than one window of the quota holds: it may wait for the next one.
# It never writes on the cloud, so its sessions cannot, whatever the roles in the other accounts allow.
_head_key = cache(read_head_key)
_function = Function(patience=70.0, session_policy=READ_ONLY, also=_head_key)


def initialize(context: object) -> None:
    """Once per instance: settings and configuration are read before the first tick. The ledger is asked by each of them."""
    _function.open(context)


def handler(event: bytes, context: object) -> dict[str, Any]:
    """One pass over everything, as a tick says nothing but now; or whether the accounts can be entered. Returns what it found."""
    frame = _function.open(context)
    frame.arrive(context)
    with said():
        if is_asked(event):
            return entered(frame.inventory.accounts, frame.calls.enter)
        frame.check()
        return asdict(Reconcile(frame, Pages(frame.calls), head_key=_head_key()).run())
