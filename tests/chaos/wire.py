"""Whole lives of grants over the wire, under trouble: seeded schedules against the deployed functions, judged from outside.

    python -m tests.chaos.wire --schedules 200 --seed 1

A schedule is a few instances of its own, the approvals about them (opened, closed, ended, repeated, reordered, replayed)
and the trouble that the local cloud makes meanwhile. Many schedules share one deployment, as they would in life; every
round has its own setting of the switches for undocumented behaviour. When the trouble is over, a few ticks must bring everything
to rest, and then the referee (``judge``) looks. In the end every old approval is sent once more: nothing may come of it.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import logging
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.table import Table

from localcloud.switches import Switches
from shared.errors import GrantError
from tests.chaos.house import FUNCTIONS, House, HouseError, house
from tests.chaos.judge import Evidence, Rules, Sent, Target, counts, verdict
from tests.functional.deployment import config
from tests.functional.launch import ledger_busy, ledger_without, run
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    RECONCILE_FUNCTION,
    REGION,
    Hub,
    Spoke,
    Stage,
)

Json = dict[str, Any]

SKEW_SECONDS, SETTLE_SECONDS, WARN_SECONDS, STUCK_SECONDS = 2.0, 2.0, 3.0, 8.0
# What is late, or older than it seems, together stays well below SETTLE_SECONDS: that is what this setting promises.
LATE_SECONDS, LAG_SECONDS = 0.7, 0.7
ENDS = {"association": 0.6, "attachment": 0.6, "dissociation": 0.8, "detachment": 0.8, "modification": 0.5, "lock": 0.1}
KILL_TIMEOUT = 15
TICK_SECONDS, PATIENCE_SECONDS, TROUBLE_SECONDS = 10.0, 20.0, 30.0
# Nothing may stand still for longer than a dead worker's claim and the longest pauses after failures together.
REST_SECONDS, LONGEST_SECONDS = 75.0, 600.0
_ISSUERS = ("self-service", "ticket-desk")


# -- schedules: plain data out of a seed -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Action:
    """Something that happens at a time of a schedule, in seconds from its start."""

    at: float
    kind: str  # send, junk, fault, turn, kill, busy, away, tick
    what: Json


@dataclass(frozen=True)
class Plot:
    """What a schedule does with one instance."""

    kind: str
    spoke: int
    foreign: str = ""  # what is there already: nothing, grant, or association (with its grant)
    exists: bool = True


@dataclass(frozen=True)
class Schedule:
    """One seeded story: a hub of its own, its instances, and what happens when. ``$n`` stands for the nth instance."""

    number: int
    seed: str
    theirs: bool
    plots: tuple[Plot, ...]
    actions: tuple[Action, ...]


_GRANTING = "GrantInstanceToExpressConnectRouter"
_NETWORK_WRITES = {
    "VPC": (
        ("ecr", _GRANTING),
        ("ecr", "RevokeInstanceFromExpressConnectRouter"),
        ("ecr", "CreateExpressConnectRouterAssociation"),
        ("ecr", "DeleteExpressConnectRouterAssociation"),
        ("ecr", "ModifyExpressConnectRouterAssociationAllowedPrefix"),
    ),
    "VBR": (
        ("ecr", _GRANTING),
        ("ecr", "RevokeInstanceFromExpressConnectRouter"),
        ("ecr", "AttachExpressConnectRouterChildInstance"),
        ("ecr", "DetachExpressConnectRouterChildInstance"),
    ),
}
_HOW_OFTEN = (4, 2, 4, 2, 1)  # as lives go: what is opened is not always closed
_NETWORK_READS = {
    "VPC": (
        ("vpc", "DescribeVpcAttribute"),
        ("vpc", "DescribeVpcGrantRulesToEcr"),
        ("ecr", "DescribeExpressConnectRouterAssociation"),
    ),
    "VBR": (
        ("vpc", "DescribeVirtualBorderRouters"),
        ("vpc", "DescribeGrantRulesToEcr"),
        ("ecr", "DescribeExpressConnectRouterChildInstance"),
    ),
}
KILLS = ("kill_before", "kill_after", "kill_reply")
# Every kind of trouble, and how much of it there is.
KINDS = {
    **dict.fromkeys(("throttle", "server_error", "cut_before", "cut_after", "late", "lag", *KILLS), 2),
    **dict.fromkeys(
        ("error", "denied", "expire_token", "slow", "duplicate", "reorder", "delivery", "outbox", "sts"), 1
    ),
    **dict.fromkeys(("turn", "busy", "away", "tick", "kill_tick", "kill_now"), 1),
}


def schedule(seed: int, number: int, seconds: float, *, kills: bool) -> Schedule:
    """The schedule that a seed and a number stand for; ``seconds`` is how long messages come."""
    name = f"{seed}/{number}"
    chance = random.Random(name)  # noqa: S311  # repeatable stories, not secrets
    theirs = chance.random() < 0.06
    plots = tuple(_plot(chance, theirs=theirs) for _ in range(chance.choice((1, 1, 2, 2, 3))))
    actions: list[Action] = []
    for index, plot in enumerate(plots):
        actions += _story(chance, f"{number}-{index}", index, plot, seconds)
    actions += _rubbish(chance, number, seconds)
    actions += _trouble(chance, plots, seconds, kills=kills)
    return Schedule(number, name, theirs, plots, tuple(sorted(actions, key=lambda action: action.at)))


def _plot(chance: random.Random, *, theirs: bool) -> Plot:
    kind, spoke = chance.choice(("VPC", "VPC", "VBR")), chance.randrange(2)
    luck = chance.random()
    if luck < 0.05:
        return Plot(kind, spoke, exists=False)
    if luck < 0.13:
        return Plot(kind, spoke, foreign="grant")
    if luck < 0.18 and not theirs:
        return Plot(kind, spoke, foreign="association")
    return Plot(kind, spoke)


def _story(  # noqa: PLR0912  # a table of stories
    chance: random.Random, name: str, index: int, plot: Plot, seconds: float
) -> Iterator[Action]:
    """The approvals about one instance: what is opened, what is closed, in whatever order it arrives."""
    requests = (f"R-{name}-{count}" for count in itertools.count(1))
    opened: list[Json] = []
    # Approval times are kept in order and apart from each other by more or less than clocks may differ.
    approved = itertools.accumulate((chance.choice((0.5, 1.5, 4.0, 9.0)) for _ in range(20)), initial=-60.0)

    def grant(**more: Any) -> Json:
        document = {"action": "grant", "request_id": next(requests), "issuer": chance.choice(_ISSUERS), "$": index}
        document["approved_at"] = next(approved)
        if plot.kind == "VPC":
            document["allowed_prefixes"] = sorted({f"10.{chance.randrange(1, 5)}.0.0/16" for _ in range(2)})
        opened.append({**document, **more})
        return opened[-1]

    def revoke(closes: Any, issuer: str = "", **more: Any) -> Json:
        document = {"action": "revoke", "request_id": next(requests), "issuer": issuer or chance.choice(_ISSUERS)}
        return {**document, "$": index, "approved_at": next(approved), "closes": closes, **more}

    def closing(lease: Json) -> Json:
        return revoke([lease["request_id"]], lease["issuer"])

    match chance.randrange(12):
        case 0:
            told = [grant()]
        case 1:
            told = [grant(), grant()]
        case 2:
            first = grant()
            told = [first, closing(first)]
        case 3:
            first, second = grant(), grant()
            told = [first, second, closing(first)]
        case 4:
            first, second = grant(), grant()
            told = [first, second, closing(second), closing(first)]
        case 5:
            told = [grant(), grant(), revoke("all")]
        case 6:  # a close that comes before its open
            first = grant()
            told = [closing(first), first]
        case 7:  # ends by itself
            told = [grant(ends_at=chance.uniform(2.0, seconds), on_end="teardown")]
            told += [grant()] if chance.random() < 0.4 else []
        case 8:  # would end, and is only reported; or ends long from now
            told = [grant(ends_at=chance.choice((chance.uniform(2.0, seconds), 90_000.0)))]
        case 9:  # dated ahead of what clocks may differ: held until then
            told = [grant(approved_at=chance.uniform(3.0, seconds)), grant()]
        case 10:  # closed, and wanted again
            first = grant()
            told = [first, revoke("all"), grant(approved_at=next(approved) + 5.0)]
        case _:  # one name, two contents
            first = grant()
            told = [first, {**first, "reason": "Another reason under the same name"}]
            told += [closing(first)] if chance.random() < 0.5 else []
    at = chance.uniform(0.0, seconds / 3)
    patient = chance.random() < 0.6  # whether what closes is sent only after what it closes was answered
    for position, document in enumerate(told):
        at = min(seconds, at + chance.choice((0.0, 0.3, 1.5, 4.0)) * chance.random())
        before = [one["request_id"] for one in told[:position]] if patient else []
        # Copies, some much later, and the queue's own delay, which lets a later message overtake.
        for copy in range(chance.choice((1, 1, 1, 2, 3))):
            moment = at if copy == 0 else chance.uniform(0.0, seconds)
            delay = chance.choice((0, 0, 0, 1, 2))
            what = {"document": document, "delay": delay, "plain": chance.random() < 0.3, "before": before}
            yield Action(max(moment, at), "send", what)


def _rubbish(chance: random.Random, number: int, seconds: float) -> Iterator[Action]:
    """Now and then a message that is no approval, or one about an account that nobody listed."""
    if chance.random() < 0.25:
        text = chance.choice(("not JSON at all", '{"schema": "ecr-grants/approval/9"}', "[]", '{"action": "grant"}'))
        yield Action(chance.uniform(0.0, seconds), "junk", {"text": f"{text} " if number % 2 else text})
    if chance.random() < 0.15:
        document = {"action": "grant", "request_id": f"R-{number}-unlisted", "issuer": _ISSUERS[0], "$": -1}
        document |= {"approved_at": -30.0, "allowed_prefixes": ["10.9.0.0/16"]}
        what = {"document": document, "delay": 0, "plain": False, "before": []}
        yield Action(chance.uniform(0.0, seconds), "send", what)


def _trouble(chance: random.Random, plots: Sequence[Plot], seconds: float, *, kills: bool) -> Iterator[Action]:
    """What goes wrong meanwhile. Each schedule's trouble is about its own instances, as far as a call names one."""
    kinds = [kind for kind in KINDS if kills or not kind.startswith("kill")]
    weights = [KINDS[kind] for kind in kinds]
    killed = False
    for kind in chance.choices(kinds, weights, k=chance.choice((1, 2, 3, 3, 4, 5))):
        if kind.startswith("kill"):  # a death stops everybody on that function for a while: one is enough for each
            if killed:
                continue
            killed = True
        action, what = _one_trouble(chance, kind, plots)
        # Trouble for a call lies in wait for it; what strikes by itself may come at any time.
        yield Action(chance.uniform(0.0, seconds * (0.3 if action == "fault" else 1.0)), action, what)


def _one_trouble(  # noqa: PLR0912  # a table of troubles
    chance: random.Random, kind: str, plots: Sequence[Plot]
) -> tuple[str, Json]:
    index = chance.randrange(len(plots))
    plot = plots[index]
    mine = {"label": kind, "resource": f"${index}"}
    writes, reads = _NETWORK_WRITES[plot.kind], _NETWORK_READS[plot.kind]
    acting = chance.choice((GRANT_FUNCTION, ASSOCIATE_FUNCTION))
    service, operation = chance.choices(writes, weights=_HOW_OFTEN[: len(writes)])[0]
    if operation.startswith(("Delete", "Modify")):
        mine = {"label": kind, "account": "$hub"}  # these name an association alone
    write = {**mine, "service": service, "operation": operation}
    read = {
        "label": kind,
        "resource": f"${index}",
        **dict(zip(("service", "operation"), chance.choice(reads), strict=True)),
    }
    either = chance.choice((write, write, read))
    after = chance.choice((0, 0, 0, 1, 2))
    match kind:
        case "throttle":
            more = {"retry_after": 800} if chance.random() < 0.3 else {}
            return "fault", {**either, "kind": kind, "times": chance.choice((1, 2)), **more}
        case "server_error":
            return "fault", {**either, "kind": kind, "body": chance.choice(("json", "html", "empty")), "times": 1}
        case "error":
            return "fault", {
                **write,
                "kind": kind,
                "status": 400,
                "code": "Conflict.Lock",
                "times": chance.choice((1, 2)),
            }
        case "denied":
            return "fault", {**either, "kind": "error", "status": 403, "code": "NoPermission", "times": 1}
        case "cut_before" | "cut_after":
            return "fault", {**either, "kind": kind, "times": 1}
        case "late":
            return "fault", {**write, "kind": kind, "seconds": round(chance.uniform(0.1, LATE_SECONDS), 2)}
        case "lag":
            seconds = round(chance.uniform(0.1, LAG_SECONDS), 2)
            return "fault", {**read, "kind": kind, "seconds": seconds, "times": chance.choice((1, 3))}
        case "expire_token":
            return "fault", {**either, "kind": kind}
        case "slow":
            return "fault", {**either, "kind": kind, "seconds": round(chance.uniform(0.1, 0.8), 2)}
        case "duplicate" | "reorder":
            where = chance.choice(
                (
                    {"service": "fc", "operation": "InvokeFunction", "resource": acting},
                    {"service": "mns", "operation": "ReceiveMessage", "resource": "ecr-a*s"},
                )
            )
            return "fault", {**where, "label": kind, "kind": kind, "times": chance.choice((1, 2, 4))}
        case "delivery":
            how = chance.choice(("cut_before", "cut_after", "server_error"))
            return "fault", {
                "label": kind,
                "kind": how,
                "service": "mns",
                "operation": "DeliverMessage",
                "after": after,
            }
        case "outbox":
            how = chance.choice(("throttle", "server_error", "cut_before", "cut_after"))
            what = chance.choice(("PublishMessage", "SendMessage"))
            place = {"service": "mns", "operation": what, "function": acting, "after": after}
            return "fault", {**place, "label": kind, "kind": how}
        case "sts":
            how = chance.choice(("throttle", "server_error", "cut_before", "cut_after"))
            place = {"service": "sts", "operation": "AssumeRole", "resource": "$accounts"}
            return "fault", {**place, "label": kind, "kind": how, "times": chance.choice((1, 2))}
        case "kill_before" | "kill_after" | "kill_reply":
            outbox = {"label": kind, "service": "mns", "function": acting}
            outbox["operation"] = chance.choice(("PublishMessage", "SendMessage"))
            chosen = chance.choice((write, write, write, read, outbox))
            return "fault", {**chosen, "kind": kind, "after": after if chosen is not write else 0}
        case "kill_tick":
            place = {"function": RECONCILE_FUNCTION, "after": chance.randrange(60)}
            return "fault", {**place, "label": kind, "kind": chance.choice(KILLS)}
        case "kill_now":
            return "kill", {"function": chance.choice(FUNCTIONS)}
        case "turn":  # past a few pauses, past the timer's next tick, past the life of every role session
            return "turn", {"seconds": chance.choice((1.0, 5.0, 301.0, 3_700.0))}
        case "busy":
            return "busy", {"seconds": round(chance.uniform(0.2, 1.5), 2)}
        case "away":
            return "away", {"seconds": round(chance.uniform(0.2, 1.0), 2)}
        case "tick":
            return "tick", {}
    raise AssertionError(kind)


# -- rounds: many schedules on one deployment --------------------------------------------------------------------------


@dataclass(frozen=True)
class Round:
    """One deployment and the schedules that share it."""

    number: int
    schedules: tuple[Schedule, ...]
    switches: Mapping[str, str]
    seconds: float
    kills: bool
    workers: int
    timeout: int = KILL_TIMEOUT  # of the acting functions: a claim that nobody gives back lasts a little longer
    trouble_seconds: float = TROUBLE_SECONDS

    @property
    def title(self) -> str:
        """For people."""
        more = " with kills" if self.kills else ""
        return f"round {self.number}: {len(self.schedules)} schedules, {self.workers} worker(s){more}"


def settings_of(seed: int, number: int, rounds: int) -> dict[str, str]:
    """A setting of every switch. Over the rounds of a run each value of each switch has its turn."""
    chosen = {}
    for switch in Switches().explained():
        values = list(switch["values"])
        random.Random(f"{seed}/{switch['name']}").shuffle(values)  # noqa: S311
        chosen[switch["name"]] = values[number % len(values)] if rounds > 1 else values[seed % len(values)]
    return chosen


def rounds_of(seed: int, schedules: int, per_round: int, seconds: float) -> list[Round]:
    """The rounds of a run: with kills and without, with one worker and with two, in turn."""
    count = max(1, -(-schedules // per_round))
    found = []
    for number in range(count):
        numbers = range(number * per_round, min(schedules, (number + 1) * per_round))
        kills = number % 3 != 2
        told = tuple(schedule(seed, each, seconds, kills=kills) for each in numbers)
        switches = settings_of(seed, number, count)
        found.append(Round(number, told, switches, seconds, kills, 2 if number % 2 else 1))
    return found


@dataclass
class Outcome:
    """How a round went."""

    round: Round
    faults: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    planned: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    approvals: int = 0
    calls: int = 0
    ticks: int = 0
    seconds: float = 0.0
    resting_after: float = 0.0


@dataclass
class Cast:
    """Who plays a schedule's parts."""

    hub: Hub
    spokes: tuple[Spoke, Spoke]
    instances: tuple[str, ...]


class Play:
    """One round at work."""

    def __init__(self, told: Round, folder: Path, say: Callable[[str], None]) -> None:
        self.round = told
        self.outcome = Outcome(told)
        self._say = say
        self._folder = folder
        self._stage = Stage()
        self._casts: dict[int, Cast] = {}
        self._targets: list[Target] = []
        self._sent: dict[str, Sent] = {}
        self._junk: list[str] = []
        self._labels: dict[int, str] = {}
        self._started = 0.0
        self._answered: set[str] = set()
        self._helpers = ThreadPoolExecutor(4)
        self._helping: list[Future[None]] = []
        self._ticking, self._troubling = threading.Lock(), threading.Lock()
        for one in told.schedules:
            self._casts[one.number] = self._cast(one)
        self._stage.file["settle"] = {f"{name}_seconds": seconds for name, seconds in ENDS.items()}
        self._stage.file["switches"] = dict(told.switches)

    def _cast(self, told: Schedule) -> Cast:
        hub = self._stage.new_hub(association="theirs" if told.theirs else "ours")
        spokes = (self._stage.new_spoke(), self._stage.new_spoke())
        instances = []
        for plot in told.plots:
            own = spokes[plot.spoke]
            instance = next(own.vpcs if plot.kind == "VPC" else own.vbrs)
            instances.append(instance if plot.exists else f"{instance}gone")
        return Cast(hub, spokes, tuple(instances))

    def run(self) -> Outcome:
        """Play, wait for rest, judge, replay, judge again."""
        begun = time.monotonic()
        settings = {
            "SETTLE_SECONDS": str(SETTLE_SECONDS),
            "CLOCK_SKEW_SECONDS": str(SKEW_SECONDS),
            "WARN_SECONDS": str(WARN_SECONDS),
            "STUCK_SECONDS": str(STUCK_SECONDS),
        }
        try:
            with house(
                self._stage, self._folder, timeout=self.round.timeout, workers=self.round.workers, settings=settings
            ) as made:
                try:
                    self._play(made)
                except HouseError as error:
                    self.outcome.faults.append(str(error))
                finally:
                    self._helpers.shutdown(wait=True)
        finally:
            self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    def _play(self, made: House) -> None:
        self._targets = [target for one in self.round.schedules for target in self._put_up(made, one)]
        self._say("messages and trouble")
        self._act(made)
        self._end_trouble(made)
        self._say("coming to rest")
        resting = time.monotonic()
        self._rest(made)
        self.outcome.resting_after = time.monotonic() - resting
        self._say("judging")
        evidence = self._evidence(made)
        self.outcome.faults += verdict(evidence)
        if not self.outcome.faults:
            self._say("sending everything once more")
            self._replay(made, evidence)
            evidence = self._evidence(made)
        self.outcome.gaps = evidence.gaps
        self.outcome.told = counts(evidence)
        self.outcome.approvals = len(self._sent)
        self.outcome.calls = made.position()
        (self._folder / "functions.log").write_text(made.story("", 100_000), "utf-8")
        for standing in made.ledger.standing() if self.outcome.faults else ():
            names = (standing.key.instance_id, standing.key.grant_id)
            if any(name in fault for fault in self.outcome.faults for name in names):
                (self._folder / f"{names[0]}.log").write_text(self._story_of(made, *names), "utf-8")

    # -- before ------------------------------------------------------------------------------------------------------

    def _put_up(self, made: House, told: Schedule) -> Iterator[Target]:
        """What somebody else has put up already, with the official SDK."""
        cast = self._casts[told.number]
        for plot, instance in zip(told.plots, cast.instances, strict=True):
            owner = cast.spokes[plot.spoke]
            foreign = Foreign(made, cast.hub, owner, instance)
            grant = foreign.grant() if plot.foreign else None
            link = foreign.associate() if plot.foreign == "association" else None
            yield Target(
                instance,
                plot.kind,
                cast.hub.ecr_id,
                grant,
                link,
                exists=plot.exists,
                association_is_ours=not told.theirs,
            )

    # -- meanwhile ---------------------------------------------------------------------------------------------------

    def _act(self, made: House) -> None:
        order = itertools.count()
        heap = [(action.at, next(order), one, action) for one in self.round.schedules for action in one.actions]
        heapq.heapify(heap)
        self._started = time.time()
        started, looked, ticked = time.monotonic(), 0.0, time.monotonic()
        while heap:
            now = time.monotonic() - started
            at, _, told, action = heap[0]
            if at <= now:
                heapq.heappop(heap)
                if self._too_early(action, now):
                    heapq.heappush(heap, (now + 0.5, next(order), told, action))
                else:
                    self._do(made, told, action)
            if now - looked > 1.0:
                looked = now
                made.receive()
                self._answered = {
                    one.body.get("request", {}).get("request_id", "")
                    for one in made.told
                    if one.body["event"] in ("done", "rejected")
                }
            if time.monotonic() - ticked > TICK_SECONDS:
                ticked = time.monotonic()
                self._help(self._tick, made)
            time.sleep(max(0.0, min(at - now, 0.05)))
        for helping in self._helping:
            helping.result()
        self._say("waiting for the last trouble to find its call")
        self._wait(made, self.round.trouble_seconds)

    def _too_early(self, action: Action, now: float) -> bool:
        """Whether something waits for the answer to what came before it; not for ever, since that may be in trouble."""
        before = action.what.get("before", ())
        return now < action.at + PATIENCE_SECONDS and not self._answered.issuperset(before)

    def _do(self, made: House, told: Schedule, action: Action) -> None:
        what = action.what
        match action.kind:
            case "send":
                self._send(made, self._document(told, what["document"]), delay=what["delay"], plain=what["plain"])
            case "junk":
                self._junk.append(made.send(what["text"]))
            case "fault":
                self._plan(made, told, what)
            case "turn":
                made.admin.advance(what["seconds"])
                self._count("turn")
            case "kill":
                made.admin.call("POST", f"functions/{what['function']}/kill")
                self._count("kill_now")
            case "busy" | "away":
                self._help(self._trouble_the_ledger, made, action.kind, what["seconds"])
                self._count(action.kind)
            case "tick":
                self._help(self._tick, made)
                self._count("tick")

    def _count(self, kind: str) -> None:
        self.outcome.planned[kind] += 1
        self.outcome.struck[kind] += 1

    def _help(self, what: Callable[..., None], *arguments: Any) -> None:
        """Let something happen beside everything else."""
        self._helping.append(self._helpers.submit(what, *arguments))

    def _trouble_the_ledger(self, made: House, kind: str, seconds: float) -> None:
        url = made.ledger_url
        with self._troubling, ledger_busy(url) if kind == "busy" else ledger_without(url, "approvals"):
            time.sleep(seconds)

    def _document(self, told: Schedule, sketch: Json) -> Json:
        """An approval as it is sent: names instead of numbers, times instead of offsets."""
        cast = self._casts[told.number]
        index = int(sketch["$"])
        if index < 0:
            kind, instance, owner = "VPC", "vpc-nobodyknows", "2999999999999999"
        else:
            kind, instance = told.plots[index].kind, cast.instances[index]
            owner = cast.spokes[told.plots[index].spoke].uid
        document = {
            "schema": "ecr-grants/approval/2",
            "ecr": {"id": cast.hub.ecr_id, "owner_uid": cast.hub.uid},
            "instance": {"type": kind, "id": instance, "region": REGION, "owner_uid": owner},
            "requested_by": "requester@example.com",
            "approved_by": ["approver@example.com"],
            "reason": "A test of what trouble does",
            **{name: value for name, value in sketch.items() if name != "$"},
        }
        for name in ("approved_at", "ends_at"):
            if name in document:
                moment = datetime.fromtimestamp(self._started + document[name], UTC)
                document[name] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return document

    def _send(self, made: House, document: Json, *, delay: int = 0, plain: bool = False) -> None:
        content = json.dumps(document, sort_keys=True)
        if content not in self._sent:
            self._sent[content] = Sent(document, made.position())
        made.send(json.dumps(document), delay=delay, plain=plain)

    def _plan(self, made: House, told: Schedule, sketch: Json) -> None:
        cast = self._casts[told.number]
        plan = {name: value for name, value in sketch.items() if name != "label"}
        if plan.get("account") == "$hub":
            plan["account"] = cast.hub.uid
        resource = plan.get("resource", "")
        if resource == "$accounts":
            plan["resource"] = f"*{cast.spokes[0].uid}*"
        elif resource.startswith("$"):
            plan["resource"] = cast.instances[int(resource[1:])]
        planned = made.admin.plan(**plan)
        self._labels[planned["number"]] = sketch["label"]
        self.outcome.planned[sketch["label"]] += 1

    def _end_trouble(self, made: House) -> None:
        for fault in made.admin.faults():
            self.outcome.struck[self._labels[fault["number"]]] += fault["struck"]
        made.admin.clear()

    # -- afterwards --------------------------------------------------------------------------------------------------

    def _tick(self, made: House) -> None:
        """One pass of the deployed reconcile. Trouble may strike it like everybody else."""
        if not self._ticking.acquire(blocking=False):
            return  # one is under way
        try:
            self.outcome.ticks += 1
            made.tick()
        except GrantError as error:
            self._say(f"a tick did not end well: {error}")
        finally:
            self._ticking.release()

    def _theirs(self, made: House) -> Callable[[str, str], bool]:
        hubs = {self._casts[one.number].hub.uid for one in self.round.schedules if one.theirs}

        def theirs(grant_id: str, side: str) -> bool:
            owners = {standing.key.grant_id: standing.key.ecr_owner_uid for standing in made.ledger.standing()}
            return side == "associate" and owners[grant_id] in hubs

        return theirs

    def _rest(self, made: House) -> None:
        """Bring everything to rest; what does not come to rest is a fault, and everything else is judged all the same."""
        begun = time.monotonic()
        waiting = self._wait(made, REST_SECONDS, patience=REST_SECONDS)
        seconds = time.monotonic() - begun
        self.outcome.faults += [f"not at rest after {seconds:.0f} s: {line}" for line in waiting[:20]]

    def _wait(self, made: House, seconds: float, *, patience: float = 0.0) -> list[str]:
        """Ticks, and redriving what died of a missing permission, until all is at rest and told; what is not, in the end.

        ``patience``: after ``seconds`` it goes on for as long as something moved in the last so many seconds.
        """
        theirs = self._theirs(made)
        begun = moved = time.monotonic()
        last: tuple[int, int, int] | None = None
        while True:
            self._tick(made)
            if made.ledger.dead_rows():
                redriven = run("cli", "dead", "redrive", "--all", "--ledger-url", made.ledger_url)
                if redriven.returncode != 0:
                    raise HouseError(f"ecr-grants dead redrive: {redriven.stdout}{redriven.stderr}")
            soon = time.monotonic() + 5.0
            while time.monotonic() < soon:
                made.receive(1)
                waiting = made.unsettled(theirs)
                recorded, told = made.recorded(), len({one.body["id"] for one in made.told})
                on_the_way = made.on_the_way()
                if not waiting and told >= recorded and not on_the_way:
                    return []
            now = time.monotonic()
            if (len(waiting), recorded, told) != last:
                last, moved = (len(waiting), recorded, told), now
            missing = recorded - told
            self._say(
                f"{len(waiting)} not at rest yet, {missing} completions missing, {on_the_way} messages on the way"
            )
            if now > begun + seconds and (now > moved + patience or now > begun + LONGEST_SECONDS):
                return waiting or [f"{missing} completions missing, {on_the_way} messages on the way"]

    def _evidence(self, made: House) -> Evidence:
        return Evidence(
            sent=list(self._sent.values()),
            targets=self._targets,
            told=[(one.seen_at, one.body) for one in made.told],
            writes=made.writes(),
            world=made.world(),
            links=made.links,
            rules=Rules(int(SKEW_SECONDS * 1000), ENDS["dissociation"]),
            now_ms=int(time.time() * 1000),
            junk=self._junk,
        )

    def _replay(self, made: House, before: Evidence) -> None:
        """Every approval once more, the oldest last: nothing changes, nothing is even tried."""
        tried = len(before.writes)
        for one in reversed(list(self._sent.values())):
            if one.document["instance"]["owner_uid"] in self._stage.listed:  # the others are refused once per message
                made.send(json.dumps(one.document))
        self._rest(made)
        after = self._evidence(made)
        self.outcome.faults += [f"after the replay: {fault}" for fault in verdict(after)]
        for entry in after.writes[tried:]:
            where = f"{entry['operation']} (journal {entry['number']})"
            self.outcome.faults.append(f"{where}: the replay of old approvals made somebody write")

    def _story_of(self, made: House, instance: str, grant_id: str) -> str:
        """Everything that is known about an instance: approvals, log, completions, journal."""
        lines = ["# approvals", *(one.content for one in self._sent.values() if one.instance == instance)]
        lines += ["# log", made.story(grant_id, 1_000)]
        lines += ["# told", *(json.dumps(one.body) for one in made.told if instance in json.dumps(one.body))]
        lines += [
            "# journal",
            *(json.dumps(one) for one in made.admin.journal() if instance in json.dumps(one["params"])),
        ]
        return "\n".join(lines) + "\n"


class Foreign:
    """Somebody else's hand: what an administrator of either account does with the official SDK, unasked."""

    def __init__(self, made: House, hub: Hub, spoke: Spoke, instance: str) -> None:
        from alibabacloud_expressconnectrouter20230901 import models  # noqa: PLC0415  # takes a second to import
        from alibabacloud_expressconnectrouter20230901.client import Client  # noqa: PLC0415

        self._models = models
        self._made = made
        self._hub, self._spoke, self._instance = hub, spoke, instance
        self._kind = instance.partition("-")[0].upper()
        self.a = Client(config(made.address, hub.admin))
        self.b = Client(config(made.address, spoke.admin))

    def _granted(self) -> Json:
        return {
            "ecr_id": self._hub.ecr_id,
            "ecr_owner_ali_uid": int(self._hub.uid),
            "instance_id": self._instance,
            "instance_type": self._kind,
            "instance_region_id": REGION,
        }

    def grant(self) -> str:
        """Grant the instance to the router; the grant's id."""
        request = self._models.GrantInstanceToExpressConnectRouterRequest(**self._granted())
        self.b.grant_instance_to_express_connect_router(request)
        return next(
            str(one["grant_id"]) for one in self._made.world()["grants"] if one["instance_id"] == self._instance
        )

    def revoke(self) -> None:
        """Take the grant back."""
        request = self._models.RevokeInstanceFromExpressConnectRouterRequest(**self._granted())
        self.b.revoke_instance_from_express_connect_router(request)

    def associate(self, *prefixes: str) -> str:
        """Associate a VPC, or attach a VBR; the association's id."""
        if self._kind == "VPC":
            self.a.create_express_connect_router_association(
                self._models.CreateExpressConnectRouterAssociationRequest(
                    ecr_id=self._hub.ecr_id,
                    association_region_id=REGION,
                    vpc_id=self._instance,
                    vpc_owner_id=int(self._spoke.uid),
                    allowed_prefixes=list(prefixes) or ["192.168.0.0/24"],
                )
            )
        else:
            self.a.attach_express_connect_router_child_instance(
                self._models.AttachExpressConnectRouterChildInstanceRequest(
                    ecr_id=self._hub.ecr_id,
                    child_instance_id=self._instance,
                    child_instance_type="VBR",
                    child_instance_region_id=REGION,
                    child_instance_owner_id=int(self._spoke.uid),
                )
            )
        deadline = time.monotonic() + 20
        while (found := self.association())["status"] != "ACTIVE":
            if time.monotonic() > deadline:
                raise HouseError(f"{self._instance}: the foreign association is still {found['status']}")
            time.sleep(0.05)
        return str(found["association_id"])

    def association(self) -> Json:
        """The association or attachment as the world has it; its status is empty when there is none."""
        world = self._made.world()
        for one in (*world["associations"], *world["child_instances"]):
            if one["instance_id"] == self._instance:
                return dict(one)
        return {"status": ""}

    def dissociate(self) -> None:
        """Let go of the association or attachment, and wait until it is gone."""
        there = self.association()
        if self._kind == "VPC":
            self.a.delete_express_connect_router_association(
                self._models.DeleteExpressConnectRouterAssociationRequest(
                    ecr_id=self._hub.ecr_id, association_id=there["association_id"]
                )
            )
        else:
            self.a.detach_express_connect_router_child_instance(
                self._models.DetachExpressConnectRouterChildInstanceRequest(
                    ecr_id=self._hub.ecr_id, child_instance_id=self._instance, child_instance_type="VBR"
                )
            )
        deadline = time.monotonic() + 20
        while self.association()["status"]:
            if time.monotonic() > deadline:
                raise HouseError(f"{self._instance}: is still associated")
            time.sleep(0.05)

    def delete_router(self) -> None:
        """Delete the router, with nothing associated any more."""
        request = self._models.DeleteExpressConnectRouterRequest(ecr_id=self._hub.ecr_id)
        self.a.delete_express_connect_router(request)

    def change(self, *prefixes: str) -> None:
        """Allow other prefixes on the association."""
        self.a.modify_express_connect_router_association_allowed_prefix(
            self._models.ModifyExpressConnectRouterAssociationAllowedPrefixRequest(
                ecr_id=self._hub.ecr_id,
                association_id=self.association()["association_id"],
                allowed_prefixes=list(prefixes),
            )
        )


# -- the command -------------------------------------------------------------------------------------------------------


def without_proxies() -> None:
    """The SDKs send loopback calls to a proxy when the environment names one, so it must not."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]


def perform(rounds: Sequence[Round], folder: Path, together: int, say: Callable[[int, str], None]) -> list[Outcome]:
    """Play rounds, some at a time. A round that could not be played at all is a failure of that round."""

    def one(told: Round) -> Outcome:
        play = Play(told, folder / f"round-{told.number}", lambda text: say(told.number, text))
        try:
            return play.run()
        except Exception as error:  # noqa: BLE001  # whatever it was, the other rounds go on and the seed is told
            play.outcome.faults.append(f"{type(error).__name__}: {error}")
            return play.outcome

    with ThreadPoolExecutor(together) as pool:
        return list(pool.map(one, rounds))


def report(outcomes: Sequence[Outcome], console: Console) -> None:
    """Counts per kind of trouble, per switch setting and per kind of completion."""
    planned, struck, told = Counter[str](), Counter[str](), Counter[str]()
    for one in outcomes:
        planned, struck, told = planned + one.planned, struck + one.struck, told + one.told
    table = Table("trouble", "planned", "struck", title="planned trouble")
    for kind in sorted(planned):
        table.add_row(kind, str(planned[kind]), str(struck[kind]))
    console.print(table)
    table = Table("switch", "schedules by setting", title="undocumented behaviour")
    for name in Switches.model_fields:
        by_value = Counter[str]()
        for one in outcomes:
            by_value[one.round.switches[name]] += len(one.round.schedules)
        table.add_row(name, ", ".join(f"{value}: {count}" for value, count in sorted(by_value.items())))
    console.print(table)
    console.print("completions: " + ", ".join(f"{kind} {count}" for kind, count in sorted(told.items())))
    for one in outcomes:
        state = f"{len(one.faults)} FAULTS" if one.faults else "ok"
        console.print(
            f"{one.round.title}: {state}; {one.approvals} approvals, {one.calls} calls, {one.ticks} ticks, "
            f"at rest after {one.resting_after:.0f} s, {one.seconds:.0f} s in all"
            + (f"; {len(one.gaps)} writes not judged" if one.gaps else "")
        )


def main() -> int:
    """Run the command; the exit code."""
    parser = argparse.ArgumentParser(description="Life cycles over the wire, under trouble.")
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--per-round", type=int, default=25, help="schedules that share a deployment")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long messages come in a round")
    parser.add_argument("--together", type=int, default=2, help="rounds at a time")
    parser.add_argument("--round", type=int, help="only this round of the run")
    parser.add_argument("--keep", type=Path, help="keep what the rounds leave behind in this folder")
    asked = parser.parse_args()
    without_proxies()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    console = Console(soft_wrap=True, highlight=False)
    rounds = rounds_of(asked.seed, asked.schedules, asked.per_round, asked.seconds)
    rounds = [one for one in rounds if asked.round is None or one.number == asked.round]
    console.print(f"seed {asked.seed}: {sum(len(one.schedules) for one in rounds)} schedules in {len(rounds)} rounds")
    begun = time.monotonic()
    lock = threading.Lock()

    def say(number: int, text: str) -> None:
        with lock:
            console.print(f"{time.monotonic() - begun:6.0f} s  round {number}: {text}", markup=False)

    with tempfile.TemporaryDirectory(prefix="ecr-grants-wire-") as scratch:
        outcomes = perform(rounds, asked.keep or Path(scratch), asked.together, say)
    report(outcomes, console)
    failed = [one for one in outcomes if one.faults]
    never = [kind for kind in KINDS if not sum(one.struck[kind] for one in outcomes)]
    for one in failed:
        for fault in one.faults:
            console.print(f"FAULT in round {one.round.number}: {fault}", markup=False)
    seconds = time.monotonic() - begun
    if failed:
        again = f"--seed {asked.seed} --schedules {asked.schedules} --per-round {asked.per_round} --seconds {asked.seconds:g}"
        numbers = ", ".join(str(one.round.number) for one in failed)
        console.print(
            f"FAILED after {seconds:.0f} s in round {numbers}; again: {again} --round N --keep FOLDER", markup=False
        )
        return 1
    if never and asked.round is None and asked.schedules >= 200:
        console.print(f"FAILED after {seconds:.0f} s: trouble that never struck proves nothing: {', '.join(never)}")
        return 1
    console.print(f"OK: {sum(len(one.schedules) for one in rounds)} schedules in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
