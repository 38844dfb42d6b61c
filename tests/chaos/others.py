"""What others do on the model cloud: administrators of the accounts, unasked, and account A's own automation."""

from __future__ import annotations

from dataclasses import replace

from shared.messages.forms import GrantKey
from shared.rules.facts import Side
from tests.chaos.model_cloud import STALE_MS, Granted, Link
from tests.chaos.model_schedule import Op
from tests.chaos.model_world import ROUTES, THEIRS, routes
from tests.chaos.story import Story


def meddle(story: Story, op: Op, key: GrantKey) -> bool:
    """At rest, somebody else changes something on the cloud; and nobody looks while reads may be older than that."""
    place, now = story.cloud.places[key], story.turns.now
    granted, link = place.granted.now, place.link.now
    if key.ecr_id == THEIRS or not place.exists.now or story.unprovable(key):
        return False
    chance, expected = op.c % 7, set[str]()
    if chance == 6 and op.a % 3 == 0:
        what = "deleted the instance"
        expected = {"instance-deleted"} if story.leases(key) else set()
        place.exists.set(now, False)
        place.granted.set(now, None)
        place.link.set(now, None)
        _theirs_no_more(story, key)
    elif granted is None:
        what, expected = "granted", {"foreign-grant"}
        place.granted.set(now, Granted(ours=False))
        story.foreign[(key, Side.GRANT)] = ()
    elif link is None and chance < 4:
        what, expected = "associated", {"foreign-association"}
        place.link.set(now, Link(False, f"foreign-{now}", "ACTIVE", routes(key, 2)))
        story.foreign[(key, Side.ASSOCIATE)] = routes(key, 2)
    elif link is None:
        what = "revoked"
        place.granted.set(now, None)
        _theirs_no_more(story, key)
    elif chance < 2 and key.instance_type == "VPC":
        what = "changed the prefixes"
        expected = {"prefixes-differ"} if story.leases(key) and link.ours else set()
        other = tuple(sorted({"172.16.0.0/12", *link.prefixes}))
        place.link.set(now, replace(link, prefixes=other))
        if (key, Side.ASSOCIATE) in story.foreign:
            story.foreign[(key, Side.ASSOCIATE)] = other
    elif chance < 4:
        what = "dissociated"
        expected = {"association-missing"} if story.leases(key) else set()
        place.link.set(now, None)
        story.foreign.pop((key, Side.ASSOCIATE), None)
    else:
        what = "dissociated and revoked"
        expected = {"association-missing", "grant-missing"} if story.leases(key) else set()
        place.link.set(now, None)
        place.granted.set(now, None)
        _theirs_no_more(story, key)
    story.touched[key] = now, expected
    story.referee.excused.add(key.instance_id)
    story.counts[f"somebody else: {what}"] += 1
    story.say(f"somebody else {what}: {key.instance_id}")
    story.turns.turn(STALE_MS + 1)
    return True


def _theirs_no_more(story: Story, key: GrantKey) -> None:
    for side in (Side.GRANT, Side.ASSOCIATE):
        story.foreign.pop((key, side), None)


def automate(story: Story) -> None:
    """Account A's own automation acts on what it heard last."""
    for key, robot in story.robots.items():
        place, now = story.cloud.places[key], story.turns.now
        link = place.link.now
        if robot.wants and link is None and place.granted.now is not None:
            story.cloud.start_link(key, now, Link(False, f"theirs-{now}", "CREATING", (ROUTES[0],)))
            story.counts["their own automation: associated"] += 1
        if not robot.wants and link is not None and link.status == "ACTIVE":
            story.cloud.end_link(key, now)
            story.counts["their own automation: dissociated"] += 1
