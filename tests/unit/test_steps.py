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
        pytest.param({}, Step.CREATE, id="wanted, and not there: grant it"),
        pytest.param({"granted": True}, Step.SETTLE, id="wanted, and there, whoever granted it: done"),
        pytest.param({"found": False}, Step.REFUSE, id="wanted, and the instance does not exist: nobody can grant it"),
        pytest.param({"open_intent": True}, Step.LATER, id="wanted, and a write of ours is open: it may still land"),
        pytest.param(
            {"other_pending": True}, Step.LATER, id="wanted, and account A is at work: it may be letting go just now"
        ),
        pytest.param({"wanted": DOWN}, Step.SETTLE, id="not wanted, and not there: done"),
        pytest.param(
            {"wanted": DOWN, "found": False},
            Step.SETTLE,
            id="not wanted, and the instance is gone: nothing is left to revoke",
        ),
        pytest.param(
            {"wanted": DOWN, "granted": True}, Step.SETTLE, id="not wanted, but foreign: not ours to take down"
        ),
        pytest.param(
            {"wanted": DOWN, "granted": True, "ours": True, "other_gone": True},
            Step.REMOVE,
            id="not wanted, ours, and account A has let go: revoke",
        ),
        pytest.param(
            {"wanted": DOWN, "granted": True, "ours": True},
            Step.WAIT,
            id="not wanted, ours, and account A has not settled: it lets go first",
        ),
        pytest.param(
            {"wanted": DOWN, "granted": True, "ours": True, "other_gone": True, "associated": True},
            Step.WAIT,
            id="not wanted, ours, but the instance still shows an association: it carries traffic",
        ),
        pytest.param(
            {"wanted": DOWN, "granted": True, "ours": True, "other_gone": True, "other_pending": True},
            Step.LATER,
            id="not wanted, ours, but a write of account A may still land",
        ),
    ],
)
def test_account_b_grants_what_is_wanted_and_revokes_after_account_a(changes: dict[str, object], step: Step) -> None:
    """Each row is a situation and the one thing to do in it."""
    assert spoke_step(dataclasses.replace(SPOKE, **changes)) is step  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        pytest.param({}, Step.CREATE, id="wanted, granted, and not there: associate it"),
        pytest.param({"granted": False}, Step.WAIT, id="wanted, but not granted yet: nothing to associate"),
        pytest.param({"other_pending": True}, Step.LATER, id="wanted, but a write of account B may still land"),
        pytest.param({"open_intent": True}, Step.LATER, id="wanted, and a write of ours is open: it may still land"),
        pytest.param({"status": "CREATING"}, Step.LATER, id="wanted, and on its way up: it becomes ACTIVE by itself"),
        pytest.param(
            {"status": "ACTIVE", "prefixes": UP.prefixes, "ours": True},
            Step.SETTLE,
            id="wanted, ACTIVE, with the approved prefixes: done",
        ),
        pytest.param(
            {"status": "ACTIVE", "prefixes": (), "ours": True},
            Step.CHANGE,
            id="wanted, ACTIVE and ours, with other prefixes: change them in place",
        ),
        pytest.param(
            {"status": "ACTIVE", "prefixes": ()},
            Step.SETTLE,
            id="wanted, ACTIVE, with other prefixes, but foreign: not ours to change",
        ),
        pytest.param(
            {"status": "ACTIVE", "ours": True, "takes_prefixes": False},
            Step.SETTLE,
            id="wanted, ACTIVE, and an attachment takes no prefixes: done",
        ),
        pytest.param({"wanted": DOWN}, Step.SETTLE, id="not wanted, and not there: done"),
        pytest.param(
            {"wanted": DOWN, "status": "ACTIVE"}, Step.SETTLE, id="not wanted, but foreign: not ours to take down"
        ),
        pytest.param(
            {"wanted": DOWN, "status": "ACTIVE", "ours": True}, Step.REMOVE, id="not wanted, ACTIVE and ours: let go"
        ),
        pytest.param(
            {"wanted": DOWN, "status": "DISSOCIATING", "ours": True},
            Step.LATER,
            id="not wanted, and on its way down: it ends by itself",
        ),
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
    ("contradicted_at", "trusted"),
    [
        pytest.param([], True, id="nothing speaks against it"),
        pytest.param([90], True, id="exactly as old as a look may be behind"),
        pytest.param([91], False, id="one millisecond too young: the look may be older than the write"),
        pytest.param([80, 90], True, id="every write is old enough"),
        pytest.param([80, 99], False, id="one old write does not excuse a young one"),
    ],
)
def test_a_look_so_soon_after_a_write_that_it_contradicts_proves_nothing(
    contradicted_at: list[int], trusted: bool
) -> None:
    """A look may be older than it seems, and a write may still be on its way."""
    assert believable(contradicted_at=contradicted_at, at=100, settle=10) is trusted
