"""A deployment that cannot work is refused at the start, with everything that is wrong with it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from functions import associate, grant, preflight, reconcile
from shared.errors import NeedsSomebody
from shared.loop.frame import Function
from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, configure
from tests.functional.inprocess import Context
from tests.functional.launch import TEMPLATE, clean_environment, environment, launched, new_ledger, up, without_desk
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import GRANT_FUNCTION, REGION, ROOT, Stage

PASSWORD = "a-password-nobody-may-see"


def refused(folder: Path, **settings: str) -> str:
    """What the deployment of s.yaml says when it must fail."""
    world, accounts = Stage().write(folder)
    env = environment(f"sqlite:///{folder / 'ledger.db'}", accounts) | settings
    done = subprocess.run(
        up(world, env=env, template=TEMPLATE),
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_every_missing_or_bad_variable_is_named_at_once(tmp_path: Path) -> None:
    """One failed deployment is enough to mend all of them; and no password is shown."""
    told = refused(
        tmp_path,
        LEDGER_URL=f"postgresql+psycopg://user:{PASSWORD}@127.0.0.1:1/ledger",
        CONFIG_KEYS="k:x",
        MNS_ENDPOINT="ftp://somewhere",
        STS_ENDPOINT="http://somewhere/with/a/path",
        MODE="sometimes",
        SETTLE_SECONDS="-1",
    )
    assert "SettingsError" in told
    assert "the environment is not usable" in told
    for name in ("CONFIG_KEYS", "MNS_ENDPOINT", "STS_ENDPOINT", "MODE", "SETTLE_SECONDS"):
        assert name in told
    assert "sometimes" in told
    assert PASSWORD not in told


def test_a_bad_signing_key_stops_who_signs(tmp_path: Path) -> None:
    """Only reconcile has the key in its environment, so only reconcile says that it is none."""
    told = refused(tmp_path, HEAD_KEY="no-key-at-all")
    assert "HEAD_KEY is not usable" in told
    assert "no-key-at-all" not in told
    assert "ecr-grants-reconcile" in told
    assert "ecr-grants-grant: " not in told


def test_a_desk_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Which of its own variables are wrong, all at once, and no secret."""
    told = refused(tmp_path, LEDGER_URL=new_ledger(tmp_path), DESK_ADDRESS="ftp://desk", DESK_KEYS="bm8ga2V5")
    assert "ecr-grants-desk" in told
    for name in ("DESK_ADDRESS", "DESK_KEYS"):
        assert name in told
    assert "bm8ga2V5" not in told


def test_functions_that_start_while_the_ledger_is_away_lose_nothing(tmp_path: Path) -> None:
    """A cold start needs settings and configuration, no ledger: what comes meanwhile is sent again, with the command to run in
    the log, and done when the ledger is there.
    """
    stage = Stage()
    spoke = stage.new_spoke()
    document = approval(spoke.uid, next(spoke.vpcs))
    world, accounts = stage.write(tmp_path)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    template = without_desk(tmp_path)  # which starts with its ledger, or not at all
    with launched(up(world, env=environment(ledger, accounts), template=template), tmp_path) as url:
        cloud = Deployment(url, stage, ledger, accounts)
        try:
            cloud.send(document)
            until(lambda: "message.sent_again" in told_by(cloud), "the approval is sent again")
            assert "the ledger has no tables yet: run `ecr-grants ledger upgrade`" in told_by(cloud)
            with pytest.raises(NeedsSomebody, match="run `ecr-grants ledger upgrade`"):
                cloud.reconcile()
            assert new_ledger(tmp_path) == ledger
            configure(ledger, stage.configuration)
            cloud.admin.advance(20)
            assert cloud.answer(document)["event"] == "done"
        finally:
            cloud.close()


def told_by(cloud: Deployment) -> str:
    """What the grant function has logged."""
    return "\n".join(line["text"] for line in cloud.logs(GRANT_FUNCTION))


@pytest.mark.parametrize("module", [grant, associate, preflight, reconcile], ids=lambda module: module.__name__)
def test_initialize_asks_no_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, listening: socket.socket
) -> None:
    """Not even one that takes calls and never answers, which would hold up the start until its time is over: it is not called."""
    _, accounts = Stage().write(tmp_path)
    away = f"postgresql+psycopg://nobody@127.0.0.1:{listening.getsockname()[1]}/ledger"
    for name, value in {**environment(away, accounts), "FC_REGION": REGION}.items():
        monkeypatch.setenv(name, value.replace("{address}", "127.0.0.1:1"))
    for name in ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"):
        monkeypatch.setenv(f"ALIBABA_CLOUD_{name}", "nobody's")
    function = Function()
    monkeypatch.setattr(module, "_function", function)
    module.initialize(Context("cold"))
    with pytest.raises(BlockingIOError):
        listening.accept()  # nobody has called
    function.open(None).ledger.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """Where calls are taken and nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server
