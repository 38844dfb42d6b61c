"""Schedules of the model test: plain data out of a seed. Any list of operations is a valid schedule, so one that fails can be
cut down by leaving operations out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from tests.chaos.model_world import KEYS
from tests.chaos.turns import TROUBLES


class Op(NamedTuple):
    """One operation. The numbers choose among whatever there is to choose from; ``luck`` 0 is the kindest luck."""

    kind: str
    a: int = 0
    b: int = 0
    c: int = 0
    luck: int = 0


@dataclass(frozen=True)
class Schedule:
    """A whole example: which grants there are, whether a change window is set, and what happens."""

    keys: tuple[int, ...]
    windowed: bool
    trouble: str
    strangers: int  # what others had put up before
    ops: tuple[Op, ...]


WEIGHTS = {
    "ask": 220,
    "deliver": 200,
    "flow": 240,
    "open": 60,
    "step": 120,
    "finish": 40,
    "kill": 12,
    "tick": 60,
    "turn": 120,
    "trouble": 30,
    "adopt": 25,
    "mode": 14,
    "hold": 14,
    "delist": 6,
    "change": 45,
    "issuer": 8,
    "key": 14,
    "spoil": 14,
    "redrive": 15,
    "replay": 25,
    "rubbish": 5,
    "robot": 15,
    "rest": 14,
    "outlive": 4,
    "lockout": 4,
}
PEOPLES = {"wish": 130, "look": 130, "word": 330, "unsay": 10, "hear": 40, "review": 15, "office": 50}
"""What people do at the desk, in schedules in which they do anything there."""
# What is worth trying in a row: something happens while a worker stands still.
SCENES = (
    ("open", "adopt", "finish"),
    ("open", "ask", "flow", "finish"),
    ("open", "open", "finish", "finish"),
    ("open", "turn", "step", "kill", "turn", "ask", "flow", "turn", "flow"),
    ("open", "kill", "turn", "flow"),
    ("open", "tick", "finish"),
    ("ask", "flow", "ask", "flow", "ask", "flow"),
    ("ask", "deliver", "turn", "flow", "flow"),
    ("outlive", "flow", "flow", "flow", "turn", "turn", "rest"),
    ("lockout", "flow", "flow", "flow", "rest"),
    ("ask", "open", "key", "finish", "flow"),
    ("open", "delist", "finish", "flow"),
    ("delist", "open", "delist", "ask", "flow", "finish"),
    ("ask", "open", "spoil", "finish", "flow", "spoil"),
    ("change", "flow", "change", "flow"),
    ("change", "turn", "tick", "flow", "flow"),
    ("spoil", "ask", "flow", "flow", "turn", "spoil", "flow"),
)
SPOKEN = (
    ("wish", "look", "word", "flow", "word", "flow"),
    ("wish", "look", "word", "open", "word", "finish", "flow"),
    ("wish", "look", "word", "look", "word", "flow"),
    ("word", "hear", "unsay", "finish", "flow"),
    ("word", "hear", "word", "finish", "flow"),
    ("word", "hear", "look", "finish", "flow"),
    ("word", "hear", "office", "finish", "flow"),
    ("word", "office", "flow", "tick", "flow"),
    ("wish", "look", "word", "spoil", "flow", "spoil", "flow"),
    ("wish", "look", "word", "office", "flow", "office", "flow"),
    ("look", "word", "tick", "flow", "turn", "tick", "flow"),
)
KINDS = (*WEIGHTS, *PEOPLES)
OFTEN = ("storm", "storm", "storm", "storm", "lossy", *TROUBLES)
_WIDE = 1 << 20


def drawn(seed: int, length: int, *, people: bool = False) -> Schedule:
    """The schedule of a seed. ``people``: with what they say at the desk; else it is what it always was."""
    weights, scenes = (WEIGHTS | PEOPLES, (*SCENES, *SPOKEN)) if people else (WEIGHTS, SCENES)
    chance = random.Random(seed)  # noqa: S311  # a test's choices, not a secret
    keys = tuple(sorted(chance.sample(range(len(KEYS)), chance.choice([1, 1, 1, 2, 2]))))
    kinds: list[str] = []
    while len(kinds) < length:
        kinds += (
            chance.choice(scenes) if chance.random() < 0.1 else chance.choices([*weights], weights=[*weights.values()])
        )
    numbers = [[chance.randrange(_WIDE) for _ in range(4)] for _ in kinds]
    ops = tuple(Op(kind, *four) for kind, four in zip(kinds, numbers, strict=True))
    return Schedule(keys, chance.random() < 0.15, chance.choice(OFTEN), chance.choice([0, 0, 1, 2]), ops)
