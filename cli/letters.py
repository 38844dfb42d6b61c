"""Dead-letter queues: every message in them, what it is about, and what could not be seen."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cli.common import reachable
from shared.errors import BadInput, CloudUnreachable, GrantError
from shared.messages.completion import Completion, Wake
from shared.messages.envelope import parse, redrivable
from shared.messages.seal import Sealed
from shared.rules.facts import Side

if TYPE_CHECKING:
    from shared.cloud.messaging import Counts, Messaging, Parked

Facts = dict[str, Any]

_INSTANCE = ("type", "id", "region", "owner_uid")
_KEY = {"ecr_id": ("ecr", "id"), "ecr_owner_uid": ("ecr", "owner_uid")} | {
    f"instance_{name}": ("instance", name) for name in _INSTANCE
}


def dead_letter_queues() -> dict[str, str]:
    """Dead-letter queue by work queue."""
    approvals, asked = os.environ.get("APPROVALS_QUEUE", "ecr-approvals"), os.environ.get("ASKED_QUEUE", "ecr-asked")
    return {name: f"{name}-dead" for name in (approvals, wake_queue(Side.GRANT), wake_queue(Side.ASSOCIATE), asked)}


def wake_queue(side: Side) -> str:
    """Where a wake of one side is sent."""
    if side is Side.GRANT:
        return os.environ.get("WAKES_QUEUE", "ecr-grants-wakes")
    return os.environ.get("ASSOCIATIONS_QUEUE", "ecr-associations")


def messaging_at(endpoint: str) -> Messaging:
    """The queues at an address, as the operator whose access key the environment has. Raises SettingsError."""
    address = reachable(endpoint, "--mns-endpoint (MNS_ENDPOINT)")
    from shared.cloud.keys import home_keys  # noqa: PLC0415
    from shared.cloud.messaging import Messaging  # noqa: PLC0415  # the vendor's SDK, only where it is needed

    keys = home_keys(None)
    return Messaging(address, lambda: keys, caller="the operator (whose access key this is)")


@dataclass(frozen=True)
class Dead:
    """One dead thing, wherever it is: a side of a grant in the ledger, or a message in a dead-letter queue.

    ``grant``: what it is about, by the names that completions have for it. ``requests``: who asked for what.
    """

    name: str
    where: str
    code: str
    text: str
    since: int
    waiting: int
    grant: Facts = field(default_factory=dict)
    requests: tuple[Facts, ...] = ()

    def facts(self) -> Facts:
        """For programs."""
        return {
            "name": self.name,
            "where": self.where,
            "code": self.code,
            "text": self.text,
            "since": _moment(self.since),
            "waiting": self.waiting,
            "grant": self.grant,
            "requests": list(self.requests),
        }


@dataclass
class Looked:
    """What was found, and what was not looked at, a line for each. ``failures``: those of them that somebody asked for.
    ``refused``: what was not done since policy does not let somebody, by its name, and why.

    ``most``: so many messages of a queue are listed, since taking more would hide them for long. ``back_seconds``: after so long
    what was put back can be seen again; a second is the shortest that the platform has.
    """

    found: list[Dead] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    most: int = 1_000
    back_seconds: float = 1.2

    def missed(self, line: str) -> None:
        """Note what could not be looked at, though it was asked for."""
        self.unseen.append(line)
        self.failures.append(line)


def look_through_all(messaging: Messaging, looked: Looked) -> None:
    """Add every message of every dead-letter queue. Where one cannot be reached, the others are not waited for."""
    queues = iter(dead_letter_queues().values())
    for queue in queues:
        if not look_through(messaging, queue, looked):
            looked.unseen += [f"{other}: not asked after that" for other in queues]


def look_through(messaging: Messaging, queue: str, looked: Looked) -> bool:
    """Add every message of a dead-letter queue, and what of it could not be seen. False when nobody answered.

    Up to sixteen are only peeked at, which hides nothing. A peek shows no others, so more are taken and put back.
    """
    counts = _counts(messaging, queue, looked)
    try:
        seen = {one.message_id: one for one in messaging.peek(queue)}
    except GrantError as error:
        looked.missed(f"{queue}: {error}")
        return not isinstance(error, CloudUnreachable)
    if len(seen) >= _batch() or (counts is not None and counts.visible > len(seen)):
        try:
            with taken(messaging, queue, looked) as messages:
                for one in messages:
                    seen.setdefault(one.message_id, one)
                    if len(seen) >= looked.most:
                        break
        except GrantError as error:
            looked.missed(f"{queue}: {_more(len(seen), counts)}: {error}")
        else:
            if counts is not None and counts.visible > len(seen):
                looked.missed(f"{queue}: {_more(len(seen), counts)}")
            elif len(seen) >= looked.most:
                looked.missed(f"{queue}: whatever is beyond the first {looked.most}")
    if counts is not None and counts.hidden:
        looked.unseen.append(f"{queue}: {_messages(counts.hidden)} that somebody has in hand just now; look again soon")
    looked.found += [of_message(queue, one) for one in sorted(seen.values(), key=lambda each: each.since)]
    return True


class Taken:
    """The messages of a queue, taken, each once. What is not ``done`` is put back when the block ends, however it ends."""

    def __init__(self, messaging: Messaging, queue: str, looked: Looked) -> None:
        self._messaging, self._queue, self._looked = messaging, queue, looked
        self._receipts: dict[str, str] = {}
        self._known: set[str] = set()

    def __iter__(self) -> Iterator[Parked]:
        """Take more as long as there are others. Raises GrantError."""
        while batch := self._messaging.receive(self._queue):
            fresh = [one for one in batch if one.message_id not in self._known]
            self._receipts |= {one.message_id: one.receipt for one in batch}
            self._known |= {one.message_id for one in batch}
            if not fresh:  # taken so long ago that they come again
                return
            yield from fresh

    def done(self, message: Parked) -> None:
        """Delete it for good. Raises GrantError."""
        self._messaging.delete(self._queue, self._receipts[message.message_id])
        del self._receipts[message.message_id]

    def put_back(self) -> None:
        """Let others see again what is left, and wait until they do."""
        failures: list[GrantError] = []
        for receipt in self._receipts.values():
            try:
                self._messaging.put_back(self._queue, receipt)
            except GrantError as error:
                failures.append(error)
        if failures:
            late = f"{_messages(len(failures))} will be seen again only after the queue's visibility timeout"
            self._looked.missed(f"{self._queue}: {late}: {failures[0]}")
        if self._receipts:
            time.sleep(self._looked.back_seconds)


@contextmanager
def taken(messaging: Messaging, queue: str, looked: Looked) -> Iterator[Taken]:
    """Take the messages of a queue, for as long as the block wants more."""
    messages = Taken(messaging, queue, looked)
    try:
        yield messages
    finally:
        messages.put_back()


def _counts(messaging: Messaging, queue: str, looked: Looked) -> Counts | None:
    try:
        return messaging.counts(queue)
    except GrantError as error:
        if error.code == "AccessDenied":  # whatever else is wrong, looking will say it
            looked.missed(f"{queue}: how many messages it has: {error}")
        return None


def _more(seen: int, counts: Counts | None) -> str:
    of = f"of {counts.visible}, as the queue counts them" if counts is not None and counts.visible else "of more"
    return f"only the first {seen} {of}"


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _batch() -> int:
    from shared.cloud.messaging import BATCH  # noqa: PLC0415  # the vendor's SDK, only where it is needed

    return BATCH


def of_message(queue: str, message: Parked) -> Dead:
    """A message for whoever reads the list: what it is, about what, and who asked; as far as it can be read."""
    text = redrivable(message.body)
    grant: Facts = {}
    requests: list[Facts] = []
    try:
        body = parse(text)
        told = f"{type(body).__name__} that no function could take"
        match body:
            case Sealed():
                told = f"an approval sealed with {body.kid} that no function could take; the seal is not opened here"
                grant, requests = about(_loosely(body.payload.decode(errors="replace")))
            case Completion():
                grant = {} if body.grant is None else body.grant.model_dump(mode="json")
                requests = [] if body.request is None else [request_of(body.request.model_dump())]
            case Wake():
                grant = {"grant_id": body.grant_id}
    except BadInput as error:
        told = f"unreadable: {error}"
        grant, requests = about(_loosely(text))
    return Dead(message.message_id, queue, "DeadLetter", told, message.since, 1, grant, tuple(requests))


def about(document: object) -> tuple[Facts, list[Facts]]:
    """What an approval is about and who asked, of whatever part of it can be read."""
    if not isinstance(document, dict):
        return {}, []
    grant = {name: _text(_inner(document, *path)) for name, path in _KEY.items()}
    asked = request_of(document)
    return {name: one for name, one in grant.items() if one}, [asked] if asked else []


def request_of(document: Facts) -> Facts:
    """A request's name and its people."""
    people = document.get("approved_by")
    approved = [one for one in map(_text, people) if one] if isinstance(people, list) else [_text(people)]
    found = {name: _text(document.get(name)) for name in ("issuer", "request_id", "requested_by")}
    return {name: one for name, one in found.items() if one} | ({"approved_by": approved} if any(approved) else {})


def _inner(document: Facts, outer: str, name: str) -> object:
    part = document.get(outer)
    return part.get(name) if isinstance(part, dict) else None


def _text(value: object) -> str | None:
    """A name that somebody wrote, or none. Ids have at most 200 letters; what is longer is no id."""
    return value[:200] if isinstance(value, str) and value else None


def _loosely(text: str) -> object:
    try:
        return json.loads(as_sent(text))
    except (ValueError, RecursionError):
        return None


def as_sent(text: str) -> str:
    """A text without the Base64 that sending puts on again."""
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except ValueError:
        return text


def lines_of(one: Dead) -> Iterable[str]:
    """A dead thing for people: one line that names it, and below it why, about what, and who asked."""
    waits = "1 request waits" if one.waiting == 1 else f"{one.waiting} requests wait"
    yield f"{one.name}  {one.code}  {one.where}  since {_moment(one.since)}, {waits}"
    yield f"    {one.text}"
    grant = one.grant
    if grant.get("instance_id"):
        where = f" in {grant['instance_region']}" if grant.get("instance_region") else ""
        owner = f" of account {grant['instance_owner_uid']}" if grant.get("instance_owner_uid") else ""
        router = f", for {grant['ecr_id']}" if grant.get("ecr_id") else ""
        yield f"    instance {grant['instance_id']}{owner}{where}{router}"
    elif grant.get("grant_id"):
        yield f"    grant {grant['grant_id']}"
    else:
        yield "    names no instance that could be read"
    for asked in one.requests:
        yield f"    {_asked(asked)}"
    if not one.requests and not grant.get("grant_id"):
        yield "    names no request that could be read"


def _asked(asked: Facts) -> str:
    issuer = f" of {asked['issuer']}" if asked.get("issuer") else ""
    people = [f"asked for by {asked['requested_by']}"] if asked.get("requested_by") else []
    people += [f"approved by {', '.join(asked['approved_by'])}"] if asked.get("approved_by") else []
    return f"request {asked.get('request_id', 'without a name')}{issuer}: {'; '.join(people) or 'names no person'}"


def _moment(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
