"""The points at which workers are killed: every step that the flows made in an undisturbed run, and a sample of them."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.traps import HOWS
from tests.functional.world import ASSOCIATE_FUNCTION, GRANT_FUNCTION

COMMAND = ""  # whose requests those of the operator's command are: no function's
FLOWS = ("admit", "grant", "associate", "revoke", "dissociate", "expire", "redrive", "reconcile")
SCENES = (
    ("up", "VPC"),
    ("up", "VBR"),
    ("down", "VPC"),
    ("down", "VBR"),
    ("expire", "VPC"),
    ("redrive", "VPC"),
    ("reconcile", "VPC"),
)
"""What happens to a grant, and to which type of instance; the flows are parts of these."""


@dataclass(frozen=True)
class Place:
    """A step of a flow: one party's n-th call of an operation in a scene, or its n-th commit (service ``ledger``)."""

    flow: str
    scene: str
    kind: str
    whose: str
    service: str
    operation: str
    number: int

    def __str__(self) -> str:
        who = self.whose.removeprefix("ecr-grants-") or "command"
        return f"{self.flow} ({self.kind}): {who}'s {self.operation} no. {self.number}"


@dataclass(frozen=True)
class Point:
    """A place, when to kill there, and whether a second worker is at the same grant."""

    place: Place
    how: str
    workers: int

    def __str__(self) -> str:
        beside = ", with a second worker" if self.workers > 1 else ""
        return f"{self.place}, killed {'once it has the reply' if self.how == 'reply' else f'{self.how} the effect'}{beside}"


@dataclass
class Result:
    """What became of a point. ``struck``: the worker did come to that place, and was killed there."""

    point: Point
    struck: bool = False
    faults: list[str] = field(default_factory=list)


def points_at(places: Sequence[Place]) -> list[Point]:
    """Everything that can be tried at these places."""
    return [Point(place, how, workers) for place in places for workers in (1, 2) for how in HOWS]


def sample(points: Sequence[Point], size: int, seed: int) -> list[Point]:
    """So many points by a seed, the flows in turn, so that none is left out."""
    chance = random.Random(seed)  # noqa: S311  # repeatable, not a secret
    by_flow: dict[str, list[Point]] = defaultdict(list)
    for point in chance.sample(list(points), len(points)):
        by_flow[point.place.flow].append(point)
    found: list[Point] = []
    while len(found) < min(size, len(points)):
        found += [left.pop() for left in by_flow.values() if left]
    return found[:size]


def places(scene: str, kind: str, steps: Sequence[tuple[float, str, str, str]]) -> Iterator[Place]:
    """The steps of a scene as places. Of a VBR its own calls: what is committed is the same as for a VPC."""
    counted: Counter[tuple[str, str, str]] = Counter()
    network = False
    for _, whose, service, operation in steps:
        network = network or (whose == GRANT_FUNCTION and service not in ("ledger", "mns"))
        flow = scene
        if scene == "up":
            flow = "associate" if whose == ASSOCIATE_FUNCTION else "grant" if network else "admit"
        elif scene == "down":
            flow = "dissociate" if whose == ASSOCIATE_FUNCTION else "revoke"
        step = whose, service, operation
        counted[step] += 1
        if kind == "VPC" or service != "ledger":
            yield Place(flow, scene, kind, *step, counted[step])
