"""The counter by itself: its help, its exit codes, who types, and what the environment may and may not say."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.common import operator_name, reachable
from shared.errors import SettingsError
from shared.ledger.admission import admit
from shared.ledger.schema import upgrade_schema
from shared.ledger.transactions import Ledger, now_ms
from tests.command import whole_command
from tests.ledger.kit import grant_id, opening

GRANT = grant_id()


def typed(*arguments: str, **environment: str) -> Result:
    """What a person types."""
    return CliRunner().invoke(whole_command(), arguments, env={"LEDGER_URL": "", **environment})


def commands(group: object = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, by the words that call it."""
    group = group or whole_command()
    for name, one in getattr(group, "commands", {}).items():
        yield (*path, name)
        yield from commands(one, (*path, name))


@pytest.mark.parametrize("words", [(), *commands()], ids=" ".join)
def test_every_command_explains_itself(words: tuple[str, ...]) -> None:
    """A sentence, every option and argument with words of its own, and the exit codes; nothing is cut."""
    told = typed(*words, "--help")
    assert told.exit_code == 0
    assert "Exit codes: 0 fine; 1 what was asked is not so, or trouble" in told.output
    assert re.findall(r"\w\.\.\.(?! <)", told.output) == []
    lines = told.output.splitlines()
    bare = [line for line in lines if re.fullmatch(r"\s+--[a-z-]+( <\S+>| [A-Z]+)?", line)]
    assert [line for line in bare if not lines[lines.index(line) + 1].startswith(" " * 20)] == []


def test_the_version_is_told_with_the_ledgers() -> None:
    """Which code, and which tables it wants."""
    told = typed("--version")
    assert told.exit_code == 0
    assert re.fullmatch(r"ecr-grants \d+\.\d+\.\d+ \(ledger revision \w+\)\n", told.output)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        pytest.param(["nonsense"], 2, "No such command", id="no such command"),
        pytest.param(["mode", "faster"], 2, "faster", id="no such mode"),
        pytest.param(["ledger", "check"], 2, "LEDGER_URL", id="no ledger named"),
        pytest.param(["ledger", "check", "--ledger-url", "nonsense"], 2, "not a database address", id="no address"),
        pytest.param(["grants", "--ledger-url", "postgresql://h:x/y"], 2, "not a database address", id="no port"),
        pytest.param(["run", "reconcile", "--endpoint", "http://127.0.0.1:1"], 2, "no credentials", id="no keys"),
        pytest.param(["errors", "Brand.New"], 1, "unknown", id="a code that nobody knows"),
        pytest.param(["schemas", "--check", "--folder", "/nowhere"], 1, "not current", id="stale documents"),
        pytest.param(["schemas", "--folder", "/dev/null/x"], 2, "cannot be written", id="a folder that is none"),
        pytest.param(["grants", "--ledger-url", "sqlite:////nowhere/x.db"], 1, "/nowhere/x.db", id="a ledger away"),
    ],
)
def test_exit_codes_are_as_documented(monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, told: str) -> None:
    """1: not so, or trouble. 2: the command line, a setting or a file cannot be used. Never a traceback."""
    for name in ("LEDGER_URL", "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"):
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(whole_command(), words)
    assert done.exit_code == code, done.output
    assert told in done.output
    assert isinstance(done.exception, SystemExit)


def test_the_exit_codes_stand_in_the_documents() -> None:
    """Where operators look them up."""
    text = (Path(__file__).parents[2] / "docs" / "operating.md").read_text("utf-8")
    assert "## Exit codes" in text
    for code in ("`0`", "`1`", "`2`", "`130`"):
        assert code in text


def test_who_types_is_a_claim_or_the_systems_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said; else whom the operating system runs this for. LOGNAME and USER may say anything."""
    ours = pwd.getpwuid(os.getuid()).pw_name
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "ceo")
    assert operator_name(None) == ours
    assert operator_name(" night shift ") == "night shift"
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999)
    assert operator_name(None) == "uid 3999999"


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "ada\u202e", "x" * 201], ids=["none", "blank", "lines", "marks", "long"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """The record shall be readable."""
    with pytest.raises(SettingsError, match="visible letters"):
        operator_name(name)


@pytest.mark.parametrize(
    ("endpoint", "direct"),
    [
        pytest.param("http://127.0.0.1:8080", True, id="loopback"),
        pytest.param("http://[::1]:8080", True, id="loopback of IPv6"),
        pytest.param("localhost:8080", True, id="by name, without a scheme"),
        pytest.param("https://1.cn-hangzhou.fc.aliyuncs.com", False, id="the platform"),
        pytest.param("https://127.0.0.1.example.com", False, id="a name that looks like loopback"),
    ],
)
def test_only_loopback_goes_past_the_proxy(monkeypatch: pytest.MonkeyPatch, endpoint: str, direct: bool) -> None:
    """Elsewhere the proxy may be the only way out."""
    for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    reachable(endpoint, "--endpoint")
    assert [name in os.environ for name in ("HTTP_PROXY", "https_proxy", "ALL_PROXY")] == [not direct] * 3


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "ftp://x",
        "https://x:abc",
        "https://x:99999",
        "not an address",
        "http://[::1",
        "http://a/b?c",
        "x\x1b[2J",
        "u:p@host",
    ],
)
@pytest.mark.parametrize(
    "words", [["dead", "list", "--mns-endpoint"], ["run", "reconcile", "--endpoint"]], ids=" ".join
)
def test_what_is_no_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], endpoint: str
) -> None:
    """One line that names the option and shows what was found, and exit code 2."""
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    assert CliRunner().invoke(whole_command(), ["ledger", "upgrade"]).exit_code == 0
    done = CliRunner().invoke(whole_command(), [*words, endpoint])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output
    assert f"{words[-1]} " in done.output
    assert "\x1b" not in done.output


def test_help_needs_no_terminal_and_no_boxes() -> None:
    """What is piped to a file is plain text."""
    told = typed("dead", "list", "--help", COLUMNS="60")
    assert "\x1b" not in told.output
    assert "│" not in told.output


# -- what people type about a ledger -----------------------------------------------------------------------------------

UNREADABLE = b"\xff".decode("utf-8", "surrogateescape")
"""What a byte becomes that is no UTF-8 on a command line."""


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    """A ledger that knows one grant."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with closing(Ledger(url)) as ledger:
        upgrade_schema(ledger)
        ledger.write(admit, opening(), "message-1", now_ms(), ledger.timing)
    return url


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        pytest.param(["hold", "account", "12"], 2, "must be an account uid", id="a hold of no account"),
        pytest.param(["hold", "ecr", "ecr-7vrbqv9lcgVZ"], 2, "must be the id of a router", id="a hold of no router"),
        pytest.param(["hold", "ecr", f"ecr-{'x' * 90}"], 2, "it has 94 characters", id="a hold wider than its column"),
        pytest.param(["hold", "grant", "g-1"], 2, "must be the id of a grant", id="a hold of no grant's form"),
        pytest.param(
            ["hold", "grant", f"g-{0:024}"], 1, "no grant has that name", id="a hold of a grant that nobody has"
        ),
        pytest.param(["hold", "grant", GRANT], 0, "on hold for the grant", id="a hold of a grant"),
        pytest.param(["hold", "ecr", "ecr-nobodyhas"], 0, "it holds for what comes", id="a hold of a router to come"),
        pytest.param(
            ["hold", "ecr", "ecr-ledgertests", "--reason", "x" * 1001], 2, "1 to 1000", id="too long a reason"
        ),
        pytest.param(["hold", "ecr", "ecr-ledgertests", "--reason", "a\x1b[2J"], 2, "controls", id="a crafted reason"),
        pytest.param(["hold", "ecr", "ecr-ledgertests", "--reason", UNREADABLE], 2, "UTF-8", id="an unreadable reason"),
        pytest.param(["lift", "ecr", f"ecr-{UNREADABLE}"], 1, "is not on hold", id="a lift of what nobody can type"),
        pytest.param(["show", UNREADABLE], 1, "no grant has that name", id="showing what nobody can type"),
        pytest.param(["show", ""], 1, "no grant has that name", id="showing nothing"),
        pytest.param(["adopt", "--yes", UNREADABLE], 1, "no grant has that name", id="adopting what nobody can type"),
        pytest.param(
            ["adopt", f"g-{0:024}"], 1, "no grant has that name", id="adopting what nobody has: nothing is asked"
        ),
        pytest.param(["adopt", GRANT], 1, "nothing foreign is known", id="adopting where nothing is: nothing is asked"),
        pytest.param(["grants", "--state", "overdu"], 2, "overdue, dead, grant-missing", id="a misspelt state"),
        pytest.param(["grants", "--state", "under way"], 0, GRANT, id="a state"),
    ],
)
def test_what_cannot_be_so_is_said_before_anything_is_done(
    ledger_url: str, words: list[str], code: int, told: str
) -> None:
    """A misspelt name freezes nothing in silence, and is no fault of ours; nothing of what was typed is cut."""
    more = [] if "--reason" in words or words[0] != "hold" else ["--reason", "it is moved"]
    ran = typed(*words, *more, LEDGER_URL=ledger_url)
    assert ran.exit_code == code, ran.output
    assert isinstance(ran.exception, SystemExit | None), ran.exception
    assert told in ran.output
    held = typed("hold", "--json", LEDGER_URL=ledger_url).output
    assert (held == "[]\n") is (code != 0 or words[0] != "hold")


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full (Linux has one)")
def test_an_answer_that_cannot_be_written_is_one_line(ledger_url: str) -> None:
    """A full disk is no fault of ours; the exit code says that the answer is not there."""
    with FULL.open("w", encoding="utf-8") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "cli", "grants", "--ledger-url", ledger_url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (1, "ecr-grants: the answer cannot be written: No space left on device\n")
