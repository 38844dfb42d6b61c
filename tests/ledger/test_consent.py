"""People ask, decide and withdraw on a real ledger; what suffices is admitted and proven, and nothing else is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import GrantError, NotAllowed
from shared.ledger.consent import add_facts
from shared.ledger.hearing import anything_said, remind
from shared.ledger.proof import first_fault
from shared.ledger.record import START_OF_CHAIN, chained
from shared.ledger.tables import approvals, consent, events, requests
from shared.ledger.transactions import Ledger
from shared.loop.asking import Answer
from shared.loop.consent import Consent
from shared.loop.visits import Outcome
from shared.messages.approval import OnEnd
from shared.messages.consent import Decided, RequestKind
from shared.messages.texts import canonical
from shared.rules.consent import Needed, Stage
from shared.rules.facts import Side
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import NOW, Database, key, opening
from tests.ledger.room import CLOSING, DAY, PEOPLE, Room, at, people_decide, voice, wish


@pytest.fixture
def room(ledger: Ledger) -> Room:
    """The shipped policy, and owners for both accounts."""
    apply(ledger, people_decide())
    return Room(Gated(ledger))


# -- from asking to the lease ----------------------------------------------------------------------------------------


def test_what_suffices_becomes_a_lease_and_stands(room: Room, database: Database) -> None:
    """Asked, looked at, agreed to by an owner of account B: the lease is admitted once, proven, and made."""
    request_id, snapshot = room.ready()
    assert room.hear() == []
    room.decide("owner", request_id, snapshot)
    assert room.hear() == [key().grant_id]
    assert room.hear() == []

    (row,) = database.rows(sql.select(approvals))
    assert (row.issuer, row.request_id, row.live) == ("desk", request_id, True)
    assert room.visit() == [Outcome.SETTLED, Outcome.SETTLED]
    assert room.cloud.associations[key()].prefixes == ("10.20.0.0/16",)
    assert room.desk.show(request_id).standing.stage is Stage.APPROVED
    assert room.gated.ledger.read(first_fault, [], None) is None
    kinds = [kind for kind in database.kinds() if kind in ("asked", "looked", "decided", "approved", "admitted")]
    assert kinds == ["asked", "looked", "decided", "admitted", "approved"]


def test_what_is_not_as_it_was_shown_lapses(room: Room, database: Database) -> None:
    """The instance has another range by the time of the first intent: nothing is made, and who asked is told what changed."""
    request_id, snapshot = room.ready()
    room.decide("owner", request_id, snapshot)
    room.hear()
    room.cloud.ranges[key()] = ("10.20.0.0/16", "10.99.0.0/16")
    room.visit()
    assert room.cloud.granted == set()
    (row,) = database.rows(sql.select(approvals))
    assert (row.outcome, row.open) == ("rejected", False)
    (told,) = [json.loads(one.body) for one in database.rows(sql.select(events)) if one.kind == "rejected"]
    assert told["reason"]["code"] == "WorldChanged"
    assert "before: 10.20.0.0/16; now: 10.20.0.0/16, 10.99.0.0/16" in told["reason"]["text"]
    assert told["people"] == ["requester", "owner"]

    again, snapshot = room.ready()
    room.cloud.ranges[key()] = ("10.20.0.0/16",)
    room.decide("owner", again, snapshot)
    room.hear()
    assert room.visit() == [Outcome.SETTLED, Outcome.SETTLED]


def test_each_fact_names_whom_it_concerns(room: Room, database: Database) -> None:
    """Deciders hear that something waits for them; whoever decided hears what was said in their name."""
    request_id, snapshot = room.ready()
    room.decide("owner", request_id, snapshot)
    room.hear()
    told = {row.kind: json.loads(row.body) for row in database.rows(sql.select(events).where(events.c.seq > 1))}
    assert told["asked"]["people"] == ["requester", "lead", "owner", "second-owner", "router-lead", "router-owner"]
    assert told["decided"]["people"] == ["requester", "owner"]
    assert "owner agrees for the grant side" in told["decided"]["reason"]["text"]


def test_an_endless_lease_takes_both_sides(room: Room) -> None:
    """One yes is not enough; the second one, of account A, is."""
    request_id, snapshot = room.ready(ends_at=None, on_end=OnEnd.REPORT)
    assert room.ask(ends_at=None, on_end=OnEnd.REPORT).needs == Needed((Side.GRANT, Side.ASSOCIATE))
    room.decide("owner", request_id, snapshot)
    assert room.hear() == []
    room.decide("router-owner", request_id, snapshot, Side.ASSOCIATE)
    assert room.hear() == [key().grant_id]


def test_a_wide_range_takes_both_leads(room: Room) -> None:
    """Owners are not enough for it, and the answer to asking says so."""
    asked = room.ask(allowed_prefixes=["10.0.0.0/8"])
    assert asked.needs == Needed((Side.GRANT, Side.ASSOCIATE), leads=True)
    request_id = asked.standing.request_id
    snapshot = room.look(request_id)
    room.decide("owner", request_id, snapshot)
    room.decide("router-lead", request_id, snapshot, Side.ASSOCIATE)
    assert room.hear() == []
    room.decide("lead", request_id, snapshot)
    assert room.hear() == [key().grant_id]


def test_an_owner_revokes_without_asking_anybody(room: Room) -> None:
    """Of either side, whoever opened the lease; somebody else's wish to revoke waits for an owner."""
    room.gated.enter(opening())
    room.visit()
    asked = room.ask("requester", **CLOSING)
    assert asked.needs == Needed((Side.GRANT,))
    assert room.hear() == []
    asked = room.ask("router-owner", **CLOSING)
    assert asked.needs is None
    assert room.hear() == [key().grant_id]
    for _ in range(2):
        room.visit()
    assert (room.cloud.granted, room.cloud.associations) == (set(), {})


def test_a_change_replaces_without_a_gap(room: Room, database: Database) -> None:
    """The new lease counts and the old one is closed in one moment."""
    first, snapshot = room.ready()
    room.decide("owner", first, snapshot)
    room.hear()
    room.visit()
    second, snapshot = room.ready(kind=RequestKind.CHANGE, replaces=[first], allowed_prefixes=["10.30.0.0/16"])
    room.decide("second-owner", second, snapshot)
    room.hear()
    live = {row.request_id: row.live for row in database.rows(sql.select(approvals))}
    assert live == {first: False, second: True}
    room.visit()
    assert room.cloud.associations[key()].prefixes == ("10.30.0.0/16",)


# -- refusals --------------------------------------------------------------------------------------------------------


def test_who_may_not_decide_is_told_why(room: Room) -> None:
    """The requester, a stranger, an owner of the other side, and a yes where preflight found a fault; no is always heard."""
    request_id, snapshot = room.ready("owner")
    refused = {
        "owner": "leave",
        "stranger": "an owner of that side's account",
        "router-owner": "an owner of that side's account",
    }
    for person, why in refused.items():
        with pytest.raises(NotAllowed, match=why):
            room.decide(person, request_id, snapshot)
    snapshot = room.look(request_id, failed=1)
    with pytest.raises(NotAllowed, match="what preflight found put right"):
        room.decide("lead", request_id, snapshot)
    room.decide("lead", request_id, snapshot, agrees=False)
    assert room.desk.show(request_id).standing.stage is Stage.REFUSED
    assert room.hear() == []


def test_what_changed_opens_a_new_round(room: Room) -> None:
    """The earlier yes does not count, and whoever decides on what is not shown any more is told so."""
    request_id, before = room.ready(ends_at=None, on_end=OnEnd.REPORT)
    room.decide("owner", request_id, before)
    after = room.look(request_id, seen={"cidrs": ["10.99.0.0/16"]})
    with pytest.raises(NotAllowed, match="round 2") as refused:
        room.decide("router-owner", request_id, before, Side.ASSOCIATE)
    assert refused.value.code == "SnapshotChanged"
    room.decide("router-owner", request_id, after, Side.ASSOCIATE)
    assert room.hear() == []
    room.decide("second-owner", request_id, after)
    assert room.hear() == [key().grant_id]


def test_nobody_could_decide(room: Room) -> None:
    """Refused at once, with who would have to exist."""
    alone = {**PEOPLE, "groups": {**PEOPLE["groups"], "owners": ["owner"]}}
    apply(room.gated.ledger, people_decide(people=alone))
    with pytest.raises(
        NotAllowed, match="no member of owners other than owner can agree for the grant side"
    ) as refused:
        room.ask("owner")
    assert refused.value.code == "NobodyCanDecide"


def test_what_ended_stays_ended(room: Room) -> None:
    """A yes after a withdrawal, after a no, after the lapse and after the approval: told how it ended, and nothing is added."""
    withdrawn, snapshot = room.ready()
    room.desk.withdraw(voice("requester"), withdrawn)
    with pytest.raises(NotAllowed, match=r"was withdrawn at .* by requester"):
        room.decide("owner", withdrawn, snapshot)
    refused, snapshot = room.ready()
    room.decide("owner", refused, snapshot, agrees=False)
    with pytest.raises(NotAllowed, match=r"was refused at .* by owner"):
        room.decide("second-owner", refused, snapshot)
    approved, snapshot = room.ready()
    room.decide("owner", approved, snapshot)
    room.hear()
    with pytest.raises(NotAllowed, match="was approved at"):
        room.decide("second-owner", approved, snapshot, agrees=False)
    lapsed, snapshot = room.ready()
    room.gated.now += 7 * DAY
    with pytest.raises(NotAllowed, match="lapsed at"):
        room.decide("owner", lapsed, snapshot)


def test_time_reminds_and_lapses(room: Room, database: Database) -> None:
    """At half and at seven eighths those who may decide are told once; at the end it lapses, once, and nothing is due."""
    request_id, _ = room.ready()
    room.hear()
    for part, kinds in (
        (0.5, ["reminded"]),
        (0.6, ["reminded"]),
        (0.9, ["reminded"] * 2),
        (1.0, ["reminded"] * 2 + ["lapsed"]),
    ):
        room.gated.now = NOW + int(7 * DAY * part)
        room.hear()
        assert [kind for kind in database.kinds() if kind in ("reminded", "lapsed")] == kinds
    (row,) = database.rows(sql.select(requests).where(requests.c.request_id == request_id))
    assert (row.stage, row.due_at) == ("lapsed", None)


def test_who_left_the_group_meanwhile_has_not_agreed(room: Room) -> None:
    """Said while they were an owner, weighed when they are not: it does not count, and somebody else's does."""
    request_id, snapshot = room.ready()
    room.decide("owner", request_id, snapshot)
    left = {**PEOPLE, "groups": {**PEOPLE["groups"], "owners": ["second-owner"]}}
    apply(room.gated.ledger, people_decide(people=left))
    assert room.hear() == []
    room.decide("second-owner", request_id, snapshot)
    assert room.hear() == [key().grant_id]


def test_a_newer_configuration_lets_what_was_said_before(room: Room) -> None:
    """Whoever agreed was no owner yet, or nobody could believe the configuration: what did not suffice then is weighed again, and
    the timer knows of it. Nothing waits where nothing is open.
    """
    request_id, snapshot = room.ready()
    room.decide("owner", request_id, snapshot)
    left = {**PEOPLE, "groups": {**PEOPLE["groups"], "owners": ["second-owner"]}}
    apply(room.gated.ledger, people_decide(people=left))
    hears = Consent(room.gated.ledger, room.gated.gate, lambda: room.gated.now)  # which stays, as a warm process does
    assert hears.hear() == []
    assert not room.gated.ledger.read(anything_said, room.gated.now)
    apply(room.gated.ledger, people_decide())
    assert room.gated.ledger.read(anything_said, room.gated.now)
    assert hears.hear() == [key().grant_id]
    apply(room.gated.ledger, people_decide())
    assert not room.gated.ledger.read(anything_said, room.gated.now)


def test_a_desk_that_stays_goes_by_the_newest_configuration(room: Room) -> None:
    """Whoever left their group meanwhile is told so, and whoever came to it is heard."""
    stays = room.desk
    request_id, snapshot = room.ready()
    stays.show(request_id)
    came = {**PEOPLE, "groups": {**PEOPLE["groups"], "owners": ["second-owner", "stranger"]}}
    stays.ask(voice("requester"), [wish("vpc-2")])
    apply(room.gated.ledger, people_decide(people=came))
    with pytest.raises(NotAllowed, match="an owner of that side's account"):
        stays.decide(voice("owner"), request_id, Side.GRANT, snapshot, agrees=True)
    assert stays.decide(voice("stranger"), request_id, Side.GRANT, snapshot, agrees=True).said


def test_nobody_is_reminded_before_what_was_said_was_heard(room: Room) -> None:
    """The row would tell of facts that the record does not know yet."""
    request_id, snapshot = room.ready()
    room.hear()
    room.gated.now += 16 * 60_000
    room.decide("owner", request_id, snapshot, agrees=False)
    room.gated.ledger.write(remind, request_id, lambda *_: [], room.gated.now)
    assert room.gated.ledger.read(first_fault, [], None) is None


def test_a_delegate_decides_for_the_time_of_it(room: Room) -> None:
    """From and until; never for the requester, who cannot decide through somebody either."""
    of = {"of": "owner", "to": "deputy", "from": at(NOW).isoformat(), "until": at(NOW + DAY).isoformat()}
    delegated = {**PEOPLE, "delegations": [of]}
    apply(room.gated.ledger, people_decide(people=delegated))
    request_id, snapshot = room.ready()
    room.decide("deputy", request_id, snapshot)
    assert room.hear() == [key().grant_id]
    own, snapshot = room.ready("owner")
    with pytest.raises(NotAllowed, match="an owner of that side's account"):
        room.decide("deputy", own, snapshot)
    room.gated.now += 2 * DAY
    late, snapshot = room.ready(ends_at=at(NOW + 9 * DAY))
    with pytest.raises(NotAllowed, match="an owner of that side's account"):
        room.decide("deputy", late, snapshot)


# -- two at once, and forgers ----------------------------------------------------------------------------------------


def test_asking_again_under_a_name_asks_once(room: Room, database: Database) -> None:
    """Answered by how the first stands; something else under the same name is refused."""
    first, again = (room.desk.ask(voice("requester"), [wish()], name="mine") for _ in range(2))
    assert (first[0].said, again[0].said) == (True, False)
    assert first[0].standing.request_id == again[0].standing.request_id
    assert database.count(consent) == 1
    with pytest.raises(NotAllowed, match="asked before under this name"):
        room.desk.ask(voice("requester"), [wish("vpc-2")], name="mine")


def test_many_words_at_once_have_one_outcome(room: Room, database: Database) -> None:
    """Yes, no and withdrawal at once: one ends it, and every answer says what was so."""
    request_id, snapshot = room.ready()
    yes = [partial(room.decide, who, request_id, snapshot) for who in ("owner", "second-owner", "lead")]
    no = [partial(room.decide, who, request_id, snapshot, agrees=False) for who in ("owner", "lead")]
    acts = [*yes, *no, *[partial(room.desk.withdraw, voice("requester"), request_id)] * 2]

    def told(act: Any) -> Answer | GrantError:
        try:
            found: Answer = act()
        except GrantError as error:
            return error
        return found

    with ThreadPoolExecutor(7) as pool:
        answers = list(pool.map(told, acts))
    ended = room.desk.show(request_id).standing
    assert ended.stage in (Stage.REFUSED, Stage.WITHDRAWN)
    for answer in answers:
        if isinstance(answer, GrantError):
            assert answer.code == "RequestEnded"
    facts = [json.loads(row.body) for row in database.rows(sql.select(consent).order_by(consent.c.seq))]
    assert [fact["fact"] for fact in facts[-1:]] in (["decided"], ["withdrawn"])
    assert room.hear() == []
    assert room.gated.ledger.read(first_fault, [], None) is None


FORGERIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "a word of somebody who may not": lambda fact: fact | {"by": fact["by"] | {"person": "stranger"}},
    "a word for a side that is not theirs": lambda fact: fact | {"side": "associate"},
    "a word about something else": lambda fact: fact | {"snapshot": "0" * 64},
    "the requester's own word": lambda fact: fact | {"by": fact["by"] | {"person": "requester"}},
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_desk_that_lies_approves_nothing(room: Room, database: Database, how: str) -> None:
    """Whoever writes facts as the desk does, past every check of it: what the rules do not let count does not count."""
    request_id, snapshot = room.ready()
    true = room.decide("owner", *room.ready()).standing.yes[0]
    lie = FORGERIES[how](
        true.model_copy(update={"request_id": request_id, "snapshot": snapshot}).model_dump(mode="json")
    )
    room.gated.ledger.write(add_facts, request_id, lambda _: [Decided.model_validate_json(json.dumps(lie))])
    heard = room.hear()
    assert request_id not in {row.request_id for row in database.rows(sql.select(approvals))}, heard


EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "another prefix was asked for": lambda fact: fact["wish"].update(allowed_prefixes=["10.0.0.0/9"]),
    "a later end was asked for": lambda fact: fact["wish"].update(ends_at="2099-01-01T00:00:00Z"),
    "somebody else asked": lambda fact: fact["by"].update(person="lead"),
}


@pytest.mark.parametrize("how", EDITS)
def test_a_lease_whose_facts_were_edited_makes_nothing(room: Room, database: Database, how: str) -> None:
    """The facts are read again before anything is made; verify names what was edited, also where the chain was hashed anew."""
    request_id, snapshot = room.ready()
    room.decide("owner", request_id, snapshot)
    room.hear()
    with database.connected() as connection:
        rows = connection.execute(sql.select(consent).order_by(consent.c.seq)).all()
        before = START_OF_CHAIN
        for row in rows:
            fact = json.loads(row.body)
            if fact["fact"] == "asked":
                EDITS[how](fact)
            body = canonical(fact).decode()
            hashed = chained(before, row.seq, hashlib.sha256(body.encode()).hexdigest())
            values = {"body": body, "previous": before, "hash": hashed}
            connection.execute(consent.update().where(consent.c.seq == row.seq).values(values))
            before = hashed
    assert room.gated.visit(room.cloud, Side.GRANT) is Outcome.DEAD
    assert room.cloud.granted == set()
    assert "fact 1 of request" in str(room.gated.ledger.read(first_fault, [], None))


ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "approved without a word": ({"stage": "approved"}, "has stage 'approved', what was said comes to 'open'"),
    "somebody else's": ({"requester": "owner"}, "has requester 'owner', what was said comes to 'requester'"),
    "about another grant": ({"grant_id": "g-0"}, "has grant_id 'g-0'"),
    "of another round": ({"round": 7}, "has round 7, what was said comes to 1"),
    "ended": ({"ended_at": NOW}, "has ended_at"),
    "forgotten": ({"due_at": None}, "has due_at None"),
    "waited for later": ({"due_at": NOW + 6 * DAY}, f"has due_at {NOW + 6 * DAY}"),
    "reminded of already": ({"reminded": 1}, "has due_at"),
    "reminded of too often": ({"reminded": 7, "due_at": NOW + 7 * DAY}, "was never reminded of 7 times"),
    "as if nobody had heard anything": ({"heard": 0, "round": 0}, "has heard 0"),
    "without its name": ({"request_id": "r-other"}, "r-other has a row, and nobody asked"),
}


@pytest.mark.parametrize("how", ROWS)
def test_a_requests_row_that_was_edited_is_named(room: Room, database: Database, how: str) -> None:
    """It decides nothing, and it is what people are shown."""
    request_id, _ = room.ready()
    room.ready()
    room.hear()
    assert room.gated.ledger.read(first_fault, [], None) is None
    values, why = ROWS[how]
    with database.connected() as connection:
        connection.execute(requests.update().where(requests.c.request_id == request_id).values(**values))
    assert why in str(room.gated.ledger.read(first_fault, [], None))


def test_a_lease_of_the_desk_that_somebody_wrote_makes_nothing(room: Room, database: Database) -> None:
    """A copy of a true one on another name: its facts are not there."""
    request_id, snapshot = room.ready()
    room.decide("owner", request_id, snapshot)
    room.hear()
    with database.connected() as connection:
        true = dict(connection.execute(sql.select(approvals)).one()._mapping)
        forged = {"approval_id": "forged", "request_id": "r-forged", "allowed_prefixes": '["10.77.0.0/16"]'}
        connection.execute(approvals.insert().values(true | forged))
    room.visit()
    room.visit()
    assert all(one.prefixes == ("10.20.0.0/16",) for one in room.cloud.associations.values())


def test_the_timer_knows_that_something_waits(room: Room) -> None:
    """What was said and not heard, and what time does something to; nothing else."""

    def waits() -> bool:
        return room.gated.ledger.read(anything_said, room.gated.now)

    assert not waits()
    room.ask()
    assert waits()
    room.hear()
    assert not waits()
    room.gated.now += 4 * DAY
    assert waits()
    room.hear()
    assert not waits()
