"""What a request is told in the end: what was last read on the cloud, and what of the request holds. Plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.messages.approval import Action
from shared.rules.facts import SideRecord, State
from shared.rules.leases import Level, Wanted

_NAMES_SHOWN = 5


@dataclass(frozen=True)
class NotClosed:
    """A request id that a revoke names without closing a lease by it: ``over`` when its lease on this grant did not count any
    more, ``of`` when it is a lease of another grant, which that names; else nothing goes by it yet.
    """

    request_id: str
    over: bool = False
    of: str | None = None


def done_text(
    action: Action,
    wanted: Wanted,
    spoke: SideRecord,
    hub: SideRecord,
    *,
    wrote: bool,
    theirs: bool,
    closed: bool = True,
    missed: Sequence[NotClosed] = (),
) -> str:
    """The sentence for a request that is done. ``wrote``: a write of ours made it so. ``theirs``: account A's own automation
    makes the association. Of a revoke: ``closed``, whether it closed anything; ``missed``, what it named and did not close."""
    if action is Action.GRANT:
        return _up(wanted, spoke, hub, wrote=wrote, theirs=theirs)
    but = "".join(f"{part}; " for part in _missed(missed, closed=closed))
    if not wanted.down:
        keep = "other leases keep the grant up"
        past = ", past their end and reported only" if wanted.level is Level.KEEP else ""
        return f"{but}{'closed; ' if closed else ''}{keep}{past}"
    left = _foreign(spoke, hub, theirs=theirs)
    if left:
        return f"{but}{'closed; ' if closed else ''}what was there before us stays: {left}"
    if wrote:
        return but + ("revoked; account A has let go" if theirs else "dissociated and revoked")
    return f"{but}{'closed; ' if closed else ''}nothing of ours was up any more"


def _missed(missed: Sequence[NotClosed], *, closed: bool) -> list[str]:
    """What goes by the names that closed nothing: a misspelt one, one of another grant and one that is over differ."""
    over = [one.request_id for one in missed if one.over]
    elsewhere = [f"{one.request_id} is a lease of {one.of}" for one in missed if one.of is not None]
    unknown = [one.request_id for one in missed if not one.over and one.of is None]
    found = []
    if over:
        found.append(f"what was over already: {_some(over)}")
    if elsewhere:
        found.append(f"another grant, which this does not touch: {_some(elsewhere)}")
    if unknown:
        all_of_them = len(unknown) == len(missed) and not closed
        names = "that name" if all_of_them else f"the name {_some(unknown)}"
        found.append(f"nothing by {names} was open on this grant, and the close stands for when it comes")
    return found


def _some(names: Sequence[str]) -> str:
    """Names in a sentence, and how many more there are."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


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
