"""Heads are read from log lines as they come: bare, behind a prefix, inside a field, between anything else."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.ledger.heads import Head, head_of, heads_in, note_head, record_end
from shared.ledger.proof import first_fault
from shared.ledger.transactions import Ledger
from tests.ledger.kit import NOW
from tests.ledger.lives import open_one

KEY = Ed25519PrivateKey.generate()
HEAD = Head(7, "a" * 64, NOW, 3).sign(KEY)
FACT = json.dumps(
    {"event": "ledger.head", "level": "info", "timestamp": "2026-11-26T00:00:00Z"} | json.loads(HEAD.line())
)
OTHER = Head(9, "b" * 64, NOW + 1, 3).sign(KEY)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(HEAD.line(), id="bare, as a heads file has it"),
        pytest.param(FACT, id="as reconcile logs it"),
        pytest.param(f"FC Invoke 1-2-3 {FACT}", id="behind the platform's prefix"),
        pytest.param(f"[{{request}} {{1-2-3}}] {FACT}", id="behind a prefix that has braces of its own"),
        pytest.param(f'{{"level": "info"}} {FACT}', id="behind another object"),
        pytest.param(f"2026-11-26T00:00:00.000Z 1-65a1-4f [INFO] {FACT}", id="behind a time, an id and a level"),
        pytest.param(f"2026-11-26 {FACT} and more", id="with something behind it"),
        pytest.param(json.dumps({"__time__": "1", "message": FACT}), id="in a field of the log store's own JSON"),
        pytest.param(json.dumps({"message": f"1-2-3 {FACT}"}), id="in a field, behind a prefix"),
        pytest.param(json.dumps({"content": json.dumps({"message": FACT})}), id="in a field of a field"),
        pytest.param(
            json.dumps({"functionName": "reconcile", "message": FACT, "qualifier": "LATEST"}), id="among fields"
        ),
        pytest.param(json.dumps({"message": json.loads(FACT)}), id="as an object in a field"),
        pytest.param(f"\ufeff{FACT}", id="behind a byte order mark"),
        pytest.param(f"  {FACT}\r\n", id="with blanks and a line's end"),
    ],
)
def test_a_head_is_found_wherever_the_log_put_it(line: str) -> None:
    """Nobody has to cut log lines before they prove anything."""
    assert list(heads_in([line])) == [HEAD]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("", id="nothing"),
        pytest.param("no JSON at all", id="a sentence"),
        pytest.param("{", id="half of an object"),
        pytest.param("{" * 5000, id="nothing but openings"),
        pytest.param('{"event": "reconcile.done", "grants": 0}', id="another fact"),
        pytest.param('{"event": "grant.settled", "seq": 1, "hash": "x"}', id="another fact that has such fields"),
        pytest.param('["ledger.head"]', id="a list"),
        pytest.param('{"a": {"seq": 1}}', id="an object in an object"),
        pytest.param('{"a":' * 20_000, id="objects in objects without an end"),
    ],
)
def test_other_lines_are_passed_over(line: str) -> None:
    """A log is full of them, and they may stand between heads."""
    assert list(heads_in([line, FACT, line, OTHER.line(), line])) == [HEAD, OTHER]


@pytest.mark.parametrize("field", ["at", "configuration", "signature"])
@pytest.mark.parametrize(
    "wrap", [lambda text: text, lambda text: json.dumps({"message": text})], ids=["bare", "in a field"]
)
def test_a_head_that_lacks_something_is_told_with_its_line(field: str, wrap: object) -> None:
    """So that nobody believes in heads that were never read."""
    told = json.loads(FACT)
    del told[field]
    assert callable(wrap)
    with pytest.raises(ValueError, match="line 2 is not a whole head"):
        list(heads_in([FACT, wrap(json.dumps(told))]))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"seq": "seven"}, id="a number that is none"),
        pytest.param({"at": None}, id="no time"),
        pytest.param({"configuration": "newest"}, id="a configuration that is no number"),
        pytest.param({"seq": [7]}, id="a list for a number"),
    ],
)
def test_a_head_with_a_field_that_is_none_is_told(changes: dict[str, object]) -> None:
    """By its line."""
    with pytest.raises(ValueError, match="line 1 is not a whole head"):
        list(heads_in([json.dumps(json.loads(FACT) | changes)]))


def test_what_was_signed_in_the_log_proves_the_record(ledger: Ledger) -> None:
    """From the log's lines to the verdict, on both databases."""
    lines = ["START"]
    for number in range(4):
        open_one(ledger, f"REQ-{number}", "vpc-1")
        head = ledger.read(head_of, NOW).sign(KEY)
        lines.append(f"1-2-3 {json.dumps({'event': 'ledger.head'} | json.loads(head.line()))}")
    heads = list(heads_in([*lines, "END"]))

    assert [one.seq for one in heads] == [1, 2, 3, 4]
    assert ledger.read(first_fault, heads, KEY.public_key()) is None
    forged = [*heads, Head(2, "c" * 64, NOW, 0).sign(KEY)]
    found = ledger.read(first_fault, forged, KEY.public_key())
    assert found is not None
    assert found.startswith("event 2 is not what was signed")


def test_the_end_of_the_record_is_told_with_the_last_head_that_was_put_out(ledger: Ledger) -> None:
    """None before the first; then that event's hash, which the head has to say too."""
    open_one(ledger, "REQ-1", "vpc-1")
    head = ledger.read(head_of, NOW)
    before = ledger.read(record_end)
    assert (before.seq, before.hash, before.head, before.head_hash, before.head_at) == (
        head.seq,
        head.hash,
        None,
        None,
        None,
    )
    ledger.write(note_head, head.seq, NOW)
    found = ledger.read(record_end)
    assert (found.head, found.head_hash, found.head_at) == (head.seq, head.hash, NOW)
    ledger.write(note_head, head.seq + 100, NOW + 1)
    assert ledger.read(record_end).head_hash is None
