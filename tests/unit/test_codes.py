"""Every code that the source names is in the catalogue: read from the source itself, so that none is forgotten."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from shared.messages.catalogue import find, note
from shared.messages.completion import ReasonCode
from shared.messages.reasons import NOTES
from shared.rules.facts import DriftKind
from tests.command import whole_command

ROOT = Path(__file__).parents[2]
ENUMS = ("ReasonCode", "DriftKind")
CODED = {"made": 0, "Dead": 2}
"""Functions and classes that take a code in a place of its own."""


def codes_in(source: str) -> Iterator[str]:
    """The codes that a module raises, records or compares with."""
    tree = ast.parse(source)
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def texts(value: ast.expr) -> Iterator[str]:
        value = constants.get(value.id, value) if isinstance(value, ast.Name) else value
        for part in (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,):
            if isinstance(part, ast.BoolOp):
                yield from (text for each in part.values for text in texts(each))
            elif isinstance(part, ast.Tuple | ast.List | ast.Set):
                yield from (text for each in part.elts for text in texts(each))
            elif isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value

    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "code":
                    yield from texts(keyword.value)
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = CODED.get(name)
            if place is not None and len(node.args) > place:
                yield from texts(node.args[place])
        elif isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".code"):
            for other in node.comparators:
                yield from texts(other)
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                named = isinstance(line, ast.Assign) and [ast.unparse(target) for target in line.targets] == ["code"]
                if isinstance(line, ast.Assign) and (named or node.name in ENUMS):
                    yield from texts(line.value)


def test_the_reader_of_the_source_finds_every_way_to_name_a_code() -> None:
    """What it does not see it would not miss."""
    source = """
SOME = "A"
class E(Exception):
    code = "B"
class ReasonCode(StrEnum):
    X = "C"
raise E("text", code=SOME)
raise E("text", code="D" if x else "E")
made("F", None, "where", "")
Dead(name, "queue", "G", "text")
if error.code != "H": pass
if error.code in ("I", "J"): pass
"""
    assert sorted(codes_in(source)) == list("ABCDEFGHIJ")


SOURCES = sorted(path for folder in ("shared", "cli", "functions") for path in (ROOT / folder).rglob("*.py"))


def test_every_code_of_the_source_is_in_the_catalogue() -> None:
    """Whoever adds a code adds its texts, in both languages, and who must act."""
    named = {code: path.relative_to(ROOT) for path in SOURCES for code in codes_in(path.read_text("utf-8"))}
    assert len(named) >= 30
    assert {"PermissionMissing", "Paced", "Held", "grant-missing", "DeadLetter", "FunctionFailed"} <= named.keys()
    assert {code: str(path) for code, path in named.items() if find(code) is None and note(code) is None} == {}


def test_no_code_is_told_twice() -> None:
    """A code is an error's or a reason's: where both had it, one would never be read."""
    assert [one.code for one in NOTES if find(one.code) is not None] == []
    assert len({one.code for one in NOTES}) == len(NOTES)
    assert {*ReasonCode, *DriftKind} <= {one.code for one in NOTES}


@pytest.mark.parametrize("code", ["Held", "grant-missing", "Paced", "DeadLetter", "Throttling.User", "QueueNotExist"])
def test_a_code_is_explained(code: str) -> None:
    """In English and Chinese, with who must act and what happens next."""
    told = CliRunner().invoke(whole_command(), ["errors", code])
    assert told.exit_code == 0, told.output
    english, chinese, after = told.output.splitlines()
    assert english.startswith(f"{code}: ")
    assert not chinese.isascii()
    assert "who must act: " in after
    assert "next: " in after


def test_an_unknown_code_says_how_it_is_treated() -> None:
    """Exit code 1, since it is not there; and what the engine does about codes that it does not know."""
    told = CliRunner().invoke(whole_command(), ["errors", "Brand.New"])
    assert told.exit_code == 1
    assert (
        "Brand.New: unknown here. An unknown code is tried again within bounds where its name says that it passes"
        in told.output
    )
    as_json = CliRunner().invoke(whole_command(), ["errors", "Brand.New", "--json"])
    assert as_json.exit_code == 1
    assert '"known": false' in as_json.stdout
