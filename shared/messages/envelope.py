"""Envelopes: what the platform wraps around a message, and the way from an event's bytes to a message of ours.

Lenient with the platform's envelope, strict with what is in it. What arrives on a queue is an approval, a completion (a wake
from the other side) or a wake of our own. How a body is written is read in ``bodies``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from shared.errors import BadInput
from shared.messages.bodies import decoded, from_base64, modelled, plain
from shared.messages.completion import COMPLETION, WAKE, Completion, Request, Wake
from shared.messages.schemas import approval_schema, completion_schema, sealed_schema
from shared.messages.seal import Sealed, SealedForm, read_seal
from shared.messages.texts import name, shown

AGAIN = "ecr-grants/again/1"

Body = Sealed | Completion | Wake
_BODIES: dict[str, TypeAdapter[Any]] = {
    COMPLETION: TypeAdapter(Completion),
    WAKE: TypeAdapter(Wake),
}
_SEAL = frozenset(SealedForm.model_fields)
_APPROVALS = "ecr-grants/approval/"


@dataclass(frozen=True)
class Item:
    """One message out of an event: its platform id, and its body as text or as the object the platform made of it.

    ``subject`` is where the event says that the message lay; None where it does not say so.
    """

    message_id: str
    body: object
    subject: str | None = None


def message_schemas() -> dict[str, str]:
    """The JSON Schemas of the public messages, by file name, as text ready to be written."""
    public = {
        "approval.json": approval_schema(),
        "sealed.json": sealed_schema(),
        "completion.json": completion_schema(),
    }
    return {file: json.dumps(schema, indent=2, sort_keys=True) + "\n" for file, schema in public.items()}


def items(event: bytes) -> Iterator[Item]:
    """The messages in an event, whatever its shape (function-compute.md section 3.1).

    One CloudEvent, an array of objects, an array of JSON strings, or bare ``data`` objects. An element that cannot be
    read becomes an item of its own, so that its neighbours are not stopped by it.
    """
    try:
        document = json.loads(event)
    except (ValueError, RecursionError):
        document = [event.decode("utf-8", "replace")]
    for element in document if isinstance(document, list) else [document]:
        yield _item(element)


def again(item: Item) -> str:
    """A message that could not be taken in, ready to be sent again under the id that its sender knows."""
    return json.dumps({"schema": AGAIN, "message_id": item.message_id, "body": item.body})


def unwrapped(item: Item) -> Item:
    """The message that was sent again, as it was; any other one as it is. It came in where its wrapping came in."""
    try:
        document = decoded(item.body) if isinstance(item.body, str) else item.body
    except BadInput:
        return item
    if isinstance(document, dict) and document.get("schema") == AGAIN and not _again_faults(document):
        return Item(document["message_id"], document["body"], item.subject)
    return item


def _again_faults(document: dict[str, Any]) -> list[str]:
    """What is wrong with a message that says it was sent again. Only we write them, under an id that we were given."""
    unknown = sorted(document.keys() - {"schema", "message_id", "body"})[:20]
    wrong = [f"{name(field)}: is not a known field" for field in unknown]
    wrong += [f"{field}: is missing" for field in ("message_id", "body") if field not in document]
    message_id = document.get("message_id", "")
    if not isinstance(message_id, str) or len(message_id) > 1000:
        wrong.append(f"message_id: must be a text of at most 1000 characters (found {shown(message_id)})")
    return wrong


def redrivable(body: str) -> str:
    """The message in a dead letter, ready to be sent again: the platform may have parked it with its envelope around it."""
    text = plain(body)
    try:
        text = from_base64(text)
    except BadInput:
        text = body
    try:
        document = json.loads(plain(text))
    except (ValueError, RecursionError):
        return body
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    data = document.get("data") if isinstance(document, dict) else None
    inner = data.get("messageBody") if isinstance(data, dict) else None
    if inner is None:
        return text
    return inner if isinstance(inner, str) else json.dumps(inner)


def _item(element: object) -> Item:
    inner = element
    if isinstance(element, str):
        try:
            inner = json.loads(element)
        except (ValueError, RecursionError):
            inner = element
    if isinstance(inner, dict):
        data = inner.get("data", inner)
        if isinstance(data, dict) and "messageBody" in data:
            subject = inner.get("subject") if data is not inner else None
            name = str(data.get("messageId") or inner.get("id") or "")
            return Item(name, data["messageBody"], subject if isinstance(subject, str) else None)
        # The message itself, without an envelope. As text where it is one: a field that is there twice is seen in that only.
        return Item(str(inner.get("id") or ""), element)
    return Item("", element)


def parse(body: object) -> Body:
    """The message in a body: JSON text, Base64 of it, or an object. Raises BadInput that names each faulty field."""
    document = decoded(body) if isinstance(body, str) else body
    if not isinstance(document, dict):
        raise BadInput(f"the message is not a JSON object (found {_instead(document)})")
    schema = document.get("schema")
    if not document.keys().isdisjoint(_SEAL) or (isinstance(schema, str) and schema.startswith(_APPROVALS)):
        return read_seal(document)
    if schema == AGAIN:
        raise BadInput("; ".join(_again_faults(document)) or "body: was itself sent again")
    model = _BODIES.get(schema) if isinstance(schema, str) else None
    if model is None:
        found = shown(schema) if "schema" in document else "nothing" + _envelope(document)
        raise BadInput(f"schema: must be one of {', '.join(sorted(_BODIES))}, or a sealed approval (found {found})")
    parsed: Body = modelled(model, document)
    return parsed


def request_named(payload: bytes) -> Request | None:
    """The request that refused content names, where that much of it can be read: whoever asked wants to be told.

    Only of content whose seal was verified: else anybody could have somebody's request told as rejected.
    """
    with suppress(ValueError, RecursionError, AttributeError):
        document = json.loads(payload)
        return Request.model_validate({field: document.get(field) for field in ("issuer", "request_id")})
    return None


def _instead(document: object) -> str:
    """What stands where a message should be, with what to do about it where that is known."""
    if isinstance(document, list) and len(document) == 1 and isinstance(document[0], dict):
        return f"an array of one, {shown(document)}: send the object itself"
    if isinstance(document, list) and document and all(isinstance(each, dict) for each in document):
        return f"an array of {len(document)}, {shown(document)}: send one message for each"
    if isinstance(document, str) and document.lstrip().startswith("{"):
        return f"a JSON text that holds JSON, {shown(document)}: it was written as JSON twice"
    return shown(document)


def _envelope(document: dict[str, Any]) -> str:
    """A word on a topic's envelope, which a subscription makes where its notify format is not the right one."""
    if {"TopicName", "Message"} <= document.keys():
        return ", but a topic's envelope: give the subscription the notify format SIMPLIFIED"
    return ""
