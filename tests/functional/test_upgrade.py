"""An upgrade under load, back, and again: two versions work on one ledger and one queue.

The version before is this one, as it is; the one after it is made up, and fills a column more. Three doors: the older one's own
command and functions, the newer one's, and the real queue of the local cloud between them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.ledger.revision import CODE
from tests.functional.approvals import approval, revocation
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.launch import TEMPLATE, clean_environment, environment, typed
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import ROOT, Stage
from tests.ledger.postgres import running
from tests.upgrade.releases import NEXT, newer_version

pytestmark = pytest.mark.timeout(900)

SETTLE_SECONDS = 3
"""How long an association takes to come up or go: what is sent before a deployment is under way during it."""

CALL_SECONDS = 10
"""How long a call may last here, and so how long what it claimed stays claimed when a deployment ends it."""


@dataclass
class Version:
    """One version's code."""

    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of this version's counter; those of the version that the tests are of are ``typed``."""
        return subprocess.run(
            [sys.executable, "-m", "cli", *command],
            cwd=self.folder,
            env=clean_environment(PYTHONPATH=str(self.folder)),
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """This version."""
    folder = tmp_path_factory.mktemp("older")
    for part in ("cli", "functions", "shared"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return Version(folder)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The one after it, which is made up."""
    return Version(newer_version(tmp_path_factory.mktemp("newer")))


def template(folder: Path, **versions: Version) -> Path:
    """s.yaml with each function from one version's code; ``others`` says whose those are that are not named.

    How a version lays out its handlers is its own business, so each gets a module at the root that knows.
    """
    document: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text("utf-8"))
    del document["resources"]["desk"]  # it handles no events, and has nothing in flight
    for name, resource in document["resources"].items():
        code = versions.get(name, versions["others"]).folder
        inner = (
            f"functions.{name}.handler" if (code / "functions" / name / "handler.py").exists() else f"functions.{name}"
        )
        (code / f"at_{name}.py").write_text(f"from {inner} import handler, initialize\n", "utf-8")
        resource.pop("actions", None)
        resource["props"] |= {"code": str(code), "handler": f"at_{name}.handler", "timeout": CALL_SECONDS}
        resource["props"]["instanceLifecycleConfig"]["initializer"]["handler"] = f"at_{name}.initialize"
    path = folder / f"s-{'-'.join(sorted(versions))}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return path


@dataclass
class Plant:
    """What is upgraded while it works."""

    cloud: Deployment
    folder: Path
    instances: Iterator[tuple[str, str]]
    """(account, VPC) that no test had before."""
    asked: list[Json] = field(default_factory=list)
    standing: list[Json] = field(default_factory=list)

    def deploy(self, **versions: Version) -> None:
        """Replace the functions, as a deployment does: cold starts, whatever is under way."""
        env = environment(self.cloud.ledger_url, self.cloud.accounts_file, self.cloud.address)
        body = {"template": str(template(self.folder, **versions)), "env": env}
        self.cloud.admin.call("POST", "deploy", body)

    def fly(self) -> None:
        """Put work in flight: two grants on their way up, one of those before on its way down, completions not yet out."""
        self.cloud.admin.plan(kind="server_error", service="mns", operation="PublishMessage", times=2)
        news = []
        if len(self.standing) > 2:
            news.append(revocation(self.standing.pop(0), "all"))
        for _ in range(2):
            account, vpc = next(self.instances)
            news.append(approval(account, vpc))
            self.standing.append(news[-1])
        self.asked += news
        self.cloud.send(*news)
        until(self.unsettled, "something is under way")

    def unsettled(self) -> list[Any]:
        """The sides that have something to do."""
        return self.cloud.rows("SELECT grant_id, side FROM sides WHERE unsettled")

    def land(self) -> None:
        """Everything that was asked so far is done. The timer ticks meanwhile: a deployment here ends calls in their middle, and
        what such a call had claimed is taken up again once its time is over."""
        for document in self.asked:
            until(partial(self.done, document), f"{document['request_id']} is done", 4 * PATIENCE, self.look)

    def done(self, document: Json) -> bool:
        """Whether a request was answered."""
        name = document["request_id"]
        return any(one["event"] == "done" and one["request"]["request_id"] == name for one in self.cloud.completions)

    def look(self) -> None:
        """Let some time go by, as the timer does."""
        self.cloud.reconcile()
        self.cloud.receive(2)


@pytest.fixture(params=["sqlite", "postgresql"])
def plant(request: pytest.FixtureRequest, older: Version, tmp_path: Path) -> Iterator[Plant]:
    """A local cloud with the version before at work, on a ledger that it made itself."""
    stage = Stage()
    stage.file["settle"] |= dict.fromkeys(("association_seconds", "dissociation_seconds"), SETTLE_SECONDS)
    spokes = [stage.new_spoke() for _ in range(6)]
    instances = ((spoke.uid, vpc) for spoke in spokes for vpc in spoke.vpcs)
    with running() if request.param == "postgresql" else nullcontext() as server:
        ledger = f"sqlite:///{tmp_path / 'ledger.db'}" if server is None else server.address(server.new_database())
        made = typed("ledger", "upgrade", "--ledger-url", ledger)
        assert made.returncode == 0, made.stderr
        start = template(tmp_path, others=older)
        with deployment(stage, tmp_path, template=start, ledger=ledger, known_words=False) as cloud:
            yield Plant(cloud, tmp_path, instances)


def test_up_back_and_up_again(plant: Plant, older: Version, newer: Version) -> None:
    """Expand, deploy one function after the other, go back, come again, contract: nothing is lost, nothing is stuck."""
    ledger = ("--ledger-url", plant.cloud.ledger_url)
    plant.fly()
    refused = newer.run("ledger", "upgrade", *ledger)
    assert (refused.returncode, "--before, deploy, and once nothing older runs" in refused.stderr) == (1, True)
    assert newer.run("grants", *ledger).returncode == 1, "it is not accepted yet"

    expanded = newer.run("ledger", "upgrade", "--before", *ledger)
    assert f"accepts code of revision {CODE} to {NEXT}" in expanded.stdout, expanded.stderr
    plant.fly()  # by functions that never heard of it, warm ones
    for name in ("grant", "associate"):  # a deployment replaces one after the other, in either order
        plant.deploy(**{name: newer}, others=older)
        plant.fly()
    plant.deploy(others=newer)
    plant.fly()

    plant.deploy(others=older)  # back: the code alone, and cold starts on the ledger as it is
    plant.fly()
    plant.land()
    verified = typed("ledger", "verify", *ledger)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    plant.fly()
    plant.deploy(others=newer)
    plant.fly()

    contracted = newer.run("ledger", "upgrade", "--after", *ledger)
    assert f"accepts code of revision {NEXT} to {NEXT}" in contracted.stdout, contracted.stderr
    plant.fly()
    plant.deploy(others=older)  # by mistake: it does nothing, and what comes is sent again
    account, vpc = next(plant.instances)
    late = approval(account, vpc)
    plant.cloud.send(late)
    plant.asked.append(late)
    plant.standing.append(late)
    until(lambda: "deploy newer code" in plant.cloud.story(), "the older version says that it is not wanted")
    plant.deploy(others=newer)
    plant.cloud.admin.advance(20)
    plant.land()
    _nothing_is_lost(plant, newer)


def _nothing_is_lost(plant: Plant, newer: Version) -> None:
    """Every request has one outcome, what should stand stands, no message and no completion is left, and the record is whole."""
    cloud = plant.cloud
    until(lambda: not plant.unsettled(), "nothing is under way any more", 2 * PATIENCE, plant.look)
    until(lambda: not cloud.rows("SELECT seq FROM outbox"), "all completions are out", 2 * PATIENCE, plant.look)
    cloud.quiet()
    outcomes = [one["request"]["request_id"] for one in cloud.completions if one["event"] == "done"]
    assert sorted(set(outcomes)) == sorted(one["request_id"] for one in plant.asked)
    wanted = {document["instance"]["id"] for document in plant.standing}
    up = {one["instance_id"] for one in cloud.admin.world()["associations"] if one["status"] == "ACTIVE"}
    assert up == wanted
    assert cloud.rows("SELECT grant_id FROM sides WHERE dead_at IS NOT NULL") == []
    assert cloud.lost() == {}
    makers = {row[0] for row in cloud.rows("SELECT made_by FROM grants")}
    assert makers == {CODE, NEXT}, "both versions made grants, and each has its maker"
    told = {one.get("told_by") for one in cloud.completions}
    assert told == {None, NEXT}, "both versions published"
    verified = newer.run("ledger", "verify", "--ledger-url", cloud.ledger_url)
    assert verified.returncode == 0, verified.stdout + verified.stderr
