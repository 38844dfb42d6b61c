"""Dead work, and the operator's commands for it: `ecr-grants dead list | show | redrive` as processes, over ledger and queues."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.functional.approvals import approval, wake
from tests.functional.deployment import OPERATOR, Deployment, Json, deployment
from tests.functional.launch import typed
from tests.functional.mailbox import as_sent
from tests.functional.waiting import until
from tests.functional.world import HUB, HUB_ECR, Spoke, Stage

GRAVE = "ecr-approvals-dead"
DENIED = {"kind": "error", "status": 403, "code": "NoPermission", "message": "You are not authorized.", "times": None}


@dataclass
class Desk:
    """The deployed functions, and an operator at a terminal."""

    cloud: Deployment
    spokes: Iterator[Spoke]

    def dead(self, *arguments: str, queues: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of the commands; without queues the operator does not say where they are."""
        more = {"MNS_ENDPOINT": self.cloud.url} if queues else {}
        keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": OPERATOR.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": OPERATOR.secret}
        return typed("dead", *arguments, LEDGER_URL=self.cloud.ledger_url, **keys, **more)

    def told(self, *arguments: str, queues: bool = True) -> Any:
        """What a command says to programs."""
        done = self.dead(*arguments, "--json", queues=queues)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def killed(self) -> tuple[Json, int]:
        """A request that is dead because account B's role lacks a permission, and the number of that trouble."""
        spoke = next(self.spokes)
        document = approval(spoke.uid, next(spoke.vpcs))
        operation = "GrantInstanceToExpressConnectRouter"
        fault = self.cloud.admin.plan(service="ecr", operation=operation, account=spoke.uid, **DENIED)["number"]
        assert self.cloud.settled(document)["event"] == "dead"
        return document, fault

    def bury(self, body: str, *, plain: bool = False) -> str:
        """Put a message where the platform puts what no function could take. Returns its id."""
        [message_id] = self.cloud.send(body, plain=plain, queue=GRAVE)
        return message_id

    def buried(self) -> list[str]:
        """The ids of what lies in the dead-letter queue, whether somebody is looking at it or not."""
        [found] = [
            queue
            for queue in self.cloud.admin.world()["mns"]["queues"]
            if (queue["account"], queue["name"]) == (HUB, GRAVE)
        ]
        return sorted(str(message["id"]) for message in found["messages"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Functions of their own: redriving everything must not touch other tests' work."""
    stage = Stage()
    spokes = [stage.new_spoke() for _ in range(12)]
    with deployment(stage, tmp_path_factory.mktemp("dead")) as cloud:
        yield Desk(cloud, iter(spokes))


def name_of(document: Json, listed: list[Json]) -> str:
    """The name under which a dead request's grant is listed."""
    uid = document["instance"]["owner_uid"]
    [name] = [str(one["name"]) for one in listed if f"in account {uid}" in one["text"]]
    return name


def test_where_nothing_is_dead_it_says_so(desk: Desk) -> None:
    """Nothing to see is no error."""
    assert desk.dead("list").stdout == "nothing is dead\n"
    again = desk.dead("redrive", "--all")
    assert (again.returncode, again.stdout) == (0, "nothing to redrive\n")


def test_a_dead_request_is_listed_shown_and_redriven_to_its_end(desk: Desk) -> None:
    """After the missing permission was given, redrive ends done; before, a dry run changed nothing; after, nothing is dead."""
    document, fault = desk.killed()
    listed = desk.told("list")
    name = name_of(document, listed)
    [one] = [each for each in listed if each["name"] == name]
    assert (one["where"], one["code"], one["waiting"]) == ("ledger", "PermissionMissing", 1)
    assert "expressconnectrouter:GrantInstance" in one["text"] or "GrantInstanceToExpressConnectRouter" in one["text"]
    lines = desk.dead("list").stdout.splitlines()
    assert lines[0].startswith(f"{name}  PermissionMissing  ledger  since ")
    assert lines[0].endswith(", 1 request waits")
    assert lines[1].strip() == one["text"]

    shown = desk.told("show", name)
    assert shown["who must act"] == "account B"
    assert shown["meaning_zh"] == "缺少权限"
    text = desk.dead("show", name).stdout
    assert "account B" in text
    assert document["instance"]["owner_uid"] in text

    before = desk.cloud.rows("SELECT * FROM sides ORDER BY grant_id, side")
    assert [each["name"] for each in desk.told("redrive", name, "--dry-run")["redriven"]] == [name]
    assert f"would redrive: {name}" in desk.dead("redrive", "--all", "--dry-run").stdout
    assert desk.cloud.rows("SELECT * FROM sides ORDER BY grant_id, side") == before
    assert desk.cloud.kinds(document) == ["admitted", "dead"]

    desk.cloud.admin.clear(fault)
    done = desk.dead("redrive", name)
    assert (done.returncode, done.stdout) == (0, f"redriven: {name} (ledger, PermissionMissing)\n")
    desk.cloud.wait_for(
        lambda one: one["event"] == "done" and one["request"]["request_id"] == document["request_id"], "it is done"
    )
    assert desk.cloud.associated(document) == [("ACTIVE", ("10.20.0.0/16",))]
    assert desk.cloud.kinds(document) == ["admitted", "dead", "redriven", "granted", "associated", "done"]

    again = desk.dead("redrive", name)
    assert again.returncode == 1
    assert again.stderr == f"ecr-grants: {name}: nothing dead has that name; see `ecr-grants dead list`\n"
    assert desk.dead("redrive", "--all").stdout == "nothing to redrive\n"


def test_what_is_redriven_too_early_is_dead_again_and_listed_again(desk: Desk) -> None:
    """Redriving does not hide that nothing was repaired; it can be done as often as one likes."""
    document, fault = desk.killed()
    name = name_of(document, desk.told("list"))
    for _ in range(2):
        assert desk.dead("redrive", name).returncode == 0
        until(lambda: desk.cloud.rows("SELECT 1 FROM sides WHERE dead_at IS NOT NULL"), "it is dead again")
    desk.cloud.admin.clear(fault)
    desk.dead("redrive", "--reason", "PermissionMissing")
    desk.cloud.wait_for(
        lambda one: one["event"] == "done" and one["request"]["request_id"] == document["request_id"], "it is done"
    )
    assert desk.cloud.calls(document, "CreateExpressConnectRouterAssociation") == 1


def test_only_what_is_dead_for_a_reason_is_chosen(desk: Desk) -> None:
    """--reason leaves everything else alone, in list and in redrive, in the ledger and in the queues."""
    document, fault = desk.killed()
    message_id = desk.bury("{rotten")
    name = name_of(document, desk.told("list"))
    assert [one["name"] for one in desk.told("list", "--reason", "DeadLetter")] == [message_id]
    assert [one["name"] for one in desk.told("list", "--reason", "PermissionMissing")] == [name]
    assert desk.told("redrive", "--reason", "Throttled")["redriven"] == []
    assert [one["name"] for one in desk.told("redrive", "--reason", "DeadLetter")["redriven"]] == [message_id]
    assert [one["name"] for one in desk.told("list")] == [name]
    desk.cloud.admin.clear(fault)
    desk.told("redrive", "--all")
    desk.cloud.wait_for(
        lambda one: one["event"] == "done" and one["request"]["request_id"] == document["request_id"], "it is done"
    )


def test_without_the_queues_the_timer_finds_what_was_redriven(desk: Desk) -> None:
    """Whoever has only the ledger's address can redrive too: the next tick wakes it."""
    document, fault = desk.killed()
    desk.cloud.admin.clear(fault)
    [one] = desk.told("redrive", "--all", queues=False)["redriven"]
    assert one["where"] == "ledger"
    desk.cloud.quiet()
    assert desk.cloud.kinds(document) == ["admitted", "dead"]  # nobody was woken
    desk.cloud.reconcile()
    desk.cloud.wait_for(
        lambda one: one["event"] == "done" and one["request"]["request_id"] == document["request_id"], "it is done"
    )


SEALED = "an approval sealed with self-service-1 that no function could take; the seal is not opened here"


def envelope(document: Json) -> str:
    """A message as a trigger parks it: the event around it, the body as it travelled."""
    body = base64.b64encode(as_sent(document).encode()).decode()
    data = {"requestId": "r", "messageId": "M-1", "messageBody": body}
    event = {"id": "M-1", "source": "acs:mns", "specversion": "1.0", "type": "mns:Queue:SendMessage", "data": data}
    return json.dumps([event])


def test_dead_letters_are_listed_without_being_hidden_and_redriven_as_they_were_sent(desk: Desk) -> None:
    """Bare, Base64 or in the platform's envelope: what was meant for the function reaches it, once, and the queue is empty."""
    spoke = next(desk.spokes)
    good = [approval(spoke.uid, next(spoke.vpcs)) for _ in range(3)]
    ids = [
        desk.bury(as_sent(good[0])),
        desk.bury(as_sent(good[1]), plain=True),
        desk.bury(envelope(good[2])),
        desk.bury("{rotten"),
    ]
    for _ in range(2):  # looking hides nothing
        listed = {one["name"]: one for one in desk.told("list")}
        assert sorted(listed) == sorted(ids)
    assert [listed[name]["text"] for name in ids[:3]] == [SEALED] * 3
    assert listed[ids[3]]["text"].startswith("unreadable: the message is not JSON")
    assert {one["where"] for one in listed.values()} == {GRAVE}
    assert desk.told("show", ids[0])["who must act"] == "operator"

    assert len(desk.told("redrive", "--all", "--dry-run")["redriven"]) == 4
    assert desk.buried() == sorted(ids)

    assert [one["name"] for one in desk.told("redrive", ids[1])["redriven"]] == [ids[1]]
    assert desk.buried() == sorted({*ids} - {ids[1]})
    assert desk.cloud.answer(good[1])["event"] == "done"

    def all_there() -> bool:
        return sorted(one["name"] for one in desk.told("list")) == sorted({*ids} - {ids[1]})

    until(all_there, "the others can be seen again")
    desk.told("redrive", "--all")
    assert desk.buried() == []
    for document in good:
        assert desk.cloud.answer(document)["event"] == "done"
        assert desk.cloud.granted(document, spoke) == [(HUB_ECR, HUB)]
    rejected = desk.cloud.wait_for(
        lambda one: one["event"] == "rejected" and "{rotten" in one["reason"]["text"], "the rotten one is rejected"
    )
    assert "not JSON" in rejected["reason"]["text"]
    assert desk.dead("redrive", "--all").stdout == "nothing to redrive\n"


def test_a_dead_letter_that_was_sent_twice_changes_nothing(desk: Desk) -> None:
    """Whoever is interrupted between sending and deleting redrives again: one grant, one outcome."""
    spoke = next(desk.spokes)
    document = approval(spoke.uid, next(spoke.vpcs))
    desk.cloud.settled(document)
    desk.bury(json.dumps(document))
    desk.told("redrive", "--all")
    desk.cloud.quiet()
    assert desk.cloud.calls(document, "GrantInstanceToExpressConnectRouter") == 1
    assert set(desk.cloud.kinds(document)) == {"admitted", "granted", "associated", "done"}


def test_more_than_one_batch_is_redriven(desk: Desk) -> None:
    """One call shows sixteen: the others are taken, and put back; all are shown, twice, and all are redriven."""
    desk.cloud.send(*[json.dumps(wake())] * 35, queue=GRAVE)
    for _ in range(2):
        assert len(desk.told("list")) == 35
    assert len(desk.told("redrive", "--all", "--dry-run")["redriven"]) == 35
    assert len(desk.told("redrive", "--reason", "DeadLetter")["redriven"]) == 35
    assert desk.buried() == []


def test_mistakes_are_told_in_one_line(desk: Desk) -> None:
    """Nothing named: 2, with the ways to say it. A queue that cannot be reached, a ledger that is none: 1."""
    unnamed = desk.dead("redrive")
    assert unnamed.returncode == 2
    assert "--all" in unnamed.stderr
    unknown = desk.dead("show", "g-nobody/grant")
    assert (unknown.returncode, len(unknown.stderr.strip().splitlines())) == (1, 1)
    keys = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI-example-nobody", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "example"}
    away = typed("dead", "list", LEDGER_URL=desk.cloud.ledger_url, MNS_ENDPOINT="http://127.0.0.1:1", **keys)
    assert (away.returncode, len(away.stderr.strip().splitlines())) == (1, 1)
    stranger = typed("dead", "list", LEDGER_URL=desk.cloud.ledger_url, MNS_ENDPOINT=desk.cloud.url, **keys)
    assert stranger.returncode == 1
    assert "InvalidAccessKeyId" in stranger.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param((), ["list", "show", "redrive"], id="dead"),
        pytest.param(("list",), ["--reason", "--json", "--mns-endpoint", "LEDGER_URL"], id="dead list"),
        pytest.param(("show",), ["--json", "MNS_ENDPOINT"], id="dead show"),
        pytest.param(("redrive",), ["--all", "--dry-run", "--reason", "Safe to repeat"], id="dead redrive"),
    ],
)
def test_help_says_what_can_be_done(command: tuple[str, ...], words: list[str]) -> None:
    """Every command explains itself."""
    done = typed("dead", *command, "--help", COLUMNS="200", TERM="dumb")
    assert done.returncode == 0
    for word in words:
        assert word in done.stdout
