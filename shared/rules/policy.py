"""Policy: rules in Cedar that answer questions. A forbid always wins, what nothing permits is refused, every error is a refusal.

Cedar skips a rule that errs (docs.cedarpolicy.com, "Authorization"), and takes a typing mistake for a rule that never
applies. So a policy with any fault answers nothing, and an error in evaluating makes the answer a refusal.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import cedarpy

from shared.rules.questions import Answer, Entity, Question
from shared.rules.shipped import SCHEMA

# Cedar's parser does not survive some thousand brackets in one another, and its JSON form has some sixty levels.
_DEEPEST = 30
_LONGEST = 4_000
_TOLD = 5  # faults, in an answer, which the record keeps
_TOO_DEEP = "has too many parts in one another: split the rule"
_TOKEN = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|[\[({]|[\])}]|;|\s+|[^\s"/;\[\](){}]+|.', re.DOTALL)
_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")
_ABOUT = re.compile(r"^for policy `policy0`(, |: )?")
_QUOTED = re.compile(r"`([^`]+)`")
# No schema has such an attribute, so that reading it is a fault, unless what stands before it is never true.
_PROBE = {"kind": "when", "body": {".": {"left": {"Var": "context"}, "attr": "is it ever read?"}}}

# What is signed must be what was read, and for Cedar a carriage return alone ends a comment, where our statements go on.
_ODD = re.compile(r"\r(?!\n)|[^\x20-\x7e\t\n\r]")
_UNSEEN = frozenset(
    {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
)  # controls, marks that turn the text, separators of lines

Document = dict[str, Any]


@dataclass(frozen=True, order=True)
class Fault:
    """What is wrong with a policy, and where in its text (both from 1). ``meant``: what was probably meant, or nothing."""

    line: int
    column: int
    text: str
    meant: str = ""

    def __str__(self) -> str:
        meant = f"; perhaps {self.meant} is meant" if self.meant else ""
        return f"line {self.line}, column {self.column}: {self.text}{meant}"


@dataclass(frozen=True)
class Rule:
    """One rule. ``text`` is its statement, ``document`` the same as Cedar's JSON has it."""

    id: str
    forbids: bool
    advice: str
    text: str
    document: Document


@dataclass(frozen=True)
class _Statement:
    """A part of the policy's text that ends in a semicolon, or at its end. ``start``: of its first letter that is no comment."""

    whole: str
    start: int
    end: int
    deepest: int

    @property
    def text(self) -> str:
        return self.whole[self.start : self.end]

    def fault(self, text: str) -> Fault:
        """With the place of the first name in backquotes that stands in the statement; else the statement's."""
        names = _QUOTED.findall(text)
        found = (re.search(rf"(?<!\w){re.escape(name)}(?!\w)", self.text) for name in names)
        at = self.start + next((match.start() for match in found if match), 0)
        return Fault(*_place(self.whole, at), text, _meant(names))


class Policy:
    """A policy, parsed once. With any fault in it, it refuses everything."""

    def __init__(self, text: str) -> None:
        """Raises nothing: what is wrong with the text is told by ``faults``."""
        self._faults = list(_unseen(text))
        self._rules: dict[str, Rule] = {}
        for statement in _statements(text):
            self._read(statement)
        self._set = _policy_set(rule.document for rule in self._rules.values()) if not self._faults else None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that could be read, as they stand in the text."""
        return tuple(self._rules.values())

    def faults(self) -> list[Fault]:
        """Everything that is wrong with the policy, in the order of its text; empty: it can be used."""
        return sorted(self._faults)

    def decide(self, question: Question) -> Answer:
        """The answer. Raises nothing for a question that does not fit the schema: it is refused with an error."""
        if self._set is None:
            return Answer(
                allowed=False, errors=tuple(f"the policy has a fault: {fault}" for fault in self.faults()[:_TOLD])
            )
        allowed, reasons, errors = _evaluated(self._set, question)
        decided = [rule for name, rule in self._rules.items() if name in reasons]
        if errors:  # what permits decides nothing then
            decided = [rule for rule in decided if rule.forbids]
        return Answer(
            allowed=allowed and not errors,
            rules=tuple(rule.id for rule in decided),
            advice=tuple(rule.advice for rule in decided if rule.forbids),
            errors=errors,
        )

    def _read(self, statement: _Statement) -> None:
        found = list(_faults_of_form(statement))
        if not found:
            try:
                rule = _rule(statement.text)
                found = [*self._faults_of_names(rule), *_faults_of_meaning(rule)]
                self._rules[rule.id] = rule
            except ValueError as error:
                found = [f"cannot be read: {error}"]
        self._faults += [statement.fault(text) for text in found]

    def _faults_of_names(self, rule: Rule) -> Iterator[str]:
        if _ID.fullmatch(rule.id) is None:
            yield f"needs a name: @id of small letters, digits and -, at most 64 (found {rule.id[:80]!r})"
        elif rule.id in self._rules:
            yield f'@id("{rule.id}") is the name of another rule already'
        if rule.forbids and not rule.advice.strip():
            yield 'says not what to do about it: a forbid needs @advice("You must ...")'


def explained(question: Question, answer: Answer, policy: Policy) -> list[str]:
    """An answer for people, line by line: what was asked, what was answered, and each rule that decided in its own words.

    ``policy``: as it stood then. A rule that it does not have is said to be missing.
    """
    rules = {rule.id: rule for rule in policy.rules}
    may = "may" if answer.allowed else "may not"
    lines = [f"{_name(question.principal)} {may} {question.act} {_name(question.resource)}"]
    lines += [f"not answered: {error}" for error in answer.errors]
    if not answer.rules and not answer.errors:
        lines.append("nothing permits it")
    for name in answer.rules:
        if name not in rules:
            lines.append(f"decided by {name}, which this policy does not have")
            continue
        lines.append(f"decided by {name}:")
        lines += [f"    {line}" for line in rules[name].text.splitlines()]
    lines += [f"advice: {advice}" for advice in answer.advice]
    lines.append("asked with:")
    facts = {"principal": question.principal.attrs, "resource": question.resource.attrs, "context": question.context}
    lines += [f"    {path} = {value}" for part, inner in facts.items() for path, value in _flat(part, inner)]
    return lines


@cache
def _schema() -> cedarpy.Schema:
    return cedarpy.Schema.from_str(SCHEMA)


def _policy_set(documents: Iterator[Document]) -> cedarpy.PolicySet:
    """The rules under their own names, so that what Cedar says of them names them."""
    return cedarpy.PolicySet.from_json_str(
        _as_json({document["annotations"]["id"]: document for document in documents})
    )


def _as_json(rules: dict[str, Document]) -> str:
    return json.dumps({"templates": {}, "staticPolicies": rules, "templateLinks": []})


def _place(text: str, at: int) -> tuple[int, int]:
    """Line and column, from 1."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _unseen(text: str) -> Iterator[Fault]:
    for odd in _ODD.finditer(text):
        if unicodedata.category(odd.group()) in _UNSEEN:
            yield Fault(*_place(text, odd.start()), f"has a character that nobody sees: U+{ord(odd.group()):04X}")


def _statements(text: str) -> Iterator[_Statement]:
    """The statements of a policy. Cedar's only semicolons outside of texts and comments end one."""
    start, depth, deepest = -1, 0, 0
    for token in _TOKEN.finditer(text):
        found = token.group()
        if start < 0 and not found.isspace() and not found.startswith("//"):
            start = token.start()
        if found in ("(", "[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif found in (")", "]", "}"):
            depth -= 1
        elif found == ";":
            yield _Statement(text, start, token.end(), deepest)
            start, depth, deepest = -1, 0, 0
    if start >= 0:
        yield _Statement(text, start, len(text), deepest)


def _meant(names: list[str]) -> str:
    """The word of the schema that is most like one that it does not have."""
    from difflib import get_close_matches  # noqa: PLC0415  # only where something is wrong

    known = sorted(set(re.findall(r"[\w-]+", re.sub("//.*", "", SCHEMA))))
    unknown = [word for name in names for word in re.findall(r"[\w-]+", name) if word not in known]
    return next((near for word in unknown for near in get_close_matches(word, known, 1)), "")


def _faults_of_form(statement: _Statement) -> Iterator[str]:
    if len(statement.text) > _LONGEST:
        yield f"is longer than {_LONGEST} letters: split the rule"
    if statement.deepest > _DEEPEST:
        yield f"has more than {_DEEPEST} brackets in one another"


def _rule(text: str) -> Rule:
    """The one rule that a statement is. Raises ValueError that says why it is none."""
    try:
        read = json.loads(cedarpy.policies_to_json_str(text))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if read["templates"]:
        raise ValueError("?principal and ?resource are left open, and nothing here fills them in")
    [document] = read["staticPolicies"].values()
    names = document.get("annotations", {})
    # An annotation without a text is read as null.
    name, advice = names.get("id") or "", names.get("advice") or ""
    return Rule(name, document["effect"] == "forbid", advice, text, document)


def _faults_of_meaning(rule: Rule) -> list[str]:
    """What the schema makes of the rule: names that are none, values that cannot be compared, a rule that never applies."""
    said = _validated(rule.text)
    if said:
        return said
    asked = rule.document | {"conditions": [*rule.document["conditions"], _PROBE]}
    try:
        probe = cedarpy.policies_from_json_str(_as_json({"policy0": asked}))
    except ValueError:  # it reads less deep than the parser of texts
        return [_TOO_DEEP]
    return [] if _validated(probe) else ["is impossible: what it asks for is never so"]


def _validated(text: str) -> list[str]:
    errors = cedarpy.validate_policies(text, _schema()).errors
    return [_ABOUT.sub("", error.error) for error in errors]


def _evaluated(rules: cedarpy.PolicySet, question: Question) -> tuple[bool, list[str], tuple[str, ...]]:
    """Whether Cedar allows it, the names of the rules that decided, and what went wrong."""
    entities = json.dumps([_entity(question.principal), _entity(question.resource)])
    request = {
        "principal": {"type": question.principal.type, "id": question.principal.id},
        "action": {"type": "Action", "id": question.act.value},
        "resource": {"type": question.resource.type, "id": question.resource.id},
        "context": question.context,
    }
    try:
        result = cedarpy.is_authorized(request, rules, entities, _schema())
    except ValueError as error:  # a text that is no Unicode
        return False, [], (f"the question cannot be read: {error}",)
    # It shows all entities in some errors, which are kept in the record beside the question.
    errors = (one.replace(f" from:\n{entities}", "") for one in result.diagnostics.errors)
    return result.allowed, result.diagnostics.reasons, tuple(sorted(" ".join(one.split()) for one in errors))


def _entity(entity: Entity) -> Document:
    """As Cedar's JSON has it."""
    parents = [parent.model_dump() for parent in entity.parents]
    return {"uid": {"type": entity.type, "id": entity.id}, "attrs": entity.attrs, "parents": parents}


def _name(entity: Entity) -> str:
    return f'{entity.type}::"{entity.id}"'


def _flat(path: str, value: object) -> Iterator[tuple[str, str]]:
    """The facts of a question, one by one, as rules speak of them."""
    if isinstance(value, dict) and set(value) == {"type", "id"}:
        yield path, f'{value["type"]}::"{value["id"]}"'
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{path}.{name}", inner)
    else:
        yield path, json.dumps(value)
