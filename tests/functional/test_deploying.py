"""A deployment that cannot work is refused at the start, with everything that is wrong with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.functional.deployment import PATIENCE, TEMPLATE, clean_environment, environment, up
from tests.functional.world import ROOT, Stage

PASSWORD = "a-password-nobody-may-see"


def refused(folder: Path, *, template: Path | None = None, **settings: str) -> str:
    """What a deployment says that must fail; usually of account B's function alone, which is quicker."""
    world, accounts = Stage().write(folder)
    env = environment(f"sqlite:///{folder / 'ledger.db'}", accounts) | settings
    if template is None:
        whole = yaml.safe_load(TEMPLATE.read_text("utf-8").replace("code: ./", f"code: {ROOT}"))
        template = folder / "s.yaml"
        part = {**whole, "resources": {"grant": whole["resources"]["grant"]}}
        template.write_text(yaml.safe_dump(part), "utf-8")
    done = subprocess.run(
        up(world, env=env, template=template),
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
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
    told = refused(tmp_path, template=TEMPLATE)
    assert "the ledger has no tables yet: run `ecr-grants ledger upgrade`" in told
    assert "ecr-grants-grant" in told


def test_a_ledger_that_is_away_is_refused_without_its_password(tmp_path: Path) -> None:
    """An address at which nothing listens: the kind of error is told, the credentials are not."""
    told = refused(tmp_path, LEDGER_URL=f"postgresql+psycopg://user:{PASSWORD}@127.0.0.1:1/ledger")
    assert "the ledger is away" in told
    assert PASSWORD not in told


def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path) -> None:
    """What cannot be read as a database address may still hold a password."""
    told = refused(tmp_path, LEDGER_URL=f"user:{PASSWORD}@somewhere")
    assert "LEDGER_URL is not a database address" in told
    assert PASSWORD not in told


def test_a_faulty_inventory_is_refused_with_each_fault(tmp_path: Path) -> None:
    """The file and the field are named."""
    faulty = tmp_path / "faulty.yaml"
    faulty.write_text('version: 1\naccounts: {"12": {name: x}}\n', "utf-8")
    told = refused(tmp_path, ACCOUNTS_FILE=str(faulty))
    assert f"ACCOUNTS_FILE={faulty}" in told
    assert "accounts.12" in told
    assert "owner" in told
