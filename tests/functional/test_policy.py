"""`ecr-grants policy test`: a policy is tried with cases, ours and those that somebody made a mistake in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shared.rules.policy import Policy
from shared.rules.shipped import POLICY
from tests.command import whole_command
from tests.functional.world import ROOT

CONFIG = ROOT / "examples" / "config"
OURS = sorted((CONFIG / "policy-tests").glob("*.yaml"))

QUESTION = {
    "act": "operate",
    "principal": {"type": "Person", "id": "ops", "attrs": {"known": True}, "parents": ['Group::"network-team"']},
    "resource": {"type": "Target", "id": "d", "attrs": {"kind": 'TargetKind::"deployment"'}},
    "context": {"command": 'Command::"mode"', "via": 'Via::"ledger"', "fresh": False},
}
CASE = {"case": "an operator", "question": "operate", "with": {}, "answer": "allowed", "rules": ["people-operate"]}


def tried(*files: Path, policy: Path = CONFIG / "policy.cedar", more: tuple[str, ...] = ()) -> Result:
    """The command, run."""
    return CliRunner().invoke(whole_command(), ["policy", "test", "--policy", str(policy), *map(str, files), *more])


def cases(folder: Path, *changes: dict[str, Any], **document: Any) -> Path:
    """A file of cases, each the one above with something changed."""
    path = folder / "cases.yaml"
    whole = {"version": 1, "questions": {"operate": QUESTION}, "cases": [CASE | each for each in changes]} | document
    path.write_text(json.dumps(whole), "utf-8")
    return path


def test_our_cases_are_answered_as_they_must_be() -> None:
    """At least sixty of them, and every rule of the shipped policy decides one."""
    done = tried(*OURS)
    assert done.exit_code == 0, done.output
    count = int(done.stdout.split()[0])
    assert done.stdout == f"{count} of {count} cases are answered as they must be\n"
    assert count >= 60


@pytest.mark.parametrize("rule", [rule.id for rule in Policy(POLICY).rules])
def test_our_cases_miss_every_rule_that_is_taken_away(tmp_path: Path, rule: str) -> None:
    """So that none of them is there for nothing."""
    path = tmp_path / "policy.cedar"
    path.write_text("\n".join(one.text for one in Policy(POLICY).rules if one.id != rule), "utf-8")
    done = tried(*OURS, policy=path, more=("--json",))
    assert done.exit_code == 1, done.output
    assert rule in {name for one in json.loads(done.stdout)["failures"] for name in one["expected"]["rules"]}


def test_a_case_that_is_answered_otherwise_is_told(tmp_path: Path) -> None:
    """With what was expected and what was found, for people and for programs; the others are not."""
    path = cases(
        tmp_path,
        {},
        {"case": "refused?", "answer": "refused", "rules": ["b", "a"]},
        {"case": "by another rule?", "rules": []},
        {"case": "typed wrong", "with": {"context.comand": 1}},
    )
    done = tried(path)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        f"{path}: refused?",
        "    expected: refused by a, b",
        "    found:    allowed by people-operate",
        f"{path}: by another rule?",
        "    expected: allowed by no rule",
        "    found:    allowed by people-operate",
    ]
    assert "comand" in lines[9]
    assert lines[-1] == "1 of 4 cases are answered as they must be"
    assert done.stderr.startswith(f"ecr-grants: {CONFIG / 'policy.cedar'}: not every case is answered as it must be")

    told = json.loads(tried(path, more=("--json",)).stdout)
    assert told["cases"] == 4
    assert told["failures"][0] == {
        "file": str(path),
        "case": "refused?",
        "expected": {"answer": "refused", "rules": ["a", "b"]},
        "found": {"answer": "allowed", "rules": ["people-operate"], "errors": []},
    }
    assert [one["found"]["answer"] for one in told["failures"]] == ["allowed", "allowed", "failed"]


@pytest.mark.parametrize(
    ("change", "document", "said"),
    [
        pytest.param(
            {"question": "ask"}, {}, "an operator: question ask is none of the file's: operate", id="no question"
        ),
        pytest.param({"with": {"contxt.command": 1}}, {}, "contxt.command leads to nothing", id="a path to nothing"),
        pytest.param({"with": {"act.more.or": 1}}, {}, "act.more.or leads to nothing", id="a path into a text"),
        pytest.param({"with": {"act": "destroy"}}, {}, "act: ", id="no act"),
        pytest.param({"answer": "maybe"}, {}, "cases.0.answer: ", id="no answer"),
        pytest.param({"rule": "x"}, {}, "cases.0.rule: is not a known field", id="no field"),
        pytest.param({}, {"cases": []}, "cases: must have at least 1", id="no case"),
        pytest.param({}, {"version": 2}, "version: ", id="another version"),
    ],
)
def test_a_file_that_is_none_is_refused(
    tmp_path: Path, change: dict[str, Any], document: dict[str, Any], said: str
) -> None:
    """With what is wrong; nothing is judged then."""
    path = cases(tmp_path, change, **document)
    done = tried(path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ecr-grants: {path}: ")
    assert said in done.stderr


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """No file, no text, no YAML, no policy."""
    good, bad = cases(tmp_path, {}), tmp_path / "bad"
    assert "cannot be read (No such file" in tried(bad).stderr
    bad.write_bytes(b"\xff")
    assert f"{bad}: is not UTF-8 (byte 0)" in tried(bad).stderr
    bad.write_text("version: 1\nversion: 1\n", "utf-8")
    assert f"{bad}:2:1: version is there twice" in tried(bad).stderr
    bad.write_text("permit (principal, action, resource);", "utf-8")
    done = tried(good, policy=bad)
    assert done.exit_code == 2
    assert f"{bad}: line 1, column 1: needs a name" in done.stderr
