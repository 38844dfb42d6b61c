"""Dead work: what stopped, why, and how it is tried again. Over dead rows of the ledger and dead-letter queues alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cli.common import As, AsJson, LedgerUrl, MnsEndpoint, NotSo, command, command_line, opened, operator_name, troubles
from cli.letters import (
    Dead,
    Looked,
    about,
    as_sent,
    dead_letter_queues,
    lines_of,
    look_through,
    look_through_all,
    messaging_at,
    of_message,
    taken,
    wake_queue,
)
from cli.output import document, remark, say
from cli.standing import Operator, operator
from shared.errors import GrantError, NotAllowed
from shared.ledger.operating import DeadRow, dead_rows, redrive
from shared.ledger.transactions import Ledger, now_ms
from shared.ledger.waiting import dead_requests
from shared.messages import catalogue
from shared.messages.completion import WAKE
from shared.messages.envelope import redrivable
from shared.rules.questions import Command, TargetKind

if TYPE_CHECKING:
    from shared.cloud.messaging import Messaging

app = command_line("dead", "Work that only a person can help: list it, look at it, try it again.")

_LETTER = "DeadLetter"
_NO_ENDPOINT = "neither --mns-endpoint nor MNS_ENDPOINT says where it is"

Reason = Annotated[
    str | None, typer.Option(help="Only what is dead for this code, e.g. PermissionMissing or DeadLetter.")
]


@command(app, "list")
def list_dead(
    ledger_url: LedgerUrl, mns_endpoint: MnsEndpoint = None, reason: Reason = None, as_json: AsJson = False
) -> None:
    """List dead rows of the ledger and every message of the dead-letter queues, and say what could not be looked at.

    Exit code 1 when something could not be read that was asked for. More than sixteen messages of a queue are taken and put
    back, so others do not see them for a second. The operator needs mns:GetQueueAttributes on the dead-letter queues, and on
    their messages mns:PeekMessage and mns:BatchPeekMessage; for more than sixteen also mns:ReceiveMessage,
    mns:BatchReceiveMessage and mns:ChangeMessageVisibility.
    """
    with opened(ledger_url) as ledger:
        looked = _all(ledger, mns_endpoint, reason)
    if as_json:
        document([one.facts() for one in looked.found])
    for one in looked.found if not as_json else ():
        for line in lines_of(one):
            say(line)
    if not looked.found and not as_json:
        say(_nothing("nothing is dead", looked, reason))
    with troubles():
        _tell_unseen(looked, as_json=as_json)


@command(app, "show")
def show_dead(
    ledger_url: LedgerUrl,
    name: Annotated[str, typer.Argument(help="The name that `dead list` shows.")],
    mns_endpoint: MnsEndpoint = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead thing whole: what it is about, why it stopped, who must act. It needs the rights of `dead list`."""
    with opened(ledger_url) as ledger:
        looked = _all(ledger, mns_endpoint, None)
        found = [one for one in looked.found if one.name == name]
        if not found:
            raise NotSo(_not_there([name], looked))
    [one, *_] = found
    entry = catalogue.find(one.code) or catalogue.note(one.code)
    meaning = {
        "who must act": "operator" if entry is None else entry.who,
        "meaning": one.text if entry is None else entry.en,
        "meaning_zh": None if entry is None else entry.zh,
        "next": None if entry is None else entry.next,
    }
    if as_json:
        document(one.facts() | meaning)
        return
    for line in lines_of(one):
        say(line)
    for field, value in meaning.items():
        if value is not None:
            say(f"{field:<14}{value}")


@command(app, "redrive")
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
    claimed: As = None,
    as_json: AsJson = False,
) -> None:
    """Try dead work again. Safe to repeat: what is not dead any more is left alone, a message sent twice changes nothing.

    Policy (operate) decides of each thing who may. Exit code 1 when it does not let you, when a name is not there, or when
    something could not be read or sent that was asked for. Beside the rights of
    `dead list` the operator needs mns:SendMessage on the messages of the work queues, and on those of the dead-letter queues
    mns:ReceiveMessage, mns:BatchReceiveMessage, mns:DeleteMessage and mns:ChangeMessageVisibility.
    """
    if not names and not everything and reason is None:
        raise typer.BadParameter("name what to redrive, or say --all or --reason")
    wanted = Wanted(frozenset(names or ()), reason, dry_run=dry_run)
    with opened(ledger_url) as ledger:
        looked = Looked()
        name = operator_name(claimed)
        who = Operator(name, None) if dry_run else operator(ledger, name)
        messaging = None if mns_endpoint is None else messaging_at(mns_endpoint)
        _redrive_rows(ledger, messaging, wanted, who, looked)
        if not wanted.complete(looked):
            _redrive_queues(messaging, wanted, who, looked)
    if as_json:
        document({"dry_run": dry_run, "redriven": [one.facts() for one in looked.found]})
    for one in looked.found if not as_json else ():
        say(f"{'would redrive' if dry_run else 'redriven'}: {one.name} ({one.where}, {one.code})")
    missing = sorted(wanted.names - {one.name for one in looked.found} - looked.refused.keys())
    if not looked.found and not missing and not looked.refused and not as_json:
        say(_nothing("nothing to redrive", looked, reason))
    with troubles():
        if missing:
            raise NotSo(_not_there(missing, looked))
        if looked.refused:
            raise NotSo("; ".join(f"{one}: {why}" for one, why in looked.refused.items()))
        _tell_unseen(looked, as_json=as_json)


@dataclass(frozen=True)
class Wanted:
    """What to redrive: by name, by reason, or everything."""

    names: frozenset[str]
    reason: str | None
    dry_run: bool

    def fits(self, one: Dead) -> bool:
        """Whether this is among it."""
        return (not self.names or one.name in self.names) and self.reason in (None, one.code)

    def complete(self, looked: Looked) -> bool:
        """Whether everything was found that was named."""
        return bool(self.names) and self.names <= {one.name for one in looked.found}


def _all(ledger: Ledger, endpoint: str | None, reason: str | None) -> Looked:
    """Everything that is dead for a reason, in the ledger and in the queues."""
    looked = Looked([one for one in map(_of_row(ledger), ledger.read(dead_rows)) if reason in (None, one.code)])
    if reason not in (None, _LETTER):
        return looked
    if endpoint is None:
        looked.unseen += [f"{queue}: {_NO_ENDPOINT}" for queue in dead_letter_queues().values()]
        return looked
    look_through_all(messaging_at(endpoint), looked)
    return looked


def _of_row(ledger: Ledger) -> Callable[[DeadRow], Dead]:
    requests = ledger.read(dead_requests)

    def made(row: DeadRow) -> Dead:
        asked = [one for each in requests.get(row.key.grant_id, []) for one in about(each)[1]]
        grant = {"grant_id": row.key.grant_id} | asdict(row.key)
        reason = row.reason
        return Dead(row.name, "ledger", reason.code, reason.text, row.since, row.waiting, grant, tuple(asked))

    return made


def _may(who: Operator, one: Dead, looked: Looked) -> bool:
    """Whether policy lets somebody redrive this; where not, that is noted."""
    try:
        who.ensure(Command.DEAD_REDRIVE, TargetKind.DEAD, one.name)
    except NotAllowed as error:
        looked.refused[one.name] = str(error)
        return False
    return True


def _redrive_rows(ledger: Ledger, messaging: Messaging | None, wanted: Wanted, who: Operator, looked: Looked) -> None:
    described = _of_row(ledger)
    for row in ledger.read(dead_rows):
        one = described(row)
        if not wanted.fits(one) or not _may(who, one, looked):
            continue
        if not wanted.dry_run:
            if not ledger.write(redrive, row.key.grant_id, row.side, who.name, now_ms()):
                continue
            _wake(messaging, row, looked)
        looked.found.append(one)


def _wake(messaging: Messaging | None, row: DeadRow, looked: Looked) -> None:
    """Have it looked at now; where that cannot be said, the timer finds it."""
    if messaging is None:
        return
    try:
        messaging.send(wake_queue(row.side), json.dumps({"schema": WAKE, "grant_id": row.key.grant_id}))
    except GrantError as error:
        looked.missed(f"{row.name} is redriven and was not woken, so the timer finds it: {error}")


def _redrive_queues(messaging: Messaging | None, wanted: Wanted, who: Operator, looked: Looked) -> None:
    if wanted.reason not in (None, _LETTER):
        return
    for work_queue, dead_queue in dead_letter_queues().items():
        if messaging is None:
            looked.unseen.append(f"{dead_queue}: {_NO_ENDPOINT}")
        elif wanted.dry_run:
            there = Looked()
            look_through(messaging, dead_queue, there)
            looked.found += [one for one in there.found if wanted.fits(one)]
            looked.unseen += there.unseen
            looked.failures += there.failures
        else:
            _redrive_messages(messaging, (work_queue, dead_queue), wanted, who, looked)


def _redrive_messages(
    messaging: Messaging, queues: tuple[str, str], wanted: Wanted, who: Operator, looked: Looked
) -> None:
    """Send each message to the queue it came from, then delete it: in this order, so that none is lost.

    ``queues``: where it came from, and where it lies.
    """
    work_queue, dead_queue = queues
    try:
        with taken(messaging, dead_queue, looked) as messages:
            for message in messages:
                one = of_message(dead_queue, message)
                if wanted.fits(one) and _may(who, one, looked):
                    messaging.send(work_queue, as_sent(redrivable(message.body)))
                    messages.done(message)
                    looked.found.append(one)
                if wanted.complete(looked):
                    break
    except GrantError as error:
        looked.missed(f"{dead_queue}: {error}")


def _nothing(text: str, looked: Looked, reason: str | None) -> str:
    """Only where everything was looked at is nothing there."""
    text = text if reason is None else f"{text} for {reason}"
    return f"{text} in what was looked at" if looked.unseen else text


def _not_there(names: list[str], looked: Looked) -> str:
    unseen = f"; not looked at: {'; '.join(looked.unseen)}" if looked.unseen else ""
    return f"{', '.join(names)}: nothing dead has that name; see `ecr-grants dead list`{unseen}"


def _tell_unseen(looked: Looked, *, as_json: bool) -> None:
    """Say what was not looked at: beside the list for people, and on standard error where somebody had asked for it."""
    if not as_json:
        for line in looked.unseen:
            say(f"not looked at: {line}")
    if looked.failures:
        raise NotSo("; ".join(looked.failures))
    for line in looked.unseen if as_json else ():
        remark(f"not looked at: {line}")
