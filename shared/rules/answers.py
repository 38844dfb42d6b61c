"""What a request is told in the end: what was last read on the cloud, and what of the request holds. Plain functions."""

from __future__ import annotations

from shared.messages.approval import Action
from shared.rules.facts import SideRecord, State
from shared.rules.leases import Level, Wanted


def done_text(
    action: Action, wanted: Wanted, spoke: SideRecord, hub: SideRecord, *, wrote: bool, theirs: bool, closed: bool
) -> str:
    """The sentence for a request that is done. ``wrote``: a write of ours made it so. ``theirs``: account A's own automation
    makes the association. ``closed``: of a revoke, whether it closed anything."""
    if action is Action.GRANT:
        return _up(wanted, spoke, hub, wrote=wrote, theirs=theirs)
    nothing = "" if closed else "nothing by that name was open on this grant, and the close stands for when it comes; "
    if not wanted.down:
        keep = "other leases keep the grant up"
        past = ", past their end and reported only" if wanted.level is Level.KEEP else ""
        return f"{nothing or 'closed; '}{keep}{past}"
    left = _foreign(spoke, hub, theirs=theirs)
    if left:
        return f"{nothing or 'closed; '}what was there before us stays: {left}"
    if wrote:
        return nothing + ("revoked; account A has let go" if theirs else "dissociated and revoked")
    return f"{nothing or 'closed; '}nothing of ours was up any more"


def _up(wanted: Wanted, spoke: SideRecord, hub: SideRecord, *, wrote: bool, theirs: bool) -> str:
    already = "" if wrote else "already "
    whose = "granted; the association is account A's to make" if theirs else "granted and associated"
    text = f"{already}{whose}"
    left = _foreign(spoke, hub, theirs=theirs)
    if not left:
        return text
    differ = not theirs and hub.ours is False and set(hub.prefixes) != set(wanted.beside(hub.prefixes))
    approved = f" (approved are {', '.join(wanted.prefixes)})" if differ else ""
    return f"{text}; this was there before us and stays when the leases end: {left}{approved}"


def _foreign(spoke: SideRecord, hub: SideRecord, *, theirs: bool) -> str:
    """What stands there that is not ours."""
    found = []
    if spoke.state == State.PRESENT and not spoke.ours:
        found.append("the grant")
    if not theirs and not hub.nothing_up and not hub.ours:
        routes = f" with the prefixes {', '.join(hub.prefixes)}" if hub.prefixes else ""
        found.append(f"the association{routes}")
    return " and ".join(found)
