"""What people say at the desk in the model test: they ask, decide and withdraw, preflight looks, and who may speak changes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from shared.errors import BadInput, NotAllowed, Unconfigured
from shared.ledger.consent import standings
from shared.loop.asking import Answer, Desk, looked
from shared.messages.approval import Ecr, Every, Instance, OnEnd
from shared.messages.completion import WAKE
from shared.messages.consent import Looked, RequestKind, Strength, Voice, Wish, snapshot_of
from shared.messages.forms import GrantKey
from shared.rules.consent import Stage
from shared.rules.facts import Side
from tests.chaos.asking import ENDS
from tests.chaos.deciding import OWNERS, PERSONS
from tests.chaos.model_schedule import Op
from tests.chaos.model_world import HOUR, MINUTE, ROUTES, written
from tests.chaos.operators import decide
from tests.chaos.reference import Document, millis
from tests.chaos.spoken import DESK, Request, Word, speaks, suffices
from tests.chaos.story import Story
from tests.chaos.turns import Violation

LAPSE = timedelta(minutes=30)
_MOST = 6  # requests that can be decided at once
_KINDS = (*[RequestKind.GRANT] * 4, RequestKind.CHANGE, RequestKind.REVOKE)


def _desk(story: Story) -> Desk:
    """The desk's one process, which stays warm."""
    return Desk(story.ledger, story.front, story.turns.clock, lapse=LAPSE)


def _voice(person: str, chance: random.Random) -> Voice:
    """A person, by either of their subjects."""
    return Voice(person=person, subject=f"{chance.choice(['desk', 'other'])}:{person}", strength=Strength.SIGNED_IN)


def _wake(story: Story) -> None:
    """Whoever said something has the grant function woken; which may get lost."""
    story.post.send(Side.GRANT, json.dumps({"schema": WAKE}), story.turns.now)


def _wish(story: Story, op: Op) -> bool:
    """Somebody asks for a lease, for another in place of one, for its end, or for one in an emergency."""
    chance = random.Random(repr(op[1:4]))  # noqa: S311  # a test's choices, not a secret
    if len(story.spoken.standing(story.turns.now)) >= _MOST:
        return False
    key = story.keys[op.a % len(story.keys)]
    person = chance.choice([*["asker"] * 4, *PERSONS])
    wish = _wished(story, key, chance)
    try:
        name = str(len(story.spoken.requests))  # so that its id is the same whenever this is played
        (answer,) = _desk(story).ask(_voice(person, chance), [wish], name=name)
    except (NotAllowed, BadInput, Unconfigured) as error:
        story.say(f"{person} may not ask: {error}")
        story.counts["people: may not ask"] += 1
        return True
    asked = answer.standing.asked
    at, lapses_at = (round(one.timestamp() * 1000) for one in (asked.at, asked.lapses_at))
    story.spoken.requests[asked.request_id] = Request(
        asked.request_id, person, _approval(asked.request_id, person, wish), wish.emergency, at, lapses_at
    )
    story.say(f"{person} asks {_short(asked.request_id)}: {wish.kind} {key.instance_id} until {wish.ends_at}")
    _wake(story)
    return True


def _wished(story: Story, key: GrantKey, chance: random.Random) -> Wish:
    ours = [str(lease["request_id"]) for lease in story.leases(key) if lease["issuer"] == DESK]
    kind = chance.choice(_KINDS)
    if kind is RequestKind.CHANGE and not ours:
        kind = RequestKind.GRANT
    about: dict[str, Any] = {
        "kind": kind,
        "ecr": Ecr(id=key.ecr_id, owner_uid=key.ecr_owner_uid),
        "instance": Instance(
            type=key.instance_type, id=key.instance_id, region=key.instance_region, owner_uid=key.instance_owner_uid
        ),
        "reason": "somebody needs it",
    }
    if kind is RequestKind.REVOKE:
        some: list[Any] = [Every.ALL, Every.EVERYONE, *([ours[:1]] if ours else [])]
        return Wish(**about, closes=chance.choice(some))
    ends = chance.choice([*ENDS, 15 * MINUTE, 2 * HOUR])
    emergency = kind is RequestKind.GRANT and chance.random() < 0.15
    if emergency:
        ends = 20 * MINUTE
    return Wish(
        **about,
        allowed_prefixes=chance.sample(ROUTES, chance.choice([1, 1, 2])) if key.instance_type == "VPC" else [],
        ends_at=None if ends is None else datetime.fromtimestamp((story.turns.now + ends) / 1000, UTC),
        on_end=OnEnd.TEARDOWN if emergency or (ends is not None and chance.random() < 0.7) else OnEnd.REPORT,
        replaces=ours[:1] if kind is RequestKind.CHANGE else [],
        emergency=emergency,
    )


def _approval(request_id: str, person: str, wish: Wish) -> Document:
    """As an approval would say what is asked for."""
    told = wish.content
    document: Document = {
        "schema": "ecr-grants/approval/3",
        "issuer": DESK,
        "request_id": request_id,
        "action": "grant" if wish.opens else "revoke",
        **{name: told[name] for name in ("ecr", "instance", "reason")},
        "requested_by": person,
    }
    if not wish.opens:
        return {**document, "closes": told["closes"]}
    return {**document, **{name: told[name] for name in ("allowed_prefixes", "ends_at", "on_end", "replaces")}}


def _look(story: Story, op: Op) -> bool:
    """Preflight has looked: for the first time, again at the same, or at something else."""
    request = _chosen(story, op, seen=op.c % 4 == 0)
    if request is None:
        return False
    content: dict[str, JsonValue] = {
        "wish": request.request_id,
        "seen": {"owner": "B" if request.shown is None else f"B{op.b // 2 % 3 // 2}"},
    }
    snapshot, failed = snapshot_of(content), int(op.luck % 8 == 1)
    at = datetime.fromtimestamp(story.turns.now / 1000, UTC)
    fact = Looked(request_id=request.request_id, at=at, snapshot=snapshot, content=content, failed=failed)
    looked(story.ledger, fact)
    if request.open_at(story.turns.now):
        request.show(snapshot, failed)
        story.counts["people: another round"] += request.round > 1
    story.say(f"preflight looks at {_short(request.request_id)}: round {request.round}, {failed} failed")
    _wake(story)
    return True


def _word(story: Story, op: Op) -> bool:
    """Somebody says yes or no, about what is shown or was: mostly who may, about what can be decided."""
    chance = random.Random(repr(op[1:4]))  # noqa: S311  # a test's choices, not a secret
    request = _chosen(story, op)
    if request is None:
        return False
    side = chance.choice(list(Side))
    person = chance.choice([*OWNERS[side] * 3, "deputy", *PERSONS])
    agrees = chance.random() < 0.9
    shown = request.shown or "0" * 64
    if request.before and chance.random() < 0.2:
        shown = request.before[-1]
    about = f"{person} says {'yes' if agrees else 'no'} for {side} to {_short(request.request_id)}"
    try:
        answer = _desk(story).decide(_voice(person, chance), request.request_id, side, shown, agrees=agrees)
    except Unconfigured:
        return False
    except NotAllowed as error:
        if _may_say(story, request, person, side, shown, agrees=agrees):
            raise Violation(f"{about}: refused for no reason: {error} ({request})") from None
        story.counts[f"people: {error.code}"] += 1
        story.say(f"{about}, and is told: {error}")
        return True
    _said(story, request, answer, Word(person, None, str(side), story.turns.now), shown, agrees=agrees)
    story.say(f"{about}, {'said' if answer.said else 'said before'}")
    _wake(story)
    return True


def _said(story: Story, request: Request, answer: Answer, word: Word, shown: str, *, agrees: bool) -> None:
    """A word was heard: it must be one that may be said."""
    may, instead_of = speaks(word.person, word.side, request.requester, word.at, story.believed)
    if answer.said and not _may_say(story, request, word.person, word.side, shown, agrees=agrees):
        raise Violation(f"{word} was heard of {request} under {story.believed}")
    if not answer.said:
        return
    assert may
    if agrees:
        if not request.say(replace(word, instead_of=instead_of)):
            raise Violation(f"{word} was said twice of {request}")
    else:
        request.ended = "refused"
        story.counts["people: refused"] += 1


def _may_say(story: Story, request: Request, person: str, side: str, shown: str, *, agrees: bool) -> bool:
    speaker, _ = speaks(person, side, request.requester, story.turns.now, story.believed)
    clean = not agrees or not request.failed
    return request.open_at(story.turns.now) and request.shown == shown and speaker and clean


def _unsay(story: Story, op: Op) -> bool:
    """Whoever asked asks no more; or somebody else tries to say so."""
    chance = random.Random(repr(op[1:4]))  # noqa: S311  # a test's choices, not a secret
    request = _chosen(story, op)
    if request is None:
        return False
    person = request.requester if op.b % 4 else "own-a"
    try:
        answer = _desk(story).withdraw(_voice(person, chance), request.request_id)
    except NotAllowed as error:
        if person == request.requester and request.open_at(story.turns.now):
            raise Violation(f"{person} may not withdraw {request}: {error}") from None
        return True
    if answer.said:
        if person != request.requester or not request.open_at(story.turns.now):
            raise Violation(f"{person} withdrew {request}")
        request.ended = "withdrawn"
        story.counts["people: withdrawn"] += 1
    story.say(f"{person} withdraws {_short(request.request_id)}")
    _wake(story)
    return True


def _review(story: Story, op: Op) -> bool:
    """Somebody reviews an emergency; whether they may is the desk's to say."""
    chance = random.Random(repr(op[1:4]))  # noqa: S311  # a test's choices, not a secret
    urgent = [one for one in story.spoken.requests.values() if one.emergency and one.ended == "approved"]
    if not urgent:
        return False
    request = urgent[op.a % len(urgent)]
    try:
        _desk(story).review(
            _voice(chance.choice(PERSONS), chance), request.request_id, in_order=True, reason="all was well"
        )
    except (NotAllowed, Unconfigured) as error:
        story.say(f"no review of {_short(request.request_id)}: {error}")
        return True
    story.counts["people: reviewed"] += 1
    _wake(story)
    return True


def _office(story: Story, op: Op) -> bool:
    """Somebody leaves their group or comes back, a delegation ends or is given again, policy asks both sides or does not."""
    decided = story.decided
    if op.a % 4 == 0:
        decide(story, replace(decided, strict=not decided.strict))
    elif op.a % 4 == 1:
        decide(story, replace(decided, delegated=not decided.delegated))
    else:
        who = PERSONS[2 + op.b % (len(PERSONS) - 2)]
        decide(story, replace(decided, left=decided.left ^ {who}))
    return True


def _chosen(story: Story, op: Op, *, seen: bool = True) -> Request | None:
    """A request: mostly one that can be decided, and has been looked at or not, and of these the last ones."""
    every = list(story.spoken.requests.values())
    standing = [one for one in every if one.open_at(story.turns.now)]
    fitting = [one for one in standing if (one.shown is not None) == seen]
    some = every if op.c % 10 == 0 else fitting or standing or every
    return some[-1 - op.a // 8 % min(3, len(some))] if some else None


def _short(request_id: str) -> str:
    return request_id[:7]


def wrong_with_people(story: Story) -> Iterator[str]:
    """At rest: what is not as it follows from what people said."""
    now = story.turns.now
    kept = story.ledger.read(standings, list(story.spoken.requests))
    for name, request in story.spoken.requests.items():
        stood = kept[name]
        stage = Stage.OPEN if request.ended is None else Stage(request.ended)
        if (stood.stage, stood.round) != (stage, request.round):
            yield f"{name} is {stood.stage} in round {stood.round}, and should be {stage} in {request.round}"
        said = [[(one.by.person, one.side, one.instead_of) for one in each] for each in (stood.yes, stood.void)]
        should = [[(one.person, one.side, one.instead_of) for one in each] for each in (request.words, request.void)]
        if said != should:
            yield f"{name} has the words {said}, said were {should}"
        if request.ended is None and now >= request.lapses_at:
            yield f"{name} should have lapsed at {written(request.lapses_at)}"
        end = request.approval.get("ends_at")
        due = (
            None
            if request.ended is not None
            else suffices(request, story.believed, None if end is None else millis(end))
        )
        if due is not None and not request.emergency:
            yield f"{name} was not admitted, and people's words suffice for {due} under {story.believed}"
        story.counts[f"at rest: a request is {stage}"] += 1


PEOPLES: dict[str, Callable[[Story, Op], bool]] = {
    "wish": _wish,
    "look": _look,
    "word": _word,
    "unsay": _unsay,
    "review": _review,
    "office": _office,
}
"""The operations that are people's words at the desk, by their names."""
