"""What people type: the operator's commands and the examples, as processes that end and leave nothing behind."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.configured import DEPLOYMENT
from tests.functional.approvals import approval, wake
from tests.functional.deployment import OPERATOR, Deployment
from tests.functional.launch import new_ledger, run, typed
from tests.functional.world import EXAMPLE, GRANT_FUNCTION, ROOT, SPOKE, SPOKE_ROLE

APPROVAL = json.loads((ROOT / "examples" / "approval-vpc.json").read_text("utf-8"))


# -- the ledger --------------------------------------------------------------------------------------------------------


def test_the_ledger_is_brought_up_to_date_and_checked(tmp_path: Path) -> None:
    """Upgrading is safe to repeat; check says the same as the start of a function would."""
    url = new_ledger(tmp_path)
    again = run("cli", "ledger", "upgrade", "--ledger-url", url, "--json")
    assert again.returncode == 0
    checked = run("cli", "ledger", "check", "--json", LEDGER_URL=url)
    assert (checked.returncode, checked.stdout) == (0, again.stdout)


def test_a_ledger_that_cannot_be_used_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """Nobody has to read a traceback."""
    done = typed("ledger", "check", "--ledger-url", f"sqlite:///{tmp_path / 'empty.db'}")
    assert done.returncode == 1
    assert "the ledger has no tables yet: run `ecr-grants ledger upgrade`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_record_of_real_work_is_intact(deployed: Deployment) -> None:
    """Whatever the other tests did: the chain of events holds."""
    done = typed("ledger", "verify", "--empty", "--ledger-url", deployed.ledger_url, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["intact"] is True


def test_reconcile_can_be_run_by_hand(deployed: Deployment) -> None:
    """The operator's command finds the deployed function, and prints its report."""
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret}
    done = typed("run", "reconcile", "--endpoint", deployed.url, "--json", **keys)
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["trouble"] else 0), done.stderr
    assert report["calls"] > 0


# -- generated documents -----------------------------------------------------------------------------------------------


def test_the_schemas_in_docs_are_current() -> None:
    """What is published as the contract is what the code does."""
    done = run("cli", "schemas", "--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_schema_is_found_and_can_be_written_anew(tmp_path: Path) -> None:
    """Check names the files and changes nothing; without it they are written."""
    folder = tmp_path / "schemas"
    shutil.copytree(ROOT / "docs" / "schemas", folder)
    stale = folder / "approval.json"
    stale.write_text("{}", "utf-8")
    checked = typed("schemas", "--check", "--folder", str(folder))
    assert checked.returncode == 1
    assert str(stale) in checked.stderr
    assert stale.read_text("utf-8") == "{}"
    assert typed("schemas", "--folder", str(folder)).returncode == 0
    assert stale.read_text("utf-8") == (ROOT / "docs" / "schemas" / "approval.json").read_text("utf-8")


# -- sending by hand ---------------------------------------------------------------------------------------------------


def send(deployed: Deployment, path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Hand in a file the way the README says."""
    return run("examples.send", str(path), "--address", deployed.url, "--deployment", DEPLOYMENT, *more)


def test_sending_the_example_twice_says_already_granted(deployed: Deployment) -> None:
    """The first time it is granted and associated, the second time nothing happens; both accounts' users see the result."""
    path = ROOT / "examples" / "approval-vpc.json"
    first, second = send(deployed, path), send(deployed, path)
    assert (first.returncode, first.stdout.splitlines()[-1]) == (0, "done: granted and associated")
    assert second.returncode == 0
    assert second.stdout.splitlines()[-1].startswith("done: already granted")
    assert deployed.calls(APPROVAL, "GrantInstanceToExpressConnectRouter") == 1
    looked = run("examples.look", "--address", deployed.url)
    assert looked.returncode == 0, looked.stderr
    vpc = APPROVAL["instance"]["id"]
    assert f"account {SPOKE}: {vpc} is granted" in looked.stdout.splitlines()
    assert f"role acs:ram::{SPOKE}:role/{SPOKE_ROLE} was assumed by {GRANT_FUNCTION}" in looked.stdout.splitlines()
    assert [status for status, _ in deployed.associated(APPROVAL)] == ["ACTIVE"]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        pytest.param(
            "id",
            "vpc-doesnotexist",
            f"VPC vpc-doesnotexist not found in account {SPOKE}, region cn-hangzhou",
            id="the instance does not exist",
        ),
        pytest.param(
            "id",
            EXAMPLE["accounts"]["3000000000000003"]["vpcs"][0]["id"],
            f"not found in account {SPOKE}, region",
            id="the instance is another account's",
        ),
        pytest.param(
            "id", "vpc_1", "instance.id: must be the id of a VPC or VBR", id="no id that an instance can have"
        ),
        pytest.param(
            "owner_uid",
            "9999999999999999",
            "instance.owner_uid: account 9999999999999999 is not listed",
            id="nobody listed the account",
        ),
    ],
)
def test_a_mistake_in_the_example_is_named(
    deployed: Deployment, tmp_path: Path, field: str, value: str, told: str
) -> None:
    """Exit code 1, and the last line names the field or the reason."""
    edited = {**APPROVAL, "request_id": "REQ-EDITED", "instance": {**APPROVAL["instance"], field: value}}
    path = tmp_path / "approval.json"
    path.write_text(json.dumps(edited), "utf-8")
    done = send(deployed, path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("rejected: ")
    assert told in done.stdout


def test_what_cannot_be_sent_is_another_exit_code(deployed: Deployment, tmp_path: Path) -> None:
    """No file, or nobody who listens: 2; no answer in time: 3."""
    missing = send(deployed, tmp_path / "missing.json")
    assert (missing.returncode, missing.stderr.strip()[:11]) == (2, "cannot read")
    with socket.socket() as unused:  # bound and not listening: nobody else takes the port meanwhile
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        away = run("examples.send", str(ROOT / "examples" / "approval-vpc.json"), "--address", address)
    assert away.returncode == 2
    assert "not usable" in away.stderr
    silent = tmp_path / "wake.json"
    silent.write_text(json.dumps(wake()), "utf-8")
    unanswered = send(deployed, silent, "--seconds", "1")
    assert (unanswered.returncode, unanswered.stderr.strip()) == (3, "no answer within 1 s")


def test_an_approval_in_the_readme_form_is_what_the_tests_send() -> None:
    """The example file and the tests' own approvals have the same fields."""
    ours = approval(SPOKE, APPROVAL["instance"]["id"])
    assert {name: type(value) for name, value in ours.items()} == {
        name: type(value) for name, value in APPROVAL.items()
    }
