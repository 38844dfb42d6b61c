"""The referee: what must exist after any amount of trouble, worked out from the approvals that were sent and from nothing else.

It knows the rules of leases from the design and shares no code with the product. Its evidence is the local cloud's journal
and world, and the completions that the topic delivered.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_network
from typing import Any

Json = dict[str, Any]

FINAL = ("done", "rejected", "dead")
Outcomes = dict[tuple[str, str], dict[str, list[tuple[int, Json]]]]
"""By (issuer, request id) and content digest: where a completion was first seen, and the completion."""
_GRANT, _REVOKE = "GrantInstanceToExpressConnectRouter", "RevokeInstanceFromExpressConnectRouter"
_CREATE, _DELETE = "CreateExpressConnectRouterAssociation", "DeleteExpressConnectRouterAssociation"
_ATTACH, _DETACH = "AttachExpressConnectRouterChildInstance", "DetachExpressConnectRouterChildInstance"
_MODIFY = "ModifyExpressConnectRouterAssociationAllowedPrefix"
_ADDING, _TAKING = (_GRANT, _CREATE, _ATTACH), (_REVOKE, _DELETE, _DETACH)


@dataclass(frozen=True)
class Sent:
    """An approval that was handed in. ``after``: the journal's last number just before it was sent for the first time."""

    document: Json
    after: int

    @property
    def name(self) -> tuple[str, str]:
        """What its issuer calls it."""
        return self.document["issuer"], self.document["request_id"]

    @property
    def content(self) -> str:
        """All that it says: two contents under one name are two approvals."""
        return json.dumps(self.document, sort_keys=True)

    @property
    def instance(self) -> str:
        """The instance it is about; every instance of a schedule is about one router."""
        return str(self.document["instance"]["id"])

    @property
    def approved_ms(self) -> int:
        """When it was approved."""
        return milliseconds(self.document["approved_at"])

    @property
    def ended_by_ms(self) -> int | None:
        """When its lease ends by itself; None when it does not."""
        if self.document.get("ends_at") is None or self.document.get("on_end") != "teardown":
            return None
        return milliseconds(self.document["ends_at"])


def milliseconds(text: str) -> int:
    """Epoch milliseconds of an ISO time."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@dataclass(frozen=True)
class Target:
    """An instance that approvals were about, and what was there before any of them."""

    instance: str
    kind: str
    ecr: str
    foreign_grant: str | None = None  # its id
    foreign_association: str | None = None
    exists: bool = True
    association_is_ours: bool = True


@dataclass(frozen=True)
class Rules:
    """The settings that decide what approvals mean, and how long what is let go still hangs on."""

    skew_ms: int
    letting_go_seconds: float


@dataclass
class Evidence:
    """What the referee may look at."""

    sent: Sequence[Sent]
    targets: Sequence[Target]
    told: Sequence[tuple[int, Json]]  # (a journal number that was passed when it was read, completion)
    writes: Sequence[Json]  # journal entries of every call that wanted to change grants or associations
    world: Json
    links: Mapping[str, str]  # instance by association id
    rules: Rules
    now_ms: int
    junk: Sequence[str] = ()  # ids of messages that were no approvals
    ours: frozenset[str] = frozenset({"ecr-grants-spoke", "ecr-grants-hub"})  # roles that only the functions enter
    gaps: list[str] = field(default_factory=list)  # what could not be judged for want of evidence

    def served(self) -> dict[str, str]:
        """Instance by API request id, as completions tell: a call that deletes an association names no instance."""
        found = {}
        for _, told in self.told:
            for call in told.get("served", []):
                if told.get("grant"):
                    found[call["api_request_id"]] = told["grant"]["instance_id"]
        return found

    def instance_of(self, entry: Json, served: Mapping[str, str]) -> str | None:
        """The instance that a write was about."""
        params = entry["params"]
        for name in ("InstanceId", "VpcId", "ChildInstanceId"):
            if name in params:
                return str(params[name])
        return self.links.get(params.get("AssociationId", "")) or served.get(entry["request_id"])


def verdict(evidence: Evidence) -> list[str]:
    """Every violation, as sentences; empty when all is well."""
    return [
        *_world_is_right(evidence),
        *_answers_are_right(evidence),
        *_later_answers_are_right(evidence),
        *_everything_was_published(evidence),
        *_writes_were_allowed(evidence),
        *_tokens_were_fresh(evidence),
    ]


# -- what should be ----------------------------------------------------------------------------------------------------


def closing(lease: Sent, sent: Iterable[Sent], rules: Rules) -> list[Sent]:
    """The revokes that close a lease, wherever in the order of messages they stand: on its own grant, and its own issuer's."""
    return [one for one in sent if one.instance == lease.instance and _reaches(one, lease, rules)]


def _reaches(revoke: Sent, lease: Sent, rules: Rules) -> bool:
    closes = revoke.document.get("closes")
    if closes == "everyone":  # whose clock it was is anybody's guess
        return lease.approved_ms <= revoke.approved_ms + rules.skew_ms
    if closes is None or revoke.name[0] != lease.name[0]:
        return False
    return lease.approved_ms <= revoke.approved_ms if closes == "all" else lease.name[1] in closes


def leases(sent: Iterable[Sent], instance: str) -> list[Sent]:
    """The approvals that open a lease on an instance, each content once."""
    opened = {one.content: one for one in reversed(list(sent)) if "closes" not in one.document}
    return [one for one in opened.values() if one.instance == instance]


def live(evidence: Evidence, target: Target) -> list[Sent]:
    """The leases that keep a target up in the end."""
    if not target.exists:
        return []
    return [
        lease
        for lease in leases(evidence.sent, target.instance)
        if not closing(lease, evidence.sent, evidence.rules) and _outlasts(lease, evidence)
    ]


def _outlasts(lease: Sent, evidence: Evidence) -> bool:
    """Whether a lease keeps something up until now: past an end that is only reported, what was up before it."""
    if lease.ended_by_ms is not None:
        return lease.ended_by_ms > evidence.now_ms
    if lease.document.get("ends_at") is None or milliseconds(lease.document["ends_at"]) > evidence.now_ms:
        return True
    return any(told["event"] == "done" for found in outcomes(evidence)[lease.name].values() for _, told in found)


def prefixes(alive: Iterable[Sent]) -> list[str]:
    """What several leases allow together."""
    return sorted({each for one in alive for each in one.document.get("allowed_prefixes", [])}, key=ip_network)


def _world_is_right(evidence: Evidence) -> Iterator[str]:
    """A grant exists exactly while a live lease does, its association too; what was there before us still is."""
    grants, links = _by_instance(evidence.world["grants"]), _links(evidence.world)
    for target in evidence.targets:
        alive = live(evidence, target)
        yield from _grant_is_right(target, alive, grants.pop(target.instance, []))
        yield from _association_is_right(target, alive, links.pop(target.instance, []))
    for instance in {*grants, *links}:
        yield f"{instance}: something is up that nobody ever asked for"


def _grant_is_right(target: Target, alive: Sequence[Sent], there: Sequence[Json]) -> Iterator[str]:
    if target.foreign_grant is not None:
        if [one["grant_id"] for one in there] != [target.foreign_grant]:
            yield f"{target.instance}: the foreign grant {target.foreign_grant} was touched (found {there})"
    elif bool(alive) != (len(there) == 1):
        yield f"{target.instance}: {len(alive)} live leases, {len(there)} grants"


def _association_is_right(target: Target, alive: Sequence[Sent], there: Sequence[Json]) -> Iterator[str]:
    if target.foreign_association is not None:
        if [(one["association_id"], one["ended_by"]) for one in there] != [(target.foreign_association, None)]:
            yield f"{target.instance}: the foreign association was touched (found {there})"
        return
    if not target.association_is_ours:
        if there:
            yield f"{target.instance}: associated, although that is account A's own to do"
        return
    if bool(alive) != (len(there) == 1):
        yield f"{target.instance}: {len(alive)} live leases, {len(there)} associations"
    for one in there if alive else ():
        if one["status"] != "ACTIVE":
            yield f"{target.instance}: the association is {one['status']}"
        if target.kind == "VPC" and sorted(one["allowed_prefixes"], key=ip_network) != prefixes(alive):
            yield f"{target.instance}: allowed are {one['allowed_prefixes']}, approved {prefixes(alive)}"


def _by_instance(found: Iterable[Json]) -> dict[str, list[Json]]:
    sorted_in: dict[str, list[Json]] = defaultdict(list)
    for one in found:
        sorted_in[one["instance_id"]].append(one)
    return sorted_in


def _links(world: Json) -> dict[str, list[Json]]:
    return _by_instance([*world["associations"], *world["child_instances"]])


# -- what was told -----------------------------------------------------------------------------------------------------


def outcomes(evidence: Evidence) -> Outcomes:
    """Final completions by request and content digest, each completion once, with where it was first seen."""
    return _finals(evidence, again=False)


def answers_again(evidence: Evidence) -> Outcomes:
    """The same of what was told whoever sent a request once more, after it had its outcome."""
    return _finals(evidence, again=True)


def _finals(evidence: Evidence, *, again: bool) -> Outcomes:
    """An outcome names the message that its approval was admitted with; an answer to a later message names that one."""
    found: Outcomes = defaultdict(lambda: defaultdict(list))
    admitted = {
        _request(told): told.get("message_id") for _, told in evidence.told if told["event"] in ("admitted", "early")
    }
    known: set[str] = set()
    for seen_at, told in evidence.told:
        request = told.get("request")
        if told["event"] not in FINAL or request is None or told["id"] in known:
            continue
        known.add(told["id"])
        of_another = _request(told) in admitted and admitted[_request(told)] != told.get("message_id")
        if of_another is again:
            found[request["issuer"], request["request_id"]][request["digest"]].append((seen_at, told))
    return found


def _request(told: Json) -> tuple[str, str, str]:
    request = told["request"]
    return request["issuer"], request["request_id"], request["digest"]


def _later_answers_are_right(evidence: Evidence) -> Iterator[str]:
    """Each message is answered once, dead ones once more, and with what holds: what is live is not rejected."""
    contents_of = Counter(name for name, _ in {(one.name, one.content) for one in evidence.sent})
    revokes = {one.name for one in evidence.sent if "closes" in one.document}
    alive = {one.name for target in evidence.targets for one in live(evidence, target)}
    for name, contents in answers_again(evidence).items():
        messages = Counter(
            told["message_id"] for found in contents.values() for _, told in found if told["event"] != "dead"
        )
        yield from (
            f"{name}: message {message} was answered {often} times" for message, often in messages.items() if often > 1
        )
        events = {told["event"] for found in contents.values() for _, told in found}
        if "rejected" in events and contents_of[name] == 1 and name in revokes | alive:
            yield f"{name}: was sent again and rejected, though it {'closes' if name in revokes else 'is live'}"


def _answers_are_right(evidence: Evidence) -> Iterator[str]:
    """Every approval has exactly one final outcome, and it is the right one. It may be told dead before, each time it was."""
    answered = outcomes(evidence)
    by_name: dict[tuple[str, str], dict[str, Sent]] = defaultdict(dict)
    for one in evidence.sent:
        by_name[one.name].setdefault(one.content, one)
    exists = {target.instance: target for target in evidence.targets}
    for name, contents in by_name.items():
        found = answered.pop(name, {})
        if len(found) != len(contents):
            yield f"{name}: {len(contents)} contents were approved, {len(found)} were answered"
        allowed = {end for one in contents.values() for end in _ends(evidence, one, exists.get(one.instance))}
        for told in found.values():
            events = [one["event"] for _, one in told]
            last = [event for event in events if event != "dead"]
            if len(last) != 1:
                yield f"{name}: final outcomes {events}"
            elif last[0] not in allowed:
                yield f"{name}: was {last[0]} ({told[-1][1]['reason']}), should be {' or '.join(sorted(allowed))}"
    for name in answered:
        yield f"{name}: answered, although nobody sent it"
    refused = Counter(
        {told["id"]: told.get("message_id") for _, told in evidence.told if told["event"] == "rejected"}.values()
    )
    for message_id in evidence.junk:
        if refused[message_id] != 1:
            yield f"message {message_id} was no approval, and was rejected {refused[message_id]} times"


def _ends(evidence: Evidence, one: Sent, target: Target | None) -> set[str]:
    """How an approval may end. What is closed in the end may have been done before, or overtaken."""
    if target is None:
        return {"rejected"}
    if "closes" in one.document:
        return {"done"}
    if not target.exists:
        return {"rejected"}
    return {"done"} if one in live(evidence, target) else {"done", "rejected"}


def _everything_was_published(evidence: Evidence) -> Iterator[str]:
    """Every recorded fact about a grant came out: their numbers have no gap, and one number is one fact, said the same way."""
    numbers: dict[str, dict[int, str]] = defaultdict(dict)
    bodies: dict[str, Json] = {}
    for _, told in evidence.told:
        if bodies.setdefault(told["id"], told) != told:
            yield f"completion {told['id']}: told twice and differently"
        if told.get("number") is None:
            continue
        name = told["grant"]["instance_id"]
        if numbers[name].setdefault(told["number"], told["id"]) != told["id"]:
            yield f"{name}: two facts have the number {told['number']}"
    for name, found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"{name}: facts are missing, there are {sorted(found)}"


# -- what was done -----------------------------------------------------------------------------------------------------


def _writes_were_allowed(evidence: Evidence) -> Iterator[str]:
    """Every write of ours had an approval, and none came at a moment at which it must not.

    The order in which the cloud saw things is the journal's. An approval counts as known from just before it was sent, an
    outcome from when it was read, so what is judged to be certain was certain.
    """
    served = evidence.served()
    certain = _Certainties(evidence)
    targets = {target.instance: target for target in evidence.targets}
    standing: dict[str, list[float | None]] = defaultdict(list)  # until when each association hangs on
    for entry in evidence.writes:
        operation, number = entry["operation"], int(entry["number"])
        instance = evidence.instance_of(entry, served)
        where = f"{operation} (journal {number}) of {instance}"
        if instance is None:
            if entry["effect"]:
                evidence.gaps.append(f"{operation} (journal {number}): of an association that nobody saw")
            continue
        moment = datetime.fromisoformat(entry["time"]).timestamp()
        if entry["caller"].get("name") in evidence.ours:
            if instance not in targets:
                yield f"{where}: nobody ever approved anything about it"
                continue
            yield from certain.objections(operation, number, targets[instance], where)
            if operation == _REVOKE and any(until is None or moment < until for until in standing[instance]):
                yield f"{where}: while an association existed"
            if operation == _MODIFY and entry["effect"]:
                yield from _routes_were_approved(entry, evidence, instance, where)
        if entry["effect"] and operation in (_CREATE, _ATTACH):
            standing[instance].append(None)
        if entry["effect"] and operation in (_DELETE, _DETACH):
            until = moment + evidence.rules.letting_go_seconds
            standing[instance] = [until if one is None else one for one in standing[instance]]


def _routes_were_approved(entry: Json, evidence: Evidence, instance: str, where: str) -> Iterator[str]:
    """Only prefixes that some approval names were ever allowed."""
    named = {value for name, value in entry["params"].items() if name.startswith("AllowedPrefixes.")}
    approved = set(prefixes(leases(evidence.sent, instance)))
    if not named <= approved:
        yield f"{where}: allows {sorted(named - approved)}, which nobody approved"


class _Certainties:
    """What was certain at each place of the journal."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._done: dict[tuple[str, str], int] = {}
        for name, contents in outcomes(evidence).items():
            seen = [at for told in contents.values() for at, one in told if one["event"] == "done"]
            if seen and len(contents) == 1:
                self._done[name] = min(seen)

    def objections(self, operation: str, number: int, target: Target, where: str) -> Iterator[str]:
        """Why a write of ours must not have been made at this place of the journal."""
        opened = [one for one in leases(self._evidence.sent, target.instance) if one.after < number]
        if operation in _TAKING:
            if target.foreign_grant if operation == _REVOKE else target.foreign_association:
                yield f"{where}: it was there before us"
            kept = [one for one in opened if self._certainly_live(one, number)]
            if kept:
                yield f"{where}: while {kept[0].name} was done and not closed"
            if not opened:
                yield f"{where}: nothing had been approved"
        if operation in _ADDING:
            if not opened:
                yield f"{where}: nothing had been approved yet"
            elif all(self._certainly_closed(one, number) for one in opened):
                yield f"{where}: every lease had been closed"

    def _closing(self, lease: Sent) -> list[Sent]:
        return closing(lease, self._evidence.sent, self._evidence.rules)

    def _certainly_live(self, lease: Sent, number: int) -> bool:
        done = self._done.get(lease.name)
        if done is None or done >= number or lease.ended_by_ms is not None:
            return False
        return all(one.after >= number for one in self._closing(lease))

    def _certainly_closed(self, lease: Sent, number: int) -> bool:
        return any(self._done.get(one.name, number) < number for one in self._closing(lease))


def _tokens_were_fresh(evidence: Evidence) -> Iterator[str]:
    """A client token of ours stands for one write: it never comes back with other content."""
    known: dict[str, tuple[str, str]] = {}
    for entry in evidence.writes:
        token = entry["params"].get("ClientToken")
        if token and entry["caller"].get("name") in evidence.ours:
            said = (entry["operation"], json.dumps(entry["params"], sort_keys=True))
            if known.setdefault(token, said) != said:
                yield f"{entry['operation']} (journal {entry['number']}): the token {token} was used for something else"


def counts(evidence: Evidence) -> Counter[str]:
    """How often each kind of fact was told, each fact once: a run that never saw one of them has not tried it."""
    return Counter({told["id"]: told["event"] for _, told in evidence.told}.values())
