"""A local cloud in a process of its own with the functions of ``s.yaml`` at work, and everything a referee can see of it.

What is deployed is ``s.yaml`` itself, or a copy in which only numbers were changed: a shorter timeout, so that a claim of a
worker that was killed runs out soon, and a second worker beside the first. The referee sees what any account could see
of the cloud (its journal, its world) and what the topic delivered. The ledger is asked only whether everything came to rest.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sql
import yaml
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import Message

from localcloud.client import AdminClient, AdminError
from shared.cloud.functions import Functions
from shared.cloud.keys import Keys
from shared.ledger.outbox import waiting_entries
from shared.ledger.tables import events
from shared.ledger.transactions import Ledger, now_ms
from shared.ledger.work import unsettled
from shared.messages.completion import EventKind
from tests.configured import sealed
from tests.functional.deployment import OPERATOR, WORK_QUEUES, configure
from tests.functional.launch import environment, launched, new_ledger, up
from tests.functional.mailbox import REQUESTER
from tests.functional.world import (
    ASSOCIATE_FUNCTION,
    GRANT_FUNCTION,
    HUB,
    RECONCILE_FUNCTION,
    REGION,
    ROOT,
    TESTER,
    Stage,
)

Json = dict[str, Any]

FUNCTIONS = (GRANT_FUNCTION, ASSOCIATE_FUNCTION, RECONCILE_FUNCTION)
# Writes to the network, by what they do to a grant.
MAKING = ("CreateExpressConnectRouterAssociation", "AttachExpressConnectRouterChildInstance")
UNMAKING = ("DeleteExpressConnectRouterAssociation", "DetachExpressConnectRouterChildInstance")
CHANGING = ("ModifyExpressConnectRouterAssociationAllowedPrefix",)
GRANTING = ("GrantInstanceToExpressConnectRouter",)
REVOKING = ("RevokeInstanceFromExpressConnectRouter",)
WRITES = (*GRANTING, *MAKING, *CHANGING, *UNMAKING, *REVOKING)
_FOR_EVER_MS = 10 * 366 * 86_400_000
_LOOK_SECONDS = (
    0.2  # each look costs the cloud a snapshot; under wire_schedule.ENDS an association lasts several of them
)


class HouseError(Exception):
    """The local cloud or its functions are not as a test needs them; the text says what was found."""


def template(folder: Path, *, timeout: int | None = None, workers: int = 1, settings: Mapping[str, str]) -> Path:
    """A copy of ``s.yaml`` that deploys the same code, with every setting passed on and the numbers changed.

    Only text is substituted, so whatever else ``s.yaml`` says is what is deployed.
    """
    text = (ROOT / "s.yaml").read_text("utf-8")
    missing = [name for name in settings if re.search(rf"^\s+{name}:", text, re.MULTILINE) is None]
    lines = "".join(f"\n    {name}: ${{env('{name}', '')}}" for name in missing)
    text = _replaced(text, r"^(  environment: &environment)$", rf"\1{lines}", "environment")
    if timeout is not None:
        text = _replaced(text, r"^(\s+)timeout: 300\b.*$", rf"\1timeout: {timeout}", "timeout")
    if workers > 1:
        text = _replaced(text, r"reservedConcurrency: 1\b", f"reservedConcurrency: {workers}", "reservedConcurrency")
        text = _replaced(
            text,
            r"\{eventSchema: CloudEvents\}",
            f"{{eventSchema: CloudEvents, concurrency: {workers}}}",
            "eventSchema",
        )
    document = yaml.safe_load(text)
    del document["resources"]["desk"]  # nobody asks anything here
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return path


def _replaced(text: str, pattern: str, by: str, what: str) -> str:
    changed, count = re.subn(pattern, by, text, flags=re.MULTILINE)
    if not count:
        raise HouseError(f"s.yaml has no longer the line with {what} that a test changes")
    return changed


@dataclass(frozen=True)
class Told:
    """A completion that the topic delivered. ``seen_at``: the journal's last number when it was read, or a later one."""

    seen_at: int
    body: Json


@dataclass
class House:
    """One running local cloud with the functions at work."""

    url: str
    ledger_url: str
    folder: Path
    env: Mapping[str, str]
    watching: bool = True  # whether associations are looked for as they come and go, beside whenever the world is read
    told: list[Told] = field(default_factory=list)
    """Every completion that the topic delivered, repetitions included, in the order of arrival."""
    links: dict[str, str] = field(default_factory=dict)
    """Instance by association id, as the world showed them or a completion named them: whoever made one has told of it by one
    or the other. A call that deletes an association names it alone, and the journal does not say of what it is."""

    def __post_init__(self) -> None:
        """Open what is used all the time."""
        self.admin = AdminClient(self.url)
        self.ledger = Ledger(self.ledger_url)
        self._accounts = [Account(self.url, key.id, key.secret) for key in (REQUESTER, TESTER)]
        self._answers = self._accounts[1].get_queue("ecr-answers")
        self._answers.set_encoding(False)
        keys = Keys(OPERATOR.id, OPERATOR.secret, "")
        self._functions = Functions(self.url, REGION, keys)
        self._closing = threading.Event()
        self._watch = threading.Thread(target=self._follow_links, name="links", daemon=True)
        if self.watching:
            self._watch.start()

    def close(self) -> None:
        """Give everything back."""
        self._closing.set()
        if self.watching:
            self._watch.join(30)
        for account in self._accounts:
            account.get_client().close_connection()
        self.ledger.close()

    # -- acting ------------------------------------------------------------------------------------------------------

    def send(self, message: str | Json, *, delay: int = 0, plain: bool = False, queue: str = "ecr-approvals") -> str:
        """Put a message on a queue with the official SDK: an approval as its issuer seals it, a text as it is. Returns its id."""
        text = message if isinstance(message, str) else sealed(message)
        account = self._accounts[0 if queue == "ecr-approvals" else 1]
        account.get_client().close_connection()  # one that was idle for long is dead, and the SDK does not see it
        target = account.get_queue(queue)
        target.set_encoding(not plain)
        sent = Message(text)
        sent.delay_seconds = delay
        return str(target.send_message(sent).message_id)

    def tick(self) -> Json:
        """Invoke the deployed reconcile through Function Compute's API; its report."""
        report: Json = self._functions.run(RECONCILE_FUNCTION, b"{}").result
        return report

    def redeploy(self, template: Path, **settings: str) -> None:
        """Deploy once more, into the same cloud and with the same ledger."""
        env = {name: value.replace("{address}", self.address) for name, value in {**self.env, **settings}.items()}
        self.admin.call("POST", "deploy", {"template": str(template), "env": env})

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def address(self) -> str:
        """host:port."""
        return self.url.removeprefix("http://")

    def position(self) -> int:
        """The number of the journal's newest entry."""
        return int(self.admin.call("GET", "journal", query={"after": 10**14})["last"])

    def receive(self, wait_seconds: int = 0) -> int:
        """Take what the topic has delivered; how much that was."""
        found = 0
        while True:
            try:
                messages = self._answers.batch_receive_message(16, wait_seconds)
            except MNSServerException as error:
                if error.type == "MessageNotExist":
                    return found
                raise
            position = self.position()
            bodies = [json.loads(message.message_body) for message in messages]
            self.told += [Told(position, body) for body in bodies]
            self.links |= {
                body["association_id"]: body["grant"]["instance_id"] for body in bodies if body.get("association_id")
            }
            self._answers.batch_delete_message([message.receipt_handle for message in messages])
            found += len(messages)
            wait_seconds = 0

    def world(self) -> Json:
        """What is there now; every association in it is remembered."""
        world = self.admin.world()
        self.links |= {one["association_id"]: one["instance_id"] for one in world["associations"]}
        return world

    def writes(self) -> list[Json]:
        """Every call that wanted to change grants or associations, whoever made it, in the journal's order."""
        entries = [entry for operation in WRITES for entry in self.admin.journal(operation=operation)]
        return sorted(entries, key=lambda entry: int(entry["number"]))

    def on_the_way(self) -> int:
        """Messages in the work queues and deliveries of the topic that are not settled yet, delayed wakes aside."""
        found = 0
        for queue in self.world()["mns"]["queues"]:
            if queue["account"] == HUB and queue["name"] in (*WORK_QUEUES, "ecr-answers"):
                found += int(queue["active"]) + int(queue["inactive"])
        return found

    def unsettled(self, without: Callable[[str, str], bool] = lambda _grant, _side: False) -> list[str]:
        """What the ledger says is not at rest, each as a line; ``without`` names (grant, side) that nobody waits for."""
        found = [
            f"{grant_id}/{side} is not settled"
            for grant_id, side in self.ledger.read(unsettled, now_ms() + _FOR_EVER_MS, 100_000)
            if not without(grant_id, side)
        ]
        found += [
            f"entry {entry.seq} ({entry.tag}) is not published" for entry in self.ledger.read(waiting_entries, 10)
        ]
        with self.ledger.engine.connect() as connection:
            open_ones = connection.execute(
                sql.text("SELECT issuer, request_id FROM approvals WHERE outcome IS NULL ORDER BY admitted_at LIMIT 10")
            )
            found += [f"{row.issuer} {row.request_id} has no outcome" for row in open_ones]
        return found

    def recorded(self) -> int:
        """How many facts the ledger has recorded that are published."""
        told = [kind for kind in EventKind if kind.published]
        with self.ledger.engine.connect() as connection:
            return int(connection.execute(sql.select(sql.func.count()).where(events.c.kind.in_(told))).scalar_one())

    def story(self, words: str, last: int = 60) -> str:
        """The functions' last log lines that contain these words, for whoever reads a failure."""
        lines = [
            (line["time"], name.removeprefix("ecr-grants-"), line["text"])
            for name in FUNCTIONS
            for line in self.admin.logs(name)
            if words in line["text"]
        ]
        return "\n".join(f"{moment} {name}: {text}" for moment, name, text in sorted(lines)[-last:])

    def _follow_links(self) -> None:
        """See associations that end before anybody tells of them, as under trouble; whoever is quicker than a look is missed."""
        after = 0
        while not self._closing.wait(_LOOK_SECONDS):
            query = {"after": after, "operation": "CreateExpressConnectRouterAssociation"}
            with contextlib.suppress(AdminError):
                answer = self.admin.call("GET", "journal", query=query)
                if any(entry["effect"] for entry in answer["entries"]):
                    self.world()
                after = answer["last"]


@contextlib.contextmanager
def house(
    stage: Stage,
    folder: Path,
    *,
    timeout: int | None = None,
    workers: int = 1,
    ledgers: tuple[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
    watching: bool = True,
) -> Iterator[House]:
    """A local cloud with the functions deployed, ended with the block together with everything it started.

    ``ledgers``: its address for the functions, and for the referee; without it a file of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    world, accounts = stage.write(folder)
    theirs, ours = ledgers or (new_ledger(folder),) * 2
    more = dict(settings or {})
    env = environment(theirs, accounts) | more
    configure(ours, stage.configuration)
    path = template(folder, timeout=timeout, workers=workers, settings=more)
    command = up(world, env=env, template=path, measured=False)
    with launched(command, folder) as url:
        made = House(url, ours, folder, env, watching)
        try:
            yield made
        finally:
            made.close()
