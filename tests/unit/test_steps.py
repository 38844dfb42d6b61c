"""The rules of both sides: facts in, one step out."""

from __future__ import annotations

import dataclasses
from itertools import product

import pytest

from shared.rules.facts import Hold, HoldKind, Mode, Stops
from shared.rules.leases import Level, Wanted
from shared.rules.steps import HubFacts, SpokeFacts, Step, allowed, believable, hub_step, spoke_step, stops

ONE, TWO, THREE = "10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16"
UP = Wanted(Level.UP, prefixes=(ONE,))
KEEP = Wanted(Level.KEEP, may_stay=(ONE,))
DOWN = Wanted(Level.DOWN)
MIXED = Wanted(Level.UP, prefixes=(ONE, TWO), may_stay=(THREE,))
NO_CREATING, NO_REMOVING, NOTHING = Stops(create="no"), Stops(remove="no"), Stops("no", "no")

SPOKE = SpokeFacts(
    wanted=UP,
    stops=Stops(),
    found=True,
    granted=False,
    associated=False,
    elsewhere=False,
    ours=False,
    open_intent=False,
    other_pending=False,
    other_gone=False,
)
HUB = HubFacts(
    wanted=UP,
    stops=Stops(),
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
        pytest.param(
            {"elsewhere": True}, Step.REFUSE, id="wanted, but the instance hangs on another ECR: a useless grant (c15)"
        ),
        pytest.param(
            {"granted": True, "elsewhere": True}, Step.SETTLE, id="wanted and there, on another ECR too: it is left"
        ),
        pytest.param({"stops": NO_CREATING}, Step.HOLD, id="wanted, but a person says that nothing is made"),
        pytest.param({"stops": NO_REMOVING}, Step.CREATE, id="wanted, and only removal is held: grant it"),
        pytest.param(
            {"stops": NO_CREATING, "found": False},
            Step.REFUSE,
            id="held, and the instance does not exist: no lift helps",
        ),
        pytest.param({"stops": NOTHING, "granted": True}, Step.SETTLE, id="held, but as wanted: done"),
        pytest.param(
            {"stops": NOTHING, "open_intent": True}, Step.LATER, id="held, and a write is open: it is resolved"
        ),
        pytest.param({"wanted": KEEP}, Step.SETTLE, id="only kept, and not there: it is not made again (r03)"),
        pytest.param({"wanted": KEEP, "found": False}, Step.SETTLE, id="only kept, and the instance is gone: done"),
        pytest.param(
            {"wanted": KEEP, "granted": True, "ours": True}, Step.SETTLE, id="only kept, and there: left alone"
        ),
        pytest.param(
            {"wanted": KEEP, "open_intent": True}, Step.LATER, id="only kept, and a write is open: look again"
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
        pytest.param(
            {"wanted": DOWN, "granted": True, "ours": True, "other_gone": True, "stops": NO_REMOVING},
            Step.HOLD,
            id="not wanted, ours, and account A has let go, but a person says that nothing is taken down",
        ),
        pytest.param(
            {"wanted": DOWN, "granted": True, "ours": True, "other_gone": True, "stops": NO_CREATING},
            Step.REMOVE,
            id="not wanted, and only creating is held: revoke",
        ),
        pytest.param(
            {"wanted": DOWN, "granted": True, "ours": True, "stops": NOTHING},
            Step.WAIT,
            id="not wanted, everything is held, but account A lets go first: it says so, not we",
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
        pytest.param({"stops": NO_CREATING}, Step.HOLD, id="wanted, but a person says that nothing is made"),
        pytest.param(
            {"stops": NO_CREATING, "granted": False}, Step.WAIT, id="held, and not granted yet: it is account B's turn"
        ),
        pytest.param({"wanted": KEEP}, Step.SETTLE, id="only kept, and not there: it is not made again"),
        pytest.param(
            {"wanted": KEEP, "status": "ACTIVE", "prefixes": (ONE,), "ours": True},
            Step.SETTLE,
            id="only kept, and there, with prefixes that may stay: left alone",
        ),
        pytest.param(
            {"wanted": KEEP, "status": "ACTIVE", "prefixes": (ONE, TWO), "ours": True},
            Step.CHANGE,
            id="only kept, with a prefix that nobody approved: that one goes",
        ),
        pytest.param(
            {"status": "ACTIVE", "prefixes": (), "ours": True, "stops": NO_CREATING},
            Step.HOLD,
            id="a prefix is missing, but nothing is widened: held",
        ),
        pytest.param(
            {"status": "ACTIVE", "prefixes": (ONE, TWO), "ours": True, "stops": NO_REMOVING},
            Step.HOLD,
            id="a prefix is too many, but nothing is narrowed: held (r13)",
        ),
        pytest.param(
            {"status": "ACTIVE", "prefixes": (TWO,), "ours": True, "stops": NO_REMOVING},
            Step.CHANGE,
            id="one is missing and one too many, and nothing is narrowed: the missing one is added",
        ),
        pytest.param(
            {"status": "ACTIVE", "prefixes": (TWO,), "ours": True, "stops": NO_CREATING},
            Step.HOLD,
            id="one is missing and the only one too many, and nothing is widened: an empty list would restrict nothing",
        ),
        pytest.param(
            {"wanted": MIXED, "status": "ACTIVE", "prefixes": (ONE, "9.0.0.0/8"), "ours": True, "stops": NO_CREATING},
            Step.CHANGE,
            id="one is missing and one too many, and nothing is widened: the one too many goes",
        ),
        pytest.param(
            {"wanted": KEEP, "status": "ACTIVE", "prefixes": (TWO,), "ours": True},
            Step.SETTLE,
            id="only kept, with nothing that anybody approved: left, since an empty list would restrict nothing",
        ),
        pytest.param(
            {"status": "ACTIVE", "prefixes": (TWO,), "ours": True, "stops": NOTHING},
            Step.HOLD,
            id="one is missing and one too many, and everything is held",
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
        pytest.param(
            {"wanted": DOWN, "status": "ACTIVE", "ours": True, "stops": NO_REMOVING},
            Step.HOLD,
            id="not wanted, but a person says that nothing is taken down",
        ),
        pytest.param(
            {"wanted": DOWN, "status": "ACTIVE", "ours": True, "stops": NO_CREATING},
            Step.REMOVE,
            id="not wanted, and only creating is held: let go",
        ),
    ],
)
def test_account_a_associates_what_is_granted_and_lets_go_first(changes: dict[str, object], step: Step) -> None:
    """Each row is a situation and the one thing to do in it."""
    assert hub_step(dataclasses.replace(HUB, **changes)) is step  # type: ignore[arg-type]


def test_nothing_foreign_is_ever_removed() -> None:
    """Whatever else is true, what we did not put up is not taken down, nor changed."""
    for found, granted, associated, elsewhere, other_pending, other_gone in product([True, False], repeat=6):
        for level in (UP, KEEP, DOWN):
            facts = SpokeFacts(
                level, Stops(), found, granted, associated, elsewhere, False, False, other_pending, other_gone
            )
            assert spoke_step(facts) is not Step.REMOVE
    for level, status in product([UP, KEEP, DOWN], [None, "CREATING", "ACTIVE", "INACTIVE", "DISSOCIATING"]):
        facts_of_a = HubFacts(level, Stops(), status, (), False, True, False, False, True)
        assert hub_step(facts_of_a) not in (Step.REMOVE, Step.CHANGE)


def test_nothing_is_ever_made_past_all_ends() -> None:
    """Whatever else is true: what is only kept is not granted, not associated, and gets no prefix more."""
    for flags in product([True, False], repeat=6):
        found, granted, associated, elsewhere, ours, other = flags
        spoke = SpokeFacts(KEEP, Stops(), found, granted, associated, elsewhere, ours, False, other, other)
        assert spoke_step(spoke) not in (Step.CREATE, Step.REMOVE)
    for status, ours, granted in product([None, "CREATING", "ACTIVE", "INACTIVE"], [True, False], [True, False]):
        for standing in ((), (ONE,), (TWO,), (ONE, TWO)):
            hub = HubFacts(KEEP, Stops(), status, standing, ours, True, False, False, granted)
            assert hub_step(hub) not in (Step.CREATE, Step.REMOVE)
            assert set(allowed(KEEP, Stops(), standing)) <= set(standing)


def test_held_is_never_done() -> None:
    """Under a hold of everything no facts lead to a write."""
    for flags in product([True, False], repeat=8):
        for level in (UP, KEEP, DOWN):
            assert spoke_step(SpokeFacts(level, NOTHING, *flags)) not in (Step.CREATE, Step.REMOVE)
    for status, standing in product([None, "CREATING", "ACTIVE", "INACTIVE"], [(), (ONE,), (TWO,)]):
        for flags_of_a in product([True, False], repeat=5):
            for level in (UP, KEEP, DOWN):
                hub = HubFacts(level, NOTHING, status, standing, *flags_of_a)
                assert hub_step(hub) not in (Step.CREATE, Step.REMOVE, Step.CHANGE)


@pytest.mark.parametrize(
    ("wanted", "stopped", "standing", "given"),
    [
        pytest.param(MIXED, Stops(), (ONE,), (ONE, TWO), id="free: what is missing is added"),
        pytest.param(MIXED, Stops(), (ONE, THREE), (ONE, TWO, THREE), id="free: a past one that stands is left"),
        pytest.param(MIXED, Stops(), ("9.0.0.0/8",), (ONE, TWO), id="free: what nobody approved goes"),
        pytest.param(
            MIXED, NO_CREATING, (ONE, "9.0.0.0/8"), (ONE,), id="nothing is widened: only what stands and is right"
        ),
        pytest.param(
            MIXED,
            NO_REMOVING,
            (ONE, "9.0.0.0/8"),
            ("9.0.0.0/8", ONE, TWO),
            id="pause-teardown narrows nothing, and may widen (r13)",
        ),
        pytest.param(MIXED, NOTHING, ("9.0.0.0/8",), ("9.0.0.0/8",), id="everything is held: as it stands"),
        pytest.param(KEEP, Stops(), (ONE, TWO), (ONE,), id="only kept: nothing is added"),
        pytest.param(KEEP, NO_REMOVING, (ONE, TWO), (ONE, TWO), id="only kept, and nothing is narrowed: as it stands"),
    ],
)
def test_prefixes_are_widened_and_narrowed_as_far_as_people_let_us(
    wanted: Wanted, stopped: Stops, standing: tuple[str, ...], given: tuple[str, ...]
) -> None:
    """What a standing association is to be given now."""
    assert allowed(wanted, stopped, standing) == given


def hold(who: str, *, everything: bool, at: int = 0) -> Hold:
    """What somebody put on hold."""
    return Hold(HoldKind.ECR, "ecr-1", everything=everything, who=who, reason="a freeze", at=at)


def said(who: str, what: str) -> str:
    """How such a hold is told."""
    return f"{who} put {what} on hold for the ecr ecr-1: a freeze"


@pytest.mark.parametrize(
    ("mode", "holds", "right"),
    [
        pytest.param(Mode.FULL, [], Stops(), id="full: nothing is stopped"),
        pytest.param(
            Mode.PAUSE_TEARDOWN, [], Stops(None, "the mode is pause-teardown"), id="pause-teardown: only removal"
        ),
        pytest.param(Mode.OBSERVE, [], Stops("the mode is observe", "the mode is observe"), id="observe: both"),
        pytest.param(
            Mode.PAUSE_ALL,
            [],
            Stops("the mode is pause-all", "the mode is pause-all", look=True),
            id="pause-all: both, and nobody looks",
        ),
        pytest.param(
            Mode.FULL, [hold("mei", everything=False)], Stops(said("mei", "creating")), id="a hold: only creating"
        ),
        pytest.param(
            Mode.FULL,
            [hold("mei", everything=True)],
            Stops(said("mei", "everything"), said("mei", "everything")),
            id="a hold of everything: both",
        ),
        pytest.param(
            Mode.FULL,
            [hold("mei", everything=False), hold("lin", everything=True, at=1)],
            Stops(said("lin", "everything"), said("lin", "everything")),
            id="two holds: the one that stops more is told",
        ),
        pytest.param(
            Mode.FULL,
            [hold("lin", everything=False, at=1), hold("mei", everything=False)],
            Stops(said("mei", "creating")),
            id="two alike: the older one is told",
        ),
        pytest.param(
            Mode.PAUSE_TEARDOWN,
            [hold("mei", everything=False)],
            Stops(said("mei", "creating"), "the mode is pause-teardown"),
            id="the mode and a hold: each stops its own",
        ),
    ],
)
def test_the_mode_and_holds_say_what_must_not_be_done_and_whose_word_it_is(
    mode: Mode, holds: list[Hold], right: Stops
) -> None:
    """So that whoever waits knows whom to ask."""
    assert stops(mode, holds) == right


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
