"""The record proves itself: whatever is done to it directly in the database, ``verify`` with signed heads finds, and names
the first bad event as exactly as can be known.

What can be known. An event that contradicts its own hash, or is missing between two others, is named exactly. Events that were
hashed anew are consistent in themselves, and only a head gives them away: the first one at or behind the first bad event
disagrees. Every event since the head before that may be the first bad one, so the sentence names all of them; where heads lie
as close as events that is one event. What was recorded after the last head is as sure as the database and no surer.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sql
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.ledger.admission import admit
from shared.ledger.heads import Head, head_of
from shared.ledger.operating import set_mode
from shared.ledger.outcomes import settle, tell_unwanted
from shared.ledger.proof import first_fault
from shared.ledger.record import START_OF_CHAIN, chained, digest_of
from shared.ledger.tables import chain, events, outbox, settings
from shared.ledger.transactions import Ledger
from shared.ledger.work import read_work
from shared.messages.completion import EventKind
from shared.rules.facts import Mode, Side
from tests.ledger.kit import NOW, Database, closing, grant_id, opening

KEY = Ed25519PrivateKey.generate()
SOMEBODY_ELSES = Ed25519PrivateKey.generate()

Row = dict[str, Any]

COLUMNS = ("body", "facts", "kind", "grant_id", "number", "at", "event_id", "digest", "previous", "hash")
"""Everything that an event consists of, but its place."""


@dataclass
class Record:
    """A record as it stands in the database: its events in order, and where the chain says that it ends."""

    rows: list[Row]
    end: tuple[int, str]

    def copy(self) -> Record:
        """One to tamper with."""
        return Record([dict(row) for row in self.rows], self.end)

    def hash_anew(self, first: int, last: int) -> None:
        """Make these events, counted from 1, consistent with their contents and with each other."""
        for position in range(first - 1, last):
            row = self.rows[position]
            row["previous"] = self.rows[position - 1]["hash"] if position else START_OF_CHAIN
            row["digest"] = digest_of(row["body"], row["facts"])
            row["hash"] = chained(row["previous"], row["seq"], row["digest"])

    def number_anew(self) -> None:
        """Give the events the numbers of their places."""
        for seq, row in enumerate(self.rows, 1):
            row["seq"] = seq

    def end_anew(self) -> None:
        """Let the chain say that it ends where it does."""
        self.end = (self.rows[-1]["seq"], self.rows[-1]["hash"]) if self.rows else (0, START_OF_CHAIN)

    def head(self, seq: int) -> Head:
        """The head that was signed when this was the last event."""
        return Head(seq, self.rows[seq - 1]["hash"] if seq else START_OF_CHAIN, NOW, 0).sign(KEY)


@pytest.fixture
def record(ledger: Ledger, database: Database) -> Record:
    """What a few grants' lives leave behind: some twenty events of many kinds, and the tables that they come to."""
    live(ledger)
    with database.connected() as connection:
        connection.execute(outbox.delete())  # not part of what is proven, and in the way of whoever tampers
    return read(database)


def live(ledger: Ledger) -> None:
    """Leases open and close on four grants, and both sides settle."""
    for number in range(4):
        vpc = f"vpc-{number}"
        ledger.write(admit, opening("REQ-1", vpc), f"message-{number}", NOW + number, ledger.timing)
        for side, kind in ((Side.GRANT, EventKind.GRANTED), (Side.ASSOCIATE, EventKind.ASSOCIATED)):
            work = ledger.write(read_work, grant_id(vpc), side, NOW + number, ledger.timing)
            assert work is not None
            assert ledger.write(settle, work, kind, NOW + number, association_id=None, served=[], both_sides=True)
        ledger.write(admit, closing("all", vpc=vpc), f"message-end-{number}", NOW + 60_000 + number, ledger.timing)
        work = ledger.write(read_work, grant_id(vpc), Side.GRANT, NOW + 60_000, ledger.timing)
        assert work is not None
        ledger.write(tell_unwanted, work, NOW + 60_000, let_go=False)
    ledger.write(set_mode, Mode.FULL, "operator", NOW + 60_000)


def read(database: Database) -> Record:
    """The record as it stands."""
    with database.connected() as connection:
        rows = [dict(row._mapping) for row in connection.execute(sql.select(events).order_by(events.c.seq))]
        end = connection.execute(sql.select(chain)).one()
    return Record(rows, (end.seq, end.hash))


def write(database: Database, record: Record) -> None:
    """What somebody with a pen in the database leaves there."""
    with database.connected() as connection:
        connection.execute(events.delete())
        if record.rows:
            connection.execute(events.insert(), record.rows)
        connection.execute(chain.update().values(seq=record.end[0], hash=record.end[1]))


Named = tuple[int, int]
"""The first and the last of the events that a sentence names as perhaps the first bad one; the same one, when it is sure."""


def named(sentence: str | None) -> Named:
    """What a sentence of ``verify`` names."""
    assert sentence is not None, "the record is said to be intact"
    among = re.match(r"one of the events (\d+) to (\d+) ", sentence)
    if among is not None:
        return int(among[1]), int(among[2])
    exact = re.match(r"event (\d+) ", sentence)
    assert exact is not None, sentence
    unproven = re.search(r"no head proves the events (\d+) to \d+$", sentence)
    return int(unproven[1] if unproven else exact[1]), int(exact[1])


@dataclass(frozen=True)
class Tampering:
    """One thing done to a record. ``first``: the first event that is not what was recorded; ``named``: what can be known."""

    what: str
    first: int
    named: Named


class Forger:
    """Tampers with a record at random places, and says what ``verify`` must name then, knowing the heads."""

    def __init__(self, record: Record, heads: Sequence[int], chance: random.Random) -> None:
        self.record = record
        self._heads = sorted(heads)
        self._chance = chance
        self._length = len(record.rows)

    def _proven_before(self, seq: int) -> int:
        """The last event before this one that a head proves; 0 when there is none."""
        return max((head for head in self._heads if head < seq), default=0)

    def _next_head(self, seq: int) -> int:
        """The first head at or behind an event."""
        return min(head for head in self._heads if head >= seq)

    def _among(self, what: str, first: int, shown_by: int) -> Tampering:
        """The first bad event can only be known to lie behind the last head that agrees, up to where it shows."""
        return Tampering(what, first, (self._proven_before(first) + 1, shown_by))

    def edit(self) -> Tampering:
        """Change one column of one event and leave its hash."""
        seq = self._chance.randint(1, self._length)
        row = self.record.rows[seq - 1]
        column = self._chance.choice(list(COLUMNS))
        row[column] = self._other(column, row)
        return Tampering(f"edit {column} of {seq}", seq, (seq, seq))

    def _other(self, column: str, row: Row) -> object:
        if column == "body":
            return self._other_body(row["body"])
        if column in ("number", "at"):
            return (row[column] or 0) + self._chance.randint(1, 9)
        if column in ("previous", "hash", "digest"):
            return f"{self._chance.getrandbits(256):064x}"
        return f"other-{self._chance.randint(0, 10**6)}"

    def _other_body(self, body: str) -> str:
        """Another content: another time, another reason, something left out, or no event at all."""
        told = json.loads(body)
        way = self._chance.randint(0, 4)
        if way == 0:
            told["at"] = "2026-01-01T00:00:00Z"
        elif way == 1:
            told["reason"] = {"code": "Done", "text": f"nothing happened {self._chance.random()}"}
        elif way == 2:
            told.pop(self._chance.choice(sorted(told)))
        else:
            return self._chance.choice(["", "{}", "[]", "null", "not JSON", body + " "])
        return json.dumps(told)

    def _told_otherwise(self, row: Row) -> None:
        """Another content whose columns agree with it: only a hash can give it away."""
        told = json.loads(row["body"])
        told["reason"] = {"code": "Done", "text": f"nothing happened {self._chance.random()}"}
        row["body"] = json.dumps(told)

    def drop(self) -> Tampering:
        """Remove one event from between the others; sometimes close the gap in the numbers."""
        seq = self._chance.randint(1, self._length - 1)
        del self.record.rows[seq - 1]
        closed = self._chance.random() < 0.5
        if closed:
            self.record.number_anew()
        return Tampering(f"drop {seq}{' and close the gap' if closed else ''}", seq, (seq, seq))

    def reorder(self) -> Tampering:
        """Let some events change their places and leave their hashes."""
        places = sorted(self._chance.sample(range(self._length), self._chance.randint(2, 5)))
        moved = places[1:] + places[:1]  # each to the place of the next: nobody stays
        before = list(self.record.rows)
        for place, origin in zip(places, moved, strict=True):
            self.record.rows[place] = before[origin]
        self.record.number_anew()
        seq = places[0] + 1
        return Tampering(f"reorder {[place + 1 for place in places]}", seq, (seq, seq))

    def cut_off(self) -> Tampering:
        """Remove the last events; sometimes let the chain say that it ends there."""
        kept = self._chance.randint(0, self._length - 1)
        del self.record.rows[kept:]
        told = self._chance.random() < 0.5
        if told:
            self.record.end_anew()
        return self._among(f"cut off after {kept}{' and say so' if told else ''}", kept + 1, kept + 1)

    def hash_a_stretch_anew(self) -> Tampering:
        """Change an event, hash it and some behind it anew, and leave the rest as it is."""
        first = self._chance.randint(1, self._length - 1)
        last = self._chance.randint(first, self._length - 1)
        self._told_otherwise(self.record.rows[first - 1])
        self.record.hash_anew(first, last)
        # The first head in the stretch disagrees; without one, the event behind it does not follow.
        return self._among(f"hash {first} to {last} anew", first, min(self._next_head(first), last + 1))

    def hash_the_rest_anew(self) -> Tampering:
        """Change an event and hash everything from there to the end anew; sometimes the end of the chain too."""
        first = self._chance.randint(1, self._length)
        self._told_otherwise(self.record.rows[first - 1])
        return self._all_anew(f"hash everything from {first} on anew", first)

    def drop_and_hash_anew(self) -> Tampering:
        """Remove an event without a trace in the numbers and hashes behind it."""
        first = self._chance.randint(1, self._length - 1)
        del self.record.rows[first - 1]
        self.record.number_anew()
        return self._all_anew(f"drop {first} and hash the rest anew", first)

    def insert_and_hash_anew(self) -> Tampering:
        """Slip an event in that never happened."""
        first = self._chance.randint(1, self._length)
        forged = dict(self.record.rows[first - 1], event_id=f"forged-{self._chance.random()}")
        told = json.loads(forged["body"])
        forged["body"] = json.dumps(told | {"id": forged["event_id"]})
        self.record.rows.insert(first - 1, forged)
        self.record.number_anew()
        return self._all_anew(f"insert {first} and hash the rest anew", first)

    def reorder_and_hash_anew(self) -> Tampering:
        """Let two events change places and hash everything behind them anew."""
        one, other = sorted(self._chance.sample(range(self._length), 2))
        rows = self.record.rows
        rows[one], rows[other] = rows[other], rows[one]
        self.record.number_anew()
        return self._all_anew(f"swap {one + 1} and {other + 1} and hash the rest anew", one + 1)

    def _all_anew(self, what: str, first: int) -> Tampering:
        self.record.hash_anew(first, len(self.record.rows))
        if self._chance.random() < 0.8:
            self.record.end_anew()
        return self._among(what, first, self._next_head(first))

    def append_past_the_end(self) -> Tampering:
        """Add a perfect event, and forget what the chain says about its end."""
        seq = self._length + 1
        self.record.rows.append(dict(self.record.rows[-1], seq=seq, event_id="forged"))
        told = json.loads(self.record.rows[-1]["body"])
        self.record.rows[-1]["body"] = json.dumps(told | {"id": "forged"})
        self.record.hash_anew(seq, seq)
        return Tampering("append past the end", seq, (seq, seq))


WAYS: tuple[Callable[[Forger], Tampering], ...] = (
    Forger.edit,
    Forger.drop,
    Forger.reorder,
    Forger.cut_off,
    Forger.hash_a_stretch_anew,
    Forger.hash_the_rest_anew,
    Forger.drop_and_hash_anew,
    Forger.insert_and_hash_anew,
    Forger.reorder_and_hash_anew,
    Forger.append_past_the_end,
)


def some_heads(chance: random.Random, length: int) -> list[int]:
    """Where heads were signed: at the last event, and before it at none, at some or at every one; often before the first."""
    density = chance.choice([0.0, 0.05, 0.05, 0.2, 0.2, 1.0])
    return [seq for seq in range(length) if chance.random() < (density if seq else 0.5)] + [length]


def tampered(intact: Record, numbers: range) -> Iterator[tuple[int, Tampering, Record, list[int]]]:
    """The record tampered with in so many ways, each from its own seed."""
    for number in numbers:
        chance = random.Random(number)  # noqa: S311  # so that a failure can be seen again
        heads = some_heads(chance, len(intact.rows))
        forger = Forger(intact.copy(), heads, chance)
        done = WAYS[number % len(WAYS)](forger)
        yield number, done, forger.record, heads


def test_a_thousand_ways_to_tamper_are_found_and_named(ledger: Ledger, database: Database, record: Record) -> None:
    """Editing, dropping, reordering, cutting off, re-hashing a stretch or everything, with and without a new end of the chain:
    verify names the first bad event, or, where events were hashed anew, the events since the last head that agrees."""
    assert len(record.rows) > 20
    signed = [record.head(seq) for seq in range(len(record.rows) + 1)]
    ways: dict[int, int] = {}
    # Each of these goes through the whole database, so the second database gets fewer of them.
    for number, done, other, heads in tampered(record, range(1000 if database.kind == "sqlite" else 100)):
        write(database, other)
        found = ledger.read(first_fault, [signed[seq] for seq in heads], KEY.public_key())

        about = f"seed {number}: {done}, heads {heads}: {found}"
        assert found is not None, about
        assert named(found) == done.named, about
        assert done.named[0] <= done.first <= done.named[1], about
        ways[number % len(WAYS)] = ways.get(number % len(WAYS), 0) + 1
    assert len(ways) == len(WAYS)


def test_an_intact_record_is_never_suspected(ledger: Ledger, database: Database, record: Record) -> None:
    """However many heads there are, and wherever: what was recorded verifies."""
    for number in range(40):
        heads = some_heads(random.Random(number), len(record.rows))  # noqa: S311
        assert ledger.read(first_fault, [record.head(seq) for seq in heads], KEY.public_key()) is None, heads
    assert ledger.read(first_fault, [], None) is None


def test_an_empty_record_is_intact(ledger: Ledger) -> None:
    """Nothing recorded, and a head that says so."""
    assert ledger.read(first_fault, [ledger.read(head_of, NOW).sign(KEY)], KEY.public_key()) is None


def test_a_head_of_the_empty_record_hides_nothing(ledger: Ledger, database: Database, record: Record) -> None:
    """The first tick of a new deployment signs the head of event 0; the heads after it count all the same."""
    other = record.copy()
    other.rows[9]["body"] = json.dumps(json.loads(other.rows[9]["body"]) | {"message_id": "another"})
    other.hash_anew(10, len(other.rows))
    other.end_anew()
    write(database, other)

    heads = [record.head(seq) for seq in (0, 9, 10)]
    assert named(ledger.read(first_fault, heads, KEY.public_key())) == (10, 10)


def test_what_came_after_the_last_head_is_only_as_sure_as_the_database(
    ledger: Ledger, database: Database, record: Record
) -> None:
    """The limit of the proof, stated: who can write everything can re-hash what no head covers yet, or cut it off and undo
    what it did to the tables. So heads are signed at every tick."""
    length = len(record.rows)
    heads = [record.head(length - 5)]
    hashed = record.copy()
    hashed.rows[length - 3]["body"] += " "
    hashed.hash_anew(length - 2, length)
    hashed.end_anew()
    cut = record.copy()
    assert cut.rows[-1]["kind"] == "mode-changed"
    del cut.rows[length - 1 :]
    cut.end_anew()

    for other in (hashed, cut):
        write(database, other)
        with database.connected() as connection:
            connection.execute(settings.delete() if other is cut else settings.update().values(value="full"))
        assert ledger.read(first_fault, heads, KEY.public_key()) is None
        assert ledger.read(first_fault, [*heads, record.head(length)], KEY.public_key()) is not None


def test_a_tail_that_was_cut_off_leaves_its_marks_in_the_tables(
    ledger: Ledger, database: Database, record: Record
) -> None:
    """Without any head: what the events no longer come to is named."""
    cut = record.copy()
    del cut.rows[len(cut.rows) - 1 :]
    cut.end_anew()
    write(database, cut)

    found = ledger.read(first_fault, [], None)
    assert found == "the mode is full, the record says None"


def test_without_heads_a_record_hashed_anew_is_believed(ledger: Ledger, database: Database, record: Record) -> None:
    """Which is why verify asks for heads that were kept elsewhere."""
    other = record.copy()
    other.rows[0]["body"] += " "
    other.hash_anew(1, len(other.rows))
    other.end_anew()
    write(database, other)

    assert ledger.read(first_fault, [], None) is None


@pytest.mark.parametrize("forgery", ["other key", "no signature", "not Base64", "another hash", "another time"])
def test_a_head_counts_with_its_signature(ledger: Ledger, record: Record, forgery: str) -> None:
    """A head that this key did not sign proves nothing, and is named before anything else."""
    true = record.head(7)
    forged = {
        "other key": dataclasses.replace(true, signature="").sign(SOMEBODY_ELSES),
        "no signature": dataclasses.replace(true, signature=""),
        "not Base64": dataclasses.replace(true, signature="$$$"),
        "another hash": dataclasses.replace(true, hash="0" * 64),
        "another time": dataclasses.replace(true, at=true.at + 1),
    }[forgery]

    found = ledger.read(first_fault, [record.head(3), forged, record.head(9)], KEY.public_key())
    assert found == "the head of event 7 is not signed by this key"


@pytest.mark.parametrize(
    ("seq", "hashed"),
    [
        pytest.param(0, "", id="nothing was changed"),
        pytest.param(-1, "f", id="one event less, with another hash"),
        pytest.param(-1, "", id="one event less, with the hash that was there"),
        pytest.param(9, "", id="more events than there are"),
    ],
)
def test_an_end_that_was_changed_is_found(
    ledger: Ledger, database: Database, record: Record, seq: int, hashed: str
) -> None:
    """The row that says where the chain ends is part of the record: another number, another hash, or both."""
    other = record.copy()
    other.end = (record.end[0] + seq, hashed * 64 or record.end[1])
    write(database, other)

    found = ledger.read(first_fault, [record.head(len(record.rows))], KEY.public_key())
    if (seq, hashed) == (0, ""):
        assert found is None
    elif seq > 0:
        assert named(found) == (len(record.rows) + 1, len(record.rows) + 1)
    else:
        assert found is not None
        assert found.startswith("the end of the chain is not what was recorded")


def test_an_end_that_is_gone_is_found(ledger: Ledger, database: Database, record: Record) -> None:
    """Without the row that says where the chain ends nothing can be proven, and verify says so."""
    with database.connected() as connection:
        connection.execute(chain.delete())
    try:
        found = ledger.read(first_fault, [record.head(len(record.rows))], KEY.public_key())
    finally:
        with database.connected() as connection:
            connection.execute(chain.insert().values(name="events", seq=0, hash=START_OF_CHAIN))

    assert found is not None
    assert found.startswith("the end of the chain is missing")
