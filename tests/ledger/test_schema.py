"""The schema and the counter's commands for the ledger: from nothing, again, from the future; and no secret in what they say."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from cli.main import app
from shared.errors import LedgerError
from shared.ledger.admission import admit
from shared.ledger.heads import head_of
from shared.ledger.schema import CODE, REVISIONS, check_code, check_schema, upgrade_schema
from shared.ledger.tables import accepts, events, metadata, outbox
from shared.ledger.transactions import Ledger
from tests.ledger.crowd import Crowd
from tests.ledger.kit import NOW, Database, opening
from tests.ledger.postgres import PASSWORD, Postgres

ROOT = Path(__file__).parents[2]
REVISION = REVISIONS[-1]


def ecr_grants(*arguments: str, url: str | None = None) -> Result:
    """A command of the counter, as a person types it."""
    return CliRunner().invoke(app, arguments, env={} if url is None else {"LEDGER_URL": url})


@pytest.fixture
def made(empty: Database) -> Iterator[Ledger]:
    """A ledger object on a database without tables."""
    ledger = Ledger(empty.url)
    yield ledger
    ledger.close()


def tables(database: Database) -> list[str]:
    """The tables that are there."""
    with database.connected() as connection:
        return sorted(sql.inspect(connection).get_table_names())


def test_tables_are_made_from_nothing(made: Ledger, empty: Database) -> None:
    """One call makes every table, exactly as the code speaks of them, and the check agrees."""
    assert upgrade_schema(made) == REVISION

    assert check_schema(made) == REVISION
    assert tables(empty) == sorted([*metadata.tables, "alembic_version"])
    with empty.connected() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_check_knows_the_revisions_that_there_are() -> None:
    """It does without the tool that makes them."""
    scripts = ScriptDirectory(str(ROOT / "shared" / "ledger" / "migrations"))
    made = [script.revision for script in scripts.walk_revisions()]
    assert made[::-1] == list(REVISIONS)


def test_an_upgrade_may_be_repeated(made: Ledger) -> None:
    """What is up to date stays as it is, with everything in it."""
    upgrade_schema(made)
    made.write(admit, opening(), "message-1", NOW, made.timing)

    assert upgrade_schema(made) == REVISION
    assert made.read(head_of, NOW).seq == 1


def test_nothing_works_before_the_tables_are_there(made: Ledger) -> None:
    """The check says what to do."""
    with pytest.raises(LedgerError, match="no tables yet: run `ecr-grants ledger upgrade`"):
        check_schema(made)


def test_a_schema_from_the_future_is_refused(made: Ledger, empty: Database) -> None:
    """Neither the check nor an upgrade touches what newer code made; both say to deploy newer code."""
    upgrade_schema(made)
    with empty.connected() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    for refuses in (check_schema, upgrade_schema):
        with pytest.raises(LedgerError, match=r"9999.*newer than this code"):
            refuses(made)


def test_a_schema_of_before_the_first_release_is_refused(made: Ledger, empty: Database) -> None:
    """It is neither used nor brought up to date, and nobody is told that it comes from the future."""
    upgrade_schema(made)
    with empty.connected() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")

    for refuses in (check_schema, upgrade_schema):
        with pytest.raises(LedgerError, match=r"revision 0001, of before the first release: start a new one"):
            refuses(made)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        pytest.param(2, "this is 2: deploy newer code", id="below the oldest: it would work by rules that are gone"),
        pytest.param(3, None, id="the oldest"),
        pytest.param(4, None, id="inside: it stands beside the others while one replaces another"),
        pytest.param(5, None, id="the newest"),
        pytest.param(6, "this is 6: run `ecr-grants ledger upgrade`, or deploy older code", id="above the newest"),
    ],
)
def test_the_ledger_names_the_code_that_it_accepts(
    ledger: Ledger, database: Database, code: int, says: str | None
) -> None:
    """From the oldest to the newest revision, whichever version of the schema this code was written for."""
    with database.connected() as connection:
        connection.execute(accepts.update().values(oldest=3, newest=5))
    try:
        if says is None:
            check_code(ledger, code)
        else:
            with pytest.raises(LedgerError, match=f"accepts code of revision 3 to 5, {says}"):
                check_code(ledger, code)
    finally:
        with database.connected() as connection:
            connection.execute(accepts.update().values(oldest=CODE, newest=CODE))


def test_asking_whether_this_code_is_accepted_costs_one_statement(ledger: Ledger) -> None:
    """It is asked at every event; a fresh ledger accepts the code that made it."""
    asked: list[str] = []
    check_code(ledger)
    sql.event.listen(ledger.engine, "before_cursor_execute", lambda _c, _k, statement, *_: asked.append(str(statement)))
    check_code(ledger)

    assert len([one for one in asked if one != "BEGIN"]) == 1


def test_a_ledger_that_accepts_nobody_is_refused(made: Ledger, empty: Database) -> None:
    """Rather than taken for one that accepts everybody."""
    upgrade_schema(made)
    with empty.connected() as connection:
        connection.execute(accepts.delete())

    with pytest.raises(LedgerError, match="names no revision of the code"):
        check_schema(made)


def test_an_upgrade_that_is_cut_off_leaves_nothing(made: Ledger, empty: Database) -> None:
    """Tables come all together or not at all, and the next upgrade makes them."""

    class Failure(Exception):
        pass

    statements = 0

    def fail(*_: object) -> None:
        nonlocal statements
        statements += 1
        if statements == 12:
            raise Failure

    cut = Ledger(empty.url)
    sql.event.listen(cut.engine, "before_cursor_execute", fail)
    with pytest.raises(Failure):
        upgrade_schema(cut)
    cut.close()

    assert tables(empty) == []
    assert upgrade_schema(made) == REVISION


def upgrade(ledger: Ledger, number: int) -> str:
    """Bring the schema up to date, as everybody does at this moment."""
    return upgrade_schema(ledger)


def test_everybody_may_upgrade_at_once(crowd: Crowd, empty: Database) -> None:
    """A pipeline that runs twice does not stumble over itself: one makes the tables, the others find them."""
    assert crowd.at_once(empty.url, upgrade) == [REVISION] * crowd.size


# -- the counter -------------------------------------------------------------------------------------------------------


def test_upgrade_and_check_as_people_run_them(empty: Database) -> None:
    """Refused before, made by ``python -m cli ledger upgrade`` in a process of its own, found as wanted."""
    before = ecr_grants("ledger", "check", url=empty.url)
    ran = subprocess.run(
        [sys.executable, "-m", "cli", "ledger", "upgrade"],
        cwd=ROOT,
        env={**os.environ, "LEDGER_URL": empty.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    after = ecr_grants("ledger", "check", "--json", url=empty.url)

    assert before.exit_code == 1
    assert before.output.startswith("ecr-grants: the ledger has no tables yet: run `ecr-grants ledger upgrade` (")
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, f"the ledger is at revision {REVISION}", "")
    assert json.loads(after.output) == {"revision": REVISION}
    assert PASSWORD not in before.output + after.output


def test_a_schema_from_the_future_is_told_in_one_line(made: Ledger, empty: Database) -> None:
    """By every command, with exit code 1."""
    upgrade_schema(made)
    with empty.connected() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    for words in (["ledger", "check"], ["ledger", "upgrade"], ["ledger", "verify"], ["grants"], ["mode"]):
        ran = ecr_grants(*words, url=empty.url)
        assert (ran.exit_code, len(ran.output.strip().splitlines())) == (1, 1), (words, ran.output, ran.exception)
        assert "newer than this code" in ran.output


KEY = Ed25519PrivateKey.generate()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()


@pytest.fixture
def heads(ledger: Ledger, tmp_path: Path) -> Path:
    """Ten events, and the heads of some of them as reconcile logs them, between other lines."""
    path = tmp_path / "heads.jsonl"
    lines = ['{"event": "reconcile.done", "grants": 0}']
    for number in range(10):
        ledger.write(admit, opening(f"REQ-{number}"), f"message-{number}", NOW, ledger.timing)
        if number in (3, 9):
            lines.append(json.dumps({"event": "ledger.head"} | json.loads(ledger.read(head_of, NOW).sign(KEY).line())))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_verify_says_that_a_record_is_intact(database: Database, heads: Path) -> None:
    """With how much was read and how many heads agreed."""
    ran = ecr_grants("ledger", "verify", "--heads", str(heads), "--key", PUBLIC, url=database.url)
    assert (ran.exit_code, ran.output.strip()) == (0, "intact: 10 events, 2 signed heads agree")

    as_json = ecr_grants("ledger", "verify", "--heads", str(heads), "--key", PUBLIC, "--json", url=database.url)
    assert json.loads(as_json.output) == {"intact": True, "events": 10, "heads": 2}


def test_verify_names_what_is_wrong(database: Database, heads: Path) -> None:
    """Exit code 1 and the sentence of the ledger."""
    with database.connected() as connection:
        connection.execute(outbox.delete())
        connection.execute(events.delete().where(events.c.seq == 6))

    ran = ecr_grants("ledger", "verify", "--heads", str(heads), "--key", PUBLIC, url=database.url)
    assert (ran.exit_code, ran.output.strip()) == (1, "NOT INTACT: event 6 is missing (found 7 in its place)")
    as_json = ecr_grants("ledger", "verify", "--json", url=database.url)
    assert as_json.exit_code == 1
    assert json.loads(as_json.output) == {"intact": False, "fault": "event 6 is missing (found 7 in its place)"}


def test_verify_wants_a_key_for_heads(database: Database, heads: Path) -> None:
    """A head proves nothing without its signature; and a wrong key's verdict names the head."""
    without = ecr_grants("ledger", "verify", "--heads", str(heads), url=database.url)
    assert (without.exit_code, "--heads needs --key" in without.output) == (2, True)

    other = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    wrong = ecr_grants("ledger", "verify", "--heads", str(heads), "--key", other, url=database.url)
    assert (wrong.exit_code, wrong.output.strip()) == (1, "NOT INTACT: the head of event 4 is not signed by this key")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("no JSON", "holds no head", id="no JSON"),
        pytest.param('{"seq": 3}', "holds no head", id="a field is missing"),
        pytest.param(
            '{"seq": "x", "hash": "", "at": 1, "signature": ""}', "line 2 is not a whole head", id="no number"
        ),
    ],
)
def test_a_heads_file_that_is_none_is_refused(database: Database, tmp_path: Path, content: str, says: str) -> None:
    """Naming the line where there is one, so that nobody believes in heads that were never read."""
    path = tmp_path / "heads.jsonl"
    path.write_text('{"event": "reconcile.done"}\n' + content + "\n")

    ran = ecr_grants("ledger", "verify", "--heads", str(path), "--key", PUBLIC, url=database.url)
    assert (ran.exit_code, says in ran.output) == (2, True)


@pytest.mark.parametrize("words", ["ledger upgrade", "ledger check", "ledger verify", "mode", "grants", "dead list"])
@pytest.mark.parametrize("trouble", ["wrong password", "nobody there", "no address", "no driver"])
def test_no_command_says_the_password(postgres: Postgres, words: str, trouble: str) -> None:
    """Whatever is wrong: one line, and not the password, nor an address that holds it. Exit code 2 where it is no address."""
    url = {
        "wrong password": postgres.address("postgres", password="hush-hush"),
        "nobody there": "postgresql+psycopg://ecr:hush-hush@127.0.0.1:1/ledger",
        "no address": "ecr:hush-hush@127.0.0.1",
        "no driver": "postgresql+pg8000://ecr:hush-hush@127.0.0.1:1/ledger",
    }[trouble]

    for arguments, given in (([], url), (["--ledger-url", url], None)):
        ran = ecr_grants(*words.split(), *arguments, url=given)
        assert "hush" not in ran.output
        code = 2 if trouble in ("no address", "no driver") else 1
        assert (ran.exit_code, len(ran.output.strip().splitlines())) == (code, 1), (ran.output, ran.exception)
        assert isinstance(ran.exception, SystemExit)
        if code == 1:  # where it was looked for, and why not
            place = (
                "at 127.0.0.1, port 1, database ledger" if trouble == "nobody there" else "port 5432, database postgres"
            )
            reason = "refused" if trouble == "nobody there" else "password authentication failed"
            assert place in ran.output
            assert reason in ran.output
