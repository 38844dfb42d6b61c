"""The words of the log: each is declared once, said only as declared, and what is made from them is current."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.alarms import OF_FIGURES, OF_METRICS, OF_WORDS, files, template
from deploy.facts import Kind, around, declared, facts_of, index
from deploy.queries import ERRORS, SAVED, Query, of_error
from deploy.runbook import DEAD, meaning
from shared import words
from shared.log import LONGEST, Level, Word, bind, bound, configure, word
from shared.words import WORDS
from tests.said import misuses, strange

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "alarms.md").read_text("utf-8")
RESOURCES: dict[str, Any] = template()["Resources"]


def of_type(kind: str) -> list[Any]:
    """The properties of the template's resources of a type."""
    return [one["Properties"] for one in RESOURCES.values() if one["Type"] == f"ALIYUN::{kind}"]


# -- declared ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", WORDS, ids=lambda one: one.name)
def test_a_word_says_what_it_means(one: Word[...]) -> None:
    """It has a name of two parts, a meaning, facts with meanings; and what a person does exactly where it needs one."""
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", one.name)
    assert meaning(one)
    assert all(fact.meaning for fact in facts_of(one))
    assert bool(one.todo) is (one.level is Level.ERROR)
    assert not one.traceback or one.level is Level.ERROR


def test_a_name_is_one_word() -> None:
    """Nothing is declared twice."""
    assert len({one.name for one in WORDS}) == len(WORDS)


def test_a_fact_means_the_same_in_every_word() -> None:
    """So that one index fits all lines, and whoever reads one line can read the next."""
    assert declared()["wait_seconds"].kind is Kind.DOUBLE

    @word("another.word", Level.INFO)
    def another(*, wait_seconds: str) -> None:
        """Something else."""

    with pytest.raises(ValueError, match=r"wait_seconds of another\.word"):
        declared((*WORDS, another))


def test_durations_are_in_seconds_and_say_so() -> None:
    """No fact is a number whose unit has to be guessed."""
    doubles = {name for name, kind in index().items() if kind is Kind.DOUBLE}
    assert doubles == {name for name in index() if name.endswith("seconds")}


# -- said --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted([*ROOT.glob("shared/**/*.py"), *ROOT.glob("functions/**/*.py")]), ids=str)
def test_words_are_said_with_their_facts(path: Path) -> None:
    """In every module that ships with a function. Only shared.log can write a line at all: an import contract."""
    assert misuses(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        pytest.param("words.grant_deed(grant='g')", "grant_deed is no word", id="a word that nobody declared"),
        pytest.param("words.wake_lost(grant='g', code='c')", "not said with its facts", id="a fact is missing"),
        pytest.param(
            "words.wake_lost(grant='g', code='c', reason='r', key='k')", "not said with its facts", id="a fact too many"
        ),
        pytest.param("words.start_failed('r')", "not said with its facts", id="a fact without its name"),
    ],
)
def test_a_word_said_otherwise_is_found(source: str, fault: str) -> None:
    """The finder of faults finds them."""
    assert fault in misuses(source)[0]


def test_a_line_that_is_not_as_declared_is_found() -> None:
    """The judge of logs finds an undeclared word, level and fact, a fact that is missing, and one of another kind."""
    good = {"event": "start.failed", "level": "error", "time": "2026", "reason": "r", "invocation": "i"}
    assert strange([json.dumps(good), "Traceback", "[1]", '{"another": "log"}']) == []
    for changes, fault in (
        ({"event": "start.filed"}, "no such word"),
        ({"level": "info"}, "not the level error"),
        ({"key": "k"}, "key is not declared"),
        ({"reason": 5}, "reason is 5, not text"),
    ):
        assert fault in strange([json.dumps(good | changes)])[0]
    assert "reason is missing" in strange([json.dumps({name: good[name] for name in ("event", "level", "time")})])[0]
    assert f"{LONGEST + 1} bytes" in strange(["x" * (LONGEST + 1)])[0]


def test_a_line_is_one_json_object_with_what_is_known_around_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The word, its level and time; its invocation; and the grant and side in whose work it is said."""
    configure()
    bind(invocation="i-1")
    with bound(grant="g-1", side="grant"):
        words.write_requested(write="grant", api_request_id="A-1")
    words.start_ready(seconds=1.5)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    del first["time"], second["time"]
    assert first == {
        "event": "write.requested",
        "level": "info",
        "invocation": "i-1",
        "grant": "g-1",
        "side": "grant",
        "write": "grant",
        "api_request_id": "A-1",
    }
    assert second == {"event": "start.ready", "level": "info", "invocation": "i-1", "seconds": 1.5}


def test_a_fault_of_ours_comes_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever is to mend it sees where it came from."""
    configure()
    try:
        int("by nobody")
    except ValueError:
        words.message_failed(message_id="m-1")
    assert "by nobody" in json.loads(capsys.readouterr().out)["exception"]


@pytest.mark.parametrize("text", ["x", "\n", "中", "😀", "x😀", '"\\'], ids=ascii)
def test_no_line_is_longer_than_a_log_takes(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """It stays one JSON object with every fact: a long text loses its middle, whatever it is written in."""
    configure()
    words.error_met(
        code="C",
        status=400,
        where=text * 200_000,
        meaning=text * 3,
        meaning_zh=text * 60_000,
        who="operator",
        next=text * 50_000,
    )
    written = capsys.readouterr().out.rstrip("\n")
    assert strange([written]) == []
    line = json.loads(written)
    assert line["where"].startswith(text)
    assert "characters left out" in line["where"]
    assert line["meaning"] == text * 3


# -- made from them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", files(), ids=str)
def test_what_is_made_from_the_words_is_current(path: Path) -> None:
    """`make documents` was run."""
    assert (ROOT / path).read_text("utf-8") == files()[path]


def test_every_error_has_an_alarm_and_something_to_do() -> None:
    """By its name in the rules, and by its heading in the runbook; and so has every other alarm."""
    watched = [alarm.query.about for alarm in OF_WORDS]
    assert watched == [(one,) for one in WORDS if one.level is Level.ERROR]
    names = [one.name for one in ERRORS]
    names += [alarm.query.name for alarm in OF_FIGURES] + [measured.name for measured in OF_METRICS]
    headings = re.findall(r"^### (.+)$", DOCUMENT, re.MULTILINE)
    assert headings == names
    rules = {one["Detail"]["Name"] for one in of_type("SLS::Alert")}
    assert rules == {alarm.name for alarm in (*OF_WORDS, *OF_FIGURES)}


def test_every_dead_reason_has_something_to_do() -> None:
    """Each code for which work is dead at once stands in the runbook, with its meaning, once."""
    _, _, rest = DOCUMENT.partition("## Dead reasons")
    reasons, _, _ = rest.partition("## Words")
    assert len(DEAD) > 20
    for entry in DEAD:
        assert reasons.count(f"| `{entry.code}` | {entry.en} |") == 1


QUERIES = [*SAVED, *(alarm.query for alarm in (*OF_WORDS, *OF_FIGURES))]


def undeclared(query: Query) -> set[str]:
    """The facts that a question asks for and that no line of its words has."""
    known = {fact.name for fact in around()} | {fact.name for one in query.about for fact in facts_of(one)}
    return set(re.findall(r'"message\.(\w+)"', query.sql)) - (known & index().keys())


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_question_asks_for_declared_facts(query: Query) -> None:
    """Which the index has, so that Log Service can count by them."""
    assert undeclared(query) == set()
    assert query.text.startswith("message.event: ")


def test_a_question_for_another_fact_is_found() -> None:
    """Also for one that only another word has."""
    assert undeclared(Query("q", "t", (words.grant_dead,), 'SELECT "message.seconds" FROM log')) == {"seconds"}
    assert undeclared(of_error(words.grant_dead)) == set()


def test_the_rules_keep_to_the_limits_of_log_service() -> None:
    """A hundred rules a project, a question over no more than a day, aggregated in SQL; titles of at most 64 characters."""
    rules = of_type("SLS::Alert")
    assert len(rules) <= 100
    for rule in rules:
        (query,) = rule["Detail"]["Configuration"]["QueryList"]
        assert re.fullmatch(r"-\d{1,3}m", query["Start"])
        assert re.search(r"\| SELECT .*(count|max)\(", query["Query"])
        assert 1 <= len(rule["Detail"]["DisplayName"]) <= 64
    assert len((ROOT / "deploy" / "alarms.yaml").read_bytes()) < 524_288


def test_every_name_in_the_template_is_there() -> None:
    """Parameters and conditions that are named are declared, and those that are declared are used."""
    text = json.dumps(RESOURCES) + json.dumps(template()["Conditions"])
    named = set(re.findall(r'"Ref": "(\w+)"', text))
    assert named == set(template()["Parameters"])
    assert {one["Condition"] for one in RESOURCES.values() if "Condition" in one} == set(template()["Conditions"])
    saved = [one["Detail"]["SavedsearchName"] for one in of_type("SLS::Savedsearch")]
    assert len(set(saved)) == len(SAVED)


def test_what_is_measured_is_what_is_deployed() -> None:
    """The functions of s.yaml, and the dead-letter queues that its triggers name."""
    text = (ROOT / "s.yaml").read_text("utf-8")
    functions = [one["props"]["functionName"] for one in yaml.safe_load(text)["resources"].values()]
    measured = {measured.name: measured.resources for measured in OF_METRICS}
    assert [one["functionName"] for one in measured["function-errors"]] == functions
    assert {one["queue"] for one in measured["dead-letters"]} == set(re.findall(r"queues/([\w-]+-dead)", text))
