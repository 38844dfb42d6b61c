"""What reaches a terminal: nothing that it would obey or hide, nothing cut; and nothing past the one way out."""

from __future__ import annotations

import ast
import csv
import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import output
from shared.messages.cells import safe

ROOT = Path(__file__).parents[2]
HIDDEN = [
    chr(number) for number in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x200B, 0x2010), 0x2060, 0xFEFF)
]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07", id="escape sequences and the bell"),
        pytest.param("\x9b31m\x85", "\\x9b31m\\x85", id="the same with one byte, and another line end"),
        pytest.param("a\rb\nc\td\x00", "a\\rb\\nc\\td\\x00", id="what forges lines"),
        pytest.param("\u202etxt.exe\u2066", "\\u202etxt.exe\\u2066", id="the reading direction"),
        pytest.param("vpc-\u200b1\ufeff\u00ad", "vpc-\\u200b1\\ufeff\\xad", id="what has no width"),
        pytest.param("\u2028\u2029", "\\u2028\\u2029", id="line and paragraph separators"),
        pytest.param("\U000e0041\U000e0101\ufe0f", "\\U000e0041\\U000e0101\\ufe0f", id="tags and variation selectors"),
        pytest.param("\u3164\u115f\u2800\u034f", "\\u3164\\u115f\\u2800\\u034f", id="letters that show nothing"),
        pytest.param("a\u00a0b\u2003c", "a\\xa0b\\u2003c", id="blanks that look like others"),
        pytest.param("\ud800", "\\ud800", id="half a character"),
        pytest.param("缺少权限（账号）, Ü, é, 🙂", "缺少权限（账号）, Ü, é, 🙂", id="what people write stays"),
    ],
)
def test_a_text_shows_everything_in_it(text: str, shown: str) -> None:
    """Escaped as Python would write it, so that it can be looked up."""
    assert safe(text) == shown


@given(st.text())
def test_no_text_is_obeyed(text: str) -> None:
    """Whatever it is: one line, only visible letters, and the same when it is made safe again."""
    shown = safe(text)
    assert shown == safe(shown)
    assert shown.isprintable()
    assert not any(letter in shown for letter in HIDDEN)
    shown.encode("utf-8")


def test_the_answer_for_programs_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON stays JSON: what was escaped comes out again."""
    facts = {"text": "\x1b[2J\u202e 缺少 \ud800"}
    output.document(facts)
    written = capsys.readouterr().out
    assert written.isascii()
    assert "\x1b" not in written
    assert json.loads(written) == facts


def test_no_cell_of_a_table_becomes_a_formula(capsys: pytest.CaptureFixture[str]) -> None:
    """Comma, quote and line break are the format's business; what a spreadsheet would run is text."""
    output.rows(("a", "b", "c", "d"), [{"a": "=1+1", "b": 'x,"y"\n', "c": None, "d": True}])
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [
        ["a", "b", "c", "d"],
        ["'=1+1", 'x,"y"\\n', "", "true"],
    ]


def test_a_stream_that_cannot_write_a_letter_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal without Chinese the meaning stands there escaped."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    output.prepare()
    output.say("缺少权限")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\u7f3a\\u5c11\\u6743\\u9650\n"


def printed(path: Path) -> list[str]:
    """The calls in a module that print: of typer, of rich, of Python; with the line of each."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("print", "typer.echo", "typer.secho", "sys.stdout.write", "sys.stderr.write", "typer.confirm"):
                unsafe = [one for one in map(ast.unparse, node.args) if "safe(" not in one]
                found += [f"{path.name}:{node.lineno}: {one}" for one in unsafe if not one.startswith(("'", '"'))]
        if isinstance(node, ast.Import | ast.ImportFrom) and "rich" in ast.unparse(node):
            found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("folder", ["cli", "examples"])
def test_everything_is_printed_by_the_one_way(folder: str) -> None:
    """A module that printed by itself would print raw: only constants, and what went through ``safe``."""
    harmless = {r"f'{line}\n'", "f'no answer within {seconds} s'", "question"}
    harmless |= {"json.dumps(made)", "pem(sys.argv[1])"}  # of what is copied, and needs nothing of ours
    paths = [path for path in (ROOT / folder).glob("*.py") if path.name != "output.py"]
    assert len(paths) > 3
    found = [line for path in paths for line in printed(path)]
    assert [line for line in found if line.split(": ", 1)[1] not in harmless] == []
