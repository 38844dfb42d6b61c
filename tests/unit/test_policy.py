"""Policy: what it refuses to be, and how it answers."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from shared.errors import NotAllowed
from shared.messages.forms import InstanceType
from shared.rules.facts import Side
from shared.rules.policy import Policy, explained
from shared.rules.questions import (
    Act,
    Answer,
    Command,
    Entity,
    FourEyes,
    Named,
    Question,
    Supernets,
    TargetKind,
    ensure,
)
from shared.rules.shipped import POLICY, SCHEMA

ROOT = Path(__file__).parents[2]
PERMIT = '@id("all") permit (principal, action, resource);\n'


def question(command: str = "mode", **changes: Any) -> Question:
    """May an operator change the mode of this deployment?"""
    return Question(
        act=Act.OPERATE,
        principal=Entity(type="Person", id="ops", attrs={"known": True}, parents=(Named(type="Group", id="network"),)),
        resource=Entity(type="Target", id="d", attrs={"kind": {"type": "TargetKind", "id": "deployment"}}),
        context={
            "command": {"type": "Command", "id": command},
            "via": {"type": "Via", "id": "ledger"},
            "fresh": False,
        },
    ).model_copy(update=changes)


def rule(head: str = "", body: str = "", *, name: str = "no", effect: str = "forbid") -> str:
    """A rule on operating, with a name and an advice."""
    return f'@id("{name}") @advice("You must.")\n{effect} (principal{head}, action == Action::"operate", resource) {body};\n'


def test_the_shipped_policy_has_no_fault() -> None:
    """And what the examples hold is the same text, letter by letter, as is the schema."""
    assert Policy(POLICY).faults() == []
    assert (ROOT / "examples/config/policy.cedar").read_text("utf-8") == POLICY
    assert (ROOT / "examples/config/policy.cedarschema").read_text("utf-8") == SCHEMA


@pytest.mark.parametrize("words", [Side, InstanceType, FourEyes, Supernets, Command, TargetKind])
def test_the_schema_has_the_words_of_the_code(words: type[StrEnum]) -> None:
    """A list of values in the schema is an enum here, value by value."""
    listed = re.search(rf"entity {words.__name__} enum \[(.*?)\]", SCHEMA)
    assert listed is not None
    assert listed[1].replace('"', "").split(", ") == list(words)


def test_the_schema_has_every_act() -> None:
    """And no other."""
    heads = re.findall(r"^action (.*?) appliesTo", SCHEMA, re.MULTILINE)
    assert [act for head in heads for act in head.split(", ")] == list(Act)


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        pytest.param("permit (principal, action, resource);", 1, 1, "needs a name", id="no @id"),
        pytest.param("@id permit (principal, action, resource);", 1, 1, "needs a name", id="@id without a text"),
        pytest.param('@id("A b") permit (principal, action, resource);', 1, 1, "found 'A b'", id="no such name"),
        pytest.param(PERMIT + PERMIT, 2, 1, "another rule already", id="a name twice"),
        pytest.param('@id("no") forbid (principal, action, resource);', 1, 1, "needs @advice", id="no advice"),
        pytest.param('@id("no") @advice(" ") forbid (principal, action, resource);', 1, 1, "needs @advice", id="blank"),
        pytest.param('// why\n  @id("x") permit (principal action, resource);', 2, 30, "token `action`", id="no comma"),
        pytest.param('@id("x") permit (principal, action, resource)', 1, 1, "unexpected end", id="not finished"),
        pytest.param(PERMIT + ";", 2, 1, "unexpected token `;`", id="a semicolon too many"),
        pytest.param(
            '@id("x") permit (principal, action, resource) when { "a };', 1, 1, "invalid token", id="a text open"
        ),
        pytest.param("permit (principal == ?principal, action, resource);", 1, 1, "left open", id="a template"),
        pytest.param("\ud800;", 1, 1, "cannot be read: 'utf-8' codec", id="no Unicode"),
        pytest.param(
            rule(body="when { context.comand == 1 }"), 2, 74, "`comand` in context", id="a misspelt attribute"
        ),
        pytest.param(
            rule(body='when { context.command == Command::"mod" }'), 2, 85, "not declared", id="no such value"
        ),
        pytest.param(rule(body="when { principal.known == 1 }"), 1, 1, "not compatible", id="two kinds of values"),
        pytest.param(rule(head=" is Issuer"), 1, 1, "unable to find an applicable action", id="never asked so"),
        pytest.param(rule(body="when { principal is Issuer }"), 1, 1, "is impossible", id="never true"),
        pytest.param(rule(body="unless { true }"), 1, 1, "is impossible", id="always excepted"),
        pytest.param(rule(body="when { 1 == 2 } when { principal.known }"), 1, 1, "is impossible", id="never equal"),
        pytest.param(rule(body=f"when {{ {'(' * 30}true{')' * 30} }}"), 1, 1, "brackets in one another", id="brackets"),
        pytest.param(rule(body=f"when {{ {'[' * 1900}1{']' * 1900} }}"), 1, 1, "brackets in one another", id="a crash"),
        pytest.param(rule(body=f"when {{ {'true && ' * 100}principal.known }}"), 1, 1, "too many parts", id="deep"),
        pytest.param(
            rule(body=f"when {{ {'true&&' * 600}true }}"), 1, 1, "too many parts", id="deeper than Python reads"
        ),
        pytest.param(
            rule(body=f"when {{ {'true && ' * 600}true }}"), 1, 1, "longer than 4000", id="longer than any rule"
        ),
    ],
)
def test_what_a_policy_must_not_be(text: str, line: int, column: int, said: str) -> None:
    """Each fault is found, said where it is, and nothing is permitted while it is there."""
    policy = Policy(PERMIT.replace("all", "first") + text)

    assert [(fault.line, fault.column) for fault in policy.faults()][:1] == [(line + 1, column)]
    assert said in str(policy.faults()[0])
    answer = policy.decide(question())
    assert (answer.allowed, answer.rules) == (False, ())
    assert answer.errors == tuple(f"the policy has a fault: {fault}" for fault in policy.faults())


def test_what_was_probably_meant_is_said() -> None:
    """Of a word that the schema does not have, the one most like it."""
    text = rule(body='when { context.comand == Command::"mode" && principal.a && principal.b && principal.knwn }')
    [comand, *others] = Policy(text).faults()
    assert [fault.meant for fault in (comand, *others)] == ["command", "", "", "known"]
    assert str(comand).endswith("not found; perhaps command is meant")


def test_every_fault_is_told_at_once() -> None:
    """Of every rule, in the order of the text."""
    faults = Policy("permit (principal, action, resource);\nforbid (principal, action, resource);").faults()
    assert [(fault.line, fault.text.split(":")[0]) for fault in faults] == [
        (1, "needs a name"),
        (2, "needs a name"),
        (2, "says not what to do about it"),
    ]


@pytest.mark.parametrize(
    "unseen", ["\r", "\0", "\x0b", "\x7f", "\x85", "\u200b", "\u2028", "\u202e", "\ufeff", "\ud800"]
)
def test_no_rule_hides_behind_what_nobody_sees(unseen: str) -> None:
    """For Cedar some of them end a comment, on a screen others do, or turn the line: what is signed must be what was read."""
    [fault, *_] = Policy(f"{PERMIT}// a{unseen}{rule()}").faults()
    assert (fault.line, fault.column) == (2, 5)
    assert fault.text == f"has a character that nobody sees: U+{ord(unseen):04X}"


def test_every_letter_that_is_seen_may_stand_there() -> None:
    """In any script, and with the lines of any system."""
    policy = Policy(PERMIT.replace("\n", "\r\n") + "\t// 谁可以；Ü\r\n" + rule().replace("You must.", "您必须。"))
    assert policy.faults() == []
    assert policy.decide(question()).advice == ("您必须。",)


def test_only_brackets_in_one_another_are_counted() -> None:
    """Not those that stand side by side, nor those of the rule before."""
    beside = " || ".join(['[Command::"mode"].contains(context.command)'] * 20)
    deep = rule(name="deep", body=f"when {{ {'(' * 30}principal.known{')' * 30} }}")
    assert [
        (fault.line, "brackets" in fault.text) for fault in Policy(deep + rule(body=f"when {{ {beside} }}")).faults()
    ] == [(1, True)]


def test_semicolons_in_texts_and_comments_end_nothing() -> None:
    """Nor do quotes in texts."""
    text = '// a; comment "\n@id("all") @advice("a; \\"; // b") permit (principal, action, resource); // the; end'
    policy = Policy(text)
    assert policy.faults() == []
    assert [(one.id, one.advice) for one in policy.rules] == [("all", 'a; "; // b')]


def test_a_forbid_wins_and_says_what_to_do() -> None:
    """All that decided are named, as they stand in the text; a rule that did not is not."""
    policy = Policy(
        rule(name="second", body="unless { principal.known }")
        + PERMIT
        + rule(name="third", body='when { principal in Group::"network" }')
        + rule(name="first", body='when { context.command == Command::"mode" }').replace("You must.", "You must not.")
    )
    assert policy.decide(question()) == Answer(
        allowed=False, rules=("third", "first"), advice=("You must.", "You must not.")
    )
    assert policy.decide(question("hold")).rules == ("third",)


def test_what_nothing_permits_is_refused() -> None:
    """By no rule; an empty policy permits nothing."""
    assert Policy("").decide(question()) == Answer(allowed=False)
    assert Policy("// nothing").faults() == []


OVERFLOW = 'principal.known && 9223372036854775807 + (if resource == Target::"d" then 1 else 0) > 0'


@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_an_error_is_a_refusal(effect: str) -> None:
    """Cedar skips a rule that errs; so whatever the others say, nothing is permitted, and the error is told."""
    policy = Policy(PERMIT + rule(effect=effect, body=f"when {{ {OVERFLOW} }}"))
    assert policy.faults() == []

    answer = policy.decide(question())

    assert (answer.allowed, answer.rules, answer.advice) == (False, (), ())
    [error] = answer.errors
    assert "`no`: integer overflow" in error


def test_an_error_hides_no_forbid() -> None:
    """What forbids beside it is still named: it would be so without the error too."""
    policy = Policy(PERMIT + rule(name="errs", body=f"when {{ {OVERFLOW} }}") + rule())
    answer = policy.decide(question())
    assert (answer.allowed, answer.rules, answer.advice, len(answer.errors)) == (False, ("no",), ("You must.",), 1)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"context": {}}, id="an attribute of the context is missing"),
        pytest.param({"context": question().context | {"more": 1}}, id="one is unknown"),
        pytest.param({"context": {"command": "mode"}}, id="one is of another kind"),
        pytest.param({"context": {"command": {"type": "Command", "id": "rm"}}}, id="a value that is not listed"),
        pytest.param({"context": {"command": float("nan")}}, id="no number"),
        pytest.param({"principal": Entity(type="Person", id="ops")}, id="an attribute of the principal is missing"),
        pytest.param({"resource": Entity(type="Target", id="d")}, id="one of the resource is missing"),
        pytest.param({"principal": Entity(type="Issuer", id="desk")}, id="a principal that is not asked about so"),
        pytest.param({"principal": Entity(type="Nobody", id="x")}, id="an entity that is none"),
        pytest.param({"principal": Entity(type="\ud800", id="x")}, id="no Unicode"),
        pytest.param({"act": Act.VOUCH}, id="another act"),
    ],
)
def test_a_question_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    """Though a rule permits everything."""
    policy = Policy(PERMIT)
    assert policy.decide(question()).allowed

    answer = policy.decide(question(**changes))

    assert (answer.allowed, answer.rules) == (False, ())
    [error] = answer.errors
    assert "\n" not in error
    assert '"uid"' not in error  # what was asked is kept beside it


def test_a_question_and_its_answer_are_kept_as_json() -> None:
    """And are the same when they are read again."""
    asked = question()
    answer = Policy(PERMIT + rule()).decide(asked)
    assert Question.model_validate_json(asked.model_dump_json()) == asked
    assert Answer.model_validate_json(answer.model_dump_json()) == answer


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (Answer(allowed=False), "PolicyForbids", "nothing in the policy permits it"),
        (
            Answer(allowed=False, rules=("a", "b"), advice=("You must.", "You must not.")),
            "PolicyForbids",
            "You must. You must not.",
        ),
        (
            Answer(allowed=False, rules=("a",), advice=("You must.",), errors=("x", "y")),
            "PolicyFailed",
            "policy gave no answer: x; y",
        ),
    ],
)
def test_a_refusal_ends_the_matter(answer: Answer, code: str, text: str) -> None:
    """With the advice, or with what went wrong; a yes lets go on."""
    with pytest.raises(NotAllowed) as refused:
        ensure(answer)
    assert (refused.value.code, str(refused.value)) == (code, text)
    ensure(Answer(allowed=True, rules=("all",)))


def test_an_answer_explains_itself() -> None:
    """What was asked, what decided, in the rule's own words, and with which facts."""
    policy = Policy(PERMIT + rule(body="when { principal.known }"))
    lines = explained(question(), policy.decide(question()), policy)
    assert lines == [
        'Person::"ops" may not operate Target::"d"',
        "decided by no:",
        '    @id("no") @advice("You must.")',
        '    forbid (principal, action == Action::"operate", resource) when { principal.known };',
        "advice: You must.",
        "asked with:",
        "    principal.known = true",
        '    resource.kind = TargetKind::"deployment"',
        '    context.command = Command::"mode"',
        '    context.via = Via::"ledger"',
        "    context.fresh = false",
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(allowed=True, rules=("all",)),
            ['Person::"ops" may operate Target::"d"', "decided by all:", f"    {PERMIT.strip()}"],
        ),
        (Answer(allowed=False), ['Person::"ops" may not operate Target::"d"', "nothing permits it"]),
        (
            Answer(allowed=False, errors=("overflow",)),
            ['Person::"ops" may not operate Target::"d"', "not answered: overflow"],
        ),
        (
            Answer(allowed=False, rules=("old",)),
            ['Person::"ops" may not operate Target::"d"', "decided by old, which this policy does not have"],
        ),
    ],
)
def test_every_answer_can_be_explained(answer: Answer, said: list[str]) -> None:
    """One by permits, by nothing, by an error, by a rule that is gone."""
    lines = explained(question(), answer, Policy(PERMIT))
    assert lines[: lines.index("asked with:")] == said
