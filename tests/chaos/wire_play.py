"""Rounds of the proof over the wire: many schedules on one deployment, played, brought to rest, judged, and replayed."""

from __future__ import annotations

import heapq
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.switches import Switches
from shared.errors import GrantError
from shared.ledger.drift import read_standing
from shared.ledger.operating import dead_rows
from tests.chaos.administrators import Administrators
from tests.chaos.house import House, HouseError, house
from tests.chaos.judge import Evidence, Rules, Sent, Target, answers_again, counts, verdict
from tests.chaos.wire_schedule import DESK, ISSUERS, Action, Schedule, schedule
from tests.functional.launch import ledger_busy, ledger_without, run
from tests.functional.world import REGION, Hub, Spoke, Stage

Json = dict[str, Any]

SKEW_SECONDS, SETTLE_SECONDS, WARN_SECONDS, STUCK_SECONDS = 2.0, 2.0, 3.0, 8.0
ENDS = {"association": 0.6, "attachment": 0.6, "dissociation": 0.8, "detachment": 0.8, "modification": 0.5, "lock": 0.1}
KILL_TIMEOUT = 15
TICK_SECONDS, PATIENCE_SECONDS, TROUBLE_SECONDS = 10.0, 20.0, 30.0
# Nothing may stand still for longer than a dead worker's claim and the longest pauses after failures together.
REST_SECONDS, LONGEST_SECONDS = 75.0, 600.0


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
        self._stage.issuers |= {issuer: {} for issuer in ISSUERS} | {DESK: {"everyone": True}}

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
        for standing in list(read_standing(made.ledger)) if self.outcome.faults else ():
            names = (standing.key.instance_id, standing.key.grant_id)
            if any(name in fault for fault in self.outcome.faults for name in names):
                (self._folder / f"{names[0]}.log").write_text(self._story_of(made, *names), "utf-8")

    # -- before ------------------------------------------------------------------------------------------------------

    def _put_up(self, made: House, told: Schedule) -> Iterator[Target]:
        """What somebody else has put up already, with the official SDK."""
        cast = self._casts[told.number]
        for plot, instance in zip(told.plots, cast.instances, strict=True):
            owner = cast.spokes[plot.spoke]
            admins = Administrators(made, cast.hub, owner, instance)
            grant = admins.grant() if plot.foreign else None
            link = admins.associate() if plot.foreign == "association" else None
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
            time.sleep(max(0.0, min(at - now, 0.05)))  # a schedule happens in real time
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
            time.sleep(seconds)  # the trouble is that it lasts

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
            "schema": "ecr-grants/approval/3",
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
        made.send(document, delay=delay, plain=plain)

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
            owners = {
                standing.key.grant_id: standing.key.ecr_owner_uid for standing in list(read_standing(made.ledger))
            }
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
            if made.ledger.read(dead_rows):
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
        """Every approval once more, the oldest last: nothing changes, nothing is even tried, and each is answered once."""
        tried, sent = len(before.writes), {}
        for one in reversed(list(self._sent.values())):
            if one.document["instance"]["owner_uid"] in self._stage.listed:  # the others are refused once per message
                sent[made.send(one.document)] = one.name
        self._rest(made)
        after = self._evidence(made)
        self.outcome.faults += [f"after the replay: {fault}" for fault in verdict(after)]
        finals = [told for found in answers_again(after).values() for some in found.values() for _, told in some]
        answered = {told["message_id"] for told in finals}
        silent = [name for message_id, name in sent.items() if message_id not in answered]
        self.outcome.faults += [f"{name}: was sent once more, and nobody answered" for name in silent]
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
