"""Operators' words on a real ledger: the desk records them, the grant function carries each out once, the record proves it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sql

from shared.errors import BadInput, NotAllowed, Superseded, Unconfigured
from shared.ledger.configuration import newest_number
from shared.ledger.drift import note_drift
from shared.ledger.hearing import anything_said
from shared.ledger.operating import read_holds, said_mode
from shared.ledger.operating_seen import (
    WorkState,
    found_last,
    list_drift,
    list_holds,
    list_operations,
    list_work,
    say_found,
    seen_operation,
)
from shared.ledger.operations import carry_out, open_operations
from shared.ledger.outcomes import mark_dead
from shared.ledger.proof import first_fault
from shared.ledger.seeing import Scope
from shared.ledger.tables import configurations, consent, events, operations, sides
from shared.ledger.transactions import Ledger
from shared.loop.operating import Operators
from shared.messages.completion import Reason
from shared.messages.consent import Operation, Strength
from shared.rules.facts import Drift, DriftKind, Mode, Side
from tests.ledger.gated import Gated, apply
from tests.ledger.kit import HOUR, NOW, Database, grant_id, key, opening, read
from tests.ledger.lives import come_up
from tests.ledger.room import PEOPLE, Room, people_decide, voice
from tests.ledger.test_bounded import plan, statements

A, B, ECR = key().ecr_owner_uid, key().instance_owner_uid, key().ecr_id
EVERYTHING = Scope("lead", frozenset({A, B}), everything=True)
HOLD: dict[str, Any] = {"word": "hold", "kind": "ecr", "name": ECR}


def with_operators(*names: str) -> Any:
    """A configuration in which these are operators."""
    return people_decide(people={**PEOPLE, "groups": {**PEOPLE["groups"], "operators": list(names)}})


@pytest.fixture
def room(ledger: Ledger) -> Room:
    """The shipped policy, and an operator; one grant that is up."""
    apply(ledger, with_operators("lead"))
    made = Room(Gated(ledger))
    made.gated.enter(opening())
    come_up(ledger, "vpc-1")
    return made


def say(room: Room, person: str = "lead", scope: Scope = EVERYTHING, under: str | None = None, **said: Any) -> str:
    """Somebody says it at the desk. Returns the operation's id."""
    operators = Operators(room.gated.ledger, room.gated.opened(), lambda: room.gated.now)
    by = voice(person, strength=said.pop("strength", Strength.FRESH))
    word = Operation.model_validate({"reason": "A test needs it", **said})
    return operators.say(by, scope, word, name=under).fact.operation_id


def became(database: Database, operation_id: str) -> tuple[str | None, str | None]:
    """Its outcome and code."""
    (row,) = database.rows(sql.select(operations).where(operations.c.operation_id == operation_id))
    return row.outcome, row.code


def test_a_hold_and_its_lifting_are_done_once_and_told(room: Room, database: Database) -> None:
    """As the commands do them, by the name of whoever signed in, and the person is told."""
    ledger = room.gated.ledger
    assert not ledger.read(anything_said, NOW)
    held = say(room, **HOLD, everything=True)
    assert became(database, held) == (None, None)
    assert ledger.read(read_holds) == []
    assert ledger.read(anything_said, NOW)
    for _ in range(2):
        room.hear()
    assert not ledger.read(anything_said, NOW)
    (hold,) = ledger.read(read_holds)
    assert (hold.who, hold.everything, hold.reason) == ("lead", True, "A test needs it")
    assert became(database, held) == ("done", "Done")
    told = [json.loads(row.body) for row in database.rows(sql.select(events).order_by(events.c.seq))][-3:]
    assert [one["event"] for one in told] == ["operation-asked", "hold-set", "operated"]
    assert all(one["people"] == ["lead"] and one["operation"] == held for one in told if "people" in one)
    facts = [row.facts for row in database.rows(sql.select(events).where(events.c.kind == "hold-set"))]
    assert [json.loads(one)["via"] for one in facts] == ["desk"]

    lifted, again = (say(room, word="lift", kind="ecr", name=ECR) for _ in range(2))
    room.hear()
    assert ledger.read(read_holds) == []
    assert sorted([became(database, lifted), became(database, again)]) == [("done", "Done"), ("nothing", "NothingToDo")]
    assert ledger.read(first_fault, [], None) is None


def test_the_mode_is_set(room: Room) -> None:
    """For the deployment, whoever its accounts are."""
    say(room, word="mode", mode="pause-all")
    room.hear()
    assert room.gated.ledger.read(said_mode) is Mode.PAUSE_ALL
    assert room.gated.ledger.read(first_fault, [], None) is None


def test_dead_work_is_tried_again(room: Room, database: Database) -> None:
    """The side that was named, and its grant is looked at."""
    ledger = room.gated.ledger
    work = read(ledger, Side.GRANT)
    ledger.write(mark_dead, work, Reason(code="PermissionMissing", text="no right"), NOW)
    (row,) = ledger.read(list_work, EVERYTHING, WorkState.DEAD, None, 10)
    assert (row.grant_id, row.side, row.since_at) == (grant_id(), "grant", NOW)
    other = say(room, word="redrive", name=grant_id(), side="associate")
    said = say(room, word="redrive", name=grant_id(), side="grant")
    assert room.hear() == [grant_id()]
    assert became(database, said) == ("done", "Done")
    assert became(database, other) == ("nothing", "NothingToDo")
    assert ledger.read(list_work, EVERYTHING, WorkState.DEAD, None, 10) == []
    assert [one.side for one in ledger.read(list_work, EVERYTHING, WorkState.OPEN, None, 10)] == ["grant"]


def drifted(room: Room, kind: DriftKind, side: Side = Side.GRANT, vpc: str = "vpc-1", generation: int = 1) -> None:
    """Reconcile found this, and was told to leave it."""
    found = Drift(key(vpc), side, kind, "as a test has it")
    done = room.gated.ledger.write(
        note_drift, [found], NOW + HOUR, generation=generation, quiet_since=NOW + HOUR - 60_000, repair=()
    )
    assert done == [found]


def test_what_is_missing_is_repaired(room: Room, database: Database) -> None:
    """Both sides look, and put up again what the lease wants."""
    drifted(room, DriftKind.GRANT_MISSING)
    (row,) = room.gated.ledger.read(list_drift, EVERYTHING, None, 10)
    assert (row.grant_id, row.side, row.unsettled) == (grant_id(), "grant", False)
    said = say(room, word="repair", name=grant_id())
    assert room.hear() == [grant_id()]
    assert became(database, said) == ("done", "Done")
    room.visit()
    assert key() in room.cloud.granted
    assert room.gated.ledger.read(list_drift, EVERYTHING, None, 10) == []
    nothing = say(room, word="repair", name=grant_id())
    room.hear()
    assert became(database, nothing) == ("nothing", "NothingToDo")
    assert room.gated.ledger.read(first_fault, [], None) is None


def test_what_is_foreign_is_adopted_and_not_repaired(room: Room, database: Database) -> None:
    """Nobody takes down, without being told to, what we did not put up."""
    drifted(room, DriftKind.FOREIGN_GRANT, vpc="vpc-9", generation=0)
    repaired = say(room, word="repair", name=grant_id("vpc-9"))
    room.hear()
    assert became(database, repaired) == ("nothing", "NothingToDo")
    adopted = say(room, word="adopt", name=grant_id("vpc-9"))
    assert room.hear() == [grant_id("vpc-9")]
    assert became(database, adopted) == ("done", "Done")
    (row,) = database.rows(sql.select(sides).where(sides.c.grant_id == grant_id("vpc-9"), sides.c.side == "grant"))
    assert (row.ours, row.drift) == (True, None)
    assert room.gated.ledger.read(first_fault, [], None) is None


# -- who may -----------------------------------------------------------------------------------------------------------


def test_the_desk_refuses_whom_policy_does_not_let(room: Room, database: Database) -> None:
    """At once, with the rule; nothing is recorded."""
    with pytest.raises(NotAllowed) as refused:
        say(room, "owner", **HOLD)
    assert refused.value.rules == ("operators-operate",)
    with pytest.raises(NotAllowed) as stale:
        say(room, word="mode", mode="full", strength=Strength.SIGNED_IN)
    assert stale.value.rules == ("fresh-to-operate",)
    say(room, **HOLD, strength=Strength.SIGNED_IN)
    assert database.count(consent) == 1


def test_what_may_not_be_seen_is_not_operated_on(room: Room) -> None:
    """Byte for byte as what is not there."""
    repair: dict[str, Any] = {"word": "repair", "name": grant_id()}
    for said in (HOLD, repair):
        texts = set()
        for scope, name in (
            (Scope("lead", frozenset()), said["name"]),
            (EVERYTHING, "ecr-nothinghere" if "kind" in said else "g-" + "0" * 24),
        ):
            with pytest.raises(BadInput) as refused:
                say(room, scope=scope, **{**said, "name": name})
            texts.add((refused.value.code, str(refused.value).replace(name, "…")))
        assert len(texts) == 1
    with pytest.raises(BadInput, match="no account"):
        say(room, scope=Scope("lead", frozenset({A})), word="hold", kind="account", name=B)


def test_policy_is_asked_again_when_it_is_carried_out(room: Room, database: Database) -> None:
    """Who is an operator no more by then has nothing done, and is told so."""
    said = say(room, **HOLD)
    apply(room.gated.ledger, with_operators("router-lead"))
    room.hear()
    assert became(database, said) == ("refused", "PolicyForbids")
    assert room.gated.ledger.read(read_holds) == []
    told = [json.loads(row.body) for row in database.rows(sql.select(events).where(events.c.kind == "operated"))]
    assert [one["people"] for one in told] == [["lead"]]
    assert "You must be in the group operators" in told[0]["reason"]["text"]
    assert room.gated.ledger.read(first_fault, [], None) is None


def test_nothing_is_done_by_a_configuration_that_is_not_the_newest(room: Room, database: Database) -> None:
    """One that was applied after policy was asked, and before the word is carried out."""
    said, ledger = say(room, **HOLD), room.gated.ledger
    asked_under = ledger.read(newest_number)
    apply(ledger, with_operators("router-lead"))
    with pytest.raises(Superseded):
        ledger.write(carry_out, said, None, asked_under, NOW)
    assert ledger.read(read_holds) == []
    assert became(database, said) == (None, None)


def test_what_waited_too_long_is_not_done(room: Room, database: Database) -> None:
    """It was meant for then."""
    said = say(room, **HOLD)
    room.gated.now += HOUR + 1
    room.hear()
    assert became(database, said) == ("refused", "WordTooOld")
    assert room.gated.ledger.read(read_holds) == []


def test_while_nothing_can_be_believed_it_waits(room: Room, database: Database) -> None:
    """Told at once, carried out once somebody can be asked."""
    ledger, said = room.gated.ledger, say(room, **HOLD)
    right = database.rows(sql.select(configurations.c.bundle))[0].bundle
    with database.connected() as connection:
        connection.execute(configurations.update().values(bundle="not a bundle"))
    room.hear()
    assert became(database, said) == (None, None)
    assert "operation-asked" in database.kinds()
    with pytest.raises(Unconfigured):
        say(room, **HOLD)
    with database.connected() as connection:
        connection.execute(configurations.update().values(bundle=right))
    room.hear()
    assert became(database, said) == ("done", "Done")
    assert ledger.read(first_fault, [], None) is None


# -- twice, and forged -------------------------------------------------------------------------------------------------


def test_under_a_name_it_is_said_once(room: Room, database: Database) -> None:
    """Something else under the same name is refused."""
    assert say(room, under="mine", **HOLD) == say(room, under="mine", **HOLD)
    with pytest.raises(NotAllowed) as refused:
        say(room, under="mine", **HOLD, everything=True)
    assert refused.value.code == "NameUsedAgain"
    assert database.count(consent) == database.count(operations) == 1


def test_a_bad_word_stops_nothing_but_itself(room: Room, database: Database) -> None:
    """One that is not what was added, and a row that nobody said."""
    bad, good = say(room, **HOLD), say(room, word="mode", mode="pause-all")
    with database.connected() as connection:
        body = sql.func.replace(consent.c.body, ECR, "ecr-somewhereelse")
        connection.execute(consent.update().where(consent.c.request_id == bad).values(body=body))
        values = dict(database.rows(sql.select(operations).where(operations.c.operation_id == bad))[0]._mapping)
        connection.execute(operations.insert().values(values | {"operation_id": "o-" + "0" * 20, "said_at": 1}))
    room.hear()
    assert became(database, good) == ("done", "Done")
    assert room.gated.ledger.read(read_holds) == []
    assert became(database, bad) == (None, None)


def test_a_row_that_says_it_was_done_has_it_done_all_the_same(room: Room, database: Database) -> None:
    """The row is the desk's to add, and whoever takes it over may add any: what was said is carried out, and once."""
    said = say(room, **HOLD)
    with database.connected() as connection:
        connection.execute(
            operations.update().values(carried_out_at=NOW, outcome="done", code="Done", text="it is", word="lift")
        )
    for _ in range(2):
        room.hear()
    assert len(room.gated.ledger.read(read_holds)) == 1
    assert room.gated.ledger.read(first_fault, [], None) is None
    with database.connected() as connection:
        connection.execute(operations.update().values(carried_out_at=None, outcome=None, code=None, text=None))
    room.hear()
    assert database.kinds().count("hold-set") == 1
    assert "has carried_out_at None, what was said and done" in str(room.gated.ledger.read(first_fault, [], None))
    assert became(database, said) == (None, None)


def test_a_row_that_was_changed_is_named(room: Room, database: Database) -> None:
    """Each column of it follows from what was said and what became of it."""
    said, lie = say(room, **HOLD), "o-" + "1" * 14
    room.hear()
    (row,) = database.rows(sql.select(operations))
    for name, before in row._mapping.items():
        false = not before if isinstance(before, bool) else before + 1 if isinstance(before, int) else lie
        with database.connected() as connection:
            connection.execute(operations.update().values({name: false}))
        fault = room.gated.ledger.read(first_fault, [], None)
        assert (lie if name == "operation_id" else said) in (fault or ""), name
        with database.connected() as connection:
            connection.execute(operations.update().values({name: before}))
    assert room.gated.ledger.read(first_fault, [], None) is None


def test_a_word_without_its_row_is_named(room: Room, database: Database) -> None:
    """Nor is it left undone: who hears it makes the row."""
    say(room, **HOLD)
    with database.connected() as connection:
        connection.execute(operations.delete())
    assert "has no row" in str(room.gated.ledger.read(first_fault, [], None))
    room.hear()
    assert len(room.gated.ledger.read(read_holds)) == 1
    assert room.gated.ledger.read(first_fault, [], None) is None


# -- looking -----------------------------------------------------------------------------------------------------------

SCOPES = {  # who looks; whether they see the grant; how many of the words
    "nobody": (Scope("nobody", frozenset()), False, 0),
    "whoever said it": (Scope("lead", frozenset()), False, 3),
    "account A": (Scope("router-owner", frozenset({A})), True, 2),
    "account B": (Scope("owner", frozenset({B})), True, 1),
    "another account": (Scope("other", frozenset({"9" * 16})), False, 0),
    "many accounts": (Scope("many", frozenset({B, *(f"3{number:015d}" for number in range(40))})), True, 1),
    "everything": (EVERYTHING, True, 3),
}


@pytest.mark.parametrize("who", SCOPES)
def test_lists_give_what_may_be_seen(room: Room, who: str) -> None:
    """Words, holds, dead work and drift of one's accounts, a page at a time."""
    scope, sees, words = SCOPES[who]
    ledger = room.gated.ledger
    drifted(room, DriftKind.GRANT_MISSING)
    say(room, word="hold", kind="grant", name=grant_id())
    say(room, **HOLD)
    mode = say(room, word="mode", mode="full")
    room.hear()
    ledger.write(mark_dead, read(ledger, Side.ASSOCIATE), Reason(code="PermissionMissing", text="no right"), NOW)
    assert len(ledger.read(list_drift, scope, None, 10)) == int(sees)
    assert len(ledger.read(list_work, scope, WorkState.DEAD, None, 10)) == int(sees)
    holds, place = list[Any](), None
    while page := ledger.read(list_holds, scope, place, 1):
        holds += page
        place = page[-1].at, page[-1].kind, page[-1].name
    assert [one.kind for one in holds] == (["ecr", "grant"] if sees else [])
    found, behind = list[Any](), None
    while more := ledger.read(list_operations, scope, False, behind, 1):
        found += more
        behind = more[-1].said_at, more[-1].operation_id
    own = scope.person == "lead"
    assert len(found) == words
    assert (ledger.read(seen_operation, scope, mode) is not None) == own


def test_behind_a_place_there_is_the_rest(room: Room) -> None:
    """Drift and dead work, one by one."""
    ledger = room.gated.ledger
    drifted(room, DriftKind.GRANT_MISSING)
    drifted(room, DriftKind.FOREIGN_GRANT, vpc="vpc-9", generation=0)
    (first,) = ledger.read(list_drift, EVERYTHING, None, 1)
    (second,) = ledger.read(list_drift, EVERYTHING, (first.grant_id, first.side), 5)
    assert {first.grant_id, second.grant_id} == {grant_id(), grant_id("vpc-9")}
    for side in Side:
        ledger.write(mark_dead, read(ledger, side), Reason(code="PermissionMissing", text="no right"), NOW)
    (one,) = ledger.read(list_work, EVERYTHING, WorkState.DEAD, None, 1)
    (other,) = ledger.read(list_work, EVERYTHING, WorkState.DEAD, (one.since_at, one.grant_id, one.side), 5)
    assert {one.side, other.side} == {"grant", "associate"}


LISTS: dict[str, tuple[Callable[[sql.Connection, Scope], object], str]] = {
    "dead work": (lambda c, s: list_work(c, s, WorkState.DEAD, None, 10), "sides_dead"),
    "dead work behind a place": (lambda c, s: list_work(c, s, WorkState.DEAD, (1, "g", "grant"), 10), "sides_dead"),
    "open work": (lambda c, s: list_work(c, s, WorkState.OPEN, None, 10), "sides_unsettled"),
    "drift": (lambda c, s: list_drift(c, s, None, 10), "sides_drifted"),
    "words": (lambda c, s: list_operations(c, s, False, None, 10), "operations_"),
    "words that wait": (lambda c, s: list_operations(c, s, True, (1, "o"), 10), "operations_"),
    "words to be carried out": (lambda c, _: open_operations(c, (-1, ""), 10), "operations_open"),
}


@pytest.mark.parametrize("what", LISTS)
def test_each_list_is_one_statement_by_an_index(ledger: Ledger, database: Database, what: str) -> None:
    """What is read grows with what is open, not with the ledger; whoever asks."""
    ask, index = LISTS[what]
    for scope, sees, _ in SCOPES.values():
        if not sees and what not in ("words", "words that wait"):
            continue  # the planner knows that there is nothing
        with statements(ledger) as sent:
            ledger.glance(ask, scope)
        ((statement, parameters),) = [(one, said) for one, said in sent if "BEGIN" not in one]
        assert index in plan(database, statement, parameters)


def test_what_was_found_last_is_kept_once(ledger: Ledger) -> None:
    """By its name."""
    ledger.write(say_found, "reconcile", {"unsettled": 1}, NOW)
    ledger.write(say_found, "reconcile", {"unsettled": 2}, NOW + 1)
    assert ledger.read(found_last) == [("reconcile", NOW + 1, {"unsettled": 2})]
