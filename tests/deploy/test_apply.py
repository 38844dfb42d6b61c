"""Deploying prints and logs no secret, though the deployment tool does both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.apply import known_secrets, masked
from tests.functional.launch import DESK, clean_environment
from tests.functional.world import ROOT

PASSWORD, BEFORE, KEY = "an%40obvious-fake", "the-one-before", "b2J2aW91c2x5IGZha2U="
DESK_KEY = DESK["DESK_KEYS"].encode()
LEDGER = f"postgresql+psycopg://grants:{PASSWORD}@10.0.0.1:5432/ledger"

TOOL = f"""#!{sys.executable}
# Behaves as Serverless Devs 3.1.10 was seen to: shows the change of the environment, and logs the whole template.
import json, os, pathlib, sys
print("arguments", *sys.argv[1:])
print("-  LEDGER_URL: postgresql+psycopg://grants:{BEFORE}@10.0.0.1:5432/ledger")
print("+  LEDGER_URL:", os.environ["LEDGER_URL"])
print("\\x1b[1mHEAD_KEY: \\x1b[22m", os.environ["HEAD_KEY"])
print("-  HEAD_KEY: {BEFORE}")
folder = pathlib.Path.home() / ".s" / "logs" / os.environ["serverless_devs_traceid"]
folder.mkdir(parents=True)
shown = {{name: os.environ[name] for name in ("LEDGER_URL", "HEAD_KEY")}} | {{"MODE": "full"}}
(folder / "s_cli.log").write_text(json.dumps(shown, indent=2) + json.dumps(json.dumps(shown)) + "the-real-thing")
sys.exit(7)
"""


def applied(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with a stand-in for the tool on the path and a home of its own."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.apply", *arguments],
        cwd=ROOT,
        env=clean_environment(PATH=f"{folder}:/usr/bin:/bin", HOME=str(folder), LEDGER_URL=LEDGER, HEAD_KEY=KEY),
        capture_output=True,
        text=True,
        check=False,
    )


def test_neither_output_nor_log_has_a_secret(tmp_path: Path) -> None:
    """Neither the new ones nor those from before; everything else is shown, and the tool's exit code is ours."""
    (tmp_path / "s").write_text(TOOL)
    (tmp_path / "s").chmod(0o755)
    (tmp_path / "s.yaml").touch()

    done = applied(tmp_path, "--template", str(tmp_path / "s.yaml"))

    assert done.returncode == 7, done.stderr
    (log,) = (tmp_path / ".s" / "logs").rglob("*.log")
    written = log.read_text()
    for secret in (PASSWORD, "an@obvious-fake", BEFORE, KEY):
        assert secret not in done.stdout + done.stderr + written
    assert f"arguments deploy -y --template {tmp_path / 's.yaml'}" in done.stdout
    assert done.stdout.count("postgresql+psycopg://grants:***@10.0.0.1:5432/ledger") == 2
    assert done.stdout.count("HEAD_KEY: ") == 2
    assert '"MODE": "full"' in written
    assert "the-real-thing" in written


def test_nothing_to_deploy_and_nobody_to_do_it_are_told(tmp_path: Path) -> None:
    """Exit code 1, and what to do."""
    missing = applied(tmp_path, "--template", str(tmp_path / "s.yaml"))
    (tmp_path / "s.yaml").touch()
    nobody = applied(tmp_path, "--template", str(tmp_path / "s.yaml"))
    assert (missing.returncode, nobody.returncode) == (1, 1)
    assert "`make deploy-folder` makes it" in missing.stderr
    assert "npm install -g @serverless-devs/s" in nobody.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b'"HEAD_KEY": "",\n"MODE": "full"', b'"HEAD_KEY": "",\n"MODE": "full"'),
        (b"HEAD_KEY: \nMODE: full", b"HEAD_KEY: \nMODE: full"),
        (b'"HEAD_KEY": "x",', b'"HEAD_KEY": "***",'),
        (b"DESK_KEYS: %s,%s\n" % (DESK_KEY, DESK_KEY), b"DESK_KEYS: ***\n"),
        (b'"DESK_CLIENT_SECRET": "x", "DESK_SCOPE": "y"', b'"DESK_CLIENT_SECRET": "***", "DESK_SCOPE": "y"'),
        (b'\\"LEDGER_PASSWORD\\": \\"x\\"', b'\\"LEDGER_PASSWORD\\": \\"***\\"'),
        (b"http://127.0.0.1:80/a b@c", b"http://127.0.0.1:80/a b@c"),
    ],
)
def test_only_secrets_are_masked(text: bytes, shown: bytes) -> None:
    """Whatever they are written in; what is empty stays empty."""
    assert masked(text, []) == shown


def test_an_address_without_a_password_holds_no_secret() -> None:
    """A file, or a user that the server trusts."""
    assert known_secrets({"LEDGER_URL": "sqlite:///ledger.db"}) == []
    assert known_secrets({"LEDGER_URL": "postgresql+psycopg://grants@10.0.0.1/ledger"}) == []


def test_the_first_time_the_triggers_wait_for_the_limits(tmp_path: Path) -> None:
    """With them off, then as decided; where the first fails the second is not tried."""
    for name in ("s.yaml", "s.first.yaml"):
        (tmp_path / name).touch()
    told = {}
    for code in (0, 5):
        (tmp_path / "s").write_text(TOOL.replace("sys.exit(7)", f"sys.exit({code} if 'first' in sys.argv[-1] else 0)"))
        (tmp_path / "s").chmod(0o755)
        done = applied(tmp_path, "--first", "--template", str(tmp_path / "s.yaml"))
        told[code] = [line.rpartition("/")[2] for line in done.stdout.splitlines() if line.startswith("arguments")]
        assert done.returncode == code
    assert told == {0: ["s.first.yaml", "s.yaml"], 5: ["s.first.yaml"]}
