"""Messages and their properties: what a sender hands in and what a queue keeps."""

import hashlib
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from localcloud.mns.errors import refuse

LOWEST_PRIORITY: Final = 16
DEFAULT_PRIORITY: Final = 8
MAX_BATCH: Final = 16
MAX_BATCH_BYTES: Final = 65_536

_chance: Final = random.Random()  # noqa: S311 - names that do not repeat; there is nothing to protect from guessing

_MAX_PROPERTIES: Final = 50
_PROPERTY_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_USER_TYPES: Final = frozenset({"STRING", "NUMBER", "BOOLEAN", "BINARY"})
# One of the official clients fails on any other name (mns.md section 2.3).
_SYSTEM_NAMES: Final = frozenset(
    {"traceparent", "tracestate", "baggage", "DLQMessageType", "DLQSourceArn", "DLQOriginMessageId"}
)


@dataclass(frozen=True, slots=True)
class Property:
    """A named, typed value that travels with a message; kept exactly as it was written."""

    name: str
    value: str
    type: str


class Draft(NamedTuple):
    """A message as its sender hands it in."""

    body: str
    delay_seconds: int | None = None
    """None: the queue's own delay counts."""
    priority: int = DEFAULT_PRIORITY
    user_properties: tuple[Property, ...] = ()
    system_properties: tuple[Property, ...] = ()

    def size(self) -> int:
        """Bytes that count toward the size limits: the body as transported, and every property."""
        total = len(self.body.encode())
        for properties in (self.user_properties, self.system_properties):
            for each in properties:
                total += len(each.name.encode()) + len(each.value.encode()) + len(each.type)
        return total


@dataclass(slots=True, eq=False)
class Message:
    """A message in a queue, and where it is in its life."""

    id: str
    body: str
    md5: str
    priority: int
    user_properties: tuple[Property, ...]
    system_properties: tuple[Property, ...]
    number: int
    """Order of arrival in this queue."""
    enqueued_ms: int
    visible_ms: int
    """When it becomes, or became, visible."""
    first_dequeued_ms: int
    dequeue_count: int = 0
    ticket: int = 0
    """The one entry in the queue's heaps that still speaks for this message."""
    hidden: bool = False
    counted: str = ""
    """The state under which its queue has counted it."""
    handles: dict[str, int] = field(default_factory=dict)
    """Receipt handles that may still act on this message, each with the time it lapses."""


class Receipt(NamedTuple):
    """One delivery of a message: what the receiver learns."""

    message: Message
    handle: str
    next_visible_ms: int
    dequeue_count: int
    """The count at this delivery; the message itself may move on before the answer is written."""


def body_md5(body: str) -> str:
    """Upper-case hexadecimal MD5 of the text as transported (mns.md section 0, fact 9)."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest().upper()


def new_id() -> str:
    """A message id in its recent form: 32 hexadecimal digits."""
    return f"{_chance.getrandbits(128):032X}"


def new_handle() -> str:
    """A receipt handle: slice, then something unique; safe in URLs, which not all handles are."""
    return f"1-{_chance.getrandbits(128):032x}"


def check_properties(user: Iterable[Property], system: Iterable[Property]) -> None:
    """Refuse properties outside the documented limits (mns.md section 2.3)."""
    users, systems = tuple(user), tuple(system)
    if len(users) + len(systems) > _MAX_PROPERTIES:
        raise refuse("InvalidArgument", f"A message may have at most {_MAX_PROPERTIES} properties.")
    for kind, properties in (("UserProperties", users), ("SystemProperties", systems)):
        names = [each.name for each in properties]
        if len(set(names)) != len(names):
            raise refuse("InvalidArgument", f"The names of {kind} must be unique.")
    for each in users:
        if len(each.name) > 256 or not _PROPERTY_NAME.fullmatch(each.name):
            raise refuse("InvalidArgument", f"The property name {each.name[:40]!r} is invalid.")
        if each.type not in _USER_TYPES:
            raise refuse("InvalidArgument", f"The type {each.type[:40]!r} of property {each.name} is invalid.")
    for each in systems:
        if each.name not in _SYSTEM_NAMES:
            raise refuse("InvalidArgument", f"The system property name {each.name[:40]!r} is invalid.")
        if each.type != "STRING":
            raise refuse("InvalidArgument", f"The type {each.type[:40]!r} of property {each.name} is invalid.")
    for each in (*users, *systems):
        if not 0 < len(each.value) <= 4_096:
            raise refuse("InvalidArgument", f"The value of property {each.name} should have 1 to 4096 characters.")
