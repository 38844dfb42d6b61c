"""The schedules of the proof over the wire: plain data out of a seed, about approvals, and trouble that happens to them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.house import FUNCTIONS
from tests.functional.world import ASSOCIATE_FUNCTION, GRANT_FUNCTION, RECONCILE_FUNCTION

Json = dict[str, Any]

# What is late, or older than it seems, together stays well below SETTLE_SECONDS of the play: that is what this setting promises.
LATE_SECONDS, LAG_SECONDS = 0.7, 0.7
ISSUERS = ("self-service", "ticket-desk")
DESK = "night-desk"  # may close what others opened


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


class _Author:
    """Writes approvals about one instance. Their times are kept in order, apart by more or less than clocks may differ."""

    def __init__(self, chance: random.Random, name: str, index: int, plot: Plot) -> None:
        self._chance, self._index, self._plot = chance, index, plot
        self._requests = (f"R-{name}-{count}" for count in itertools.count(1))
        self.approved = itertools.accumulate((chance.choice((0.5, 1.5, 4.0, 9.0)) for _ in range(20)), initial=-60.0)

    def grant(self, **more: Any) -> Json:
        """One that opens a lease."""
        document: Json = {"action": "grant", "request_id": next(self._requests)}
        document["issuer"] = self._chance.choice(ISSUERS)
        document |= {"$": self._index, "approved_at": next(self.approved)}
        if self._plot.kind == "VPC":
            routes = {f"10.{self._chance.randrange(1, 5)}.0.0/16" for _ in range(2)}
            document["allowed_prefixes"] = sorted(routes)
        return {**document, **more}

    def revoke(self, closes: Any, issuer: str = "") -> Json:
        """One that closes some."""
        request_id, issuer = next(self._requests), issuer or self._chance.choice(ISSUERS)
        document = {"action": "revoke", "request_id": request_id, "issuer": issuer, "$": self._index}
        return {**document, "approved_at": next(self.approved), "closes": closes}

    def closing(self, lease: Json) -> Json:
        """One that closes that lease."""
        return self.revoke([lease["request_id"]], lease["issuer"])


def _told(chance: random.Random, author: _Author, seconds: float) -> list[Json]:
    """The approvals about one instance: what is opened, what is closed."""
    grant, revoke, closing = author.grant, author.revoke, author.closing
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
            told = [grant(), grant()]
            told += [revoke(*chance.choice((("all", told[0]["issuer"]), ("everyone", DESK))))]
        case 6:  # a close that comes before its open
            first = grant()
            told = [closing(first), first]
        case 7:  # ends by itself
            told = [grant(ends_at=chance.uniform(2.0, seconds), on_end="teardown")]
            told += [grant()] if chance.random() < 0.4 else []
        case 8:  # would end, and is only reported; or ends long from now
            told = [grant(ends_at=chance.choice((chance.uniform(2.0, seconds), 90_000.0)))]
        case 9:  # dated ahead of what clocks may differ: early until then
            told = [grant(approved_at=chance.uniform(3.0, seconds)), grant()]
        case 10:  # closed, and wanted again
            first = grant()
            told = [first, revoke("all", first["issuer"]), grant(approved_at=next(author.approved) + 5.0)]
        case _:  # one name, two contents
            first = grant()
            told = [first, {**first, "reason": "Another reason under the same name"}]
            told += [closing(first)] if chance.random() < 0.5 else []
    return told


def _story(chance: random.Random, name: str, index: int, plot: Plot, seconds: float) -> Iterator[Action]:
    """The approvals about one instance, in whatever order and however often they arrive."""
    told = _told(chance, _Author(chance, name, index, plot), seconds)
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
        document = {"action": "grant", "request_id": f"R-{number}-unlisted", "issuer": ISSUERS[0], "$": -1}
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


@dataclass(frozen=True)
class _Aim:
    """What trouble may strike: a write and a read about one instance, or one of the functions that act."""

    write: Json
    read: Json
    either: Json
    acting: str
    after: int


def _aim(chance: random.Random, kind: str, plots: Sequence[Plot]) -> _Aim:
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
    return _Aim(write, read, either, acting, after)


def _one_trouble(chance: random.Random, kind: str, plots: Sequence[Plot]) -> tuple[str, Json]:
    aim = _aim(chance, kind, plots)
    fault = _of_a_call(chance, kind, aim) or _of_messages(chance, kind, aim) or _of_a_death(chance, kind, aim)
    return ("fault", fault) if fault is not None else _by_itself(chance, kind)


def _of_a_call(chance: random.Random, kind: str, aim: _Aim) -> Json | None:
    """Trouble with a call about an instance."""
    match kind:
        case "throttle":
            more = {"retry_after": 800} if chance.random() < 0.3 else {}
            return {**aim.either, "kind": kind, "times": chance.choice((1, 2)), **more}
        case "server_error":
            return {**aim.either, "kind": kind, "body": chance.choice(("json", "html", "empty")), "times": 1}
        case "error":
            return {
                **aim.write,
                "kind": kind,
                "status": 400,
                "code": "Conflict.Lock",
                "times": chance.choice((1, 2)),
            }
        case "denied":
            return {**aim.either, "kind": "error", "status": 403, "code": "NoPermission", "times": 1}
        case "cut_before" | "cut_after":
            return {**aim.either, "kind": kind, "times": 1}
        case "late":
            return {**aim.write, "kind": kind, "seconds": round(chance.uniform(0.1, LATE_SECONDS), 2)}
        case "lag":
            seconds = round(chance.uniform(0.1, LAG_SECONDS), 2)
            return {**aim.read, "kind": kind, "seconds": seconds, "times": chance.choice((1, 3))}
        case "expire_token":
            return {**aim.either, "kind": kind}
        case "slow":
            return {**aim.either, "kind": kind, "seconds": round(chance.uniform(0.1, 0.8), 2)}
    return None


def _of_messages(chance: random.Random, kind: str, aim: _Aim) -> Json | None:
    """Trouble with messages, and with entering accounts."""
    match kind:
        case "duplicate" | "reorder":
            where = chance.choice(
                (
                    {"service": "fc", "operation": "InvokeFunction", "resource": aim.acting},
                    {"service": "mns", "operation": "ReceiveMessage", "resource": "ecr-a*s"},
                )
            )
            return {**where, "label": kind, "kind": kind, "times": chance.choice((1, 2, 4))}
        case "delivery":
            how = chance.choice(("cut_before", "cut_after", "server_error"))
            return {
                "label": kind,
                "kind": how,
                "service": "mns",
                "operation": "DeliverMessage",
                "after": aim.after,
            }
        case "outbox":
            how = chance.choice(("throttle", "server_error", "cut_before", "cut_after"))
            what = chance.choice(("PublishMessage", "SendMessage"))
            place = {"service": "mns", "operation": what, "function": aim.acting, "after": aim.after}
            return {**place, "label": kind, "kind": how}
        case "sts":
            how = chance.choice(("throttle", "server_error", "cut_before", "cut_after"))
            place = {"service": "sts", "operation": "AssumeRole", "resource": "$accounts"}
            return {**place, "label": kind, "kind": how, "times": chance.choice((1, 2))}
    return None


def _of_a_death(chance: random.Random, kind: str, aim: _Aim) -> Json | None:
    """The death of whoever makes a call."""
    match kind:
        case "kill_before" | "kill_after" | "kill_reply":
            outbox = {"label": kind, "service": "mns", "function": aim.acting}
            outbox["operation"] = chance.choice(("PublishMessage", "SendMessage"))
            chosen = chance.choice((aim.write, aim.write, aim.write, aim.read, outbox))
            return {**chosen, "kind": kind, "after": aim.after if chosen is not aim.write else 0}
        case "kill_tick":
            place = {"function": RECONCILE_FUNCTION, "after": chance.randrange(60)}
            return {**place, "label": kind, "kind": chance.choice(KILLS)}
    return None


def _by_itself(chance: random.Random, kind: str) -> tuple[str, Json]:
    """What strikes by itself, at any time."""
    match kind:
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
