"""What differs between ledger and cloud, and when it no longer does: plain functions of plain values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.messages.forms import GrantKey, InstanceType
from shared.rules.drift import CloudSeen, drifts, how_it_ended, still_so
from shared.rules.facts import AssociationSeen, DriftFound, DriftKind, Side, SideRecord, Standing, State
from shared.rules.leases import Level, Wanted

KEY = GrantKey("ecr-1", "1000000000000001", InstanceType.VPC, "vpc-1", "cn-hangzhou", "2000000000000002")
NET, OTHER = ("10.2.0.0/16",), ("10.9.0.0/16",)
UP, DOWN = Wanted(Level.UP, NET), Wanted(Level.DOWN)
KEEP = Wanted(Level.KEEP, (), NET)

M, A, D = DriftKind.GRANT_MISSING, DriftKind.ASSOCIATION_MISSING, DriftKind.INSTANCE_DELETED
P, O = DriftKind.PREFIXES_DIFFER, DriftKind.ECR_OWNER_CHANGED  # noqa: E741  # as in the table below
FG, FA = DriftKind.FOREIGN_GRANT, DriftKind.FOREIGN_ASSOCIATION


def row(side: Side, wanted: Wanted, state: str, *, ours: bool | None, found: DriftKind | None = None) -> SideRecord:
    """A side at rest."""
    finding = None if found is None else DriftFound(found, "as found", 1)
    return SideRecord(side, 1, wanted, state, ours, None, (), 1, 0, None, None, False, False, finding, 0)


GONE = {"state": State.ABSENT, "ours": None}
OURS = {"state": State.PRESENT, "ours": True}
THEIRS = {"state": State.PRESENT, "ours": False}


@pytest.mark.parametrize(
    ("wanted", "before", "found_before", "shown", "prefixes", "differs"),
    [
        pytest.param(UP, OURS, None, True, NET, set(), id="as approved"),
        pytest.param(UP, OURS, None, False, (), {M, A}, id="somebody took both away"),
        pytest.param(UP, OURS, None, True, OTHER, {P}, id="somebody changed the prefixes"),
        pytest.param(UP, THEIRS, None, True, OTHER, {P}, id="a lease rests on what was there before it"),
        pytest.param(KEEP, OURS, None, True, NET, set(), id="past its end it keeps what stands"),
        pytest.param(KEEP, OURS, None, False, (), {M, A}, id="past its end what it kept is missed"),
        pytest.param(KEEP, OURS, None, True, OTHER, {P}, id="past its end it keeps no other prefix"),
        pytest.param(KEEP, GONE, None, True, NET, {FG, FA}, id="what comes after the end is nobody's wish"),
        pytest.param(KEEP, THEIRS, FA, True, NET, {FG, FA}, id="and stays so once it was found"),
        pytest.param(KEEP, THEIRS, None, True, NET, set(), id="it keeps what was there before it, too"),
        pytest.param(DOWN, GONE, None, False, (), set(), id="nothing wanted, nothing there"),
        pytest.param(DOWN, GONE, None, True, NET, {FG, FA}, id="nothing wanted, and somebody put it up"),
        pytest.param(DOWN, THEIRS, None, True, NET, set(), id="left alone knowingly"),
        pytest.param(DOWN, THEIRS, FA, True, NET, {FG, FA}, id="reported, so it stays reported"),
    ],
)
def test_what_differs(
    wanted: Wanted,
    before: dict[str, object],
    found_before: DriftKind | None,
    shown: bool,
    prefixes: tuple[str, ...],
    differs: set[DriftKind],
) -> None:
    """Both sides at rest with the same facts, and both accounts' views."""
    sides = {
        side: replace(
            row(side, wanted, State.ABSENT, ours=None, found=None if found_before is None else kind),
            **before,  # type: ignore[arg-type]
        )
        for side, kind in ((Side.GRANT, FG), (Side.ASSOCIATE, FA))
    }
    seen = CloudSeen(
        ecrs_read=frozenset({(KEY.ecr_owner_uid, KEY.ecr_id)}),
        ecrs_gone=frozenset(),
        spokes_read=frozenset({(KEY.instance_owner_uid, KEY.instance_region)}),
        granted=frozenset({KEY} if shown else ()),
        associations={KEY: AssociationSeen("ACTIVE", "a-1", prefixes)} if shown else {},
        missing=frozenset(),
        listed=frozenset({KEY.instance_owner_uid}),
    )
    standing = Standing(KEY, 1, sides[Side.GRANT], sides[Side.ASSOCIATE])
    assert {one.kind for one in drifts(standing, seen, ours=True)} == differs


@pytest.mark.parametrize(
    ("kind", "wanted", "now", "differ", "stays", "told"),
    [
        pytest.param(A, UP, OURS, False, False, "repaired", id="it was made again"),
        pytest.param(A, KEEP, GONE, False, True, None, id="a lease past its end makes nothing"),
        pytest.param(A, KEEP, OURS, False, False, "repaired", id="past the end, and it is there again"),
        pytest.param(A, DOWN, GONE, False, False, "no longer wanted", id="nobody wants what was missing"),
        pytest.param(M, KEEP, GONE, False, True, None, id="a missing grant is not made past the end"),
        pytest.param(D, KEEP, GONE, False, True, None, id="a deleted instance stays deleted"),
        pytest.param(D, UP, OURS, False, False, "repaired", id="the instance is there after all"),
        pytest.param(P, UP, THEIRS, True, True, None, id="what is not ours keeps its prefixes"),
        pytest.param(P, UP, OURS, False, False, "repaired", id="the prefixes are as approved again"),
        pytest.param(P, DOWN, GONE, False, False, "no longer wanted", id="there are no prefixes any more"),
        pytest.param(FA, DOWN, THEIRS, False, True, None, id="what is not ours is left alone"),
        pytest.param(FA, DOWN, GONE, False, False, "repaired", id="it is gone"),
        pytest.param(FA, UP, THEIRS, False, False, "wanted now", id="an approval wants what was there"),
        pytest.param(FG, KEEP, THEIRS, False, True, None, id="a lease past its end does not want it"),
        pytest.param(FG, KEEP, OURS, False, False, "wanted now", id="it was adopted"),
        pytest.param(O, UP, OURS, False, True, None, id="nobody looked who owns the router"),
        pytest.param(O, DOWN, GONE, False, False, "no longer wanted", id="nobody needs the router any more"),
    ],
)
def test_what_was_found_is_over_when_it_is_so_no_longer(
    kind: DriftKind, wanted: Wanted, now: dict[str, object], differ: bool, stays: bool, told: str | None
) -> None:
    """A side may come to rest beside what was found."""
    mine = replace(row(Side.ASSOCIATE, wanted, State.ABSENT, ours=None, found=kind), **now)  # type: ignore[arg-type]
    assert still_so(kind, mine, wanted, prefixes_differ=differ) is stays
    if not stays:
        assert how_it_ended(kind, wanted) == told
