"""Rest in the model test: what is still under way, what has to have been told by then, and when ends are executed."""

from __future__ import annotations

import json

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from shared.ledger.operating import dead_rows
from shared.ledger.outbox import waiting_entries
from shared.ledger.rows import work_of
from shared.ledger.tables import events
from shared.ledger.work import unsettled
from shared.messages.completion import EventKind
from shared.rules.facts import Side
from tests.chaos.model_world import DAY, HOUR, THEIRS
from tests.chaos.story import Story, short
from tests.chaos.turns import Violation


def unrest(story: Story) -> list[str]:
    """Whatever is still under way."""
    found = ["the cloud is busy"] if story.cloud.busy else []
    found += [f"{side}: {mail.body}" for side, queue in story.post.queues.items() for mail in queue if mail.document]
    found += [f"early: {short(fact.said.document)}" for fact in story.referee.facts if fact.believed > story.turns.now]
    excused = {key.grant_id for key in story.keys if story.excused(key)}
    theirs = {key.grant_id for key in story.keys if key.ecr_id == THEIRS}
    for grant_id, side in story.ledger.read(unsettled, story.turns.now + 365 * DAY, 100):
        if grant_id not in excused and not (side == Side.ASSOCIATE and grant_id in theirs):
            found.append(f"unsettled: {story.name_of(grant_id)} {side}")
    found += [f"dead: {row.name}" for row in story.ledger.read(dead_rows) if row.key.grant_id not in excused]
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
