"""Rest in the model test: what is still under way, what has to have been told by then, and when ends are executed."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.hearing import anything_said
from shared.ledger.operating import dead_rows
from shared.ledger.outbox import waiting_entries
from shared.ledger.rows import work_of
from shared.ledger.tables import events
from shared.ledger.work import unsettled
from shared.messages.completion import EventKind
from shared.rules.facts import Side
from tests.chaos.model_world import DAY, HOUR, THEIRS
from tests.chaos.reference import takes_effect
from tests.chaos.story import Story, short
from tests.chaos.turns import Violation

ONCE_PER_GENERATION = ("granted", "associated", "unwanted", "dissociated", "revoked")


def unrest(story: Story) -> list[str]:
    """Whatever is still under way."""
    read_events(story)
    found = ["the cloud is busy"] if story.cloud.busy else []
    found += [f"{side}: {short(mail)}" for side, queue in story.post.queues.items() for mail in queue if mail.document]
    found += [f"early: {short(fact.said.document)}" for fact in story.referee.facts if fact.believed > story.turns.now]
    excused = {key.grant_id for key in story.keys if story.excused(key)}
    theirs = {key.grant_id for key in story.keys if key.ecr_id == THEIRS}
    for grant_id, side in story.ledger.read(unsettled, story.turns.now + 365 * DAY, 100):
        if grant_id not in excused and not (side == Side.ASSOCIATE and grant_id in theirs):
            found.append(f"unsettled: {story.name_of(grant_id)} {side}")
    found += [f"dead: {row.name}" for row in story.ledger.read(dead_rows) if row.key.grant_id not in excused]
    found += ["people said something"] if story.ledger.read(anything_said, story.turns.now) else []
    found += [f"not published: {entry.seq} {entry.tag}" for entry in story.ledger.read(waiting_entries, 9)]
    return found


def hear_of_the_dead(story: Story) -> None:
    """Where account B cannot be entered, account A has been told all the same that nobody wants the grant."""
    for row in story.ledger.read(dead_rows):
        work = story.ledger.read(work_of, row.key.grant_id)
        if row.side != Side.GRANT or not work.wanted.down:
            continue
        story.counts["dead and unwanted"] += 1
        if not story.ledger.read(_was_told, row.key.grant_id, work.generation):
            raise Violation(f"{row.key.instance_id}: its grant is dead, and nobody was told that it is unwanted")


def wait_for_the_window(story: Story) -> None:
    """To where the change window stays open for hours."""
    at = (story.turns.now - 6 * HOUR) % DAY
    if at > HOUR:
        story.turns.turn(DAY - at)


def _was_told(connection: Connection, grant_id: str, generation: int) -> bool:
    """Whether it was told of these leases that nobody wants the grant."""
    bodies = connection.execute(
        sql.select(events.c.body).where(events.c.grant_id == grant_id, events.c.kind == EventKind.UNWANTED)
    ).scalars()
    return any(json.loads(body)["generation"] == generation for body in bodies)


def heard(story: Story) -> tuple[list[dict[str, Any]], list[str]]:
    """The events since this was last asked, and what is wrong with their names and numbers."""
    read_events(story)
    record = story.record
    news, wrong = record.news, record.wrong
    record.news, record.wrong = [], []
    for (grant_id, generation, kind), often in record.per_generation.items():
        if often > 1 and kind in ONCE_PER_GENERATION:
            wrong.append(f"{kind} was recorded {often} times for generation {generation} of {story.name_of(grant_id)}")
    return news, wrong


def read_events(story: Story) -> None:
    """Take note of the events that were not read yet: what is wanted depends on what was done, refused and ended."""
    record = story.record
    with story.ledger.engine.begin() as connection:
        rows = connection.execute(sql.select(events).where(events.c.seq > record.seq).order_by(events.c.seq)).all()
    for row in rows:
        told, facts = json.loads(row.body), json.loads(row.facts or "{}")
        record.news.append(told)
        record.seq += 1
        if row.seq != record.seq:
            record.wrong.append(f"event {record.seq} is missing")
        if row.event_id in record.ids:
            record.wrong.append(f"event {row.seq} has the name of another")
        record.ids.add(row.event_id)
        if row.grant_id is not None and EventKind(row.kind).published:
            record.numbers[row.grant_id] = record.numbers.get(row.grant_id, 0) + 1
            if row.number != record.numbers[row.grant_id]:
                record.wrong.append(f"event {row.seq} is number {row.number}, not {record.numbers[row.grant_id]}")
            record.per_generation[(row.grant_id, told["generation"], row.kind)] += 1
        if row.kind == "took-effect" and facts.get("refused"):
            _void(story, facts["approval_id"])
        request = told.get("request")
        if request is not None:
            request_name = request["issuer"], request["request_id"], request["digest"]
            record.per_request[(*request_name, row.kind)] += 1
            if row.kind in ("done", "rejected", "dead") and row.grant_id is not None:
                if row.kind == "rejected" and told["reason"]["code"] in ("NotAllowed", "NotListed"):
                    _refused_later(story, request_name)
                    record.refused_in.add((row.grant_id, told["generation"]))
                first = told.get("message_id") in story.messages(request_name)
                (record.outcomes if first else record.again).setdefault(request_name, []).append(row.kind)
        if row.kind == "rejected" and row.grant_id is None:
            record.refused[told["message_id"]] += 1
        code = f" {told['reason']['code']}" if row.kind.startswith("drift") else ""
        story.counts[f"event {row.kind}{code}"] += 1


def _refused_later(story: Story, request: tuple[str, str, str]) -> None:
    """An admitted request was refused, as one is whose account is not listed."""
    one = next(one for one, name in story.names.items() if name == request)
    if request not in story.void and all(version.listed for version in story.since(story.knew[one])):
        story.record.wrong.append(f"{request} was refused, and its account was listed all the time")
    story.refused_later.add(request)


def _void(story: Story, approval_id: str) -> None:
    """An early lease was refused when its date came."""
    one = story.ids[approval_id]
    if all(takes_effect(story.kid(one), version) for version in story.since(story.knew[one])):
        story.record.wrong.append(f"{story.names[one]} was refused when its date came, for no reason")
    story.void.add(story.names[one])
