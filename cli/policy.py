"""Policy: tried out before it is signed, with questions as data, and explained afterwards, as it was recorded."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from cli.common import AsJson, LedgerUrl, NotSo, command, command_line, opened, troubles
from cli.output import document, moment, say
from cli.places import Places
from shared.errors import SettingsError
from shared.ledger.configuration import Kept, history
from shared.ledger.decided import Recorded, event_named
from shared.messages.configuration import read_bundle
from shared.messages.texts import faults
from shared.rules.configuration import stated
from shared.rules.questions import Answer, Question

if TYPE_CHECKING:
    from shared.rules.policy import Policy

app = command_line("policy", "Try a policy out, and explain what it decided.")

_ENTITY = re.compile(r'(\w+)::"([^"\\]*)"')


class Expected(StrEnum):
    """What a case wants to be answered."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    FAILED = "failed"  # refused, since it could not be answered

    @classmethod
    def of(cls, answer: Answer) -> Expected:
        """What was answered."""
        if answer.errors:
            return cls.FAILED
        return cls.ALLOWED if answer.allowed else cls.REFUSED


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Case(_Read):
    """One question: one of the file's, with some values replaced (``context.hours: 2160``). ``rules``: all that must decide."""

    case: Annotated[str, Field(min_length=1)]
    question: str
    with_: dict[str, JsonValue] = Field(default={}, alias="with")
    answer: Expected
    rules: list[str]


class Cases(_Read):
    """A file of cases. An entity may be written as in Cedar: ``FourEyes::"kept"``."""

    version: Literal[1]
    questions: dict[str, dict[str, JsonValue]]
    cases: Annotated[list[Case], Field(min_length=1)]


@dataclass(frozen=True)
class Failure:
    """A case that was answered in another way."""

    file: Path
    case: Case
    answer: Answer

    def facts(self) -> dict[str, object]:
        """For programs."""
        return {
            "file": str(self.file),
            "case": self.case.case,
            "expected": {"answer": self.case.answer, "rules": sorted(self.case.rules)},
            "found": {
                "answer": Expected.of(self.answer),
                "rules": sorted(self.answer.rules),
                "errors": list(self.answer.errors),
            },
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.file}: {self.case.case}"
        yield f"    expected: {_told(self.case.answer, self.case.rules)}"
        yield f"    found:    {_told(Expected.of(self.answer), self.answer.rules)}"
        for error in self.answer.errors:
            yield f"    {error}"


@command(app, "test")
def try_cases(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Cases, in YAML.", show_default=False)],
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The policy.")] = Path("config/policy.cedar"),
    as_json: AsJson = False,
) -> None:
    """Ask a policy what the cases ask, and tell each that is not answered as it must be. Exit code 1 when one is.

    A case names a question of its file, values that replace some of the question's, the answer (allowed, refused, or failed where
    none could be given), and all rules that must decide.
    """
    with troubles():
        tried = _policy(policy)
        read = [(path, one) for path in files for one in _asked(path)]
        answers = [(path, case, tried.decide(question)) for path, (case, question) in read]
        failures = [Failure(*one) for one in answers if not _as_expected(one[1], one[2])]
        if as_json:
            document({"cases": len(answers), "failures": [one.facts() for one in failures]})
        else:
            for failure in failures:
                for line in failure.lines():
                    say(line)
            say(f"{len(answers) - len(failures)} of {len(answers)} cases are answered as they must be")
        if failures:
            raise NotSo(
                f"{policy}: not every case is answered as it must be ({len(failures)} of {len(answers)} are not)"
            )


@command(app, "explain")
def explain(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="The event's id, or its number in the record.")],
    ledger_url: LedgerUrl,
    as_json: AsJson = False,
) -> None:
    """Explain a recorded decision: what was asked, what was answered, and the rules that decided, as they stood then."""
    with opened(ledger_url) as ledger:
        found = ledger.read(event_named, event)
        if found is None:
            raise NotSo(f"{event}: no event of the record has that name; see `ecr-grants show GRANT --json`")
        if "question" not in found.facts:
            raise NotSo(f"{event}: policy was not asked about that ({found.kind})")
        number = int(found.facts["configuration"])
        version = next((one for one in ledger.read(history) if one.number == number), None)
        if version is None:
            raise NotSo(f"{event}: it was decided under configuration {number}, which is not there")
    with troubles():
        _explain(found, version, as_json=as_json)


def _explain(found: Recorded, version: Kept, *, as_json: bool) -> None:
    from shared.rules.policy import Policy, explained  # noqa: PLC0415  # Cedar, only where a policy is read

    policy = Policy(stated(read_bundle(version.bundle).content)[1].policy)
    question = Question.model_validate(found.facts["question"])
    decided = tuple(found.facts["rules"])
    advice = tuple(rule.advice for rule in policy.rules if rule.id in decided and rule.forbids)
    answer = Answer(allowed=not found.refused, rules=decided, advice=advice, errors=tuple(found.facts["errors"]))
    lines = explained(question, answer, policy)
    if as_json:
        facts = {"event": found.event_id, "number": found.seq, "at": moment(found.at), "configuration": version.number}
        asked = {"question": question.model_dump(mode="json"), "answer": answer.model_dump(mode="json")}
        document({**facts, **asked, "explained": lines})
        return
    say(f"event {found.seq} ({found.event_id}) at {moment(found.at)}, under configuration {version.number}:")
    for line in lines:
        say(line)


def _as_expected(case: Case, answer: Answer) -> bool:
    return Expected.of(answer) is case.answer and sorted(answer.rules) == sorted(case.rules)


def _told(answer: Expected, rules: list[str] | tuple[str, ...]) -> str:
    return f"{answer} by {', '.join(sorted(rules)) or 'no rule'}"


def _policy(path: Path) -> Policy:
    """The policy in a file. Raises SettingsError that tells every fault."""
    from shared.rules.policy import Policy  # noqa: PLC0415  # Cedar, only where a policy is read

    made = Policy(_text(path))
    if made.faults():
        raise SettingsError(f"{path}: {'; '.join(map(str, made.faults()))}")
    return made


def _asked(path: Path) -> Iterator[tuple[Case, Question]]:
    """The cases of a file, with the whole question of each. Raises SettingsError."""
    places = Places(str(path), _text(path))
    if places.faults:
        raise SettingsError("; ".join(one.text for one in places.faults))
    try:
        read = Cases.model_validate(places.value)
        for case in read.cases:
            yield case, Question.model_validate(_with(case, read.questions))
    except ValidationError as error:
        raise SettingsError(f"{path}: {faults(error)}") from None
    except LookupError as error:
        raise SettingsError(f"{path}: {error.args[0]}") from None


def _with(case: Case, questions: dict[str, dict[str, JsonValue]]) -> object:
    """A case's question with what it replaces. Raises LookupError."""
    if case.question not in questions:
        raise LookupError(f"{case.case}: question {case.question} is none of the file's: {', '.join(questions)}")
    asked: Any = copy.deepcopy(questions[case.question])
    for path, value in case.with_.items():
        *outer, last = path.split(".")
        place = asked
        try:
            for part in outer:
                place = place[part]
            place[last] = value
        except (LookupError, TypeError):
            raise LookupError(f"{case.case}: {path} leads to nothing in question {case.question}") from None
    return _entities(asked)


def _entities(value: Any) -> Any:
    """The same with every entity that is written as in Cedar as JSON has it."""
    if isinstance(value, dict):
        return {name: _entities(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_entities(inner) for inner in value]
    named = _ENTITY.fullmatch(value) if isinstance(value, str) else None
    return value if named is None else {"type": named[1], "id": named[2]}


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 (byte {error.start})") from None
