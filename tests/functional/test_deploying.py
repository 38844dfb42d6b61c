"""A deployment that cannot work is refused at the start, with everything that is wrong with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.functional.launch import TEMPLATE, clean_environment, environment, up
from tests.functional.waiting import PATIENCE
from tests.functional.world import ROOT, Stage

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
        MNS_ENDPOINT="ftp://somewhere",
        STS_ENDPOINT="http://somewhere/with/a/path",
        MODE="sometimes",
        SETTLE_SECONDS="-1",
    )
    assert "SettingsError" in told
    assert "the environment is not usable" in told
    for name in ("MNS_ENDPOINT", "STS_ENDPOINT", "MODE", "SETTLE_SECONDS"):
        assert name in told
    assert "sometimes" in told
    assert PASSWORD not in told


def test_a_ledger_without_tables_is_refused_with_the_command_to_run(tmp_path: Path) -> None:
    """The first deployment of all fails like this, and says what comes first."""
    told = refused(tmp_path)
    assert "the ledger has no tables yet: run `ecr-grants ledger upgrade`" in told
    assert "ecr-grants-grant" in told
