"""How a local cloud with the project's functions is started, with a ledger of its own, and the commands that people run."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sql
import yaml
from click.testing import CliRunner

from deploy.layout import linked
from tests.command import whole_command
from tests.configured import CONFIG_KEYS_TEXT
from tests.functional.waiting import PATIENCE, until
from tests.functional.world import ROOT

TEMPLATE = ROOT / "s.yaml"
DESK = {
    "DESK_ADDRESS": "https://desk.example.com",
    "DESK_CLIENT_ID": "4000000000000000077",
    "DESK_CLIENT_SECRET": "example-secret-of-the-desk",
    "DESK_KEYS": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=",
}
"""What a desk must be given; the key is obviously none."""
SETTLE_SECONDS = 0.5
"""Reads are not older than this, unless a test plans it."""
PACKAGES = (
    "coverage",
    "alibabacloud_expressconnectrouter20230901.client",
    "alibabacloud_sts20150401.client",
    "alibabacloud_vpc20160428.client",
    "mns.account",
    "mns.topic",
    "psycopg",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
    "stamina",
    "structlog",
    "yaml",
)


def without_desk(folder: Path) -> Path:
    """The template of a deployment that only takes sealed approvals, as a file."""
    document = yaml.safe_load(TEMPLATE.read_text("utf-8"))
    del document["resources"]["desk"]
    path = folder / "without-desk.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    return path


_OF_MAKE = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "GNUMAKEFLAGS"}


def clean_environment(**more: str) -> dict[str, str]:
    """Our environment without proxies, where the SDKs would send loopback calls; without what makes processes measure their
    coverage: only workers do (``up``), and it makes everything slower by half; and as outside ``make``, which speaks of itself
    in a make that it started.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("COVERAGE_") and name not in _OF_MAKE
    }
    return {**kept, **more}


def without_proxies() -> None:
    """The SDKs send loopback calls to a proxy when the environment names one, so it must not. For commands of their own."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            del os.environ[name]


def run(*command: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a module of the project to its end, as a person would who has the keys set that sign configurations."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=clean_environment(**{"CONFIG_KEYS": CONFIG_KEYS_TEXT, **environment}),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )


def typed(*words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """What ``run("cli", ...)`` does, in this very process: to start an interpreter costs more than most commands do.

    What a command did not expect is raised here, where a process would end with code 1 as for any other trouble.
    """
    with contextlib.chdir(ROOT):
        return typed_here(*words, stdin=stdin, **environment)


def typed_here(*words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in the folder where we are."""
    given = {"CONFIG_KEYS": CONFIG_KEYS_TEXT, **environment}
    done = CliRunner().invoke(whole_command(), words, input=stdin, env=given, catch_exceptions=False)
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


def new_ledger(folder: Path) -> str:
    """A fresh SQLite ledger with its tables, made by the command that people use."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    done = typed("ledger", "upgrade", "--ledger-url", url)
    assert done.returncode == 0, done.stderr
    return url


@contextlib.contextmanager
def ledger_busy(url: str) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a ledger in a file: whoever wants to write has to wait."""
    path = sql.make_url(url).database
    assert path is not None
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextlib.contextmanager
def ledger_without(url: str, table: str) -> Iterator[None]:
    """Hide a table of a ledger in a file: whoever needs it finds that the ledger is not there."""

    def rename(before: str, after: str) -> None:
        with ledger_busy(url) as connection:
            connection.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename(table, f"{table}_away")
    try:
        yield
    finally:
        rename(f"{table}_away", table)


def environment(ledger: str, accounts: Path, address: str = "{address}") -> dict[str, str]:
    """The variables that the functions of a test run with."""
    return {
        "LEDGER_URL": ledger,
        "CONFIG_KEYS": CONFIG_KEYS_TEXT,
        "CODE": str(linked(accounts.parent / "code")),
        "MODE": "full",
        "SETTLE_SECONDS": str(SETTLE_SECONDS),
        "DESK_LEDGER_URL": ledger,
        **DESK,
        "DESK_ISSUER": f"http://{address}",
        **{f"{name}_ENDPOINT": f"http://{address}" for name in ("MNS", "STS", "VPC", "ECR")},
    }


def up(
    world: Path,
    *more: str,
    env: dict[str, str],
    template: Path | None,
    measured: bool = True,
    preloaded: bool = True,
) -> list[str]:
    """The command that starts a local cloud, with the functions of a template deployed when there is one.

    ``measured``: whether the workers' coverage counts; ``preloaded``: whether they are born with what they import of others,
    which is most of a cold start.
    """
    command = [sys.executable, "-m", "localcloud", "up", "--world", str(world), "--with-parent", *more]
    if template is None:
        return command
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        if measured and name in os.environ:
            command += ["--worker-env", f"{name}={os.environ[name]}"]
    command += [part for module in PACKAGES if preloaded for part in ("--preload", module)]
    command += ["--deploy", str(template)]
    return command + [part for name, value in env.items() for part in ("--env", f"{name}={value}")]


@contextlib.contextmanager
def launched(command: Sequence[str], folder: Path) -> Iterator[str]:
    """The address of the local cloud that a command (``up``) starts; it ends with the block, with everything it started."""
    ready, output = folder / "address", folder / "localcloud.log"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--ready-file", str(ready)], cwd=ROOT, env=clean_environment(), stdout=sink, stderr=sink
        )
    try:

        def is_ready() -> bool:
            assert process.poll() is None, "the local cloud did not start:\n" + output.read_text("utf-8")
            return ready.exists()

        until(is_ready, "the local cloud is ready", 8 * PATIENCE)
        yield ready.read_text("utf-8")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
