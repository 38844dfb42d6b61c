"""The handler of the timer: reconcile. Asked for one account by name, it looks whether that one lets us in, and does no more."""

from dataclasses import asdict
from functools import cache
from typing import Any

from shared.cloud.entrance import Entrance
from shared.cloud.pages import READ_ONLY, Pages
from shared.loop.entering import entered
from shared.loop.frame import Function, said
from shared.loop.reconcile import Reconcile
from shared.loop.signing import Signer
from shared.messages.check import EVERY_ACCOUNT, asked_about

# A pass has ten minutes, and more pages than one window of the quota holds: it may wait for the next one.
# It never writes on the cloud, so its sessions cannot, whatever the roles in the other accounts allow.
_signer = cache(Signer)
_function = Function(patience=70.0, session_policy=READ_ONLY, also=_signer)


def initialize(context: object) -> None:
    """Once per instance: settings and configuration are read before the first tick. The ledger is asked by each of them."""
    _function.open(context)


def handler(event: bytes, context: object) -> dict[str, Any]:
    """One pass over everything, as a tick says nothing but now; or a look at the accounts that are asked about. Returns what was
    found.
    """
    frame = _function.open(context)
    frame.arrive(context)
    with said():
        frame.check()
        asked = asked_about(event)
        if asked is not None:
            frame.gate.refresh()  # a pass does so itself
        if asked == EVERY_ACCOUNT:
            standing = frame.gate.standing
            seen = {"number": standing.number, "fault": standing.fault}
            return {**entered(standing.inventory.accounts, frame.calls.enter), "configuration": seen}
        if asked is not None:
            entrance = Entrance(frame.calls, frame.gate.inventory, reads_only=True)
            return {"findings": [one.facts() for one in entrance.examine(asked)]}
        return asdict(Reconcile(frame, Pages(frame.calls), head_key=_signer().key(frame.secrets)).run())
