"""What a request would change of its grant: leases and both sides, before anybody has agreed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.messages.approval import DESK, Ecr, Instance, OnEnd
from shared.messages.consent import Asked, Strength, Voice, Wish
from shared.messages.forms import InstanceType
from shared.rules.effect import Becomes, effect_of
from shared.rules.leases import Lease, Level

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
WIDE, OTHER = "10.20.0.0/16", "10.21.0.0/24"


def lease(name: str, *prefixes: str, issuer: str = DESK, **more: Any) -> Lease:
    """One that stands."""
    at = round(NOW.timestamp() * 1000)
    return Lease(name, issuer, name, "", at, None, OnEnd.TEARDOWN, prefixes, at, done=True, **more)


def asked(kind: str, *prefixes: str, **more: Any) -> Asked:
    """A request, just asked."""
    wish = Wish(
        kind=kind,
        ecr=Ecr(id="ecr-example1", owner_uid="1000000000000001"),
        instance=Instance(type=InstanceType.VPC, id="vpc-example1", region="cn-hangzhou", owner_uid="2000000000000002"),
        allowed_prefixes=list(prefixes),
        reason="A test needs it",
        **more,
    )
    by = Voice(person="requester", subject="ram:requester", strength=Strength.FRESH)
    return Asked(request_id="r-new", at=NOW, wish=wish, by=by, lapses_at=NOW + timedelta(days=7), configuration=1)


def test_the_first_lease_makes_both_sides() -> None:
    """With its prefixes."""
    found = effect_of(asked("grant", WIDE), [])
    assert (found.before.level, found.after.level) == (Level.DOWN, Level.UP)
    assert found.grant("absent") is Becomes.MADE
    assert found.association("unknown", ()) is Becomes.MADE
    assert found.after.prefixes == (WIDE,)


def test_another_lease_adds_its_prefixes() -> None:
    """And ends nobody's."""
    found = effect_of(asked("grant", OTHER), [lease("r-old", WIDE)])
    assert (found.ends, [one.request_id for one in found.stays]) == ((), ["r-old"])
    assert found.grant("present") is Becomes.STAYS
    assert found.association("ACTIVE", (WIDE,)) is Becomes.SET
    assert found.after.prefixes == (WIDE, OTHER)
    assert found.association("ACTIVE", (OTHER, WIDE)) is Becomes.STAYS


def test_a_change_ends_what_it_replaces() -> None:
    """Of the desk's: another issuer's request of the same name is another."""
    standing = [lease("r-old", WIDE), lease("r-kept", OTHER), lease("r-old", WIDE, issuer="tickets")]
    found = effect_of(asked("change", OTHER, replaces=["r-old"]), standing)
    assert [(one.issuer, one.request_id) for one in found.ends] == [(DESK, "r-old")]


@pytest.mark.parametrize(
    ("closes", "ends"),
    [(["r-old"], {"r-old"}), ("all", {"r-old", "r-kept"}), ("everyone", {"r-old", "r-kept", "REQ-1"})],
)
def test_a_revoke_ends_what_it_closes(closes: Any, ends: set[str]) -> None:
    """And takes down what nothing keeps up then."""
    standing = [lease("r-old", WIDE), lease("r-kept", OTHER), lease("REQ-1", issuer="tickets")]
    found = effect_of(asked("revoke", closes=closes), standing)
    assert {one.request_id for one in found.ends} == ends
    gone = ends == {"r-old", "r-kept", "REQ-1"}
    assert found.grant("present") is (Becomes.TAKEN_DOWN if gone else Becomes.STAYS)
    assert found.association("ACTIVE", (OTHER,)) is (Becomes.TAKEN_DOWN if gone else Becomes.STAYS)
    assert found.grant("absent") is (Becomes.NOTHING if gone else Becomes.MADE)


def test_past_all_ends_nothing_is_made() -> None:
    """What is there stays until it is ended; what is not there is not made."""
    overdue = [lease("r-old", WIDE, overdue=True), lease("r-more", OTHER)]
    found = effect_of(asked("revoke", closes=["r-more"]), overdue)
    assert found.after.level is Level.KEEP
    assert (found.grant("present"), found.grant("absent")) == (Becomes.STAYS, Becomes.NOTHING)
