"""The rules of both sides: facts in, one step out."""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest

from shared.rules.leases import Wanted
from shared.rules.steps import HubFacts, SpokeFacts, Step, believable, hub_step, spoke_step

UP = Wanted(up=True, prefixes=("10.0.0.0/16",))
DOWN = Wanted(up=False)

SPOKE = SpokeFacts(
    wanted=UP,
    found=True,
    granted=False,
    associated=False,
    ours=False,
    open_intent=False,
    other_pending=False,
    other_gone=False,
)
HUB = HubFacts(
    wanted=UP,
    status=None,
    prefixes=(),
    ours=False,
    takes_prefixes=True,
    open_intent=False,
    other_pending=False,
    granted=True,
)


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, Step.CREATE),
        ({"granted": True}, Step.SETTLE),
        ({"found": False}, Step.REFUSE),
        ({"open_intent": True}, Step.LATER),
        ({"other_pending": True}, Step.LATER),
        ({"wanted": DOWN}, Step.SETTLE),
        ({"wanted": DOWN, "found": False}, Step.SETTLE),
        ({"wanted": DOWN, "granted": True}, Step.SETTLE),  # foreign: not ours to take down
        ({"wanted": DOWN, "granted": True, "ours": True, "other_gone": True}, Step.REMOVE),
        ({"wanted": DOWN, "granted": True, "ours": True}, Step.WAIT),
        ({"wanted": DOWN, "granted": True, "ours": True, "other_gone": True, "associated": True}, Step.WAIT),
        ({"wanted": DOWN, "granted": True, "ours": True, "other_gone": True, "other_pending": True}, Step.LATER),
    ],
)
def test_account_b_grants_what_is_wanted_and_revokes_after_account_a(changes: dict[str, object], step: Step) -> None:
    """Each row is a situation and the one thing to do in it."""
    assert spoke_step(dataclasses.replace(SPOKE, **changes)) is step  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, Step.CREATE),
        ({"granted": False}, Step.WAIT),
        ({"other_pending": True}, Step.LATER),
        ({"open_intent": True}, Step.LATER),
        ({"status": "CREATING"}, Step.LATER),
        ({"status": "ACTIVE", "prefixes": UP.prefixes, "ours": True}, Step.SETTLE),
        ({"status": "ACTIVE", "prefixes": (), "ours": True}, Step.CHANGE),
        ({"status": "ACTIVE", "prefixes": ()}, Step.SETTLE),  # foreign: not ours to change
        ({"status": "ACTIVE", "ours": True, "takes_prefixes": False}, Step.SETTLE),
        ({"wanted": DOWN}, Step.SETTLE),
        ({"wanted": DOWN, "status": "ACTIVE"}, Step.SETTLE),
        ({"wanted": DOWN, "status": "ACTIVE", "ours": True}, Step.REMOVE),
        ({"wanted": DOWN, "status": "DISSOCIATING", "ours": True}, Step.LATER),
    ],
)
def test_account_a_associates_what_is_granted_and_lets_go_first(changes: dict[str, object], step: Step) -> None:
    """Each row is a situation and the one thing to do in it."""
    assert hub_step(dataclasses.replace(HUB, **changes)) is step  # type: ignore[arg-type]


def test_nothing_foreign_is_ever_removed() -> None:
    """Whatever else is true, what we did not put up is not taken down, nor changed."""
    flags = list(product([True, False], repeat=5))
    for found, granted, associated, other_pending, other_gone in flags:
        facts = SpokeFacts(DOWN, found, granted, associated, False, False, other_pending, other_gone)
        assert spoke_step(facts) is not Step.REMOVE
    for wanted, status in product([UP, DOWN], [None, "CREATING", "ACTIVE", "INACTIVE", "DISSOCIATING"]):
        assert hub_step(HubFacts(wanted, status, (), False, True, False, False, True)) not in (Step.REMOVE, Step.CHANGE)


@pytest.mark.parametrize(
    ("contradicted_at", "trusted"), [([], True), ([90], True), ([91], False), ([80, 90], True), ([80, 99], False)]
)
def test_a_look_so_soon_after_a_write_that_it_contradicts_proves_nothing(
    contradicted_at: list[int], trusted: bool
) -> None:
    """A look may be older than it seems, and a write may still be on its way."""
    assert believable(contradicted_at=contradicted_at, at=100, settle=10) is trusted
