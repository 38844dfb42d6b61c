"""The commands over the desk's API: sign in, ask, list, show, decide, withdraw; and what they say when it does not work."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import requests

from shared.messages.consent import Wish
from tests.functional.desked import Browser, Desked, decided, desked, wish
from tests.functional.launch import clean_environment, run, typed
from tests.functional.test_documents import commands
from tests.functional.world import HUB_ECR, ROOT


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desked]:
    """One for all of them."""
    with desked(tmp_path_factory.mktemp("desk")) as made:
        yield made


@pytest.fixture(scope="module")
def home(desk: Desked, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where somebody's tokens are kept; each signs in once, by the command."""
    folder = tmp_path_factory.mktemp("homes")
    return cache(lambda person: signed_in(desk, folder / person, person))


def told(desk: Desked, home: Path, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command as somebody whose tokens are kept there, in a process of its own."""
    return run("cli", *command, stdin=stdin, DESK_ADDRESS=desk.address, XDG_STATE_HOME=str(home))


def told_here(desk: Desked, home: Path, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The same in this very process."""
    return typed(*command, stdin=stdin, DESK_ADDRESS=desk.address, XDG_STATE_HOME=str(home))


def signed_in(desk: Desked, home: Path, person: str) -> Path:
    """Sign in with the command, by the page that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "login", "--no-browser"],
        cwd=ROOT,
        env=clean_environment(DESK_ADDRESS=desk.address, XDG_STATE_HOME=str(home)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    address = process.stderr.readline().rpartition(" ")[2].strip()
    browser = Browser(desk.address)
    page = browser.get(address).headers["Location"]
    back = requests.post(page, data={"person": person}, allow_redirects=False, timeout=30).headers["Location"]
    assert requests.get(browser.get(back).headers["Location"], timeout=30).status_code == 200
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, person in out) == (0, True)
    (kept,) = home.rglob("token.json")
    assert kept.stat().st_mode & 0o077 == 0
    return home


def test_from_signing_in_to_the_lease(desk: Desked, home: Callable[[str], Path]) -> None:
    """As two people do it, each with their own tokens."""
    asking, deciding = home("requester"), home("owner")
    asked = told(desk, asking, "ask", "-", stdin=json.dumps(wish(301)))
    assert asked.returncode == 0, asked.stderr
    request_id = asked.stdout.split()[0]
    assert "a yes is wanted for: grant" in asked.stdout
    again = told_here(desk, asking, "ask", "-", "--json", stdin=json.dumps(wish(301)))
    assert request_id in again.stdout or json.loads(again.stdout)["said"]
    early = told_here(desk, deciding, "decide", request_id, "grant", "yes")
    assert (early.returncode, "preflight has not looked yet" in early.stderr) == (1, True)
    desk.look(request_id)
    shown = told_here(desk, deciding, "request", request_id)
    assert re.search(r"round 1, snapshot [0-9a-f]{64}", shown.stdout)
    agreed = told_here(desk, deciding, "decide", request_id, "grant", "yes", "--reason", "It is ours to give")
    assert agreed.returncode == 0, agreed.stderr
    assert "recorded: yes for the grant side" in agreed.stdout
    waited = told_here(desk, asking, "request", request_id, "--wait", "0")
    assert (waited.returncode, "yes by owner for the grant side" in waited.stderr) == (1, True)
    assert f"{request_id} is still open after 0 s" in waited.stderr
    desk.hear()
    ended = told_here(desk, asking, "request", request_id, "--wait", "60")
    assert (ended.returncode, "was approved" in ended.stdout) == (0, True)
    for form in ("table", "csv", "json"):
        listed = told_here(desk, asking, "requests", "--stage", "approved", "-o", form)
        assert (listed.returncode, request_id in listed.stdout) == (0, True)


def test_a_batch_from_asking_to_extending_and_ending(desk: Desked, home: Callable[[str], Path]) -> None:
    """Two are asked together and decided in one go but for one; what was opened is extended, looked at again, and revoked."""
    asking, deciding = home("requester"), home("owner")
    asked = told_here(desk, asking, "ask", "-", "--json", stdin=json.dumps([wish(311), wish(312), wish(313)]))
    requests_ = json.loads(asked.stdout)["requests"]
    first, second, third = (one["request_id"] for one in requests_)
    for request_id in (first, second, third):
        desk.look(request_id)
    agreed = told_here(desk, deciding, "decide", requests_[0]["batch"], "grant", "yes", "--without", third)
    assert agreed.returncode == 0, agreed.stderr
    assert "recorded for 2 of 2 requests" in agreed.stdout
    assert len(desk.hear()) == 2
    in_a_week = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 7 * 86_400))
    longer = told_here(desk, asking, "extend", first, in_a_week, "It takes longer", "--json")
    assert longer.returncode == 0, longer.stderr
    (change,) = json.loads(longer.stdout)["requests"]
    assert (change["wish"]["kind"], change["wish"]["replaces"]) == ("change", [first])
    assert "preflight is told" in told_here(desk, asking, "look-again", change["request_id"]).stdout
    ended = told_here(desk, deciding, "revoke", second, "It is not needed any more")
    assert "nobody else has to agree" in ended.stdout, ended.stderr
    none = told_here(desk, deciding, "review", second, "in-order", "All was well")
    assert (none.returncode, "waits for no review" in none.stderr) == (1, True)


def test_commands_do_what_the_document_says(desk: Desked, home: Callable[[str], Path], tmp_path: Path) -> None:
    """Each as whoever would type it, on the wish that the document shows."""
    path = ROOT / "docs" / "desk.md"
    (shown,) = re.findall(r"```json\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
    instance = json.loads(shown)["instance"]
    assert set(json.loads(shown)) <= set(Wish.model_fields)
    one = wish(321) | {name: json.loads(shown)[name] for name in ("on_end", "reason", "ticket", "allowed_prefixes")}
    (tmp_path / "wish.json").write_text(json.dumps(one), "utf-8")
    assert instance.keys() == one["instance"].keys()
    people = {name: home(name) for name in ("requester", "owner", "router-owner")}
    batch = [wish(322, ends_at=None), wish(323, ends_at=None)]
    several = json.loads(told_here(desk, people["requester"], "ask", "-", "--json", stdin=json.dumps(batch)).stdout)[
        "requests"
    ]
    for each in several:
        desk.look(each["request_id"])
    urgent = wish(324, emergency=True, ends_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600)))
    (line,) = told_here(desk, people["requester"], "ask", "-", stdin=json.dumps(urgent)).stdout.splitlines()
    desk.look(line.split()[0])
    assert told_here(desk, people["router-owner"], "decide", line.split()[0], "associate", "yes").returncode == 0
    desk.hear()
    filled = {"b-…": several[0]["batch"], "--without r-…": f"--without {several[1]['request_id']}"}
    filled["review r-…"] = f"review {line.split()[0]}"
    filled["ecr-7vrbqv9lcgvzqbwwkm"] = HUB_ECR
    listed = json.loads(told_here(desk, people["owner"], "leases", "-o", "json").stdout)
    filled["g-…"] = listed[0]["grant_id"]
    lists = dict.fromkeys(("leases", "exposed", "history", "show"), "owner")
    operates = dict.fromkeys(("operate", "operations"), "router-owner")
    who = {"decide b-": "router-owner", "decide r-": "owner", "review": "owner", **lists, **operates}
    decided(desk.ledger, desk.stage, groups={"operators": ["router-owner"]})
    for command in commands(path):
        text = command.text.removeprefix("ecr-grants ")
        if text == "login":
            continue  # that is how each of them signed in
        person = next((name for words, name in who.items() if text.startswith(words)), "requester")
        for written, meant in filled.items():
            text = text.replace(written, meant)
        words = [str(tmp_path / word) if word == "wish.json" else word for word in shlex.split(text)]
        words += ["--wait", "0"] if "--reason" in words and words[0] == "operate" else []  # nobody carries it out here
        done = told_here(desk, people[person], *words, stdin="y\n")
        assert done.returncode == 0, f"desk.md:{command.line}: {text}\n{done.stdout}\n{done.stderr}"
        if words[0] == "ask" and "--check" not in words:
            filled["r-…"] = done.stdout.split()[0]
            desk.look(filled["r-…"])


def test_what_could_be_asked_is_checked_and_nothing_is_asked(desk: Desked, home: Callable[[str], Path]) -> None:
    """Each by itself, with whose yes it takes; a no is exit code 1."""
    asking = home("owner")
    before = json.loads(told_here(desk, asking, "requests", "-o", "json").stdout)
    fine = told_here(desk, asking, "ask", "--check", "-", stdin=json.dumps(wish(341)))
    assert fine.returncode == 0, fine.stderr
    assert "vpc-desk341  can be asked; a yes is wanted for: grant (second-owner)" in fine.stdout
    assert "10.20.0.0/16: 65536 addresses" in fine.stdout
    both = [wish(342), wish(343, allowed_prefixes=["192.168.0.0/16"])]
    wrong = told_here(desk, asking, "ask", "--check", "-", stdin=json.dumps(both))
    assert wrong.returncode == 1
    assert "vpc-desk342  can be asked" in wrong.stdout
    assert "vpc-desk343  cannot be asked: " in wrong.stdout
    assert "1 of 2 cannot be asked; nothing was asked" in wrong.stderr
    assert json.loads(told_here(desk, asking, "requests", "-o", "json").stdout) == before


def test_what_goes_wrong_is_one_line(desk: Desked, home: Callable[[str], Path], tmp_path: Path) -> None:
    """Nobody is signed in, a word that is none, a file that is none, a request that is not there, a desk that is not."""
    mine = home("requester")
    for command, code, why in (
        (("request", "r-" + "0" * 20), 1, "that you may see"),
        (("decide", "r-1", "grant", "maybe"), 2, "must be yes or no"),
        (("ask", str(tmp_path / "none.json")), 2, "cannot be read as JSON"),
        (("requests", "-o", "xml"), 2, "must be table, json or csv"),
        (("request", "../me"), 2, "must be letters, digits and -"),
        (("requests", "--desk", "http://127.0.0.1:1"), 2, "nobody is signed in at"),
    ):
        found = told_here(desk, mine, *command)
        assert (found.returncode, why in found.stderr) == (code, True), found.stderr
        assert found.stderr.count("\n") == 1
    nobody = told(desk, tmp_path / "nobody", "requests")
    assert (nobody.returncode, "run `ecr-grants login`" in nobody.stderr) == (2, True)


def test_what_was_asked_is_withdrawn(desk: Desked, home: Callable[[str], Path]) -> None:
    """By whoever asked."""
    mine = home("requester")
    asked = told_here(desk, mine, "ask", "-", "--json", stdin=json.dumps([wish(310), wish(311)]))
    first, second = (one["request_id"] for one in json.loads(asked.stdout)["requests"])
    assert f"{first} is withdrawn" in told_here(desk, mine, "withdraw", first, "--reason", "Not needed").stdout
    assert json.loads(told_here(desk, mine, "request", second, "--json").stdout)["stage"] == "open"
