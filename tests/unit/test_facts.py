"""When a side has nothing left to do, and whether the other one has let go: what both sides wait for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.messages.forms import GrantKey, InstanceType
from shared.rules.facts import Intent, Operation, Side, SideRecord, Standing, State, Work
from shared.rules.leases import Level, Wanted

KEY = GrantKey("ecr-1", "1000000000000001", InstanceType.VPC, "vpc-1", "cn-hangzhou", "2000000000000002")
UP, DOWN = Wanted(Level.UP, ("10.0.0.0/16",)), Wanted(Level.DOWN)
MINE = SideRecord(Side.GRANT, 2, UP, State.PRESENT, True, None, (), 1, 0, None, None, False, False, None, 0)
OTHER = replace(MINE, side=Side.ASSOCIATE, state="ACTIVE")
INTENT = Intent("i-1", Operation.GRANT, 2, 1, ())
AT_REST = Work("g-1", KEY, 2, UP, MINE, OTHER, (), (), None)
"""Both sides have observed the leases as they are now, and no write is under way."""


@pytest.mark.parametrize(
    ("seen", "settled"),
    [
        pytest.param({}, True, id="what was observed is what is wanted now"),
        pytest.param({"observed_generation": 1}, False, id="the leases have changed since, back to the same wish"),
        pytest.param({"observed_wanted": DOWN}, False, id="it came to rest with less than the ledger wants"),
        pytest.param({"observed_generation": 1, "observed_wanted": DOWN}, False, id="it rests with older leases"),
        pytest.param({"observed_wanted": None}, False, id="it never came to rest"),
    ],
)
def test_a_side_has_settled_when_it_observed_what_is_wanted_now(seen: dict[str, Any], settled: bool) -> None:
    """Either side; what the one observed says nothing about the other."""
    mine, other = replace(AT_REST, mine=replace(MINE, **seen)), replace(AT_REST, other=replace(OTHER, **seen))
    assert (mine.settled, mine.other_settled) == (settled, True)
    assert (other.settled, other.other_settled) == (True, settled)


def test_no_side_has_settled_while_a_write_may_land() -> None:
    """Its own intent, or one of the other side until it cannot land any more."""
    assert not replace(AT_REST, my_intents=(INTENT,)).settled
    assert replace(AT_REST, my_intents=(INTENT,)).other_settled
    assert not replace(AT_REST, other_pending=5).other_settled
    assert replace(AT_REST, other_pending=5).settled


@pytest.mark.parametrize(
    ("state", "pending", "gone"),
    [
        pytest.param(State.ABSENT, None, True, id="nothing is there, and nothing is on its way"),
        pytest.param(State.UNKNOWN, None, True, id="it never had anything up"),
        pytest.param(State.ABSENT, 5, False, id="a write of it may still land"),
        pytest.param("ACTIVE", None, False, id="it is still up"),
        pytest.param("DISSOCIATING", None, False, id="it is still letting go"),
    ],
)
def test_the_other_side_has_let_go_when_nothing_is_up_and_nothing_may_land(
    state: str, pending: int | None, gone: bool
) -> None:
    """Before that account B revokes nothing."""
    assert replace(AT_REST, other=replace(OTHER, state=state), other_pending=pending).other_gone is gone


@pytest.mark.parametrize("late", [{"observed_generation": 1}, {"observed_wanted": None}])
def test_a_grant_is_compared_with_the_cloud_once_both_sides_rest(late: dict[str, Any]) -> None:
    """While one of them is at work, the cloud differs as it should."""
    assert Standing(KEY, 2, MINE, OTHER).settled
    assert not Standing(KEY, 2, replace(MINE, **late), OTHER).settled
    assert not Standing(KEY, 2, MINE, replace(OTHER, **late)).settled


def test_each_side_is_the_others_other() -> None:
    """There are two."""
    assert [side.other for side in (Side.GRANT, Side.ASSOCIATE)] == [Side.ASSOCIATE, Side.GRANT]
