"""Every command as the shipped operator: the user of examples/world.yaml, with its rights as they are, and with less."""

from __future__ import annotations

import copy
import csv
import io
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.functional.approvals import approval
from tests.functional.deployment import Deployment, Json, deployment
from tests.functional.launch import typed
from tests.functional.terminal import Terminal
from tests.functional.world import EXAMPLE, HUB, Key, Spoke, Stage

GRAVE = "ecr-approvals-dead"
CRAFTED = "\x1b[2J\x1b]0;owned\x07\u202e\u200b"
DENIED = {"kind": "error", "status": 403, "code": "Forbidden.RAM", "message": f"no {CRAFTED}", "times": None}
SHIPPED = Key("LTAI-example-shipped", "example-secret-of-the-shipped-operator")
"""An operator with the rights of examples/world.yaml and no others: the tests' own one may send batches."""

LACKING = {
    "peeks": ["mns:BatchPeekMessage"],
    "takes": ["mns:BatchReceiveMessage"],
    "counts": ["mns:GetQueueAttributes", "mns:Get*"],
    "invokes": ["fc:InvokeFunction"],
    "sends": ["mns:SendMessage"],
}
"""Operators that lack something, by what they cannot do."""


def key_of(name: str) -> Key:
    """The access key of one of them."""
    return Key(f"LTAI-example-no-{name}", f"example-secret-of-no-{name}")


@dataclass
class Counter:
    """The deployed functions, and whoever types."""

    cloud: Deployment
    spokes: Iterator[Spoke]

    def run(
        self, *words: str, key: Key = SHIPPED, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command as this operator types it, everything set."""
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": key.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": key.secret}
        where = {"MNS_ENDPOINT": self.cloud.url, "FC_ENDPOINT": self.cloud.url, "LEDGER_URL": self.cloud.ledger_url}
        return typed(*words, **(keys | where | dict(more or {})))

    def told(self, *words: str) -> Any:
        """What it says to programs."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """A deployment of its own, where dead things are these tests'."""
    stage = Stage()
    shipped = EXAMPLE["accounts"][HUB]["users"]["operator"]["policies"]
    users = stage.hub["users"]
    users["shipped"] = {"access_key": {"id": SHIPPED.id, "secret": SHIPPED.secret}, "policies": shipped}
    for name, actions in LACKING.items():
        policies = copy.deepcopy(shipped)
        for document in policies.values():
            for statement in document["Statement"]:
                statement["Action"] = [one for one in statement["Action"] if one not in actions]
            document["Statement"] = [one for one in document["Statement"] if one["Action"]]
        policies = {name: document for name, document in policies.items() if document["Statement"]}
        key = key_of(name)
        users[f"no-{name}"] = {"access_key": {"id": key.id, "secret": key.secret}, "policies": policies}
    spokes = [stage.new_spoke() for _ in range(6)]
    with deployment(stage, tmp_path_factory.mktemp("operator")) as cloud:
        yield Counter(cloud, iter(spokes))


def buried(counter: Counter, *bodies: Json | str) -> list[str]:
    """Messages where the platform puts what no function could take."""
    return counter.cloud.send(*bodies, queue=GRAVE)


def killed(counter: Counter) -> tuple[Json, int]:
    """A request that is dead, since a role lacks a right; what the cloud says about it is crafted."""
    spoke = next(counter.spokes)
    document = approval(spoke.uid, next(spoke.vpcs))
    operation = "GrantInstanceToExpressConnectRouter"
    fault = counter.cloud.admin.plan(service="ecr", operation=operation, account=spoke.uid, **DENIED)["number"]
    assert counter.cloud.settled(document)["event"] == "dead"
    return document, fault


def test_every_command_runs_as_the_shipped_operator(counter: Counter, tmp_path: Path) -> None:
    """One after the other, none refused; each with something to say."""
    spoke = next(counter.spokes)
    done = approval(spoke.uid, next(spoke.vpcs))
    counter.cloud.settled(done)
    document, fault = killed(counter)
    [letter] = buried(counter, {"schema": "nobody's"})
    [name] = [one["name"] for one in counter.told("dead", "list") if one["where"] == "ledger"]
    counter.cloud.admin.clear(fault)
    for words in (
        ["--version"],
        ["ledger", "upgrade"],
        ["ledger", "check"],
        ["ledger", "verify"],
        ["mode"],
        ["mode", "full", "--as", "operator-one"],
        ["grants"],
        ["grants", "--csv"],
        ["grants", "--json"],
        ["dead", "list"],
        ["dead", "show", name],
        ["dead", "show", letter],
        ["dead", "redrive", "--all", "--dry-run"],
        ["dead", "redrive", "--all"],
        ["errors", "PermissionMissing"],
        ["schemas", "--folder", str(tmp_path)],
        ["run", "reconcile"],
    ):
        ran = counter.run(*words)
        assert (ran.returncode, ran.stderr) == (0, ""), (words, ran.stdout, ran.stderr)
        assert ran.stdout or words[0] == "schemas", words
    nothing = counter.run("adopt", "g-nobody", "--yes")
    assert nothing.returncode == 1
    assert nothing.stderr == "ecr-grants: g-nobody: no grant has that name; see `ecr-grants grants`\n"
    counter.cloud.wait_for(
        lambda one: one["event"] == "done" and one.get("request", {}).get("request_id") == document["request_id"],
        "the redriven request is done",
    )
    assert counter.run("dead", "list").stdout == "nothing is dead\n"


def test_what_is_dead_names_request_instance_and_people(counter: Counter) -> None:
    """In the ledger and in the queue; what cannot be read says so; nothing that was crafted reaches the terminal."""
    document, fault = killed(counter)
    letter = approval(next(counter.spokes).uid, "vpc-crafted")
    crafted = letter | {"issuer": CRAFTED, "requested_by": f"requester{CRAFTED}", CRAFTED: 1}
    ids = [*buried(counter, letter), *buried(counter, json.dumps(crafted)), *buried(counter, CRAFTED)]
    ran = counter.run("dead", "list")
    assert ran.returncode == 0, ran.stderr
    assert [sign for sign in ("\x1b", "\x07", "\u202e", "\u200b") if sign in ran.stdout + ran.stderr] == []
    lines = ran.stdout.splitlines()
    named = f"asked for by {document['requested_by']}; approved by {', '.join(document['approved_by'])}"
    for one in (document, letter):
        assert f"    request {one['request_id']} of {one['issuer']}: {named}" in lines
        assert any(one["instance"]["id"] in line and one["instance"]["owner_uid"] in line for line in lines)
    assert "    names no request that could be read" in lines
    assert any("requester\\x1b[2J" in line for line in lines)
    assert all(any(line.startswith(f"{name}  DeadLetter") for line in lines) for name in ids)
    as_json = counter.run("dead", "list", "--json")
    assert as_json.stdout.isascii()
    people = [asked.get("requested_by") for one in json.loads(as_json.stdout) for asked in one["requests"]]
    assert f"requester{CRAFTED}" in people
    counter.cloud.admin.clear(fault)
    assert counter.run("dead", "redrive", "--all").returncode == 0


def test_without_the_queues_nothing_is_called_nothing(counter: Counter) -> None:
    """Whoever names no endpoint is told what was left out, in text and beside the JSON; it is no trouble."""
    ran = counter.run("dead", "list", more={"MNS_ENDPOINT": ""})
    assert ran.returncode == 0
    assert ran.stdout.splitlines() == [
        "nothing is dead in what was looked at",
        f"not looked at: {GRAVE}: neither --mns-endpoint nor MNS_ENDPOINT says where it is",
        "not looked at: ecr-grants-wakes-dead: neither --mns-endpoint nor MNS_ENDPOINT says where it is",
        "not looked at: ecr-associations-dead: neither --mns-endpoint nor MNS_ENDPOINT says where it is",
        "not looked at: ecr-asked-dead: neither --mns-endpoint nor MNS_ENDPOINT says where it is",
    ]
    as_json = counter.run("dead", "list", "--json", more={"MNS_ENDPOINT": ""})
    assert json.loads(as_json.stdout) == []
    assert len(as_json.stderr.splitlines()) == 4
    redriven = counter.run("dead", "redrive", "--all", more={"MNS_ENDPOINT": ""})
    assert redriven.stdout.splitlines()[0] == "nothing to redrive in what was looked at"
    missing = counter.run("dead", "show", "M-1", more={"MNS_ENDPOINT": ""})
    assert (missing.returncode, "not looked at: ecr-approvals-dead" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("name", "words", "lacks"),
    [
        ("peeks", ["dead", "list"], "mns:PeekMessage or mns:BatchPeekMessage on ecr-approvals-dead"),
        ("peeks", ["dead", "show", "M-1"], "mns:PeekMessage or mns:BatchPeekMessage on ecr-approvals-dead"),
        ("takes", ["dead", "redrive", "--all"], "mns:ReceiveMessage or mns:BatchReceiveMessage on ecr-approvals-dead"),
        ("counts", ["dead", "list"], "mns:GetQueueAttributes on ecr-approvals-dead"),
        ("invokes", ["run", "reconcile"], "ecr-grants-reconcile"),
    ],
    ids=["listing", "showing", "redriving", "counting", "invoking"],
)
def test_who_lacks_a_right_is_named(counter: Counter, name: str, words: list[str], lacks: str) -> None:
    """The operator, not "the function"; with the action and the place; exit code 1."""
    ran = counter.run(*words, key=key_of(name))
    assert ran.returncode == 1
    assert lacks in ran.stderr
    assert "the operator (whose access key this is)" in ran.stderr
    assert "the function may not" not in ran.stdout + ran.stderr
    assert "nothing is dead\n" not in ran.stdout


def test_what_could_not_be_sent_stays_where_it_is(counter: Counter) -> None:
    """Redriving without the right to send: nothing is lost, nothing is called redriven."""
    [letter] = buried(counter, "{rotten")
    ran = counter.run("dead", "redrive", letter, key=key_of("sends"))
    assert ran.returncode == 1
    assert "mns:SendMessage on ecr-approvals" in ran.stderr
    assert "redriven" not in ran.stdout
    assert [one["name"] for one in counter.told("dead", "list")] == [letter]
    assert [one["name"] for one in counter.told("dead", "redrive", letter)["redriven"]] == [letter]


def test_grants_are_whole_in_a_pipe_and_as_a_table(counter: Counter) -> None:
    """However narrow: every id stands there whole, in the text, in the CSV and in the JSON."""
    facts = counter.told("grants")
    assert facts
    text = counter.run("grants", more={"COLUMNS": "20"}).stdout
    rows = list(csv.DictReader(io.StringIO(counter.run("grants", "--csv", more={"COLUMNS": "20"}).stdout)))
    assert [row["grant_id"] for row in rows] == [one["grant_id"] for one in facts]
    for one, row in zip(facts, rows, strict=True):
        for field in ("grant_id", "instance_id", "instance_owner_uid", "ecr_id", "ecr_owner_uid"):
            assert row[field] == one[field]
            assert one[field] in text
    assert counter.run("grants", "--csv", "--json").returncode == 2
    terminal = Terminal([sys.executable, "-m", "cli", "grants"], 40, {"LEDGER_URL": counter.cloud.ledger_url})
    assert terminal.end() == 0
    assert terminal.lines == text.splitlines(), "a terminal wraps what is written whole"


@pytest.mark.parametrize(
    ("words", "more", "who"),
    [
        ([], {"LOGNAME": "ceo", "USER": "ceo"}, pwd.getpwuid(os.getuid()).pw_name),
        ([], {"ECR_GRANTS_USER": "operator-two"}, "operator-two"),
        (["--as", "operator-one"], {"ECR_GRANTS_USER": "operator-two"}, "operator-one"),
    ],
    ids=["the login name, whatever LOGNAME says", "the variable", "the option before the variable"],
)
def test_the_record_says_who_set_the_mode(counter: Counter, words: list[str], more: dict[str, str], who: str) -> None:
    """As claimed, else as the operating system has it."""
    assert counter.run("mode", "full", *words, more=more).returncode == 0
    [[body]] = counter.cloud.rows("SELECT body FROM events WHERE kind = 'mode-changed' ORDER BY seq DESC LIMIT 1")
    assert json.loads(body)["reason"]["text"].startswith(f"{who} set the mode")


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"])
def test_loopback_is_reached_behind_a_proxy(counter: Counter, name: str) -> None:
    """Nobody listens at the proxy, and nobody has to."""
    ran = counter.run("run", "reconcile", more={name: "http://127.0.0.1:9"})
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("compared ")
    assert counter.run("dead", "list", more={name: "http://127.0.0.1:9"}).returncode == 0
