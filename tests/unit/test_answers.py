"""What a request is told when it is done: what was seen, what of the request holds, and nothing that was not seen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shared.messages.approval import Action
from shared.rules.answers import NotClosed, done_text
from shared.rules.facts import Side, SideRecord, State
from shared.rules.leases import Level, Wanted

ONE, TWO, THREE = "10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16"
UP, DOWN, KEEP = Wanted(Level.UP, (ONE, TWO)), Wanted(Level.DOWN), Wanted(Level.KEEP, (), (ONE,))
MIXED = Wanted(Level.UP, (ONE,), (TWO,))  # the lease with the second prefix is past its end


def seen(side: Side, state: str, *, ours: bool | None, prefixes: tuple[str, ...] = ()) -> SideRecord:
    """A side as it was last read."""
    return SideRecord(side, 1, None, state, ours, None, prefixes, 1, 0, None, None, False, False, None, 0)


def granted(*, ours: bool) -> SideRecord:
    """Account B's side, with the grant on it."""
    return seen(Side.GRANT, State.PRESENT, ours=ours)


def associated(*prefixes: str, ours: bool, status: str = "ACTIVE") -> SideRecord:
    """Account A's side, with an association."""
    return seen(Side.ASSOCIATE, status, ours=ours, prefixes=prefixes)


NO_GRANT, NO_ASSOCIATION = (seen(side, State.ABSENT, ours=None) for side in (Side.GRANT, Side.ASSOCIATE))
GRANTED, ASSOCIATED = granted(ours=True), associated(ONE, TWO, ours=True)
THEIR_GRANT, THEIR_ASSOCIATION = granted(ours=False), associated(ONE, TWO, ours=False)
STAYS = "this was there before us and stays when the leases end"


@pytest.mark.parametrize(
    ("wanted", "spoke", "hub", "wrote", "theirs", "told"),
    [
        pytest.param(UP, GRANTED, ASSOCIATED, True, False, "granted and associated", id="we made it so"),
        pytest.param(UP, GRANTED, ASSOCIATED, False, False, "already granted and associated", id="it was so already"),
        pytest.param(
            UP,
            GRANTED,
            NO_ASSOCIATION,
            True,
            True,
            "granted; the association is account A's to make",
            id="account A associates by itself: nothing is said of what it has not done yet",
        ),
        pytest.param(
            UP,
            GRANTED,
            associated(THREE, ours=False),
            False,
            True,
            "already granted; the association is account A's to make",
            id="account A associated by itself: it is theirs to word",
        ),
        pytest.param(
            UP,
            THEIR_GRANT,
            ASSOCIATED,
            True,
            False,
            f"granted and associated; {STAYS}: the grant",
            id="somebody had granted it: a revoke will not take that away, so it is said at once",
        ),
        pytest.param(
            UP,
            GRANTED,
            THEIR_ASSOCIATION,
            True,
            False,
            f"granted and associated; {STAYS}: the association with the prefixes {ONE}, {TWO}",
            id="somebody had associated it, with what is approved",
        ),
        pytest.param(
            UP,
            THEIR_GRANT,
            associated(ONE, THREE, ours=False),
            False,
            False,
            f"already granted and associated; {STAYS}: the grant and the association with the prefixes {ONE}, {THREE}"
            f" (approved are {ONE}, {TWO})",
            id="both, and routes that nobody approved",
        ),
        pytest.param(
            UP,
            GRANTED,
            associated(TWO, ONE, ours=False),
            True,
            False,
            f"granted and associated; {STAYS}: the association with the prefixes {TWO}, {ONE}",
            id="the same routes in another order are the same",
        ),
        pytest.param(
            UP,
            GRANTED,
            associated(ours=False),
            True,
            False,
            f"granted and associated; {STAYS}: the association (approved are {ONE}, {TWO})",
            id="an association that is not restricted at all",
        ),
        pytest.param(
            MIXED,
            GRANTED,
            THEIR_ASSOCIATION,
            True,
            False,
            f"granted and associated; {STAYS}: the association with the prefixes {ONE}, {TWO}",
            id="a route of a lease past its end may stay, so it does not differ",
        ),
        pytest.param(
            UP,
            THEIR_GRANT,
            associated(THREE, ours=True),
            True,
            False,
            f"granted and associated; {STAYS}: the grant",
            id="of an association that is ours, routes are not told as somebody's",
        ),
        pytest.param(
            UP,
            THEIR_GRANT,
            associated(THREE, ours=False),
            False,
            True,
            f"already granted; the association is account A's to make; {STAYS}: the grant",
            id="account A's own association is not told as left over",
        ),
    ],
)
def test_a_grant_that_is_done(
    wanted: Wanted, spoke: SideRecord, hub: SideRecord, wrote: bool, theirs: bool, told: str
) -> None:
    """Who associates, whether it was so already, and what a later revoke will leave."""
    assert done_text(Action.GRANT, wanted, spoke, hub, wrote=wrote, theirs=theirs) == told


@pytest.mark.parametrize(
    ("wanted", "spoke", "hub", "wrote", "theirs", "closed", "told"),
    [
        pytest.param(
            DOWN, NO_GRANT, NO_ASSOCIATION, True, False, True, "dissociated and revoked", id="we took it down"
        ),
        pytest.param(
            DOWN,
            NO_GRANT,
            NO_ASSOCIATION,
            True,
            True,
            True,
            "revoked; account A has let go",
            id="account A dissociated by itself",
        ),
        pytest.param(
            DOWN,
            NO_GRANT,
            NO_ASSOCIATION,
            False,
            False,
            True,
            "closed; nothing of ours was up any more",
            id="a lease was closed whose grant was gone already",
        ),
        pytest.param(
            DOWN,
            NO_GRANT,
            NO_ASSOCIATION,
            False,
            False,
            False,
            "nothing of ours was up any more",
            id="nothing was closed, so nothing is said to be",
        ),
        pytest.param(
            DOWN,
            THEIR_GRANT,
            THEIR_ASSOCIATION,
            True,
            False,
            True,
            f"closed; what was there before us stays: the grant and the association with the prefixes {ONE}, {TWO}",
            id="what is not ours is left",
        ),
        pytest.param(
            DOWN,
            THEIR_GRANT,
            NO_ASSOCIATION,
            False,
            False,
            False,
            "what was there before us stays: the grant",
            id="what is not ours is left, and nothing was closed",
        ),
        pytest.param(
            DOWN,
            NO_GRANT,
            seen(Side.ASSOCIATE, State.UNKNOWN, ours=None),
            True,
            False,
            True,
            "dissociated and revoked",
            id="what was never seen is not said to stay",
        ),
        pytest.param(
            UP, GRANTED, ASSOCIATED, False, False, True, "closed; other leases keep the grant up", id="others hold it"
        ),
        pytest.param(
            UP,
            GRANTED,
            ASSOCIATED,
            True,
            False,
            False,
            "other leases keep the grant up",
            id="others hold it, and nothing was closed",
        ),
        pytest.param(
            KEEP,
            GRANTED,
            ASSOCIATED,
            False,
            False,
            True,
            "closed; other leases keep the grant up, past their end and reported only",
            id="others hold it, though they are past their end: somebody has to close those",
        ),
    ],
)
def test_a_revoke_that_is_done(
    wanted: Wanted, spoke: SideRecord, hub: SideRecord, wrote: bool, theirs: bool, closed: bool, told: str
) -> None:
    """Whether it closed anything, and what of the grant is left."""
    assert done_text(Action.REVOKE, wanted, spoke, hub, wrote=wrote, theirs=theirs, closed=closed) == told


def test_a_revoke_of_every_lease_has_closed_them() -> None:
    """It names none, so there is none that it missed."""
    told = done_text(Action.REVOKE, UP, GRANTED, ASSOCIATED, wrote=False, theirs=False)
    assert told == "closed; other leases keep the grant up"


OVER = [NotClosed(f"R-{number}", over=True) for number in range(1, 8)]
OF_ANOTHER = NotClosed("R-8", of="vpc-2 (g-2)")
STANDS = "was open on this grant, and the close stands for when it comes"


@pytest.mark.parametrize(
    ("missed", "closed", "told"),
    [
        pytest.param(
            [NotClosed("R-9")], False, f"nothing by that name {STANDS}; ", id="a name that nothing goes by, alone"
        ),
        pytest.param(
            [NotClosed("R-9")],
            True,
            f"nothing by the name R-9 {STANDS}; closed; ",
            id="a name that nothing goes by, beside one that was closed: which of them is said",
        ),
        pytest.param(
            [NotClosed("R-9"), OVER[0]],
            False,
            f"what was over already: R-1; nothing by the name R-9 {STANDS}; ",
            id="beside one that was over: which of them is said",
        ),
        pytest.param(OVER[:1], True, "what was over already: R-1; closed; ", id="one that was over"),
        pytest.param(
            OVER[:5], False, "what was over already: R-1, R-2, R-3, R-4, R-5; ", id="as many as are told by name"
        ),
        pytest.param(
            OVER, False, "what was over already: R-1, R-2, R-3, R-4, R-5 and 2 more; ", id="more than anybody reads"
        ),
        pytest.param(
            [OF_ANOTHER],
            True,
            "another grant, which this does not touch: R-8 is a lease of vpc-2 (g-2); closed; ",
            id="one of another grant: its revoke has to name that",
        ),
        pytest.param(
            [NotClosed("R-9"), OF_ANOTHER, OVER[0]],
            False,
            "what was over already: R-1; another grant, which this does not touch: R-8 is a lease of vpc-2 (g-2); "
            f"nothing by the name R-9 {STANDS}; ",
            id="one of each",
        ),
    ],
)
@pytest.mark.parametrize(
    ("wanted", "spoke", "left"),
    [
        pytest.param(UP, GRANTED, "other leases keep the grant up", id="still up"),
        pytest.param(DOWN, THEIR_GRANT, "what was there before us stays: the grant", id="not ours"),
        pytest.param(DOWN, NO_GRANT, "nothing of ours was up any more", id="down"),
    ],
)
def test_what_goes_by_the_names_that_closed_nothing(
    missed: Sequence[NotClosed], closed: bool, told: str, wanted: Wanted, spoke: SideRecord, left: str
) -> None:
    """A misspelt name, one of another grant and one that is over are mended in three ways, so they are told apart."""
    text = done_text(
        Action.REVOKE, wanted, spoke, NO_ASSOCIATION, wrote=False, theirs=False, closed=closed, missed=missed
    )
    assert text == told + left


def test_what_was_taken_down_is_told_behind_the_names_that_closed_nothing() -> None:
    """Somebody closed two, misspelt a third, and the grant went."""
    text = done_text(Action.REVOKE, DOWN, NO_GRANT, NO_ASSOCIATION, wrote=True, theirs=False, missed=[NotClosed("R-9")])
    assert text == f"nothing by the name R-9 {STANDS}; dissociated and revoked"
