"""The counter by itself: its help, its exit codes, who types, and what the environment may and may not say."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cli.common import operator_name, reachable
from cli.main import app
from shared.errors import SettingsError


def typed(*arguments: str, **environment: str) -> Result:
    """What a person types."""
    return CliRunner().invoke(app, arguments, env={"LEDGER_URL": "", **environment})


def commands(group: object = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, by the words that call it."""
    group = group or typer.main.get_command(app)
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
    done = CliRunner().invoke(app, words)
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
    assert CliRunner().invoke(app, ["ledger", "upgrade"]).exit_code == 0
    done = CliRunner().invoke(app, [*words, endpoint])
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1), done.output
    assert f"{words[-1]} " in done.output
    assert "\x1b" not in done.output


def test_help_needs_no_terminal_and_no_boxes() -> None:
    """What is piped to a file is plain text."""
    told = typed("dead", "list", "--help", COLUMNS="60")
    assert "\x1b" not in told.output
    assert "│" not in told.output
