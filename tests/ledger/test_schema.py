"""The schema and the counter's commands for the ledger: from nothing, again, from the future; and no secret in what they say."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import LedgerError
from shared.ledger.admission import admit
from shared.ledger.heads import head_of
from shared.ledger.revision import CODE, REVISION
from shared.ledger.schema import MIGRATIONS, Half, Schema, check_schema, upgrade_schema
from shared.ledger.tables import accepts, events, metadata, outbox
from shared.ledger.transactions import Ledger, queue_up
from tests.command import whole_command
from tests.ledger.crowd import Crowd
from tests.ledger.kit import NOW, Database, opening
from tests.ledger.postgres import PASSWORD, Postgres
from tests.upgrade.releases import CHANGE, NEXT, next_migrations

ROOT = Path(__file__).parents[2]
WHOLE = Schema(REVISION, CODE, CODE)
TOLD = f"the ledger is at revision {REVISION}, and accepts code of revision {CODE} to {CODE} (this is {CODE})"


def ecr_grants(*arguments: str, url: str | None = None) -> Result:
    """A command of the counter, as a person types it."""
    return CliRunner().invoke(whole_command(), arguments, env={} if url is None else {"LEDGER_URL": url})


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
    assert upgrade_schema(made) == WHOLE

    assert check_schema(made) == WHOLE
    assert tables(empty) == sorted([*metadata.tables, "alembic_version"])
    with empty.connected() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_each_revision_of_the_code_has_its_schema() -> None:
    """In order, without a gap, and this code's is the last. Which half is which is said by names."""
    scripts = [*ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
    assert [int(script.revision) for script in scripts] == list(range(2, CODE + 1))
    assert scripts[-1].revision == REVISION
    for script in scripts[1:]:
        assert callable(script.module.before), f"{script.revision} does not say what comes before its code"


def test_an_upgrade_may_be_repeated(made: Ledger) -> None:
    """What is up to date stays as it is, with everything in it."""
    upgrade_schema(made)
    made.write(admit, opening(), "message-1", NOW, made.timing)

    assert upgrade_schema(made) == WHOLE
    assert made.read(head_of, NOW).seq == 1


def test_nothing_works_before_the_tables_are_there(made: Ledger) -> None:
    """The check says what to do."""
    with pytest.raises(LedgerError, match="no tables yet: run `ecr-grants ledger upgrade`"):
        check_schema(made)


def become_of_the_future(database: Database) -> None:
    """Leave a ledger as code leaves it that is newer than ours, once nothing older runs."""
    with database.connected() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.execute(accepts.update().values(oldest=9999, newest=9999))


def test_a_schema_from_the_future_is_refused(made: Ledger, empty: Database) -> None:
    """Neither the check nor an upgrade, of whichever half, touches what newer code made; all say to deploy newer code."""
    upgrade_schema(made)
    become_of_the_future(empty)

    with pytest.raises(LedgerError, match=f"accepts code of revision 9999 to 9999, this is {CODE}: deploy newer code"):
        check_schema(made)
    for half in (None, *Half):
        with pytest.raises(LedgerError, match=r"9999.*newer than this code"):
            upgrade_schema(made, half)


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
        pytest.param(
            6, "this is 6: run `ecr-grants ledger upgrade` --before, or deploy older code", id="above the newest"
        ),
    ],
)
def test_the_ledger_names_the_code_that_it_accepts(database: Database, code: int, says: str | None) -> None:
    """From the oldest to the newest revision, whichever version of the schema this code was written for: at the start, and in
    every transaction that writes."""
    with database.connected() as connection:
        connection.execute(accepts.update().values(oldest=3, newest=5))
    ledger = Ledger(database.url, code=code)
    calls = (
        lambda: check_schema(ledger, code),
        lambda: ledger.write(admit, opening(), "message-1", NOW, ledger.timing),
    )
    try:
        for call in calls:
            if says is None:
                call()
            else:
                with pytest.raises(LedgerError, match=f"accepts code of revision 3 to 5, {says}"):
                    call()
        assert database.count(events) == (1 if says is None else 0)
    finally:
        ledger.close()
        with database.connected() as connection:
            connection.execute(accepts.update().values(oldest=CODE, newest=CODE))


def test_asking_whether_this_code_is_accepted_costs_no_round_trip(ledger: Ledger) -> None:
    """It is asked by every write, in the message that begins its transaction; SQLite is asked where it is."""
    asked: list[str] = []
    ledger.write(lambda _: None)
    sql.event.listen(ledger.engine, "before_cursor_execute", lambda _c, _k, statement, *_: asked.append(str(statement)))
    ledger.write(lambda _: None)

    one_message = ledger.engine.dialect.name == "postgresql"
    assert len(asked) == (1 if one_message else 2)
    assert asked[0].startswith("BEGIN")
    assert "accepts" in asked[-1]


def test_a_writer_that_waited_goes_by_what_the_ledger_accepts_then(ledger: Ledger, database: Database) -> None:
    """Old code that was just about to write when the ledger stopped accepting it writes nothing."""
    told: list[Exception] = []

    def write() -> None:
        try:
            ledger.write(admit, opening(), "message-1", NOW, ledger.timing)
        except LedgerError as error:
            told.append(error)

    thread = threading.Thread(target=write)
    newer = Ledger(database.url)
    with newer.transaction() as connection:
        queue_up(connection)
        thread.start()
        time.sleep(0.3)  # it waits for us by now; where it does not yet, the truth is the same
        connection.execute(accepts.update().values(oldest=CODE + 1, newest=CODE + 1))
    thread.join()
    newer.close()
    with database.connected() as connection:
        connection.execute(accepts.update().values(oldest=CODE, newest=CODE))
    assert "deploy newer code" in str(told)
    assert database.count(events) == 0


def test_a_ledger_that_accepts_nobody_is_refused(made: Ledger, empty: Database) -> None:
    """Rather than taken for one that accepts everybody."""
    upgrade_schema(made)
    with empty.connected() as connection:
        connection.execute(accepts.delete())

    for refuses in (check_schema, lambda ledger: ledger.write(lambda _: None)):
        with pytest.raises(LedgerError, match="names no revision of the code"):
            refuses(made)


# -- two halves --------------------------------------------------------------------------------------------------------


@pytest.fixture
def upgrade_next(made: Ledger, tmp_path: Path) -> Callable[[Half | None], Schema]:
    """An upgrade as the version after this one does it, on the ledger that is being made."""
    migrations = next_migrations(tmp_path)
    return lambda half: upgrade_schema(made, half, code=NEXT, migrations=migrations)


def test_a_new_ledger_gets_both_halves_at_once(upgrade_next: Callable[[Half | None], Schema]) -> None:
    """There is nobody who could mind."""
    assert upgrade_next(None) == Schema(f"{NEXT:04d}", NEXT, NEXT)


@pytest.mark.parametrize("half", Half)
def test_a_pipeline_may_say_its_half_on_a_new_ledger(upgrade_next: Callable[[Half | None], Schema], half: Half) -> None:
    """The first deployment is like every other."""
    assert upgrade_next(half) == Schema(f"{NEXT:04d}", NEXT, NEXT)


def test_a_ledger_in_use_is_not_changed_without_a_word(
    made: Ledger, upgrade_next: Callable[[Half | None], Schema]
) -> None:
    """What to do is said, in the order in which to do it."""
    before = upgrade_schema(made)
    with pytest.raises(
        LedgerError, match=rf"in use .*this code is {NEXT}.*--before, deploy, and once nothing older.*--after"
    ):
        upgrade_next(None)
    assert check_schema(made) == before


def test_before_and_after_have_both_versions_between_them(
    made: Ledger, upgrade_next: Callable[[Half | None], Schema]
) -> None:
    """After the first half both work, also from a cold start; after the second only the new one does. Each may be repeated."""
    first = upgrade_schema(made)
    assert first == Schema(REVISION, CODE, CODE)
    with pytest.raises(LedgerError, match=f"accepts code of revision {CODE} to {CODE}, this is {NEXT}"):
        check_schema(made, NEXT)

    for _ in range(2):
        assert upgrade_next(Half.BEFORE) == Schema(REVISION, CODE, NEXT)
    assert check_schema(made) == check_schema(made, NEXT)
    made.write(admit, opening("REQ-1"), "message-1", NOW, made.timing)
    assert upgrade_schema(made) == Schema(REVISION, CODE, NEXT), "the older code finds nothing to do"

    for _ in range(2):
        assert upgrade_next(Half.AFTER) == Schema(f"{NEXT:04d}", NEXT, NEXT)
    with pytest.raises(LedgerError, match=f"this is {CODE}: deploy newer code"):
        made.write(admit, opening("REQ-2"), "message-2", NOW, made.timing)
    assert made.read(head_of, NOW).seq == 1


def test_with_everything_stopped_after_alone_does_both(
    made: Ledger, upgrade_next: Callable[[Half | None], Schema]
) -> None:
    """Nothing older runs, so nothing has to be there before."""
    upgrade_schema(made)
    assert upgrade_next(Half.AFTER) == Schema(f"{NEXT:04d}", NEXT, NEXT)


def test_a_version_is_not_passed_over(made: Ledger, tmp_path: Path) -> None:
    """What the second change needs before it may rest on what the first leaves after it."""
    upgrade_schema(made)
    migrations = next_migrations(tmp_path)
    after, name = NEXT + 1, f"{NEXT + 1:04d}"
    later = (migrations / "versions" / CHANGE.name).read_text("utf-8")
    for number in (NEXT, CODE):  # the newer first: each is one more
        later = later.replace(f'"{number:04d}"', f'"{number + 1:04d}"')
    (migrations / "versions" / f"{name}_more.py").write_text(later.replace("made_by", "unmade_by"), "utf-8")

    with pytest.raises(LedgerError, match=f"more than one behind {name}: deploy the versions between"):
        upgrade_schema(made, Half.BEFORE, code=after, migrations=migrations)
    assert check_schema(made) == Schema(REVISION, CODE, CODE)
    assert upgrade_schema(made, Half.AFTER, code=after, migrations=migrations) == Schema(name, after, after)


def test_a_half_that_is_cut_off_leaves_the_ledger_as_it_was(made: Ledger, tmp_path: Path) -> None:
    """The range that it accepts included."""
    upgrade_schema(made)
    migrations = next_migrations(tmp_path)
    path = migrations / "versions" / CHANGE.name
    path.write_text(
        path.read_text("utf-8").replace("    op.add_column", '    op.execute("SELECT nonsense")\n    op.add_column')
    )

    with pytest.raises(LedgerError, match="nonsense"):
        upgrade_schema(made, Half.BEFORE, code=NEXT, migrations=migrations)
    assert check_schema(made) == Schema(REVISION, CODE, CODE)


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
    assert upgrade_schema(made) == WHOLE


def upgrade(ledger: Ledger, number: int) -> str:
    """Bring the schema up to date, as everybody does at this moment."""
    return upgrade_schema(ledger).revision


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
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, TOLD, "")
    assert json.loads(after.output) == {"revision": REVISION, "oldest": CODE, "newest": CODE, "code": CODE}
    assert PASSWORD not in before.output + after.output


def test_a_schema_from_the_future_is_told_in_one_line(made: Ledger, empty: Database) -> None:
    """By every command, with exit code 1."""
    upgrade_schema(made)
    become_of_the_future(empty)

    for words in (["ledger", "check"], ["ledger", "upgrade"], ["ledger", "verify"], ["grants"], ["mode"]):
        ran = ecr_grants(*words, url=empty.url)
        assert (ran.exit_code, len(ran.output.strip().splitlines())) == (1, 1), (words, ran.output, ran.exception)
        assert "deploy newer code" in ran.output


def test_both_halves_in_one_command_are_a_mistake(empty: Database) -> None:
    """There is a deployment between them."""
    ran = ecr_grants("ledger", "upgrade", "--before", "--after", url=empty.url)
    assert (ran.exit_code, "say one" in ran.output) == (2, True)
    assert tables(empty) == []


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
