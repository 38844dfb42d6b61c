"""The database's password is turned under warm functions: nothing is lost, and by name nothing has to be deployed."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sql
from psycopg import sql as psql

from shared.errors import NeedsSomebody
from shared.ledger.proof import first_fault
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger
from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.launch import environment, typed, without_desk
from tests.functional.mailbox import FUNCTIONS
from tests.functional.waiting import until
from tests.functional.world import HUB, RECONCILE_FUNCTION, Spoke, Stage
from tests.ledger.postgres import Postgres, running

SECRET = "ecr-grants/ledger"
OLD, NEW = "hush-the-old-one", "hush-the-new-one"
ROLE = "ecr_grants"
KEY_SECRET = "ecr-grants/head-key"
KEY = base64.b64encode(b"not a real key, only 32 letters.").decode()


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A server that asks for passwords."""
    with running() as server:
        yield server


@dataclass
class House:
    """Functions at work on a database that lets them in by password."""

    cloud: Deployment
    server: Postgres
    database: str
    spoke: Spoke
    address: Callable[[str], str]
    """LEDGER_URL with a password, or without one where it is empty."""

    def turn(self, password: str) -> None:
        """Give the functions' role another password, and end its sessions: so does a failover, or time."""
        with self.server.connect(self.database) as connection:
            connection.execute(psql.SQL("ALTER ROLE {} PASSWORD {}").format(psql.Identifier(ROLE), password))
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", [ROLE])

    def instances(self) -> dict[str, list[int]]:
        """The processes of each function."""
        found = self.cloud.admin.functions()
        return {one["name"]: [each["pid"] for each in one["instances"]] for one in found}

    def told(self) -> str:
        """Everything that the functions have logged."""
        names = (*FUNCTIONS, RECONCILE_FUNCTION)
        return "\n".join(line["text"] for name in names for line in self.cloud.admin.logs(name))

    def refused(self) -> None:
        """Wait until a function was refused, and has sent its message again: the first time it may only have lost a session."""

        def again() -> bool:
            self.cloud.admin.advance(20)
            lines = [line for line in self.told().splitlines() if "message.sent_again" in line]
            return any("password authentication failed" in line for line in lines)

        until(again, "what comes while the database refuses is sent again")

    def compare(self) -> None:
        """Let reconcile compare ledger and cloud. The first time it may only have lost a session that it had just used."""
        with contextlib.suppress(NeedsSomebody):
            self.cloud.reconcile()
            return
        self.cloud.reconcile()

    def ask(self) -> Json:
        """Send an approval on an instance that nobody had."""
        document = approval(self.spoke.uid, next(self.spoke.vpcs))
        self.cloud.send(document)
        return document

    def done(self, *documents: Json) -> None:
        """Wait until each was granted; what was sent again comes when the clock is turned."""
        for document in documents:
            assert self.cloud.answer(document, 90)["event"] == "done"


@pytest.fixture
def house(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> Iterator[House]:
    """By name in KMS, or with the password in the environment, as the test's parameter says."""
    by_name: bool = request.param
    database = postgres.new_database()
    with postgres.connect(database) as connection:
        connection.execute(psql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(psql.Identifier(ROLE), OLD))
        connection.execute(psql.SQL("GRANT ALL ON SCHEMA public TO {}").format(psql.Identifier(ROLE)))
    home = sql.make_url(postgres.address(database))

    def address(password: str) -> str:
        return home._replace(username=ROLE, password=password or None).render_as_string(hide_password=False)

    owner = Ledger(address(OLD))
    upgrade_schema(owner)
    owner.close()
    stage = Stage()
    spoke = stage.new_spoke()
    stage.hub["secrets"] = {SECRET: {"value": OLD}, KEY_SECRET: {"value": KEY}}
    for function in (*FUNCTIONS, RECONCILE_FUNCTION):
        names = [SECRET, KEY_SECRET] if function == RECONCILE_FUNCTION else [SECRET]
        resources = [f"acs:kms:*:{HUB}:secret/{name}" for name in names]
        may = {"Effect": "Allow", "Action": ["kms:GetSecretValue"], "Resource": resources}
        stage.role(HUB, function)["policies"]["secret"] = {"Version": "1", "Statement": [may]}
    settings = {
        "LEDGER_URL": address("" if by_name else OLD),
        "LEDGER_SECRET": SECRET if by_name else "",
        "HEAD_KEY": "" if by_name else KEY,
        "HEAD_KEY_SECRET": KEY_SECRET if by_name else "",
        "KMS_ENDPOINT": "http://{address}",
    }
    with deployment(stage, tmp_path, settings=settings, ledger=postgres.address(database)) as cloud:
        yield House(cloud, postgres, database, spoke, address)


def proven(house: House, password: str) -> None:
    """The record is whole, its head is signed, and no secret is in it, in a completion, in a log, or in what a command says."""
    house.compare()
    ledger = Ledger(house.cloud.ledger_url)
    try:
        assert ledger.read(first_fault, [], None) is None
    finally:
        ledger.close()
    told = house.told() + str(house.cloud.completions) + str(house.cloud.journal())
    tables = ("events", "approvals", "intents", "sides")
    told += str([house.cloud.rows(f"SELECT * FROM {table}") for table in tables])  # noqa: S608  # our own tables
    head = json.loads([line for line in house.told().splitlines() if '"ledger.head"' in line][-1])
    assert head["signature"]
    for words in ("grants", "dead list", "ledger check", "ledger verify --empty", "mode"):
        ran = typed(*words.split(), LEDGER_URL=house.address(password))
        assert ran.returncode == 0, ran.stderr
        told += ran.stdout + ran.stderr
    assert "hush" not in told
    assert KEY not in told


@pytest.mark.parametrize("house", [True], indirect=True, ids=["by name"])
def test_by_name_a_turned_password_needs_no_deployment(house: House) -> None:
    """The database refuses the old one, the secret is read once more, and the same instances work on. In the gap, while the
    secret still holds the old one, what comes is sent again."""
    house.done(house.ask())
    warm = house.instances()

    house.turn(NEW)
    between = house.ask()
    house.refused()
    house.cloud.admin.put_secret(HUB, SECRET, NEW)
    house.cloud.admin.advance(20)
    house.done(between, house.ask())
    house.cloud.reconcile()

    house.turn(OLD)  # the other way round: the secret first
    house.cloud.admin.put_secret(HUB, SECRET, OLD)
    house.done(house.ask())
    assert {name: pids for name, pids in house.instances().items() if name in FUNCTIONS} == {
        name: pids for name, pids in warm.items() if name in FUNCTIONS
    }
    asked = house.cloud.journal(service="kms")
    assert {entry["operation"] for entry in asked} == {"GetSecretValue"}
    assert len(asked) < 40, "it is not asked at every connection"
    proven(house, OLD)


@pytest.mark.parametrize("house", [False], indirect=True, ids=["in the environment"])
def test_in_the_environment_a_turned_password_needs_one_deployment(house: House, tmp_path: Path) -> None:
    """Until then what comes is sent again, and after it everything is done."""
    house.done(house.ask())

    house.turn(NEW)
    waiting = [house.ask(), house.ask()]
    house.refused()
    accounts = house.cloud.accounts_file
    settings = environment(house.address(NEW), accounts, house.cloud.address) | {"HEAD_KEY": KEY}
    house.cloud.admin.call("POST", "deploy", {"template": str(without_desk(tmp_path)), "env": settings})
    house.cloud.admin.advance(20)
    house.done(*waiting, house.ask())
    assert house.cloud.journal(service="kms") == []
    proven(house, NEW)
