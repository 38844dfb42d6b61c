"""What differs between ledger and cloud, and when it no longer does: plain functions of plain values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.messages.forms import GrantKey, InstanceType
from shared.rules.drift import CloudSeen, drifts, gone_again, how_it_ended, still_so, strangers, wants_made
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


GONE: dict[str, Any] = {"state": State.ABSENT, "ours": None}
OURS: dict[str, Any] = {"state": State.PRESENT, "ours": True}
THEIRS: dict[str, Any] = {"state": State.PRESENT, "ours": False}


ECR, SPOKE = (KEY.ecr_owner_uid, KEY.ecr_id), (KEY.instance_owner_uid, KEY.instance_region)
NOTHING = CloudSeen(
    ecrs_read=frozenset({ECR}),
    ecrs_gone=frozenset(),
    spokes_read=frozenset({SPOKE}),
    granted=frozenset(),
    associations={},
    missing=frozenset(),
    listed=frozenset({KEY.instance_owner_uid}),
)
"""Both accounts could be read, and show nothing."""


def shown(*prefixes: str, status: str = "ACTIVE", key: GrantKey = KEY, **other: Any) -> CloudSeen:
    """Both accounts could be read, and show the grant and the association."""
    both = replace(NOTHING, granted=frozenset({key}), associations={key: AssociationSeen(status, "a-1", prefixes)})
    return replace(both, **other)


def standing(
    wanted: Wanted | None, before: dict[str, Any], found: tuple[DriftKind, DriftKind] | None = None, key: GrantKey = KEY
) -> Standing:
    """Both sides at rest with the same facts; ``found``: what was reported of each."""
    reported = (None, None) if found is None else found
    grant, associate = (
        replace(row(side, DOWN, State.ABSENT, ours=None, found=kind), **(before | {"observed_wanted": wanted}))
        for side, kind in zip((Side.GRANT, Side.ASSOCIATE), reported, strict=True)
    )
    return Standing(key, 1, grant, associate)


def told(about: Standing, seen: CloudSeen, *, ours: bool = True) -> list[tuple[Side, DriftKind, str]]:
    """What differs, and how it is said."""
    found = list(drifts(about, seen, ours=ours))
    assert {one.key for one in found} <= {about.key}
    return [(one.side, one.kind, one.text) for one in found]


WHERE = "VPC vpc-1 of account 2000000000000002"
LACK = [
    (Side.GRANT, M, f"the grant of {WHERE} to ecr-1 is gone"),
    (Side.ASSOCIATE, A, f"{WHERE} is no longer associated with ecr-1"),
]
STRANGE = [
    (Side.GRANT, FG, f"{WHERE} is granted to ecr-1, and no lease of ours wants it"),
    (Side.ASSOCIATE, FA, f"{WHERE} is associated with ecr-1, and no lease of ours wants it"),
]


def routes(shown: str, approved: str) -> list[tuple[Side, DriftKind, str]]:
    """That other prefixes stand there than were approved."""
    return [(Side.ASSOCIATE, P, f"{WHERE}: allowed prefixes are {shown}, approved are {approved}")]


@pytest.mark.parametrize(
    ("wanted", "before", "found", "seen", "differs"),
    [
        pytest.param(UP, OURS, None, shown(*NET), [], id="as approved"),
        pytest.param(UP, OURS, None, NOTHING, LACK, id="somebody took both away"),
        pytest.param(UP, OURS, None, shown(*NET, granted=frozenset()), LACK[:1], id="somebody took the grant away"),
        pytest.param(UP, OURS, None, shown(associations={}), LACK[1:], id="somebody dissociated it"),
        pytest.param(UP, OURS, None, shown(*OTHER), routes(*OTHER, *NET), id="somebody changed the prefixes"),
        pytest.param(
            UP,
            OURS,
            None,
            shown(*NET, *OTHER),
            routes("10.2.0.0/16, 10.9.0.0/16", *NET),
            id="somebody added a prefix: all that stand are told",
        ),
        pytest.param(
            Wanted(Level.UP, NET + OTHER),
            OURS,
            None,
            shown(),
            routes("none", "10.2.0.0/16, 10.9.0.0/16"),
            id="somebody took every prefix out: nothing is restricted",
        ),
        pytest.param(
            UP, OURS, None, shown(*OTHER, status="UPDATING"), [], id="the platform is at it: prefixes are not compared"
        ),
        pytest.param(UP, THEIRS, None, shown(*OTHER), routes(*OTHER, *NET), id="a lease rests on what was there"),
        pytest.param(KEEP, OURS, None, shown(*NET), [], id="past its end it keeps what stands"),
        pytest.param(KEEP, OURS, None, NOTHING, LACK, id="past its end what it kept is missed"),
        pytest.param(KEEP, OURS, None, shown(*OTHER), routes(*OTHER, "none"), id="past its end no other prefix"),
        pytest.param(KEEP, GONE, None, shown(*NET), STRANGE, id="what comes after the end is nobody's wish"),
        pytest.param(KEEP, THEIRS, (FG, FA), shown(*NET), STRANGE, id="and stays so once it was found"),
        pytest.param(KEEP, THEIRS, None, shown(*NET), [], id="it keeps what was there before it, too"),
        pytest.param(DOWN, GONE, None, NOTHING, [], id="nothing wanted, nothing there"),
        pytest.param(DOWN, GONE, None, shown(*NET), STRANGE, id="nothing wanted, and somebody put it up"),
        pytest.param(DOWN, THEIRS, None, shown(*NET), [], id="left alone knowingly"),
        pytest.param(DOWN, THEIRS, (FG, FA), shown(*NET), STRANGE, id="reported, so it stays reported"),
        pytest.param(None, GONE, None, shown(*NET), STRANGE, id="it never came to rest with leases"),
        pytest.param(None, GONE, None, NOTHING, [], id="it never came to rest with leases, and nothing is there"),
    ],
)
def test_what_differs(
    wanted: Wanted | None,
    before: dict[str, Any],
    found: tuple[DriftKind, DriftKind] | None,
    seen: CloudSeen,
    differs: list[tuple[Side, DriftKind, str]],
) -> None:
    """Both sides at rest with the same facts, and both accounts' views: on which side, what, and in words."""
    assert told(standing(wanted, before, found), seen) == differs


@pytest.mark.parametrize("seen", [NOTHING, shown(*OTHER)])
def test_an_association_that_is_account_as_own_is_not_missed(seen: CloudSeen) -> None:
    """Nor are its prefixes judged: both are account A's to make. The grant is ours all the same."""
    assert told(standing(UP, OURS), seen, ours=False) == ([] if seen.granted else LACK[:1])


def test_the_prefixes_of_a_vbr_are_not_judged() -> None:
    """The association of a VBR takes none."""
    key = replace(KEY, instance_type=InstanceType.VBR, instance_id="vbr-1")
    assert told(standing(Wanted(Level.UP), OURS, key=key), shown(*NET, key=key)) == []


@pytest.mark.parametrize(
    ("unseen", "differs"),
    [
        pytest.param({"ecrs_read": frozenset()}, [], id="account A could not be read"),
        pytest.param({"spokes_read": frozenset()}, [], id="account B could not be read"),
        pytest.param({"ecrs_read": frozenset(), "spokes_read": frozenset()}, [], id="neither could be read"),
        pytest.param({"ecrs_read": frozenset(), "listed": frozenset()}, [], id="B is not listed, and A was not read"),
        pytest.param(
            {"spokes_read": frozenset(), "listed": frozenset()}, LACK, id="B is not listed: A's view is enough"
        ),
    ],
)
def test_an_account_that_could_not_be_read_says_nothing(
    unseen: dict[str, Any], differs: list[tuple[Side, DriftKind, str]]
) -> None:
    """Not that something is gone, either."""
    assert told(standing(UP, OURS), replace(NOTHING, **unseen)) == differs


@pytest.mark.parametrize("wanted", [UP, KEEP, DOWN, None])
def test_a_router_that_changed_hands_is_told_once(wanted: Wanted | None) -> None:
    """Where leases rest on it; and nothing else is said of it, since nobody can look behind it any more."""
    gone = replace(NOTHING, ecrs_gone=frozenset({ECR}), ecrs_read=frozenset(), spokes_read=frozenset())
    text = "account 1000000000000001 no longer owns ecr-1"
    rests = wanted is not None and not wanted.down
    assert told(standing(wanted, OURS), gone) == ([(Side.GRANT, O, text)] if rests else [])


MISSING = replace(NOTHING, missing=frozenset({(KEY.instance_owner_uid, KEY.instance_id)}))
UNLISTED = replace(NOTHING, listed=frozenset())


@pytest.mark.parametrize(
    ("wanted", "found", "seen", "differs"),
    [
        pytest.param(UP, None, MISSING, f"{WHERE} is gone from region cn-hangzhou", id="nobody can grant it again"),
        pytest.param(DOWN, None, MISSING, None, id="nobody wants it"),
        pytest.param(UP, (D, D), UNLISTED, "as found", id="and then its account was taken off the list: as it was"),
        pytest.param(DOWN, (D, D), UNLISTED, None, id="off the list, and nobody wants it"),
    ],
)
def test_an_instance_that_is_gone_is_told_and_nothing_else_of_it(
    wanted: Wanted, found: tuple[DriftKind, DriftKind] | None, seen: CloudSeen, differs: str | None
) -> None:
    """Its grant and its association went with it."""
    expected = [] if differs is None else [(Side.GRANT, D, differs)]
    assert told(standing(wanted, OURS if found is None else GONE, found), seen) == expected


@pytest.mark.parametrize(
    ("found", "seen", "differs"),
    [
        pytest.param((D, D), NOTHING, LACK, id="it is listed, and there: only its grant is missing"),
        pytest.param((M, A), UNLISTED, LACK, id="its grant was missed before its account was taken off the list"),
        pytest.param((D, D), replace(shown(*NET), listed=frozenset()), [], id="account A shows the grant: it is back"),
        pytest.param(None, replace(MISSING, listed=frozenset()), LACK, id="who is not listed was not asked for it"),
    ],
)
def test_only_an_instance_that_was_seen_to_be_gone_is_gone(
    found: tuple[DriftKind, DriftKind] | None, seen: CloudSeen, differs: list[tuple[Side, DriftKind, str]]
) -> None:
    """What was reported before is not believed for longer than nobody can look."""
    assert told(standing(UP, OURS, found), seen) == differs


@pytest.mark.parametrize(("wanted", "made"), [(UP, True), (KEEP, False), (DOWN, False), (None, False)])
def test_what_is_missing_is_made_again_before_the_end_of_what_was_approved(wanted: Wanted | None, made: bool) -> None:
    """And never where no leases have come to rest."""
    assert wants_made(standing(wanted, GONE)) is made


@pytest.mark.parametrize(
    ("wanted", "before", "found", "seen", "again"),
    [
        pytest.param(DOWN, THEIRS, None, NOTHING, True, id="what was left alone is gone"),
        pytest.param(None, THEIRS, None, NOTHING, True, id="gone, and never wanted"),
        pytest.param(DOWN, THEIRS, None, shown(), False, id="it is still there"),
        pytest.param(UP, THEIRS, None, NOTHING, False, id="leases rest on it: it is missed instead"),
        pytest.param(KEEP, THEIRS, None, NOTHING, False, id="leases past their end rest on it"),
        pytest.param(DOWN, OURS, None, NOTHING, False, id="it was ours"),
        pytest.param(DOWN, GONE, None, NOTHING, False, id="nothing was there"),
        pytest.param(DOWN, THEIRS, (FG, FA), NOTHING, False, id="it was reported: that ends otherwise"),
    ],
)
def test_what_was_left_alone_may_go(
    wanted: Wanted | None,
    before: dict[str, Any],
    found: tuple[DriftKind, DriftKind] | None,
    seen: CloudSeen,
    again: bool,
) -> None:
    """Then the ledger forgets it: if it comes back it is somebody's doing."""
    about = standing(wanted, before, found)
    assert [gone_again(about, one, seen) for one in (about.grant, about.associate)] == [again, again]


def test_each_side_goes_by_itself() -> None:
    """The grant is still shown, the association is not; and the other way round."""
    about = standing(DOWN, THEIRS)
    granted, associated = shown(associations={}), shown(granted=frozenset())
    assert [gone_again(about, about.grant, seen) for seen in (granted, associated)] == [False, True]
    assert [gone_again(about, about.associate, seen) for seen in (granted, associated)] == [True, False]


def test_what_nobody_asked_us_for_is_told_in_one_order() -> None:
    """So that two runs say the same of the same cloud, whatever order it lists things in."""
    second = replace(KEY, instance_id="vpc-2")
    in_order = sorted((KEY, second), key=lambda one: one.grant_id)
    expected = [
        *(
            (one, Side.GRANT, FG, f"{one.instance_id} of account {one.instance_owner_uid} is granted to")
            for one in in_order
        ),
        *(
            (one, Side.ASSOCIATE, FA, f"{one.instance_id} of account {one.instance_owner_uid} is associated with")
            for one in in_order
        ),
    ]
    for listed in (in_order, in_order[::-1]):
        assert [(one.key, one.side, one.kind, one.text) for one in strangers(listed, listed)] == [
            (key, side, kind, f"VPC {text} ecr-1, and nobody asked us for it") for key, side, kind, text in expected
        ]


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
    kind: DriftKind, wanted: Wanted, now: dict[str, Any], differ: bool, stays: bool, told: str | None
) -> None:
    """A side may come to rest beside what was found."""
    mine = replace(row(Side.ASSOCIATE, wanted, State.ABSENT, ours=None, found=kind), **now)
    assert still_so(kind, mine, wanted, prefixes_differ=differ) is stays
    if not stays:
        assert how_it_ended(kind, wanted) == told
