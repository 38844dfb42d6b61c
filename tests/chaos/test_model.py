"""The life cycle under everything that can go wrong, and proof that the test would notice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from shared.rules.consent import Stage
from tests.chaos.machine import Machine, listening, opened, play
from tests.chaos.model import LENGTH, schedule_of, shrunk
from tests.chaos.model_schedule import KINDS, PEOPLES, SCENES, SPOKEN, WEIGHTS, Op, Schedule, drawn
from tests.chaos.model_world import KEYS
from tests.chaos.parts import Parts
from tests.chaos.planted import PLANTED
from tests.chaos.planted_people import AMONG_PEOPLE
from tests.chaos.turns import TROUBLES, Violation

SEEDS = range(1, 16)
OFTEN = WEIGHTS | PEOPLES
TRANSITIONS = (
    "admitted", "granted", "associated", "unwanted", "dissociated", "revoked", "ending", "overdue", "ended", "stuck", "adopted",
    "done", "rejected", "dead", "redriven", "early", "held", "second-digest", "took-effect", "ownership", "mode-changed",
    "hold-set", "hold-lifted",
)  # fmt: skip
# Where each fault is first found: its seed, so that finding it again takes a second. None is there by construction: the
# schedules are the same as everybody's, and what finds the fault is a rule that was broken.
FOUND = {
    "a bad key still seals": 1,
    "a desk goes by an older configuration": 1,
    "what has ended is admitted": 1,
    "nothing lapses": 2,
    "void words count": 17,
    "a compromised key still makes": 115,
    "a configuration that is mended is not read again": 16,
    "a create step does not ask for the proof": 1,
    "a create step goes by an older configuration": 21,
    "a grant is admitted under an unverified configuration": 9,
    "a retired key closes nothing": 10,
    "a revoke reaches less than its date": 8,
    "an early lease takes effect unasked": 21,
    "an older configuration admits": 1,
    "claims never expire": 10,
    "closes are not confined to their grant": 27,
    "closes are not confined to their issuer": 1,
    "closing does not go on": 1,
    "drift is only reported": 6,
    "ends raise nothing": 3,
    "every date is believed": 1,
    "every look is believed": 5,
    "everything is ours": 2,
    "holds are ignored": 10,
    "lost is absent at once": 34,
    "lost is ours": 28,
    "made past its end": 60,
    "mark forgotten": 1,
    "no intent": 0,
    "no tombstone": 1,
    "one token per grant": 1,
    "outbox entries are nobody's": 1,
    "outbox entries stay": 1,
    "outcomes are not published": 1,
    "replaces leaves a gap": 3,
    "replaces only what is there": 1,
    "replaces what others asked for": 2,
    "revokes raise nothing": 4,
    "the other side's turn is ignored": 2,
    "the reply is believed": 24,
    "the timer finds nothing": 1,
    "who cannot be entered tells nobody": 4,
}


def test_whatever_happens_the_cloud_ends_as_approved(record_property: Callable[[str, object], None]) -> None:
    """After trouble stops and ticks pass, a grant exists if and only if a live lease does; nothing foreign was touched, every
    approval has one final outcome, every recorded transition was published, and no rule was broken on the way."""
    counts: Counter[str] = Counter()
    with listening(), opened(Parts()) as ledger:
        for seed in SEEDS:
            play(schedule_of(seed, LENGTH), Parts(), ledger, counts)
    transitions = ", ".join(
        f"{what.removeprefix('event ')} {often}" for what, often in sorted(counts.items()) if "event" in what
    )
    record_property("model test", f"{counts['steps']} steps, {counts['rests judged']} times at rest; {transitions}")
    assert {f"event {kind}" for kind in TRANSITIONS} <= set(counts)
    assert counts["rests judged"] >= len(SEEDS)
    assert counts["at rest: up"] > 0 < counts["at rest: down"]
    assert {f"at rest: a request is {stage}" for stage in Stage if stage is not Stage.WITHDRAWN} <= set(counts)


def test_each_planted_fault_has_its_seed() -> None:
    """A fault that is added has to be found, too."""
    assert set(FOUND) == set(PLANTED)


@pytest.mark.parametrize("fault", sorted(PLANTED))
def test_a_planted_fault_is_found(fault: str) -> None:
    """With one rule taken out of the real thing, the same schedules break a rule of the model."""
    schedule = drawn(FOUND[fault], LENGTH, people=fault in AMONG_PEOPLE)
    with listening(), opened(PLANTED[fault]) as ledger, pytest.raises(Violation):
        play(schedule, PLANTED[fault], ledger, Counter())


def test_a_schedule_is_repeated_exactly() -> None:
    """The same seed gives the same story, word for word, so that a failure can be looked into."""
    with listening(), opened(Parts()) as ledger:
        stories = [play(drawn(7, LENGTH), Parts(), ledger, Counter()).trace for _ in range(2)]
    assert stories[0] == stories[1]


def test_a_failing_schedule_is_cut_down() -> None:
    """What is left of a schedule still fails, and little is left."""
    parts = PLANTED["everything is ours"]
    with listening(), opened(parts) as ledger:
        schedule = drawn(FOUND["everything is ours"], LENGTH)
        short = shrunk(schedule, parts, ledger, tries=40)
        with pytest.raises(Violation):
            play(short, parts, ledger, Counter())
    assert len(short.ops) < len(schedule.ops) / 2


class Life(RuleBasedStateMachine):
    """The machine, driven by hypothesis, which shrinks what fails."""

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self._open.enter_context(listening())
        self._ledger = self._open.enter_context(opened(Parts()))
        self._machine: Machine | None = None

    @initialize(
        keys=st.sets(st.integers(0, len(KEYS) - 1), min_size=1, max_size=2),
        windowed=st.booleans(),
        trouble=st.sampled_from(sorted(TROUBLES)),
        strangers=st.integers(0, 2),
    )
    def begin(self, keys: set[int], windowed: bool, trouble: str, strangers: int) -> None:  # drawn
        """Some grants, and what others had put up before."""
        schedule = Schedule(tuple(sorted(keys)), windowed, trouble, strangers, ())
        self._machine = Machine(schedule, Parts(), self._ledger, Counter())

    @rule(
        kinds=st.sampled_from([*SCENES, *SPOKEN, *((kind,) for kind in KINDS for _ in range(OFTEN[kind] // 25 + 1))]),
        numbers=st.lists(st.integers(0, 1 << 20), min_size=40, max_size=40),
    )
    def go_on(self, kinds: tuple[str, ...], numbers: list[int]) -> None:
        """One operation, or a few in a row."""
        assert self._machine is not None
        for position, kind in enumerate(kinds):
            four = numbers[4 * position : 4 * position + 4]
            try:
                self._machine.apply(Op(kind, *four))
            except Violation as violation:
                raise AssertionError(violation) from violation

    def teardown(self) -> None:
        """The end: rest, and be judged."""
        try:
            if self._machine is not None:
                self._machine.close()
        except Violation as violation:
            raise AssertionError(violation) from violation
        finally:
            if self._machine is not None:
                self._machine.kill_all()
            self._open.close()


def test_hypothesis_finds_nothing_either() -> None:
    """The same machine with every choice drawn by hypothesis."""
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=12,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # what it finds is told at once: cutting it down takes longer than a test may
            suppress_health_check=list(HealthCheck),
        ),
    )
