"""The walls of the house stand: a wrong import through any of them fails the check that `make check` runs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
CONTRACTS = [contract["name"] for contract in SETTINGS["contracts"]]

ROOMS = "Upper rooms know lower ones: page, desk, loop, then ledger and cloud side by side, then rules, then messages"
SHIPPED = "Functions and the command stand on shared; nothing that ships knows the tests"
VENDOR = "Only shared.cloud imports a vendor SDK"
GATE = "Only the policy's modules know Cedar, only those of seals and configurations know JWS"
WORDS = "A log line is a declared word: only shared.log knows how lines are written"
PURE = "Rules and messages read and write nothing"
CIRCLES = "No circles between the modules of a room"
LOCAL = "The local cloud shares no code with what it judges"
APART = "What surrounds the functions is said apart from them"
ALONE = "What has to be there is said without the code that needs it"
UNAWARE = "The product does not know that a cloud is local"

WRONG = [
    pytest.param("shared/messages/texts.py", "shared.rules.leases", ROOMS, id="messages know no rules"),
    pytest.param("shared/rules/steps.py", "shared.ledger.tables", ROOMS, id="rules know no ledger"),
    pytest.param("shared/rules/steps.py", "shared.cloud.keys", ROOMS, id="rules know no cloud"),
    pytest.param("shared/ledger/tables.py", "shared.cloud.keys", ROOMS, id="the ledger knows no cloud"),
    pytest.param("shared/cloud/keys.py", "shared.ledger.tables", ROOMS, id="the cloud knows no ledger"),
    pytest.param("shared/ledger/tables.py", "shared.loop.drivers", ROOMS, id="the ledger knows no loop"),
    pytest.param("shared/errors.py", "shared.messages.texts", ROOMS, id="errors know nobody"),
    pytest.param("shared/log.py", "cli.common", SHIPPED, id="shared knows no command"),
    pytest.param("functions/grant.py", "cli.common", SHIPPED, id="functions know no command"),
    pytest.param("cli/common.py", "tests.conftest", SHIPPED, id="what ships knows no tests"),
    pytest.param(
        "functions/grant.py",
        "functions.associate",
        "Functions do not know each other",
        id="grant does not know associate",
    ),
    pytest.param("shared/loop/frame.py", "mns.queue", VENDOR, id="the loop speaks to no vendor SDK"),
    pytest.param("cli/dead.py", "alibabacloud_vpc20160428", VENDOR, id="nor does the command"),
    pytest.param("shared/loop/frame.py", "sqlalchemy", "Only shared.ledger speaks SQL", id="the loop speaks no SQL"),
    pytest.param("shared/loop/gate.py", "cedarpy", GATE, id="the loop knows no Cedar"),
    pytest.param("shared/loop/frame.py", "structlog", WORDS, id="the loop writes no line of its own"),
    pytest.param("shared/rules/leases.py", "time", PURE, id="rules have no clock"),
    pytest.param("shared/messages/texts.py", "pathlib", PURE, id="messages read no files"),
    pytest.param("shared/rules/leases.py", "shared.rules.steps", CIRCLES, id="no circle in a room"),
    pytest.param("localcloud/call.py", "localcloud.kernel", CIRCLES, id="no circle in the local cloud"),
    pytest.param(
        "localcloud/kernel.py",
        "localcloud.fc.service",
        "The local cloud's kernel does not know its services",
        id="services register with the kernel",
    ),
    pytest.param("localcloud/clock.py", "shared.errors", LOCAL, id="the referee shares nothing with the player"),
    pytest.param("shared/log.py", "localcloud.clock", UNAWARE, id="a stand-in is an address"),
    pytest.param("deploy/runbook.py", "cli.common", SHIPPED, id="what is deployed knows no command"),
    pytest.param("deploy/runbook.py", "functions.grant", APART, id="nor the functions"),
    pytest.param("functions/grant.py", "deploy.shapes", APART, id="functions do not know their surroundings"),
    pytest.param("deploy/surroundings.py", "shared.words", ALONE, id="what has to be there needs no code of ours"),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's packages somewhere else, to be spoilt."""
    root = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", root)
    for package in SETTINGS["root_packages"]:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    return root


def checked(root: Path) -> str:
    """What the contracts say of a tree."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(root)})
    return " ".join(done.stdout.split()) + done.stderr


def test_the_copy_keeps_every_contract(copy: Path) -> None:
    """Otherwise the other tests here would prove nothing; and every contract has a wrong import below."""
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in checked(copy)
    assert {str(case.values[2]) for case in WRONG} == set(CONTRACTS)


@pytest.mark.parametrize(("file", "module", "contract"), WRONG)
def test_a_wrong_import_is_refused_by_name(copy: Path, file: str, module: str, contract: str) -> None:
    """The contract that it breaks says so."""
    path = copy / file
    before = path.read_text("utf-8")
    path.write_text(f"{before}\nimport {module}\n", "utf-8")
    try:
        assert f"{contract} BROKEN" in checked(copy)
    finally:
        path.write_text(before, "utf-8")
