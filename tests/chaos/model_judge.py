"""The judgement at rest: whether the model cloud, the record and the answers are what follows from the approvals alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sql

from shared.ledger.drift import read_standing
from shared.ledger.heads import head_of
from shared.ledger.proof import first_fault
from shared.ledger.tables import intents, sides
from shared.messages.completion import EventKind
from shared.messages.forms import GrantKey
from shared.rules.facts import Side
from tests.chaos.model_world import CLAIM_MS, SKEW_MS, THEIRS
from tests.chaos.people import wrong_with_people
from tests.chaos.reference import Said, Should, closed, ends, same
from tests.chaos.resting import heard
from tests.chaos.story import Story, short
from tests.chaos.turns import Violation

FINAL = ("done", "rejected")


def judge(story: Story, expected: dict[GrantKey, tuple[int, set[str]]]) -> None:
    """Raises Violation with everything that is wrong. ``expected``: the drift that must have been found, and since when."""
    news, wrong = heard(story)  # first: what should be depends on what was done once
    wrong += [
        f"event {told['id']} ({told['event']}) was not published"
        for told in news
        if EventKind(told["event"]).published and json.loads(story.post.published.get(told["id"], "null")) != told
    ]
    wrong += _wrong_cloud(story)
    wrong += _wrong_requests(story)
    wrong += _wrong_leases(story)
    wrong += _wrong_transitions(story, news)
    wrong += wrong_with_people(story)
    wrong += _wrong_drift(story, news, expected)
    fault = story.ledger.read(first_fault, story.heads, None)
    wrong += [] if fault is None else [f"the record: {fault}"]
    story.heads.append(story.ledger.read(head_of, story.turns.now))
    if wrong:
        raise Violation("; ".join(wrong))
    story.touched.clear()
    story.adopted_links.clear()
    story.referee.at_rest(lambda document: story.names.get(same(document)), story.refused_later, story.void)
    for key in story.keys:
        place = story.cloud.places[key]
        story.was[(key, Side.GRANT)] = place.granted.now is not None and place.granted.now.ours
        story.was[(key, Side.ASSOCIATE)] = place.link.now is not None and place.link.now.ours


def _wrong_cloud(story: Story) -> Iterator[str]:
    """How the cloud differs from what the approvals say."""
    for key in story.keys:
        place, should, where = story.cloud.places[key], story.should(key), key.instance_id
        granted, link = place.granted.now, place.link.now
        level = should.level if place.exists.now else "down"
        story.counts[f"at rest: {level}"] += 1
        if level == "up":
            yield from _wrong_up(story, key, should)
        elif level == "keep":
            yield from _wrong_kept(story, key, should)
        else:
            yield from _wrong_down(story, key)
        if (key, Side.GRANT) in story.foreign and (granted is None or granted.ours):
            yield f"{where}: the grant of somebody else is no longer what it was: {granted}"
        foreign = story.foreign.get((key, Side.ASSOCIATE))
        if foreign is not None and (link is None or link.ours or link.prefixes != foreign):
            yield f"{where}: the association of somebody else is no longer what it was: {link}"


def _wrong_up(story: Story, key: GrantKey, should: Should) -> Iterator[str]:
    place, where = story.cloud.places[key], key.instance_id
    granted, link = place.granted.now, place.link.now
    if granted is None:
        yield f"{where} is not granted, and a lease is live"
    if link is None or link.status != "ACTIVE":
        yield f"{where} is not associated ({link}), and a lease is live"
    elif link.ours and not should.must <= set(link.prefixes) <= should.must | should.may:
        yield f"{where}: the prefixes are {link.prefixes}, approved are {sorted(should.must)}, may stay {sorted(should.may)}"


def _wrong_kept(story: Story, key: GrantKey, should: Should) -> Iterator[str]:
    """What stood is left, and nothing was made."""
    place, where = story.cloud.places[key], key.instance_id
    granted, link = place.granted.now, place.link.now
    untouched = key not in story.touched and key.instance_id not in story.referee.excused
    if untouched and story.was.get((key, Side.GRANT)) and granted is None:
        yield f"{where} is no longer granted, and a lease past its end keeps it"
    if untouched and story.was.get((key, Side.ASSOCIATE)) and link is None:
        yield f"{where} is no longer associated, and a lease past its end keeps it"
    standing: set[str] = set() if link is None or not link.ours else set(link.prefixes)
    if (
        standing - should.may and standing & should.may
    ):  # where none of it may stay: an empty list would mean another thing
        yield f"{where}: the prefixes are {sorted(standing)}, and only {sorted(should.may)} may stay"


def _wrong_down(story: Story, key: GrantKey) -> Iterator[str]:
    place, where = story.cloud.places[key], key.instance_id
    granted, link = place.granted.now, place.link.now
    if granted is not None and granted.ours and (key, Side.ASSOCIATE) not in story.foreign:
        yield f"{where} is granted, and no lease is live"
    if link is not None and (link.ours or key.ecr_id == THEIRS):
        yield f"{where} is associated, and no lease is live"


def _wrong_requests(story: Story) -> Iterator[str]:
    """Every approval has one final outcome, and the one that follows from the approvals."""
    yield from _lost(story)
    known = {same(document): document for document in story.documents()}
    for one, document in known.items():
        request = story.names.get(one)
        if request is None:
            continue
        key = story.key_of(document)
        gone = not story.cloud.places[key].exists.now
        outcomes = story.record.outcomes.get(request, [])
        final = [outcome for outcome in outcomes if outcome in FINAL]
        if story.excused(key) and not final:
            continue
        if len(final) != 1 or outcomes[-1] != final[0]:
            yield f"{short(document)} ended {outcomes or 'never'}"
        elif document["action"] == "revoke" and final != ["done"]:
            yield f"{short(document)} ended {final}"
        elif final != ["done"] and not gone and one not in story.unlisted and document in story.should(key).leases:
            yield f"{short(document)} is live and ended {final}"
        elif one in story.late and final != ["rejected"]:
            yield f"{short(document)} was closed before it came, and ended {final}"
        if story.record.per_request[(*request, "early" if one in story.early else "admitted")] != 1:
            yield f"{short(document)} was not admitted once"
    yield from _wrong_names(story)
    for message_id in story.rubbish:
        if story.record.refused[message_id] != 1:
            yield f"message {message_id} was refused {story.record.refused[message_id]} times"


def _lost(story: Story) -> Iterator[str]:
    """What was sent was admitted, or turned away for what had been decided."""
    for mail in story.sent:
        admitted = mail.document is not None and same(mail.document) in story.names
        if not admitted and mail.message_id not in story.turned_away:
            yield f"never admitted: {short(mail)}"


def _wrong_names(story: Story) -> Iterator[str]:
    for issuer, request_id in {request[:2] for request in story.names.values()}:
        several = [request for request in story.names.values() if request[:2] == (issuer, request_id)]
        told = sum(story.record.per_request[(*request, "second-digest")] for request in several)
        if told != len(several) - 1 or len(set(several)) != len(several):
            yield f"{issuer} {request_id} has {len(several)} contents, told {told} times"


def _wrong_leases(story: Story) -> Iterator[str]:
    """Ends are recorded once, as they were approved, of what was done before."""
    for key in story.keys:
        said = story.said(key)
        for one in said:
            if one.document["action"] != "grant" or not story.cloud.places[key].exists.now:
                continue
            counts = {
                kind: story.record.per_request[(*story.names[same(one.document)], kind)]
                for kind in ("ending", "overdue", "ended")
            }
            end, teardown = ends(one.document), one.document.get("on_end") == "teardown"
            over = end is not None and end <= story.turns.now
            if any(often > 1 for often in counts.values()) or (not over and counts["overdue"] + counts["ended"]):
                yield f"{short(one.document)}: recorded {counts}"
            if not over or not one.done or closed(one, said, story.turns.now, SKEW_MS):
                continue
            if teardown and counts["ended"] != 1:
                yield f"{short(one.document)}: its end was not carried out: {counts}"
            if not teardown and not counts["overdue"] and not counts["ended"]:
                yield f"{short(one.document)}: nobody told that it is overdue"
            if not teardown and counts["ended"] and not _ends_with(one, said):
                yield f"{short(one.document)}: it was taken down at its end, approved was to report it"


def _revokes(said: Said) -> bool:
    return str(said.document["action"]) == "revoke"


def _ends_with(report: Said, said: list[Said]) -> bool:
    """Whether a lease that is taken down at its end ends with or after this one."""
    mine = ends(report.document) or 0
    return any(
        not _revokes(one) and one.document.get("on_end") == "teardown" and (ends(one.document) or 0) >= mine
        for one in said
    )


def _wrong_transitions(story: Story, news: list[dict[str, Any]]) -> Iterator[str]:
    """What we made and took down since the last rest was told, and what stands was told for these very leases."""
    told = {(one["grant"]["grant_id"], one["event"]) for one in news if one.get("grant")}
    generations = {one.key.grant_id: one.generation for one in list(read_standing(story.ledger))}
    for key in story.keys:
        place = story.cloud.places[key]
        if not place.exists.now or key in story.touched or story.excused(key):
            continue
        for side, there, made, gone in (
            (Side.GRANT, place.granted.now, "granted", "revoked"),
            (Side.ASSOCIATE, place.link.now, "associated", "dissociated"),
        ):
            if side == Side.ASSOCIATE and key.ecr_id == THEIRS:
                continue
            if story.was.get((key, side)) and there is None and (key.grant_id, gone) not in told:
                yield f"{key.instance_id}: {gone} was not told"
            now_told = _told(story, key.grant_id, generations.get(key.grant_id, 0), side, made)
            if story.should(key).level == "up" and now_told != 1:
                yield f"{key.instance_id}: {made} was told {now_told} times for the present leases"
    yield from _open_questions(story)


def _told(story: Story, grant_id: str, generation: int, side: Side, made: str) -> int:
    """How often it was told. Where account A's side refused a request, account B's rests as it was told before."""
    told = story.record.per_generation[(grant_id, generation, made)]
    while not told and side is Side.GRANT and (grant_id, generation - 1) in story.record.refused_in:
        generation -= 1
        told = story.record.per_generation[(grant_id, generation, made)]
    return told


def _open_questions(story: Story) -> Iterator[str]:
    """No write is left unresolved, and nobody holds a claim for longer than a worker lives."""
    with story.ledger.engine.begin() as connection:
        unresolved = connection.execute(
            sql.select(intents.c.grant_id, intents.c.operation).where(intents.c.result.is_(None))
        ).all()
        claims = connection.execute(
            sql.select(sides.c.grant_id, sides.c.claimed_by).where(sides.c.claimed_until > story.turns.now + CLAIM_MS)
        ).all()
    excused = {key.grant_id for key in story.keys if story.excused(key)}
    for row in unresolved:
        if row.grant_id not in excused:
            yield f"{story.name_of(row.grant_id)}: what became of {row.operation} is open"
    for row in claims:
        yield f"{story.name_of(row.grant_id)}: {row.claimed_by} holds a claim for too long"


def _kept(story: Story, key: GrantKey) -> bool:
    """Whether a lease past its end keeps, or kept, what stands. Where none of that was its own, it could not be narrowed, and was
    said: an empty list of prefixes would mean another thing.
    """
    ended = (
        one.document for one in story.said(key) if (end := ends(one.document)) is not None and end <= story.turns.now
    )
    return any(one.get("on_end") != "teardown" for one in ended)


def _wrong_drift(
    story: Story, news: list[dict[str, Any]], expected: dict[GrantKey, tuple[int, set[str]]]
) -> Iterator[str]:
    """Drift is found where somebody else was, and nowhere else."""
    found = [(one["grant"]["grant_id"], one["reason"]["code"]) for one in news if one["event"] == "drift-found"]
    touched = {key.grant_id for key in story.touched}
    resting_on = {key.grant_id for key, side in story.foreign if side == Side.ASSOCIATE}
    resting_on |= {key.grant_id for key in story.adopted_links}
    deleted = {key.grant_id for key in story.keys if not story.cloud.places[key].exists.now}
    resting_on |= {key.grant_id for key in story.keys if _kept(story, key)}
    for grant_id, kind in found:
        if kind == "prefixes-differ" and grant_id in resting_on:
            continue  # leases that rest on what somebody else put up may come to want other prefixes
        if kind == "foreign-association" and grant_id in {key.grant_id for key in story.robots}:
            continue  # account A's own automation lets go when it gets round to it
        if kind in ("grant-missing", "association-missing") and story.referee.delisted and grant_id in deleted:
            continue  # account B, which would say that its instance is gone, could not be asked
        if grant_id not in touched:
            yield f"{story.name_of(grant_id)}: drift {kind} was found, and nobody else was there"
    for key, (since, kinds) in expected.items():
        over = [ends(one) or 0 for one in story.documents() if one["action"] == "grant"]
        if any(since < end <= story.turns.now for end in over):
            continue  # the end of a lease made somebody look before the tick could tell
        for kind in kinds:
            if (key.grant_id, kind) not in found:
                yield f"{key.instance_id}: drift {kind} was not found"
