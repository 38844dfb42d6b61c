"""`ecr-grants doctor` without functions: ledgers of both kinds with one fault each, clocks, secrets, and trouble on the way."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path

import pytest
import sqlalchemy as sql
from click.testing import CliRunner

from shared.ledger.admission import admit
from shared.ledger.schema import upgrade_schema
from shared.ledger.tables import accepts, chain, configurations, events, outbox, settings
from shared.ledger.transactions import Ledger
from shared.rules.health import Check
from tests.command import whole_command
from tests.configured import apply, configuration
from tests.functional.clinic import (
    DEPLOYER,
    OPERATOR,
    Clinic,
    Findings,
    by_name,
    healthy_stage,
    shipped,
    write_template,
)
from tests.functional.deployment import deployment
from tests.functional.relay import Line, Relay
from tests.functional.world import HUB, SPOKE
from tests.ledger.kit import NOW, opening
from tests.ledger.postgres import PASSWORD, Postgres, running

DEPLOY = "`make deploy-folder` and `make deploy`"
RECORD = (Check.LEDGER, Check.TLS, Check.SCHEMA, Check.CHAIN, Check.CONFIGURATION, Check.CLOCK)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """Queues, topic and accounts, and no function."""
    folder = tmp_path_factory.mktemp("bare")
    write_template(folder)
    with deployment(healthy_stage(), folder, template=None) as made:
        yield Clinic(made, folder, made.ledger_url)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A ledger with one event."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'ledger.db'}"
    else:
        server: Postgres = request.getfixturevalue("server")
        address = server.address(server.new_database())
    ledger = Ledger(address)
    upgrade_schema(ledger)
    ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
    apply(ledger, configuration({}))
    ledger.close()
    return address


def changed(address: str, *statements: sql.Executable) -> None:
    """Change a ledger past its rules."""
    engine = sql.create_engine(address)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)
    finally:
        engine.dispose()


def of_ledger(found: Findings) -> Findings:
    """What is said about the ledger."""
    return {name: one for name, one in found.items() if name[1] in ("ledger", "the database")}


def others(found: Findings) -> Findings:
    """What is said about everything else."""
    return {name: one for name, one in found.items() if name not in of_ledger(found)}


def test_a_ledger_that_is_well_is_ok(bare: Clinic, url: str) -> None:
    """Address, transport, schema, record and, where it has one of its own, clock."""
    found = of_ledger(bare.findings(LEDGER_URL=url))
    checks = RECORD if url.startswith("postgresql") else RECORD[:-1]
    assert {name[0]: one["verdict"] for name, one in found.items()} == {check.value: "ok" for check in checks}
    assert PASSWORD not in json.dumps(list(found.values()))


LAST = sql.select(sql.func.max(events.c.seq)).scalar_subquery()
FAULTS = [
    pytest.param(
        [sql.text("UPDATE alembic_version SET version_num = '0001'")],
        Check.SCHEMA,
        "before the first release",
        id="the schema is too old",
    ),
    pytest.param(
        [accepts.update().values(oldest=1, newest=1)],
        Check.SCHEMA,
        "accepts code of revision 1",
        id="the ledger accepts older code only",
    ),
    pytest.param(
        [accepts.update().values(oldest=99, newest=99)],
        Check.SCHEMA,
        "accepts code of revision 99",
        id="the ledger accepts newer code only",
    ),
    pytest.param(
        [chain.update().values(hash="f" * 64)],
        Check.CHAIN,
        "not the hash of event",
        id="the end of the chain was changed",
    ),
    pytest.param(
        [outbox.delete(), events.delete().where(events.c.seq == LAST)],
        Check.CHAIN,
        "the last event is",
        id="the last event is gone",
    ),
    pytest.param(
        [events.update().values(digest="f" * 64)],
        Check.CHAIN,
        "is not what was recorded",
        id="the last event was changed",
    ),
    pytest.param([chain.delete()], Check.CHAIN, "the end of the chain is missing", id="the chain has no end"),
]


@pytest.mark.parametrize(("statements", "check", "words"), FAULTS)
def test_a_fault_of_the_ledger_is_found(
    bare: Clinic, url: str, statements: list[sql.Executable], check: Check, words: str
) -> None:
    """In its schema or in its record; what else is said stays as it was."""
    before = bare.findings(LEDGER_URL=url)
    changed(url, *statements)
    found = bare.findings(LEDGER_URL=url)
    one = found[check.value, "ledger"]
    assert (one["verdict"], words in one["text"], bool(one["do"])) == ("wrong", True, True), one
    assert {name: one for name, one in found.items() if name != (check.value, "ledger")} == {
        name: one for name, one in before.items() if name != (check.value, "ledger")
    }


def test_a_ledger_without_a_configuration_grants_nothing(bare: Clinic, url: str) -> None:
    """Whether none was applied, or somebody changed the row of the one that was: each is told, with what to do."""
    changed(url, configurations.update().values(bundle="{}"))
    one = bare.findings(LEDGER_URL=url)["configuration", "ledger"]
    assert (one["verdict"], "not a signed configuration" in one["text"], bool(one["do"])) == ("wrong", True, True), one
    changed(url, configurations.delete(), settings.delete())
    none = bare.findings(LEDGER_URL=url)["configuration", "ledger"]
    assert none["verdict"] == "wrong"
    assert "a newer one was applied: nothing is granted" in none["text"]  # the record has it
    assert "ecr-grants config apply" in none["do"]


def test_a_ledger_without_tables_is_to_be_upgraded(bare: Clinic, server: Postgres) -> None:
    """The database is there, and empty."""
    found = bare.findings(LEDGER_URL=server.address(server.new_database()))
    assert found["ledger", "ledger"]["verdict"] == "ok"
    assert "run `ecr-grants ledger upgrade`" in found["schema", "ledger"]["text"]
    assert found["chain", "ledger"]["verdict"] == "unknown"


@pytest.mark.parametrize("where", ["file", "port", "password", "silence"])
def test_a_ledger_that_is_away_is_named_with_its_place(
    bare: Clinic, server: Postgres, tmp_path: Path, where: str
) -> None:
    """A file that is not there is not made; nobody listens; the password is another; somebody listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = (silent if where == "silence" else unused).getsockname()[1]
        address = {
            "file": f"sqlite:///{tmp_path / 'nothing.db'}",
            "password": server.address(server.new_database(), password="another-password"),
        }.get(where, f"postgresql+psycopg://user:a-password-of-somebody@127.0.0.1:{port}/ledger")
        code, told = bare.look(LEDGER_URL=address)
    found = by_name(told)
    assert code == 1
    assert found["ledger", "ledger"]["verdict"] == "wrong"
    place = {"file": str(tmp_path), "password": str(server.folder)}.get(where, f"127.0.0.1, port {port}")
    assert place in found["ledger", "ledger"]["text"]
    assert {found[check.value, "ledger"]["verdict"] for check in RECORD[1:5]} == {"unknown"}
    assert "password" not in json.dumps(told).replace("password authentication", "").replace("the password of", "")
    assert not (tmp_path / "nothing.db").exists()
    assert others(found) == others(bare.findings())


def test_the_databases_clock_is_compared(bare: Clinic, server: Postgres) -> None:
    """Leases end by the functions' clocks, and the record says when by the database's. Here its clock is ten minutes ahead."""
    name = server.new_database()
    address = server.address(name)
    ledger = Ledger(address)
    upgrade_schema(ledger)
    ledger.close()
    changed(
        address,
        sql.text("CREATE SCHEMA ahead"),
        sql.text(
            "CREATE FUNCTION ahead.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.now() + interval '10 min' $$"
        ),
        sql.text(f"ALTER DATABASE {name} SET search_path = ahead, pg_catalog, public"),
    )
    one = bare.findings(LEDGER_URL=address)["clock", "the database"]
    assert one["verdict"] == "wrong"
    assert re.search(r"is (599|600|601) s ahead of this machine's clock", one["text"])


class Late(Line):
    """Answers are dated twenty minutes earlier than they are."""

    def passes(self, data: bytes, *, asked: bool, send: object) -> bool:
        """Change the date of an answer."""

        def earlier(found: re.Match[bytes]) -> bytes:
            date = parsedate_to_datetime(found[1].decode()) - timedelta(minutes=20)
            return b"Date: " + format_datetime(date, usegmt=True).encode()

        assert callable(send)
        send(data if asked else re.sub(rb"Date: ([^\r]+)", earlier, data))
        return True


def test_this_machines_clock_is_compared_with_the_clouds(bare: Clinic) -> None:
    """By the date of an answer: what is ahead by twenty minutes here is behind there."""
    host, port = bare.cloud.address.split(":")
    listening = socket.create_server(("127.0.0.1", 0))
    relay = Relay(listening, lambda: socket.create_connection((host, int(port))), lambda _: Late())
    try:
        before = bare.findings()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found = bare.findings(STS_ENDPOINT=address)
    finally:
        relay.close()
    one = found["clock", "STS"]
    assert (one["verdict"], "s behind this machine's clock" in one["text"]) == ("wrong", True)
    assert one["do"].startswith("set this machine's clock by NTP")
    assert {name for name in found if found[name] != before[name]} == {("clock", "STS")}


# -- trouble is contained ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "operation", "checks"),
    [
        ("mns", "GetTopicAttributes", {"topic"}),
        ("mns", "ListSubscriptionByTopic", {"subscriptions"}),
        ("mns", "BatchPeekMessage", {"dead-letters"}),
        ("mns", "GetSubscriptionAttributes", {"subscriptions"}),
    ],
)
def test_trouble_of_one_look_is_unknown_and_nothing_elses(
    bare: Clinic, service: str, operation: str, checks: set[str]
) -> None:
    """The platform fails at one operation: it is said why, and everything else is looked at."""
    before = bare.findings()
    planned = {"kind": "error", "status": 500, "code": "InternalError", "message": "out of order", "times": None}
    number = bare.cloud.admin.plan(service=service, operation=operation, **planned)["number"]
    try:
        found = bare.findings()
    finally:
        bare.cloud.admin.clear(number)
    touched = {name for name in found if found[name] != before.get(name)}
    assert {name[0] for name in touched} == checks
    assert {found[name]["verdict"] for name in touched} == {"unknown"}
    assert all("out of order" in found[name]["text"] for name in touched)


def test_what_never_answers_is_not_waited_for(bare: Clinic) -> None:
    """Queues that take calls and say nothing: the looks at them are unknown, the others are told."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = bare.findings(MNS_ENDPOINT=address)
    before = bare.findings()
    touched = {name[0] for name in before.keys() | found.keys() if found.get(name) != before.get(name)}
    assert touched == {"queues", "topic", "subscriptions", "dead-letters"}
    assert {one["verdict"] for name, one in found.items() if name[0] == "dead-letters"} == {"unknown"}
    assert found["schema", "ledger"]["verdict"] == "ok"


def test_without_a_template_nothing_is_compared_with_it(bare: Clinic, tmp_path: Path) -> None:
    """It is said why, and where to run it."""
    code, told = bare.look(DEPLOYER, "--template", str(tmp_path / "nothing.yaml"))
    one = by_name(told)["triggers", "s.yaml"]
    assert (one["verdict"], "cannot be read" in one["text"], bool(one["do"])) == ("unknown", True, True)
    assert code == 0


def test_a_function_that_is_not_there_is_to_be_deployed(bare: Clinic) -> None:
    """Once, by the check of functions; what depends on it is unknown."""
    found = bare.findings()
    for resource in shipped()["resources"].values():
        name = resource["props"]["functionName"]
        assert (found["functions", name]["verdict"], found["functions", name]["do"]) == ("wrong", DEPLOY)
        assert {found[check, name]["verdict"] for check in ("triggers", "concurrency", "environment")} == {"unknown"}
    assert found["roles", "accounts"]["verdict"] == "unknown"


@pytest.mark.parametrize("words", [["--endpoint", "ftp://somewhere"], ["--region"], ["--endpoint", "https://{x}.y"]])
def test_what_cannot_be_used_on_the_command_line_is_exit_code_2(bare: Clinic, words: list[str]) -> None:
    """And nothing is looked at."""
    done = CliRunner().invoke(whole_command(), ["doctor", *words], env=bare.variables())
    assert (done.exit_code, done.stdout) == (2, "")


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_no_secret_is_told(bare: Clinic) -> None:
    """Whatever variable it stands in, by right or by mistake, and whatever is wrong around it."""
    secrets = {f"planted-{number:02d}-secret" for number in range(40)}
    fresh = iter(sorted(secrets))
    variables = {
        name: f"{next(fresh)}!"
        for name in (
            *("MODE", "SETTLE_SECONDS", "QUOTA_SECONDS", "CLOCK_SKEW_SECONDS", "WARN_SECONDS", "STUCK_SECONDS"),
            *("CHANGE_WINDOW", "DRIFT_REPAIR", "EVENT_SUBJECT", "HEAD_KEY", "VPC_ENDPOINT", "ECR_ENDPOINT"),
            *("COMPLETIONS_TOPIC", "APPROVALS_QUEUE", "WAKES_QUEUE", "ASSOCIATIONS_QUEUE", "HEAD_KEYS", "LEDGER_URLS"),
        )
    }
    password = next(fresh)
    external = [f"ecr-grants:demo:{uid}" for uid in (HUB, SPOKE)]
    encoded = base64.b64encode(next(fresh).encode()).decode()
    for more in (
        {"LEDGER_URL": f"postgresql+psycopg://{next(fresh)}:{password}@127.0.0.1:9/ledger?password={next(fresh)}"},
        {"LEDGER_URL": f"{next(fresh)} is no address"},
        {"MNS_ENDPOINT": f"https://user:{next(fresh)}@127.0.0.1", "STS_ENDPOINT": bare.cloud.url},
        {"ALIBABA_CLOUD_SECURITY_TOKEN": next(fresh), "HEAD_KEY": encoded},
    ):
        _, told = bare.look(DEPLOYER, **variables | more)
        text = json.dumps(told)
        planted = [*secrets, *external, encoded, DEPLOYER.secret]
        assert [secret for secret in planted if secret in text] == []
        assert by_name(told)["settings", "MODE"]["verdict"] == "wrong"
    assert "DRIFT_REPAIR" in text


# -- secrets by name ---------------------------------------------------------------------------------------------------


def test_a_ledger_whose_password_has_a_name_is_reached_by_who_may_read_it(bare: Clinic, server: Postgres) -> None:
    """The secret is read and never told; whoever may not read it is told so, and that the functions have to."""
    address = server.address(server.new_database())
    ledger = Ledger(address)
    upgrade_schema(ledger)
    ledger.close()
    bare.cloud.admin.put_secret(HUB, "ecr-grants/ledger", PASSWORD)
    named = {"LEDGER_URL": address.replace(f":{PASSWORD}@", "@"), "LEDGER_SECRET": "ecr-grants/ledger"}
    found = bare.findings(DEPLOYER, **named)
    assert {found[check.value, "ledger"]["verdict"] for check in RECORD[:4]} == {"ok"}
    assert found["secrets", "LEDGER_SECRET"]["verdict"] == "ok"
    assert PASSWORD not in json.dumps(list(found.values()))
    others_see = bare.findings(OPERATOR, **named)
    assert {others_see[check.value, "ledger"]["verdict"] for check in RECORD[:4]} == {"unknown"}
    assert others_see["secrets", "LEDGER_SECRET"]["verdict"] == "unknown"
    assert "kms:GetSecretValue" in others_see["secrets", "LEDGER_SECRET"]["text"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("ecr-grants/nothing", "ecr-grants/nothing"), ("ecr-grants/ledger", "must be the Base64 of a 32-byte")],
    ids=["there is no such secret", "it is no key"],
)
def test_a_name_of_a_secret_that_leads_nowhere_is_wrong(bare: Clinic, name: str, words: str) -> None:
    """Whatever the secret holds, it is not told."""
    bare.cloud.admin.put_secret(HUB, "ecr-grants/ledger", PASSWORD)
    found = bare.findings(HEAD_KEY_SECRET=name)
    one = found["secrets", "HEAD_KEY_SECRET"]
    assert (one["verdict"], words in json.dumps(one), bool(one["do"])) == ("wrong", True, True), one
    assert PASSWORD not in json.dumps(list(found.values()))
