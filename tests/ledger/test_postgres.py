"""The server that the ledger's tests stand on: real, reachable by nobody else, and gone when they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from shared.errors import LedgerError
from shared.ledger.proof import first_fault
from shared.ledger.schema import check_schema, upgrade_schema
from shared.ledger.transactions import Ledger
from tests.functional.waiting import until
from tests.ledger.lives import live_everything
from tests.ledger.postgres import PASSWORD, USER, Postgres

ROOT = Path(__file__).parents[2]


def test_the_server_listens_on_nothing_but_its_socket(postgres: Postgres) -> None:
    """No port of this machine leads to it, only a socket in a folder of its own, and only with the password."""
    with postgres.connect("postgres") as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW unix_socket_directories").fetchone() == (str(postgres.folder),)
        version = connection.execute("SHOW server_version_num").fetchone()
    assert version is not None
    assert int(version[0]) >= 160_000
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(host=str(postgres.folder), dbname="postgres", user=USER, password=f"not-{PASSWORD}")


def test_a_user_who_may_read_and_change_rows_is_enough(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/database.md says: whoever upgrades owns the tables, the functions have a user with four rights. The password need
    not stand in the address."""
    database = postgres.new_database()
    owner = Ledger(postgres.address(database))
    upgrade_schema(owner)
    with postgres.connect(database) as connection:
        connection.execute("CREATE ROLE worker LOGIN PASSWORD 'not-a-real-one-either'")
        connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO worker")
    monkeypatch.setenv("PGPASSWORD", "not-a-real-one-either")
    worker = Ledger(f"postgresql+psycopg://worker@/{database}?host={postgres.folder}")
    try:
        check_schema(worker)
        live_everything(worker)
        assert worker.read(first_fault, [], None) is None
        with pytest.raises(LedgerError, match=r"must be owner|permission denied"):
            worker.write(lambda connection: connection.exec_driver_sql("ALTER TABLE events ADD COLUMN more text"))
    finally:
        worker.close()
        owner.close()
        postgres.drop(database)


def test_the_server_ends_with_those_who_started_it() -> None:
    """Also when they are killed: neither the process nor its folder stays."""
    script = (
        "from tests.ledger.postgres import Postgres\n"
        "server = Postgres()\n"
        "server.start()\n"
        "print(server.folder, (server.folder / 'data' / 'postmaster.pid').read_text().split()[0], flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        folder, pid = tests.stdout.readline().split()
        os.kill(int(pid), 0)
        tests.send_signal(signal.SIGKILL)

    until(lambda: not Path(folder).exists(), "the server's folder is gone")
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
