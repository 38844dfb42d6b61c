"""Dead work: what stopped, why, and how it is tried again. Over dead rows of the ledger and dead-letter queues alike."""

from __future__ import annotations

import base64
import getpass
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import AsJson, LedgerUrl, opened
from shared.errors import BadInput, SettingsError
from shared.ledger.operating import DeadRow, dead_rows, redrive
from shared.ledger.transactions import Ledger, now_ms
from shared.messages.completion import WAKE
from shared.messages.envelope import parse, redrivable
from shared.rules.facts import Side

if TYPE_CHECKING:
    from shared.cloud.messaging import Messaging, Parked

app = typer.Typer(no_args_is_help=True, help="Work that only a person can help: list it, look at it, try it again.")

_ROUNDS = 1_000

MnsEndpoint = Annotated[
    str | None,
    typer.Option(
        envvar="MNS_ENDPOINT",
        help="Queues: https://{uid}.mns.{region}.aliyuncs.com; without it only the ledger is looked at.",
        show_default=False,
    ),
]
Reason = Annotated[
    str | None, typer.Option(help="Only what is dead for this code, e.g. PermissionMissing or DeadLetter.")
]


@dataclass(frozen=True)
class Dead:
    """One dead thing, wherever it is: a side of a grant in the ledger, or a message in a dead-letter queue."""

    name: str
    where: str
    code: str
    text: str
    since: int
    waiting: int

    def facts(self) -> dict[str, object]:
        """For programs."""
        since = datetime.fromtimestamp(self.since / 1000, UTC).isoformat(timespec="seconds")
        return {
            "name": self.name,
            "where": self.where,
            "code": self.code,
            "text": self.text,
            "since": since,
            "waiting": self.waiting,
        }


def _queues() -> dict[str, str]:
    """Dead-letter queue by work queue."""
    names = (
        os.environ.get("APPROVALS_QUEUE", "ecr-approvals"),
        os.environ.get("WAKES_QUEUE", "ecr-grants-wakes"),
        os.environ.get("ASSOCIATIONS_QUEUE", "ecr-associations"),
    )
    return {name: f"{name}-dead" for name in names}


def _messaging(endpoint: str) -> Messaging:
    from shared.cloud.keys import home_keys  # noqa: PLC0415
    from shared.cloud.messaging import Messaging  # noqa: PLC0415  # the vendor's SDK, only where it is needed

    keys = home_keys(None)
    return Messaging(endpoint if "://" in endpoint else f"https://{endpoint}", lambda: keys)


def _of_row(row: DeadRow) -> Dead:
    return Dead(row.name, "ledger", row.reason.code, row.reason.text, row.since, row.waiting)


def _of_message(queue: str, message: Parked) -> Dead:
    try:
        body = parse(redrivable(message.body))
        text = f"{type(body).__name__} that no function could take"
    except BadInput as error:
        text = f"unreadable: {error}"
    return Dead(message.message_id, queue, "DeadLetter", text, message.since, 1)


def _all(ledger: Ledger, endpoint: str | None, reason: str | None) -> Iterator[Dead]:
    for row in ledger.read(dead_rows):
        if reason in (None, row.reason.code):
            yield _of_row(row)
    if endpoint is not None and reason in (None, "DeadLetter"):
        messaging = _messaging(endpoint)
        for queue in _queues().values():
            for message in messaging.peek(queue):
                yield _of_message(queue, message)


@app.command("list")
def list_dead(
    ledger_url: LedgerUrl, mns_endpoint: MnsEndpoint = None, reason: Reason = None, as_json: AsJson = False
) -> None:
    """List dead rows of the ledger, and the first sixteen messages of each dead-letter queue."""
    with opened(ledger_url) as ledger:
        found = list(_all(ledger, mns_endpoint, reason))
    if as_json:
        typer.echo(json.dumps([one.facts() for one in found]))
    elif not found:
        typer.echo("nothing is dead")
    for one in found if not as_json else ():
        facts = one.facts()
        requests = "1 request waits" if one.waiting == 1 else f"{one.waiting} requests wait"
        typer.echo(f"{one.name}  {one.code}  {one.where}  since {facts['since']}, {requests}")
        typer.echo(f"    {one.text}")


@app.command("show")
def show_dead(
    ledger_url: LedgerUrl,
    name: Annotated[str, typer.Argument(help="The name that `dead list` shows.")],
    mns_endpoint: MnsEndpoint = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead thing whole: what it is about, why it stopped, who must act."""
    from shared.messages.catalogue import find  # noqa: PLC0415

    with opened(ledger_url) as ledger:
        found = [one for one in _all(ledger, mns_endpoint, None) if one.name == name]
        if not found:
            raise SettingsError(f"{name}: nothing dead has that name; see `ecr-grants dead list`")
        facts = found[0].facts()
        entry = find(found[0].code)
        facts["who must act"] = "operator" if entry is None else entry.who
        facts["meaning"] = found[0].text if entry is None else entry.en
        facts["meaning_zh"] = None if entry is None else entry.zh
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        for field, value in facts.items():
            typer.echo(f"{field:<14}{value}")


@app.command("redrive")
def redrive_dead(
    ledger_url: LedgerUrl,
    names: Annotated[
        list[str] | None, typer.Argument(help="What to try again, by the names that `dead list` shows.")
    ] = None,
    mns_endpoint: MnsEndpoint = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Everything that is dead (with --reason: for that code).")
    ] = False,
    reason: Reason = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be tried again, and do nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Try dead work again. Safe to repeat: what is not dead any more is left alone, and a message sent twice changes nothing."""
    if not names and not everything and reason is None:
        raise typer.BadParameter("name what to redrive, or say --all or --reason")
    with opened(ledger_url) as ledger:
        redriven = list(_redrive(ledger, mns_endpoint, set(names or ()), reason, dry_run=dry_run))
        missing = sorted(set(names or ()) - {one.name for one in redriven})
        if missing:
            raise SettingsError(f"{', '.join(missing)}: nothing dead has that name; see `ecr-grants dead list`")
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "redriven": [one.facts() for one in redriven]}))
        return
    for one in redriven:
        typer.echo(f"{'would redrive' if dry_run else 'redriven'}: {one.name} ({one.where}, {one.code})")
    if not redriven:
        typer.echo("nothing to redrive")


def _redrive(
    ledger: Ledger, endpoint: str | None, names: set[str], reason: str | None, *, dry_run: bool
) -> Iterator[Dead]:
    messaging = None if endpoint is None else _messaging(endpoint)
    work_queues, names_left = list(_queues()), set(names)
    for row in ledger.read(dead_rows):
        one = _of_row(row)
        if (names and one.name not in names) or reason not in (None, one.code):
            continue
        if not dry_run:
            if not ledger.write(redrive, row.key.grant_id, row.side, getpass.getuser(), now_ms()):
                continue
            if messaging is not None:  # otherwise the timer finds it
                wake = json.dumps({"schema": WAKE, "grant_id": row.key.grant_id})
                messaging.send(work_queues[1 if row.side == Side.GRANT else 2], wake)
        names_left.discard(one.name)
        yield one
    if messaging is None or reason not in (None, "DeadLetter") or (names and not names_left):
        return
    for work_queue, dead_queue in _queues().items():
        yield from _redrive_messages(messaging, work_queue, dead_queue, names, dry_run=dry_run)


def _as_sent(body: str) -> str:
    """The text that somebody sent: without the platform's envelope, and without the Base64 that sending puts on again."""
    text = redrivable(body)
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except ValueError:
        return text


def _redrive_messages(
    messaging: Messaging, work_queue: str, dead_queue: str, names: set[str], *, dry_run: bool
) -> Iterator[Dead]:
    """Send each message to the queue it came from, then delete it: in this order, so that none is lost."""
    if dry_run:
        yield from (
            one
            for one in (_of_message(dead_queue, m) for m in messaging.peek(dead_queue))
            if not names or one.name in names
        )
        return
    left: list[Parked] = []
    for _ in range(_ROUNDS):
        batch = messaging.receive(dead_queue)
        if not batch:
            break
        for message in batch:
            if names and message.message_id not in names:
                left.append(message)
                continue
            messaging.send(work_queue, _as_sent(message.body))
            messaging.delete(dead_queue, message.receipt)
            yield _of_message(dead_queue, message)
    for message in left:
        messaging.put_back(dead_queue, message.receipt)
