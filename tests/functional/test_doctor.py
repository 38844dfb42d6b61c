"""`ecr-grants doctor` against a deployment: all is well where all is well, and one fault at a time is found where it is.

Each fault is planted for real: on the local cloud, in a function that is deployed anew, in a file, in the environment.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator

import pytest

from deploy import surroundings
from shared.ledger.operating_seen import found_last
from shared.ledger.transactions import Ledger
from shared.rules.health import Check
from tests.functional.clinic import DEPLOYER, LOOKS, ODD, OPERATOR, Clinic, Findings, by_name, clinic, without
from tests.functional.doctor_faults import FAULTS, QUEUES, Fault
from tests.functional.launch import typed

ENVIRONMENTS = (Check.SECRETS, Check.FUNCTIONS, Check.ENVIRONMENT, Check.LOG)
"""What only who may read a function's environment is told."""
FUNCTIONS = tuple(sorted(surroundings.FUNCTIONS))


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """A healthy deployment of its own."""
    with clinic(tmp_path_factory.mktemp("doctor")) as made:
        yield made


@pytest.fixture(scope="module")
def healthy(deployment: Clinic) -> Findings:
    """What is found where nothing is wrong."""
    return deployment.findings()


# -- where all is well -------------------------------------------------------------------------------------------------


def test_a_healthy_deployment_is_all_ok_to_its_deployer(deployment: Clinic) -> None:
    """But for how long the log is kept, which no tool of ours can read; each check has something to say."""
    code, told = deployment.look()
    assert code == 0
    others = [one for one in told["findings"] if one["verdict"] != "ok"]
    assert [(one["check"], one["about"], one["verdict"]) for one in others] == [("log", "retention", "unknown")]
    assert {one["check"] for one in told["findings"]} == {check.value for check in Check}
    assert told["counts"] == {"ok": len(told["findings"]) - 1, "wrong": 0, "unknown": 1}


def test_an_operator_is_told_all_but_what_shows_the_environment(deployment: Clinic) -> None:
    """With the shipped policy and no other; unknown says why and what to do, and is no failure."""
    code, told = deployment.look(OPERATOR)
    assert code == 0
    others = {(one["check"], one["about"]) for one in told["findings"] if one["verdict"] != "ok"}
    assert others == {(check.value, name) for check in ENVIRONMENTS for name in FUNCTIONS} | {("log", "retention")}
    for one in told["findings"]:
        if one["verdict"] == "unknown":
            assert one["do"]
    assert "fc:GetFunction" in by_name(told)["environment", "ecr-grants-grant"]["text"]


def test_what_was_found_is_kept_where_it_is_asked(deployment: Clinic) -> None:
    """For the desk to show: what is not ok, and how much was looked at."""
    deployment.look()
    with contextlib.closing(Ledger(deployment.variables()["LEDGER_URL"])) as ledger:
        assert "doctor" not in [name for name, _, _ in ledger.read(found_last)]
        _, told = deployment.look(DEPLOYER, "--keep")
        (kept,) = [value for name, _, value in ledger.read(found_last) if name == "doctor"]
    assert kept == {"counts": told["counts"], "findings": [one for one in told["findings"] if one["verdict"] != "ok"]}


def test_it_is_told_in_lines_that_are_whole(deployment: Clinic) -> None:
    """To people: a word for the verdict, what it is about, what to do; never cut, however narrow the terminal is."""
    given = deployment.variables(OPERATOR, COLUMNS="20", MODE="sometimes")
    done = typed("doctor", "--template", str(deployment.template), **given)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "wrong    settings      MODE: is not usable (" + lines[0].partition(" (")[2]
    assert lines[1] == "                       do: set MODE; docs/operating.md, Settings, says what it may be"
    assert re.fullmatch(r"\d+ ok, 1 wrong, \d+ unknown", lines[-1])
    assert ", ".join(FUNCTIONS) in done.stdout


def test_nothing_is_changed_and_calls_do_not_grow_with_what_there_is(deployment: Clinic) -> None:
    """Reads, one question to reconcile, and one AssumeRole for each account: some forty calls and no write."""
    before = deployment.cloud.admin.journal()[-1]["number"]
    deployment.look()
    entries = deployment.cloud.admin.journal(before)
    mine = [one for one in entries if one["caller"].get("name") in ("deploys", "ecr-grants-reconcile")]
    operations = [one["operation"] for one in mine if "trigger" not in one["params"]]
    accounts = operations.count("AssumeRole")
    assert accounts == 2
    assert len(operations) - accounts <= 50
    reading = ("Get", "List", "BatchPeek")
    assert {one for one in operations if not one.startswith(reading)} == {"InvokeFunction", "AssumeRole"}


# -- one fault at a time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_a_fault_is_found_where_it_is(deployment: Clinic, healthy: Findings, fault: Fault) -> None:
    """By its check, with a sentence and what to do, and exit code 1. Nothing else is said otherwise than without it."""
    with fault.plant(deployment):
        code, told = deployment.look(fault.key, **fault.variables)
    assert code == 1
    assert "nobody-may-see" not in json.dumps(told)
    found = by_name(told)
    one = found[fault.check.value, fault.about]
    assert (one["verdict"], [word for word in fault.words if word not in one["text"]]) == ("wrong", [])
    assert one["do"]
    touched = {fault.check, *fault.follows}
    others = {
        name: (before, after)
        for name in healthy.keys() | found.keys()
        if (before := healthy.get(name)) != (after := found.get(name)) and Check(name[0]) not in touched
    }
    assert others == {}
    wrong = {Check(check) for (check, _), each in found.items() if each["verdict"] == "wrong"}
    assert wrong - {fault.check} <= fault.follows


def test_every_fault_was_taken_back(deployment: Clinic, healthy: Findings) -> None:
    """So that each was the only one."""
    deployment.mend()
    assert deployment.findings() == healthy


def test_every_odd_topic_is_looked_at() -> None:
    """None of them is left over from a test that is gone."""
    assert {fault.variables.get("COMPLETIONS_TOPIC") for fault in QUEUES} >= set(ODD)


# -- rights ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("action", "check"), LOOKS.items(), ids=str)
def test_without_a_right_its_check_says_so(deployment: Clinic, healthy: Findings, action: str, check: str) -> None:
    """Unknown, with the right by name and what to do, and nothing else is said otherwise. So none of them is one too many."""
    found = deployment.findings(without(action))
    touched = {name for name in found if found[name] != healthy.get(name)} - {("credentials", "access key")}
    touched = {name for name in touched if Check(name[0]) not in ENVIRONMENTS}
    assert {name[0] for name in touched} - {"configuration"} == {check}
    for name in touched:
        assert (found[name]["verdict"], action in found[name]["text"]) == ("unknown", True), found[name]
        assert found[name]["do"]
